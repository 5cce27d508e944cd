"""Files that are cut, corrupt, missing or change: nothing of them is used silently."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from appliance.domain.errors import PeerError
from appliance.domain.observation import Observation
from appliance.market import lines
from appliance.market.binance import BinanceRecording
from appliance.market.lines import read_lines
from appliance.market.ohlcv import OhlcvFile
from appliance.market.replay import Replay
from appliance.market.samples import open_sample
from appliance.market.source import survey
from tests.market_builders import DAY, instrument, real_file, write


def _sample_bytes() -> bytes:
    return open_sample("spx", instrument()).path.read_bytes()


def _try(path: Path) -> tuple[list[Observation], str]:
    """What a first pass delivers before it raises, and the message."""
    delivered: list[Observation] = []
    with pytest.raises(PeerError) as caught:
        delivered.extend(OhlcvFile(path, instrument(), DAY).read(Counter()))
    return delivered, str(caught.value)


@pytest.mark.parametrize("missing", [1, 4, 8, 1_000, 30_000])
def test_a_cut_gzip_says_how_many_lines_were_good(tmp_path: Path, missing: int) -> None:
    """Wherever the copy stopped, even inside the checksum, it is refused with the count of good lines."""
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(_sample_bytes()[:-missing])
    first_pass: list[bytes] = []
    with pytest.raises(PeerError, match="cut short") as caught:
        first_pass.extend(read_lines(path))
    assert f"after {len(first_pass)} good lines" in str(caught.value)
    assert (missing <= 8) == (len(first_pass) == 5_032)


def test_a_replay_of_a_cut_file_delivers_nothing(tmp_path: Path) -> None:
    """Good rows before the cut must not be traded on: opening the replay already refuses."""
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(_sample_bytes()[:-5_000])
    with pytest.raises(PeerError, match="cut short"):
        Replay([open_sample("wti", instrument("WTI")), OhlcvFile(path, instrument(), DAY)])


def test_flipped_bits_of_a_sample_do_not_go_unnoticed(tmp_path: Path) -> None:
    """At 40 places of the stream and all of its checksum: refused, never another price."""
    packed = _sample_bytes()
    path = tmp_path / "flipped.csv.gz"
    places = [*range(10, len(packed), len(packed) // 40), *range(len(packed) - 8, len(packed))]
    for place in places:
        broken = bytearray(packed)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(PeerError):
            survey(OhlcvFile(path, instrument(), DAY))


def test_a_wrong_checksum_condemns_every_line(tmp_path: Path) -> None:
    """It comes last, so the lines before it were delivered by then; the message says not to trust them."""
    packed = bytearray(_sample_bytes())
    packed[-5] ^= 1
    path = tmp_path / "sum.csv.gz"
    path.write_bytes(packed)
    delivered, message = _try(path)
    assert len(delivered) == 5_031
    assert "none of the 5032 lines" in message


def test_garbage_after_the_stream_is_refused(tmp_path: Path) -> None:
    """Two downloads glued together are not one file of prices."""
    path = tmp_path / "glued.csv.gz"
    path.write_bytes(_sample_bytes() + b"garbage")
    assert "corrupt" in _try(path)[1]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, kind: str) -> None:
    """A typing error in the configuration ends in a sentence, not in a traceback."""
    path = tmp_path / "prices.csv"
    if kind == "folder":
        path.mkdir()
    with pytest.raises(PeerError, match=r"cannot be read.*prices\.csv.*DO:"):
        OhlcvFile(path, instrument(), DAY)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gzip bomb of one line costs at most MAX_LINE bytes; a line of exactly that size passes."""
    monkeypatch.setattr(lines, "MAX_LINE", 64)
    path = tmp_path / "long"
    path.write_bytes(b"x" * 63 + b"\n" + b"y" * 63)
    assert [len(line) for line in read_lines(path)] == [64, 63]
    path.write_bytes(gzip.compress(b"ok\n" + b"x" * 64 + b"\n"))
    with pytest.raises(PeerError, match=r"longer than 64 bytes.*:2"):
        list(read_lines(path))


def test_a_file_that_shrinks_or_grows_between_the_passes_is_noticed(tmp_path: Path) -> None:
    """The second pass must be the file that was surveyed; another one ends the replay with an error."""
    path = write(tmp_path / "prices.csv", "time,price\n2000-01-01,1\n2000-01-02,2\n")
    for changed in ("time,price\n2000-01-01,1\n", "time,price\n2000-01-01,1\n2000-01-02,2\n2000-01-03,3\n"):
        write(path, "time,price\n2000-01-01,1\n2000-01-02,2\n")
        replay = Replay([OhlcvFile(path, instrument(), DAY)])
        write(path, changed)
        with pytest.raises(PeerError, match="changed while it was replayed"):
            list(replay)


@pytest.mark.parametrize("keep", [1, 10, 19, 20, 21, 60, 150])
def test_an_unfinished_last_line_of_a_recording_is_counted(tmp_path: Path, keep: int) -> None:
    """A recorder that is stopped leaves such a line: every message before it counts, and so does the cut."""
    first, second = _two_trades()
    path = tmp_path / "cut.raw"
    path.write_bytes(first + second[:keep])
    found = survey(BinanceRecording(path, {"BTCUSDT": instrument("BTC", 2, 5)}))
    assert (found.observations, found.not_delivered) == (1, {"cut_short": 1})


def test_an_undecodable_line_elsewhere_is_refused(tmp_path: Path) -> None:
    """In the middle it is no stopped recorder but a damaged file; the message names the line."""
    first, second = _two_trades()
    path = tmp_path / "damaged.raw"
    for bad in (
        second[:60] + b"\n",
        b"\n",
        b"hello\n",
        second.replace(b'"q"', b'"Q"'),
        b"1" * 19 + b" \xff\n",
    ):
        path.write_bytes(first + bad + second)
        with pytest.raises(PeerError, match=r"damaged\.raw:2"):
            survey(BinanceRecording(path, {"BTCUSDT": instrument("BTC", 2, 5)}))


def test_too_few_decimals_are_refused_even_in_the_last_line(tmp_path: Path) -> None:
    """A price that does not fit the scale is no cut line; rounding it would invent a price."""
    first, second = _two_trades()
    path = tmp_path / "scale.raw"
    path.write_bytes(first + second.rstrip(b"\n"))
    with pytest.raises(PeerError, match="more than 1 decimals"):
        survey(BinanceRecording(path, {"BTCUSDT": instrument("BTC", 1, 5)}))


def test_a_complete_message_of_the_wrong_shape_is_not_cut(tmp_path: Path) -> None:
    """The last line lacks its newline and a field, but its braces close: damaged, not unfinished."""
    first, second = _two_trades()
    path = tmp_path / "shape.raw"
    path.write_bytes(first + second.rstrip(b"\n").replace(b'"q"', b'"Q"'))
    with pytest.raises(PeerError, match=r"shape\.raw:2"):
        survey(BinanceRecording(path, {"BTCUSDT": instrument("BTC", 2, 5)}))


def _two_trades() -> tuple[bytes, bytes]:
    recorded = read_lines(real_file("crypto/binance_spot_btcusdt_20240808.raw.gz"))
    trades = [line for line in recorded if b"@trade" in line]
    return trades[0], trades[1]
