"""The command `serve`: a server, from its settings to the signal that ends it."""

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

import trio
from attrs import evolve
from cyclopts import App, Parameter, Token
from cyclopts.validators import Number

from trio_chat import config, systemd
from trio_chat.ages import Age
from trio_chat.client.address import DEFAULT_PORT, Address
from trio_chat.config import (
    CERTIFICATE_FILE,
    HISTORY_FILE,
    HOST,
    PROGRAM,
    VERSION,
    Data,
    Flag,
    read_age,
)
from trio_chat.doors.certificate import describe, ensure
from trio_chat.doors.sites import Origin, Sites, machine_names, parse_origin
from trio_chat.doors.tls import Tls
from trio_chat.doors.web import Network
from trio_chat.ending import printing
from trio_chat.errors import SetupError
from trio_chat.failures import TRIES, WAIT_FROM, WAIT_TO
from trio_chat.gate import EACH
from trio_chat.history import History
from trio_chat.history.memory import KEPT_EVENTS, MemoryHistory
from trio_chat.pacing import BURST, RATE
from trio_chat.quotas import ACCOUNTS, JOINS, LISTS, PAGES, ROOMS, SEARCHES
from trio_chat.reach import own_addresses
from trio_chat.rules import ROOMS_EACH, ROOMS_IN_ALL
from trio_chat.server import SPARE_FILES, Server
from trio_chat.session import HELLO_BYTES, HELLO_LINES, HELLO_WITHIN, Settings
from trio_chat.signals import ENDING, HANGUP, TASKS, end_at_once, heed, is_at_terminal

Sync = Literal["full", "normal"]

LOOPBACK = ("127.0.0.1", "::1")
"""Where a server listens that only this machine reaches."""

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # never the default
"""Where a server listens that can be reached at all addresses of its machine, and one
of them."""

OTHERS = 3
"""The most addresses that are shown besides: a machine with containers has dozens."""

ROOM = "lobby"
"""Where the link leads: the room in which everybody meets."""

FASTEST = 1_000_000
"""The most that a rate and a burst may be, if there is to be a limit at all."""

NEW_OBJECTS = 20_000
"""How many objects are made before Python looks for cycles among them: those of some batches.
Nearly all go by themselves; looking after each 700 took a third of all CPU time, where many
speak in small rooms."""

log = logging.getLogger(__name__)

app = App(group_parameters="Options")
"""What `cli` takes over as its own."""


# ---------------------------------------------------------------- the command


def _read_origin(_type: object, tokens: Sequence[Token]) -> Origin:
    return parse_origin(tokens[0].value)


def _read_network(_type: object, tokens: Sequence[Token]) -> Network:
    return ip_network(tokens[0].value, strict=False)


@app.command(
    sort_key=1,
    usage=f"Usage: {PROGRAM} serve [OPTIONS]",
    help_epilogue=f"""\
Examples:
  # For this machine only.
  {PROGRAM} serve
  # For the network around it, too, encrypted. It prints a link for the others.
  {PROGRAM} serve --tls --host 0.0.0.0 --data /srv/chat
  # With a certificate that an authority has signed; SIGHUP has it read anew.
  {PROGRAM} serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
  # Forget what is older than three months.
  {PROGRAM} serve --retain 90d
  # To try out a bot: forget everything at the end, slow nobody down.
  {PROGRAM} serve --no-history --rate 0

Limits: as many connections as there may be open files, less {SPARE_FILES}. For the
hello, {HELLO_BYTES} bytes, {HELLO_LINES} lines and {HELLO_WITHIN:.0f} seconds.
For a connection, {ROOMS_EACH} rooms, and in the long run {JOINS.number} joins,
{PAGES.number} pages of the history, {LISTS.number} lists of people or rooms
and {SEARCHES.number} searches a second; --rate 0 lifts these. In all, {ROOMS_IN_ALL:,} rooms.
From an address, {ACCOUNTS.number} new names an hour; and {TRIES} wrong passwords or keys, then
a wait of {WAIT_FROM / 60:.0f} to {WAIT_TO / 60:.0f} minutes, as for each name and each room.
A client is told all limits in its welcome.
""",
)
async def serve(
    *,
    host: str = HOST,
    port: Annotated[int, Parameter(validator=Number(gte=0, lt=2**16))] = DEFAULT_PORT,
    data: Data = None,
    no_history: Annotated[bool, Flag] = False,
    sync: Sync = "full",
    retain: Annotated[
        Age | None,
        Parameter(
            converter=read_age, accepts_keys=False, n_tokens=1, show_default="everything"
        ),
    ] = None,
    retain_events: Annotated[
        int | None, Parameter(validator=Number(gte=1), show_default="all")
    ] = None,
    rate: Annotated[float, Parameter(validator=Number(gte=0, lte=FASTEST))] = RATE,
    burst: Annotated[int, Parameter(validator=Number(gte=1, lte=FASTEST))] = BURST,
    per_address: Annotated[int, Parameter(validator=Number(gte=0))] = EACH,
    new_rooms: Annotated[int, Parameter(validator=Number(gte=0))] = int(ROOMS.number),
    guests: Literal["yes", "no"] = "yes",
    tls: Annotated[bool, Flag] = False,
    tls_cert: Annotated[Path | None, Parameter(show_default=False)] = None,
    tls_key: Annotated[Path | None, Parameter(show_default="the same file")] = None,
    insecure: Annotated[bool, Flag] = False,
    allow_origin: Annotated[
        tuple[Annotated[Origin, Parameter(converter=_read_origin)], ...],
        Parameter(show_default="this machine's", negative=""),
    ] = (),
    metrics_host: Annotated[
        tuple[Annotated[Network, Parameter(converter=_read_network)], ...],
        Parameter(show_default="this machine", negative=""),
    ] = (),
) -> None:
    """Run a server until Ctrl-C or SIGTERM.

    Parameters
    ----------
    host
        The address to listen on; 0.0.0.0 is all those of this machine.
    port
        The port to listen on; 0 is one that is free.
    data
        The folder to keep the history in.
    no_history
        Keep only the newest messages, in memory, and forget them at the end.
    sync
        What an acknowledged message survives: full, a power cut; normal, a crash.
    retain
        How long events are kept: a number and s, m (minutes), h, d or w, as in 90d.
    retain_events
        How many of the newest events of each room are kept.
    rate
        Messages a second at which a client is slowed down (none is lost); 0 is no limit,
        of what else a client asks for, too.
    burst
        Messages that a client may send at once before it is slowed down.
    per_address
        Connections that there may be from one address; 0 is no limit, and from
        this machine there is none.
    new_rooms
        Rooms that may be made from one address in an hour; 0 is no limit, and from
        this machine there is none.
    guests
        May somebody come in under a name that is not registered? Where not, account
        add makes those that are.
    tls
        Encrypt everything, with a certificate that is made the first time and
        kept in the data folder.
    tls_cert
        Encrypt everything, with the certificate of this file (in PEM, those that
        vouch for it behind it).
    tls_key
        The file with the key of --tls-cert.
    insecure
        Serve others than this machine without encryption: what they say, and
        their tokens, can be read on the way.
    allow_origin
        Where browsers find the page if not at this machine's own address or name, or
        at one that its certificate is for, as in https://chat.example.org; may be given
        more than once.
    metrics_host
        An address or network that may read /metrics, too, as in 10.0.0.0/24.
    """
    folder = None if no_history else data or config.data_path()
    if folder is None and (retain or retain_events):
        raise SetupError(
            "--retain and --retain-events are for a history that lasts; with --no-history"
            f" the newest {KEPT_EVENTS} events of each room are kept"
        )
    encryption = _choose_tls(data or config.data_path(), tls_cert, tls_key, is_wanted=tls)
    if encryption is None and not insecure:
        await _require_loopback(host)
    _prepare_process()
    settings = Settings(rate, burst, per_address, guests=guests == "yes", new_rooms=new_rooms)
    async with _open_history(folder, sync, retain, retain_events) as history:
        place = "in memory" if folder is None else str(folder / HISTORY_FILE)
        sites = Sites(allow_origin, machine_names() | {host})
        server = Server(history, settings, sites, metrics_host, encryption)
        await _serve_until_signalled(server, host, port, place)


# ---------------------------------------------------------------- its life


def _prepare_process() -> None:
    from trio_chat import logs  # noqa: PLC0415 # structlog takes 30 ms

    gc.freeze()  # what is there now stays
    gc.set_threshold(NEW_OBJECTS)
    os.umask(0o077)
    if sys.stderr is not None:  # as after `2>&-`
        logs.configure(sys.stderr)
    config.raise_file_limit()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        log.warning("running as root, which no chat needs; a user of its own is safer")


def _choose_tls(
    folder: Path, certificate: Path | None, key: Path | None, *, is_wanted: bool
) -> Tls | None:
    if certificate is not None:
        return Tls(certificate, key or certificate)
    if key is not None:
        raise SetupError("--tls-key goes with a --tls-cert")
    if not is_wanted:
        return None
    config.make_folder(folder)
    ensure(folder / CERTIFICATE_FILE)
    return Tls(folder / CERTIFICATE_FILE, folder / CERTIFICATE_FILE)


async def _require_loopback(host: str) -> None:
    """Nobody serves the world in plain text by accident. Raises `SetupError`."""
    try:
        found = await trio.socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return  # nobody can listen there, which is told better by who tries
    if all(ip_address(address[0]).is_loopback for *_, address in found):
        return
    raise SetupError(
        f"{host} can be reached from elsewhere, and nothing would be encrypted; --tls"
        " encrypts it, --insecure serves it as it is"
    )


@asynccontextmanager
async def _open_history(
    folder: Path | None, sync: Sync, age: Age | None, events: int | None
) -> AsyncIterator[History]:
    if folder is None:
        yield MemoryHistory()
        return
    config.make_folder(folder)
    from trio_chat.history.sqlite import Retention, open_sqlite  # noqa: PLC0415 # not for --no-history

    retention = Retention(age, events)
    async with open_sqlite(folder / HISTORY_FILE, sync=sync, retention=retention) as history:
        yield history


async def _serve_until_signalled(server: Server, host: str, port: int, place: str) -> None:
    had_terminal = is_at_terminal()
    for number in (*HANGUP, *TASKS):
        signal.signal(number, signal.SIG_IGN)  # once it is not received any more
    async with trio.open_nursery() as watch:
        watch.start_soon(systemd.keep_watch)
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(*ENDING, *HANGUP, *TASKS) as signals:
                doorstep = await nursery.start(server.run, host, port)
                addresses = [Address(*address) for address in doorstep.addresses]
                with printing():
                    _show_banner(addresses, place, server.tls)
                log.info("listening", extra={"at": [address.place for address in addresses]})
                systemd.notify(systemd.READY)
                await heed(signals, server.tls, had_terminal=had_terminal)
            for number in ENDING:
                signal.signal(number, end_at_once)
            systemd.notify(systemd.STOPPING)
            server.close()
        watch.cancel_scope.cancel(reason="closed")


def _show_banner(addresses: Sequence[Address], place: str, tls: Tls | None) -> None:
    for address in addresses:
        print(f"{VERSION} listens on {address.place} ({_reach(address.host, tls)})")
    near = _from_here(addresses[0])
    print(f"history: {place}")
    if tls is None:
        is_usual = near.port == DEFAULT_PORT and near.host in LOOPBACK
        print(f"connect: {PROGRAM} connect NAME{'' if is_usual else f' --server {near}'}")
        print(f"     or: http://{near.place}/ in a browser")
        print(f"     or: nc {near.host} {near.port}")
    else:
        link, choice = _link(addresses[0], tls)
        print(f"   link: {link}")
        if choice:
            print(f"         {choice}")
        print(f"connect: {PROGRAM} connect NAME --server {link}")
        print(f"     or: https://{link.place}/ in a browser")
        print(f"     or: openssl s_client -quiet -connect {near.place}")
    print("   stop: Ctrl-C", flush=True)


def _link(address: Address, tls: Tls) -> tuple[Address, str]:
    """What to give to others: with the pin, unless an authority vouches for the host. And
    what else its host could be, if that is not said by --host."""
    found = describe(tls.certificate)
    host, choice = address.host, ""
    if address.host in EVERY_ADDRESS:
        vouched = () if found.is_own else sorted(found.hosts)
        host, choice = _choose_host(address.host, vouched)
    pin = found.pin if found.is_own else None
    return Address(host, address.port, is_secure=True, pin=pin, room=ROOM), choice


def _choose_host(every: str, vouched: Sequence[str]) -> tuple[str, str]:
    """What others may reach this machine by: what its certificate is for, one of its
    addresses, or else its name; and what to do if they can't."""
    names = [name for name in vouched if not name.startswith("*.")]
    family = socket.AF_INET6 if ":" in every else socket.AF_INET
    taken, *others = names or own_addresses(family) or [socket.gethostname()]
    also = f", which is {', '.join(others[:OTHERS])}, too" if others else ""
    return taken, f"{taken} is this machine{also}; any name or address of it will do there"


def _reach(host: str, tls: Tls | None) -> str:
    encrypted = "unencrypted" if tls is None else "encrypted"
    if host in LOOPBACK:
        return "for this machine only" if tls is None else f"for this machine only, {encrypted}"
    return f"on every address, {encrypted}" if host in EVERY_ADDRESS else encrypted


def _from_here(address: Address) -> Address:
    return evolve(address, host=EVERY_ADDRESS.get(address.host, address.host))
