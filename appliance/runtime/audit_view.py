"""How `interlock audit` shows entries: a line each, the stored bytes with --json, damage in its place."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from msgspec import Struct

from appliance.audit.merkle import HASH, leaf_hash
from appliance.audit.records import Record, decode_entry
from appliance.audit.select import printable, summary
from appliance.audit.tiles import WIDTH, Tile, tile_of
from appliance.domain.errors import PeerError, StoreError
from appliance.runtime.paths import Paths, need_log
from appliance.runtime.terminal import LINE_EVERY_S, Terminal
from appliance.storage.log_query import StoredEntry
from appliance.storage.log_reader import LogReader

LINE = 150
VERIFY = "interlock audit verify"
_EVERY_S = 0.2
_FIRST = (
    "verdict", "reason", "state", "side", "qty", "price", "instrument", "source", "strategy", "order_id",
)  # fmt: skip
_COLORS = {
    "trip": "red",
    "gap": "red",
    "denied": "red",
    "strategy_stop": "red",
    "mode": "yellow",
    "hold": "yellow",
    "breaker": "yellow",
    "venue": "yellow",
    "fill": "green",
    "arm": "green",
}


def open_log(paths: Paths) -> LogReader:
    """The log of this appliance, to be read by whoever may read it; ConfigError if there is none."""
    need_log(paths)
    return LogReader(paths.log)


class Damage(Struct, frozen=True):
    """An entry whose bytes are no record. why: in the words of `verify`."""

    index: int
    why: str


def read_record(entry: StoredEntry) -> Record | Damage:
    """The record of a stored entry, or what is wrong with it: a reader says so and reads on."""
    try:
        record = decode_entry(entry.body)
    except PeerError as error:
        return Damage(entry.index, error.why)
    if record.i != entry.index:
        return Damage(entry.index, f"it says it is entry {record.i}")
    return record


class Judge:
    """Reads records, and compares the bytes with the published leaf hash where there is one already.

    No signature is looked at: that is `verify`'s. What was changed in the database alone is found here.
    """

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._size = 0
        self._tile: tuple[int, bytes] = (-1, b"")

    def read(self, entry: StoredEntry) -> Record | Damage:
        """The record, or what is wrong with it. Entries can be read without the published files."""
        record = read_record(entry)
        if isinstance(record, Damage):
            return record
        at = entry.index % WIDTH * HASH
        published = self._hashes(entry.index)[at : at + HASH]
        if published and published != leaf_hash(entry.body):
            return Damage(entry.index, "the stored bytes differ from what was published")
        return record

    def _hashes(self, index: int) -> bytes:
        """Content of the tile an entry's leaf hash is in; empty if it is not published yet."""
        if index >= self._size:
            self._size, self._tile = self._published(), (-1, b"")
        tile = tile_of(0, index // WIDTH, self._size)
        if tile is None or index >= self._size:
            return b""
        if self._tile[0] != tile.index:
            # While the log grows a full tile takes the place of its partial ones.
            data = self._reader.file(tile.path) or self._reader.file(Tile(0, tile.index).path)
            self._tile = (tile.index, data or b"")
        return self._tile[1]

    def _published(self) -> int:
        """A checkpoint that is gone or damaged is `verify`'s to tell; what happened can still be read."""
        try:
            return self._reader.published_size()
        except StoreError:
            return 0


class Printer:
    """Writes entries to stdout. damaged: how many were no records."""

    def __init__(self, *, as_json: bool, color: bool, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._look = Terminal(color=color, quiet=False, stream=self._stream)
        self._json = as_json
        self.damaged = 0

    def entry(self, entry: StoredEntry, record: Record | Damage) -> None:
        """One line. With JSON the stored bytes; of a damaged entry nothing, for they may be no line."""
        if isinstance(record, Damage):
            self.damaged += 1
            if not self._json:
                why = f"DAMAGED: {printable(record.why)} ({VERIFY})"
                self.line(f"{entry.index:>7} {self.styled(why, 'red')}")
        elif self._json:
            self.line(entry.body.decode("utf-8"))
        else:
            kind = f"{printable(record.kind):<13}"
            style = _COLORS.get("denied" if record.data.get("verdict") == "denied" else record.kind, "")
            text = summary(record.data, _FIRST)
            room = LINE - 43
            text = text if len(text) <= room else f"{text[: room - 1]}…"
            self.line(f"{entry.index:>7} {stamp(int(record.utc_ns))} {self.styled(kind, style)} {text}")

    def line(self, text: str) -> None:
        """Plain text as it is."""
        self._stream.write(text + "\n")

    def flush(self) -> None:
        """Everything written is to be seen now."""
        self._stream.flush()

    def styled(self, text: str, style: str) -> str:
        """Coloured on a terminal that wants it."""
        return self._look.style(text, style) if style else text


def stamp(utc_ns: int) -> str:
    """UTC to the second; a time no calendar has, as its number."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(utc_ns // 10**9))
    except (OverflowError, ValueError, OSError):
        return f"{utc_ns} ns"


class Scan:
    """Tells how far a long look through the log has come: a line that moves on a terminal, one every 10 s
    elsewhere. total: 0 if nobody knows."""

    def __init__(self, terminal: Terminal, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._total = total
        self._clock = clock
        self._every_s = _EVERY_S if terminal.live else LINE_EVERY_S
        self._begun = clock()
        self._next = self._begun + self._every_s
        self._done = 0

    def add(self, entries: int) -> None:
        """So many more were looked at."""
        self._done += entries
        if self._clock() >= self._next:
            self._next = self._clock() + self._every_s
            tell = self._terminal.transient if self._terminal.live else self._terminal.say
            tell(self._text(self._clock() - self._begun))

    def _text(self, took_s: float) -> str:
        rate = int(self._done / took_s) if took_s > 0 else 0
        of = f" of {self._total}" if self._total else ""
        left = f", {max(0, self._total - self._done) // rate} s left" if rate and self._total else ""
        return f"{self._done}{of} entries, {rate}/s{left}"

    def end(self) -> None:
        """Takes the line away."""
        self._terminal.transient("")


def damage_error(count: int) -> StoreError:
    """To raise when everything else was shown."""
    many = "an entry is damaged" if count == 1 else f"{count} entries are damaged"
    return StoreError(many, "the stored bytes are not what the log wrote", VERIFY)
