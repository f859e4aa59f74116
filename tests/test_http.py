"""HTTP without a network."""

from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.doors.http import (
    BODY_BYTES,
    GUARDS,
    HEAD_BYTES,
    QUERY_FIELDS,
    Exchange,
    HttpRequest,
    HttpResponse,
    NotServed,
)

POST = (
    b"POST /a/b?c=1&d=%20&e HTTP/1.1\r\nHost: h\r\nX: 1\r\nx: 2\r\nContent-Length: 3\r\n\r\nxyz"
)


def hear(data: bytes) -> tuple[Exchange, HttpRequest | None]:
    exchange = Exchange()
    return exchange, exchange.hear(data)


def read(data: bytes, method: bytes = b"GET") -> tuple[h11.Response, bytes]:
    """What a client makes of a response."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return response, body


@given(st.integers(1, len(POST)), st.integers(1, len(POST)))
def test_a_request_does_not_depend_on_how_the_network_cut_it(one: int, two: int) -> None:
    start, end = sorted((one, two))
    exchange = Exchange()
    found = [
        exchange.hear(part) for part in (POST[:start], POST[start:end], POST[end:]) if part
    ]
    request = found[-1]
    assert request is not None
    assert (request.method, request.path, request.body) == ("POST", "/a/b", b"xyz")
    assert request.query == {"c": "1", "d": " ", "e": ""}
    assert request.headers == {"host": "h", "x": "1, 2", "content-length": "3"}
    assert not any(found[:-1])


BAD = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no line": (b"GET nonsense\r\n\r\n", 400),
    "bad target": (b"GET http://[/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "not ascii": (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a folded head": (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\nX : 1\r\n\r\n", 400),
    "smuggling": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nContent-Length: 1\r\n\r\n",
        501,
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
    ),
    "a length below zero": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    "long head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * HEAD_BYTES, 431),
    "long target": (b"GET /" + b"x" * HEAD_BYTES, 431),
    "announced body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413),
    "body in chunks": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b" % (BODY_BYTES + 1, b"x" * (BODY_BYTES + 1)),
        413,
    ),
    "many fields": (
        b"GET /?" + b"a=1&" * (QUERY_FIELDS + 1) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize(("data", "status"), BAD.values(), ids=BAD.keys())
def test_what_is_no_request_is_told_so(data: bytes, status: int) -> None:
    exchange = Exchange()
    with pytest.raises(NotServed) as refused:
        exchange.hear(data)
    response, body = read(exchange.encode(refused.value.response))
    assert response.status_code == status
    assert body.endswith(b"\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    for start in (b"GET ", b"POST / HTTP/1.1\r\nHost: a\r\n"):
        exchange = Exchange()
        try:
            exchange.hear(start + data)
            exchange.hear(b"")
        except NotServed as refused:
            response = refused.response
        else:
            response = HttpResponse(HTTPStatus.OK)
        assert exchange.encode(response).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.NOT_FOUND])
def test_every_response_guards_the_page(status: HTTPStatus) -> None:
    exchange, _ = hear(POST)
    response, body = read(exchange.encode(HttpResponse(status, b"hi", headers={"ETag": '"x"'})))
    headers = {name.decode(): value.decode() for name, value in response.headers}
    assert body == b"hi"
    assert {name.lower(): value for name, value in GUARDS.items()}.items() <= headers.items()
    assert (headers["connection"], headers["etag"]) == ("close", '"x"')
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_head_is_answered_without_the_body() -> None:
    exchange, _ = hear(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    data = exchange.encode(HttpResponse(HTTPStatus.OK, b"hi"))
    response, body = read(data, b"HEAD")
    assert dict(response.headers)[b"content-length"] == b"2"
    assert body == b""
    assert data.endswith(b"\r\n\r\n")


def test_a_client_that_asks_for_leave_gets_it() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    exchange, request = hear(head)
    assert request is None
    assert exchange.is_awaited
    assert exchange.permit() == b"HTTP/1.1 100 \r\n\r\n"
    request = exchange.hear(b"hi")
    assert request is not None
    assert request.body == b"hi"


def test_what_follows_an_upgrade_is_kept() -> None:
    exchange, request = hear(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nabc"
    )
    assert request is not None
    assert exchange.trailing == b"abc"
