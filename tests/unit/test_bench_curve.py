"""The picture of what an order costs, from a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bench.curve import _round_up, draw_curve, main, read_lines


def _case(name: str, p50: float) -> dict[str, Any]:
    return {"case": name, "p50": p50}


RESULT: dict[str, Any] = {
    "bench": "orders",
    "machine": "a <machine> & its load",
    "cases": [
        _case("floor: 100 additions", 2.0),
        _case("check + state + ledger, 10 open orders, 1 instruments", 9.0),
        _case("check + state + ledger, 100000 open orders, 1 instruments", 9.5),
        _case("check + state + ledger, 1000 open orders, 1 instruments", 9.25),
        _case("check + state + ledger, 1000 open orders, 1000 instruments", 9.75),
        _case("sent, accepted, ended, 10 open orders, 1 instruments", 12.0),
        _case("memory per open order", 500.0),
    ],
}


def test_a_line_holds_the_other_number_still() -> None:
    """Against open orders at one instrument, against instruments at the number most cases have."""
    assert read_lines(RESULT, "orders") == {
        "check + state + ledger": [(10, 9.0), (1_000, 9.25), (100_000, 9.5)],
        "sent, accepted, ended": [(10, 12.0)],
    }
    assert read_lines(RESULT, "instruments") == {"check + state + ledger": [(1, 9.25), (1_000, 9.75)]}


def test_the_picture_is_written_from_a_result(tmp_path: Path) -> None:
    """Well formed, with a dot for every point and both floors, and the machine's name escaped."""
    result, picture = tmp_path / "orders.json", tmp_path / "cost.svg"
    result.write_text(json.dumps(RESULT))
    assert main([str(result), "--to", str(picture)]) == 0
    text = picture.read_text()
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert len(root.findall(".//{*}circle")) == 6
    assert "a &lt;machine&gt; &amp; its load" in text
    assert text.count('stroke="#566074"') == 2
    assert draw_curve(RESULT) == text


@pytest.mark.parametrize("text", ["", "{}", '{"cases": []}', '{"cases": [{"case": "x"}], "machine": ""}'])
def test_what_is_no_result_of_orders_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing is written."""
    result, picture = tmp_path / "other.json", tmp_path / "cost.svg"
    result.write_text(text)
    assert main([str(result), "--to", str(picture)]) == 1
    assert not picture.exists()


@pytest.mark.parametrize(
    ("value", "top"), [(0.5, 4), (4, 4), (4.01, 8), (9, 12), (12.5, 20), (20.5, 40), (100, 120), (999, 1_200)]
)
def test_the_scale_ends_on_a_round_number(value: float, top: float) -> None:
    """The next of 4, 8, 12, 20 times a power of ten."""
    assert _round_up(value) == top
