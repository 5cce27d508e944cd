"""The body of `add-entries` (C2SP tlog-mirror): entries of a log in packages of 256, each with its proof.

    uint16 length ‖ origin | uint64 start | uint64 end | uint16 length ‖ ticket | packages…
    package: { uint16 length ‖ entry }* | uint8 n | n hashes

All integers are big-endian. Package i holds [max(start, r + 256 i), min(end, r + 256 (i + 1))), r being start
rounded down to 256; its proof is that of the subtree [r + 256 i, end of package) in the tree of `end`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from appliance.audit.merkle import HASH
from appliance.audit.notes import decode64, encode64
from appliance.audit.tiles import WIDTH, encode_bundle
from appliance.domain.errors import PeerError

MAX_HASHES = 63
MAX_ORIGIN = 255
INFO = "text/x.tlog.mirror-info"
ENTRIES_TYPE = "application/octet-stream"


class Head(Struct, frozen=True):
    """What an upload is about. start, end: of the entries it offers."""

    origin: str
    start: int
    end: int
    ticket: bytes = b""

    def encode(self) -> bytes:
        """As it is sent before the packages."""
        return b"".join(
            (
                _sized(self.origin.encode()),
                self.start.to_bytes(8, "big"),
                self.end.to_bytes(8, "big"),
                _sized(self.ticket),
            )
        )


class Package(Struct, frozen=True):
    """entries: of [start, start + their number).  base: where the subtree its proof is about begins."""

    base: int
    start: int
    entries: tuple[bytes, ...]
    proof: tuple[bytes, ...]

    @property
    def stop(self) -> int:
        """Behind its last entry."""
        return self.start + len(self.entries)

    def encode(self) -> bytes:
        """As it is sent."""
        return encode_bundle(self.entries) + bytes((len(self.proof),)) + b"".join(self.proof)


class Info(Struct, frozen=True):
    """Where an upload may go on. pending: size of the checkpoint to upload up to."""

    pending: int
    following: int
    ticket: bytes = b""

    def encode(self) -> bytes:
        """Three lines."""
        return f"{self.pending}\n{self.following}\n{encode64(self.ticket)}\n".encode()


def ranges(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(base, start, stop) of every package of an upload, in order."""
    base = start - start % WIDTH
    while base < end:
        yield base, max(start, base), min(end, base + WIDTH)
        base += WIDTH


def read_head(body: bytes) -> tuple[Head, int]:
    """Head, and where the packages begin. Raises PeerError."""
    origin, at = _take_sized(body, 0, "the origin")
    if not origin or len(origin) > MAX_ORIGIN:
        raise PeerError("not an upload", f"an origin of {len(origin)} bytes")
    start, end = (int.from_bytes(_take(body, at + offset, 8, "the range"), "big") for offset in (0, 8))
    ticket, at = _take_sized(body, at + 16, "the ticket")
    try:
        name = origin.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeerError("not an upload", "the origin is not UTF-8") from error
    if start > end:
        raise PeerError("not an upload", f"it begins at {start} and ends at {end}")
    return Head(name, start, end, ticket), at


def read_packages(body: bytes, at: int, head: Head) -> Iterator[Package]:
    """Whole packages in order; ends where the body does. What is behind the last one raises PeerError."""
    for base, start, stop in ranges(head.start, head.end):
        if at == len(body):
            return
        entries = []
        for _ in range(start, stop):
            entry, at = _take_sized(body, at, f"a package from {base}")
            entries.append(entry)
        count = _take(body, at, 1, f"a package from {base}")[0]
        if count > MAX_HASHES:
            raise PeerError("not an upload", f"a proof of {count} hashes")
        hashes = _take(body, at + 1, count * HASH, f"a package from {base}")
        at += 1 + len(hashes)
        proof = tuple(hashes[i : i + HASH] for i in range(0, len(hashes), HASH))
        yield Package(base, start, tuple(entries), proof)
    if at != len(body):
        raise PeerError("not an upload", f"{len(body) - at} bytes behind the last package")


def make_package(
    where: tuple[int, int, int],
    entries: Callable[[int, int], list[bytes]],
    proof: Callable[[int, int], list[bytes]],
) -> Package:
    """where: of `ranges`.  entries(start, stop), proof(base, stop): out of the log."""
    base, start, stop = where
    return Package(base, start, tuple(entries(start, stop)), tuple(proof(base, stop)))


def read_info(body: bytes) -> Info:
    """Raises PeerError."""
    lines = body.decode("ascii", "replace").split("\n")
    if len(lines) != 4 or lines[3]:
        raise PeerError("not a mirror's answer", "three lines are wanted")
    return Info(_number(lines[0]), _number(lines[1]), decode64(lines[2], "the ticket"))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20) or (text[0] == "0" and text != "0"):
        raise PeerError("not a mirror's answer", f"{text[:20]!r} is no number")
    return int(text)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _take(body: bytes, at: int, count: int, what: str) -> bytes:
    data = body[at : at + count]
    if len(data) != count:
        raise PeerError("an upload is cut", f"{what} is not whole")
    return data


def _take_sized(body: bytes, at: int, what: str) -> tuple[bytes, int]:
    count = int.from_bytes(_take(body, at, 2, what), "big")
    return _take(body, at + 2, count, what), at + 2 + count
