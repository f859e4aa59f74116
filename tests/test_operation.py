"""What an operator does to a server, in a process of its own."""

import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

import trio_chat
from tests.test_cli import PROGRAM, Running, free_port, home, read_banner, serving
from trio_chat import serving as serving_module
from trio_chat import systemd
from trio_chat.client.address import Address, parse_address
from trio_chat.config import CERTIFICATE_FILE
from trio_chat.doors import certificate
from trio_chat.errors import ServerChanged
from trio_chat.messages import Ping, Pong

__all__ = ["home"]  # a fixture: no settings but those of the test

REAL_SECONDS = 120
"""Most tests start a process, and one of them two."""


def link_of(server: Running) -> Address:
    """The link that it shows."""
    (link,) = (line.split()[1] for line in server.banner if line.lstrip().startswith("link:"))
    return parse_address(link)


async def said(server: Running, event: str) -> None:
    """Read its log until it says that."""
    assert server.process.stderr is not None
    log = b""
    while event.encode() not in log:
        chunk = await server.process.stderr.receive_some()
        assert chunk, log
        log += chunk


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Running]:
    """A server with TLS, and its certificate in `tmp_path`."""
    async with serving("--tls", "--data", str(tmp_path)) as server:
        yield server


async def test_what_a_server_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    """Whatever the umask that it is started with."""
    data = tmp_path / "data"
    words = [*PROGRAM, "serve", "--tls", "--data", str(data), "--port", "0"]
    process = await trio.lowlevel.open_process(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, umask=0
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with process.stdout, process.stderr:
        await read_banner(process.stdout)
        modes = {path.name: path.stat().st_mode & 0o777 for path in data.iterdir()}
        status = Path(f"/proc/{process.pid}/status")
        assert not status.exists() or "\nUmask:\t0077\n" in status.read_text()
        process.send_signal(signal.SIGTERM)
        log = b"".join([chunk async for chunk in process.stderr])
        await process.wait()
    assert set(modes) == {f"chat.db{end}" for end in ("", "-wal", "-shm")} | {CERTIFICATE_FILE}
    assert set(modes.values()) == {0o600}
    assert data.stat().st_mode & 0o777 == 0o700
    assert (log.count(b"running as root") == 1) is (os.geteuid() == 0)


# ---------------------------------------------------------------- certificates


async def test_a_link_has_a_pin_only_where_nobody_vouches(tmp_path: Path) -> None:
    file = tmp_path / "signed.pem"
    issued = trustme.CA().issue_cert("chat.example.org")
    issued.private_key_and_cert_chain_pem.write_to_path(file)
    file.chmod(0o600)
    async with serving("--tls-cert", str(file)) as server:
        assert link_of(server).pin is None
    async with serving("--tls-cert", str(file), "--host", "0.0.0.0") as server:  # noqa: S104
        assert link_of(server).host == "chat.example.org"


@pytest.mark.parametrize(
    ("every", "names", "found", "shown"),
    [
        ("0.0.0.0", [], ["10.0.0.5"], "10.0.0.5 is this machine; any"),  # noqa: S104
        ("0.0.0.0", [], ["a", "b", "c"], "a is this machine, which is b, c, too; any"),  # noqa: S104
        ("0.0.0.0", [], [], "here.lan is this machine; any"),  # noqa: S104
        ("::", ["*.lan", "chat.lan"], ["10.0.0.5"], "chat.lan is this machine; any"),
        ("::", ["*.lan"], ["fd00::7"], "fd00::7 is this machine; any"),
    ],
)
def test_the_link_names_what_others_may_reach_and_says_so(
    monkeypatch: pytest.MonkeyPatch, every: str, names: list[str], found: list[str], shown: str
) -> None:
    asked = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}[every]  # noqa: S104
    own = {asked: found}
    monkeypatch.setattr(serving_module, "own_addresses", lambda family: own.get(family, []))
    monkeypatch.setattr("socket.gethostname", lambda: "here.lan")
    host, choice = serving_module._choose_host(every, names)  # noqa: SLF001
    assert choice.startswith(shown)
    assert host == shown.split(maxsplit=1)[0]


async def test_the_link_that_is_shown_leads_there(secured: Running) -> None:
    link = link_of(secured)
    assert link.room == "lobby"
    assert link.pin is not None
    async with trio_chat.connect(str(link), name="alice") as alice:
        await alice.join("lobby")


async def test_a_hangup_has_the_certificate_read_anew_and_drops_nobody(
    secured: Running, tmp_path: Path
) -> None:
    link = link_of(secured)
    async with trio_chat.connect(str(link), name="alice") as alice:
        (tmp_path / CERTIFICATE_FILE).write_text("nonsense")
        secured.process.send_signal(signal.SIGHUP)
        await said(secured, "the certificate is still the old one")
        async with trio_chat.connect(str(link), name="bob"):
            pass

        (tmp_path / CERTIFICATE_FILE).write_bytes(certificate.make())
        secured.process.send_signal(signal.SIGHUP)
        await said(secured, "reloaded the certificate")

        with pytest.raises(ServerChanged):
            async with trio_chat.connect(str(link), name="bob"):
                raise AssertionError
        assert await alice.ping() >= 0
        assert alice.failure is None


async def test_a_hangup_without_a_certificate_changes_nothing() -> None:
    async with serving() as server:
        server.process.send_signal(signal.SIGHUP)
        await said(server, "nothing to reload")
        peer = await server.dial()
        await peer.enter("alice")
        await trio.aclose_forcefully(peer.link.stream)


async def test_a_terminal_that_is_gone_ends_the_server() -> None:
    ours, theirs = os.openpty()
    process = await trio.lowlevel.open_process(
        [*PROGRAM, "serve", "--no-history", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    assert process.stdout is not None
    async with process.stdout:
        await read_banner(process.stdout)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        await process.wait()


# ---------------------------------------------------------------- systemd


@pytest.fixture
def ear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


async def hear(ear: socket.socket) -> str:
    await trio.lowlevel.wait_readable(ear)
    return ear.recv(100).decode()


async def test_systemd_is_told_how_it_goes(
    ear: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel keeps ten words for who does not listen, and loses the next: it may take a
    # while until the first of these is listened to.
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    told: list[str] = []
    async with serving() as server:
        while told.count("WATCHDOG=1") < 5 or "READY=1" not in told:
            told.append(await hear(ear))
        server.process.send_signal(signal.SIGTERM)
        while told[-1] != "STOPPING=1":
            told.append(await hear(ear))
        status, _ = await server.end()
    assert status == 0
    assert told.count("READY=1") == 1


async def test_ready_is_who_listens(ear: socket.socket) -> None:
    port = free_port()
    words = [*PROGRAM, "serve", "--no-history", "--port", port]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(partial(trio.run_process, words, **quiet))
        assert await hear(ear) == systemd.READY
        await (await trio.open_tcp_stream("127.0.0.1", int(port))).aclose()
        process.terminate()


async def test_the_watchdog_of_another_process_is_not_ours(
    ear: socket.socket, monkeypatch: pytest.MonkeyPatch, virtual_time: None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    await systemd.keep_watch()  # has nothing to do
    with pytest.raises(BlockingIOError):
        ear.recv(100)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    with trio.move_on_after(1.9):
        await systemd.keep_watch()
    assert [ear.recv(100) for _ in range(4)] == [b"WATCHDOG=1"] * 4, "twice a second"
    with pytest.raises(BlockingIOError):
        ear.recv(100)


@pytest.mark.parametrize("address", ["", "/no/such/socket", "@no-such-socket"])
def test_nobody_who_listens_is_no_reason_to_fail(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify(systemd.READY)


def test_one_that_does_not_read_is_not_waited_for(ear: socket.socket) -> None:
    for _ in range(1000):
        systemd.notify(systemd.ALIVE)


# ---------------------------------------------------------------- tasks, and the log


async def test_a_signal_shows_every_task() -> None:
    async with serving() as server:
        peer = await server.dial()
        await peer.enter("alice")
        server.process.send_signal(signal.SIGUSR1)
        await said(server, "Session._receive")
        await peer.tell(Ping())
        await peer.hear(Pong)
        await trio.aclose_forcefully(peer.link.stream)


async def test_a_log_that_nobody_reads_holds_up_nobody() -> None:
    """As after Ctrl-S on its terminal."""
    async with serving() as server:
        stderr = server.process.stderr
        assert isinstance(stderr, trio.lowlevel.FdStream)
        fcntl.fcntl(stderr.fileno(), fcntl.F_SETPIPE_SZ, 4096)  # 20 lines
        for number in range(100):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(b'{"type":"hello","name":"n%d"}\n' % number)
                assert b"welcome" in await stream.receive_some()
        server.process.send_signal(signal.SIGTERM)
        status, log = await server.end()
    assert status == 0
    assert [line["who"] for line in log if line["event"] == "hello"] == [
        f"n{number}" for number in range(100)
    ]
