"""A second person: what it tries to be taken for a registered name, and to learn of rooms
that it may not see.

Each trick is one row. Passwords are hashed for real, in a thread, so the clock is real, too.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import trio
from attrs import define, evolve, field

from tests.conftest import Dial, Peer, dialler
from trio_chat import hashing
from trio_chat.charter import Identity
from trio_chat.history import Account, DeviceId, Keep, Registered, Token
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import (
    Ack,
    Appoint,
    Ban,
    Delete,
    Edit,
    Error,
    Event,
    Hello,
    History,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Ping,
    React,
    Read,
    Request,
    Restrict,
    Rooms,
    Say,
    Search,
    Topic,
    Welcome,
    Who,
)
from trio_chat.names import Name, skeleton
from trio_chat.passwords import check_password, hash_password
from trio_chat.secret import Secret
from trio_chat.testing import running_server
from trio_chat.tokens import hash_token, make_bot_token, make_token
from trio_chat.wire import SERVER

PASSWORD = "correct horse"  # noqa: S105 # nobody's
HASHED = hash_password(Secret(PASSWORD))
TOKENS = {name: make_token() for name in ("alice", "bob", "mallory")}


@define(eq=False)
class Counting(MemoryHistory):
    """A history that counts what is asked of it."""

    asked: Counter[str] = field(factory=Counter, init=False)

    def __getattribute__(self, name: str) -> Any:
        if name in {"find", "look_up", "after", "before", "deeds", "search", "devices"}:
            self.asked[name] += 1
        return super().__getattribute__(name)


@define(eq=False)
class House:
    """A server on which alice and bob have accounts, and so has mallory, who is up to no
    good. alice owns a room for the invited, and has said something there and in private."""

    history: Counting
    call: Dial
    alice: Peer
    private: str

    async def come(self, name: str, *rooms: str) -> Peer:
        peer = await self.call()
        await peer.tell(Hello(name, token=TOKENS.get(name)))
        await peer.hear(Welcome)
        for room in rooms:
            await done(peer, Join(room, 2**53))
        return peer


async def done(peer: Peer, *requests: Request) -> list[Any]:
    """What is heard until all of it is answered."""
    # A pong would come at once; a second hello is refused when all before it is answered.
    await peer.tell(*requests, Hello("again", id="done"))
    heard: list[Any] = []
    while not isinstance(reply := await peer.link.receive(), Error) or reply.id != "done":
        heard.append(reply)
    return heard


@pytest.fixture
async def house() -> AsyncIterator[House]:
    history = Counting()
    for number, (name, token) in enumerate(TOKENS.items(), 1):
        account = Account(Identity(number), Name(name), skeleton(Name(name)), HASHED)
        keep = Keep(DeviceId(number), Identity(number), Name(name), Token(hash_token(token)))
        await history.append([], [Registered(account), keep])
    async with running_server(history=history) as server:
        dial, peers = dialler(server), list[Peer]()

        async def call() -> Peer:
            peers.append(await dial())
            return peers[-1]

        alice = await call()
        await alice.tell(Hello("alice", token=TOKENS["alice"]))
        await alice.hear(Welcome)
        rooms: list[Request] = [Join(room) for room in ("vault", "tea", "lobby")]
        rooms += [Say("lobby", "mine", "a1")]
        await done(alice, *rooms, Restrict("vault", "invitation"), Restrict("tea", "key", "k"))
        says = [Say(room, SECRET, room) for room in ("vault", "tea", "@bob")]
        heard = await done(alice, *says)
        private = next(r.room for r in heard if isinstance(r, Ack) and r.id == "@bob")
        edits = [Edit(room, seq, SECRET + "!") for room, seq in (("vault", 3), (private, 1))]
        await done(alice, *edits)
        yield House(history, call, alice, private)
        # Or the server waits for each of them for a second when it ends, and time is real here.
        for peer in peers:
            await peer.link.stream.aclose()


SECRET = "rosebud"  # noqa: S105 # what is said where others must not hear it


# ---------------------------------------------------------------- to take the name

TAKE: dict[str, Hello] = {
    "the name itself": Hello("alice"),
    "in capitals": Hello("ALICE"),
    "full width": Hello("\uff41\uff4c\uff49\uff43\uff45"),
    "bold letters of mathematics": Hello("\U0001d41a\U0001d425\U0001d422\U0001d41c\U0001d41e"),
    "a Cyrillic a": Hello("\u0430lice"),
    "all that is Cyrillic": Hello("\u0430l\u0456\u0441\u0435"),
    "a Latin alpha": Hello("\u0251lice"),
    "the digit 1": Hello("a1ice"),
    "a dotless i": Hello("al\u0131ce"),
    "a dotted capital": Hello("AL\u0130CE"),
    "a palochka": Hello("a\u04cfice"),
    "zero width": Hello("ali\u200bce"),
    "a joiner": Hello("ali\u200dce"),
    "a soft hyphen": Hello("ali\u00adce"),
    "a mark that goes the other way": Hello("\u202ealice"),
    "a variation selector": Hello("alice\ufe0f"),
    "a space behind": Hello("alice "),
    "a space before": Hello(" alice"),
    "an end of line": Hello("alice\nbob"),
    "a sign before": Hello("@alice"),
    "a grapheme joiner": Hello("ali\u034fce"),
    "a tag": Hello("alice\U000e0061"),
    "a wrong password": Hello("alice", password="battery staple"),  # noqa: S106
    "no password": Hello("alice", password=""),
    "the password in capitals": Hello("alice", password=PASSWORD.upper()),
    "a password with NUL": Hello("alice", password="correct horse\0"),  # noqa: S106
    "another's token": Hello("alice", token=TOKENS["mallory"]),
    "an empty token": Hello("alice", token=""),
    "a made up token": Hello("alice", token=make_token()),
    "the hash of the token": Hello("alice", token=hash_token(TOKENS["alice"]).hex()),
    "a bot's token": Hello("alice", token=make_bot_token(Name("alice"))),
    "a token with a tail": Hello("alice", token=TOKENS["alice"] + "x"),
    "as one who passes by": Hello("alice", passing=True),
}


@pytest.mark.parametrize("hello", TAKE.values(), ids=TAKE.keys())
@pytest.mark.parametrize("she", ["is here", "is away"])
async def test_nobody_comes_in_under_or_beside_her_name(
    house: House, hello: Hello, she: str
) -> None:
    if she == "is away":
        await house.alice.link.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
    thief = await house.call()
    await thief.tell(hello)
    assert isinstance(await thief.link.receive(), Error)


async def test_a_guest_who_had_the_name_before_is_not_her(house: House) -> None:
    guest = await house.call()
    token = (await guest.enter("carol")).token
    await done(guest, Ping(), Join("lobby"))
    account = Account(Identity(77), Name("carol"), skeleton(Name("carol")), "hash")
    await guest.link.stream.aclose()
    await house.history.append([], [Registered(account)])
    async with running_server(history=house.history) as server:
        again = await dialler(server)()
        await again.tell(Hello("carol", token=token))
        assert (await again.hear(Error)).code == "password_needed"


async def test_nobody_registers_what_looks_like_her_name(house: House) -> None:
    guest = await house.call()
    await guest.tell(Hello("a\u043bice"))  # of two scripts
    assert isinstance(await guest.link.receive(), Error)


async def test_a_name_that_nobody_has_costs_as_much_to_try(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the time that an answer takes does not tell who has an account."""
    hashed: list[bool] = []

    def count(password: Secret, kept: str | None) -> Any:
        hashed.append(kept is not None)
        return check_password(password, kept)

    monkeypatch.setattr(hashing, "check_password", count)
    replies = []
    for name in ("alice", "nobody"):
        thief = await house.call()
        await thief.tell(Hello(name, password="battery staple"))  # noqa: S106
        replies.append(await thief.hear(Error))
    assert replies[0] == replies[1]
    assert hashed == [True, False]


# ---------------------------------------------------------------- to speak for her

FORGED = [
    '{"type":"say","room":"lobby","text":"x","by":"alice"}',
    '{"type":"say","room":"lobby","text":"x","name":"alice","from":"alice","sender":"alice"}',
    '{"type":"say","room":"lobby","text":"x","id":"a1"}',
    '{"type":"say","room":"lobby","text":"x","seq":1,"at":"2020-01-01T00:00:00.000Z"}',
    '{"type":"say","type":"event","room":"lobby","text":"x","by":"alice"}',
    '{"type":"event","seq":9,"by":"alice","message":{"type":"say","room":"lobby","text":"x"}}',
    '{"type":"ack","id":"a1","room":"lobby","seq":1}',
    '{"type":"called","room":"lobby","by":"alice","seq":1}',
    '{"type":"hello","name":"alice"}',
    '{"type":"edit","room":"lobby","seq":2,"text":"x","by":"alice"}',
    '{"type":"delete","room":"lobby","seq":2}',
    '{"type":"leave","room":"lobby","lost":true,"by":"alice"}',
    '{"type":"join","room":"lobby","by":"alice"}',
    '{"type":"topic","room":"lobby","text":"x","by":"alice"}',
    '{"type":"kick","room":"lobby","name":"alice"}',
    '{"type":"register","password":"battery staple","name":"alice"}',
    '{"type":"register","password":"battery staple","old":"battery staple"}',
    '{"type":"revoke","device":"1"}',
    '{"type":"banish","name":"alice"}',
    '{"type":"read","room":"lobby","seq":2,"by":"alice"}',
    '{"type":"say","room":"@alice,bob:made-up1","text":"x","by":"alice"}',
]


@pytest.mark.parametrize("line", FORGED)
async def test_nobody_speaks_for_her(house: House, line: str) -> None:
    watcher = await house.come("watcher", "lobby")
    mallory = await house.come("mallory", "lobby")
    await done(watcher)
    await mallory.tell_bytes(f"{line}\n".encode())
    await done(mallory)
    heard = await done(watcher)
    await done(house.alice, Say("lobby", "really", "a2"))
    heard += await done(watcher)
    by_alice = [r.message for r in heard if isinstance(r, Event) and r.by == "alice"]
    assert by_alice == [Say("lobby", "really", "a2")]
    pages = await done(watcher, History("lobby", limit=100))
    said = {e.seq: e for e in pages[0].events if e.by == "alice"}
    assert said[2].message == Say("lobby", "mine", "a1"), "nor has she said anything else"
    again = await house.come("alice")
    assert again.link.stream is not None, "and she comes in as ever"


# ---------------------------------------------------------------- to learn of hidden rooms

SOME, NOWHERE = "ROOM", "nowhere"
ASKED: list[Callable[[str], Request]] = [
    lambda room: Say(room, "x", "q"),
    lambda room: Leave(room, id="q"),
    lambda room: Edit(room, 3, "x", "q"),
    lambda room: Delete(room, 3, "q"),
    lambda room: React(room, 3, "x", id="q"),
    lambda room: Topic(room, "x", "q"),
    lambda room: Invite(room, "bob", "q"),
    lambda room: Kick(room, "alice", id="q"),
    lambda room: Ban(room, "alice", id="q"),
    lambda room: Mute(room, "alice", id="q"),
    lambda room: Appoint(room, "mallory", "owner", "q"),
    lambda room: Restrict(room, "public", id="q"),
    lambda room: Join(room, quiet=True, id="q"),
    lambda room: Join(room, quiet=True, key="guess", id="q"),
    lambda room: History(room, id="q"),
    lambda room: History(room, before=3, id="q"),
    lambda room: History(room, after=1, id="q"),
    lambda room: History(room, deeds=True, id="q"),
    lambda room: Who(room, "q"),
    lambda room: Read(room, 3, "q"),
    lambda room: Search(SECRET, room, id="q"),
]


def id_of(ask: Callable[[str], Request]) -> str:
    return str(ask(SOME))


@pytest.mark.parametrize("ask", ASKED, ids=id_of)
@pytest.mark.parametrize("hidden", ["vault", "tea", "@"])
async def test_a_hidden_room_answers_as_one_that_is_not_there(
    house: House, ask: Callable[[str], Request], hidden: str
) -> None:
    """Word for word, and with as much work."""
    room, other = (hidden, NOWHERE) if hidden != "@" else (house.private, "@alice,bob:nowhere1")
    mallory = await house.come("mallory")
    answers, costs = [], []
    for name in (room, other):
        await done(mallory)
        house.history.asked.clear()
        (reply,) = await done(mallory, ask(name))
        assert isinstance(reply, Error)
        answers.append(evolve(reply, text=reply.text.replace(name, SOME)))
        costs.append(dict(house.history.asked))
    assert answers[0] == answers[1]
    assert costs[0] == costs[1]
    assert answers[0].code == "no_such_room"


async def test_nothing_of_what_is_said_there_reaches_a_stranger(house: House) -> None:
    mallory = await house.come("mallory", "lobby")
    wanted: Sequence[Request] = [
        Rooms("r"),
        *(Search(word, id="s") for word in (SECRET, "rose", SECRET[:1], "vault")),
        Who("lobby", "w"),
        *(ask(room) for ask in ASKED for room in ("vault", "tea", house.private)),
        Say("@alice", "hi"),
        Say("@bob", "hi"),
    ]
    heard = await done(mallory, *wanted)
    await done(house.alice, Say("vault", SECRET, "v2"), Say("@bob", SECRET, "p2"))
    await done(house.alice, Invite("vault", "bob"), Topic("tea", SECRET))
    heard += await done(mallory)
    again = await house.call()
    await again.tell(Hello("mallory", token=TOKENS["mallory"]))
    heard += await done(again)
    told = [reply for reply in heard if not isinstance(reply, Error)]
    lines = b"".join(map(SERVER.encode, told)).decode()
    assert SECRET not in lines
    assert "vault" not in lines
    assert '"tea"' not in lines
    assert house.private not in lines
    errors = [reply for reply in heard if isinstance(reply, Error)]
    assert {reply.code for reply in errors} <= {"no_such_room", "try_later"}
    assert not any(SECRET in reply.text for reply in errors)
