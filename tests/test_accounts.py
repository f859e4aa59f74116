"""Names that are somebody's own: passwords, tokens, and several devices at once.

Passwords are hashed for real, in a thread, so the clock is real, too.
"""

import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from argon2 import PasswordHasher
from attrs import evolve

from tests.conftest import Dial, Peer, dialler
from trio_chat.charter import Identity
from trio_chat.client.chat import open_chat
from trio_chat.errors import PutOut
from trio_chat.failures import TRIES
from trio_chat.hashing import QUEUE, Hashing
from trio_chat.history import (
    Account,
    Change,
    DeviceId,
    Entry,
    History,
    Keep,
    Key,
    Place,
    Registered,
    Rehashed,
    Stay,
    Token,
)
from trio_chat.history.memory import MemoryHistory
from trio_chat.history.sqlite import open_sqlite
from trio_chat.messages import (
    Ack,
    Called,
    DeviceList,
    Devices,
    Done,
    Error,
    Event,
    Hello,
    Join,
    Kick,
    Leave,
    Marked,
    Members,
    Ping,
    Pong,
    Read,
    Register,
    Revoke,
    Say,
    Topic,
    Welcome,
    Who,
)
from trio_chat.names import Name, skeleton
from trio_chat.passwords import Verdict, check_password, hash_password
from trio_chat.reception import DEVICES_EACH
from trio_chat.roles import Verb
from trio_chat.secret import Secret
from trio_chat.sequencer import COME_BACK_WITHIN
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.tokens import Scope, hash_token

PASSWORD, ANOTHER, GUESS = "correct horse", "battery staple", "a guess"
TOKEN, ONE, TWO = "bots-token", "first", "second"  # nobody's


@pytest.fixture
async def real() -> AsyncIterator[RunningServer]:
    async with running_server() as server:
        yield server


@pytest.fixture
def call(real: RunningServer) -> Dial:
    return dialler(real)


async def registered(call: Dial, name: str = "alice") -> tuple[Peer, Welcome]:
    peer = await call()
    welcome = await peer.enter(name)
    await peer.tell(Register(PASSWORD, id="r"))
    await peer.hear(Done)
    return peer, welcome


async def refused(peer: Peer) -> str:
    return (await peer.hear(Error)).code


async def log_in(
    call: Dial,
    name: str = "alice",
    *,
    password: str | None = None,
    token: str | None = None,
    client: str | None = None,
) -> tuple[Peer, Welcome]:
    peer = await call()
    await peer.tell(Hello(name, password=password, token=token, client=client))
    return peer, await peer.hear(Welcome)


async def test_who_registers_a_name_keeps_it(call: Dial) -> None:
    alice, welcome = await registered(call)
    assert not welcome.account
    await alice.link.stream.aclose()
    thief = await call()
    await thief.tell(Hello("alice"))
    assert await refused(thief) == "password_needed"
    await thief.tell(Hello("Alice", password=GUESS))
    assert await refused(thief) == "wrong_password"
    again, welcome = await log_in(call, password=PASSWORD)
    assert welcome.account
    await again.link.stream.aclose()
    _, welcome = await log_in(call, token=welcome.token)
    assert welcome.account


async def test_nobody_gets_a_name_that_looks_like_one_that_is_here(call: Dial) -> None:
    await registered(call)
    for name in ("a1ice", "\u0430lice", "al\u0131ce"):
        peer = await call()
        await peer.tell(Hello(name))
        assert await refused(peer) in {"name_taken", "bad_name"}, name
    guest = await call()
    await guest.enter("moon")
    other = await call()
    await other.tell(Hello("m00n"))
    assert await refused(other) == "name_taken"
    await guest.link.stream.aclose()
    await trio.testing.wait_all_tasks_blocked(0.01)
    await (await call()).enter("m00n")


@pytest.mark.parametrize("name", ["admin", "Server", "r00t", "everyone"])
async def test_nobody_can_be_called_that(call: Dial, name: str) -> None:
    peer = await call()
    await peer.tell(Hello(name))
    assert await refused(peer) == "bad_name"


@pytest.mark.parametrize("name", ["admin", "Server", "r00t", "nickserv"])
async def test_no_room_is_called_as_who_is_in_charge(call: Dial, name: str) -> None:
    alice = await call()
    await alice.enter("alice", "help")
    await alice.tell(Join(name, id="j"))
    assert await refused(alice) == "bad_name"


async def test_no_room_looks_like_another(call: Dial) -> None:
    alice = await call()
    await alice.enter("alice", "lobby")
    await alice.tell(Join("l0bby", id="j"))
    assert await refused(alice) == "bad_name"


async def test_a_password_can_be_changed_by_who_knows_it(call: Dial) -> None:
    alice, _ = await registered(call)
    await alice.tell(Register("battery staple", id="a"))
    assert await refused(alice) == "not_allowed"
    await alice.tell(Register("battery staple", old="a guess", id="b"))
    assert await refused(alice) == "wrong_password"


async def test_a_changed_password_is_the_new_one(call: Dial) -> None:
    alice, _ = await registered(call)
    await alice.tell(Register("battery staple", old=PASSWORD, id="c"))
    await alice.hear(Done)
    thief = await call()
    await thief.tell(Hello("alice", password=PASSWORD))
    assert await refused(thief) == "wrong_password"
    await log_in(call, password=ANOTHER)


async def test_a_changed_password_throws_out_the_other_devices_and_not_this_one(
    call: Dial,
) -> None:
    one, mine = await registered(call)
    two, theirs = await log_in(call, password=PASSWORD)
    away, lost = await log_in(call, password=PASSWORD)
    await away.link.stream.aclose()
    await one.tell(Register(ANOTHER, old=PASSWORD, id="c"), Devices("d"))
    await one.hear(Done)
    assert [device.this for device in (await one.hear(DeviceList)).devices] == [True]
    assert (await two.let_go()).code == "put_out"
    for token in (theirs.token, lost.token):
        thief = await call()
        await thief.tell(Hello("alice", token=token))
        assert await refused(thief) == "password_needed"
    await one.link.stream.aclose()
    await log_in(call, token=mine.token)


async def test_who_comes_with_the_old_password_while_it_is_changed_is_not_in(
    call: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = await registered(call)
    thief = await call()
    is_checked, may_enter = trio.Event(), trio.Event()
    check = Hashing.check

    async def check_slowly(self: Hashing, *about: Any) -> str | None:
        renewed = await check(self, *about)
        is_checked.set()
        await may_enter.wait()
        return renewed

    with monkeypatch.context() as patched:
        patched.setattr(Hashing, "check", check_slowly)
        await thief.tell(Hello("alice", password=PASSWORD))
        await is_checked.wait()
    await one.tell(Register(ANOTHER, old=PASSWORD, id="c"))
    await one.hear(Done)
    may_enter.set()
    assert await refused(thief) == "wrong_password"


class Held(MemoryHistory):
    """A disk that can be kept waiting."""

    is_held = False
    has_begun: trio.Event
    may_end: trio.Event

    def hold(self) -> None:
        self.is_held, self.has_begun, self.may_end = True, trio.Event(), trio.Event()

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        if self.is_held:
            self.is_held = False
            self.has_begun.set()
            await self.may_end.wait()
        return await super().append(entries, changes)


@pytest.mark.parametrize("kind", [Register, Revoke])
async def test_a_thief_is_out_even_if_who_puts_it_out_is_cut_off_meanwhile(
    kind: type[Register | Revoke],
) -> None:
    history = Held()
    async with running_server(history=history) as server:
        call = dialler(server)
        mine, welcome = await registered(call)
        thief, theirs = await log_in(call, password=PASSWORD)
        await mine.tell(Devices("d"))
        (other,) = [one for one in (await mine.hear(DeviceList)).devices if not one.this]
        history.hold()
        change = Register(ANOTHER, old=PASSWORD, id="c")
        await mine.tell(change if kind is Register else Revoke(other.device, "r"))
        await history.has_begun.wait()
        again = await call()
        await again.tell(Hello("alice", token=welcome.token), Ping("p"))
        assert (await mine.let_go()).code == "taken_over"
        history.may_end.set()
        assert (await thief.let_go()).code == "put_out"
        await again.hear(Welcome)
        await again.hear(Pong)
        thief = await call()
        await thief.tell(Hello("alice", token=theirs.token))
        assert await refused(thief) == "password_needed"


@pytest.mark.parametrize("password", ["short", "x" * 1025, ""])
async def test_this_is_no_password(call: Dial, password: str) -> None:
    alice = await call()
    await alice.enter("alice")
    await alice.tell(Register(password, id="r"))
    assert await refused(alice) == "bad_password"
    await alice.tell(Ping("p"))
    await alice.hear(Pong)


async def test_without_guests_only_accounts_come_in() -> None:
    history = MemoryHistory()
    async with running_server(history=history) as server:
        await registered(dialler(server))
    async with running_server(history=history, settings=Settings(guests=False)) as server:
        peer = await dialler(server)()
        answers = []
        for hello in (Hello("bob"), Hello("alice"), Hello("bob", token="x"), Hello("a1ice")):  # noqa: S106
            await peer.tell(hello)
            answers.append(await peer.hear(Error))
        assert {answer.code for answer in answers} == {"password_needed"}
        assert len(set(answers)) == 1, "they would tell which names there are"
        await log_in(dialler(server), password=PASSWORD)


async def test_without_guests_a_token_does_not_tell_which_names_there_are() -> None:
    history = MemoryHistory()
    async with running_server(history=history) as server:
        await registered(dialler(server))
    async with running_server(history=history, settings=Settings(guests=False)) as server:
        answers = set()
        for name in ("alice", "bobby"):
            for token in ("somebot.x", f"{name}.x"):
                peer = await dialler(server)()
                await peer.tell(Hello(name, token=token))
                error = await peer.hear(Error)
                answers.add((error.code, error.text.replace(name, "NAME")))
        assert len(answers) == 1


# ---------------------------------------------------------------- several devices


async def test_several_devices_are_one_person(call: Dial) -> None:
    one, _ = await registered(call)
    two, _ = await log_in(call, password=PASSWORD)
    bob = await call()
    await bob.enter("bob", "lobby")
    await one.tell(Join("lobby", after=1))
    assert (await one.hear(Event)).message == Join("lobby")
    await two.tell(Join("lobby", after=1, id="j"))
    assert (await two.hear(Ack)).again, "nobody sees a second join"
    assert (await two.hear(Event)).seq == 2
    await two.tell(Say("lobby", "from two"))
    for peer in (one, bob):
        event = await peer.hear(Event)
        while event.seq < 3:
            event = await peer.hear(Event)
        assert (event.by, event.message.room) == ("alice", "lobby")
    await bob.tell(Who("lobby"))
    assert (await bob.hear(Members)).names == ("alice", "bob")
    await one.tell(Leave("lobby", id="l"))
    while not isinstance(reply := await one.link.receive(), Ack):
        pass
    assert reply.again, "nor a first leave"
    await two.tell(Leave("lobby"))
    left = await bob.hear(Event)
    assert (left.seq, left.message) == (4, Leave("lobby"))


async def test_a_device_that_is_lost_is_no_leave_while_another_is_there(call: Dial) -> None:
    one, _ = await registered(call)
    two, _ = await log_in(call, password=PASSWORD)
    bob = await call()
    await bob.enter("bob", "lobby")
    await one.tell(Join("lobby"))
    await bob.hear(Event)
    await two.tell(Join("lobby", id="j"))
    await two.hear(Ack)
    await one.link.stream.aclose()
    await two.tell(Say("lobby", "still here"))
    assert isinstance((await bob.hear(Event)).message, Say)
    await two.link.stream.aclose()
    assert (await bob.hear(Event)).message == Leave("lobby", lost=True)


async def test_who_is_put_out_is_put_out_with_all_devices(call: Dial) -> None:
    owner, _ = await registered(call, "olga")
    await owner.tell(Join("tea"))
    await owner.hear(Event)
    devices = [(await registered(call))[0], (await log_in(call, password=PASSWORD))[0]]
    for device in devices:
        await device.tell(Join("tea", after=1, id="j"))
        await device.hear(Ack)
    await owner.tell(Kick("tea", "alice"), Who("tea"))
    while not isinstance(reply := await owner.link.receive(), Members):
        pass
    assert reply.names == ("olga",)


async def test_private_messages_and_read_markers_are_for_all_devices(call: Dial) -> None:
    one, _ = await registered(call)
    two, _ = await log_in(call, password=PASSWORD)
    bob = await call()
    await bob.enter("bob")
    await bob.tell(Say("@alice", "hi"))
    calls = [await peer.hear(Called) for peer in (one, two)]
    assert calls[0] == calls[1]
    await one.tell(Read(calls[0].room, 1, "r"))
    assert await one.hear(Marked) == Marked(calls[0].room, 1, "r")
    assert await two.hear(Marked) == Marked(calls[0].room, 1)


async def test_who_has_an_account_can_be_written_to_while_away(call: Dial) -> None:
    one, welcome = await registered(call)
    await one.link.stream.aclose()
    bob = await call()
    await bob.enter("bob")
    await bob.tell(Say("@alice", "hi", "c"))
    room = (await bob.hear(Ack)).room
    again, welcome = await log_in(call, token=welcome.token)
    assert [state.room for state in welcome.rooms] == [room]
    await again.tell(Join(room, 0))
    assert (await again.hear(Event)).message == Say(room, "hi", "c")


async def test_devices_are_listed_and_thrown_out(call: Dial) -> None:
    one, _ = await registered(call)
    two, welcome = await log_in(call, password=PASSWORD, client="phone")
    await one.tell(Devices("d"))
    devices = (await one.hear(DeviceList)).devices
    assert [(d.client, d.here, d.this) for d in devices] == [
        (None, True, True),
        ("phone", True, False),
    ]
    await one.tell(Revoke(devices[1].device, "v"))
    await one.hear(Done)
    assert (await two.let_go()).code == "put_out"
    thief = await call()
    await thief.tell(Hello("alice", token=welcome.token))
    assert await refused(thief) == "password_needed"
    await one.tell(Revoke(devices[1].device, "v"))
    assert await refused(one) == "not_allowed"


async def test_a_program_that_is_put_out_ends_and_does_not_come_back(
    real: RunningServer, call: Dial
) -> None:
    one, _ = await registered(call)
    async with open_chat(real.dial, Hello("alice", password=PASSWORD)) as chat:
        await one.tell(Devices("d"))
        devices = (await one.hear(DeviceList)).devices
        (other,) = (device.device for device in devices if not device.this)
        await one.tell(Revoke(other, "v"))
        with pytest.raises(PutOut, match="revoked"):
            await anext(chat)


async def test_a_guest_has_no_devices(call: Dial) -> None:
    guest = await call()
    await guest.enter("guest")
    await guest.tell(Devices("d"), Revoke("1", "v"))
    assert [await refused(guest), await refused(guest)] == ["not_allowed", "not_allowed"]


async def test_an_account_has_only_so_many_devices() -> None:
    history = MemoryHistory()
    async with running_server(history=history) as server:
        await registered(dialler(server))
        (account,) = await history.accounts()
        keeps = [
            Keep(DeviceId(n), account.identity, account.name, Token(bytes([n])))
            for n in range(DEVICES_EACH)
        ]
        await history.append([], keeps)
        await log_in(dialler(server), password=PASSWORD)
        assert len(await history.devices(account.identity)) == DEVICES_EACH


async def test_a_program_with_a_password_is_no_device(real: RunningServer, call: Dial) -> None:
    alice, _ = await registered(call)
    for _ in range(3):
        passing = await call()
        await passing.tell(Hello("alice", password=PASSWORD, passing=True))
        welcome = await passing.hear(Welcome)
        await passing.tell(Join("lobby", id="j"))
        await passing.hear(Ack)
        await passing.link.stream.aclose()
    await alice.tell(Devices("d"))
    assert [device.this for device in (await alice.hear(DeviceList)).devices] == [True]
    thief = await call()
    await thief.tell(Hello("alice", token=welcome.token))
    assert await refused(thief) == "password_needed"


async def test_a_program_that_passes_by_comes_back_with_its_password(
    real: RunningServer, call: Dial
) -> None:
    await registered(call)
    streams: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        streams.append(await real.dial())
        return streams[-1]

    hello = Hello("alice", password=PASSWORD, passing=True)
    async with open_chat(dial, hello) as chat:
        await chat.join("lobby")
        await streams[0].aclose()
        await chat.say("lobby", "still here")
    assert len(streams) == 2


async def test_whose_name_it_is_is_known_as_soon_as_it_is_registered(
    real: RunningServer,
) -> None:
    async with real.connect(name="alice") as alice:
        await alice.register(PASSWORD)
        assert alice.welcome.account


# ---------------------------------------------------------------- what is stored


@pytest.fixture(params=["memory", "sqlite"])
async def outdated(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[History, Account]]:
    """A history in which a password is kept in a form that is easy to attack by now."""
    kept = PasswordHasher(1, 8, 1).hash(PASSWORD)
    account = Account(Identity(7), Name("alice"), skeleton(Name("alice")), kept)
    async with AsyncExitStack() as stack:
        history: History = MemoryHistory()
        if request.param == "sqlite":
            history = await stack.enter_async_context(open_sqlite(tmp_path / "chat.db"))
        await history.append([], [Registered(account)])
        yield history, account


async def test_a_password_is_kept_in_todays_form_from_the_next_login_on(
    outdated: tuple[History, Account],
) -> None:
    history, account = outdated
    async with running_server(history=history) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(3):  # also for those who come at the same moment
                nursery.start_soon(partial(log_in, dialler(server), password=PASSWORD))
        (stored,) = await history.accounts()
        assert stored.password is not None
        assert stored.password != account.password
        verdict = check_password(Secret(PASSWORD), stored.password)
        assert verdict.is_right
        assert verdict.renewed is None
        await log_in(dialler(server), password=PASSWORD)
        assert await history.accounts() == [stored], "once is enough"


async def test_another_form_of_a_password_is_not_kept_instead_of_another_password(
    outdated: tuple[History, Account],
) -> None:
    history, account = outdated
    assert account.password is not None
    await history.append([], [Registered(evolve(account, password=ANOTHER))])
    await history.append([], [Rehashed(account.identity, account.password, "stale")])
    (stored,) = await history.accounts()
    assert stored.password == ANOTHER


async def test_an_account_outlasts_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with open_sqlite(path) as history, running_server(history=history) as server:
        alice, welcome = await registered(dialler(server))
        await alice.tell(Ping(), Join("tea"))
        await alice.hear(Pong)
        await alice.hear(Event)
    async with open_sqlite(path) as history, running_server(history=history) as server:
        thief = await dialler(server)()
        await thief.tell(Hello("alice"))
        assert await refused(thief) == "password_needed"
        _, again = await log_in(dialler(server), token=welcome.token)
        assert [state.room for state in again.rooms] == ["tea"]
        await log_in(dialler(server), password=PASSWORD)
    assert PASSWORD.encode() not in path.read_bytes()


async def test_a_running_server_learns_of_an_account_that_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.history.sqlite.LOOK_EVERY", 0.01)
    path = tmp_path / "chat.db"
    account = Account(Identity(7), Name("alice"), skeleton(Name("alice")), None)
    async with open_sqlite(path) as history:
        async with trio.open_nursery() as nursery:
            found: list[Account] = []

            async def wait() -> None:
                await history.wait_for_change()
                found.extend(await history.accounts())

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await _add_elsewhere(path, account)
        assert found == [account]


async def _add_elsewhere(path: Path, account: Account) -> None:
    """As the command line does beside a server, which holds the folder."""

    def add() -> None:
        db = sqlite3.connect(path, isolation_level=None)
        row = [account.identity, account.name, account.skeleton, None, 0]
        db.execute("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", row)
        db.close()

    await trio.to_thread.run_sync(add)


async def test_a_bots_token_is_good_for_what_it_is_for(real: RunningServer, call: Dial) -> None:
    scope = Scope(frozenset({Verb.JOIN, Verb.SAY}), frozenset({Name("ops")}))

    class Bots(MemoryHistory):
        async def recognise(self, token: bytes) -> Stay | None:
            known = Token(hash_token(TOKEN))
            stay = Stay(DeviceId(5), Identity(7), Name("ci"), known, scope=scope)
            return stay if token == known.current else None

    history = Bots()
    account = Account(Identity(7), Name("ci"), skeleton(Name("ci")), None)
    await history.append([], [Registered(account)])
    async with running_server(history=history) as server:
        alice = await dialler(server)()
        await alice.enter("alice", "ops", "tea")
        bots = [await log_in(dialler(server), "ci", token=TOKEN) for _ in range(2)]
        assert {welcome.token for _, welcome in bots} == {TOKEN}, "it stays good"
        for bot, _ in bots:
            await bot.tell(Join("ops", 99, quiet=True, id="j"), Say("ops", "built", id=None))
            await bot.hear(Ack)
            await bot.hear(Ack)
        bot = bots[0][0]
        await bot.tell(Join("tea", quiet=True, id="a"), Who("ops", "b"), Register("x", id="c"))
        replies = [r for r in await bot.hear_all(5) if isinstance(r, Error)]
        assert [reply.code for reply in replies] == ["not_allowed"] * 3
        for room in ("tea", "nowhere"):  # it does not learn which there are
            await bot.tell(Read(room, 1, id="r"), Topic(room, "x", id="t"), Who(room, "w"))
        replies = [r for r in await bot.hear_all(6) if isinstance(r, Error)]
        assert [reply.code for reply in replies] == ["not_allowed"] * 6
        stranger = await dialler(server)()
        await stranger.tell(Hello("ci"))
        assert await refused(stranger) == "password_needed"


# ---------------------------------------------------------------- whose it is


@pytest.fixture
async def with_tokens(virtual_time: None) -> AsyncIterator[RunningServer]:
    """Alice has an account, and two devices."""
    history = MemoryHistory()
    name, identity = Name("alice"), Identity(1)
    account = Account(identity, name, skeleton(name), None)
    keeps = [
        Keep(DeviceId(number), identity, name, Token(hash_token(word)))
        for number, word in enumerate([ONE, TWO], 1)
    ]
    await history.append([], [Registered(account), *keeps])
    async with running_server(history=history) as server:
        yield server


async def test_a_device_that_is_thrown_out_is_not_waited_for(
    with_tokens: RunningServer,
) -> None:
    call = dialler(with_tokens)
    one, _ = await log_in(call, token=ONE)
    two, _ = await log_in(call, token=TWO)
    await two.tell(Ping(), Join("lobby"))
    await two.hear(Pong)
    await two.hear(Event)
    await one.tell(Revoke("2", "v"))
    await one.hear(Done)
    await trio.sleep(COME_BACK_WITHIN + 1)
    await one.tell(Join("lobby", id="j"))
    assert (await one.hear(Ack)).seq == 3, "the other one has left"


async def test_a_guest_who_is_remembered_is_not_the_holder_of_the_name(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with open_sqlite(path) as history, running_server(history=history) as server:
        guest = await dialler(server)()
        token = (await guest.enter("alice", "tea")).token
        await guest.tell(Ping())
        await guest.hear(Pong)
    kept = hash_password(Secret(PASSWORD))
    account = Account(Identity(7), Name("alice"), skeleton(Name("alice")), kept)
    async with open_sqlite(path) as history:
        await history.append([], [Registered(account)])
        async with running_server(history=history) as server:
            again = await dialler(server)()
            await again.tell(Hello("alice", token=token))
            assert await refused(again) == "password_needed"
            _, welcome = await log_in(dialler(server), token=token, password=PASSWORD)
            assert welcome.account


# ---------------------------------------------------------------- many who guess


LOGINS = 60
"""Wrong passwords at once: three times as many as wait for their turn, so that most of
them are turned away. `nox -s hostile` tries a thousand, and times the others' pings."""


async def test_who_guesses_passwords_keeps_nobody_waiting(
    real: RunningServer, call: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = await registered(call)
    may_end = threading.Event()
    codes: list[str] = []

    def check_slowly(password: Secret, kept: str | None) -> Verdict:
        may_end.wait(timeout=20)
        return check_password(password, kept)

    async def guess(name: str) -> None:
        peer = await call()
        await peer.tell(Hello(name, password=GUESS))
        codes.append(await refused(peer))

    monkeypatch.setattr("trio_chat.hashing.check_password", check_slowly)
    async with trio.open_nursery() as nursery:
        for number in range(LOGINS):
            nursery.start_soon(guess, f"name{number}" if number % 2 else "alice")
        while len(codes) < LOGINS - QUEUE - 1:
            await alice.tell(Ping("p"))
            await alice.hear(Pong)
        assert set(codes) == {"try_later"}, "nobody's password was looked at meanwhile"
        may_end.set()
    assert codes[LOGINS - QUEUE - 1 :] == ["wrong_password"] * (QUEUE + 1)
    for _ in range(TRIES):  # whose passwords were looked at above is chance
        await guess("alice")
    thief = await call()
    await thief.tell(Hello("alice", password=PASSWORD))
    assert await refused(thief) == "try_later", "that is why guessing is no use"
    await alice.tell(Ping("p"))
    await alice.hear(Pong)
