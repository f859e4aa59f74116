"""HTTP/1.1 without a network: one request in, one response out. The only importer of h11.

A connection carries one request. So there is nothing to tell apart, where requests that
are smuggled into others begin, and a browser that opens a page does it a few times only.
"""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import h11
from attrs import define, evolve, field, frozen

HEAD_BYTES = 16 * 1024
"""The most bytes of a request's head: twice what browsers make of it with cookies."""

BODY_BYTES = 64 * 1024
"""The most bytes of a request's body: as a line."""

QUERY_FIELDS = 16
"""The most fields of a query; none that is asked for here has as many."""

TEXT = "text/plain; charset=utf-8"

GUARDS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",  # which is the WebSocket, too
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",  # nothing ever becomes markup
            "trusted-types clock",  # by whose name the script starts itself as a worker
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",  # for browsers that know no frame-ancestors
}
"""The headers of every response, also of one that refuses."""


def guard_headers() -> list[tuple[bytes, bytes]]:
    """The `GUARDS`, as h11 and wsproto take them."""
    return [(name.encode(), value.encode()) for name, value in GUARDS.items()]


@frozen
class HttpRequest:
    """`path` is not unquoted; the names of `headers` are in lower case, and what comes
    more than once is joined by commas; `raw`: target and headers as they came. Of itself it
    shows the method only: in all else may be a token."""

    method: str
    path: str = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    raw: h11.Request = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen
class HttpResponse:
    """What is answered; `GUARDS` are added to `headers`."""

    status: HTTPStatus
    body: bytes = b""
    kind: str = TEXT
    headers: Mapping[str, str] = field(factory=dict)


class NotServed(Exception):
    """The answer is a response that says no."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        super().__init__(text)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = HttpResponse(status, f"{text}\n".encode(), headers=named)


@define(eq=False)
class Exchange:
    """One request and its response."""

    _connection: h11.Connection = field(init=False)
    _request: HttpRequest | None = field(default=None, init=False)
    _body: bytearray = field(factory=bytearray, init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER, HEAD_BYTES)

    @property
    def trailing(self) -> bytes:
        """What was heard after the request: the first bytes of another protocol."""
        return self._connection.trailing_data[0]

    def hear(self, data: bytes) -> HttpRequest | None:
        """Take more bytes, none at the end; returns the request once it is complete.

        Raises `NotServed` if it is none.
        """
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    assert self._request is not None, "a head comes before its end"
                    return evolve(self._request, body=bytes(self._body))
                self._take(event)
        except h11.RemoteProtocolError as exc:
            raise NotServed(HTTPStatus(exc.error_status_hint), f"bad request: {exc}") from exc
        return None

    @property
    def is_awaited(self) -> bool:
        """Does the client wait for leave to send the body?"""
        return self._connection.they_are_waiting_for_100_continue

    def _take(self, event: object) -> None:
        match event:
            case h11.Request():
                self._request = _read_head(event)
            case h11.Data():
                self._body += event.data
                _check_size(len(self._body))
            case _:
                raise NotServed(HTTPStatus.BAD_REQUEST, "no request")

    def permit(self) -> bytes:
        """The leave to send the body."""
        status = HTTPStatus.CONTINUE
        response = h11.InformationalResponse(status_code=status, headers=[])
        return self._connection.send(response) or b""

    def encode(self, response: HttpResponse) -> bytes:
        """The bytes of the response; there is one."""
        size = {"Content-Length": str(len(response.body))}
        head = self.begin(evolve(response, headers=size | dict(response.headers)))
        is_wanted = self._request is None or self._request.method != "HEAD"
        return head + (self.go_on(response.body) if is_wanted else b"") + self.finish()

    def begin(self, response: HttpResponse) -> bytes:
        """The head of a response whose body comes bit by bit."""
        fields = {"Content-Type": response.kind, "Connection": "close", **response.headers}
        own = [(name.encode(), value.encode()) for name, value in fields.items()]
        head = h11.Response(
            status_code=response.status,
            reason=response.status.phrase.encode(),
            headers=guard_headers() + own,
        )
        return self._connection.send(head) or b""

    def go_on(self, data: bytes) -> bytes:
        """More of the body."""
        return self._connection.send(h11.Data(data=data)) or b"" if data else b""

    def finish(self) -> bytes:
        """The end of the body: without it, it was cut off."""
        return self._connection.send(h11.EndOfMessage()) or b""


def _read_head(head: h11.Request) -> HttpRequest:
    fields: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if fields.get("content-length", "").isdecimal():
        _check_size(int(fields["content-length"]))
    try:
        target = urlsplit(head.target.decode("ascii"))
        query = dict(
            parse_qsl(target.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS)
        )
    except ValueError as exc:
        raise NotServed(HTTPStatus.BAD_REQUEST, f"bad request: {exc}") from exc
    return HttpRequest(head.method.decode("ascii"), target.path, query, fields, head)


def _check_size(size: int) -> None:
    if size > BODY_BYTES:
        text = f"a body may have {BODY_BYTES} bytes"
        raise NotServed(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
