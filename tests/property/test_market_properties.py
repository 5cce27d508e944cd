"""Properties of replay and quality that must hold for any data."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.domain.errors import PeerError
from appliance.domain.observation import Observation
from appliance.market.ohlcv import OhlcvFile
from appliance.market.pace import Pacer
from appliance.market.prints import confirms, is_near, is_step, loose_prints, prints_of
from appliance.market.quality import InstrumentQuality, Outcome, QualityLimits
from appliance.market.replay import Replay
from tests.market_builders import DAY, SPX, S, bar, instrument, quote, trade, write

QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LIMITS = QualityLimits(jump_ppm=50_000, stale_ns=3 * S, max_delay_ns=S, max_ahead_ns=S)


class Listed:
    """A source whose observations are a list."""

    def __init__(self, path: Path, observations: Sequence[Observation]) -> None:
        self.path = path
        self._observations = observations

    def read(self, tally: Counter[str]) -> Iterator[Observation]:
        """The list, in order."""
        yield from self._observations


@QUICK
@given(
    st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=8), min_size=1, max_size=4), st.integers(0, 7)
)
def test_a_replay_is_complete_stable_and_ordered(
    tmp_path: Path, seen_lists: list[list[int]], resume_ns: int
) -> None:
    """Any sources, even with clocks that step back: each observation once, sources in their own order."""
    path = write(tmp_path / "listed", "")
    lists = [
        [trade(seen, place + 1, symbol=f"I{number}") for place, seen in enumerate(seen_list)]
        for number, seen_list in enumerate(seen_lists)
    ]
    replay = Replay([Listed(path, each) for each in lists], resume_ns=resume_ns)
    steps = list(replay)
    got = [step.observation for step in steps]
    assert len(got) == replay.total == replay.done == sum(len(each) for each in lists)
    for number, each in enumerate(lists):
        assert [one for one in got if one.instrument == f"I{number}"] == each
    assert [step.warm_up for step in steps] == sorted((step.warm_up for step in steps), reverse=True)
    if all(each == sorted(each) for each in seen_lists):
        keys = [(one.seen_ns, int(one.instrument[1:])) for one in got]
        assert keys == sorted(keys)
        assert [step.warm_up for step in steps] == [one.seen_ns < resume_ns for one in got]


prices = st.one_of(st.integers(9_000, 11_000), st.integers(-5, 100_000))
near_prices = st.integers(9_700, 10_300)


@st.composite
def observations(draw: st.DrawFn) -> list[Observation]:
    """Trades and quotes around 100.00 with bad ones between them, sometimes out of order."""
    seen_ns = 10 * S
    found: list[Observation] = [trade(seen_ns, 10_000), trade(seen_ns, 9_999)] * draw(st.booleans())
    for _ in range(draw(st.integers(1, 25))):
        seen_ns += draw(st.sampled_from([0, 1, S // 4, S // 2, S, 5 * S, -S // 4]))
        price = draw(st.one_of(near_prices, near_prices, near_prices, prices))
        if draw(st.booleans()):
            ahead_ns = draw(st.sampled_from([0, -1, -S // 2, S // 2, S, -2 * S, 2 * S]))
            found.append(trade(seen_ns, price, event_ns=seen_ns + ahead_ns))
        else:
            found.append(quote(seen_ns, price, price + draw(st.integers(-1, 3))))
    return found


@QUICK
@given(observations())
def test_nothing_is_dropped_without_being_counted(stream: list[Observation]) -> None:
    """received = accepted + waiting + refused; what is delivered is a subsequence, each at most once."""
    quality = InstrumentQuality(SPX, LIMITS, 0)
    delivered: list[Observation] = []
    discarded = 0
    for number, observation in enumerate(stream, 1):
        verdict = quality.check(observation)
        delivered.extend(verdict.deliver)
        discarded += verdict.discarded is not None
        counts = quality.counts()
        refused = sum(count for key, count in counts.items() if key.startswith("refused."))
        assert counts["received"] == number == counts["accepted"] + counts["waiting"] + refused
        assert counts["accepted"] == len(delivered)
        assert counts.get("refused.NOT_CONFIRMED", 0) == discarded
        assert (observation in verdict.deliver) == (verdict.outcome is Outcome.ACCEPTED)
        assert (verdict.outcome is Outcome.ACCEPTED) <= (quality.hold(observation.seen_ns) is None)
    rest = iter(stream)
    assert all(any(each is one for one in rest) for each in delivered)


@QUICK
@given(observations())
def test_every_delivered_price_has_a_neighbour(stream: list[Observation]) -> None:
    """No accepted price stands alone: a print of the accepted one before or after is about as near as 5 %."""
    quality = InstrumentQuality(SPX, LIMITS, 0)
    delivered = [each for observation in stream for each in quality.check(observation).deliver]
    for number, observation in enumerate(delivered):
        around = delivered[max(0, number - 1) : number] + delivered[number + 1 : number + 2]
        known = [price for each in around for price in prints_of(each)]
        for price in prints_of(observation):
            assert any(abs(price - other) * 100 <= 6 * max(price, other) for other in known)


@QUICK
@given(observations(), st.integers(0, 25))
def test_the_checks_depend_on_the_history_only(stream: list[Observation], cut: int) -> None:
    """Reading the same observations again leads to the same verdicts and the same state (restart)."""
    first, second = (InstrumentQuality(SPX, LIMITS, 0) for _ in range(2))
    verdicts = [first.check(each) for each in stream]
    assert [second.check(each) for each in stream[:cut]] == verdicts[:cut]
    assert [second.check(each) for each in stream[cut:]] == verdicts[cut:]
    assert first.counts() == second.counts()
    assert first.mark == second.mark


@QUICK
@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 999_999))
def test_near_is_exact(price: int, anchor: int, jump_ppm: int) -> None:
    """The largest price that is near, found by division, is near, and one more is not."""
    highest = anchor + anchor * jump_ppm // 1_000_000
    lowest = anchor - anchor * jump_ppm // 1_000_000
    assert is_near(highest, anchor, jump_ppm)
    assert not is_near(highest + 1, anchor, jump_ppm)
    assert is_near(lowest, anchor, jump_ppm)
    assert not is_near(lowest - 1, anchor, jump_ppm)
    assert is_near(price, anchor, jump_ppm) == (lowest <= price <= highest)


@QUICK
@given(st.lists(st.integers(1, 20_000), min_size=4, max_size=4), st.integers(1, 300_000))
def test_a_believed_bar_has_no_lonely_print(four: list[int], jump_ppm: int) -> None:
    """Whatever the bar: if nothing is loose, each print is near the mark or a step from another one."""
    high, low = max(four), min(four)
    made = bar(1, (four[0], high, low, four[3]))
    loose = loose_prints(made, 10_000, jump_ppm)
    assert set(loose) <= set(prints_of(made))
    if not loose:
        for price in prints_of(made):
            others = [other for other in (*prints_of(made), 10_000) if other != price]
            assert is_near(price, 10_000, jump_ppm) or any(is_step(price, each, jump_ppm) for each in others)
    assert confirms(made, loose, jump_ppm), "a bar seen twice would always confirm itself"


@QUICK
@given(st.lists(st.integers(0, 5 * S), min_size=1, max_size=20), st.integers(1, 1_000))
def test_a_pacer_never_lets_the_market_run_ahead(steps: list[int], speed: int) -> None:
    """Who waits as told sees market time pass at most `speed` times as fast as real time."""
    pacer = Pacer(speed)
    market_ns = mono_ns = start_ns = 1_000 * S
    for step in steps:
        market_ns += step
        wait_ns = pacer.wait_ns(market_ns, mono_ns)
        assert wait_ns is not None
        mono_ns += wait_ns
        assert pacer.wait_ns(market_ns, mono_ns) == 0
        assert market_ns - start_ns - steps[0] < (mono_ns - start_ns + 1) * speed


@QUICK
@given(st.one_of(st.binary(max_size=300), st.text('",.\n0123456789-: \0é').map(str.encode)), st.booleans())
def test_any_bytes_are_read_or_refused_with_a_place(tmp_path: Path, content: bytes, packed: bool) -> None:
    """Whatever the file holds, the reader ends with bars or with a PeerError; nothing else escapes."""
    path = tmp_path / "any.csv"
    content = b"time,price\n2000-01-01," + content
    path.write_bytes(gzip.compress(content)[: len(content) + 8] if packed else content)
    bars: list[Observation] = []
    message = "any.csv"
    try:
        bars.extend(OhlcvFile(path, instrument(), DAY).read(Counter()))
    except PeerError as error:
        message = str(error)
    assert "any.csv" in message
    assert all(each.seen_ns - each.event_ns == DAY for each in bars)


def test_the_generator_reaches_every_outcome() -> None:
    """A property over data that is always fine would prove nothing."""
    outcomes: Counter[str] = Counter()

    @settings(QUICK, max_examples=250)
    @given(observations())
    def collect(stream: list[Observation]) -> None:
        quality = InstrumentQuality(SPX, LIMITS, 0)
        for each in stream:
            verdict = quality.check(each)
            outcomes[verdict.reason] += 1
            outcomes["confirmed"] += len(verdict.deliver) == 2
            outcomes["discarded"] += verdict.discarded is not None

    collect()
    wanted = ("OK", "PRICE", "CROSSED", "AHEAD", "LATE", "SEEN_BACKWARDS", "EVENT_BACKWARDS", "JUMP", "FIRST")
    missing = [each for each in (*wanted, "confirmed", "discarded") if not outcomes[each]]
    if missing:
        pytest.fail(f"never generated: {missing}")
