"""Coming in with a password or a token, from the command line, over a real port.

Passwords are hashed for real, in a thread, so the clock is real, too.
"""

import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define

from trio_chat import asking, cli, config
from trio_chat.errors import SetupError
from trio_chat.history.sqlite import open_sqlite
from trio_chat.messages import Say
from trio_chat.secret import Secret
from trio_chat.testing import RunningServer, running_server

PASSWORD, WRONG = "correct horse", "battery staple"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings but those of the test, and a new journal."""
    for name in os.environ:
        if name.startswith(config.ENV_PREFIX):
            monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@define
class Typist:
    """Somebody at a terminal, who types these, and how often that was asked for."""

    words: list[str]
    asked: int = 0

    def ask(self, _: str) -> Secret:
        self.asked += 1
        if not self.words:
            raise SetupError("there is no terminal")
        return Secret(self.words.pop(0))


@pytest.fixture
def typist(monkeypatch: pytest.MonkeyPatch) -> Typist:
    typist = Typist([])
    monkeypatch.setattr(asking, "ask", typist.ask)
    return typist


@pytest.fixture
async def server(home: Path) -> AsyncIterator[RunningServer]:
    """alice has an account, and there is a room ops."""
    async with open_sqlite(home / "chat.db") as history, running_server(history=history) as it:
        async with it.connect(name="alice") as alice:
            await alice.join("ops")
            await alice.register(PASSWORD)
        yield it


async def run(server: RunningServer, *words: str) -> int:
    """A command, in a thread: it has a loop of its own."""
    at = ["--server", f"127.0.0.1:{server.port}"]
    return await trio.to_thread.run_sync(partial(cli.run, [*words, *at]))


def written(path: Path, text: str) -> str:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return str(path)


async def said(server: RunningServer) -> list[tuple[str, str]]:
    async with server.connect(name="reader") as reader:
        page = await reader.history("ops")
    posts = [(event.by, event.message) for event in page.events]
    return [(by, post.text) for by, post in posts if isinstance(post, Say)]


@pytest.mark.parametrize("words", [[PASSWORD], [WRONG, PASSWORD], [WRONG, WRONG, PASSWORD]])
async def test_a_password_is_asked_for_until_it_is_right(
    server: RunningServer, typist: Typist, words: list[str]
) -> None:
    typist.words = [*words]
    assert await run(server, "say", "ops", "hi", "--name", "alice") == 0
    assert await said(server) == [("alice", "hi")]
    assert typist.asked == len(words)


async def test_after_three_it_ends(server: RunningServer, typist: Typist) -> None:
    typist.words = [WRONG] * 4
    assert await run(server, "say", "ops", "hi", "--name", "alice") == 1
    assert typist.asked == 3


async def test_nobody_is_asked_who_needs_none(server: RunningServer, typist: Typist) -> None:
    assert await run(server, "say", "ops", "hi", "--name", "bob") == 0
    assert typist.asked == 0


async def test_a_file_has_it_once(
    server: RunningServer, typist: Typist, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    right, wrong = written(home / "right", PASSWORD), written(home / "wrong", WRONG)
    command = ("tail", "ops", "--name", "alice", "--password-file")
    assert await run(server, *command, right) == 0
    assert await run(server, *command, wrong) == 1
    told = capfd.readouterr()
    assert WRONG not in told.err + told.out
    assert typist.asked == 0


async def test_where_nobody_can_be_asked_the_command_says_what_to_do(
    server: RunningServer, typist: Typist
) -> None:
    assert await run(server, "who", "ops", "--name", "alice") == 2
    assert typist.asked == 1


async def test_a_bot_has_its_name_with_its_token(
    server: RunningServer, typist: Typist, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await trio.to_thread.run_sync(
        cli.run, ["bot", "add", "ci", "--room", "ops", "--data", str(home)]
    )
    token = capfd.readouterr().out.strip()
    named = written(home / "token", token)
    assert await run(server, "say", "ops", "built", "--token-file", named) == 0
    assert await said(server) == [("ci", "built")]
    assert await run(server, "rooms", "--token-file", named) == 0
    bad = written(home / "bad", f"{token}x")
    assert await run(server, "say", "ops", "hi", "--token-file", bad) == 1
    assert typist.asked == 0
    told = capfd.readouterr()
    assert token not in told.err + told.out


async def test_who_is_called_otherwise_than_it_was_typed_is_told_once(
    server: RunningServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:  # noqa: ASYNC230 # it is always ready
        monkeypatch.setattr("sys.stdin", nothing)
        for name, told in (
            ("Ann", "you are called ann here: names have no capitals"),
            ("ANN", ""),
            ("ben", ""),
        ):
            assert await run(server, "connect", name) == 0
            assert told == capfd.readouterr().err.partition(": ")[2].strip()


async def test_who_says_something_has_a_name(server: RunningServer) -> None:
    assert await run(server, "say", "ops", "hi") == 2
