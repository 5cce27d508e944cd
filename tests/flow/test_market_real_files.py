"""Real recordings and the shipped samples, from the file to what strategies may see."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from appliance.domain.ids import InstrumentId
from appliance.domain.observation import Bar, Observation, Quote, Trade
from appliance.market.binance import BinanceRecording
from appliance.market.ohlcv import OhlcvFile
from appliance.market.quality import DataQuality, InstrumentQuality, Outcome, QualityLimits
from appliance.market.replay import Replay
from appliance.market.samples import open_sample
from appliance.market.source import survey
from appliance.market.times import DAY_NS
from tests.market_builders import S, instrument, read_all, real_file

SPOT = "crypto/binance_spot_btcusdt_20240808.raw.gz"
USDM = "crypto/binance_usdm_btcusdt_20240808.raw.gz"
TICKS = QualityLimits(jump_ppm=2_000, stale_ns=5 * S, max_delay_ns=S // 2, max_ahead_ns=2 * S)


def _recording(name: str, price_exp: int, qty_exp: int) -> BinanceRecording:
    return BinanceRecording(real_file(name), {"BTCUSDT": instrument("BTC", price_exp, qty_exp)})


def _daily(jump_ppm: int) -> QualityLimits:
    return QualityLimits(jump_ppm=jump_ppm, stale_ns=5 * DAY_NS, max_delay_ns=0, max_ahead_ns=0)


def _day(bar: Bar) -> str:
    return f"{datetime.fromtimestamp(bar.event_ns // 10**9, UTC):%Y-%m-%d}"


@pytest.mark.parametrize(
    ("name", "price_exp", "qty_exp", "trades", "quotes", "depth"),
    [(SPOT, 2, 5, 9_757, 28_040, 3_451), (USDM, 1, 3, 21_313, 66_089, 6_551)],
)
def test_a_recording_holds_what_its_manifest_says(
    name: str, price_exp: int, qty_exp: int, trades: int, quotes: int, depth: int
) -> None:
    """Every line is a trade, a quote or counted by its kind; none is missing or repeated."""
    source = _recording(name, price_exp, qty_exp)
    tally: Counter[str] = Counter()
    kinds = Counter(type(observation) for observation in source.read(tally))
    assert kinds == {Trade: trades, Quote: quotes}
    assert tally == {"depthUpdate": depth, "snapshot": 1}


def test_the_recorders_clock_runs_behind_the_exchanges() -> None:
    """Trades are dated 1.06 to 1.28 s after they were seen; quotes carry our time; both pass the checks."""
    observations = read_all(_recording(SPOT, 2, 5))
    ahead_ns = [each.event_ns - each.seen_ns for each in observations if isinstance(each, Trade)]
    assert 1_058_000_000 < min(ahead_ns) < max(ahead_ns) < 1_275_000_000
    assert all(each.event_ns == each.seen_ns for each in observations if isinstance(each, Quote))


@pytest.mark.parametrize(("name", "price_exp", "qty_exp"), [(SPOT, 2, 5), (USDM, 1, 3)])
def test_a_quiet_market_passes_every_check(name: str, price_exp: int, qty_exp: int) -> None:
    """37,797 and 87,402 real observations at 0.2 %: all accepted, only the first waited for the second."""
    quality = InstrumentQuality(InstrumentId("BTC"), TICKS, 0)
    delivered: list[Observation] = []
    observations = read_all(_recording(name, price_exp, qty_exp))
    for observation in observations:
        delivered.extend(quality.check(observation).deliver)
    assert delivered == observations
    counts = quality.counts()
    assert (counts["accepted"], counts["suspected"], counts["waiting"]) == (len(observations), 1, 0)


def test_one_bad_trade_in_a_real_stream_is_the_only_one_stopped() -> None:
    """Every hundredth observation is preceded by a trade at a hundredth of its price; none gets through."""
    quality = InstrumentQuality(InstrumentId("BTC"), TICKS, 0)
    good: list[Observation] = []
    stopped = 0
    for number, observation in enumerate(read_all(_recording(SPOT, 2, 5))):
        if number % 100 == 2 and isinstance(observation, Trade):
            bad = Trade(
                instrument=observation.instrument,
                event_ns=observation.event_ns,
                seen_ns=observation.seen_ns,
                price=type(observation.price)(observation.price // 100),
                qty=observation.qty,
                seller_initiated=True,
            )
            good.extend(quality.check(bad).deliver)
            stopped += 1
        good.extend(quality.check(observation).deliver)
    assert stopped > 50
    assert good == read_all(_recording(SPOT, 2, 5))
    assert quality.counts()["refused.NOT_CONFIRMED"] == stopped


@pytest.mark.parametrize(
    ("name", "jump_ppm", "lost", "waited"),
    [
        ("spx", 100_000, [], ["1999-01-04", "2008-10-28"]),
        ("spx", 50_000, ["2008-10-10"], ["1999-01-04", "2000-04-04", "2002-07-29", "2008-09-29", "2008-10-07",
                                         "2008-10-10", "2008-10-28", "2009-03-10", "2010-05-06"]),
        ("ndx", 100_000, [], ["1999-01-04", "2000-04-04"]),
        ("wti", 150_000, [], ["1999-01-04", "2001-09-24", "2008-09-22"]),
        ("wti", 100_000, ["2003-03-25", "2008-09-22"], None),
    ],
)  # fmt: skip
def test_twenty_years_get_through(
    name: str, jump_ppm: int, lost: list[str], waited: list[str] | None
) -> None:
    """Real crashes arrive, at worst one bar late; the days that a tight limit loses are known by name."""
    source = open_sample(name, instrument(name.upper()))
    quality = InstrumentQuality(source.instrument.symbol, _daily(jump_ppm), 0)
    bars = list(source.read(Counter()))
    delivered: list[Observation] = []
    late, discarded = [], []
    for bar in bars:
        verdict = quality.check(bar)
        delivered.extend(verdict.deliver)
        if verdict.outcome is Outcome.SUSPECT:
            late.append(_day(bar))
        if isinstance(verdict.discarded, Bar):
            discarded.append(_day(verdict.discarded))
    assert discarded == lost
    assert waited is None or late == waited
    assert delivered == [bar for bar in bars if _day(bar) not in lost]


def test_days_without_trading_hold_an_index() -> None:
    """2001-09-11 to 09-17 is the one gap of more than five days; a hold, and then it ends by itself."""
    source = open_sample("spx", instrument())
    quality = InstrumentQuality(source.instrument.symbol, _daily(100_000), 0)
    held = []
    for bar in source.read(Counter()):
        hold = quality.hold(bar.seen_ns)
        if hold is not None and quality.mark is not None:
            held.append(_day(bar))
        quality.check(bar)
    assert held == ["2001-09-17", "2008-10-29"]
    assert quality.gaps == 1


def test_the_samples_replay_as_one_stream() -> None:
    """15,082 bars by the time they were known, at equal times in declared order, twice the same."""
    sources = [open_sample(name, instrument(name.upper())) for name in ("spx", "ndx", "wti")]
    replay = Replay(sources)
    steps = list(replay)
    assert replay.total == len(steps) == 15_082
    order = {"SPX": 0, "NDX": 1, "WTI": 2}
    keys = [(step.observation.seen_ns, order[step.observation.instrument]) for step in steps]
    assert keys == sorted(keys)
    for source in sources:
        own = [step.observation for step in steps if step.observation.instrument == source.instrument.symbol]
        assert own == read_all(source)
    assert steps == list(replay)
    quality = DataQuality({source.instrument.symbol: _daily(150_000) for source in sources}, 0)
    for step in steps:
        quality.check(step.observation)
    counts = quality.counts()
    assert [counts[f"{name}.accepted"] for name in order] == [5_031, 5_031, 5_020]


@pytest.mark.parametrize(
    ("name", "price_exp", "qty_exp", "interval_ns", "rows"),
    [
        ("daily/goog_2004_2013.csv.gz", 2, 0, DAY_NS, 2_148),
        ("daily/coinbase_btcusd_daily_2014_2018.csv.gz", 2, 8, DAY_NS, 1_318),
        ("daily/spy_daily.csv.gz", 0, 0, DAY_NS, 5_849),
        ("fx/eurusd_1h_2017_2018.csv.gz", 5, 0, 3_600 * S, 5_000),
        ("fx/fxcm_gbpusd_m1_bid_2012.csv.gz", 5, 0, 60 * S, 30_117),
        ("crypto/btc_perp_20211231_20220201_1m.csv.gz", 2, 8, 60 * S, None),
        ("daily/vix_2014_2019.csv.gz", 2, 0, DAY_NS, None),
        ("crypto/eth_btc_5m_2018.csv.gz", 8, 2, 300 * S, None),
    ],
)
def test_other_peoples_files(
    name: str, price_exp: int, qty_exp: int, interval_ns: int, rows: int | None
) -> None:
    """Files of five origins are read as they are; unknown columns and noisy volumes are refused."""
    path = real_file(name)
    facts = instrument("X", price_exp, qty_exp)
    if rows is None:
        with pytest.raises(Exception, match=r"columns found: Date, vix|volume: more than [28] decimals"):
            survey(OhlcvFile(path, facts, interval_ns))
        return
    assert survey(OhlcvFile(path, facts, interval_ns)).observations == rows


def test_bad_prints_of_a_real_vendor_are_found_and_real_crashes_are_not() -> None:
    """SPY 1998 to 2021 at 10 %: 7 of 5,849 days are stopped; on none of them the index made such a move."""
    source = OhlcvFile(real_file("daily/spy_daily.csv.gz"), instrument("SPY", 0, 0), DAY_NS)
    quality = InstrumentQuality(source.instrument.symbol, _daily(100_000), 0)
    verdicts = [quality.check(bar) for bar in source.read(Counter())]
    stopped = [verdict.discarded for verdict in verdicts if isinstance(verdict.discarded, Bar)]
    assert [_day(bar) for bar in stopped] == [
        "2000-12-18", "2002-01-28", "2002-04-02", "2002-06-06", "2003-09-05", "2004-12-20", "2005-09-06",
    ]  # fmt: skip
    index = {_day(bar): bar for bar in open_sample("spx", instrument()).read(Counter())}
    for bar in stopped:
        same_day = index[_day(bar)]
        assert (same_day.high - same_day.low) * 100 < 4 * same_day.close
        assert (bar.high - bar.low) * 100 > 9 * bar.close
    delivered = {_day(each) for verdict in verdicts for each in verdict.deliver if isinstance(each, Bar)}
    assert {"2008-10-13", "2008-10-15", "2010-05-06", "2020-03-12", "2020-03-16", "2020-03-24"} <= delivered
    assert len(delivered) == 5_842
