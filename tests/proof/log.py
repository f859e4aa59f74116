"""What is written down while faults happen: every operation, and all that a reader saw.

Each client process appends records to a journal of its own, one line each, before it goes
on: what stands in it survives the process. No I/O here, only records, lines, and what the
lines of all journals come to.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

from attrs import define, field, fields, frozen

from trio_chat.messages import Event, Say

# ---------------------------------------------------------------- records


@frozen
class Invoked:
    """A client is about to say something, for the first time under this id."""

    at: float
    sender: str
    id: str
    room: str
    text: str


@frozen
class Acked:
    """The server has answered that it is event `seq`; `again`: that it had been before."""

    at: float
    sender: str
    id: str
    seq: int
    again: bool


@frozen
class Refused:
    """The server has answered no."""

    at: float
    sender: str
    id: str
    code: str


@frozen
class Began:
    """A reader follows a room from its first event on."""

    reader: str
    room: str


@frozen
class Saw:
    """A reader was shown an event. `id` and `text`: of a say; `stamp`: the server's time."""

    reader: str
    room: str
    seq: int
    by: str
    id: str | None
    text: str
    stamp: float


@frozen
class SawGap:
    """A reader was told that it can't have these events."""

    reader: str
    room: str
    first: int
    last: int


@frozen
class Changed:
    """The state of a client's connection is another one."""

    at: float
    client: str
    state: str


@frozen
class Granted:
    """A client was given the token with which it can come back."""

    client: str
    token: str


@frozen
class Ended:
    """A reader has read to the end, or as long as it was given to do so."""

    reader: str


Record = Invoked | Acked | Refused | Began | Saw | SawGap | Changed | Granted | Ended

_CLASSES: Mapping[str, type[Record]] = {
    cls.__name__: cls
    for cls in (Invoked, Acked, Refused, Began, Saw, SawGap, Changed, Granted, Ended)
}
_FIELDS = {name: tuple(f.name for f in fields(cls)) for name, cls in _CLASSES.items()}


def encode(record: Record) -> bytes:
    """The line of a record, its end included."""
    name = type(record).__name__
    values = [getattr(record, field) for field in _FIELDS[name]]
    return json.dumps([name, *values]).encode() + b"\n"


def decode(journal: bytes) -> Iterator[Record]:
    """The records of a journal; what a killed process did not finish writing is none."""
    for line in journal.splitlines(keepends=True):
        if line.endswith(b"\n"):
            name, *values = json.loads(line)
            yield _CLASSES[name](*values)


def saw(reader: str, event: Event) -> Saw:
    """That `reader` was shown `event`."""
    post = event.message
    id, text = (post.id, digest(post.text)) if isinstance(post, Say) else (None, _kind(event))
    stamp = event.at.timestamp()
    return Saw(reader, post.room, event.seq, event.by, id, text, stamp)


def _kind(event: Event) -> str:
    return type(event.message).__name__


def digest(text: str) -> str:
    """What tells one text from another, in few characters."""
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()


# ---------------------------------------------------------------- what they come to


class Outcome(Enum):
    """What became of an operation, as far as its client knows."""

    ACKED = "acked"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@define
class Operation:
    """One thing said, however often it was sent."""

    sender: str
    id: str
    room: str
    text: str
    invoked_at: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    ended_at: float | None = None
    seq: int | None = None
    again: bool = False
    code: str | None = None


@frozen
class Seen:
    """An event as somebody saw it."""

    seq: int
    by: str
    id: str | None
    text: str
    stamp: float = 0.0


@frozen
class Hole:
    """A gap that was named."""

    first: int
    last: int


@define
class View:
    """What one reader saw of one room, in the order in which it saw it. `stayed`: it was
    there to the end, and so has to have seen everything."""

    reader: str
    room: str
    items: list[Seen | Hole] = field(factory=list)
    stayed: bool = False

    @property
    def last(self) -> int:
        """The newest event that it has."""
        if not self.items:
            return 0
        newest = self.items[-1]
        return newest.last if isinstance(newest, Hole) else newest.seq


@define
class Evidence:
    """All that the clients have written down."""

    operations: dict[tuple[str, str], Operation] = field(factory=dict)
    views: dict[tuple[str, str], View] = field(factory=dict)
    changes: list[Changed] = field(factory=list)
    tokens: dict[str, str] = field(factory=dict)
    _known: dict[Seen, Seen] = field(factory=dict)

    def add(self, record: Record) -> None:
        """Take one more record, in the order in which its journal has them."""
        match record:
            case Invoked(at, sender, id, room, text):
                self.operations[sender, id] = Operation(sender, id, room, text, at)
            case Acked() | Refused():
                self._conclude(record)
            case Began(reader, room):
                self._view(reader, room)
            case Saw(reader, room, seq, by, id, text, stamp):
                seen = Seen(seq, by, id, text, stamp)
                self._view(reader, room).items.append(self._known.setdefault(seen, seen))
            case SawGap(reader, room, first, last):
                self._view(reader, room).items.append(Hole(first, last))
            case Changed():
                self.changes.append(record)
            case Granted(client, token):
                self.tokens[client] = token
            case Ended(reader):
                self._end(reader)

    def _conclude(self, record: Acked | Refused) -> None:
        operation = self.operations[record.sender, record.id]
        operation.ended_at = record.at
        if isinstance(record, Acked):
            operation.outcome = Outcome.ACKED
            operation.seq, operation.again = record.seq, record.again
        else:
            operation.outcome, operation.code = Outcome.REFUSED, record.code

    def _view(self, reader: str, room: str) -> View:
        return self.views.setdefault((reader, room), View(reader, room))

    def _end(self, reader: str) -> None:
        for view in self.views.values():
            view.stayed = view.stayed or view.reader == reader

    def count(self, outcome: Outcome) -> int:
        """How many operations came to that."""
        return sum(operation.outcome is outcome for operation in self.operations.values())

    def unanswered(self, sender: str) -> list[Operation]:
        """What a client has to ask again when it is back, in the order of the first time."""
        return [
            operation
            for operation in self.operations.values()
            if operation.sender == sender and operation.outcome is Outcome.UNKNOWN
        ]


def gather(journals: Iterable[bytes]) -> Evidence:
    """What all journals together say."""
    evidence = Evidence()
    for journal in journals:
        for record in decode(journal):
            evidence.add(record)
    return evidence


# ---------------------------------------------------------------- figures


@frozen
class Span:
    """When a fault began, and when it was over; `whose`, if it was only somebody's."""

    began: float
    over: float
    whose: str = ""


def interruptions(faults: Iterable[Span], times: Sequence[float]) -> list[float]:
    """For each fault the seconds from its beginning to the first of `times`, which rise,
    after it was over. None are given for those after which there was no such time."""
    found = []
    for fault in faults:
        later = next((time for time in times if time > fault.over), None)
        if later is not None:
            found.append(later - fault.began)
    return found


def ack_times(evidence: Evidence, of: str = "") -> list[float]:
    """When acks came, in rising order, to senders whose names begin like that."""
    said = (op for op in evidence.operations.values() if op.sender.startswith(of))
    acked = (op.ended_at for op in said if op.outcome is Outcome.ACKED)
    return sorted(time for time in acked if time is not None)


def quantile(values: Iterable[float], share: float) -> float:
    """The value that this share of all is not above; 0 if there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
