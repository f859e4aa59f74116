"""How a server proves which one it is. Over real sockets: that is where TLS is wanted."""

import gc
import os
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

import trio_chat
from tests.test_cli import home, only_line, run_in_thread
from tests.test_tls import weaken
from trio_chat import Untrusted
from trio_chat.client.address import Address
from trio_chat.client.chat import open_chat
from trio_chat.client.trust import KnownServers, dial
from trio_chat.doors import certificate
from trio_chat.doors.tls import Tls
from trio_chat.errors import LinkLost, ServerChanged, SetupError, TlsRequired
from trio_chat.messages import Hello
from trio_chat.testing import RunningServer, running_server
from trio_chat.tls import TlsStream

__all__ = ["home"]  # a fixture: no settings but those of the test

HOST = "127.0.0.1"

OTHER_PIN = "x" * 43


def own(folder: Path, name: str = "tls.pem") -> Path:
    path = folder / name
    certificate.ensure(path)
    return path


def pin_of(path: Path) -> str:
    return certificate.describe(path).pin


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server with a certificate of its own."""
    path = own(tmp_path)
    async with running_server(tls=Tls(path, path)) as server:
        yield server


@pytest.fixture
def pin(server: RunningServer, tmp_path: Path) -> str:
    return pin_of(tmp_path / "tls.pem")


def address_of(server: RunningServer, pin: str | None = None) -> Address:
    return Address(server.host, server.port, is_secure=True, pin=pin)


# ---------------------------------------------------------------- from a program


async def test_who_knows_the_pin_is_connected(server: RunningServer, pin: str) -> None:
    async with trio_chat.connect(server.host, server.port, name="alice", tls=pin) as alice:
        await alice.join("lobby")
        assert await alice.say("lobby", "hi") == 2
    async with trio_chat.connect(str(address_of(server, pin)), name="alice") as alice:
        assert await alice.who("lobby") == ()


async def test_another_certificate_is_refused_before_a_word_is_said(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ServerChanged, match="not the one that is meant"):
        async with trio_chat.connect(server.host, server.port, name="alice", tls=OTHER_PIN):
            raise AssertionError
    assert "hello" not in [record.message for record in caplog.records]


async def test_a_pin_is_compared_to_its_end(
    server: RunningServer, known: KnownServers, pin: str
) -> None:
    almost = pin[:-1] + ("A" if pin[-1] != "A" else "E")
    with pytest.raises(ServerChanged):
        await dial(server.host, server.port, almost)
    with pytest.raises(ServerChanged):
        await known.dial(address_of(server, almost))


async def test_who_is_vouched_for_by_nobody_is_refused(server: RunningServer) -> None:
    with pytest.raises(Untrusted, match="nobody vouches"):
        async with trio_chat.connect(server.host, server.port, name="alice", tls=True):
            raise AssertionError


async def test_plain_text_is_refused_by_who_wants_tls(server: RunningServer) -> None:
    with pytest.raises(TlsRequired):
        async with trio_chat.connect(server.host, server.port, name="alice"):
            raise AssertionError


async def test_no_plain_text_is_spoken_by_who_wants_tls() -> None:
    async with running_server() as plain:
        for tls in (True, OTHER_PIN):
            with pytest.raises(LinkLost, match="does not speak TLS"):
                async with trio_chat.connect(plain.host, plain.port, name="alice", tls=tls):
                    raise AssertionError


async def test_beyond_this_machine_no_plain_text_is_spoken_if_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_server() as plain:
        # There is no other machine here, so this one is taken for one.
        monkeypatch.setattr("trio_chat.client.address.is_here", lambda _: False)
        with pytest.raises(LinkLost, match="does not speak TLS"):
            async with trio_chat.connect(plain.host, plain.port, name="alice"):
                raise AssertionError
        where = f"plain://{plain.host}:{plain.port}"
        async with trio_chat.connect(where, name="alice") as chat:
            await chat.join("lobby")


async def test_who_hangs_up_before_it_has_said_who_it_is() -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, [listener])
        with pytest.raises(LinkLost, match="hung up before"):
            await dial(HOST, listener.socket.getsockname()[1], tls=True)
        nursery.cancel_scope.cancel()


async def test_whatever_the_system_allows_a_client_is_restricted(
    server: RunningServer, pin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = weaken(monkeypatch)
    await (await dial(server.host, server.port, pin)).aclose()
    with pytest.raises(Untrusted):
        await dial(server.host, server.port, tls=True)
    assert [context.minimum_version for context in made] == [ssl.TLSVersion.TLSv1_2] * 2


async def test_nothing_stays_open_to_who_is_refused(server: RunningServer) -> None:
    with pytest.raises(ServerChanged):
        await dial(server.host, server.port, OTHER_PIN)
    gc.collect()  # a socket that was forgotten is a warning, and so an error


# ---------------------------------------------------------------- authorities


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that this system trusts."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


def signed(ca: trustme.CA, folder: Path, host: str, ends: datetime | None = None) -> Tls:
    path = folder / "signed.pem"
    issued = ca.issue_cert(host, not_after=ends)
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    path.chmod(0o600)
    return Tls(path, path)


async def test_who_an_authority_vouches_for_is_connected(
    authority: trustme.CA, tmp_path: Path
) -> None:
    async with (
        running_server(tls=signed(authority, tmp_path, HOST)) as server,
        trio_chat.connect(server.host, server.port, name="alice", tls=True) as alice,
    ):
        await alice.join("lobby")


@pytest.mark.parametrize(
    ("host", "ends", "why"),
    [
        ("chat.example.org", None, "mismatch"),
        (HOST, datetime.now(UTC) - timedelta(days=1), "expired"),
    ],
    ids=["another host", "expired"],
)
async def test_an_authority_vouches_for_one_host_and_for_a_time(
    authority: trustme.CA, tmp_path: Path, host: str, ends: datetime | None, why: str
) -> None:
    async with running_server(tls=signed(authority, tmp_path, host, ends)) as server:
        with pytest.raises(Untrusted, match=why):
            await dial(server.host, server.port, tls=True)


async def test_whoever_has_a_context_of_its_own_decides(
    server: RunningServer, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=tmp_path / "tls.pem")
    async with trio_chat.connect(server.host, server.port, name="alice", tls=context) as alice:
        await alice.join("lobby")


# ---------------------------------------------------------------- the known ones


@pytest.fixture
def known(tmp_path: Path) -> KnownServers:
    return KnownServers(tmp_path / "state" / "known_servers", lambda _: None)


async def test_a_link_makes_a_server_known(
    server: RunningServer, known: KnownServers, pin: str
) -> None:
    told: list[str] = []
    teller = KnownServers(known.path, told.append)
    await (await teller.dial(address_of(server, pin))).aclose()
    assert known.read() == {f"{server.host}:{server.port}": pin}
    assert known.path.stat().st_mode & 0o777 == 0o600
    assert known.path.parent.stat().st_mode & 0o777 == 0o700
    assert pin in told[0]
    await (await teller.dial(address_of(server, pin))).aclose()
    assert len(told) == 1


async def test_a_link_with_another_pin_makes_nothing_known(
    server: RunningServer, known: KnownServers
) -> None:
    with pytest.raises(ServerChanged):
        await known.dial(address_of(server, OTHER_PIN))
    assert known.read() == {}


async def test_what_is_known_is_spoken_to_through_tls_however_it_is_called(
    server: RunningServer, known: KnownServers, pin: str
) -> None:
    await (await known.dial(address_of(server, pin))).aclose()
    for address in (Address(server.host, server.port), address_of(server)):
        async with open_chat(partial(known.dial, address), Hello("alice")) as alice:
            await alice.join("lobby")


async def test_a_changed_certificate_is_refused_loudly(
    server: RunningServer, known: KnownServers, pin: str, tmp_path: Path
) -> None:
    await (await known.dial(address_of(server, pin))).aclose()
    other = own(tmp_path, "other.pem")
    place = f"{server.host}:{server.port}"
    known.path.write_text(f"{place} {pin_of(other)}\n")
    for address in (Address(server.host, server.port), address_of(server)):
        with pytest.raises(ServerChanged, match=f"CERTIFICATE OF {place} HAS CHANGED") as told:
            await known.dial(address, trusts_new=True)
        assert str(known.path) in str(told.value)
        assert pin in str(told.value)
    assert known.read() == {place: pin_of(other)}


async def test_a_link_for_another_server_than_the_known_one_is_refused_loudly(
    server: RunningServer, known: KnownServers, pin: str
) -> None:
    await (await known.dial(address_of(server, pin))).aclose()
    with pytest.raises(ServerChanged, match="THE LINK IS FOR ANOTHER"):
        await known.dial(address_of(server, OTHER_PIN), trusts_new=True)


async def test_a_new_one_is_taken_at_its_word_if_one_says_so_and_then_held_to_it(
    server: RunningServer, known: KnownServers, pin: str
) -> None:
    with pytest.raises(Untrusted):
        await known.dial(address_of(server))
    assert known.read() == {}
    await (await known.dial(address_of(server), trusts_new=True)).aclose()
    assert list(known.read().values()) == [pin]
    await (await known.dial(address_of(server))).aclose()


async def test_each_is_noted_beside_the_others_however_its_host_is_written(
    known: KnownServers, tmp_path: Path
) -> None:
    files = [own(tmp_path, name) for name in ("a.pem", "b.pem")]
    async with (
        running_server(tls=Tls(files[0], files[0])) as a,
        running_server(tls=Tls(files[1], files[1])) as b,
    ):
        for server, file in zip((a, b), files, strict=True):
            address = Address("LocalHost", server.port, is_secure=True, pin=pin_of(file))
            await (await known.dial(address)).aclose()
        for server in (a, b):
            stream = await known.dial(Address("LOCALHOST", server.port))
            assert isinstance(stream, TlsStream)
            await stream.aclose()
        assert known.read() == {
            f"localhost:{server.port}": pin_of(file)
            for server, file in zip((a, b), files, strict=True)
        }


async def test_one_that_can_not_be_noted_is_told(
    server: RunningServer, known: KnownServers, pin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be taken at its word each time."""

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", fail)
    for address in (address_of(server, pin), address_of(server)):
        with pytest.raises(SetupError, match="can't note"):
            await known.dial(address, trusts_new=True)


async def test_who_is_vouched_for_is_not_pinned(
    authority: trustme.CA, known: KnownServers, tmp_path: Path
) -> None:
    """Its certificate will change in a few weeks."""
    async with running_server(tls=signed(authority, tmp_path, HOST)) as server:
        await (await known.dial(address_of(server), trusts_new=True)).aclose()
    assert known.read() == {}


async def test_plain_text_is_nothing_to_know(known: KnownServers) -> None:
    async with running_server() as plain:
        await (await known.dial(Address(plain.host, plain.port), trusts_new=True)).aclose()
    assert known.read() == {}


@pytest.mark.parametrize("text", ["a:1\n", "a:1 b c\n", "a:1 pin\n\n", "\udcff"])
async def test_a_file_of_known_ones_that_is_damaged_trusts_nobody(
    known: KnownServers, text: str
) -> None:
    known.path.parent.mkdir()
    known.path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SetupError, match="known_servers"):
        await known.dial(Address(HOST, 1))


async def test_a_server_that_comes_back_as_another_is_left(
    known: KnownServers, tmp_path: Path
) -> None:
    path = own(tmp_path)
    tls = Tls(path, path)
    streams: list[trio.abc.Stream] = []

    async def dial_again(address: Address) -> trio.abc.Stream:
        streams.append(await known.dial(address))
        return streams[-1]

    async with running_server(tls=tls) as server:
        again = partial(dial_again, address_of(server, pin_of(path)))
        async with open_chat(again, Hello("alice")) as alice:
            path.write_bytes(certificate.make())
            tls.reload()
            await trio.aclose_forcefully(streams[0])
            with pytest.raises(ServerChanged):
                await alice.ping()


# ---------------------------------------------------------------- the commands


async def test_every_command_takes_a_link(
    server: RunningServer, pin: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with trio_chat.connect(str(address_of(server, pin)), name="alice") as alice:
        await alice.join("ops")
        at = ["--server", f"{address_of(server, pin)}"]
        assert await run_in_thread("say", "ops", "hi", "--name", "cron", *at) == 0
        assert "known from now on" in only_line(capfd.readouterr().err)
        assert await run_in_thread("tail", "ops", *at) == 0
        assert await run_in_thread("who", "ops", *at) == 0
        assert await run_in_thread("rooms", *at) == 0
        plainly = ["--server", f"{server.host}:{server.port}"]
        assert await run_in_thread("who", "ops", *plainly) == 0
    out, err = capfd.readouterr()
    assert "hi" in out
    assert out.count("alice\n") == 2
    assert not err


async def test_a_new_one_is_refused_with_what_to_do(
    server: RunningServer, capfd: pytest.CaptureFixture[str]
) -> None:
    at = ["--server", str(address_of(server))]
    assert await run_in_thread("rooms", *at) == 2
    assert "--trust-new" in only_line(capfd.readouterr().err)
    assert await run_in_thread("rooms", *at, "--trust-new") == 0
    assert await run_in_thread("rooms", *at) == 0


async def test_a_changed_one_is_refused_in_one_loud_line(
    server: RunningServer, pin: str, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "trio_chat").mkdir()
    place = f"{server.host}:{server.port}"
    (home / "trio_chat" / "known_servers").write_text(f"{place} {OTHER_PIN}\n")
    assert await run_in_thread("who", "ops", "--server", place) == 2
    assert "HAS CHANGED" in only_line(capfd.readouterr().err)


async def test_plain_text_to_a_server_with_tls_is_refused_with_what_to_do(
    server: RunningServer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await run_in_thread("rooms", "--server", f"{server.host}:{server.port}") == 1
    assert "the link" in only_line(capfd.readouterr().err)
