"""From which pages a browser may come: this server's own, and those that the operator names.

A browser lets any page of any site connect anywhere, to the loopback address too, and
says in `Origin` which page it was. And who owns a name can let it point at our address:
to the browser, his page and this server are one site then, and only `Host` tells.
"""

import socket
from collections.abc import Callable, Collection
from http import HTTPStatus
from ipaddress import ip_address
from typing import NewType
from urllib.parse import urlsplit

from attrs import field, frozen

from trio_chat.doors.http import HttpRequest, NotServed

_PORTS = {"http": 80, "https": 443}
"""The ports that browsers leave out."""


def machine_names() -> frozenset[str]:
    """What this machine calls itself."""
    name = socket.gethostname().lower()
    return frozenset({"localhost", name, f"{name}.local", name.partition(".")[0]})


Origin = NewType("Origin", str)
"""Where a page comes from, as browsers write it: a scheme, a host, maybe a port."""


def parse_origin(text: str) -> Origin:
    """An origin as browsers write it. Raises `ValueError`."""
    parts = urlsplit(text.lower().removesuffix("/"))
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path:
        raise ValueError(f"an origin is like https://chat.example.org, {text!r} is not")
    port = "" if parts.port in {None, _PORTS[parts.scheme]} else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Origin(f"{parts.scheme}://{host}{port}")


@frozen
class Sites:
    """`origins`: what the operator allows, such as https://chat.example.org. `names`: what
    this machine calls itself; a name that others own is not among them. `certified`: the
    names that its certificate is for now, as they stand there."""

    origins: Collection[Origin] = ()
    names: Collection[str] = field(factory=machine_names)
    certified: Callable[[], Collection[str]] = tuple

    def check(self, request: HttpRequest) -> None:
        """Raises `NotServed` for what a page of somebody else has a browser ask."""
        host = request.headers.get("host")
        if host is not None and not self._is_own(host):
            origin = f"https://{host}"
            raise NotServed(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this server does not know that it is called {host}; if it is, start it"
                f" with --allow-origin {origin}",
            )
        origin = request.headers.get("origin", "")
        if origin and not self._allows(origin, host):
            raise NotServed(HTTPStatus.FORBIDDEN, f"a page of {origin} may not come here")

    def _is_own(self, host: str) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        is_ours = name in self.names or name.endswith(".localhost") or _is_address(name)
        is_known = is_ours or self._is_certified(name)
        return is_known or name in map(_host_name, map(_place, self.origins))

    def _is_certified(self, name: str) -> bool:
        known, parent = self.certified(), name.partition(".")[2]
        return name in known or f"*.{parent}" in known

    def _allows(self, origin: str, host: str | None) -> bool:
        is_web = origin.startswith(("http://", "https://"))
        return origin in self.origins or (is_web and _place(origin) == host)


def _place(origin: str) -> str:
    """The host and port of an origin, as they stand in `Host`."""
    return origin.partition("://")[2]


def _host_name(host: str) -> str | None:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return name.rstrip(".") if name else None


def _is_address(name: str) -> bool:
    """Nobody can let an address point elsewhere."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
