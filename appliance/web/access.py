"""Who may ask what: the checks before every handler and the headers on every answer.

The page has no login, because it can change nothing and shows neither position nor P&L. What remains to be
kept out is a web page in the owner's own browser: by DNS rebinding (Host allow-list), by framing, by using up
the streams from another origin (Fetch Metadata), and by injected markup (CSP).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""What a browser on the box, or at the near end of an SSH tunnel, puts into the Host header."""

METHODS = ("GET", "HEAD")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Server": "interlock",
}

_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?)(?::\d{1,5})?", re.ASCII)


def host_name(header: str) -> str | None:
    """The name in a Host header, lower case, without port and brackets; None if it is not one."""
    match = _HOST.fullmatch(header.lower()) if len(header) <= 262 else None
    return (match[1] or match[2]) if match else None


def checks(allowed_hosts: Collection[str]) -> Middleware:
    """Middleware that refuses: 403 for a foreign host or origin, 405 for a method that is not for reading.

    allowed_hosts: names or addresses without port. Nothing of a refused request is repeated in the answer.
    """
    allowed = frozenset(name.lower().strip("[]").rstrip(".") for name in allowed_hosts)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if host_name(request.headers.get(hdrs.HOST, "")) not in allowed:
            return refusal(403, "this name is not in the list of hosts the status page answers to")
        if request.method not in METHODS:
            return refusal(405, "the status page is read only", Allow=", ".join(METHODS))
        if not request.raw_path.startswith("/"):
            return refusal(403, "this is not a proxy")
        if _foreign(request):
            return refusal(403, "another site may link to this page, but not load it")
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return refusal(404, "nothing is here; the status page is at /")

    return check


def refusal(status: int, why: str, **headers: str) -> web.Response:
    """A plain page that says why. Never cached."""
    return web.Response(status=status, text=f"{status}: {why}\n", headers=headers)


async def add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Signal handler: the strict headers on every answer. An answer without a caching rule is not kept."""
    response.headers.update(HEADERS)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


def _foreign(request: web.Request) -> bool:
    """True for a load by another site. Browsers that predate Fetch Metadata send nothing and pass."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site in ("none", "same-origin"):
        return False
    mode, dest = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    return not (mode == "navigate" and dest == "document")
