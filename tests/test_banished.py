"""Who may not come to the server at all: what operators say, and whom it hits."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing

from tests.conftest import Dial, Peer, dialler
from trio_chat import banished
from trio_chat.banished import Outlaws, parse_banished
from trio_chat.charter import Identity, Sanction
from trio_chat.client.lifeline import State
from trio_chat.errors import BadName, Banned, LinkLost, TooMany
from trio_chat.history import Account, Banished, Change, DeviceId, Keep, Registered, Token
from trio_chat.history.memory import MemoryHistory
from trio_chat.hub import Proof
from trio_chat.messages import (
    Ack,
    Ban,
    Banish,
    Done,
    Error,
    Event,
    Hello,
    History,
    Join,
    Ping,
    Pong,
    React,
    Restrict,
    Say,
    Topic,
    Welcome,
    Who,
)
from trio_chat.names import Name, skeleton
from trio_chat.reception import Reception
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.tokens import hash_token

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
FOREVER, HOUR = Sanction(None, "spam"), Sanction(NOON + timedelta(hours=1), "")

HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("Eve", "eve"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("\u0435ve", None),
        ("1.2.3.4.5", None),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ("::/0", "::/0"),
        ("127.8.8.8", None),
        ("::ffff:127.0.0.1", None),
        ("::1", None),
        ("", None),
        ("a:b", None),
    ],
)
def test_a_name_or_a_network_can_be_banished(raw: str, kept: str | None) -> None:
    if kept is None:
        with pytest.raises(BadName):
            parse_banished(raw)
    else:
        assert parse_banished(raw) == kept


def may_come(known: Outlaws, name: str | None, address: str | None, now: datetime) -> bool:
    try:
        known.require(name, address, now)
    except Banned:
        return False
    return True


def test_one_is_kept_out_by_name_and_by_where_one_is_until_it_is_over() -> None:
    known = Outlaws()
    known.change({"eve": FOREVER, "192.0.2.0/24": HOUR, "2001:db8::/64": HOUR})
    assert not may_come(known, "eve", THERE, NOON)
    assert not may_come(known, "bob", HERE, NOON)
    assert not may_come(known, None, "2001:db8::9", NOON)
    assert not may_come(known, None, f"::ffff:{HERE}", NOON), "it is the same address"
    assert may_come(known, "bob", THERE, NOON)
    assert may_come(known, "bob", None, NOON)
    assert may_come(known, "bob", HERE, NOON + timedelta(hours=1))
    known.change({"eve": None})
    assert may_come(known, "eve", THERE, NOON)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "126.0.0.0/7", "::/0", "::/8"])
def test_this_machine_is_in_no_network(network: str) -> None:
    known = Outlaws()
    known.change({parse_banished(network): FOREVER})
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert may_come(known, "bob", address, NOON)


def test_what_is_over_takes_no_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banished, "MOST", 2)
    known = Outlaws()
    known.change({"one": HOUR, "two": FOREVER})
    with pytest.raises(TooMany):
        known.make_space({"three": FOREVER}, NOON)
    changes = known.make_space({"three": FOREVER}, NOON + timedelta(hours=1))
    assert changes == {"one": None, "three": FOREVER}
    known.change(changes)
    assert list(known.sanctions) == ["two", "three"]


def test_one_is_told_until_when_and_why() -> None:
    known = Outlaws()
    known.change({"eve": Sanction(HOUR.until, "spam")})
    with pytest.raises(Banned, match="until 2026-11-26 13:00 UTC: spam") as refusal:
        known.require("eve", None, NOON)
    assert refusal.value.retry == 3600


# ---------------------------------------------------------------- on a server

OP, OTHER, SEVERAL = "ops-token", "others-token", ("others-second", "others-third")


@pytest.fixture
async def server(virtual_time: None) -> AsyncIterator[RunningServer]:
    """One with an operator, and somebody else with an account."""
    history = MemoryHistory()
    for number, (name, token) in enumerate({"op": OP, "other": OTHER}.items(), 1):
        account = Account(
            Identity(number), Name(name), skeleton(Name(name)), "hash", is_operator=name == "op"
        )
        keep = Keep(DeviceId(number), Identity(number), Name(name), Token(hash_token(token)))
        await history.append([], [Registered(account), keep])
    for number, token in enumerate(SEVERAL, 3):
        keep = Keep(DeviceId(number), Identity(2), Name("other"), Token(hash_token(token)))
        await history.append([], [keep])
    async with running_server(history=history, settings=Settings(rate=0)) as server:
        yield server


@pytest.fixture
def call(server: RunningServer) -> Dial:
    return dialler(server)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Where the next connections seem to come from."""
    where: list[str | None] = [None]
    for module in ("doors.front", "server"):
        monkeypatch.setattr(f"trio_chat.{module}.address_of", lambda _: where[0])
    return where


async def holder(call: Dial, name: str, token: str) -> Peer:
    peer = await call()
    await peer.tell(Hello(name, token=token))
    await peer.hear(Welcome)
    return peer


async def refusal(peer: Peer, banish: Banish) -> str | None:
    await peer.tell(banish, Ping("p"))
    reply = await peer.link.receive()
    await peer.hear(Pong)
    assert isinstance(reply, Error | Done)
    return reply.code if isinstance(reply, Error) else None


async def hear_out(peer: Peer) -> None:
    """Whatever comes until the link is lost."""
    with suppress(LinkLost):
        while True:
            await peer.link.receive()


async def is_let_in(call: Dial, name: str) -> bool:
    peer = await call()
    try:
        await peer.tell(Hello(name))
        reply = await peer.link.receive()
    except LinkLost:
        return False
    await peer.link.stream.aclose()
    assert isinstance(reply, Welcome) or (isinstance(reply, Error) and reply.code == "banned")
    return isinstance(reply, Welcome)


async def test_an_operator_keeps_somebody_out_of_the_server(call: Dial) -> None:
    op, eve = await holder(call, "op", OP), await call()
    await eve.enter("eve", "lobby")
    assert await refusal(op, Banish("Eve", reason="spam")) is None
    assert await eve.let_go() == Error("banned", "you are banned from this server: spam")
    assert not await is_let_in(call, "eve")
    assert await refusal(op, Banish("eve", off=True)) is None
    assert await is_let_in(call, "eve")


@pytest.mark.parametrize("lasts", [None, timedelta(hours=1)])
async def test_who_is_banned_from_a_room_is_told_why_and_for_how_long(
    call: Dial, lasts: timedelta | None
) -> None:
    op, eve = await holder(call, "op", OP), await call()
    await eve.enter("eve", "tea")
    until = None if lasts is None else datetime.now(UTC).replace(microsecond=0) + lasts
    await op.tell(Ban("tea", "eve", until=until, reason="spam", id="b"))
    await op.hear(Ack)
    assert isinstance((await eve.hear(Event)).message, Ban)
    when = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    for ask in (
        Join("tea", id="x"),
        History("tea", id="x"),
        Who("Tea", id="x"),
        Say("tea", "let me in", id="x"),
        Topic("tea", "mine", id="x"),
        React("tea", 1, "+1", id="x"),
    ):
        await eve.tell(ask)
        error = await eve.hear(Error)
        assert error.code == "banned"
        assert error.text == f"you are banned from tea{when}: spam"
        assert (error.retry is None) is (lasts is None)
    await op.tell(Restrict("tea", "invitation", id="r"))
    await op.hear(Ack)
    await eve.tell(Join("tea", id="x"))
    assert (await eve.hear(Error)).text == "there is no room tea"


async def test_a_program_that_is_banished_ends_with_why_and_does_not_try_again(
    server: RunningServer, call: Dial
) -> None:
    op, states = await holder(call, "op", OP), list[State]()
    async with server.connect(name="eve", on_state=states.append) as eve:
        assert await refusal(op, Banish("eve", reason="spam")) is None
        with pytest.raises(Banned, match="spam"):
            await anext(eve)
    assert states == [State.CONNECTED]


async def test_a_banished_account_comes_in_with_nothing(call: Dial) -> None:
    op, other = await holder(call, "op", OP), await holder(call, "other", OTHER)
    assert await refusal(op, Banish("other")) is None
    assert (await other.let_go()).code == "banned"
    for hello in (Hello("other", token=OTHER), Hello("other", password="right or wrong")):  # noqa: S106
        peer = await call()
        await peer.tell(hello)
        assert (await peer.hear(Error)).code == "banned"


async def test_an_address_is_kept_out_whatever_the_name(
    call: Dial, places: list[str | None]
) -> None:
    op = await holder(call, "op", OP)
    places[0] = HERE
    eve, mate = await call(), await call()
    await eve.enter("eve", "lobby")
    await mate.enter("mate", "lobby")
    assert await refusal(op, Banish("eve", where=True)) is None
    for peer in (eve, mate):
        await hear_out(peer)
    assert not await is_let_in(call, "bob")
    places[0] = THERE
    assert await is_let_in(call, "eve"), "it was not the name that was meant"
    assert await refusal(op, Banish(f"{HERE}/32", off=True)) is None
    places[0] = HERE
    assert await is_let_in(call, "bob")


async def test_a_stranger_that_waits_before_its_hello_is_not_let_in_either(
    call: Dial, places: list[str | None]
) -> None:
    op = await holder(call, "op", OP)
    places[0] = HERE
    early = await call()
    await trio.testing.wait_all_tasks_blocked()
    assert await refusal(op, Banish(HERE)) is None
    await early.tell(Hello("eve"))
    assert (await early.hear(Error)).code == "banned"


async def test_a_hello_that_is_looked_at_meanwhile_is_not_let_in(
    call: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, eve = await holder(call, "op", OP), await call()
    prove, may_enter = Reception.prove, trio.Event()

    async def prove_slowly(self: Reception, *about: Any) -> Proof:
        proof = await prove(self, *about)
        await may_enter.wait()
        return proof

    monkeypatch.setattr(Reception, "prove", prove_slowly)
    await eve.tell(Hello("eve"))
    await trio.testing.wait_all_tasks_blocked()
    assert await refusal(op, Banish("eve")) is None
    may_enter.set()
    assert (await eve.hear(Error)).code == "banned"


async def test_a_ban_holds_though_the_operator_is_cut_off_meanwhile(
    server: RunningServer, call: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, eve = await holder(call, "op", OP), await call()
    await eve.enter("eve", "lobby")
    append, may_end = MemoryHistory.append, trio.Event()

    async def append_slowly(self: MemoryHistory, *about: Any) -> Any:
        await may_end.wait()
        return await append(self, *about)

    monkeypatch.setattr(MemoryHistory, "append", append_slowly)
    await op.tell(Banish("eve"))
    await trio.testing.wait_all_tasks_blocked()
    await (await call()).tell(Hello("op", token=OP))
    assert (await op.let_go()).code == "taken_over"
    may_end.set()
    assert (await eve.let_go()).code == "banned"
    assert not await is_let_in(call, "eve")


async def test_what_is_refused_is_not_stored(
    call: Dial, places: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what is one too many, nor the one of two addresses at which no operator is."""
    stored: list[Change] = []
    append = MemoryHistory.append

    async def append_and_note(self: MemoryHistory, entries: Any, changes: Any = ()) -> Any:
        stored.extend(changes)
        return await append(self, entries, changes)

    monkeypatch.setattr(MemoryHistory, "append", append_and_note)
    other = [await holder(call, "other", OTHER)]
    places[0] = HERE
    other.append(await holder(call, "other", "others-second"))
    places[0] = THERE
    other.append(await holder(call, "other", "others-third"))
    op = await holder(call, "op", OP)
    assert await refusal(op, Banish("other", where=True)) == "not_allowed"
    monkeypatch.setattr(banished, "MOST", 1)
    assert await refusal(op, Banish("eve")) is None
    assert await refusal(op, Banish("bob")) == "too_many"
    changes = [one for one in stored if isinstance(one, Banished)]
    assert [one.what for one in changes] == ["eve"]
    assert await is_let_in(call, "bob")


@pytest.mark.parametrize(
    ("banish", "code"),
    [
        (Banish("op"), "not_allowed"),
        (Banish("nobody", where=True), "no_such_name"),
        (Banish("eve", where=True), "no_such_name"),
        (Banish("127.0.0.1"), "bad_name"),
        (Banish("a b"), "bad_name"),
        (Banish("bob", reason="two\nlines"), "bad_text"),
    ],
    ids=str,
)
async def test_this_can_not_be_banished(call: Dial, banish: Banish, code: str) -> None:
    op, eve = await holder(call, "op", OP), await call()
    await eve.enter("eve")
    assert await refusal(op, banish) == code
    assert await is_let_in(call, "bob")


async def test_nobody_else_banishes(call: Dial) -> None:
    guest, other = await call(), await holder(call, "other", OTHER)
    await guest.enter("guest", "tea")
    await other.tell(Join("ours"))
    await other.hear(Event)
    for peer in (guest, other):
        assert await refusal(peer, Banish("op")) == "not_allowed"
        assert await refusal(peer, Banish("eve")) == "not_allowed"
    assert await is_let_in(call, "eve")
