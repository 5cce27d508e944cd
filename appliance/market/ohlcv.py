"""Bars from a CSV file, plain or gzip (DAT-02; CONVENTIONS, Units and time).

Columns. With a header: `time` (also `date`, `timestamp`, `datetime` or an empty first name), `open`, `high`,
`low`, `close` and optionally `volume`, in any order and case; other columns are ignored. Without a header, in
this order: time, open, high, low, close and optionally volume. The time is the *start* of the bar.

One-print files: `time` and `price`, with or without a header. One price is known for the interval, and
nothing else: no range, no path, no moment. Such a row becomes a bar with open = high = low = close = that
price and volume 0, which says of the known prints only what is true of them, and `OhlcvFile.one_print` says
so. It is no flat day. What follows from it, on purpose: a signal executes at the *next* print; a stop
executes at the first print beyond it, not at the stop; a stop touched between two prints is not seen, so
stop-outs are under-counted; anything made of ranges is meaningless. Stretching the bar from the previous
print to this one was refused: its open would be yesterday's price, which nobody could trade at today.

The reader demands what makes a file readable: exact decimals within the instrument's scale, times that
rise, and rows no closer together than the declared interval. Whether a price is believable is judged by
`quality`, where it is counted. So `-37.63` is delivered and refused there; `NaN` stops here. A plain file cut
inside the last number of its last row cannot be told from a whole one; a gzip file can, so prefer gzip.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from appliance.domain.errors import PeerError
from appliance.domain.instrument import Instrument
from appliance.domain.money import Price, parse_scaled
from appliance.domain.observation import Bar
from appliance.market.lines import read_lines
from appliance.market.times import LAST_NS, parse_time_ns

_NAMES = {"time": "time", "date": "time", "timestamp": "time", "datetime": "time", "": "time"} | {
    name: name for name in ("open", "high", "low", "close", "volume", "price")
}
_WITHOUT_HEADER = {
    2: ("time", "price"),
    5: ("time", "open", "high", "low", "close"),
    6: ("time", "open", "high", "low", "close", "volume"),
}
_PATH = ("open", "high", "low", "close")


class OhlcvFile:
    """One instrument's bars. A bar is known when its interval has ended: seen_ns = event_ns + interval_ns."""

    def __init__(self, path: Path, instrument: Instrument, interval_ns: int) -> None:
        """interval_ns: length of a bar. Raises PeerError if the file or its columns cannot be read."""
        if interval_ns <= 0:
            raise ValueError(f"interval_ns must be positive, got {interval_ns}")
        self.path = path
        self.instrument = instrument
        self.interval_ns = interval_ns
        columns, self._has_header = self._find_columns()
        self._width = len(columns)
        self.one_print = "price" in columns
        self._time = columns.index("time")
        self._path = tuple(columns.index("price" if self.one_print else name) for name in _PATH)
        self._volume = columns.index("volume") if "volume" in columns else None

    def read(self, tally: Counter[str]) -> Iterator[Bar]:
        """Every row as a bar, in file order; nothing is left out, so `tally` stays as it is."""
        del tally
        previous_ns = -self.interval_ns
        is_header = self._has_header
        for number, line in enumerate(read_lines(self.path), 1):
            fields = self._fields(line, number)
            if not fields or is_header:
                is_header = is_header and not fields
                continue
            if len(fields) != self._width:
                self._fail(number, f"{len(fields)} fields where {self._width} are expected")
            bar = self._bar(fields, number)
            self._check_order(bar.event_ns, previous_ns, number)
            previous_ns = bar.event_ns
            yield bar

    def _bar(self, fields: list[str], number: int) -> Bar:
        try:
            event_ns = parse_time_ns(fields[self._time])
        except ValueError as error:
            self._fail(number, str(error))
        seen_ns = event_ns + self.interval_ns
        if seen_ns > LAST_NS:
            self._fail(number, f"the bar ends after 2262: {fields[self._time]!r}")
        exp = self.instrument.price_exp
        path = [Price(self._scaled(fields[column], exp, "price", number)) for column in self._path]
        volume = 0
        if self._volume is not None:
            volume = self._scaled(fields[self._volume], self.instrument.qty_exp, "volume", number)
        return Bar(
            instrument=self.instrument.symbol,
            event_ns=event_ns,
            seen_ns=seen_ns,
            open=path[0],
            high=path[1],
            low=path[2],
            close=path[3],
            volume=volume,
        )

    def _scaled(self, text: str, exp: int, what: str, number: int) -> int:
        try:
            return parse_scaled(text, exp)
        except ValueError as error:
            do = f"correct the {what}, or declare as many decimals as it has"
            self._fail(number, f"{what}: {error}", do)

    def _check_order(self, event_ns: int, previous_ns: int, number: int) -> None:
        """Bars must not overlap, or the interval is declared wrong and bars would be seen before they end."""
        distance_ns = event_ns - previous_ns
        if distance_ns >= self.interval_ns:
            return
        if distance_ns <= 0:
            self._fail(
                number, "the bar is not later than the one before", "sort the file by time, oldest first"
            )
        self._fail(
            number,
            f"bars {distance_ns // 1_000_000} ms apart in intervals of {self.interval_ns // 1_000_000} ms",
            "declare the interval the file has",
        )

    def _find_columns(self) -> tuple[tuple[str, ...], bool]:
        """Column names, those we do not know as they are, and whether the first line holds them."""
        for number, line in enumerate(read_lines(self.path), 1):
            fields = self._fields(line, number)
            if fields:
                return self._named(fields, number)
        raise PeerError(f"{self.path.name} has no rows", f"there is nothing in it ({self.path}:1)")

    def _named(self, fields: list[str], number: int) -> tuple[tuple[str, ...], bool]:
        if fields[0][:1].isdigit():
            if len(fields) not in _WITHOUT_HEADER:
                self._fail(
                    number,
                    f"{len(fields)} columns without a header",
                    "add the header `time,open,high,low,close,volume`, or `time,price`",
                )
            return _WITHOUT_HEADER[len(fields)], False
        names = tuple(_NAMES.get(field.lower(), field.lower()) for field in fields)
        known = [name for name in names if name in _NAMES]
        has_path, has_price = [name for name in _PATH if name in known], "price" in known
        complete = (
            "time" in known and (has_path == list(_PATH)) != has_price and (not has_path or not has_price)
        )
        if not complete or len(set(known)) != len(known):
            self._fail(
                number,
                f"columns found: {', '.join(fields)}",
                "name them time, open, high, low, close[, volume]; or time, price for one price a row",
            )
        return names, True

    def _fields(self, line: bytes, number: int) -> list[str]:
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            self._fail(number, f"not text in UTF-8: {error.reason}")
        if not text:
            return []
        if '"' not in text:
            return [field.strip() for field in text.split(",")]
        try:
            return [field.strip() for field in next(csv.reader([text], strict=True))]
        except csv.Error as error:
            self._fail(number, f"quotes do not match: {error}")

    def _fail(self, number: int, why: str, do: str = "correct or remove the row") -> NoReturn:
        raise PeerError(f"{self.path.name} cannot be used", f"{why} ({self.path}:{number})", do)
