"""The page that a browser opens: three files that are in the package, and no others."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files

from attrs import frozen

from trio_chat.doors.http import HttpRequest, HttpResponse

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/chat.js": ("chat.js", "text/javascript; charset=utf-8"),
    "/chat.css": ("chat.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


@frozen
class Asset:
    """A file, its media type, and what names this version of it."""

    body: bytes
    kind: str
    tag: str


def load_assets() -> Mapping[str, Asset]:
    """The files by their paths."""
    folder = files("trio_chat.doors") / "page"
    return {
        path: _asset((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()
    }


def _asset(body: bytes, kind: str) -> Asset:
    return Asset(body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')


def give(asset: Asset, request: HttpRequest) -> HttpResponse:
    """The file, unless the browser has it. It asks each time, so that after an upgrade no
    page talks to a server that it does not fit."""
    headers = {"Cache-Control": "no-cache", "ETag": asset.tag}
    if asset.tag in request.headers.get("if-none-match", ""):
        return HttpResponse(HTTPStatus.NOT_MODIFIED, kind=asset.kind, headers=headers)
    return HttpResponse(HTTPStatus.OK, asset.body, asset.kind, headers)
