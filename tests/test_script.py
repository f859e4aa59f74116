"""Programs over HTTP: what a hook says, and the events of a room."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define
from trio.testing import wait_all_tasks_blocked

from tests.conftest import Peer, dialler
from tests.test_web import Answered, ask
from trio_chat.charter import Identity
from trio_chat.doors.http import BODY_BYTES, GUARDS
from trio_chat.doors.script import BEAT, EPOCH, JOINED, STATUS
from trio_chat.doors.tls import Tls
from trio_chat.errors import BY_CODE
from trio_chat.history import Account, DeviceId, Keep, Registered, Stay, Token
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import (
    Ack,
    Called,
    Event,
    Hello,
    Join,
    Leave,
    Members,
    Restrict,
    Say,
    Who,
)
from trio_chat.names import Name, skeleton
from trio_chat.roles import Verb
from trio_chat.session import CLOSE_WITHIN, Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.tokens import Scope, hash_token

USUAL = frozenset({Verb.SEE, Verb.JOIN, Verb.HISTORY, Verb.SAY})
CI, MUTE, ANYWHERE = "ci.token-for-ops", "ci.token-that-only-listens", "ci.token-for-all"
OWNER = "token-of-a-person"  # who makes rooms its own
SCOPES: Mapping[str, Scope] = {
    CI: Scope(USUAL, frozenset({Name("ops")})),
    MUTE: Scope(USUAL - {Verb.SAY}, frozenset({Name("ops")})),
    ANYWHERE: Scope(USUAL),
}


@define(eq=False)
class Bots(MemoryHistory):
    """A history that knows the tokens of one bot."""

    async def recognise(self, token: bytes) -> Stay | None:
        await trio.lowlevel.checkpoint()
        for number, (known, scope) in enumerate(SCOPES.items(), 5):
            if hash_token(known) == token:
                kept = Token(token)
                return Stay(DeviceId(number), Identity(7), Name("ci"), kept, scope=scope)
        return await super().recognise(token)


@asynccontextmanager
async def open_house(
    settings: Settings | None = None, tls: Tls | None = None
) -> AsyncIterator[RunningServer]:
    history = Bots()
    accounts = [
        Account(Identity(number), Name(name), skeleton(Name(name)), None)
        for number, name in ((7, "ci"), (8, "owner"))
    ]
    keep = Keep(DeviceId(1), Identity(8), Name("owner"), Token(hash_token(OWNER)))
    await history.append([], [*map(Registered, accounts), keep])
    async with running_server(history=history, settings=settings, tls=tls) as server:
        yield server


@pytest.fixture
async def house(virtual_time: None) -> AsyncIterator[RunningServer]:
    async with open_house() as server:
        yield server


@pytest.fixture
async def alice(house: RunningServer) -> Peer:
    """Somebody in the room that the bot is for, and in another one."""
    alice = await dialler(house)()
    await alice.enter("alice", "ops", "tea")
    return alice


def posting(body: bytes, path: str = f"/hooks/{CI}", **fields: str) -> bytes:
    named = {"Host": "localhost", "Content-Length": str(len(body)), **fields}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def post(
    house: RunningServer, body: bytes, path: str = f"/hooks/{CI}", **fields: str
) -> Answered:
    return await ask(house, posting(body, path, **fields))


def code(answered: Answered) -> str:
    return str(json.loads(answered.body)["code"])


# ---------------------------------------------------------------- hooks


async def test_a_hook_says_something_into_the_room_of_its_token(
    house: RunningServer, alice: Peer
) -> None:
    answered = await post(house, "grün: 1 + 1 = 2\n".encode())
    assert answered.status == 200
    ack = json.loads(answered.body)
    assert (ack["type"], ack["room"], ack["seq"]) == ("ack", "ops", 2)
    event = await alice.hear(Event)
    assert (event.by, event.seq) == ("ci", 2)
    assert event.message == Say("ops", "grün: 1 + 1 = 2", ack["id"])
    await alice.tell(Who("ops"))
    assert (await alice.hear(Members)).names == ("alice",), "nobody has seen it come or go"


async def test_with_one_key_it_is_said_once(house: RunningServer, alice: Peer) -> None:
    for number in range(3):
        key = '"build-42"' if number == 1 else "build-42"
        answered = await post(house, b"built", Idempotency_Key=key)
        ack = json.loads(answered.body)
        assert (answered.status, ack["id"], ack["seq"]) == (200, "build-42", 2)
        assert ack.get("again", False) is (number > 0)
    await post(house, b"and something else")
    said = [(await alice.hear(Event)).message for _ in range(2)]
    assert [message.text for message in said if isinstance(message, Say)] == [
        "built",
        "and something else",
    ]


async def test_json_says_more(house: RunningServer, alice: Peer) -> None:
    body = json.dumps({"text": "two\nlines", "room": "tea", "id": "j1", "reply_to": 1}).encode()
    kind = {"Content_Type": "application/json; charset=utf-8"}
    answered = await post(house, body, f"/hooks/{ANYWHERE}", **kind)
    assert json.loads(answered.body) == {"type": "ack", "id": "j1", "room": "tea", "seq": 2}
    event = await alice.hear(Event)
    assert event.message == Say("tea", "two\nlines", "j1", 1)


async def test_many_hooks_at_once_are_all_heard(house: RunningServer, alice: Peer) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(post, house, str(number).encode())
    said = {(await alice.hear(Event)).message for _ in range(20)}
    assert {message.text for message in said if isinstance(message, Say)} == set(
        map(str, range(20))
    )


REFUSED = {
    "a token for listening": (f"/hooks/{MUTE}", b"x", {}, 403, "not_allowed"),
    "no room": (f"/hooks/{ANYWHERE}", b"x", {}, 400, "bad_fields"),
    "a name for no room": (f"/hooks/{ANYWHERE}?room=..", b"x", {}, 400, "bad_name"),
    "a long text": (f"/hooks/{CI}", b"x" * 20_000, {}, 413, "text_too_long"),
    "no text": (f"/hooks/{CI}", b"\xff\xfe", {}, 400, "bad_fields"),
    "nul": (f"/hooks/{CI}", b"a\0b", {}, 400, "bad_fields"),
    "nothing": (f"/hooks/{CI}", b"\n", {}, 400, "bad_fields"),
    "no field of that name": (
        f"/hooks/{CI}",
        b'{"txt": "hi"}',
        {"Content_Type": "application/json"},
        400,
        "bad_fields",
    ),
    "a long key": (f"/hooks/{CI}", b"x", {"Idempotency_Key": "k" * 65}, 400, "bad_fields"),
    "no json": (f"/hooks/{CI}", b"{", {"Content_Type": "application/json"}, 400, "not_json"),
    "a number": (
        f"/hooks/{CI}",
        b'{"text":1}',
        {"Content_Type": "application/json"},
        400,
        "bad_fields",
    ),
    "a list for a room": (
        f"/hooks/{CI}",
        b'{"text":"x","room":["ops"]}',
        {"Content_Type": "application/json"},
        400,
        "bad_fields",
    ),
}


@pytest.mark.parametrize(
    ("path", "body", "fields", "status", "why"), REFUSED.values(), ids=REFUSED.keys()
)
async def test_what_is_refused_says_why_in_both_tongues(
    house: RunningServer,
    alice: Peer,
    *,
    path: str,
    body: bytes,
    fields: dict[str, str],
    status: int,
    why: str,
) -> None:
    answered = await post(house, body, path, **fields)
    assert (answered.status, code(answered)) == (status, why)
    assert answered.headers["content-type"] == "application/json"
    for name, value in GUARDS.items():
        assert answered.headers[name.lower()] == value
    await alice.tell(Say("ops", "nothing before this", "s"))
    assert [type(reply).__name__ for reply in await alice.hear_all(2)] == ["Ack", "Event"]


async def test_tokens_and_rooms_that_are_not_there_are_answered_alike(
    house: RunningServer, alice: Peer
) -> None:
    posted = [
        await post(house, b"x", path)
        for path in (
            f"/hooks/{CI}?room=none",
            f"/hooks/{CI}?room=tea",
            f"/hooks/{CI}?room=@alice",
            f"/hooks/{CI}x",
            f"/hooks/{CI}x?room=ops",
            "/hooks/abcdef?room=..",
            "/hooks/4.x",
            "/hooks/",
        )
    ]
    read = [
        await ask(house, reading(token, f"/rooms/{room}/events", Accept=accept))
        for token, room in (
            (CI, "none"),
            (CI, "tea"),
            (CI, "@alice"),
            (f"{CI}x", "ops"),
            ("abcdef", "ops"),
            ("", ".."),
            (None, "ops"),
            (None, "none"),
        )
        for accept in ("*/*", "text/event-stream")
    ]
    for answered in posted + read:
        assert answered == posted[0]
    assert (posted[0].status, code(posted[0])) == (404, "no_such_room")


async def test_a_good_token_is_told_of_a_room_that_was_locked_and_not_whether_it_is_there(
    house: RunningServer,
) -> None:
    owner = await dialler(house)()
    await owner.tell(Hello("owner", token=OWNER))
    for room in ("ops", "tea"):
        await owner.tell(Join(room), Restrict(room, "invitation", id=room))
        while await owner.link.receive() != Ack(room, room, 2):
            pass
    for token, room in ((CI, "ops"), (ANYWHERE, "tea"), (ANYWHERE, "none")):
        path = f"/rooms/{room}/events"
        for answered in (
            await post(house, b"x", f"/hooks/{token}?room={room}"),
            await ask(house, reading(token, path)),
            await ask(house, reading(token, path, Accept="text/event-stream")),
        ):
            assert (answered.status, code(answered)) == (404, "no_such_room")
            assert json.loads(answered.body)["text"] == (
                f"there is no room {room} that ci may enter; if it was locked, ci has to be"
                " invited"
            )


async def test_what_is_no_token_of_a_bot_costs_the_history_nothing(
    house: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError

    monkeypatch.setattr(Bots, "recognise", fail)
    for token in ("", "abcdef"):
        assert (await ask(house, reading(token))).status == 404
        assert (await post(house, b"x", f"/hooks/{token}")).status == 404


async def test_who_comes_too_often_is_told_when_to_come_again(virtual_time: None) -> None:
    async with open_house(Settings(rate=0.4, burst=3)) as house:
        alice = await dialler(house)()
        await alice.enter("alice", "ops")
        codes = [(await post(house, b"x")).status for _ in range(2)]
        codes.append((await ask(house, reading(CI))).status)
        assert codes == [200, 200, 200]
        for _ in range(5):
            refused = await post(house, b"too much", f"/hooks/{ANYWHERE}?room=ops")
            assert (refused.status, code(refused)) == (429, "try_later")
            assert refused.headers["retry-after"] == "3"
        assert (await post(house, b"x", f"/hooks/{CI}x")).status == 404
        await trio.sleep(3)
        assert (await post(house, b"again")).status == 200
        assert (await post(house, b"too much")).status == 429


async def test_a_hook_has_to_be_posted_to_by_nobodys_page(house: RunningServer) -> None:
    got = await ask(house, f"GET /hooks/{CI} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert (got.status, got.headers["allow"]) == (405, "POST")
    assert (await post(house, b"x", Origin="http://evil.org")).status == 403
    assert (await post(house, b"x" * (BODY_BYTES + 1))).status == 413


def test_every_status_is_that_of_a_code() -> None:
    assert set(STATUS) <= set(BY_CODE)


# ---------------------------------------------------------------- the events of a room


def reading(token: str | None, path: str = "/rooms/ops/events?after=0", **fields: str) -> bytes:
    named = {"Host": "localhost", **fields}
    if token is not None:
        named["Authorization"] = f"Bearer {token}"
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()


def seqs(body: bytes) -> list[int]:
    return [json.loads(line)["seq"] for line in body.splitlines()]


async def test_the_events_of_a_room_are_given_and_then_it_ends(
    house: RunningServer, alice: Peer
) -> None:
    await alice.tell(*(Say("ops", f"{number} " + "x" * 1000) for number in range(300)))
    await alice.hear_all(600)
    answered = await ask(house, reading(CI))
    assert answered.status == 200
    assert answered.headers["content-type"] == "application/x-ndjson"
    assert seqs(answered.body) == list(range(1, 302))
    later = await ask(house, reading(CI, "/rooms/ops/events?after=299"))
    assert seqs(later.body) == [300, 301]
    newest = await ask(house, reading(CI, "/rooms/ops/events"))
    assert seqs(newest.body) == list(range(252, 302))
    none = await ask(house, reading(CI, "/rooms/ops/events?after=301"))
    assert (none.status, none.body) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/rooms/ops/events?after=x",
        "/rooms/ops/events?after=-1",
        "/rooms/ops/events?after=9999999999999999999999",
        f"/rooms/ops/events?after={'9' * 5000}",
        "/rooms/%6fps%2f/events",
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_what_makes_no_sense_is_refused(
    house: RunningServer, alice: Peer, path: str, accept: str
) -> None:
    answered = await ask(house, reading(CI, path, Accept=accept))
    assert answered.status == 400
    assert code(answered) == ("bad_name" if "%2f" in path else "bad_fields")


async def test_what_was_had_last_may_be_anything(house: RunningServer, alice: Peer) -> None:
    answered = await ask(house, reading(CI, Last_Event_ID="9" * 5000))
    assert (answered.status, code(answered)) == (400, "bad_fields")


async def test_a_follower_that_is_refused_is_let_go_at_once(
    house: RunningServer, alice: Peer
) -> None:
    path = f"/rooms/{'x' * 99}/events"
    answered = await ask(house, reading(ANYWHERE, path, Accept="text/event-stream"))
    assert answered.status == 400
    assert trio.current_time() <= CLOSE_WITHIN


async def test_a_follower_gets_what_happens_and_comes_back_after_the_last(
    house: RunningServer, alice: Peer
) -> None:
    stream = await house.dial()
    await stream.send_all(reading(CI, Accept="text/event-stream"))
    got = b""
    while b"id: 1\n" not in got:
        got += bytes(await stream.receive_some())
    assert b"text/event-stream" in got
    await alice.tell(Say("ops", "now", "n"))
    while b"id: 2\n" not in got:
        got += bytes(await stream.receive_some())
    assert b'"text":"now"' in got
    before = trio.current_time()
    assert b":\n\n" in bytes(await stream.receive_some()), "it is not forgotten"
    assert trio.current_time() - before == BEAT
    await stream.aclose()
    await wait_all_tasks_blocked()

    await alice.tell(Say("ops", "meanwhile", "m"))
    back = await house.dial()
    await back.send_all(reading(CI, Accept="text/event-stream", Last_Event_ID="2"))
    got = b""
    while b"meanwhile" not in got:
        got += bytes(await back.receive_some())
    assert b"id: 3\n" in got
    assert b"id: 2\n" not in got
    await back.aclose()


async def test_a_follower_that_does_not_read_costs_little_and_loses_nothing(
    house: RunningServer, alice: Peer
) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    house.serve(theirs)
    await ours.send_all(reading(CI, Accept="text/event-stream"))
    got = bytes(await ours.receive_some())
    await alice.tell(*(Say("ops", "x" * 5000) for _ in range(300)))
    await alice.hear_all(600)
    while b"id: 301\n" not in got:
        got += bytes(await ours.receive_some())
    assert [number for number in range(1, 302) if b"id: %d\n" % number not in got] == []
    await ours.aclose()


async def test_a_room_of_a_bot_is_left_without_a_word(
    house: RunningServer, alice: Peer
) -> None:
    await ask(house, reading(CI))
    stranger = await dialler(house)()
    await stranger.tell(Hello("bob"), Join("ops", after=0))
    heard = [await stranger.link.receive() for _ in range(3)]
    messages = [event.message for event in heard if isinstance(event, Event)]
    assert Leave("ops", lost=True) not in messages
    assert messages == [Join("ops"), Join("ops")], "those of alice and bob"


async def test_somebody_can_be_told_something_alone(house: RunningServer, alice: Peer) -> None:
    answered = await post(house, b"psst", f"/hooks/{ANYWHERE}?room=@alice")
    assert answered.status == 200
    assert (await alice.hear(Called)).by == "ci"


async def test_a_key_may_be_any_id(house: RunningServer, alice: Peer) -> None:
    """Also one that is used within."""
    refused = await post(house, b"x" * 20_000, Idempotency_Key=JOINED)
    assert refused.status == 413
    said = await post(house, b"x", Idempotency_Key=JOINED)
    assert json.loads(said.body)["seq"] == 2


async def test_a_reader_is_told_which_history_it_is(house: RunningServer, alice: Peer) -> None:
    first, second = [await ask(house, reading(CI)) for _ in range(2)]
    assert first.headers[EPOCH.lower()] == second.headers[EPOCH.lower()] != ""


# ---------------------------------------------------------------- the end


async def test_a_server_that_closes_lets_followers_go_at_once(virtual_time: None) -> None:
    async with open_house() as house:
        alice = await dialler(house)()
        await alice.enter("alice", "ops")
        stream = await house.dial()
        await stream.send_all(reading(CI, Accept="text/event-stream"))
        await wait_all_tasks_blocked()
        before = trio.current_time()
        house.close()
        got = b"".join([bytes(chunk) async for chunk in stream])
        assert got.endswith(b"retry: 1000\n\n\r\n0\r\n\r\n"), "it is complete"
        assert trio.current_time() - before <= CLOSE_WITHIN
        await stream.aclose()


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_a_reader_of_a_part_can_tell_that_it_is_one(
    virtual_time: None, accept: str
) -> None:
    """It did not read, and the server closes."""
    async with open_house() as house:
        alice = await dialler(house)()
        await alice.enter("alice", "ops")
        await alice.tell(*(Say("ops", "x" * 5000) for _ in range(300)))
        await alice.hear_all(600)
        ours, theirs = trio.testing.lockstep_stream_pair()
        house.serve(theirs)
        await ours.send_all(reading(CI, Accept=accept))
        got = bytes(await ours.receive_some())
        house.close()
        got += b"".join([bytes(chunk) async for chunk in ours])
        assert not got.endswith(b"0\r\n\r\n")
        await ours.aclose()


async def test_what_is_said_while_the_server_closes_is_answered(virtual_time: None) -> None:
    async with open_house() as house:
        alice = await dialler(house)()
        await alice.enter("alice", "ops")
        stream = await house.dial()
        await stream.send_all(b"POST ")
        await wait_all_tasks_blocked()
        house.close()
        rest = f"/hooks/{CI} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
        await stream.send_all(rest.encode())
        got = b"".join([bytes(chunk) async for chunk in stream])
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in got
        await stream.aclose()


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_what_is_asked_for_while_the_server_closes_is_answered(
    virtual_time: None, accept: str
) -> None:
    async with open_house() as house:
        alice = await dialler(house)()
        await alice.enter("alice", "ops")
        stream = await house.dial()
        asked = reading(CI, Accept=accept)
        await stream.send_all(asked[:5])
        await wait_all_tasks_blocked()
        house.close()
        await stream.send_all(asked[5:])
        got = b"".join([bytes(chunk) async for chunk in stream])
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in got
        await stream.aclose()
