"""The checker: from what clients did and saw, and from the history, all that is wrong.

Pure. It believes nobody: what the server keeps is compared with what the senders were told
and with what each reader saw, event by event.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import define, field

from tests.proof.log import Hole, Operation, Outcome, Seen, View

KINDS = ("lost", "duplicate", "reordered", "phantom", "gap")
"""What can be wrong, in the order of the table."""

Key = tuple[str, str]
"""A sender and an id: what makes a say one and the same."""

History = Mapping[str, Sequence[Seen | Hole]]
"""The events of each room, as the server keeps them in the end."""


@define
class Verdict:
    """What is wrong, in words, by kind.

    `lost`: acked, but not in the history, or not shown to a reader who stayed.
    `duplicate`: one id, or one seq, twice in the history or in one reader's view.
    `reordered`: two disagree about what a seq is, or seqs, a room's time or what one
    sender said run backwards.
    `phantom`: in the history or in a view though nobody said it, with another text, or
    though its sender was told that it is not stored.
    `gap`: a seq was jumped in silence, or is said to be gone while the history has it.
    """

    lost: list[str] = field(factory=list)
    duplicate: list[str] = field(factory=list)
    reordered: list[str] = field(factory=list)
    phantom: list[str] = field(factory=list)
    gap: list[str] = field(factory=list)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many of each kind, in the order of `KINDS`."""
        return tuple(len(getattr(self, kind)) for kind in KINDS)

    @property
    def is_clean(self) -> bool:
        """Is nothing wrong?"""
        return not any(self.counts)

    def examples(self, most: int = 3) -> Iterator[str]:
        """A few of each kind, as lines."""
        for kind in KINDS:
            for text in getattr(self, kind)[:most]:
                yield f"{kind}: {text}"


def check(operations: Iterable[Operation], history: History, views: Iterable[View]) -> Verdict:
    """Compare them all. `operations`: each sender's in the order in which it asked."""
    verdict = Verdict()
    said = list(operations)
    for room, items in history.items():
        _check_sequence(f"history of {room}", items, verdict)
        _check_gaps(f"history of {room}", items, frozenset(), verdict)
    _check_twice(history, verdict)
    _check_said(said, history, verdict)
    _check_acks(said, history, verdict)
    _check_senders(said, history, verdict)
    for view in views:
        _check_view(view, said, history.get(view.room, ()), verdict)
    return verdict


def _events(items: Iterable[Seen | Hole]) -> Iterator[Seen]:
    return (item for item in items if isinstance(item, Seen))


def _key(seen: Seen) -> Key | None:
    return None if seen.id is None else (seen.by, seen.id)


def _keys(items: Iterable[Seen | Hole]) -> list[Key]:
    return [key for key in map(_key, _events(items)) if key is not None]


# ---------------------------------------------------------------- one sequence by itself


def _check_sequence(where: str, items: Iterable[Seen | Hole], verdict: Verdict) -> None:
    """Seqs rise and come once; the room's time does not go back."""
    last, stamp = 0, 0.0
    for seen in _events(items):
        if seen.seq == last:
            verdict.duplicate.append(f"{where}: seq {seen.seq} twice")
        elif seen.seq < last:
            verdict.reordered.append(f"{where}: seq {seen.seq} after {last}")
        if seen.stamp < stamp:
            verdict.reordered.append(f"{where}: the time goes back at seq {seen.seq}")
        last, stamp = max(last, seen.seq), max(stamp, seen.stamp)


def _check_gaps(
    where: str, items: Iterable[Seen | Hole], kept: frozenset[int], verdict: Verdict
) -> None:
    """Nothing is jumped in silence, and only what is not `kept` is said to be gone."""
    last = 0
    for item in items:
        first = item.first if isinstance(item, Hole) else item.seq
        if first > last + 1:
            verdict.gap.append(f"{where}: {last + 1} to {first - 1} jumped in silence")
        if isinstance(item, Hole) and not kept.isdisjoint(range(item.first, item.last + 1)):
            verdict.gap.append(f"{where}: {item.first} to {item.last} said to be gone")
        last = max(last, item.last if isinstance(item, Hole) else item.seq)


# ---------------------------------------------------------------- history and senders


def _check_twice(history: History, verdict: Verdict) -> None:
    counts = Counter(key for items in history.values() for key in _keys(items))
    verdict.duplicate += [
        f"history: {id} of {by} {count} times"
        for (by, id), count in counts.items()
        if count > 1
    ]


def _check_said(said: Iterable[Operation], history: History, verdict: Verdict) -> None:
    known = {(operation.sender, operation.id): operation for operation in said}
    for room, items in history.items():
        for seen in _events(items):
            key = _key(seen)
            if key is not None and (why := _why_phantom(known.get(key), room, seen)):
                verdict.phantom.append(f"history of {room}: {seen.id} of {seen.by} {why}")


def _why_phantom(operation: Operation | None, room: str, seen: Seen) -> str | None:
    if operation is None:
        return "was never sent"
    if (operation.room, operation.text) != (room, seen.text):
        return "was sent with another text or to another room"
    if operation.outcome is Outcome.REFUSED:
        return f"was refused ({operation.code})"
    return None


def _check_acks(said: Iterable[Operation], history: History, verdict: Verdict) -> None:
    places = _places(history)
    for operation in said:
        if operation.outcome is not Outcome.ACKED:
            continue
        found = places.get((operation.sender, operation.id))
        name = f"{operation.id} of {operation.sender}"
        if found is None:
            verdict.lost.append(f"history: {name} was acked as {operation.seq}")
        elif found != (operation.room, operation.seq):
            verdict.reordered.append(f"history: {name}, acked as {operation.seq}, is {found}")


def _places(history: History) -> dict[Key, tuple[str, int]]:
    """Where each say stands, for the first time if it stands there twice."""
    places: dict[Key, tuple[str, int]] = {}
    for room, items in history.items():
        for seen in _events(items):
            if key := _key(seen):
                places.setdefault(key, (room, seen.seq))
    return places


def _check_senders(said: Iterable[Operation], history: History, verdict: Verdict) -> None:
    """In each room, what one sender said stands in the order in which it said it."""
    places = _places(history)
    newest: dict[tuple[str, str], int] = {}
    for operation in said:
        place = places.get((operation.sender, operation.id))
        if place is None:
            continue
        before = newest.get((operation.sender, place[0]), 0)
        if place[1] < before:
            verdict.reordered.append(f"{operation.sender} said {operation.id} before {before}")
        newest[operation.sender, place[0]] = max(before, place[1])


# ---------------------------------------------------------------- readers


def _check_view(
    view: View, said: Iterable[Operation], kept: Sequence[Seen | Hole], verdict: Verdict
) -> None:
    where = f"{view.reader} in {view.room}"
    _check_sequence(where, view.items, verdict)
    _check_gaps(where, view.items, frozenset(seen.seq for seen in _events(kept)), verdict)
    counts = Counter(_keys(view.items))
    verdict.duplicate += [f"{where}: {key} twice" for key, n in counts.items() if n > 1]
    _compare(where, view, {seen.seq: seen for seen in _events(kept)}, verdict)
    if view.stayed:
        _check_complete(where, view, said, verdict)


def _compare(where: str, view: View, kept: Mapping[int, Seen], verdict: Verdict) -> None:
    for seen in _events(view.items):
        if seen.seq not in kept:
            verdict.phantom.append(f"{where}: saw {seen.seq}, which the history has not")
        elif kept[seen.seq] != seen:
            verdict.reordered.append(f"{where}: {seen} is {kept[seen.seq]} in the history")


def _check_complete(
    where: str, view: View, said: Iterable[Operation], verdict: Verdict
) -> None:
    shown = set(_keys(view.items))
    verdict.lost += [
        f"{where}: never saw {operation.id} of {operation.sender}, acked as {operation.seq}"
        for operation in said
        if operation.room == view.room
        and operation.outcome is Outcome.ACKED
        and (operation.sender, operation.id) not in shown
    ]
