"""How values are written: boundaries of every format, and text that tries to look like something else."""

from __future__ import annotations

import pytest

from appliance.web import text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 00 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h 00 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (90_000_000, "1,041 d 16 h"),
    ],
)
def test_duration_shows_the_two_largest_units(seconds: int, shown: str) -> None:
    """Each unit's last and first value."""
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        ("0", ("never", None)),
        ("1", ("1970-01-01 00:00:00 Z", "1970-01-01T00:00:00Z")),
        ("1795244765999999999", ("2026-11-21 07:06:05 Z", "2026-11-21T07:06:05Z")),
        ("253402300799999999999", ("9999-12-31 23:59:59 Z", "9999-12-31T23:59:59Z")),
        ("253402300800000000000", ("unreadable time", None)),
        ("", ("unreadable time", None)),
        ("-5", ("unreadable time", None)),
        ("1e9", ("unreadable time", None)),
        ("٣", ("unreadable time", None)),
        ("9" * 5_000, ("unreadable time", None)),
    ],
)
def test_utc_reads_only_a_decimal_number_of_nanoseconds(time_ns: str, shown: tuple[str, str | None]) -> None:
    """Never a guess, never an exception: the page must come up whatever one field says."""
    assert text.utc(time_ns) == shown


def test_times_are_cut_to_what_matters_where_they_stand() -> None:
    """The page's clock shows no date; a daily bar shows no hour."""
    assert text.clock_time("1795244765000000000")[0] == "07:06:05 Z"
    assert text.clock_time("x") == ("unreadable time", None)
    assert text.market_time(str(1_299_110_400 * 10**9))[0] == "2011-03-03"
    assert text.market_time(str(1_299_110_401 * 10**9))[0] == "2011-03-03 00:00:01 Z"
    assert text.market_time("0") == ("never", None)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 100, "0 %"),
        (1, 0, "0 %"),
        (-1, 100, "0 %"),
        (1, 1_000_000, "< 0.1 %"),
        (1, 2_001, "< 0.1 %"),
        (1, 2_000, "0.1 %"),
        (999_999, 1_000_000, "100.0 %"),
        (5, 5, "100.0 %"),
    ],
)
def test_share_never_shows_something_as_nothing(part: int, whole: int, shown: str) -> None:
    """A single slow verdict in a million must remain visible."""
    assert text.share(part, whole) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 9, "0%"),
        (1, 10**9, "1%"),
        (9, 9, "100%"),
        (10, 9, "100%"),
        (1, 2, "50%"),
        (1, 0, "0%"),
        (-3, 9, "0%"),
    ],
)
def test_bar_widths_stay_between_nothing_and_all(part: int, whole: int, shown: str) -> None:
    """What is not nothing is at least one percent long."""
    assert text.width(part, whole) == shown


@pytest.mark.parametrize(
    "hidden", ["\x00", "\n", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028"]
)
def test_clean_shows_characters_that_hide_or_reorder(hidden: str) -> None:
    """Names from a peer cannot reverse, break or erase what stands beside them."""
    assert text.clean(f"a{hidden}b") == "a\ufffdb"


def test_clean_bounds_length_and_keeps_ordinary_text() -> None:
    """Every script is allowed; 400 characters pass, the 401st is cut."""
    assert text.clean("Straße 東京 مرحبا <b>") == "Straße 東京 مرحبا <b>"
    assert text.clean("x" * 400) == "x" * 400
    assert text.clean("x" * 401) == "x" * 399 + "…"
    assert text.clean("\ud800") == "\ufffd"
