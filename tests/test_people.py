"""Accounts and bots on the command line, beside a server that runs.

Passwords are hashed for real, in a thread, so the clock is real, too.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define

from tests.conftest import Dial, Peer, dialler
from trio_chat import banished, cli
from trio_chat.charter import Sanction
from trio_chat.errors import LinkLost, SetupError
from trio_chat.history import file, people
from trio_chat.history.sqlite import open_sqlite
from trio_chat.hub import Hub
from trio_chat.messages import Error, Event, Hello, Join, Leave, Ping, Pong, Register, Welcome
from trio_chat.names import Name
from trio_chat.testing import running_server
from trio_chat.tokens import find_bot

PASSWORD, ANOTHER = "correct horse", "battery staple"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    (tmp_path / "another").write_text(f"{ANOTHER}\n")
    for name in ("password", "another"):
        (tmp_path / name).chmod(0o600)
    return tmp_path


def run(folder: Path, *words: str) -> int:
    """A command, which may name the files of passwords."""
    named = [str(folder / word) if word in {"password", "another"} else word for word in words]
    named[1] = words[1]  # the command `account password`
    return cli.run([*named, "--data", str(folder)])


add = ("account", "add", "alice", "--password-file", "password")


# ---------------------------------------------------------------- without a server


@pytest.mark.parametrize("name", ["alice", "a1ice", "Alice"])
def test_a_name_has_one_account(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(folder, *add) == 0
    assert run(folder, "account", "add", name, "--password-file", "password") == 1
    assert "the account alice" in capfd.readouterr().err or name != "a1ice"
    assert run(folder, "bot", "add", name) == 1


@pytest.mark.parametrize("name", ["root", "r00t", "admin", "no name"])
def test_nobody_gets_such_a_name(folder: Path, name: str) -> None:
    assert run(folder, "account", "add", name, "--password-file", "password") == 2
    assert run(folder, "bot", "add", name) == 2


def test_accounts_and_bots_are_listed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(folder, *add, "--operator")
    run(folder, "bot", "add", "ci", "--room", "ops", "--may", "say", "--may", "join")
    capfd.readouterr()
    assert run(folder, "account", "list") == 0
    assert capfd.readouterr().out == "alice  operator  0 devices  never seen\n"
    assert run(folder, "bot", "list") == 0
    assert capfd.readouterr().out == "ci  ops  join say\n"


def test_what_is_changed_says_where(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    history = folder / "chat.db"
    run(folder, *add)
    told = capfd.readouterr()
    assert told.out == f"alice has an account ({history})\n"
    assert f"no history in {folder}, and so no server" in told.err
    run(folder, "account", "operator", "alice")
    assert tuple(capfd.readouterr()) == (f"alice is an operator ({history})\n", "")
    run(folder, "bot", "add", "ci")
    told = capfd.readouterr()
    assert find_bot(told.out.strip()) == "ci"
    assert len(told.err.splitlines()) == 1
    assert f"ci is a bot ({history})" in told.err


def test_an_operator_is_made_and_unmade(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(folder, *add)
    run(folder, "account", "operator", "alice")
    run(folder, "account", "list")
    assert "operator" in capfd.readouterr().out.splitlines()[-1]
    run(folder, "account", "operator", "alice", "--off")
    run(folder, "account", "list")
    assert "operator" not in capfd.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ("account", "remove", "bob"),
        ("account", "operator", "bob"),
        ("account", "password", "bob", "--password-file", "password"),
        ("bot", "revoke", "bob"),
        ("bot", "revoke", "alice"),
        ("account", "remove", "ci"),
    ],
    ids=" ".join,
)
def test_there_is_no_such(folder: Path, words: tuple[str, ...]) -> None:
    run(folder, *add)
    run(folder, "bot", "add", "ci")
    assert run(folder, *words) == 1


def test_what_was_a_bots_is_gone_with_it(folder: Path) -> None:
    run(folder, "bot", "add", "ci")
    run(folder, "bot", "revoke", "ci")
    with file.reading(folder / "chat.db") as db:
        for table in ("accounts", "devices"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608


async def test_an_older_server_is_left_alone(folder: Path) -> None:
    path = folder / "chat.db"
    async with open_sqlite(path) as history:
        history._db.execute("PRAGMA user_version = 3")  # noqa: SLF001 # what such a one has
        with pytest.raises(SetupError, match="older"), file.writing(path) as db:
            people.bots(db)


def test_who_may_not_come_is_listed_until_it_may(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "banish", "add", "Eve", "--reason", "spam") == 0
    assert run(folder, "banish", "add", "192.0.2.7/24", "--lasts", "7d") == 0
    capfd.readouterr()
    assert run(folder, "banish", "list") == 0
    address, name = capfd.readouterr().out.splitlines()
    assert address.startswith("192.0.2.0/24  until 20")
    assert name == "eve           for ever                spam"
    assert run(folder, "banish", "remove", "eve") == 0
    assert run(folder, "banish", "remove", "eve") == 1


def test_there_is_an_end_to_who_may_not_come_and_what_is_over_is_forgotten(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(banished, "MOST", 1)
    with file.writing(folder / "chat.db") as db:
        people.banish(db, "ann", Sanction(datetime(2026, 1, 1, tzinfo=UTC), ""))
    assert run(folder, "banish", "add", "eve") == 0
    assert run(folder, "banish", "add", "bob") == 1
    with file.reading(folder / "chat.db") as db:
        assert list(people.banished(db)) == ["eve"]


@pytest.mark.parametrize(
    ("what", "status"),
    [("alice", 1), ("127.0.0.1", 2), ("::1", 2), ("1.2.3.400", 2), ("no name", 2), ("", 2)],
)
def test_nobody_banishes(folder: Path, what: str, status: int) -> None:
    run(folder, *add, "--operator")
    assert run(folder, "banish", "add", what) == status


# ---------------------------------------------------------------- beside a server


@define
class Served:
    """A server whose file is in a folder."""

    folder: Path
    hub: Hub
    dial: Dial

    async def run(self, *words: str) -> None:
        assert await trio.to_thread.run_sync(partial(run, self.folder, *words)) == 0

    async def log_in(self, name: str, password: str | None = None) -> tuple[Peer, Welcome]:
        peer = await self.dial()
        await peer.tell(Hello(name, password=password))
        return peer, await peer.hear(Welcome)

    async def refused(self, hello: Hello) -> str:
        peer = await self.dial()
        await peer.tell(hello)
        return (await peer.hear(Error)).code

    async def until(self, holds: Callable[[], bool]) -> None:
        """The server looks every now and then; talk to it meanwhile."""
        peer, _ = await self.log_in("waiter")
        while not holds():
            await peer.tell(Ping("p"))
            await peer.hear(Pong)
        await peer.link.stream.aclose()

    def knows(self, name: str) -> bool:
        member = self.hub.members.get(Name(name))
        return member is not None and member.has_account


@pytest.fixture
async def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr("trio_chat.history.sqlite.LOOK_EVERY", 0.01)
    path = folder / "chat.db"
    async with open_sqlite(path) as history, running_server(history=history) as server:
        yield Served(folder, server._server._hub, dialler(server))  # noqa: SLF001


async def heard_last(peer: Peer) -> None:
    with suppress(LinkLost):
        while True:
            await peer.link.receive()


async def test_an_account_that_is_added_is_good_at_once(served: Served) -> None:
    await served.run(*add, "--operator")
    await served.until(lambda: served.knows("alice"))
    assert await served.refused(Hello("alice")) == "password_needed"
    assert await served.refused(Hello("a1ice")) == "name_taken"
    await served.log_in("alice", PASSWORD)
    assert served.hub.members[Name("alice")].is_operator


async def test_who_has_no_account_any_more_is_put_out(served: Served) -> None:
    alice, welcome = await registered(served)
    bob, _ = await served.log_in("bob")
    await bob.tell(Join("tea"))
    await bob.hear(Event)
    await alice.tell(Ping("p"), Join("tea"))
    await bob.hear(Event)
    await served.run("account", "remove", "alice")
    await heard_last(alice)
    left = await bob.hear(Event)
    assert (left.by, left.message) == ("alice", Leave("tea", lost=True))
    again = await served.dial()
    await again.tell(Hello("alice", token=welcome.token))
    assert not (await again.hear(Welcome)).account, "a guest as any other"
    assert not served.hub.lost, "nobody waits for it to come back"


async def registered(served: Served) -> tuple[Peer, Welcome]:
    alice, welcome = await served.log_in("alice")
    await alice.tell(Register(PASSWORD, id="r"))
    await alice.link.receive()
    return alice, welcome


async def test_a_removed_account_is_gone_while_nobody_is_here_with_it(served: Served) -> None:
    await served.run(*add)
    await served.until(lambda: served.knows("alice"))
    await served.run("account", "remove", "alice")
    await served.until(lambda: Name("alice") not in served.hub.members)
    await served.log_in("a1ice")


async def test_another_password_puts_out_who_came_with_the_old_one(served: Served) -> None:
    alice, welcome = await registered(served)
    await served.run("account", "password", "alice", "--password-file", "another")
    await heard_last(alice)
    assert await served.refused(Hello("alice", token=welcome.token)) == "password_needed"
    assert await served.refused(Hello("alice", password=PASSWORD)) == "wrong_password"
    await served.log_in("alice", ANOTHER)


async def test_who_changes_the_password_itself_stays(served: Served) -> None:
    alice, _ = await registered(served)
    await alice.tell(Register(ANOTHER, old=PASSWORD, id="r"))
    await alice.link.receive()
    await served.run("bot", "add", "ci")
    await served.until(lambda: served.knows("ci"))
    await alice.tell(Ping("p"))
    await alice.hear(Pong)


async def test_a_bot_is_in_until_its_token_is_revoked(
    served: Served, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await served.run("bot", "add", "ci")
    token = capfd.readouterr().out.strip()
    assert token.startswith("ci.")
    hello = Hello("ci", token=token)
    bot = await served.dial()
    await bot.tell(hello)
    await bot.hear(Welcome)
    await served.until(lambda: served.knows("ci"))
    await served.run("bot", "revoke", "ci")
    await heard_last(bot)
    assert await served.refused(hello) == "wrong_password", "not even as a guest"
    assert await served.refused(Hello("bob", token=token)) == "wrong_password"
    assert "bug" not in caplog.text


async def test_a_guest_whose_name_becomes_an_accounts_is_put_out(served: Served) -> None:
    bob, _ = await served.log_in("bob")
    guest, welcome = await served.log_in("alice")
    await bob.tell(Join("tea"))
    await bob.hear(Event)
    await guest.tell(Ping("p"), Join("tea"))
    await guest.hear(Pong)
    await bob.hear(Event)
    await served.run(*add)
    left = await bob.hear(Event)
    assert (left.by, left.message) == ("alice", Leave("tea", lost=True))
    await served.until(lambda: served.knows("alice"))
    again = Hello("alice", token=welcome.token)
    assert await served.refused(again) == "password_needed"
    await served.log_in("alice", PASSWORD)


async def test_a_guest_whose_name_looks_like_an_accounts_may_stay_until_it_goes(
    served: Served,
) -> None:
    alike, _ = await served.log_in("moon")
    await served.run("bot", "add", "m00n")
    await served.until(lambda: served.knows("m00n"))
    await alike.tell(Ping("p"))
    await alike.hear(Pong)
    await alike.link.stream.aclose()
    await served.until(lambda: Name("moon") not in served.hub.members)
    assert await served.refused(Hello("moon")) == "name_taken"


async def test_a_history_that_fails_for_a_moment_is_asked_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.reception.ASK_AGAIN", 0.01)
    history = served.hub.history
    history._db.execute("ALTER TABLE accounts RENAME TO hidden")  # type: ignore[attr-defined] # noqa: SLF001
    with file.writing(served.folder / "chat.db") as db:
        db.execute("INSERT INTO meta VALUES ('x', 'y')")
    await served.log_in("bob")
    history._db.execute("ALTER TABLE hidden RENAME TO accounts")  # type: ignore[attr-defined] # noqa: SLF001
    await served.run(*add)
    await served.until(lambda: served.knows("alice"))


async def test_who_is_banished_on_the_command_line_is_put_out(served: Served) -> None:
    eve, _ = await served.log_in("eve")
    await served.run("banish", "add", "eve", "--reason", "spam")
    await heard_last(eve)
    peer = await served.dial()
    await peer.tell(Hello("eve"))
    refusal = await peer.hear(Error)
    assert (refusal.code, refusal.retry) == ("banned", None)
    assert "spam" in refusal.text
    await served.run("banish", "remove", "eve")
    await served.until(lambda: not served.hub.banished.sanctions)
    await served.log_in("eve")
