"""Recorded Binance streams: one `<local_ns> <raw JSON>` a line, plain or gzip (DAT-01, DAT-02, P13).

`trade` becomes a Trade and `bookTicker` a Quote; every other message is counted by its kind. Prices and
quantities are parsed from their decimal text, exactly, in the instrument's scale.

Two clocks are kept apart and neither is corrected. seen_ns is the recorder's clock, at which the line
arrived; it orders the replay and ages the price. event_ns is the exchange's trade time `T` (or the update
time `T` of a derivatives bookTicker), in whole ms. A spot bookTicker carries no time, so its event_ns is its
seen_ns. In the spot recording of 2024-08-08 the recorder's clock runs 1.06 to 1.27 s behind the exchange's,
so event_ns of a trade lies *after* its seen_ns, and event times of trades and quotes must never be compared.

Trade ids and book update ids only rise. One that does not is a repetition: it is counted and not delivered. A
jump in the trade ids is counted as `missing_trade`, one per id: no feed can promise that nothing was lost
(P13).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Raw, Struct, field

from appliance.domain.errors import PeerError
from appliance.domain.instrument import Instrument
from appliance.domain.money import Price, Qty, parse_scaled
from appliance.domain.observation import Quote, Trade
from appliance.market.lines import read_lines

_MS = 1_000_000
_LAST_MS = (2**63 - 1) // _MS


class _Envelope(Struct, gc=False):
    stream: str = ""
    data: Raw = field(default_factory=Raw)


class _Named(Struct, gc=False):
    kind: str = field(name="e", default="")
    last_update: int | None = field(name="lastUpdateId", default=None)


class _Trade(Struct, gc=False):
    symbol: str = field(name="s")
    id: int = field(name="t")
    price: str = field(name="p")
    qty: str = field(name="q")
    time_ms: int = field(name="T")
    seller_initiated: bool = field(name="m")


class _Book(Struct, gc=False):
    symbol: str = field(name="s")
    id: int = field(name="u")
    bid: str = field(name="b")
    bid_qty: str = field(name="B")
    ask: str = field(name="a")
    ask_qty: str = field(name="A")
    time_ms: int | None = field(name="T", default=None)


_envelope = msgspec.json.Decoder(_Envelope)
_named = msgspec.json.Decoder(_Named)
_trade = msgspec.json.Decoder(_Trade)
_book = msgspec.json.Decoder(_Book)


class BinanceNormaliser:
    """Raw messages in, observations out. No IO, so that a recording and a live feed share it."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        """instruments: by the exchange's symbol, such as `BTCUSDT`."""
        self._instruments = instruments
        self._last_trade: dict[str, int] = {}
        self._last_book: dict[str, int] = {}

    def normalise(self, seen_ns: int, raw: bytes, tally: Counter[str]) -> Trade | Quote | None:
        """One message. None if it is no observation; `tally` then says of which kind it was.

        Raises msgspec.DecodeError if it is not JSON of the expected shape, ValueError if a number is not a
        decimal within the instrument's scale.
        """
        envelope = _envelope.decode(raw)
        if envelope.stream.endswith("@trade"):
            return self._trade_of(seen_ns, _trade.decode(envelope.data), tally)
        if envelope.stream.endswith("@bookTicker"):
            return self._quote_of(seen_ns, _book.decode(envelope.data), tally)
        named = _named.decode(envelope.data if envelope.stream else raw)
        if not envelope.stream and named.kind == "trade":
            return self._trade_of(seen_ns, _trade.decode(raw), tally)
        if not envelope.stream and named.kind == "bookTicker":
            return self._quote_of(seen_ns, _book.decode(raw), tally)
        tally[named.kind or ("snapshot" if named.last_update is not None else "other")] += 1
        return None

    def _trade_of(self, seen_ns: int, message: _Trade, tally: Counter[str]) -> Trade | None:
        instrument = self._instruments.get(message.symbol)
        if instrument is None:
            tally["trade_of_other_symbol"] += 1
            return None
        last = self._last_trade.get(message.symbol)
        if last is not None:
            if message.id <= last:
                tally["repeated_trade"] += 1
                return None
            if message.id > last + 1:
                tally["missing_trade"] += message.id - last - 1
        self._last_trade[message.symbol] = message.id
        return Trade(
            instrument=instrument.symbol,
            event_ns=_event_ns(message.time_ms),
            seen_ns=seen_ns,
            price=Price(parse_scaled(message.price, instrument.price_exp)),
            qty=Qty(parse_scaled(message.qty, instrument.qty_exp)),
            seller_initiated=message.seller_initiated,
        )

    def _quote_of(self, seen_ns: int, message: _Book, tally: Counter[str]) -> Quote | None:
        instrument = self._instruments.get(message.symbol)
        if instrument is None:
            tally["bookTicker_of_other_symbol"] += 1
            return None
        if message.id <= self._last_book.get(message.symbol, -1):
            tally["repeated_bookTicker"] += 1
            return None
        self._last_book[message.symbol] = message.id
        price_exp, qty_exp = instrument.price_exp, instrument.qty_exp
        return Quote(
            instrument=instrument.symbol,
            event_ns=seen_ns if message.time_ms is None else _event_ns(message.time_ms),
            seen_ns=seen_ns,
            bid=Price(parse_scaled(message.bid, price_exp)),
            bid_qty=Qty(parse_scaled(message.bid_qty, qty_exp)),
            ask=Price(parse_scaled(message.ask, price_exp)),
            ask_qty=Qty(parse_scaled(message.ask_qty, qty_exp)),
        )


class BinanceRecording:
    """A recorded file as a `Source`."""

    def __init__(self, path: Path, instruments: Mapping[str, Instrument]) -> None:
        """instruments: by the exchange's symbol. Messages of other symbols are counted, not delivered."""
        self.path = path
        self._instruments = instruments

    def read(self, tally: Counter[str]) -> Iterator[Trade | Quote]:
        """Observations in the order recorded; `tally` counts every line that is none.

        A recorder that is stopped leaves an unfinished last line: without its newline and not decodable it is
        counted as `cut_short`. A line anywhere else that cannot be decoded raises PeerError.
        """
        normaliser = BinanceNormaliser(self._instruments)
        for number, line in enumerate(read_lines(self.path), 1):
            stamp, _, raw = line.partition(b" ")
            try:
                observation = normaliser.normalise(_local_ns(stamp), raw, tally)
            except (msgspec.DecodeError, ValueError) as error:
                if not _is_cut(line, error):
                    raise self._wrong(number, error) from error
                tally["cut_short"] += 1
                return
            if observation is not None:
                yield observation

    def _wrong(self, number: int, error: Exception) -> PeerError:
        return PeerError(
            f"{self.path.name} cannot be used",
            f"{error} ({self.path}:{number})",
            "remove the line, or declare as many decimals as the exchange uses",
        )


class _NoStampError(ValueError):
    """The line does not begin as a recorded line does."""


def _is_cut(line: bytes, error: Exception) -> bool:
    """Only an unfinished line can be cut short; a finished one that says the wrong thing is wrong."""
    unfinished = isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError)
    return not line.endswith(b"\n") and (unfinished or isinstance(error, _NoStampError))


def _local_ns(stamp: bytes) -> int:
    if len(stamp) != 19 or not stamp.isdigit():
        raise _NoStampError(f"the line does not start with 19 digits of local time in ns: {stamp[:24]!r}")
    return int(stamp)


def _event_ns(time_ms: int) -> int:
    if not 0 < time_ms <= _LAST_MS:
        raise ValueError(f"exchange time outside 1970 to 2262: {time_ms}")
    return time_ms * _MS
