"""How a room is governed: who gets in, who is what, who may not come or speak.

Pure, and never changed: a draft has another one, until it is carried out.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NewType, Self

from attrs import evolve, field, frozen

from trio_chat.errors import Banned, TooMany
from trio_chat.names import Name
from trio_chat.roles import Access, Role

Identity = NewType("Identity", int)
"""Who somebody is, whatever the name: a guest until it does not come back any more. Random,
as it must never be had a second time."""

RANKED = 10_000
"""The most people who are something in a room: all whom it was ever opened to."""

SANCTIONED = 1000
"""The most names that are banned from a room, or muted in it."""

SALT_BYTES = 16


@frozen
class Sanction:
    """Somebody may not come, or not speak; `until`: None is for ever."""

    until: datetime | None
    reason: str

    def holds(self, now: datetime) -> bool:
        """Is it in force?"""
        return self.until is None or now < self.until

    def refusal(self, place: str, now: datetime) -> Banned:
        """What the one hears whom it keeps out of a place."""
        why = f": {self.reason}" if self.reason else ""
        if self.until is None:
            return Banned(f"you are banned from {place}{why}")
        until = f"{self.until:%Y-%m-%d %H:%M} UTC"
        retry = (self.until - now).total_seconds()
        return Banned(f"you are banned from {place} until {until}{why}", retry=retry)


_NOBODY: Mapping[Identity, Role] = MappingProxyType({})
_NONE: Mapping[Name, Sanction] = MappingProxyType({})


@frozen
class Charter:
    """`key`: the hash of what opens the room. `ranks`: of those who are more than outsiders,
    also while they are not there."""

    access: Access = Access.PUBLIC
    key: bytes | None = field(default=None, repr=False)
    ranks: Mapping[Identity, Role] = _NOBODY
    bans: Mapping[Name, Sanction] = _NONE
    mutes: Mapping[Name, Sanction] = _NONE

    def role(self, identity: Identity, name: Name, now: datetime, *, is_in: bool) -> Role:
        """What somebody is here who is no operator; `is_in`: has joined."""
        rank = self.ranks.get(identity, Role.MEMBER if is_in else Role.OUTSIDER)
        if name in self.bans and self.bans[name].holds(now):
            return Role.BANNED
        if name in self.mutes and rank is Role.MEMBER and self.mutes[name].holds(now):
            return Role.MUTED
        return rank

    def opens(self, key: str | None) -> bool:
        """Is it the key of this room? One that has none takes as long to say so."""
        if key is None:
            return False
        kept = self.key or _NOBODYS
        is_it = hmac.compare_digest(_hash(key, kept[:SALT_BYTES]), kept)
        return is_it and self.access is Access.KEY and self.key is not None

    def with_rank(self, identity: Identity, rank: Role) -> Self:
        """The same, where somebody is something else. Raises `TooMany`."""
        ranks = {**self.ranks, identity: rank}
        if len(ranks) > RANKED:
            raise TooMany(f"a room can be opened to {RANKED} people")
        return evolve(self, ranks=ranks)

    def has_space(self, people: int) -> bool:
        """Could so many more be something here?"""
        return len(self.ranks) + people <= RANKED

    def without(self, people: Collection[Identity]) -> Self:
        """The same, where these are nothing."""
        ranks = {one: rank for one, rank in self.ranks.items() if one not in people}
        return evolve(self, ranks=ranks)

    def with_ban(self, name: Name, sanction: Sanction | None) -> Self:
        """The same, where a name is banned, or not any more. Raises `TooMany`."""
        return evolve(self, bans=_changed(self.bans, name, sanction))

    def with_mute(self, name: Name, sanction: Sanction | None) -> Self:
        """The same, where a name is muted, or not any more. Raises `TooMany`."""
        return evolve(self, mutes=_changed(self.mutes, name, sanction))

    def with_access(self, access: Access, key: str | None) -> Self:
        """The same, where others get in."""
        hashed = None if key is None else _hash(key, secrets.token_bytes(SALT_BYTES))
        return evolve(self, access=access, key=hashed)


def _changed(
    sanctions: Mapping[Name, Sanction], name: Name, sanction: Sanction | None
) -> Mapping[Name, Sanction]:
    changed = {other: known for other, known in sanctions.items() if other != name}
    if sanction is not None:
        changed[name] = sanction
    if len(changed) > SANCTIONED:
        raise TooMany(f"at most {SANCTIONED} names can be banned or muted in a room")
    return changed


def _hash(key: str, salt: bytes) -> bytes:
    # Not slow: who can read the file has the texts, too, that the key keeps from others.
    return salt + hashlib.blake2b(key.encode(), salt=salt).digest()


_NOBODYS = _hash("", bytes(SALT_BYTES))


OPEN = Charter()
"""Everybody gets in, and nobody is more than another."""
