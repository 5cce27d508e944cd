"""One HTTP conversation with a witness, reduced to what the client may conclude from it.

Replies are bounded, redirects are not followed, proxies and compression are not used, and every failure to
talk is a TransportError. What a reply means is decided in `client`; here is only its form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import aiohttp
from msgspec import Struct

from appliance.domain.errors import ConfigError, TransportError
from appliance.upstream.address import address_problem
from appliance.upstream.upload import ENTRIES_TYPE, INFO
from appliance.upstream.witness import SIZE

MAX_REPLY = 64 * 1024
TOTAL_S = 15.0
UPLOAD_S = 70.0
"""Of one piece of entries: the collector waits 60 s for it. 200 kB need 27 kbit/s."""

_SHOWN = 160


class Answer(Struct, frozen=True):
    """status and body of a reply. size: of a 409 that names the witness's size, else None.

    mirror_info: the body tells where an upload goes on.
    """

    status: int
    body: bytes
    size: int | None = None
    mirror_info: bool = False

    @property
    def said(self) -> str:
        """Status and first line, safe to show: printable ASCII, cut to a line."""
        first = self.body.split(b"\n", 1)[0][:_SHOWN].decode("ascii", "replace")
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in first)
        return f"{self.status} {text}".rstrip()


class Ask(Struct, frozen=True):
    """One question. total_s: bound on the whole of it."""

    method: str
    url: str
    total_s: float
    body: bytes | None = None
    headers: Mapping[str, str] | None = None


class Exchange:
    """Talks to one witness. Use inside its own `async with`."""

    def __init__(
        self, url: str, total_s: float = TOTAL_S, pin: str = "", upload_s: float = UPLOAD_S
    ) -> None:
        """url: the submission prefix, http or https.  total_s: bound on one whole conversation.

        upload_s: on one that uploads entries, over a line that may be slow.
        pin: SHA-256 of the certificate, hexadecimal, which alone is trusted; empty: the system's authorities.
        """
        if why := address_problem(url, pin):
            raise ConfigError("the upstream's address cannot be used", why)
        self._url = url.rstrip("/")
        self._tls: aiohttp.Fingerprint | bool = aiohttp.Fingerprint(bytes.fromhex(pin)) if pin else True
        self._total_s, self._upload_s = total_s, upload_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def add_checkpoint(self, body: bytes) -> Answer:
        """POST add-checkpoint. Raises TransportError."""
        return await self._talk(Ask("POST", f"{self._url}/add-checkpoint", self._total_s, body))

    async def add_entries(self, packed: bytes) -> Answer:
        """POST add-entries. packed: the body, compressed with gzip. Raises TransportError."""
        headers = {"Content-Type": ENTRIES_TYPE, "Content-Encoding": "gzip"}
        return await self._talk(Ask("POST", f"{self._url}/add-entries", self._upload_s, packed, headers))

    async def rotate_key(self, note: bytes) -> Answer:
        """POST rotate-key: the log goes on under another key. Raises TransportError."""
        return await self._talk(Ask("POST", f"{self._url}/rotate-key", self._total_s, note))

    async def enrol(self, note: bytes) -> Answer:
        """POST enrol, with a token. Raises TransportError."""
        return await self._talk(Ask("POST", f"{self._url}/enrol", self._total_s, note))

    async def latest(self, hashed_origin: str) -> Answer:
        """GET the last checkpoint the witness co-signed for an origin. Raises TransportError."""
        return await self._talk(Ask("GET", f"{self._url}/{hashed_origin}/checkpoint", self._total_s))

    async def _talk(self, ask: Ask) -> Answer:
        if self._session is None:
            raise ConfigError("the upstream cannot be asked", "no session is open")
        try:
            async with self._session.request(
                ask.method,
                ask.url,
                data=ask.body,
                headers=ask.headers,
                ssl=self._tls,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(ask.total_s, sock_connect=self._total_s),
            ) as reply:
                received = await _bounded(reply.content)
                size = _size(received) if reply.status == 409 and reply.content_type == SIZE else None
                return Answer(reply.status, received, size, mirror_info=reply.content_type == INFO)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            raise TransportError("the upstream could not be reached", f"{why} ({ask.url})") from error


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    received = bytearray()
    while chunk := await stream.read(MAX_REPLY + 1 - len(received)):
        received += chunk
        if len(received) > MAX_REPLY:
            raise TransportError("the upstream's reply was refused", f"more than {MAX_REPLY} bytes")
    return bytes(received)


def _size(body: bytes) -> int | None:
    text = body.removesuffix(b"\n").decode("ascii", "replace")
    plain = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if plain and (text == "0" or text[0] != "0") else None
