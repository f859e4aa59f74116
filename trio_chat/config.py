"""Where settings come from: flags, then the environment, then a file, then the defaults."""

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import platformdirs
from attrs import frozen
from cyclopts import ArgumentCollection, Parameter, Token
from cyclopts.config import Dict, Env

from trio_chat._version import __version__
from trio_chat.ages import Age, parse_age
from trio_chat.client.address import (
    DEFAULT_PORT,
    PLAIN,
    SCHEME,
    Address,
    find_address,
    parse_address,
)
from trio_chat.errors import BadName, SetupError
from trio_chat.names import parse_name

APP = "trio_chat"
"""The name of our folders."""

HOST = "127.0.0.1"
"""Nobody from elsewhere comes in unless the operator says so."""

HISTORY_FILE = "chat.db"
"""The history's file in the data folder."""

CERTIFICATE_FILE = "tls.pem"
"""The file there with the certificate that is made, and its key."""

OPEN_FILES = 65536
"""The most descriptors a server asks for: far more connections than one process serves."""

ENV_PREFIX = "TRIO_CHAT_"
"""What an option is called in the environment: `--no-history` is `TRIO_CHAT_NO_HISTORY`."""

VERSION = f"trio_chat {__version__}"
"""What this program calls itself."""

Flag = Parameter(negative="", show_default=False)
"""An option that is there or not."""

AS_FOR_SERVE: Mapping[Sequence[str], Sequence[str]] = {
    ("doctor",): ("data", "host", "port", "tls", "tls_cert", "tls_key"),
    ("backup",): ("data",),
    ("history", "export"): ("data",),
    ("history", "import"): ("data",),
    **{
        ("account", verb): ("data",)
        for verb in ("add", "list", "password", "operator", "remove")
    },
    **{("bot", verb): ("data",) for verb in ("add", "list", "revoke")},
    **{("banish", verb): ("data",) for verb in ("add", "list", "remove")},
}
"""What is set for `serve` in the file and counts for those who look after its history, too:
they would look into the wrong folder, and find nothing wrong."""


def _typed_program() -> str:
    """What was typed to start this, so that what is shown can be typed as it stands."""
    is_module = "-m" in sys.orig_argv
    return f"{sys.orig_argv[0]} -m trio_chat" if is_module else "trio-chat"


PROGRAM = _typed_program()


def read_age(_type: object, tokens: Sequence[Token]) -> Age:
    """The age that an option says."""
    return parse_age(tokens[0].value)


def _read_address(_type: object, tokens: Sequence[Token]) -> Address:
    return parse_address(tokens[0].value)


ServerAddress = Annotated[
    Address, Parameter(converter=_read_address, accepts_keys=False, n_tokens=1)
]
"""The option that says which server to talk to."""

TrustNew = Annotated[bool, Flag]
"""The option that has a server taken at its word the first time."""

LOCAL = Address("localhost")
"""The server of whoever has just started one."""


# ---------------------------------------------------------------- folders


def config_path() -> Path:
    """The file that is read if no other is named."""
    return platformdirs.user_config_path(APP) / "config.toml"


def data_path() -> Path:
    """The folder that a server keeps its history in if no other is named."""
    return platformdirs.user_data_path(APP)


Data = Annotated[Path | None, Parameter(show_default=str(data_path()))]
"""The option that names the folder."""


def make_folder(folder: Path) -> None:
    """Make the folder for a history, if it is not there. Raises `SetupError`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise SetupError(
            f"can't make the folder {folder}: {exc.strerror}; choose one with --data"
        ) from exc


def raise_file_limit() -> None:
    """One connection is one descriptor, and the usual soft limit is 1024."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# ---------------------------------------------------------------- servers with names

SERVERS = "servers"
"""The table of the file that has a table for each server with a name."""

USUAL = "default"
"""The name of the server that is meant if none is named."""


@frozen
class NamedServer:
    """What is set for a server: where it is, who one is there, and the room to enter."""

    address: Address
    name: str | None = None
    room: str | None = None


@frozen
class NamedServers:
    """The last source of settings: what is set for the server that is meant.

    `tables`: one for each, which is understood when it is meant: what is wrong with the others
    stops nobody. `source`: the file that they are from.
    """

    tables: Mapping[str, Any]
    source: str

    def __call__(
        self, _app: object, _commands: tuple[str, ...], arguments: ArgumentCollection
    ) -> None:
        """Fill in what nothing else has set. cyclopts calls this. Raises `SetupError`."""
        options = {argument.field_info.name: argument for argument in arguments}
        server = options.get("server")
        if server is None:
            return
        text = server.tokens[0].value if server.tokens else USUAL
        meant = self.find(text) if text in self.tables else _linked(text)
        if meant is None:
            return
        server.tokens[:] = [self._token(str(meant.address))]
        # They are lent only where one is needed: `tail` makes a name up, so that it can run
        # beside the terminal of the same person, and `search` looks everywhere.
        for key, value in (("name", meant.name), ("room", meant.room)):
            option = options.get(key)
            if option is None or option.tokens or value is None:
                continue
            if option.field_info.default is not None:
                option.append(self._token(value))

    def find(self, name: str) -> NamedServer:
        """What is set for one of them. Raises `SetupError`."""
        try:
            return _read_server(self.tables[name])
        except (ValueError, BadName) as exc:
            raise SetupError(f"{self.source}: [{SERVERS}.{name}]: {exc}") from exc

    def faults(self) -> Iterator[str]:
        """What is wrong with each that can't be understood."""
        for name in self.tables:
            try:
                self.find(name)
            except SetupError as fault:
                yield str(fault)

    def _token(self, value: str) -> Token:
        return Token(value=value, source=self.source)


IN_FORCE: ContextVar[NamedServers] = ContextVar("IN_FORCE")
"""Those of the file that the command was started with, for who looks whether all is well;
set before any command runs."""


def _linked(text: str) -> NamedServer | None:
    """What a link says; None if it is none, or a wrong one, which is told elsewhere."""
    if not text.startswith(SCHEME):
        return None
    with suppress(ValueError):
        address = parse_address(text)
        return NamedServer(address, room=address.room)
    return None


def _read_server(fields: Any) -> NamedServer:
    if not isinstance(fields, dict):
        raise ValueError(f"{fields!r} is no table")
    known = {"host": str, "port": int, "link": str, "name": str, "room": str}
    for key, value in fields.items():
        if key not in known:
            raise ValueError(f"there is no {key}, only {', '.join(known)}")
        if type(value) is not known[key]:
            raise ValueError(f"{key} can't be {value!r}")
    address = _address_of(fields)
    return NamedServer(
        address, _name_of("name", fields), _name_of("room", fields) or address.room
    )


def _name_of(key: str, fields: dict[str, Any]) -> str | None:
    try:
        return parse_name(fields[key]) if key in fields else None
    except BadName as exc:
        raise ValueError(f"{key}: {exc}") from exc


def _address_of(fields: dict[str, Any]) -> Address:
    if ("host" in fields) is ("link" in fields):
        raise ValueError("there has to be a host, or a link")
    if "link" in fields:
        address = parse_address(fields["link"])
        if "port" in fields or not fields["link"].startswith((SCHEME, PLAIN)):
            raise ValueError(
                f"a link is {SCHEME}HOST:PORT/ROOM#PIN, with its own port, or {PLAIN}HOST:PORT"
            )
        return address
    if "://" in fields["host"]:
        raise ValueError(f"{fields['host']} is a link, and no host: write link = …")
    address = find_address(fields["host"], fields.get("port", DEFAULT_PORT))
    if fields.get("port", address.port) != address.port:
        raise ValueError(f"{fields['host']} has a port already; there can't be another one")
    return address


# ---------------------------------------------------------------- sources


def sources(path: Path | None, commands: Iterable[str]) -> tuple[Env, Dict, NamedServers]:
    """What cyclopts looks into for an option that is no flag, the first first.

    `path`: a file that has to be there; by default the one in the user's config folder,
    if there is one. It has a table for each of `commands`, and one for each server that
    has a name. Raises `SetupError`.
    """
    file = path or config_path()
    tables = _read(file, must_exist=path is not None)
    servers = tables.pop(SERVERS, {})
    if not isinstance(servers, dict):
        raise SetupError(f"{file}: {SERVERS} has a table for each server, [{SERVERS}.NAME]")
    _check_tables(tables, commands, str(file))
    _lend(tables)
    return (
        Env(ENV_PREFIX, command=False, show=False),
        Dict(tables, source=str(file)),
        NamedServers(servers, str(file)),
    )


def _read(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        if isinstance(exc, FileNotFoundError) and not must_exist:
            return {}
        raise SetupError(f"can't read {path}: {exc.strerror}") from exc
    except ValueError as exc:  # not TOML, or not UTF-8
        raise SetupError(f"can't understand {path}: {exc}") from exc


def _check_tables(tables: dict[str, Any], commands: Iterable[str], source: str) -> None:
    """A setting that nobody reads is a mistake that should not be found out by its effect."""
    known = [f"[{command}]" for command in commands] + [f"[{SERVERS}.NAME]"]
    for name in tables:
        if f"[{name}]" not in known:
            raise SetupError(f"{source}: there is no table for {name}, only {' '.join(known)}")


def _lend(tables: dict[str, Any]) -> None:
    """Let what is set for `serve` count where nothing else is set."""
    serve = tables.get("serve")
    if not isinstance(serve, dict):
        return
    for commands, names in AS_FOR_SERVE.items():
        table = tables
        for command in commands:
            table = table.setdefault(command, {})
            if not isinstance(table, dict):
                break  # a mistake that is told when that command is run
        else:
            own = set(map(_option, table))
            lent = {name for name in serve if _option(name) in set(names) - own}
            table.update((name, serve[name]) for name in lent)


def _option(name: str) -> str:
    """A name in the file, which may be written as on the command line."""
    return name.replace("-", "_")
