"""Bars from CSV files: columns, units, times, and refusals that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.domain.errors import PeerError
from appliance.market.ohlcv import OhlcvFile
from appliance.market.times import DAY_NS
from tests.market_builders import DAY, bar, instrument, read_all, write

DAY_1 = 9131  # 1995-01-01
ROW = "1995-01-01,10.00,12.5,9.25,11"
EXPECTED = bar(DAY_1, (1000, 1250, 925, 1100))


def _read(folder: Path, text: str, *, packed: bool = False, interval_ns: int = DAY) -> list[object]:
    path = write(folder / "prices.csv", text, packed=packed)
    return list(read_all(OhlcvFile(path, instrument(), interval_ns)))


def _refusal(folder: Path, text: str, interval_ns: int = DAY) -> str:
    with pytest.raises(PeerError) as caught:
        _read(folder, text, interval_ns=interval_ns)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        ROW,
        ROW + "\n",
        ROW.replace(",", " , ") + "\r\n",
        "\ufeffDate,Open,High,Low,Close\n" + ROW,
        '"Date","Open","High","Low","Close"\n"1995-01-01","10","12.5","9.25","11.00"\n',
        ",open,high,low,close\n" + ROW,
        "Date,Open,High,Low,Close,Adj Close\n" + ROW + ",77.777777\n",
        "close,low,high,open,timestamp\n11,9.25,12.5,10,19950101\n",
        "\n\n" + "time,open,high,low,close\n\n" + ROW + "\n\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_one_bar_however_it_is_written(tmp_path: Path, text: str, packed: bool) -> None:
    """Header or none, any order and case, BOM, CRLF, quotes, gzip: the same exact bar."""
    assert _read(tmp_path, text, packed=packed) == [EXPECTED]


def test_a_bar_is_known_when_its_interval_has_ended(tmp_path: Path) -> None:
    """The bar of day D is seen at D+1 00:00 Z (CONVENTIONS), an hourly bar one hour after its start."""
    daily = read_all(OhlcvFile(write(tmp_path / "d.csv", ROW), instrument(), DAY_NS))[0]
    hourly = read_all(OhlcvFile(write(tmp_path / "h.csv", ROW), instrument(), 3_600 * 10**9))[0]
    assert (daily.event_ns, daily.seen_ns) == (DAY_1 * DAY, (DAY_1 + 1) * DAY)
    assert hourly.seen_ns == hourly.event_ns + 3_600 * 10**9


def test_volume_is_read_in_the_scale_of_quantities(tmp_path: Path) -> None:
    """0.0566 with four quantity decimals is 566, as in bars built from trades."""
    found = _read(tmp_path, ROW + ",0.0566")
    assert found == [bar(DAY_1, (1000, 1250, 925, 1100), volume=566)]


@pytest.mark.parametrize("text", ["time,price\n1995-01-01,10.5\n", "1995-01-01,10.5"])
def test_one_price_a_day_is_a_bar_with_one_print(tmp_path: Path, text: str) -> None:
    """All four prices are the one known, there is no volume, and the file says that it holds no path."""
    source = OhlcvFile(write(tmp_path / "oil.csv", text), instrument(), DAY)
    assert source.one_print
    assert read_all(source) == [bar(DAY_1, (1050, 1050, 1050, 1050))]


def test_prices_that_cannot_be_true_are_left_to_the_quality_checks(tmp_path: Path) -> None:
    """The reader delivers what is written (oil closed at -36.98 once); judging it elsewhere counts it."""
    found = _read(tmp_path, "time,price\n2020-04-20,-36.98\n2020-04-21,0\n")
    assert [getattr(each, "close", None) for each in found] == [-3698, 0]


@pytest.mark.parametrize(
    "price", ["NaN", "nan", "inf", "-inf", ".", "", "1e3", "1,5", "0x10", "1_000", "٣", "1.234", "--1"]
)
def test_what_is_no_exact_price_stops_the_reader(tmp_path: Path, price: str) -> None:
    """No price is guessed, rounded or left out; the message names file and line."""
    message = _refusal(tmp_path, f"{ROW}\n1995-01-02,{price},12.5,9.25,11\n")
    assert "prices.csv:2" in message
    assert "DO:" in message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"{ROW}\n1995-01-02,1,2,1\n", 2, "4 fields where 5"),
        (f"{ROW}\n1995-01-02,1,2,1,1,1\n", 2, "6 fields where 5"),
        (f"{ROW}\n{ROW}\n", 2, "not later than the one before"),
        (f"{ROW}\n1994-12-31,1,2,1,1\n", 2, "oldest first"),
        (f"{ROW}\n1995-01-01 12:00,1,2,1,1\n", 2, "43200000 ms apart"),
        (f"{ROW}\n1995-02-29,1,2,1,1\n", 2, "not a date"),
        (f"{ROW}\n{2**63 - DAY},1,2,1,1\n", 2, "ends after 2262"),
        ("1995-01-01,1,2\n", 1, "3 columns without a header"),
        ("time,open,high,close\n", 1, "columns found: time, open, high, close"),
        ("time,open,high,low,close,close\n", 1, "columns found"),
        ("time,open,high,low,close,price\n", 1, "columns found"),
        ("time,open,price\n", 1, "columns found"),
        ("open,high,low,close\n", 1, "columns found"),
        (ROW + '\n"1995-01-02",1,2,1,"1', 2, "quotes do not match"),
        (ROW + '\n"1995-01-02"x,1,2,1,1', 2, "quotes do not match"),
        ("", 1, "nothing in it"),
        ("\n \n", 1, "nothing in it"),
    ],
)
def test_every_refusal_names_the_line_and_the_reason(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    """Somebody with a text editor can mend the file from the message alone."""
    message = _refusal(tmp_path, text)
    assert f"prices.csv:{line}" in message
    assert words in message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A spreadsheet saved as UTF-16, or a picture, is named as what it is not."""
    path = tmp_path / "prices.csv"
    path.write_bytes(ROW.encode() + b"\n\xff\xfe\x00")
    with pytest.raises(PeerError, match=r"UTF-8.*prices\.csv:2"):
        read_all(OhlcvFile(path, instrument(), DAY))


def test_rows_may_be_exactly_one_interval_apart_or_more(tmp_path: Path) -> None:
    """Neighbouring bars touch and weekends are gaps; only an overlap is refused."""
    rows = ["1995-01-01,1,1,1,1", "1995-01-02,1,1,1,1", "1995-01-05,1,1,1,1"]
    assert len(_read(tmp_path, "\n".join(rows))) == 3
    assert "86399000 ms apart" in _refusal(tmp_path, "1995-01-01 00:00:01,1,1,1,1\n" + rows[1])


def test_the_last_bar_there_can_be(tmp_path: Path) -> None:
    """It ends in the last nanosecond that fits; the one a nanosecond later is refused above."""
    found = read_all(OhlcvFile(write(tmp_path / "p.csv", f"{2**63 - 1 - DAY},1,1,1,1"), instrument(), DAY))
    assert found[0].seen_ns == 2**63 - 1


def test_the_interval_must_be_positive(tmp_path: Path) -> None:
    """A bar without length would be known before it began."""
    with pytest.raises(ValueError, match="interval_ns"):
        OhlcvFile(write(tmp_path / "prices.csv", ROW), instrument(), 0)
