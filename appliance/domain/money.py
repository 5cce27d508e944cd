"""Money and quantities as scaled integers; no float ever holds either (PROD_003, C36).

price   integer, in units of 10^-price_exp of the instrument's currency
qty     integer, in units of 10^-qty_exp of the instrument's base unit
amount  integer, in units of 10^-10 of the account currency; a fill's notional is exact in it, because
        configuration refuses an instrument with price_exp + qty_exp > 10. 2^63 of them are 920 million,
        so an amount fits SQLite's INTEGER.
ppm     a share in millionths: 2 % is 20,000 ppm
"""

from __future__ import annotations

from typing import NewType

Price = NewType("Price", int)
Qty = NewType("Qty", int)
Amount = NewType("Amount", int)
Ppm = NewType("Ppm", int)

AMOUNT_EXP = 10
AMOUNT_ONE = 10**AMOUNT_EXP
PPM_ONE = 1_000_000

_MAX_DIGITS = 30


def parse_scaled(text: str, exp: int) -> int:
    """`"1229.22"` with exp 2 → 122922, exactly.

    Raises ValueError for anything but an optional sign, digits and one point, for more decimals than
    `exp` (unless they are zeros) and for more than 30 digits. Exponents, NaN, infinities, blanks,
    underscores and digits of other scripts are refused.
    """
    body = text[1:] if text[:1] in ("-", "+") else text
    whole, point, fraction = body.partition(".")
    if point and not fraction:
        raise ValueError(f"not a decimal number: {text!r}")
    digits = whole + fraction
    if not whole or not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise ValueError(f"not a decimal number: {text!r}")
    kept, dropped = fraction[:exp], fraction[exp:]
    if dropped.strip("0"):
        raise ValueError(f"more than {exp} decimals: {text!r}")
    value = int(whole + kept.ljust(exp, "0"))
    return -value if text[0] == "-" else value


def format_scaled(value: int, exp: int) -> str:
    """Inverse of `parse_scaled`, with every decimal written: 122922, 2 → `"1229.22"`."""
    if value < 0:
        return "-" + format_scaled(-value, exp)
    digits = f"{value}"
    if exp == 0:
        return digits
    point = len(digits) - exp
    if point <= 0:
        return "0." + digits.zfill(exp)
    return f"{digits[:point]}.{digits[point:]}"


def format_amount(value: int, decimals: int = 2) -> str:
    """An amount for people, rounded towards zero to `decimals` places."""
    step = 10 ** (AMOUNT_EXP - decimals)
    magnitude = abs(value) // step
    return format_scaled(-magnitude if value < 0 else magnitude, decimals)


def format_share(ppm: int) -> str:
    """A share for people: 154,688 → `"15.4688 %"`."""
    return f"{format_scaled(ppm, 4)}".rstrip("0").rstrip(".") + " %"


def share_floor(amount: int, ppm: int) -> int:
    """`ppm` of `amount`, rounded down: use for what we may spend."""
    return amount * ppm // PPM_ONE


def share_ceil(amount: int, ppm: int) -> int:
    """`ppm` of `amount`, rounded up: use for what we owe, such as fees."""
    return -(-amount * ppm // PPM_ONE)


def round_down(value: int, step: int) -> int:
    """Largest multiple of `step` that is not above `value`."""
    return value - value % step


def round_up(value: int, step: int) -> int:
    """Smallest multiple of `step` that is not below `value`."""
    return value + -value % step
