"""/chain/<entry>.svg: how a recent decision came about, as a picture. For this machine alone (SAFETY 12)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from aiohttp import hdrs, web

from appliance.web.access import refusal
from appliance.web.source import Pictures

ROUTE = "/chain/{index:[0-9]{1,15}}.svg"
GAP_S = 0.25
"""Between two pictures: each costs some milliseconds of reading and drawing in the gate's own process."""


class Chains:
    """One picture at a time; who asks sooner is told to ask again. Belongs to the loop that serves."""

    def __init__(self, pictures: Pictures | None, clock: Callable[[], float]) -> None:
        """pictures: None where nobody draws.  clock: monotonic seconds."""
        self._pictures = pictures
        self._clock = clock
        self._next_s = clock()
        self._busy = False

    async def serve(self, request: web.Request) -> web.Response:
        """The picture; 403 from another machine, 404 for anything but a decision, 429 too soon."""
        if not is_here(request.remote):
            return refusal(403, "decisions are shown on this machine alone; from another one use a tunnel")
        if self._pictures is None:
            raise web.HTTPNotFound
        if self._busy or self._clock() < self._next_s:
            return refusal(429, "one picture at a time; ask again in a second", **{hdrs.RETRY_AFTER: "1"})
        self._busy = True
        try:
            drawn = await self._pictures.picture(int(request.match_info["index"]))
        finally:
            self._busy, self._next_s = False, self._clock() + GAP_S
        if drawn is None:
            return refusal(404, "there is no decision of that number")
        return web.Response(body=drawn.encode(), headers={hdrs.CONTENT_TYPE: "image/svg+xml; charset=utf-8"})


def is_here(address: str | None) -> bool:
    """True for a loopback address."""
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False
