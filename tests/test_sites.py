"""From which pages a browser may come."""

import pytest

from trio_chat.doors.http import Exchange, HttpRequest, NotServed
from trio_chat.doors.sites import Sites, parse_origin

SITES = Sites(
    [parse_origin("https://chat.example.org"), parse_origin("http://intra:8080")],
    {"localhost", "box", "box.local"},
)


def request(host: str | None, origin: str | None) -> HttpRequest:
    fields = f"Host: {host}\r\n" if host is not None else ""
    fields += f"Origin: {origin}\r\n" if origin is not None else ""
    version = "1.0" if host is None else "1.1"
    found = Exchange().hear(f"GET / HTTP/{version}\r\n{fields}\r\n".encode())
    assert found is not None
    return found


OWN = ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "10.0.0.5", "box:8765", "BOX.local"]
ALLOWED = ["chat.example.org", "chat.example.org:443", "intra:8080"]
FOREIGN = [
    "evil.org",
    "evil.org:8765",
    "127.0.0.1.evil.org",
    "localhost.evil.org",
    "chat.example.org.evil.org",
    "notbox",
    "example.org",
    "",
    "[",
    "a@evil.org",
]


@pytest.mark.parametrize("host", OWN + ALLOWED)
def test_a_server_knows_its_own_names(host: str) -> None:
    SITES.check(request(host, None))
    SITES.check(request(host, f"http://{host}"))
    SITES.check(request(host, f"https://{host}"))


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_of_somebody_else_is_not_ours_wherever_it_points(host: str) -> None:
    for origin in (None, f"http://{host}", "http://localhost:8765", "https://chat.example.org"):
        with pytest.raises(NotServed) as refused:
            SITES.check(request(host, origin))
        assert refused.value.response.status == 421


@pytest.mark.parametrize("host", OWN + ALLOWED)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.org",
        "https://evil.org:8765",
        "null",
        "http://localhost:9999",
        "http://127.0.0.1",
        "https://example.org",
        "https://chat.example.org.evil.org",
        "http://chat.example.org:9999",
        "file://localhost",
        "chrome-extension://localhost",
        "http://intra",
        "https://chat.example.org, https://evil.org",
    ],
)
def test_a_page_of_somebody_else_gets_nowhere(host: str, origin: str) -> None:
    if origin.endswith(f"://{host}"):
        origin += ".evil.org"
    with pytest.raises(NotServed) as refused:
        SITES.check(request(host, origin))
    assert refused.value.response.status == 403


@pytest.mark.parametrize("host", OWN)
def test_an_allowed_page_may_come_to_any_of_our_names(host: str) -> None:
    SITES.check(request(host, "https://chat.example.org"))


def test_who_is_no_browser_says_neither() -> None:
    SITES.check(request(None, None))


def test_the_refusal_says_what_to_do() -> None:
    with pytest.raises(NotServed, match=r"--allow-origin https://other\.org:99"):
        SITES.check(request("other.org:99", None))


def test_this_machine_has_a_name() -> None:
    assert "localhost" in Sites().names


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://chat.example.org", "https://chat.example.org"),
        ("HTTPS://Chat.Example.Org:443/", "https://chat.example.org"),
        ("http://box:80", "http://box"),
        ("http://box:443", "http://box:443"),
        ("http://[::1]:8765", "http://[::1]:8765"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["", "chat.example.org", "ftp://x", "https://", "https://x/chat", "https://x:y", "*"],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_origin(text)
