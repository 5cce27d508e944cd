"""Time stamps of data files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.market.times import DAY_NS, parse_time_ns

CRASH = datetime(2008, 10, 15, tzinfo=UTC)
CRASH_NS = int(CRASH.timestamp()) * 10**9


@pytest.mark.parametrize(
    ("text", "offset_ns"),
    [
        ("2008-10-15", 0),
        ("20081015", 0),
        ("10/15/2008", 0),
        ("2008-10-15 00:00", 0),
        ("20081015 09:30", 34_200 * 10**9),
        ("2008-10-15T09:30:00Z", 34_200 * 10**9),
        ("2008-10-15 09:30:00.000001", 34_200 * 10**9 + 1_000),
        ("2008-10-15 23:59:59.999999999+00:00", DAY_NS - 1),
        ("2008-10-15T00:00:01+0000", 10**9),
        (str(CRASH_NS // 10**6), 0),
        (str(CRASH_NS // 10**3 + 1), 1_000),
        (str(CRASH_NS + 1), 1),
        ("1970-01-01", -CRASH_NS),
        (str(2**63 - 1), 2**63 - 1 - CRASH_NS),
    ],
)
def test_every_documented_form_is_read_exactly(text: str, offset_ns: int) -> None:
    """Dates, times of day and epochs name the same instant to the nanosecond."""
    assert parse_time_ns(text) == CRASH_NS + offset_ns


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "2008", "1224028800", "2008-13-01", "2008-02-30", "15/10/2008", "2008-1-5", "08-10-15",
        "2008-10-15 9:30", "2008-10-15 24:00", "2008-10-15 23:60", "2008-10-15 23:59:60", "2008-10-15 ",
        "2008-10-15T09:30+01:00", "2008-10-15 09:30:00.1234567890", "1969-12-31", "2262-04-12",
        "9999999999999999999",
        "9223372036854775808", "٢٠٠٨-10-15", "2008-10-15Z", "-008-10-15", "10/15/08", "2008_10-15",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """A time that could mean two things, another zone or a time that does not exist stops the reader."""
    with pytest.raises(ValueError, match=r"not a|outside"):
        parse_time_ns(text)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2262, 4, 11)))  # noqa: DTZ001
def test_agrees_with_the_standard_library(moment: datetime) -> None:
    """The standard library's calendar is the oracle."""
    expected = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_time_ns(moment.isoformat(sep=" ", timespec="microseconds")) == expected * 1_000
