"""What a fill is charged, to the last unit, with figures as exchanges publish them (FEE-04, TST-41 to 43)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appliance.domain.fees import KEEP_DAYS, MAX_RATE_PPM, MAX_TIERS, FeeSchedule, FeeTier, Volume, takes
from appliance.domain.money import AMOUNT_ONE, Amount, Ppm
from tests.fee_kit import BINANCE, BINANCE_BNB, CENT, DAY_NS, KRAKEN, REBATE, schedule, tier, usd


@pytest.mark.parametrize(
    ("table", "value", "maker", "fee"),
    [
        (BINANCE, "50000", False, "50"),  # one bitcoin at 50,000, 0.1 %
        (BINANCE, "50000", True, "50"),
        (BINANCE_BNB, "50000", False, "37.5"),  # a quarter off
        (BINANCE, "10.01", False, "0.01001"),
        (BINANCE_BNB, "0.0000000001", False, "0.0000000001"),  # rounded up: never nothing
        (KRAKEN, "10000", True, "16"),
        (KRAKEN, "10000", False, "26"),
        (KRAKEN, "12345.67", False, "32.0988"),  # 32.098742, to four decimals, up
        (KRAKEN, "0.01", True, "0.0001"),  # 0.000016
        (REBATE, "10000", False, "7.5"),
        (REBATE, "10000", True, "-2.5"),
        (REBATE, "0.0000000001", True, "0"),  # a rebate is never rounded towards us
    ],
)
def test_worked_examples(table: FeeSchedule, value: str, maker: bool, fee: str) -> None:
    """Value, rate, discount, rounding, each by hand."""
    assert table.charge(table.tiers[0], usd(value), maker=maker) == usd(fee)


def test_a_coarse_rebate_is_rounded_against_us() -> None:
    """1.9999 cents back are one."""
    table = schedule(tier(0, -250, 750), unit=CENT)
    assert table.charge(table.tiers[0], usd("79.996"), maker=True) == -CENT
    assert table.charge(table.tiers[0], usd("80"), maker=True) == -2 * CENT


def test_a_discount_lowers_a_fee_and_never_a_rebate() -> None:
    """A quarter off 0.1 %; 0.02 % back stay 0.02 %."""
    table = schedule(tier(0, -200, 1_000, 250_000))
    assert table.charge(table.tiers[0], usd("1000"), maker=False) == usd("0.75")
    assert table.charge(table.tiers[0], usd("1000"), maker=True) == usd("-0.2")


@pytest.mark.parametrize(
    ("volume", "number"),
    [
        ("0", 0),
        ("49999.9999999999", 0),
        ("50000", 1),
        ("99999.9999999999", 1),
        ("9999999.99", 7),
        ("10000000", 8),
        ("900000000", 8),
    ],
)
def test_the_tier_begins_with_its_volume(volume: str, number: int) -> None:
    """C24: the boundary belongs to the tier it opens."""
    assert KRAKEN.tier_number(usd(volume)) == number


def test_the_network_fee_comes_with_the_first_fill_of_an_order() -> None:
    """Once, beside the rate (P22: it is part of the total)."""
    table = schedule(network_fee=usd("1.25"))
    rates = table.tiers[0]
    assert table.charge_order(rates, usd("1000"), maker=False, first=True) == usd("2.25")
    assert table.charge_order(rates, usd("1000"), maker=False, first=False) == usd("1")


@pytest.mark.parametrize(
    ("table", "worst"),
    [(BINANCE_BNB, 1_000), (KRAKEN, 2_600), (REBATE, 750), (schedule(tier(0, -5, -1)), 0),
     (schedule(tier(0, 900, 800), tier(10, 0, 1_100)), 1_100)],
)  # fmt: skip
def test_the_worst_rate_knows_no_discount_and_no_rebate(table: FeeSchedule, worst: int) -> None:
    """Of every tier: volume can fall while an order rests."""
    assert table.worst_ppm() == worst


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tiers": ()}, "1 to 100 tiers"),
        ({"tiers": tuple(tier(each, 0, 0) for each in range(MAX_TIERS + 1))}, "1 to 100 tiers"),
        ({"tiers": (tier(1, 0, 0),)}, "rising from volume 0"),
        ({"tiers": (tier(0, 0, 0), tier(5, 0, 0), tier(5, 0, 0))}, "rising"),
        ({"tiers": (tier(0, 0, 0), tier(6, 0, 0), tier(5, 0, 0))}, "rising"),
        ({"tiers": (tier(0, MAX_RATE_PPM + 1, 0),)}, "at most 10 %"),
        ({"tiers": (tier(0, -MAX_RATE_PPM - 1, 0),)}, "at most 10 %"),
        ({"tiers": (tier(0, 0, MAX_RATE_PPM + 1),)}, "at most 10 %"),
        ({"tiers": (tier(0, 0, -MAX_RATE_PPM - 1),)}, "at most 10 %"),
        ({"tiers": (tier(0, 0, 0, -1),)}, "discount"),
        ({"tiers": (tier(0, 0, 0, 1_000_001),)}, "discount"),
        ({"unit": 0}, "unit from 1"),
        ({"network_fee": -1}, "unit from 1"),
        ({"window_days": 0}, "unit from 1"),
        ({"window_days": 367}, "unit from 1"),
    ],
)
def test_a_schedule_nobody_could_charge_by_is_refused(fields: dict[str, Any], says: str) -> None:
    """When it is made and when it is read: what a venue sends is not believed."""
    whole = {"tiers": (tier(0, 0, 0),)} | fields
    with pytest.raises(ValueError, match=says):
        FeeSchedule(**whole)
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.json.decode(msgspec.json.encode(whole), type=FeeSchedule)


def test_the_last_allowed_values_are_allowed() -> None:
    """The boundaries of the test above."""
    most = [tier(each, -MAX_RATE_PPM, MAX_RATE_PPM, 1_000_000) for each in range(MAX_TIERS)]
    made = schedule(*most, window_days=366)
    assert msgspec.json.decode(msgspec.json.encode(made), type=FeeSchedule) == made
    assert schedule(tier(0, MAX_RATE_PPM, -MAX_RATE_PPM), window_days=1).worst_ppm() == MAX_RATE_PPM


def test_what_a_schedule_does_not_say() -> None:
    """No discount, no network fee, fees to the last unit, and thirty days of volume."""
    least = FeeTier(volume_from=Amount(0), maker_ppm=Ppm(1), taker_ppm=Ppm(2))
    assert (least.discount_ppm, least.numerator(maker=True)) == (0, 1_000_000)
    assert tier(0, 1, 1, 500_000).numerator(maker=True) == 500_000
    plain = FeeSchedule(tiers=(least,))
    assert (plain.unit, plain.network_fee, plain.window_days) == (1, 0, 30)


def test_a_schedule_with_an_unknown_key_is_refused() -> None:
    """A rule we do not know is a rule we would break."""
    body = msgspec.json.encode(msgspec.to_builtins(BINANCE) | {"surcharge": 1})
    with pytest.raises(msgspec.ValidationError, match="surcharge"):
        msgspec.json.decode(body, type=FeeSchedule)


@pytest.mark.parametrize(
    ("market", "buying", "limit", "best", "taker"),
    [
        (True, True, None, 100, True),
        (True, True, 50, 100, True),  # a stop has a price and takes when it fires
        (False, True, None, 100, True),
        (False, True, 99, 100, False),
        (False, True, 100, 100, True),
        (False, True, 101, 100, True),
        (False, False, 101, 100, False),
        (False, False, 100, 100, True),
        (False, False, 99, 100, True),
        (False, True, 99, 0, True),
        (False, False, 99, 0, True),
        (False, False, 2, 1, False),
        (False, False, 99, -1, True),
    ],
)
def test_a_marketable_limit_takes(
    market: bool, buying: bool, limit: int | None, best: int, taker: bool
) -> None:
    """P22: the type does not say it, reaching the other side does; unknown is the dearer."""
    assert takes(market=market, buying=buying, limit=limit, best=best) is taker


def test_the_volume_of_a_day_counts_from_the_next_day_on() -> None:
    """Whole UTC days before the fill's: what is traded today changes no tier today; in 30 days it is gone."""
    volume = Volume()
    volume.add(5 * DAY_NS, 100)
    volume.add(6 * DAY_NS - 1, 11)
    assert volume.before(6 * DAY_NS - 1, 30) == 0
    assert volume.before(6 * DAY_NS, 30) == 111
    assert volume.before(36 * DAY_NS - 1, 30) == 111
    assert volume.before(36 * DAY_NS, 30) == 0
    assert volume.before(6 * DAY_NS, 1) == 111
    assert volume.before(7 * DAY_NS, 1) == 0


def test_a_fill_told_late_counts_on_its_own_day() -> None:
    """An answer given before is computed again."""
    volume = Volume()
    volume.add(9 * DAY_NS, 1)
    assert volume.before(9 * DAY_NS, 30) == 0
    volume.add(8 * DAY_NS, 20)
    assert volume.before(9 * DAY_NS, 30) == 20
    volume.add(9 * DAY_NS, 300)
    assert volume.before(9 * DAY_NS, 30) == 20
    assert volume.before(10 * DAY_NS, 30) == 321


def test_old_days_are_let_go() -> None:
    """Memory does not grow with the years."""
    volume = Volume()
    for day in range(0, 10 * KEEP_DAYS, 10):
        volume.add(day * DAY_NS, AMOUNT_ONE)
    assert len(volume._days) <= KEEP_DAYS // 10 + 1
    assert volume.before((10 * KEEP_DAYS) * DAY_NS, 366) == 36 * AMOUNT_ONE
