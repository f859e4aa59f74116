"""HTTP and WebSocket where everything is encrypted, and what comes there without."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trustme

from tests.test_script import CI, open_house, posting, reading
from tests.test_tls import dial_tls
from tests.test_web import GET, Answered, ask, web_peer
from trio_chat.doors.http import GUARDS
from trio_chat.doors.tls import Tls
from trio_chat.messages import Ack, Event, Say
from trio_chat.session import HELLO_WITHIN
from trio_chat.testing import RunningServer, running_server
from trio_chat.tls import TlsStream

NAME = "chat.example.org"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


def issue(authority: trustme.CA, folder: Path, *names: str) -> Tls:
    """What a server has that an authority vouches for."""
    pem, issued = folder / "tls.pem", authority.issue_cert(*names)
    pem.touch(0o600)
    pem.write_bytes(
        b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        + issued.private_key_pem.bytes()
    )
    return Tls(pem, pem)


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> Tls:
    return issue(authority, tmp_path, NAME, "*.wild.example.org")


@pytest.fixture
async def secured(virtual_time: None, tls: Tls) -> AsyncIterator[RunningServer]:
    async with open_house(tls=tls) as server:
        yield server


async def dial(server: RunningServer, authority: trustme.CA, name: str = NAME) -> TlsStream:
    """As a browser does, which believes nobody but the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return await dial_tls(server, context, name)


def get(path: str, host: str, *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode()


# ---------------------------------------------------------------- through TLS


async def test_the_page_the_socket_and_hooks_are_behind_it(
    secured: RunningServer, authority: trustme.CA
) -> None:
    page = await ask(secured, get("/", NAME), await dial(secured, authority))
    assert page.status == 200
    stream = await dial(secured, authority)
    async with web_peer(secured, stream, NAME, origin=f"https://{NAME}") as alice:
        await alice.enter("alice", "ops")
        hook = posting(b"hi", Host=NAME, Idempotency_Key="k")
        said = await ask(secured, hook, await dial(secured, authority))
        assert said.status == 200
        assert (await alice.hear(Event)).message == Say("ops", "hi", "k")
        lines = await ask(secured, reading(CI, Host=NAME), await dial(secured, authority))
        assert b'"text":"hi"' in lines.body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (NAME, 200),
        (f"{NAME}:8765", 200),
        (f"{NAME.upper()}.", 200),
        ("a.wild.example.org", 200),
        ("localhost", 200),
        ("wild.example.org", 421),
        ("a.b.wild.example.org", 421),
        ("example.org", 421),
        (f"{NAME}.evil.org", 421),
        (f"not{NAME}", 421),
    ],
)
async def test_its_own_names_are_those_of_its_certificate(
    secured: RunningServer, authority: trustme.CA, host: str, status: int
) -> None:
    answered = await ask(secured, get("/", host), await dial(secured, authority))
    assert answered.status == status


async def test_a_certificate_for_another_name_counts_once_it_is_read(
    secured: RunningServer, authority: trustme.CA, tls: Tls
) -> None:
    name = "talk.example.org"
    assert issue(authority, tls.certificate.parent, name).hosts == {name}
    assert (await ask(secured, get("/", name), await dial(secured, authority))).status == 421
    tls.reload()
    stream = await dial(secured, authority, name)
    assert (await ask(secured, get("/", name), stream)).status == 200


async def test_without_tls_no_certificate_counts(virtual_time: None) -> None:
    async with running_server() as server:
        assert (await ask(server, get("/", NAME))).status == 421


# ---------------------------------------------------------------- without


def place(answered: Answered) -> tuple[int, str | None]:
    return answered.status, answered.headers.get("location")


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        (get("/", f"{NAME}:8765"), f"https://{NAME}:8765/"),
        (get("/?room=x", "127.0.0.1:8765"), "https://127.0.0.1:8765/?room=x"),
        (get("/ws", "[::1]:8765"), "https://[::1]:8765/ws"),
        (get("//evil.org/x", NAME), f"https://{NAME}//evil.org/x"),
        (get("http://evil.org/x", NAME), f"https://{NAME}/"),
        (get("/", f"evil.org\\@{NAME}"), f"https://{NAME}/"),
        (get("/", f"evil.org@{NAME}:99"), f"https://{NAME}:99/"),
        (b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", "https://localhost/"),
    ],
)
async def test_a_browser_is_sent_on_to_the_same_place(
    secured: RunningServer, asked: bytes, location: str
) -> None:
    answered = await ask(secured, asked)
    assert place(answered) == (308, location)
    assert answered.headers["cache-control"] == "no-store"
    for name, value in GUARDS.items():
        assert answered.headers[name.lower()] == value


@pytest.mark.parametrize(
    "host", ["evil.org", f"{NAME}.evil.org", f"{NAME}\\.evil.org", "", "evil.org#@", "["]
)
async def test_nobody_is_sent_to_somebody_else(secured: RunningServer, host: str) -> None:
    assert place(await ask(secured, get("/", host))) == (421, None)


@pytest.mark.parametrize("host", ["localhost:abc", "localhost:99999", "localhost/x"])
async def test_nobody_is_sent_to_what_is_no_host(secured: RunningServer, host: str) -> None:
    assert place(await ask(secured, get("/", host))) == (400, None)


@pytest.mark.parametrize(
    "asked",
    [
        f"POST /hooks/{CI} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 1\r\n\r\nx".encode(),
        get(f"/hooks/{CI}", NAME),
        get("/", NAME).replace(b"GET", b"POST"),
        get("/rooms/ops/events", NAME, f"Authorization: Bearer {CI}"),
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
async def test_what_came_with_a_secret_is_refused(
    secured: RunningServer, authority: trustme.CA, asked: bytes
) -> None:
    stream = await dial(secured, authority)
    async with web_peer(secured, stream, NAME) as alice:
        await alice.enter("alice", "ops")
        answered = await ask(secured, asked)
        assert place(answered) == (400, None)
        assert b'"code":"tls_required"' in answered.body
        await alice.tell(Say("ops", "nothing before this", "s"))
        await alice.hear(Ack)
        assert (await alice.hear(Event)).seq == 2


async def test_a_request_without_tls_has_to_come_in_time_too(secured: RunningServer) -> None:
    assert (await ask(secured, GET[:10])).status == 408
    assert trio.current_time() == HELLO_WITHIN
