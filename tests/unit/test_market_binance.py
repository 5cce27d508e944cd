"""Recorded Binance messages: exact numbers, both clocks, everything counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from appliance.domain.ids import InstrumentId
from appliance.domain.money import Price, Qty
from appliance.domain.observation import Quote, Trade
from appliance.market.binance import BinanceNormaliser, BinanceRecording
from appliance.market.source import survey
from tests.market_builders import instrument

LOCAL = 1723161254087896568
BTC = {"BTCUSDT": instrument("BTC", 2, 5)}
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":%d,'
    '"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
BOOK = (
    '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    '"a":"61837.64000000","A":"1.54698000"}}'
)
EXPECTED_TRADE = Trade(
    instrument=InstrumentId("BTC"),
    event_ns=1723161255342_000_000,
    seen_ns=LOCAL,
    price=Price(61_837_63),
    qty=Qty(2_000),
    seller_initiated=True,
)
EXPECTED_BOOK = Quote(
    instrument=InstrumentId("BTC"),
    event_ns=LOCAL,
    seen_ns=LOCAL,
    bid=Price(61_837_63),
    bid_qty=Qty(378_826),
    ask=Price(61_837_64),
    ask_qty=Qty(154_698),
)


def _normalise(*messages: str) -> tuple[list[Trade | Quote | None], Counter[str]]:
    tally: Counter[str] = Counter()
    normaliser = BinanceNormaliser(BTC)
    return [normaliser.normalise(LOCAL, message.encode(), tally) for message in messages], tally


def test_a_trade_keeps_both_clocks() -> None:
    """event_ns is the exchange's, 1.25 s *after* our seen_ns in the real recording; neither is corrected."""
    found, tally = _normalise(TRADE % 7)
    assert found == [EXPECTED_TRADE]
    assert tally == {}


def test_a_spot_quote_has_only_our_clock() -> None:
    """The message carries no time, so none is invented."""
    assert _normalise(BOOK % 7)[0] == [EXPECTED_BOOK]


def test_a_derivatives_quote_has_the_exchanges_clock() -> None:
    """There the message carries its transaction time."""
    message = (BOOK % 7).replace('"u":7', '"e":"bookTicker","u":7,"T":1723161256313')
    found = _normalise(message)[0][0]
    assert found is not None
    assert (found.event_ns, found.seen_ns) == (1723161256313_000_000, LOCAL)


def test_messages_without_the_stream_envelope_are_understood() -> None:
    """A recorder of a single stream writes the bare message; a derivatives bookTicker names its kind."""
    bare_trade = msgspec.json.decode(TRADE % 7)["data"]
    bare_book = msgspec.json.decode(BOOK % 7)["data"] | {"e": "bookTicker"}
    found, tally = _normalise(
        msgspec.json.encode(bare_trade).decode(), msgspec.json.encode(bare_book).decode()
    )
    assert found == [EXPECTED_TRADE, EXPECTED_BOOK]
    assert tally == {}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (
            '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT","b":[],"a":[]}}',
            "depthUpdate",
        ),
        ('{"lastUpdateId":50093239218,"bids":[],"asks":[]}', "snapshot"),
        ('{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","p":"1"}}', "aggTrade"),
        ('{"result":null,"id":1}', "other"),
        ((TRADE % 7).replace("BTCUSDT", "ETHUSDT"), "trade_of_other_symbol"),
        ((BOOK % 7).replace("BTCUSDT", "ETHUSDT"), "bookTicker_of_other_symbol"),
    ],
)
def test_what_is_no_observation_is_counted_by_its_kind(message: str, kind: str) -> None:
    """Nothing disappears: the survey of a file names every kind it did not deliver."""
    found, tally = _normalise(message)
    assert found == [None]
    assert tally == {kind: 1}


def test_repeated_messages_are_counted_and_not_delivered() -> None:
    """After a reconnect an exchange sends again; the same trade twice would double the volume."""
    found, tally = _normalise(
        TRADE % 7, TRADE % 7, TRADE % 6, TRADE % 8, BOOK % 3, BOOK % 3, BOOK % 2, BOOK % 9
    )
    assert [each is not None for each in found] == [True, False, False, True, True, False, False, True]
    assert tally == {"repeated_trade": 2, "repeated_bookTicker": 2}


def test_missing_trades_are_counted() -> None:
    """Ids have no gaps, so a gap is what was lost (P13); later trades are still delivered."""
    found, tally = _normalise(TRADE % 7, TRADE % 8, TRADE % 12, TRADE % 13)
    assert None not in found
    assert tally == {"missing_trade": 3}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"61837.63000000"', '"61837.63100000"'),
        ('"61837.63000000"', '"NaN"'),
        ('"61837.63000000"', '"6.1e4"'),
        ('"61837.63000000"', '""'),
        ('"61837.63000000"', "61837.63"),
        ('"0.02000000"', '"0.000001"'),
        ('"T":1723161255342', '"T":0'),
        ('"T":1723161255342', '"T":9223372036855'),
        ('"T":1723161255342,', ""),
        ('"m":true', '"m":1'),
    ],
)
def test_a_trade_that_is_not_exact_is_refused(old: str, new: str) -> None:
    """No field is guessed, rounded or defaulted."""
    message = TRADE % 7
    assert old in message
    with pytest.raises((ValueError, msgspec.DecodeError)):
        _normalise(message.replace(old, new))


@pytest.mark.parametrize("time_ms", [1, (2**63 - 1) // 1_000_000])
def test_the_first_and_last_exchange_time_there_can_be(time_ms: int) -> None:
    """Both ends of what fits nanoseconds."""
    found = _normalise((TRADE % 7).replace("1723161255342", str(time_ms)))[0][0]
    assert found is not None
    assert found.event_ns == time_ms * 1_000_000


@pytest.mark.parametrize(
    "stamp", ["", "172316125408789656", "17231612540878965680", "-723161254087896568", "x" * 19]
)
def test_a_line_without_its_local_time_is_refused(tmp_path: Path, stamp: str) -> None:
    """Without the receive time nobody knows when it could be known."""
    path = tmp_path / "recorded.raw"
    path.write_text(f"{LOCAL} {TRADE % 1}\n{stamp} {TRADE % 2}\n")
    with pytest.raises(Exception, match=r"19 digits of local time.*recorded\.raw:2"):
        survey(BinanceRecording(path, BTC))


def test_each_pass_starts_afresh(tmp_path: Path) -> None:
    """The second pass must not take the ids of the first for repetitions."""
    path = tmp_path / "recorded.raw"
    path.write_text(f"{LOCAL} {TRADE % 1}\n{LOCAL} {TRADE % 2}\n")
    source = BinanceRecording(path, BTC)
    assert survey(source) == survey(source)
    assert survey(source).observations == 2
