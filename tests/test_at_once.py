"""A say takes a shorter way, past the rules, where their answer is certain.

So the same posts are decided with it and without: what is logged, answered and refused, and
how the rooms are afterwards, has to be the same.
"""

import random
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from attrs import define, field

from tests.conftest import Line
from trio_chat.batch import Batch
from trio_chat.history import Account, Key, Place
from trio_chat.history.memory import MemoryHistory
from trio_chat.hub import Hub, Proof
from trio_chat.messages import (
    Appoint,
    Ban,
    Delete,
    Edit,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Post,
    RankName,
    Restrict,
    Say,
)
from trio_chat.names import Name
from trio_chat.outbox import Outbox
from trio_chat.roles import Verb
from trio_chat.rooms import Device
from trio_chat.tokens import Scope

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)

PEOPLE = ("ann", "bob", "cyd", "dan", "eve")

ROOMS = ("tea", "tea", "tea", "hut", "TEA", "nowhere", "new", "@bob", "@cyd", "x y")

TEXTS = ("", "hi", "x" * 4096, "x" * 4097, "\x01" * 4096, "ü" * 4096, "é" * 9000)

RANKS: list[RankName] = ["member", "moderator"]

BATCHES = 30


@define(eq=False)
class HeardLine(Line):
    """One of which all that is sent can be seen."""

    taken: bytearray = field(factory=bytearray)

    def __attrs_post_init__(self) -> None:
        self.outbox = Outbox(self._write)

    def _write(self, data: bytes) -> int:
        self.taken += data
        return len(data)


@define(eq=False)
class World:
    """People, some with an account or a second device, and a bot; all are in two rooms."""

    chance: random.Random
    hub: Hub = field(factory=lambda: Hub(MemoryHistory()), init=False)
    devices: list[Device] = field(factory=list, init=False)
    known: dict[Key, Place] = field(factory=dict, init=False)
    now: datetime = field(default=NOON, init=False)

    def __attrs_post_init__(self) -> None:
        self.devices = [self._enter(name) for name in (*PEOPLE, "ann", "bob", "bot")]

    def _enter(self, name: str) -> Device:
        has_account = name in {"ann", "bob", "dan"}
        proof = Proof(has_password=name in self.hub.members)
        device, _ = self.hub.enter(Name(name), HeardLine(), proof)
        if has_account:
            identity = device.member.identity
            account = Account(identity, Name(name), name, None, is_operator=name == "dan")
            device.member.account = account
        return device

    async def decide(self, posts: list[tuple[Device, Post]]) -> object:
        """What comes of one batch."""
        batch = Batch(self.hub, self.now, dict(self.known))
        for device, post in posts:
            batch.post(device, post)
        entries, changes = list(batch.entries), list(batch.changes)
        stored = sorted(map(repr, changes))  # those for all who are present come in any order
        await self.hub.history.append(entries, changes)
        self.known |= {entry.key: entry.place for entry in entries if entry.key is not None}
        batch.deliver()
        self.now += timedelta(seconds=self.chance.choice([0, 1, 4]))
        return entries, stored, [self._heard(device) for device in self.devices], self._rooms()

    def _heard(self, device: Device) -> object:
        line = device.connection
        assert isinstance(line, HeardLine)
        heard = bytes(line.taken), line.outbox.queued_bytes, len(line.outbox.behind)
        line.taken.clear()
        return heard

    def _rooms(self) -> object:
        rooms = [*self.hub.rooms.values(), *self.hub.private.values()]
        refused = dict(self.hub.tally.refusals)
        return refused, [(room.name, room.head, room.charter, len(room.live)) for room in rooms]

    def post(self) -> Post:
        """Anything that somebody may want; mostly to say something."""
        pick = self.chance.choice
        room, name = pick(ROOMS), pick(PEOPLE)
        end = pick([None, self.now + timedelta(seconds=5)])
        id = pick([None, "a", "b", f"c{self.chance.randrange(600)}"])
        say = Say(room, pick(TEXTS), id, pick([None, None, None, 1, 99]))
        posts: list[Post] = [
            *[say] * 30,
            *[Join(room, key=pick([None, "k"]), quiet=pick([True, False]), id=id)] * 6,
            Leave(room, id=id),
            Kick(room, name, id=id),
            Ban(room, name, end, off=pick([True, False]), id=id),
            Mute(room, name, end, off=pick([True, False]), id=id),
            Restrict(room, "invitation", id=id),
            Restrict(room, "key", "k", id=id),
            Appoint(room, name, pick(RANKS), id=id),
            Invite(room, name, id=id),
            Edit(room, self.chance.randrange(1, 9), "e", id=id),
            Delete(room, self.chance.randrange(1, 9), id=id),
        ]
        return pick(posts)


async def live(seed: int) -> list[object]:
    """What happens in a world."""
    world = World(random.Random(seed))
    chance, seen = world.chance, []
    both = [(device, Join(room)) for room in ("tea", "hut") for device in world.devices]
    seen.append(await world.decide(list[tuple[Device, Post]](both)))
    world.devices[-1].scope = Scope(frozenset({Verb.SAY}), frozenset({Name("tea")}))
    for _ in range(BATCHES):
        few = chance.sample(world.devices, 3)
        several = [chance.choice(few) for _ in range(chance.randrange(1, 20))]
        seen.append(await world.decide([(device, world.post()) for device in several]))
    return seen


@pytest.fixture
def randomness(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """What is drawn by lot, of which there is to be the same twice."""
    lots = random.Random(0)
    monkeypatch.setattr(secrets, "randbits", lots.getrandbits)
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: f"r{lots.getrandbits(48)}")
    monkeypatch.setattr(secrets, "token_bytes", lots.randbytes)
    return lots


@pytest.mark.parametrize("seed", range(20))
async def test_the_shorter_way_leads_to_the_same(
    seed: int, randomness: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, taken = Batch._say_at_once, 0  # noqa: SLF001 # it has no other name

    def counted(batch: Batch, device: Device, say: Say) -> bool:
        nonlocal taken
        is_taken = at_once(batch, device, say)
        taken += is_taken
        return is_taken

    monkeypatch.setattr(Batch, "_say_at_once", counted)
    randomness.seed(seed)
    seen = await live(seed)
    assert taken > 4
    monkeypatch.setattr(Batch, "_say_at_once", lambda *_: False)
    randomness.seed(seed)
    assert await live(seed) == seen
