"""The contract of every built-in strategy (`signals.strategy`), over real prices and arbitrary ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.observation import Bar, Observation
from appliance.domain.signal import Direction, Signal
from appliance.market.samples import open_sample
from appliance.signals.registry import PARAMS, make_strategy, read_params
from appliance.signals.strategy import Strategy
from tests.market_builders import bar, instrument, one_print, quote, trade

NAME = SourceId("under-test")
VALUES: dict[str, dict[str, object]] = {
    "trend": {"fast": 5, "slow": 20, "stop_ppm": 80_000},
    "reversion": {"window": 20, "entry_z_milli": 2_000, "max_bars": 10, "stop_ppm": 50_000},
}
SHORT: dict[str, dict[str, object]] = {
    "trend": {"fast": 1, "slow": 3, "stop_ppm": 80_000},
    "reversion": {"window": 3, "entry_z_milli": 1_000, "max_bars": 2, "stop_ppm": 50_000},
}
Make = Callable[[], Strategy]
QUICK = settings(deadline=None, derandomize=True, max_examples=150)


def _makers(values: dict[str, dict[str, object]], tick: int = 1) -> dict[str, Make]:
    facts = instrument(tick=tick)

    def maker(kind: str) -> Make:
        return lambda: make_strategy(NAME, facts, read_params(kind, values[kind]))

    return {kind: maker(kind) for kind in values}


def _signals(strategy: Strategy, observations: Iterable[Observation]) -> list[Signal]:
    found = [strategy.on_observation(each) for each in observations]
    return [signal for signal in found if signal is not None]


def _closes(closes: Sequence[int]) -> list[Bar]:
    return [one_print(day, close) for day, close in enumerate(closes)]


REAL = list(open_sample("spx", instrument()).read(Counter()))
every_strategy = pytest.mark.parametrize("kind", sorted(VALUES))
closes = st.lists(st.integers(1, 400), min_size=1, max_size=60)


def test_every_built_in_strategy_is_under_contract() -> None:
    """Whoever adds one adds it here."""
    assert set(VALUES) == set(SHORT) == set(PARAMS)


@every_strategy
def test_signals_are_changes_of_mind(kind: str) -> None:
    """Over 20 years LONG and CLOSE alternate, beginning with LONG, and the strategy does speak."""
    found = [signal.direction for signal in _signals(_makers(VALUES)[kind](), REAL)]
    assert len(found) > 40
    assert found[::2] == [Direction.LONG] * len(found[::2])
    assert found[1::2] == [Direction.CLOSE] * len(found[1::2])


@every_strategy
def test_signals_carry_what_the_gate_needs(kind: str) -> None:
    """Identity, the time the bar was known, its close, a stop below it only for LONG, and a reason."""
    by_time = {each.seen_ns: each for each in REAL}
    stop_ppm = VALUES[kind]["stop_ppm"]
    assert isinstance(stop_ppm, int)
    for signal in _signals(_makers(VALUES)[kind](), REAL):
        assert (signal.strategy, signal.instrument) == (NAME, "SPX")
        assert signal.reference_price == by_time[signal.event_ns].close
        assert (signal.stop_price is None) == (signal.direction is Direction.CLOSE)
        if signal.stop_price is not None:
            distance = signal.reference_price - signal.stop_price
            assert 0 < distance * 1_000_000 <= stop_ppm * signal.reference_price
        assert f"{signal.reference_price // 100}.{signal.reference_price % 100:02}" in signal.reason


@every_strategy
def test_a_restart_leads_to_the_same_signals(kind: str) -> None:
    """Reading the same bars again from the beginning gives the same answers to later ones."""
    make = _makers(VALUES)[kind]
    whole = _signals(make(), REAL)
    assert _signals(make(), REAL) == whole
    for cut in (1, 19, 20, 21, 400, 2_500):
        restarted = make()
        before = _signals(restarted, REAL[:cut])
        assert before + _signals(restarted, REAL[cut:]) == whole


@every_strategy
@QUICK
@given(closes=closes, cut=st.integers(0, 60))
def test_no_look_ahead(kind: str, closes: list[int], cut: int) -> None:
    """The signals on a prefix are a prefix of the signals: no later bar changes what was said."""
    make = _makers(SHORT)[kind]
    bars = _closes(closes)
    whole = _signals(make(), bars)
    prefix = _signals(make(), bars[:cut])
    assert prefix == whole[: len(prefix)]
    assert all(signal.event_ns <= bars[:cut][-1].seen_ns for signal in prefix)


@every_strategy
@QUICK
@given(closes=closes)
def test_alternates_and_stops_on_any_prices(kind: str, closes: list[int]) -> None:
    """Down to prices of one tick: LONG and CLOSE alternate; every stop is positive, on a tick, below."""
    found = _signals(_makers(SHORT, tick=5)[kind](), _closes(closes))
    directions = [signal.direction for signal in found]
    assert directions == [Direction.LONG, Direction.CLOSE] * (len(found) // 2) + [Direction.LONG] * (
        len(found) % 2
    )
    for signal in found:
        if signal.stop_price is not None:
            assert 0 < signal.stop_price < signal.reference_price
            assert signal.stop_price % 5 == 0


@every_strategy
@QUICK
@given(closes=closes, factor=st.integers(2, 1_000))
def test_the_unit_of_a_price_does_not_matter(kind: str, closes: list[int], factor: int) -> None:
    """All prices times a factor: the same bars decide, which only exact arithmetic guarantees."""
    make = _makers(SHORT)[kind]
    prices = [close + 100 for close in closes]
    plain = _signals(make(), _closes(prices))
    scaled = _signals(make(), _closes([price * factor for price in prices]))
    assert [(one.event_ns, one.direction) for one in scaled] == [
        (one.event_ns, one.direction) for one in plain
    ]


@every_strategy
def test_other_observations_change_nothing(kind: str) -> None:
    """Bars of other instruments, trades and quotes between the bars are not its business."""
    make = _makers(VALUES)[kind]
    mixed: list[Observation] = []
    for each in REAL[:800]:
        other = replace(each, instrument=InstrumentId("NDX"), close=each.low)
        mixed += [trade(each.seen_ns, 1), quote(each.seen_ns, 1, 2), other, each]
    assert _signals(make(), mixed) == _signals(make(), REAL[:800])


@every_strategy
def test_only_the_close_decides(kind: str) -> None:
    """A wilder path inside the day with the same close gives the same signals: these rules use closes."""
    make = _makers(VALUES)[kind]
    wild = [
        bar(each.event_ns // 86_400_000_000_000, (each.low, each.high, each.low, each.close)) for each in REAL
    ]
    assert _signals(make(), wild) == _signals(make(), REAL)


@every_strategy
def test_no_state_or_signal_holds_a_float(kind: str) -> None:
    """Integers all the way: the state after 20 years, and every field said."""
    strategy = _makers(VALUES)[kind]()
    for signal in _signals(strategy, REAL):
        assert not [value for value in asdict(signal).values() if isinstance(value, float)]
    state = vars(strategy).values()
    flat = [item for value in state for item in (value if isinstance(value, Iterable) else (value,))]
    assert not [item for item in flat if isinstance(item, float)]
