"""What an operator does to a server, in a process of its own."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

import trio_chat
from tests.test_cli import PROGRAM, Running, home, read_banner, serving
from trio_chat.client.address import Address, parse_address
from trio_chat.config import CERTIFICATE_FILE
from trio_chat.doors import certificate
from trio_chat.errors import ServerChanged

__all__ = ["home"]  # a fixture: no settings but those of the test


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


# ---------------------------------------------------------------- certificates


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
