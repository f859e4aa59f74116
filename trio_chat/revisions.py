"""The events that posts are about, and what becomes of them.

An edit, a delete or a reaction is about an event that stands in the log. The log is kept
current: what was edited or deleted is rewritten in it, so that whoever gets it later gets
it as it is now, and what was deleted is not there any more.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import define, evolve, field, frozen

from trio_chat import rules
from trio_chat.charter import Charter, Identity
from trio_chat.errors import TextTooLong
from trio_chat.history import SLICE_BYTES, Place, Record, Rewritten
from trio_chat.messages import Delete, Edit, Event, Post, React, Say
from trio_chat.names import Name
from trio_chat.roles import Role
from trio_chat.wire import CLIENT, SERVER, said_line

ABOUT_ANOTHER = Edit | Delete | React
"""Posts that are about an event which stands in the log already."""

EDIT_MARGIN = 512
"""Bytes for what a say has beside its text and an edit has not: an id, escaped, and two
numbers. The edited text has to fit into the line of the say as well."""


@frozen
class Target:
    """An event that a post is about, as it stands in the log, and whose it is."""

    event: Event
    author: Identity | None

    @property
    def is_text(self) -> bool:
        """Is it something said that has not been deleted?"""
        event = self.event
        return isinstance(event.message, Say) and (
            event.changed is None or bool(event.message.text)
        )

    def seen_by(self, identity: Identity, charter: Charter) -> rules.Target:
        """What it is to somebody who wants to do something with it."""
        rank = charter.ranks.get(self.author, Role.MEMBER) if self.author else Role.MEMBER
        return rules.Target(self.author == identity, self.is_text, rank)


@define(eq=False)
class Revisions:
    """`records`: the events that the posts of a batch are about, as they stand in the log."""

    records: Mapping[Place, Record]
    _changed: dict[Place, Target] = field(factory=dict, init=False)  # by this batch

    def target(self, room: Name, post: Post) -> Target | None:
        """What a post is about, if there is such an event."""
        return self._at(Place(room, post.seq)) if isinstance(post, ABOUT_ANOTHER) else None

    def rewrite(self, room: Name, target: Target, text: str, seq: int) -> Sequence[Rewritten]:
        """Give `target` another text, by event `seq`, and take that of the edit before it."""
        say, before = target.event.message, target.event.changed
        assert isinstance(say, Say), "the rules allow no other"
        event = evolve(target.event, message=evolve(say, text=text), changed=seq)
        changes = [self._change(room, Target(event, target.author), text or None)]
        edit = None if before is None else self._at(Place(room, before))
        if edit is not None and isinstance(edit.event.message, Edit):
            gone = evolve(edit.event, message=evolve(edit.event.message, text=""), changed=seq)
            changes.append(self._change(room, Target(gone, edit.author), None))
        return changes

    def note(self, room: Name, event: Event, author: Identity) -> None:
        """An edit stands in this batch: a later post of it may supersede that."""
        self._changed[Place(room, event.seq)] = Target(event, author)

    def _change(self, room: Name, target: Target, text: str | None) -> Rewritten:
        place = Place(room, target.event.seq)
        self._changed[place] = target
        return Rewritten(place, line_of(target.event), text)

    def _at(self, place: Place) -> Target | None:
        record = self.records.get(place)
        if place in self._changed or record is None:
            return self._changed.get(place)
        return Target(event_of(record), record.author)


def edit_of(place: Place, record: Record) -> Place | None:
    """Where the event stands that has changed this one last, if there is one."""
    changed = event_of(record).changed
    return None if changed is None else Place(place.room, changed)


def line_of(event: Event) -> bytes:
    """The line of an event. Raises `TextTooLong`."""
    margin = EDIT_MARGIN if isinstance(event.message, Edit) else 0
    return _fitting(SERVER.encode(event), SLICE_BYTES - margin)


def line_of_say(seq: int, at: datetime, by: str, say: Say) -> bytes:
    """The line of the event that a say becomes. Raises `TextTooLong`."""
    return _fitting(said_line(seq, at, by, say), SLICE_BYTES)


def _fitting(line: bytes, most: int) -> bytes:
    if len(line) > most:
        raise TextTooLong("with its escapes the text does not fit into a line")
    return line


def event_of(record: Record) -> Event:
    """The event that a record is of."""
    event = CLIENT.decode(record.line)
    assert isinstance(event, Event), "the log has nothing else"
    return event
