"""Requests under way: bounded, told apart by id, and never forgotten."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.client.calls import IN_FLIGHT, MOST_PARTS, Calls, Receipt
from trio_chat.errors import BadFields, ChatError, LinkLost, NotInRoom, Refused, TextTooLong
from trio_chat.framing import LINE_BYTES
from trio_chat.messages import (
    ID_CHARS,
    Ack,
    Error,
    Members,
    Ping,
    Pong,
    RoomInfo,
    RoomList,
    Rooms,
    Say,
    Who,
)
from trio_chat.wire import SERVER


async def begun(calls: Calls, count: int) -> list[Receipt]:
    return [await calls.begin(Ping(f"p{number}")) for number in range(count)]


async def test_a_call_returns_its_answer_and_no_other() -> None:
    calls = Calls()
    one, two = await calls.begin(Say("lobby", "1", "a")), await calls.begin(Ping("b"))

    assert calls.answer(Pong("b"))
    assert calls.answer(Ack("a", "lobby", 7))

    assert await one.wait() == [Ack("a", "lobby", 7)]
    assert await two.wait() == [Pong("b")]
    assert list(calls) == []


async def test_what_nobody_asked_for_is_nobodys_answer() -> None:
    calls = Calls()
    await begun(calls, 1)
    assert not calls.answer(Pong())
    assert not calls.answer(Pong("p9"))
    assert len(list(calls)) == 1


async def test_a_refusal_is_raised_as_its_own_class() -> None:
    calls = Calls()
    receipt = await calls.begin(Say("lobby", "1", "a"))
    calls.answer(Error("not_in_room", "join it first", "a"))
    with pytest.raises(NotInRoom, match="join it first"):
        await receipt.wait()


async def test_a_refusal_that_is_not_known_yet_is_a_refusal() -> None:
    calls = Calls()
    receipt = await calls.begin(Ping("a"))
    calls.answer(Error("invented_next_year", "no", "a"))
    with pytest.raises(Refused):
        await receipt.wait()


async def test_an_answer_in_parts_is_complete_with_its_last() -> None:
    calls = Calls()
    who, rooms = await calls.begin(Who("lobby", "w")), await calls.begin(Rooms("r"))
    parts = [Members("lobby", ("a", "b"), more=True, id="w"), Members("lobby", ("c",), id="w")]

    calls.answer(parts[0])
    calls.answer(RoomList((RoomInfo("lobby", 3, 9),), id="r"))
    with trio.move_on_after(0) as too_early:
        await who.wait()
    calls.answer(parts[1])

    assert too_early.cancelled_caught
    assert await who.wait() == parts
    assert len(await rooms.wait()) == 1


async def test_an_answer_that_never_ends_is_none() -> None:
    calls = Calls()
    rooms = await calls.begin(Rooms("r"))
    for _ in range(2 * MOST_PARTS):
        calls.answer(RoomList((), more=True, id="r"))
    with pytest.raises(LinkLost, match="never ends"):
        await rooms.wait()
    assert list(calls) == []


async def test_calls_stand_in_the_order_in_which_they_were_asked() -> None:
    calls = Calls()
    await begun(calls, 5)
    calls.answer(Pong("p2"))
    assert [call.request.id for call in calls] == ["p0", "p1", "p3", "p4"]
    assert next(SERVER.decode(call.line) for call in calls) == Ping("p0")


async def test_no_more_than_so_many_are_under_way(autojump_clock: object) -> None:
    calls = Calls()
    await begun(calls, IN_FLIGHT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.begin, Ping("one more"))
        await wait_all_tasks_blocked()
        assert len(list(calls)) == IN_FLIGHT
        calls.answer(Pong("p0"))
    assert [call.request.id for call in calls][-1] == "one more"


async def test_the_same_id_is_not_under_way_twice() -> None:
    calls = Calls()
    await calls.begin(Say("lobby", "1", "a"))
    for _ in range(IN_FLIGHT):  # and the refusal takes no slot
        with pytest.raises(BadFields):
            await calls.begin(Say("lobby", "1", "a"))
    calls.answer(Ack("a", "lobby", 1))
    await calls.begin(Say("lobby", "1", "a"))


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        pytest.param(Say("lobby", "x" * LINE_BYTES, "a"), TextTooLong, id="too long a line"),
        pytest.param(Ping("x" * (ID_CHARS + 1)), BadFields, id="too long an id"),
        pytest.param(Ping("a\0"), BadFields, id="an id with NUL"),
        pytest.param(Say("lobby", "\ud800", "a"), BadFields, id="a lone surrogate"),
        pytest.param(Ping("\ud800"), BadFields, id="a lone surrogate in an id"),
    ],
)
async def test_what_no_server_could_answer_is_not_sent(
    request_: Say | Ping, error: type[ChatError]
) -> None:
    calls = Calls()
    with pytest.raises(error):
        await calls.begin(request_)
    assert list(calls) == []


async def test_a_line_may_be_as_long_as_a_line_may_be() -> None:
    empty = len((await Calls().begin(Say("lobby", "", "a"))).line)
    receipt = await Calls().begin(Say("lobby", "x" * (LINE_BYTES - empty), "a"))
    assert len(receipt.line) == LINE_BYTES


async def test_when_there_is_no_hope_every_call_is_told_and_no_other_begins() -> None:
    calls = Calls()
    receipts = await begun(calls, 3)
    calls.fail(LinkLost("gone"))
    for receipt in receipts:
        with pytest.raises(LinkLost):
            await receipt.wait()
    with pytest.raises(LinkLost):
        await calls.begin(Ping("late"))


async def test_when_there_is_no_hope_those_who_wait_for_their_turn_are_told_too(
    autojump_clock: object,
) -> None:
    calls = Calls()
    await begun(calls, IN_FLIGHT)
    told = []

    async def wait_for_a_turn(id: str) -> None:
        with pytest.raises(LinkLost):
            await calls.begin(Ping(id))
        told.append(id)

    async with trio.open_nursery() as nursery:
        for id in "abc":
            nursery.start_soon(wait_for_a_turn, id)
        await wait_all_tasks_blocked()
        with trio.fail_after(1):
            calls.fail(LinkLost("gone"))
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sorted(told) == ["a", "b", "c"]


async def test_a_call_that_is_cancelled_while_it_waits_for_its_turn_leaves_no_trace() -> None:
    calls = Calls()
    await begun(calls, IN_FLIGHT)
    with trio.move_on_after(0):
        await calls.begin(Ping("impatient"))
    calls.answer(Pong("p0"))
    await calls.begin(Ping("next"))
    assert len(list(calls)) == IN_FLIGHT
