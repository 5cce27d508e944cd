"""Recorded Binance messages through the whole appliance: order for order the same with either venue."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.box import Box
from tests.spot import SPOT, spot_config

pytestmark = pytest.mark.skipif(not SPOT.exists(), reason=f"test data {SPOT.name} is not here")
MESSAGES = 20_000


def _replayed(folder: Path, *, inside: bool) -> Box:
    """An unattended run over the first messages, to its end, and its log verified."""
    cut = folder / "recording.raw.gz"
    with gzip.open(SPOT, "rb") as whole, gzip.open(cut, "wb") as part:
        part.writelines(line for line, _ in zip(whole, range(MESSAGES), strict=False))
    box = Box(folder)
    box.config.write_text(spot_config(box.config.read_text(), cut, inside=inside))
    found = box.interlock("up --unattended --exit-when-finished --speed max")
    assert found.returncode == 0, found.stderr
    assert box.verified()["unsigned"] == 0
    return box


def _decisions(box: Box) -> list[tuple[Any, ...]]:
    """Every verdict and fill in order, without what names one run."""
    keys = ("side", "class", "decision", "reason", "qty", "price", "fee")
    return [
        (entry.get("instrument"), *(entry.get(key) for key in keys))
        for kind in ("verdict", "fill")
        for entry in box.entries(kind)
    ]


def test_the_recording_is_traded_alike_by_either_venue(tmp_path: Path) -> None:
    """Ticks and quotes become bars, signals, orders, fills; the venue's process changes nothing in them."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "process").mkdir()
    inside = _replayed(tmp_path / "inside", inside=True)
    process = _replayed(tmp_path / "process", inside=False)
    fills = process.entries("fill")
    assert len(fills) > 5
    assert {entry["instrument"] for entry in fills} == {"BTCUSDT"}
    assert _decisions(inside) == _decisions(process)
    (end,) = process.entries("run_end")
    with gzip.open(tmp_path / "process" / "recording.raw.gz", "rb") as part:
        assert end["observations"] == sum(b"@trade" in line or b"@bookTicker" in line for line in part)
