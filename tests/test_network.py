"""A server and its clients on two machines: two network namespaces with a cable between.

Everywhere else tests talk over loopback, which is trusted more. Here nobody is: the names
of hosts, the addresses that are counted and the certificates are those of a network.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.test_cli import PROGRAM, Running, finish, home, only_line, serving
from tests.test_operation import link_of, said
from trio_chat.client.address import Address
from trio_chat.config import CERTIFICATE_FILE
from trio_chat.doors import certificate

__all__ = ["home"]  # a fixture: no settings but those of the test

REAL_SECONDS = 240
"""Each command is a process of its own, and one test has a dozen."""

SERVER, CLIENT, OTHER = "10.99.0.1", "10.99.0.2", "10.99.0.3"
"""The address of the one machine, and two of the other."""

EVERY = "0.0.0.0"  # noqa: S104 # of that machine

DIAL = """
import socket, sys
port, sources, first = int(sys.argv[1]), sys.argv[2].split(), sys.argv[3].encode()
links = []
for source in sources:
    links.append(socket.create_connection(("10.99.0.1", port), 10, source_address=(source, 0)))
    links[-1].sendall(first)
    print(links[-1].makefile().readline(), end="", flush=True)
"""
"""Connects from each of some addresses, says something, and prints what is said first."""


@frozen
class Machine:
    """A network namespace."""

    name: str

    def words(self, *command: str) -> list[str]:
        """The command as one of that machine."""
        return ["ip", "netns", "exec", self.name, *command]

    async def run(self, *command: str, text: str = "") -> tuple[int, str, str]:
        """Have it run to its end; returns its status, its output, and what it complains of."""
        done = await finish(self.words(*command), stdin=text.encode())
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    async def chat(self, *words: str, text: str = "") -> tuple[int, str, str]:
        """The same, for one of our commands."""
        return await self.run(*PROGRAM, *words, text=text)


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Machine, Machine]]:
    """One for the server, one for its clients."""
    if shutil.which("ip") is None:
        pytest.skip("there is no ip (iproute2) to make machines with")
    names = [f"trio-chat-{os.getpid()}-{side}" for side in ("server", "client")]
    made = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        connect(*names)
    except OSError as exc:
        remove(made)
        pytest.skip(f"no network namespaces can be made here: {exc}")
    yield Machine(names[0]), Machine(names[1])
    remove(made)


def connect(server: str, client: str) -> None:
    cable = ["eth0", "type", "veth", "peer", "name", "eth0"]
    ip("-n", server, "link", "add", *cable, "netns", client)
    for name, addresses in ((server, [SERVER]), (client, [CLIENT, OTHER])):
        for address in addresses:
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", name, "link", "set", device, "up")


def remove(names: list[str]) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@asynccontextmanager
async def served(machine: Machine, *options: str) -> AsyncIterator[Running]:
    """A server on that machine, at all its addresses."""
    words = ["--host", EVERY, *options]
    async with serving(*words, within=machine.words(), seconds=REAL_SECONDS) as server:
        yield server


# ---------------------------------------------------------------- which server it is


async def test_first_use_pins_and_a_changed_certificate_is_refused_loudly(
    machines: tuple[Machine, Machine], tmp_path: Path, home: Path
) -> None:
    there, here = machines
    file = home / "trio_chat" / "known_servers"
    async with served(there, "--tls", "--data", str(tmp_path)) as server:
        link = link_of(server)
        assert link.host == SERVER, "the link leads there from elsewhere"
        connect = ["connect", "alice", "--server", str(link)]

        status, out, err = await here.chat(*connect, text="hello from afar\n")
        assert (status, "alice: hello from afar" in out) == (0, True)
        assert "known from now on by its certificate" in only_line(err)
        assert file.read_text() == f"{link.place} {link.pin}\n"

        status, out, err = await here.chat("tail", "lobby", "--server", link.place)
        assert (status, "hello from afar" in out, err) == (0, True, "")

        (tmp_path / CERTIFICATE_FILE).write_bytes(certificate.make())
        server.process.send_signal(signal.SIGHUP)
        await said(server, "reloaded the certificate")

        for at in (str(link), link.place, f"trio-chat://{link.place}"):
            status, out, err = await here.chat("connect", "alice", "--server", at, text="hi\n")
            assert (status, out) == (2, "")
            assert f"THE CERTIFICATE OF {link.place} HAS CHANGED" in only_line(err)
            assert str(file) in err
        pin = certificate.describe(tmp_path / CERTIFICATE_FILE).pin
        new = Address(link.host, link.port, is_secure=True, pin=pin, room="lobby")
        status, out, err = await here.chat("who", "--server", str(new))
        assert (status, out) == (2, "")
        assert "THE LINK IS FOR ANOTHER" in only_line(err)

        file.unlink()  # as its operator says that this is how it has to be
        status, out, err = await here.chat("tail", "lobby", "--server", str(new))
        assert (status, "hello from afar" in out) == (0, True)
        server.process.terminate()
        _, log = await server.end()
    # Since the certificate was changed; what was logged before has been read.
    hellos = [line["who"] for line in log if line["event"] == "hello"]
    assert (len(hellos), "alice" in hellos) == (1, False), "only the last tail has said hello"


async def test_a_new_server_is_taken_at_its_word_only_if_one_says_so(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    there, here = machines
    async with served(there, "--tls", "--data", str(tmp_path)) as server:
        at = ["--server", f"trio-chat://{SERVER}:{server.port}"]
        status, _, err = await here.chat("rooms", *at)
        assert status == 2
        assert "nobody vouches" in only_line(err)
        assert (await here.chat("rooms", *at, "--trust-new"))[0] == 0
        assert (await here.chat("rooms", *at))[0] == 0


async def test_nobody_is_served_in_plain_text_by_accident(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    there, here = machines
    for host in (EVERY, SERVER):
        status, out, err = await there.chat("serve", "--no-history", "--host", host)
        assert (status, out) == (2, "")
        assert "--insecure" in only_line(err)
    async with served(there, "--tls", "--data", str(tmp_path)) as server:
        status, _, err = await here.chat("rooms", "--server", f"{SERVER}:{server.port}")
        assert status == 2
        assert "nobody vouches" in only_line(err)
        plain = f"plain://{SERVER}:{server.port}"
        status, _, err = await here.chat("rooms", "--server", plain)
        assert status == 1
        assert "takes the link" in only_line(err)


async def test_nobody_says_a_word_in_plain_text_by_accident(
    machines: tuple[Machine, Machine],
) -> None:
    there, here = machines
    async with served(there, "--insecure") as server:
        status, _, err = await here.chat("rooms", "--server", f"{SERVER}:{server.port}")
        assert status == 3
        assert "does not speak TLS" in only_line(err)
        assert "plain://" in err
        plain = f"plain://{SERVER}:{server.port}"
        status, _, err = await here.chat("rooms", "--server", plain)
        assert (status, err) == (0, "")


# ---------------------------------------------------------------- who is counted


async def first_words(
    machine: Machine, server: Running, sources: list[str], say: str
) -> list[str]:
    """The codes with which connections are refused, what they say, or all; one from each of
    those addresses, and all stay open."""
    words = [sys.executable, "-c", DIAL, str(server.port), " ".join(sources), say]
    _, out, err = await machine.run(*words)
    assert not err
    return [json.loads(line)["code"] for line in out.splitlines()]


async def test_an_address_has_only_so_many_and_this_machine_any_number(
    machines: tuple[Machine, Machine],
) -> None:
    there, here = machines
    ping = '{"type":"ping"}\n'  # refused for want of a hello, by who was let in
    async with served(there, "--insecure", "--per-address", "3") as server:
        heard = await first_words(here, server, [CLIENT] * 5 + [OTHER] * 4, ping)
        full = "too_many_connections"
        assert [code == full for code in heard] == [False] * 3 + [True] * 2 + [False] * 3 + [
            True
        ]
        own = await first_words(there, server, ["127.0.0.1"] * 9, ping)
        assert full not in own


async def test_only_this_machine_reads_the_metrics(
    machines: tuple[Machine, Machine],
) -> None:
    there, here = machines
    ask = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).status)"
    async with served(there, "--insecure") as server:
        url = f"http://{SERVER}:{server.port}/metrics"
        near = f"http://127.0.0.1:{server.port}/metrics"
        _, _, refused = await here.run(sys.executable, "-c", ask, url)
        assert "403" in refused
        assert (await there.run(sys.executable, "-c", ask, near))[1] == "200\n"


async def test_who_guesses_has_to_wait_whatever_name_is_tried(
    machines: tuple[Machine, Machine],
) -> None:
    there, here = machines
    async with served(there, "--insecure") as server:
        heard = []
        for number in range(7):
            hello = {"type": "hello", "name": f"n{number}", "password": "not this one"}
            heard += await first_words(here, server, [CLIENT], json.dumps(hello) + "\n")
        assert heard == ["wrong_password"] * 5 + ["try_later"] * 2
        hello["name"] = "other"
        say = json.dumps(hello) + "\n"
        assert await first_words(here, server, [OTHER], say) == ["wrong_password"]
