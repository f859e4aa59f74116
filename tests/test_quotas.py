"""Tests of quotas: what is asked for too often is refused, and told when to ask again."""

from collections.abc import AsyncIterator, Sequence

import pytest
import trio

from tests.conftest import Dial, Peer, dialler
from trio_chat.errors import TryLater
from trio_chat.messages import (
    Error,
    Found,
    Hello,
    History,
    Join,
    Leave,
    Members,
    Page,
    Request,
    RoomList,
    Rooms,
    Say,
    Search,
    Welcome,
    Who,
)
from trio_chat.quotas import (
    BACK_AT_ONCE,
    HOUR,
    JOINS,
    LISTS,
    PAGES,
    PRIVATE_TIMES,
    ROOMS,
    SEARCHES,
    Quota,
    Quotas,
)
from trio_chat.rules import ROOMS_EACH
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server

ELSEWHERE = "192.0.2.1"


@pytest.fixture
async def server(virtual_time: None) -> AsyncIterator[RunningServer]:
    """One whose limits are those that it has by default, but for the pace of says."""
    async with running_server(settings=Settings(rate=1e6, burst=10**6)) as server:
        yield server


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections over memory are as if they came from another machine."""
    monkeypatch.setattr("trio_chat.doors.front.address_of", lambda _: ELSEWHERE)


# ---------------------------------------------------------------- what is counted

TWO = Quota("things", 1, 1, 2)


def test_a_refused_try_uses_nothing_up() -> None:
    quotas = Quotas()
    for _ in range(2):
        quotas.take(TWO, 0)
    for _ in range(100):
        with pytest.raises(TryLater) as refusal:
            quotas.take(TWO, 0.25)
        assert refusal.value.retry == 0.75
    quotas.take(TWO, 1)


def test_who_waits_as_long_as_it_was_told_has_waited_enough() -> None:
    quotas, now = Quotas(), 0.0
    third = Quota("things", 3, 1, 1)
    for _ in range(1000):
        quotas.take(third, now)
        with pytest.raises(TryLater) as refusal:
            quotas.take(third, now)
        assert refusal.value.retry is not None
        now += refusal.value.retry


def test_one_uses_nothing_up_of_another_nor_of_another_kind() -> None:
    quotas = Quotas()
    for whom in ("one", "other"):
        for quota in (TWO, Quota("others", 1, 1, 2)):
            for _ in range(2):
                quotas.take(quota, 0, whom)


# ---------------------------------------------------------------- of a connection


async def asked(peer: Peer, requests: Sequence[Request]) -> list[Error]:
    """The refusals among the answers; each request has one."""
    # A pong would come at once; a second hello is refused when all before it is answered.
    await peer.tell(*requests, Hello("again", id="end"))
    refusals = []
    while not isinstance(reply := await peer.link.receive(), Error) or reply.id != "end":
        refusals += [reply] if isinstance(reply, Error) else []
    return refusals


@pytest.mark.parametrize(
    ("quota", "request_", "answer"),
    [
        (PAGES, History("lobby", id="q"), Page),
        (LISTS, Who("lobby", id="q"), Members),
        (LISTS, Rooms(id="q"), RoomList),
        (SEARCHES, Search("hi", id="q"), Found),
    ],
    ids=["pages", "people", "rooms", "searches"],
)
async def test_who_asks_too_much_is_told_when_to_ask_again(
    dial: Dial, quota: Quota, request_: Request, answer: type
) -> None:
    peer, other = await dial(), await dial()
    await peer.enter("alice", "lobby")
    await other.enter("bob", "lobby")
    refusals = await asked(peer, [request_] * (quota.at_once + 7))
    assert [error.code for error in refusals] == ["try_later"] * 7
    assert {error.id for error in refusals} == {"q"}
    await other.tell(request_)
    await other.hear(answer)
    assert refusals[0].retry == pytest.approx(1 / quota.number)
    await trio.sleep(1 / quota.number)
    assert len(await asked(peer, [request_] * 3)) == 2


async def test_who_joins_and_leaves_for_ever_is_told_when_to_come_again(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    comings: list[Request] = [Leave("lobby"), Join("lobby", 2**53, id="j")] * (BACK_AT_ONCE + 1)
    refusals = [error for error in await asked(peer, comings) if error.code == "try_later"]
    assert [error.id for error in refusals] == ["j", "j"]
    assert refusals[0].retry == pytest.approx(1 / JOINS.number)


async def test_who_comes_back_to_all_its_rooms_is_not_refused(
    server: RunningServer, dial: Dial
) -> None:
    """However often it has to: they are its rooms still."""
    rooms = [Join(f"room{number}", 2**53) for number in range(ROOMS_EACH)]
    peer = await dial()
    token = (await peer.enter("alice")).token
    for _ in range(5):
        assert await asked(peer, rooms) == []
        await peer.link.stream.aclose()
        peer = await dial()
        await peer.tell(Hello("alice", token=token))
        token = (await peer.hear(Welcome)).token
    assert JOINS.at_once == PAGES.at_once == LISTS.at_once == BACK_AT_ONCE


async def test_a_rate_of_zero_lifts_what_a_connection_has(virtual_time: None) -> None:
    async with running_server(settings=Settings(rate=0)) as server:
        peer = await dialler(server)()
        limits = (await peer.enter("alice", "lobby")).limits
        assert [limits.joins, limits.pages, limits.lists, limits.searches] == [0, 0, 0, 0]
        assert await asked(peer, [Search("hi")] * 100) == []


async def test_a_program_waits_by_itself_for_the_next_page(server: RunningServer) -> None:
    async with server.connect(name="alice") as alice:
        await alice.join("lobby")
        start = trio.current_time()
        for _ in range(PAGES.at_once + 50):
            await alice.history("lobby")
        assert trio.current_time() - start == pytest.approx(50 / PAGES.number, abs=0.1)


# ---------------------------------------------------------------- of an address


async def test_nobody_makes_rooms_for_ever(elsewhere: None, dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice")
    refusals = await asked(peer, [Join(f"room{number}", id="j") for number in range(25)])
    assert [error.code for error in refusals] == ["try_later"] * (25 - ROOMS.at_once)
    assert refusals[0].retry == pytest.approx(HOUR / ROOMS.number)
    again = await dial()
    await again.enter("bob", "room1")  # one that is there
    assert [error.code for error in await asked(again, [Join("another")])] == ["try_later"]
    await trio.sleep(HOUR / ROOMS.number)
    late = await dial()
    await late.enter("carol")
    assert await asked(late, [Join("another")]) == []


async def test_a_room_is_made_once_however_often_it_is_joined_in_one_breath(
    elsewhere: None, dial: Dial
) -> None:
    peer = await dial()
    await peer.enter("alice")
    await asked(peer, [Join("tea"), Leave("tea")] * 30)
    for number in range(ROOMS.at_once - 1):
        assert await asked(peer, [Join(f"room{number}")]) == []
    assert [error.code for error in await asked(peer, [Join("more")])] == ["try_later"]


async def test_nobody_begins_private_rooms_for_ever(
    elsewhere: None, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.session.PRIVATE_TIMES", 1)
    assert PRIVATE_TIMES > 1, "the test would take long"
    peer = await dial()
    await peer.enter("alice")
    for number in range(ROOMS.at_once + 1):
        await (await dial()).enter(f"bob{number}")
    says = [Say(f"@bob{number}", "hi", id=f"{number}") for number in range(ROOMS.at_once)]
    assert await asked(peer, says * 2) == [], "it is one room, however much is said there"
    (refusal,) = await asked(peer, [Say(f"@bob{ROOMS.at_once}", "hi", id="s")])
    assert (refusal.code, refusal.id) == ("try_later", "s")


async def test_this_machine_makes_as_many_rooms_as_it_likes(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice")
    rooms = [Join(f"room{number}") for number in range(3 * ROOMS.at_once)]
    assert await asked(peer, rooms) == []
