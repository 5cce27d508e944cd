"""Scaled integers: exact in, exact out, everything else refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.instrument import make_instrument
from appliance.domain.money import (
    AMOUNT_ONE,
    format_amount,
    format_scaled,
    parse_scaled,
    round_down,
    round_up,
    share_ceil,
    share_floor,
)


@pytest.mark.parametrize(
    ("text", "exp", "value"),
    [
        ("1229.22", 2, 122922),
        ("-0.5", 2, -50),
        ("+7", 0, 7),
        ("1.10", 1, 11),
        ("0", 8, 0),
        ("00012.5", 1, 125),
    ],
)
def test_decimals_are_read_exactly(text: str, exp: int, value: int) -> None:
    """Trailing zeros beyond the scale carry no information and pass."""
    assert parse_scaled(text, exp) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".",
        "1.",
        ".5",
        "1e5",
        "NaN",
        "inf",
        "-inf",
        "1,5",
        " 1",
        "1 ",
        "1_000",
        "0x10",
        "٣",
        "1.234",
        "9" * 31,
        "1.2.3",
        "--1",
        "1-",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Exponents, other scripts, blanks and lost decimals are errors, not guesses."""
    with pytest.raises(ValueError):
        parse_scaled(text, 2)


@settings(deadline=None, derandomize=True)
@given(st.integers(-(10**25), 10**25), st.integers(0, 12))
def test_format_and_parse_are_inverse(value: int, exp: int) -> None:
    """Nothing is lost on the way to people and back."""
    assert parse_scaled(format_scaled(value, exp), exp) == value


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10**18), st.integers(0, 2_000_000))
def test_shares_round_against_us(amount: int, ppm: int) -> None:
    """What we may spend is rounded down, what we owe up, and they differ by at most one unit."""
    floor, ceil = share_floor(amount, ppm), share_ceil(amount, ppm)
    assert floor * 1_000_000 <= amount * ppm <= ceil * 1_000_000
    assert ceil - floor <= 1


@settings(deadline=None, derandomize=True)
@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_rounding_to_a_step(value: int, step: int) -> None:
    """Down and up enclose the value and are multiples."""
    low, high = round_down(value, step), round_up(value, step)
    assert low <= value <= high
    assert high - low in (0, step)
    assert low % step == high % step == 0


def test_amounts_for_people_round_towards_zero() -> None:
    """A loss is not shown larger and a gain not larger than it is."""
    assert format_amount(-AMOUNT_ONE * 3 // 2) == "-1.50"
    assert format_amount(AMOUNT_ONE - 1) == "0.99"
    assert format_amount(-(AMOUNT_ONE - 1)) == "-0.99"


def test_notional_is_exact() -> None:
    """price × qty in 10^-10 of the currency, whatever the scales."""
    spx = make_instrument(
        "SPX", currency="USD", price_exp=2, qty_exp=2, tick=1, lot=1, min_qty=1, max_qty=10**6, min_value=0
    )
    assert spx.notional(122922, 150) == 122922 * 150 * 10**6
    assert format_amount(spx.notional(122922, 150)) == "1843.83"


@pytest.mark.parametrize(
    "changes",
    [
        {"price_exp": 6, "qty_exp": 5},
        {"tick": 0},
        {"lot": -1},
        {"min_qty": 3, "lot": 2},
        {"max_qty": 0},
        {"symbol": ""},
        {"symbol": "A B"},
        {"min_value": -1},
        {"price_exp": -1},
    ],
)
def test_an_instrument_that_cannot_be_exact_is_refused(changes: dict[str, object]) -> None:
    """Each with the field in the message."""
    good: dict[str, object] = {
        "symbol": "X", "currency": "USD", "price_exp": 2, "qty_exp": 2, "tick": 1, "lot": 1,
        "min_qty": 2, "max_qty": 100, "min_value": 0,
    }  # fmt: skip
    with pytest.raises(ValueError):
        make_instrument(**{**good, **changes})  # type: ignore[arg-type]
