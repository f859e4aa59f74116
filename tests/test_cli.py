"""The command line, in this process where that will do, and in its own where it won't."""

import io
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio
from attrs import asdict, define, field

import trio_chat
from tests.conftest import Peer
from tests.proof import processes
from trio_chat import cli, config, upkeep
from trio_chat.ages import parse_age
from trio_chat.client.address import Address, parse_address
from trio_chat.client.link import Link, dial_tcp
from trio_chat.doors import certificate
from trio_chat.doors.sites import Sites
from trio_chat.errors import (
    BadName,
    LinkLost,
    NameTaken,
    NotJson,
    Refused,
    ServerChanged,
    SetupError,
)
from trio_chat.history import archive, sqlite
from trio_chat.history.sqlite import Retention, SqliteHistory
from trio_chat.messages import Event, Goodbye, Say
from trio_chat.pacing import BURST
from trio_chat.server import Server
from trio_chat.session import Settings
from trio_chat.testing import running_server
from trio_chat.wire import SERVER

REAL_SECONDS = 120
"""Some tests start a few processes, one after the other."""

WITHIN = 60.0
"""Seconds for a process to do what it is told, on a machine that is busy with the rest."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings but those of the test."""
    for name in os.environ:
        if name.startswith(config.ENV_PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # people have it buffered
    return tmp_path


def only_line(text: str) -> str:
    """The one line that a person is told; as root there is a warning in the log as well."""
    assert "Traceback" not in text
    (line,) = filter(None, map(told, text.splitlines()))
    assert line.startswith("trio_chat: ")
    return line


def told(line: str) -> str:
    """What a person is told by a line, which may be one of a server's log."""
    if not line.startswith("{"):
        return line
    logged = json.loads(line)
    return f"trio_chat: {logged['why']}" if logged["event"] == "can't serve" else ""


# ---------------------------------------------------------------- settings


@define(eq=False)
class Served:
    """What a server was started with, that did not start."""

    settings: Settings | None = field(default=None, init=False)
    sites: Sites | None = field(default=None, init=False)
    host: str = field(default="", init=False)
    port: int = field(default=0, init=False)
    failure: BaseException | None = field(default=None, init=False)

    async def serve(self, server: Server, host: str, port: int, _place: str) -> None:
        await trio.lowlevel.checkpoint()
        self.settings, self.sites = server.settings, server.sites
        self.host, self.port = host, port
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """Keeps `serve` from doing more than to read its settings."""
    served = Served()
    monkeypatch.setattr("trio_chat.serving._serve_until_signalled", served.serve)
    monkeypatch.setattr("trio_chat.serving._prepare_process", lambda: None)
    return served


def write_config(home: Path, text: str) -> Path:
    path = home / "trio_chat" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_defaults(served: Served) -> None:
    assert cli.run(["serve", "--no-history"]) == 0
    assert (served.host, served.port, served.settings) == ("127.0.0.1", 8765, Settings())


def test_guests_may_be_kept_out(served: Served) -> None:
    assert cli.run(["serve", "--no-history", "--guests", "no"]) == 0
    assert served.settings == Settings(guests=False)


def test_flag_before_environment_before_file_before_default(
    served: Served, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(home, '[serve]\nno-history = true\nhost = "file"\nport = 1\nrate = 1.5\n')
    monkeypatch.setenv("TRIO_CHAT_HOST", "environment")
    monkeypatch.setenv("TRIO_CHAT_PORT", "2")
    assert cli.run(["serve", "--host", "flag"]) == 0
    assert (served.host, served.port) == ("flag", 2)
    assert served.settings == Settings(rate=1.5, burst=BURST)


def test_a_file_that_is_named_counts_instead_of_the_usual_one(
    served: Served, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(home, "[serve]\nport = 1\n")
    other = home / "other.toml"
    other.write_text("[serve]\nno_history = true\nburst = 7\n[connect]\nroom = 'tea'\n")
    assert cli.run(["serve", "--config", str(other)]) == 0
    assert (served.port, served.settings) == (8765, Settings(burst=7))
    monkeypatch.setenv("TRIO_CHAT_CONFIG", str(other))
    assert cli.run(["serve", "--burst", "8"]) == 0
    assert served.settings == Settings(burst=8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 1", "there is no table for port"),
        ("servers = 1", "[servers.NAME]"),
        ("[server]", "there is no table for server"),
        ("[serve]\nprot = 1", '"[prot]"'),
        ("[serve]\nport = 'x'", '"x" into int'),
        ("serve = 3", "must be a mapping"),
        ("[serve", "can't understand"),
        ("\udcff", "can't understand"),
    ],
)
def test_a_mistake_in_the_file_names_the_file(
    served: Served, home: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = write_config(home, "")
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert cli.run(["serve", "--no-history"]) == 2
    line = only_line(capsys.readouterr().err)
    assert said in line
    assert str(path) in line
    assert served.settings is None


def test_the_origins_that_are_allowed(
    served: Served, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "--no-history", "--host", "chat.lan"]
    assert cli.run([*words, "--allow-origin", "https://a/", "--allow-origin", "http://b"]) == 0
    assert served.sites is not None
    assert list(served.sites.origins) == ["https://a", "http://b"]
    assert {"chat.lan", "localhost"} <= set(served.sites.names)
    write_config(home, '[serve]\nallow_origin = ["https://c"]\n')
    assert cli.run(words) == 0
    assert list(served.sites.origins) == ["https://c"]
    assert cli.run([*words, "--allow-origin", "chat.lan"]) == 2
    assert "--allow-origin" in capsys.readouterr().err


# ---------------------------------------------------------------- servers with names

SERVERS = """
[servers.default]
host = "home.example"
name = "al"
[servers.work]
host = "[::1]"
port = 9000
name = "alice"
room = "garden"
[servers.bare]
host = "bare.example"
[servers.near]
host = "127.0.0.1:28765"
[servers.far]
link = "trio-chat://far.example:1/tea"
"""


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("connect", ("al", "trio-chat://home.example:8765", "lobby")),
        ("connect bob", ("bob", "trio-chat://home.example:8765", "lobby")),
        ("connect --server work", ("alice", "[::1]:9000", "garden")),
        ("connect bob --server work --room tea", ("bob", "[::1]:9000", "tea")),
        ("connect bob --server bare", ("bob", "trio-chat://bare.example:8765", "lobby")),
        ("connect bob --server other:1", ("bob", "trio-chat://other:1", "lobby")),
        ("connect bob --server plain://other:1", ("bob", "plain://other:1", "lobby")),
        ("say ops --server work", ("alice", "[::1]:9000", "ops")),
        ("say ops", ("al", "trio-chat://home.example:8765", "ops")),
        ("connect bob --server near", ("bob", "127.0.0.1:28765", "lobby")),
        ("tail --server far", (None, "trio-chat://far.example:1/tea", "tea")),
        ("tail --server trio-chat://a/tea", (None, "trio-chat://a:8765/tea", "tea")),
        ("connect bob --server trio-chat://a/tea", ("bob", "trio-chat://a:8765/tea", "tea")),
        ("connect bob --server trio-chat://a", ("bob", "trio-chat://a:8765", "lobby")),
        ("tail --server work", (None, "[::1]:9000", "garden")),
        ("tail ops --name bob", ("bob", "trio-chat://home.example:8765", "ops")),
        ("search soup --server work", (None, "[::1]:9000", None)),
    ],
)
def test_what_is_set_for_a_server_counts_where_nothing_else_is_set(
    home: Path, words: str, meant: tuple[str | None, str, str | None]
) -> None:
    write_config(home, SERVERS)
    assert meant == meaning(words)


def test_the_environment_and_the_table_of_a_command_come_before(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(home, SERVERS + "[connect]\nserver = 'work'\nroom = 'tea'\n")
    assert meaning("connect") == ("alice", "[::1]:9000", "tea")
    monkeypatch.setenv("TRIO_CHAT_SERVER", "bare")
    monkeypatch.setenv("TRIO_CHAT_NAME", "eve")
    monkeypatch.setenv("TRIO_CHAT_ROOM", "attic")
    assert meaning("connect") == ("eve", "trio-chat://bare.example:8765", "attic")
    assert meaning("connect --server work") == ("eve", "[::1]:9000", "attic")


def meaning(words: str) -> tuple[str | None, str, str | None]:
    """The name, the server and the room that a command is given."""
    cli.load([])
    cli.app.config = config.sources(None, cli.COMMANDS)
    _, bound, _ = cli.app.parse_args(words.split(), print_error=False, exit_on_error=False)
    bound.apply_defaults()
    given = dict(bound.arguments)
    if "visit" in given:
        given |= asdict(given["visit"], recurse=False)
    return given.get("name"), str(given["server"]), given["room"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[servers]\nwork = 1", "1 is no table"),
        ("[servers.work]\nport = 1", "there has to be a host"),
        ("[servers.work]\nhost = 'a'\nlink = 'trio-chat://a'", "a host, or a link"),
        ("[servers.work]\nlink = 'a'", "a link is trio-chat://"),
        ("[servers.work]\nlink = 'trio-chat://a'\nport = 1", "with its own port"),
        ("[servers.work]\nlink = 'trio-chat://a#b'", "a pin has 43"),
        ("[servers.work]\nhots = 'a'", "there is no hots, only host, port, link, name"),
        ("[servers.work]\nhost = 1", "host can't be 1"),
        ("[servers.work]\nhost = 'a'\nport = true", "port can't be True"),
        ("[servers.work]\nhost = 'a'\nport = 65536", "65536' is not"),
        ("[servers.work]\nhost = 'a:1'\nport = 2", "a:1 has a port already"),
        ("[servers.work]\nhost = 'a:http'", "'http' is not"),
        ("[servers.work]\nhost = 'plain://a'", "is a link, and no host"),
        ("[servers.work]\nhost = 'a b'", "can't be the name of a host"),
        ("[servers.work]\nhost = 'a'\nname = '4'", "name: a name is a letter"),
        ("[servers.work]\nhost = 'a'\nroom = ''", "room: a name is a letter"),
    ],
)
def test_a_mistake_at_one_server_stops_who_means_it_and_nobody_else(
    served: Served, home: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = write_config(home, f"{text}\n[servers.default]\nhost = '127.0.0.1:1'\n")
    assert cli.run(["serve", "--no-history"]) == 0
    assert cli.run(["rooms"]) == 3, "there is no server, but it is looked for"
    capsys.readouterr()
    assert cli.run(["rooms", "--server", "work"]) == 2
    line = only_line(capsys.readouterr().err)
    assert line.startswith(f"trio_chat: {path}: [servers.work]: ")
    assert said in line


def test_a_mistake_at_the_usual_server_is_told_where_none_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(home, "[servers.default]\nhots = 'a'\n")
    assert cli.run(["rooms"]) == 2
    assert "[servers.default]: there is no hots" in only_line(capsys.readouterr().err)
    assert cli.run(["rooms", "--server", "plain://127.0.0.1:1"]) == 3


def test_a_doctor_names_each_mistake_at_a_server(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(home, SERVERS + "[servers.a]\nhots = 'a'\n[servers.b]\nport = 1\n")
    assert cli.run(["doctor", "--port", free_port()]) == 0
    lines = capsys.readouterr().out.splitlines()
    one, other = (line for line in lines if line.startswith("warning  settings    "))
    assert f"{path}: [servers.a]: there is no hots, only host" in one
    assert f"{path}: [servers.b]: there has to be a host, or a link; put it right" in other


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sevre", 'Did you mean "serve"?'),
        ("conect alice", 'Did you mean "connect"?'),
        ("frob", 'Unknown command "frob" ('),
        ("serve --prot 1", "Did you mean --port?"),
        ("serve --port", "--port requires an argument"),
        ("serve --port x", "--port"),
        ("serve --port 65536", "--port"),
        ("serve --port -1", "--port"),
        ("serve --rate nan", "--rate"),
        ("serve --rate -1", "--rate"),
        ("serve --burst 0", "--burst"),
        ("serve --sync maybe", '"full", "normal"'),
        ("serve --retain 90", "'90' is not a number and s, m, h, d or w, as in 90d"),
        ("serve --retain 0d", "0d is not between"),
        ("serve --retain-events 0", "--retain-events"),
        ("serve --no-history --retain 1d", "--no-history"),
        ("serve --no-history --retain-events 1", "--no-history"),
        ("serve now", "Too many arguments: now"),
        ("serve --config missing.toml", "can't read missing.toml"),
        ("connect", "NAME"),
        ("connect alice bob", "Too many arguments: bob"),
        ("connect alice --server ::1", "brackets"),
        ("connect alice --server trio-chat://a#b", "a pin has 43"),
        ("bench --server trio-chat://a", "without TLS only"),
        ("serve --host 0.0.0.0", "--insecure"),
        ("serve --tls-key key.pem", "--tls-cert"),
        ("serve --tls-cert missing.pem", "can't read the key missing.pem"),
        ("say", "ROOM"),
        ("say lobby hi", "--name"),
        ("say lobby hi there --name a", "Too many arguments: there"),
        ("say lobby --nmae --name a", "looks like an option"),
        ("say lobby hi --name a --wait 0", "--wait"),
        ("say lobby hi --name a --wait nan", "--wait"),
        ("say lobby hi --name 4a", "'4a' is not"),
        ("say 4 hi --name a", "'4' is not"),
        ("tail", "ROOM"),
        ("tail 4", "'4' is not"),
        ("tail lobby --name 4a", "'4a' is not"),
        ("tail lobby --lines -1", "--lines"),
        ("tail lobby --after -1", "--after"),
        ("tail lobby --after 9007199254740993", "--after"),
        ("search", "WORD"),
        ("search soup --limit 0", "--limit"),
        ("search soup --room 4", "'4' is not"),
        ("say @4 hi --name a", "'4' is not"),
        ("rooms lobby", "Too many arguments: lobby"),
        ("who 4", "'4' is not"),
        ("connect alice --server host:http", "'http'"),
        ("history export", "no history in"),
        ("history export 4", "a name is"),
        ("history import missing.jsonl", "can't read missing.jsonl: No such file"),
        ("history import a b", "Too many arguments: b"),
        ("backup", "FILE"),
        ("backup copy.db", "no history in"),
        ("doctor --port 0", "--port"),
        ("doctor --tls-key key.pem", "--tls-cert"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    capfd: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    assert cli.run(words.split()) == 2
    captured = capfd.readouterr()
    assert said in only_line(captured.err)
    assert captured.out == ""


@pytest.mark.parametrize("words", ["serve --tls-key k", "serve --prot 1", "serve --config no"])
def test_a_server_that_does_not_start_says_so_in_its_log(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    assert cli.run(words.split()) == 2
    line = json.loads(capfd.readouterr().err)
    assert (line["event"], line["level"]) == ("can't serve", "error")
    assert (line["logger"], "timestamp" in line) == ("trio_chat.logs", True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert cli.run(words.split()) == 2
    assert only_line(capfd.readouterr().err) == f"trio_chat: {line['why']}"


def test_what_is_no_server_has_no_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["say", "serve", "hi"]) == 2
    assert only_line(capfd.readouterr().err).startswith("trio_chat: --name")


def test_a_data_folder_that_can_not_be_made(
    served: Served, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").touch()
    assert cli.run(["serve", "--data", str(home / "file" / "folder")]) == 2
    assert "--data" in only_line(capsys.readouterr().err)
    assert served.settings is None


def test_the_data_folder_is_private(served: Served, home: Path) -> None:
    pytest.importorskip("trio_chat.history.sqlite")
    assert cli.run(["serve"]) == 0
    assert served.settings is not None
    assert (home / "trio_chat").stat().st_mode & 0o777 == 0o700
    assert (home / "trio_chat" / config.HISTORY_FILE).exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("5m", 300), ("2h", 7200), ("90d", 7_776_000), ("52w", 31_449_600)],
)
def test_how_long_something_is_kept_is_read(text: str, seconds: int) -> None:
    assert parse_age(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "d", "90", "-1d", "1.5d", "1 d", "1D", "1y", "²d", "0s", "36526d", "9" * 99 + "w"],
)
def test_what_is_no_time_to_keep_something_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_age(text)


@pytest.mark.parametrize(
    ("words", "retention"),
    [
        ("", Retention()),
        ("--retain 90d", Retention(timedelta(days=90))),
        ("--retain 1h --retain-events 5", Retention(timedelta(hours=1), 5)),
    ],
)
def test_what_is_to_be_kept_is_kept(
    served: Served, monkeypatch: pytest.MonkeyPatch, words: str, retention: Retention
) -> None:
    opened = []

    def open_sqlite(path: Path, **options: Any) -> AbstractAsyncContextManager[SqliteHistory]:
        opened.append(options["retention"])
        return plain_open(path, **options)

    plain_open = sqlite.open_sqlite
    monkeypatch.setattr(sqlite, "open_sqlite", open_sqlite)
    assert cli.run(["serve", *words.split()]) == 0
    assert opened == [retention]


PIN = "Zm9y-ZXZl_GZvcmV2ZXJmb3JldmVyZm9yZXZlcmZvcm"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("trio-chat://a.example", Address("a.example", is_secure=True)),
        ("trio-chat://a.example:1/tea", Address("a.example", 1, is_secure=True, room="tea")),
        (f"trio-chat://[::1]:2#{PIN}", Address("::1", 2, is_secure=True, pin=PIN)),
        (
            f"trio-chat://a/b%C3%BCro#{PIN}",
            Address("a", is_secure=True, pin=PIN, room="b\u00fcro"),
        ),
        ("localhost", Address("localhost", 8765)),
        ("127.0.0.2:7", Address("127.0.0.2", 7)),
        ("chat.example.org:1", Address("chat.example.org", 1, is_secure=True)),
        ("localhost.example.org", Address("localhost.example.org", is_secure=True)),
        ("10.0.0.5", Address("10.0.0.5", is_secure=True)),
        ("[fd00::1]:9", Address("fd00::1", 9, is_secure=True)),
        ("plain://10.0.0.5:9", Address("10.0.0.5", 9)),
        ("plain://[::1]", Address("::1", 8765)),
        ("[::1]", Address("::1", 8765)),
        ("[::1]:65535", Address("::1", 65535)),
        ("bücher.example:80", Address("bücher.example", 80, is_secure=True)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":1", "host:", "host:0", "host:65536", "host:-1", "host:²"),
        *("::1", "[::1", "[]:1", "a..b", "a b", "a\x00b", "x" * 64, "\x1b[2J"),
        *("trio-chat://", "trio-chat:///tea", "trio-chat://a:0", "trio-chat://a/-"),
        *("trio-chat://a#", f"trio-chat://a#{PIN}x", f"trio-chat://a#{PIN[1:]}+"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"brackets|can't be|is not|is none"):
        parse_address(text)


def nested(failure: BaseException) -> BaseException:
    return BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [failure])])


@pytest.mark.parametrize("wrap", [lambda failure: failure, nested], ids=["bare", "nested"])
@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (SetupError("no way"), 2, "trio_chat: no way\n"),
        (LinkLost("gone"), 3, "--server HOST:PORT"),
        (Refused("3 lines"), 1, "trio_chat: 3 lines\n"),
        (NameTaken("no"), 1, "trio_chat: no\n"),
        (BadName("4lice"), 2, "trio_chat: 4lice\n"),
        (NotJson("what?"), 2, "trio_chat: what?\n"),
        (ServerChanged("not that one"), 2, "trio_chat: not that one\n"),
        (Refused("\x1b[2J\nevil"), 1, "trio_chat: \ufffd[2J\ufffdevil\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_it_ends(
    *,
    served: Served,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    wrap: Callable[[BaseException], BaseException],
    failure: BaseException,
    status: int,
    said: str,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    served.failure = wrap(failure)
    assert cli.run(["serve", "--no-history"]) == status
    err = capsys.readouterr().err
    assert said in err if said else not err


def test_a_bug_is_not_hidden(served: Served) -> None:
    served.failure = RuntimeError("bug")
    with pytest.raises(RuntimeError, match="bug"):
        cli.run(["serve", "--no-history"])


# ---------------------------------------------------------------- what it prints


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"{config.VERSION}\n"
    assert f"trio_chat {trio_chat.__version__}" == config.VERSION
    assert trio_chat.__version__ == metadata.version("trio-chat")


@pytest.mark.parametrize(
    "command",
    [
        *("", "serve", "connect", "say", "tail", "rooms", "who", "search", "schema"),
        *("history", "history export", "history import", "backup", "doctor", "bench"),
    ],
)
def test_help_shows_examples_that_can_be_copied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.run([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    _, is_there, examples = out.partition("Example")
    assert is_there
    assert f"trio_chat {command}".rstrip() in out.replace("trio-chat", "trio_chat")
    typed = f"{config.PROGRAM} ", "python -m trio_chat "
    lines = [line.rstrip().replace(*typed, 1) for line in examples.splitlines()]
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("module", sorted(set(cli.MODULES.values())))
def test_each_command_is_where_it_is_said_to_be(module: str) -> None:
    commands = import_module(f"trio_chat.{module}").app.resolved_commands()
    names = {name for name in commands if not name.startswith("-")}
    assert names == {name for name, where in cli.MODULES.items() if where == module}


def test_who_only_connects_does_not_wait_for_what_a_server_needs() -> None:
    code = (
        "import sys, trio_chat.cli as cli; cli.run(['connect', '--help']);"
        " import trio_chat.client.screen, trio_chat.client.terminal; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    loaded = set(done.stdout.decode().splitlines()[-1].split())
    assert "prompt_toolkit" in loaded
    assert not loaded & {
        *("trio_chat.server", "trio_chat.history", "trio_chat.logs", "trio_chat.passwords"),
        *("structlog", "argon2", "h11", "wsproto", "prometheus_client", "cryptography"),
        *("psutil", "precis_i18n", "confusable_homoglyphs"),
    }


def test_schema_is_a_schema(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema"]) == 0
    schema = json.loads(capfd.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_options(shell: str) -> None:
    cli.load([])
    assert "no-history" in cli.app.generate_completion(shell=shell)  # type: ignore[arg-type] # a Literal


# ---------------------------------------------------------------- looking after it

LINES = b"".join(
    SERVER.encode(Event(seq, datetime(2026, 11, 21, tzinfo=UTC), "eve", Say(room, "hé\x9b!")))
    for room, seq in [("lobby", 1), ("lobby", 2), ("tea", 7)]
)


def take_in(*words: str, data: bytes = LINES) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return cli.run(["history", "import", *words])


def test_what_is_exported_is_imported_and_exported(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert take_in() == 0
    assert (home / "trio_chat").stat().st_mode & 0o777 == 0o700
    assert capfdbinary.readouterr() == (b"imported 3 events\n", b"")
    assert take_in("-") == 0
    assert capfdbinary.readouterr().out == b"imported 0 events; 3 were there already\n"
    assert cli.run(["history", "export"]) == 0
    assert capfdbinary.readouterr() == (LINES, b"")
    assert cli.run(["history", "export", "Tea"]) == 0
    assert capfdbinary.readouterr() == (LINES.splitlines(keepends=True)[2], b"")
    copy = home / "copy.jsonl"
    assert cli.run(["history", "export", "--output", str(copy)]) == 0
    assert copy.read_bytes() == LINES
    assert cli.run(["history", "import", str(copy)]) == 0
    assert b"imported 0 events; 3 were there already\n" in capfdbinary.readouterr().out


def test_a_line_that_does_not_fit_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert take_in(data=LINES + b"{}\n") == 2
    assert "line 4: " in only_line(capsys.readouterr().err)


def test_an_export_is_whole_whatever_room_is_set_for_others(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    take_in()
    monkeypatch.setenv("TRIO_CHAT_ROOM", "tea")
    capfdbinary.readouterr()
    assert cli.run(["history", "export"]) == 0
    assert capfdbinary.readouterr().out == LINES


def test_an_export_overwrites_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take_in()
    (home / "diary").write_text("dear diary")
    assert cli.run(["history", "export", "--output", str(home / "diary")]) == 2
    assert "exists" in only_line(capsys.readouterr().err)
    assert (home / "diary").read_text() == "dear diary"


def test_closed_ends_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_in()
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    for command in ("import", "export"):
        assert cli.run(["history", command]) == 2
        assert "has to be open" in only_line(capsys.readouterr().err)


def test_a_backup_is_made_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take_in()
    capsys.readouterr()
    copy = home / "other" / config.HISTORY_FILE
    copy.parent.mkdir(mode=0o700)
    assert cli.run(["backup", str(copy)]) == 0
    assert capsys.readouterr().out.startswith(f"the backup is in {copy}, 0.")
    assert cli.run(["backup", str(copy)]) == 2
    assert "exists" in only_line(capsys.readouterr().err)
    assert cli.run(["doctor", "--data", str(copy.parent), "--port", free_port()]) == 0
    assert "3 events in 2 rooms" in capsys.readouterr().out


def free_port() -> str:
    """One that is likely to stay free: the system gives it to nobody who takes any, as most
    of the tests beside this one do."""
    return str(processes.free_port(secrets.randbelow(len(processes.PORTS))))


def test_a_doctor_says_what_to_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take_in()
    capsys.readouterr()
    assert cli.run(["doctor", "--port", free_port()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    file = home / "trio_chat" / config.HISTORY_FILE
    file.chmod(0o644)
    assert cli.run(["doctor", "--port", free_port()]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "problem" in line]
    assert line.endswith(f"; chmod 600 {file}")


def test_what_is_set_for_serve_counts_for_who_looks_after_it(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    data = home / "elsewhere"
    write_config(home, f'[serve]\ndata = "{data}"\nport = {port}\n[backup]\n')
    assert take_in() == 0
    assert (data / config.HISTORY_FILE).exists()
    assert cli.run(["history", "export"]) == 0
    assert cli.run(["backup", str(home / "copy.db")]) == 0
    assert cli.run(["doctor"]) == 0
    assert f"127.0.0.1:{port} is free" in capfd.readouterr().out
    write_config(home, f'[serve]\ndata = "/nowhere"\n[doctor]\ndata = "{data}"\n')
    assert cli.run(["doctor", "--port", port]) == 0
    assert str(data) in capfd.readouterr().out


def test_a_doctor_looks_at_the_certificate_that_serve_uses(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    take_in()
    assert cli.run(["doctor", "--port", port]) == 0
    assert "certificate" not in capfd.readouterr().out
    assert cli.run(["doctor", "--port", port, "--tls"]) == 0
    assert "tls.pem yet" in capfd.readouterr().out
    certificate.ensure(home / "trio_chat" / config.CERTIFICATE_FILE)
    assert cli.run(["doctor", "--port", port]) == 0
    assert "our own" in capfd.readouterr().out
    write_config(home, f'[serve]\ntls-cert = "{home}/no.pem"\ntls_key = "{home}/key.pem"\n')
    assert cli.run(["doctor", "--port", port]) == 1
    assert f"can't read the key {home}/key.pem" in capfd.readouterr().out


class Terminal(io.StringIO):
    """What a terminal has been written."""

    def isatty(self) -> bool:
        return True


def test_how_far_it_is_is_shown_on_a_terminal_and_erased(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(archive, "REPORT_EVERY", 1)
    monkeypatch.setattr(upkeep, "SHOW_EVERY", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert take_in() == 0
    assert "\rimported 2 events\x1b[K" in terminal.getvalue()
    assert cli.run(["history", "export", "--output", str(home / "copy.jsonl")]) == 0
    assert "\rexported 2 of 3 events\x1b[K" in terminal.getvalue()
    assert cli.run(["backup", str(home / "copy.db")]) == 0
    assert "\rcopied 0 of 0 MB\x1b[K" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_how_far_it_is_is_shown_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    times = iter(number / 100 for number in range(100))
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    with upkeep.showing("counted", "things") as report:
        for number in range(100):
            report(number, None)
    assert 9 <= terminal.getvalue().count("counted") <= 11


@pytest.mark.parametrize(("stream", "term"), [(io.StringIO, "xterm"), (Terminal, "dumb")])
def test_elsewhere_nothing_is_shown(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stderr", written := stream())
    with upkeep.showing("counted", "things") as report:
        report(1, 2)
    assert not written.getvalue()


def test_what_would_steer_a_terminal_is_escaped_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    take_in()
    master, slave = os.openpty()
    with open(slave, "w") as terminal, open(master, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert cli.run(["history", "export"]) == 0
        shown = screen.read(10_000)
    assert "\x9b" not in shown.decode()
    said = [json.loads(line) for line in LINES.splitlines()]
    assert [json.loads(line) for line in shown.splitlines()] == said


# ---------------------------------------------------------------- connecting


async def run_in_thread(*words: str) -> int:
    """A command beside a server in this process."""
    return await trio.to_thread.run_sync(cli.run, words)


async def test_a_name_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_server() as server, server.connect(name="alice"):
        where = f"{server.host}:{server.port}"
        assert await run_in_thread("connect", "alice", "--server", where) == 1
    assert "alice; choose another name" in only_line(capsys.readouterr().err)


async def test_a_bad_name(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_server() as server:
        where = f"{server.host}:{server.port}"
        assert await run_in_thread("connect", "4lice", "--server", where) == 2
    assert "a name is" in only_line(capsys.readouterr().err)


async def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    where = f"127.0.0.1:{free_port()}"
    assert await run_in_thread("connect", "alice", "--server", where) == 3
    line = only_line(capsys.readouterr().err)
    assert where in line
    assert "trio_chat serve" in line.replace("trio-chat", "trio_chat")


# ---------------------------------------------------------------- processes of their own

PROGRAM = [sys.executable, "-m", "trio_chat"]

finish = partial(trio.run_process, capture_stdout=True, capture_stderr=True, check=False)
"""Run a process to its end."""


async def test_all_lines_of_a_pipe_are_said_once_in_order() -> None:
    said = [str(number) for number in range(500)]
    async with running_server() as server:
        where = f"{server.host}:{server.port}"
        stdin = "\n".join(said).encode()
        done = await finish([*PROGRAM, "connect", "bot", "--server", where], stdin=stdin)
        async with server.connect(name="eve") as chat:
            page = await chat.history("lobby", after=0, limit=100)
    assert (done.returncode, done.stderr) == (0, b"")
    heard = [line.split("bot: ")[1] for line in done.stdout.decode().splitlines()[1:-1]]
    assert heard == said
    assert page.events[-1].seq == 100


async def test_a_line_that_is_refused_is_status_1() -> None:
    async with running_server() as server:
        where = f"{server.host}:{server.port}"
        stdin = b"x" * 20_000 + b"\nshort\n"
        done = await finish([*PROGRAM, "connect", "bot", "--server", where], stdin=stdin)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"bot: short" in done.stdout


@pytest.mark.parametrize("words", ["schema", "serve --no-history --port 0"])
async def test_nobody_reads_what_it_prints(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = await finish([*PROGRAM, *words.split()], capture_stdout=False, stdout=writer)
    finally:
        os.close(writer)
    log = [line for line in done.stderr.splitlines() if line.startswith(b"{")]
    assert done.stderr.splitlines() == log
    assert done.returncode == 141


@pytest.mark.parametrize(
    "words",
    [
        *("history export", "schema", "doctor", "--help", "--version", "say --help"),
        *("serve --help", "serve --no-history --port 0"),
    ],
)
def test_a_full_disk_behind_the_output_is_one_line(home: Path, words: str) -> None:
    take_in()
    with open("/dev/full", "wb") as full:
        command = [*PROGRAM, *words.split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert "No space left" in only_line(done.stderr.decode())
    # Whoever asks for help reads it; of a server that does not start the log tells.
    assert (b'{"' in done.stderr) == ("--port" in words)


@define(eq=False)
class Running:
    """A server in a process of its own, and its `banner`."""

    process: trio.Process
    banner: list[str]

    @property
    def port(self) -> int:
        """The port that it says it listens on."""
        return int(self.banner[0].split(" (")[0].rpartition(":")[2])

    async def dial(self) -> Peer:
        return Peer(Link(await dial_tcp("127.0.0.1", self.port), WITHIN))

    async def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Its exit status and its log."""
        assert self.process.stderr is not None
        log = b"".join([chunk async for chunk in self.process.stderr])
        return await self.process.wait(), [json.loads(line) for line in log.splitlines()]


@asynccontextmanager
async def serving(
    *options: str, within: Sequence[str] = (), seconds: float = WITHIN
) -> AsyncIterator[Running]:
    """A server with its history in memory on a free port; killed at the end if need be, and
    after so many `seconds`. `within`: what becomes that process, where it is to be in another
    world."""
    words = [*within, *PROGRAM, "serve", "--no-history", "--port", "0", *options]
    process = await trio.lowlevel.open_process(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with trio.fail_after(seconds):
            yield Running(process, await read_banner(process.stdout))
    finally:
        process.kill()
        await process.stdout.aclose()
        await process.stderr.aclose()
        with trio.CancelScope(shield=True):  # it has been killed
            await process.wait()


async def read_banner(stdout: trio.abc.ReceiveStream) -> list[str]:
    text = b""
    while b"Ctrl-C" not in text:
        chunk = await stdout.receive_some()
        assert chunk, "the server ended"
        text += chunk
    return text.decode().splitlines()


@asynccontextmanager
async def serving_at(port: int, data: Path) -> AsyncIterator[trio.Process]:
    """A server with a history, killed at the end; it may be again, at the same port."""
    process = await trio.lowlevel.open_process(
        [*PROGRAM, "serve", "--port", str(port), "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await read_banner(process.stdout)
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # it has been killed
            await process.stdout.aclose()
            await process.wait()


async def test_a_server_from_beginning_to_end() -> None:
    async with serving() as server:
        hints = "\n".join(server.banner)
        assert f"connect NAME --server 127.0.0.1:{server.port}" in hints
        assert f"nc 127.0.0.1 {server.port}" in hints
        assert "in memory" in hints
        peer = await server.dial()
        await peer.enter("alice", "lobby")
        second = await finish([*PROGRAM, "serve", "--no-history", "--port", str(server.port)])
        server.process.send_signal(signal.SIGTERM)
        goodbye = await peer.hear(Goodbye)
        await trio.aclose_forcefully(peer.link.stream)
        status, log = await server.end()
    assert goodbye.retry is not None
    assert status == 0
    assert "alice" in [line.get("who") for line in log]
    assert second.returncode == 2
    told = only_line(second.stderr.decode())
    assert f":{server.port}:" in told
    assert "--port" in told


async def test_what_only_asks_something_of_it_does_not_end_it_while_it_closes() -> None:
    async with serving() as server:
        peer = await server.dial()
        await peer.enter("alice")
        server.process.send_signal(signal.SIGTERM)
        await peer.hear(Goodbye)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            server.process.send_signal(number)
        await trio.aclose_forcefully(peer.link.stream)
        status, log = await server.end()
    assert (status, log[-1]["event"]) == (0, "closed")


@pytest.mark.parametrize("last", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_ends_it_at_once(last: signal.Signals) -> None:
    async with serving() as server:
        peer = await server.dial()
        await peer.enter("alice")
        server.process.send_signal(signal.SIGINT)
        await peer.hear(Goodbye)
        server.process.send_signal(last)  # while it waits for alice to hang up
        status, log = await server.end()
        await trio.aclose_forcefully(peer.link.stream)
    assert status == 128 + last
    assert log[-1]["event"] == "closing"
