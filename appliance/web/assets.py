"""The files the page refers to, read once and served from memory: no path of a request reaches the disk."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from msgspec import Struct

_TYPES = {
    "app.js": "text/javascript",
    "tick.js": "text/javascript",
    "style.css": "text/css",
    "favicon.svg": "image/svg+xml",
}


class Asset(Struct, frozen=True):
    """One static file. etag: quoted, from the content."""

    body: bytes
    content_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """Every static file by name."""
    folder = resources.files("appliance.web").joinpath("static")
    found = {}
    for name, content_type in _TYPES.items():
        body = folder.joinpath(name).read_bytes()
        found[name] = Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found


@cache
def assets_digest() -> str:
    """Eight characters that change with any static file, part of the page's build identity."""
    together = "".join(asset.etag for asset in assets().values())
    return hashlib.sha256(together.encode()).hexdigest()[:8]
