"""TLS on the server's side, mostly over memory; a few real sockets, which say so."""

import base64
import shutil
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import (
    CertificateBuilder,
    Name,
    UnrecognizedExtension,
    load_pem_x509_certificate,
)
from cryptography.x509.oid import ExtensionOID
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.conftest import VIRTUAL_SECONDS, Peer
from tests.test_gate import Passes
from trio_chat.client.link import Link
from trio_chat.doors import certificate
from trio_chat.doors.front import Front
from trio_chat.doors.tls import Tls
from trio_chat.errors import LinkLost, SetupError
from trio_chat.gate import IN_ONE_PASS
from trio_chat.messages import (
    Ack,
    Error,
    Event,
    Goodbye,
    Hello,
    Join,
    Ping,
    Pong,
    Say,
    Welcome,
)
from trio_chat.session import CLOSE_WITHIN, HELLO_WITHIN, Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.tls import CHUNK_BYTES, LINGER_BYTES, TlsStream, pin_of, restrict

HANDSHAKE = b"\x16"
"""What TLS begins with."""


@pytest.fixture(scope="session")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "tls.pem"
    certificate.ensure(path)
    return path


@pytest.fixture
def pem(own_certificate: Path, tmp_path: Path) -> Path:
    """A certificate and its key, in a file that a test may change."""
    return Path(shutil.copy(own_certificate, tmp_path))


@pytest.fixture
def tls(pem: Path) -> Tls:
    return Tls(pem, pem)


@pytest.fixture
async def secured(virtual_time: None, tls: Tls) -> AsyncIterator[RunningServer]:
    """A server on the virtual clock that speaks TLS only."""
    async with running_server(tls=tls) as server:
        yield server


def any_server() -> ssl.SSLContext:
    """What a client speaks that believes everything."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def dial_tls(
    server: RunningServer, context: ssl.SSLContext | None = None, host: str = "localhost"
) -> TlsStream:
    transport = await server.dial()
    assert isinstance(transport, trio.abc.HalfCloseableStream)
    stream = TlsStream.for_client(transport, context or any_server(), host)
    await stream.handshake()
    return stream


async def dial(server: RunningServer) -> Peer:
    return Peer(Link(await dial_tls(server), VIRTUAL_SECONDS))


async def dial_plainly(server: RunningServer) -> Peer:
    return Peer(Link(await server.dial(), VIRTUAL_SECONDS))


# ---------------------------------------------------------------- what is said through it


async def test_a_conversation_is_the_same_as_any(secured: RunningServer) -> None:
    alice, bob = await dial(secured), await dial(secured)
    await alice.enter("alice", "lobby")
    await bob.enter("bob", "lobby")
    await alice.hear(Event)
    await alice.tell(Say("lobby", "x" * 16_000, "c"))
    assert await alice.hear(Ack) == Ack("c", "lobby", 3)
    assert await alice.hear(Event) == await bob.hear(Event)


async def test_all_is_answered_to_who_has_said_its_end(secured: RunningServer) -> None:
    peer = await dial(secured)
    says = [Say("lobby", "t", f"{number}") for number in range(500)]
    await peer.tell(Hello("alice"), Join("lobby"), *says)
    await close_half(peer)
    heard = [await peer.hear(Welcome), *await peer.hear_all(1001)]
    assert sum(isinstance(reply, Ack) for reply in heard) == 500
    with pytest.raises(LinkLost):
        await peer.link.receive()


async def close_half(peer: Peer) -> None:
    """Say the end as other programs do, which still listen then."""
    stream = peer.link.stream
    assert isinstance(stream, TlsStream)
    inner = stream._tls  # noqa: SLF001 # trio's, which can't do that
    with suppress(ssl.SSLWantReadError):
        inner._ssl_object.unwrap()  # noqa: SLF001
    await stream.transport.send_all(inner._outgoing.read())  # noqa: SLF001


async def test_who_says_its_end_waits_for_that_of_the_other(secured: RunningServer) -> None:
    peer = await dial(secured)
    await peer.enter("alice", "lobby")
    await peer.link.end()
    with pytest.raises(LinkLost, match="closed"):
        await peer.link.receive()
    await (await dial(secured)).enter("alice")  # the name is free


async def test_who_talks_on_after_the_end_is_heard_out_for_a_while_only() -> None:
    ours, theirs = memory_stream_pair()
    stream = TlsStream.for_client(ours, any_server(), "localhost")
    stream._has_ended = True  # noqa: SLF001 # as after `send_eof`
    await theirs.send_all(b"x" * (LINGER_BYTES + CHUNK_BYTES))
    with trio.fail_after(1):
        assert await stream.receive_some() == b""
    assert await ours.receive_some() == b"x" * CHUNK_BYTES


async def test_the_last_word_is_heard_in_full(secured: RunningServer) -> None:
    peer = await dial(secured)
    await peer.enter("alice", "lobby")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.tell_bytes, b"x" * 100_000)
        assert (await peer.hear(Error)).code == "too_long"
    with pytest.raises(LinkLost):
        await peer.link.receive()


async def test_a_server_that_closes_says_goodbye_through_tls(
    virtual_time: None, tls: Tls
) -> None:
    async with running_server(tls=tls) as server:
        peer = await dial(server)
        await peer.enter("alice")
        server.close()
        await peer.hear(Goodbye)
        with pytest.raises(LinkLost, match="closed"):
            await peer.link.receive()


# ---------------------------------------------------------------- without


@pytest.mark.parametrize(
    "first",
    [
        b'{"type":"hello","name":"alice"}\n{"type":"join","room":"lobby"}\n',
        b'{"type":',
        b"\0",
    ],
)
async def test_nothing_is_said_without_tls(secured: RunningServer, first: bytes) -> None:
    peer = await dial_plainly(secured)
    await peer.tell_bytes(first)
    assert (await peer.hear(Error)).code == "tls_required"
    assert trio.current_time() == 0
    with pytest.raises(LinkLost, match="closed"):
        await peer.link.receive()


async def test_who_says_nothing_is_told_what_to_speak(secured: RunningServer) -> None:
    peer = await dial_plainly(secured)
    assert (await peer.hear(Error)).code == "tls_required"
    assert trio.current_time() == HELLO_WITHIN


@pytest.mark.parametrize("garbage", [b"", b"\x03\x01\x00\x05hello", b"\x03\x01" + b"\xff" * 99])
async def test_what_only_looks_like_tls_is_let_go(
    secured: RunningServer, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await dial_plainly(secured)
    await peer.tell_bytes(HANDSHAKE + garbage)
    while await peer.link.stream.receive_some():
        pass  # an alert, maybe
    assert trio.current_time() <= HELLO_WITHIN
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_those_who_shake_no_hands_go_in_turns(
    secured: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, went, answer = Passes(), list[int](), Front.answer

    async def go(self: Front, stream: trio.abc.Stream) -> None:
        with pytest.raises(LinkLost):
            await answer(self, stream)
        went.append(passes.count)

    monkeypatch.setattr(Front, "answer", go)
    trio.lowlevel.add_instrument(passes)
    for _ in range(10 * IN_ONE_PASS):
        await (await dial_plainly(secured)).tell_bytes(HANDSHAKE)
    await trio.sleep(HELLO_WITHIN + CLOSE_WITHIN)
    assert len(went) == 10 * IN_ONE_PASS
    assert max(Counter(went).values()) <= IN_ONE_PASS


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
async def test_old_versions_are_not_spoken(secured: RunningServer) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        await (await dial_tls(secured, only(version))).aclose()
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(LinkLost):
            await dial_tls(secured, only(version))


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = any_server()
    context.set_ciphers("ALL:@SECLEVEL=0")  # which the old versions need
    context.minimum_version = context.maximum_version = version
    return context


def test_what_a_system_allows_is_restricted() -> None:
    context = any_server()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    restrict(context)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_whatever_the_system_allows_a_server_is_restricted(
    monkeypatch: pytest.MonkeyPatch, pem: Path
) -> None:
    made = weaken(monkeypatch)
    Tls(pem, pem)
    assert [context.minimum_version for context in made] == [ssl.TLSVersion.TLSv1_2]


def weaken(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    """As where the system's library allows old versions, which are here left to chance;
    the contexts that are made from now on."""
    made: list[ssl.SSLContext] = []

    def make_weak(*args: Any, **options: Any) -> ssl.SSLContext:
        made.append(make(*args, **options))
        made[-1].minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        return made[-1]

    make = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", make_weak)
    return made


# ---------------------------------------------------------------- those who stall


@pytest.mark.parametrize("after", [0, 10])
async def test_a_handshake_has_until_the_hello_would_be_due(
    secured: RunningServer, after: float
) -> None:
    peer = await dial_plainly(secured)
    await trio.sleep(after)
    await peer.tell_bytes(HANDSHAKE)
    assert await peer.link.stream.receive_some() == b""
    assert trio.current_time() == HELLO_WITHIN


async def test_a_hello_has_no_longer_because_of_the_handshake(secured: RunningServer) -> None:
    await trio.sleep(1)
    transport = await secured.dial()
    assert isinstance(transport, trio.abc.HalfCloseableStream)
    await trio.sleep(HELLO_WITHIN - 1)
    stream = TlsStream.for_client(transport, any_server(), "localhost")
    await stream.handshake()
    peer = Peer(Link(stream, VIRTUAL_SECONDS))
    assert (await peer.hear(Error)).code == "no_hello"
    assert trio.current_time() == 1 + HELLO_WITHIN


async def test_who_stalls_counts_and_others_are_told_through_tls(
    virtual_time: None, tls: Tls
) -> None:
    async with running_server(tls=tls, settings=Settings(connections=1)) as server:
        stalling = await dial_plainly(server)
        await stalling.tell_bytes(HANDSHAKE)
        await wait_all_tasks_blocked()
        late = await dial(server)
        assert (await late.hear(Error)).code == "server_full"
        with pytest.raises(LinkLost, match="closed"):
            await late.link.receive()
        await stalling.link.stream.aclose()
        await wait_all_tasks_blocked()
        await (await dial(server)).enter("alice")


async def test_who_stalls_while_it_is_turned_away_is_let_go(
    virtual_time: None, tls: Tls
) -> None:
    async with running_server(tls=tls, settings=Settings(connections=1)) as server:
        alice, stalling = await dial(server), await dial_plainly(server)
        await alice.enter("alice")
        await stalling.tell_bytes(HANDSHAKE)
        assert await stalling.link.stream.receive_some() == b""
        assert trio.current_time() == CLOSE_WITHIN


async def test_who_does_not_take_the_end_is_cut_off(virtual_time: None, tls: Tls) -> None:
    async with running_server(tls=tls) as server:
        peer = await dial(server)
        await peer.enter("alice", "lobby")
        stuck_from = trio.current_time()
        server.close()
        stream = peer.link.stream
        assert isinstance(stream, TlsStream)
        await trio.sleep(CLOSE_WITHIN)  # neither reads nor closes
    assert trio.current_time() - stuck_from <= CLOSE_WITHIN


async def test_a_server_that_closes_waits_for_no_handshake(
    virtual_time: None, tls: Tls
) -> None:
    async with running_server(tls=tls) as server:
        peer = await dial_plainly(server)
        await peer.tell_bytes(HANDSHAKE)
        await wait_all_tasks_blocked()
        server.close()
        assert await peer.link.stream.receive_some() == b""
        assert trio.current_time() == 0


# ---------------------------------------------------------------- certificates


async def test_a_certificate_is_read_anew_and_nobody_is_dropped(
    virtual_time: None, tls: Tls, pem: Path
) -> None:
    async with running_server(tls=tls) as server:
        first = await dial_tls(server)
        alice = Peer(Link(first, VIRTUAL_SECONDS))
        await alice.enter("alice")
        pem.write_bytes(certificate.make())
        assert (await dial_tls(server)).certificate == first.certificate, "not yet"

        tls.reload()

        second = await dial_tls(server)
        assert pin_of(second.certificate) == certificate.describe(pem).pin
        assert second.certificate != first.certificate
        await alice.tell(Ping("p"))
        assert await alice.hear(Pong) == Pong("p")


async def test_one_that_is_no_good_leaves_the_old_one_in_force(
    virtual_time: None, tls: Tls, pem: Path
) -> None:
    async with running_server(tls=tls) as server:
        first = await dial_tls(server)
        pem.write_text("nonsense")
        with pytest.raises(SetupError):
            tls.reload()
        assert (await dial_tls(server)).certificate == first.certificate


async def test_one_whose_names_can_not_be_read_leaves_the_old_one_in_force(
    virtual_time: None, tls: Tls, pem: Path
) -> None:
    hosts = tls.hosts
    async with running_server(tls=tls) as server:
        first = await dial_tls(server)
        pem.write_bytes(made_for_x400())
        with pytest.raises(SetupError, match=r"what the certificate .* is for"):
            tls.reload()
        assert tls.hosts == hosts
        assert (await dial_tls(server)).certificate == first.certificate


def made_for_x400() -> bytes:
    """A certificate and its key, for a name of a kind that the library does not read."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = Name([]), datetime.now(UTC)
    found = (
        CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00"),
            critical=False,
        )
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found.public_bytes(Encoding.PEM) + secret


def test_a_pin_is_of_the_whole_certificate(pem: Path) -> None:
    found = load_pem_x509_certificate(pem.read_bytes())
    der = found.public_bytes(Encoding.DER)
    assert base64.urlsafe_b64decode(pin_of(der) + "=") == found.fingerprint(SHA256())
    assert pin_of(der) != pin_of(der[:-1] + bytes([der[-1] ^ 1]))


def test_our_own_certificate_is_private_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    certificate.ensure(path)
    assert path.stat().st_mode & 0o777 == 0o600
    found = certificate.describe(path)
    assert found.is_own
    assert found.ends - datetime.now(UTC) > timedelta(days=3000)
    certificate.ensure(path)
    assert certificate.describe(path) == found
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_can_not_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="can't write the certificate"):
        certificate.ensure(tmp_path / "missing" / "tls.pem")


def test_no_half_of_a_certificate_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SetupError, match="No space left"):
        certificate.ensure(tmp_path / "tls.pem")
    assert list(tmp_path.iterdir()) == []


def test_one_that_an_authority_has_signed_is_not_its_own(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    trustme.CA().issue_cert("chat.example.org").private_key_and_cert_chain_pem.write_to_path(
        path
    )
    assert not certificate.describe(path).is_own


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602])
def test_a_key_that_others_can_read_is_refused(pem: Path, mode: int) -> None:
    pem.chmod(mode)
    with pytest.raises(SetupError, match=r"others can .* chmod 600"):
        Tls(pem, pem)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_key_for_the_owner_or_a_group_of_readers_is_taken(pem: Path, mode: int) -> None:
    pem.chmod(mode)
    Tls(pem, pem)


def test_what_is_no_certificate_with_its_key_is_refused(
    pem: Path, tmp_path: Path, own_certificate: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(certificate.make())
    other.chmod(0o600)
    with pytest.raises(SetupError, match="not a certificate with its key"):
        Tls(pem, other)
    with pytest.raises(SetupError, match="No such file"):
        Tls(tmp_path / "missing.pem", pem)
    with pytest.raises(SetupError, match="can't read the key"):
        Tls(pem, tmp_path / "missing.pem")
    other.write_text("nonsense")
    with pytest.raises(SetupError, match="no certificate in PEM"):
        certificate.describe(other)
    with pytest.raises(SetupError, match="can't read the certificate"):
        certificate.describe(tmp_path / "missing.pem")


def test_a_key_with_a_password_is_refused_and_nobody_asked(pem: Path) -> None:
    key = load_pem_private_key(pem.read_bytes(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    pem.write_bytes(pem.read_bytes().split(b"-----BEGIN PRIVATE")[0] + locked)
    with pytest.raises(SetupError, match="has a password"):
        Tls(pem, pem)
