"""Fees add up over partial fills, and a break-even price is one: for every schedule, side and size."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.fees import MAX_RATE_PPM, FeeSchedule, FeeTier, Volume
from appliance.domain.intent import Side
from appliance.domain.money import PPM_ONE, Amount, Ppm
from appliance.orders.breakeven import Leaving, break_even, round_trip
from appliance.orders.fees import FeeBook
from appliance.orders.slippage import ladder_ppm
from tests.fee_kit import DAY_NS, schedule
from tests.kit import spx

RATES = st.one_of(st.integers(-MAX_RATE_PPM, MAX_RATE_PPM), st.integers(-3_000, 3_000), st.just(0))
UNITS = st.sampled_from([1, 10**2, 10**6, 10**8, 10**10])
VALUES = st.integers(1, 10**18)


@st.composite
def rates(draw: st.DrawFn) -> FeeTier:
    """One tier."""
    return FeeTier(
        volume_from=Amount(0),
        maker_ppm=Ppm(draw(RATES)),
        taker_ppm=Ppm(draw(RATES)),
        discount_ppm=Ppm(draw(st.sampled_from([0, 250_000, 333_333, 1_000_000]))),
    )


@st.composite
def tables(draw: st.DrawFn) -> FeeSchedule:
    """A schedule of one tier."""
    network_fee = Amount(draw(st.sampled_from([0, 1, 10**10])))
    return schedule(draw(rates()), unit=Amount(draw(UNITS)), network_fee=network_fee)


def _exact(tier: FeeTier, value: int, maker: bool) -> Fraction:
    """The fee without rounding, in the test's own words."""
    rate = tier.maker_ppm if maker else tier.taker_ppm
    fee = Fraction(value * rate, PPM_ONE)
    return fee * Fraction(PPM_ONE - tier.discount_ppm, PPM_ONE) if rate > 0 else fee


@settings(deadline=None, derandomize=True, max_examples=300)
@given(tables(), VALUES, st.booleans())
def test_a_fee_is_rounded_up_by_less_than_a_unit(table: FeeSchedule, value: int, maker: bool) -> None:
    """Never less than exact, never a unit more, always a multiple of the unit; a rebate is never more."""
    fee, exact = table.charge(table.tiers[0], value, maker=maker), _exact(table.tiers[0], value, maker)
    assert exact <= fee < exact + table.unit
    assert fee % table.unit == 0


@settings(deadline=None, derandomize=True, max_examples=300)
@given(tables(), st.lists(VALUES, min_size=1, max_size=12), st.booleans())
def test_fees_add_up_over_partial_fills(table: FeeSchedule, parts: list[int], maker: bool) -> None:
    """n fills cost what one costs, or less than n units more; and the network fee once, however split."""
    tier = table.tiers[0]
    whole = table.charge_order(tier, sum(parts), maker=maker, first=True)
    split = sum(table.charge_order(tier, part, maker=maker, first=not at) for at, part in enumerate(parts))
    assert 0 <= split - whole <= (len(parts) - 1) * table.unit


@settings(deadline=None, derandomize=True, max_examples=400)
@given(
    tables(),
    st.sampled_from(list(Side)),
    st.integers(1, 10**6),
    st.integers(1, 10**7),
    st.sampled_from([1, 5, 25]),
    st.integers(-(10**12), 10**13),
    st.booleans(),
)
def test_break_even_is_where_a_round_trip_stops_losing(
    table: FeeSchedule, side: Side, qty: int, price: int, tick: int, paid: int, maker: bool
) -> None:
    """At the price and as far beyond as anybody may look nothing is lost; one tick worse is."""
    instrument = spx(tick=tick)
    leaving = Leaving(schedule=table, tier=table.tiers[0], maker=maker)
    entry = instrument.notional(price * tick, qty)

    def profit(at: int) -> int:
        return round_trip(side, entry, paid, instrument.notional(at, qty), leaving)

    found = break_even(side, qty, entry, paid, instrument, leaving)
    if found is None:
        assert side is Side.SELL
        assert profit(tick) < 0
        return
    assert found % tick == 0
    better = [found + side.sign * tick * away for away in (0, 1, 2, 3, 7, 50, 1_000, 10**6)]
    assert all(profit(at) >= 0 for at in better if at > 0)
    worse = found - side.sign * tick
    assert worse == 0 or profit(worse) < 0


@settings(deadline=None, derandomize=True, max_examples=60)
@given(rates(), st.sampled_from([10**6, 10**8, 10**10]), st.sampled_from(list(Side)), st.integers(1, 2_000))
def test_break_even_against_every_price(tier: FeeTier, unit: int, side: Side, cents: int) -> None:
    """Coarse fees, small prices: the answer is that of a search through all of them."""
    leaving = Leaving(schedule=schedule(tier, unit=Amount(unit)), tier=tier)
    instrument = spx()
    entry = instrument.notional(cents, 100)

    def loses(at: int) -> bool:
        return round_trip(side, entry, 0, instrument.notional(at, 100), leaving) < 0

    every = range(1, 6_000)
    losing = [at for at in every if loses(at)]
    expected = max(losing, default=0) + 1 if side is Side.BUY else min(losing) - 1
    assert break_even(side, 100, entry, 0, instrument, leaving) == (expected or None)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 10**15)), max_size=40), st.integers(1, 40))
def test_volume_is_the_sum_of_its_days(fills: list[tuple[int, int]], window: int) -> None:
    """In any order of telling, asked at any time in between."""
    volume = Volume()
    for at, (day, value) in enumerate(fills):
        volume.add(day * DAY_NS + at, value)
        for asked in (day, day + 1, 91):
            told = sum(v for d, v in fills[: at + 1] if asked - window <= d < asked)
            assert volume.before(asked * DAY_NS, window) == told


@settings(deadline=None, derandomize=True, max_examples=200)
@given(tables(), st.integers(0, 10**18), st.booleans())
def test_what_is_affordable_can_be_paid(table: FeeSchedule, amount: int, maker: bool) -> None:
    """The gate's sum is above every fee the schedule can charge for one fill of that value."""
    book = FeeBook()
    book.take(table, 1)
    value = book.affordable(amount)
    if value:
        fee = table.charge_order(table.tiers[0], value, maker=maker, first=True)
        assert value + fee <= amount


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(1, 500))
def test_the_ladder_is_the_sum_of_its_levels(spread: int, shown: int, qty: int) -> None:
    """One by one: the unit number i is at level i // shown."""
    walked = sum(at // shown for at in range(qty))
    assert ladder_ppm(spread, shown, qty) == -(-spread * walked // qty)
