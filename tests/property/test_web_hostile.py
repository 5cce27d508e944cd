"""Whatever text reaches a status, the page keeps its shape and says no more than it should."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.status import Status
from appliance.web.health import health
from appliance.web.metrics import exposition
from appliance.web.page import render_view
from appliance.web.server import encode_status
from appliance.web.view import Cell, View, view
from tests.pictures.web_samples import EMERGENCY, HELD, SITUATIONS
from tests.unit.web_document import Document

NASTY = st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "</title></textarea></style><svg/onload=alert(1)>",
        "</template><form><button>arm</button></form>",
        "[[mode]]",
        "[[#limits]][[/limits]]",
        "{{7*7}}${7*7}%s\\0",
        "&lt;b&gt;&amp;",
        "]]>--><!--",
        "javascript:alert(1)",
        "\u202egnp.exe\u2066",
        "a\ndata: {}\n\nevent: view\n",
        "\udc00 \ud800",
        "\x00\x1b[2J\x9b31m",
        "x" * 5_000,
    ]
)
TEXT = st.one_of(NASTY, st.text(st.characters(), max_size=40))
FEW = settings(deadline=None, derandomize=True, max_examples=60)


def _replaced(value: Any, texts: Iterator[str | None]) -> Any:
    """The same structure; a string for which `texts` has another one is replaced."""
    if isinstance(value, dict):
        return {key: _replaced(item, texts) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, texts) for item in value]
    if isinstance(value, str):
        other = next(texts)
        return value if other is None else other
    return value


@st.composite
def hostile(draw: st.DrawFn) -> Status:
    """A status of the full shape in which any text field may be hostile."""
    base = draw(st.sampled_from([EMERGENCY, HELD]))
    pool = draw(st.lists(TEXT, min_size=4, max_size=6))
    which = draw(st.integers(0, 2**64 - 1))
    texts = (pool[at % len(pool)] if which >> at % 64 & 1 else None for at in itertools.count())
    built = _replaced(json.loads(msgspec.json.encode(base)), texts)
    built["verdicts"]["denied"] = {pool[0]: 3, pool[1]: 2}
    built["data_counts"] = {pool[2]: 1}
    return msgspec.convert(built, Status)


def _harmless(shown: View) -> View:
    """The same cells with an x for every text and every attribute that is there."""

    def cell(of: Cell) -> Cell:
        return Cell(of.text and "x", {name: value and "x" for name, value in of.attrs.items()})

    rows = {name: tuple(tuple(cell(of) for of in row) for row in rows) for name, rows in shown.rows.items()}
    return View({name: cell(of) for name, of in shown.one.items()}, rows)


@FEW
@given(hostile())
def test_no_text_becomes_markup(status: Status) -> None:
    """The same elements with the same attributes as with harmless text, and each text is read back whole."""
    shown = view(status, "build")
    page = Document(render_view(shown))
    assert page.shape == Document(render_view(_harmless(shown))).shape
    by_id = {element.attrs["id"]: element for element in page.all() if "id" in element.attrs}
    for name, cell in shown.one.items():
        if cell.text is not None:
            assert by_id[name].raw == cell.text
        for attribute, value in cell.attrs.items():
            assert (by_id[name].attrs.get(attribute) or "") == (value or "")


@FEW
@given(hostile())
def test_every_answer_can_be_read_back(status: Status) -> None:
    """One line of JSON in each event, UTF-8 everywhere, and the status itself unchanged in /status.json."""
    event = msgspec.json.encode(view(status, "build"))
    assert b"\n" not in event
    assert b"\r" not in event
    json.loads(event)
    assert msgspec.convert(json.loads(encode_status(status)), Status) == status
    json.loads(msgspec.json.encode(health(status)[1]))
    for accept in ("", "application/openmetrics-text"):
        exposition(status, accept)[0].decode()


@FEW
@given(
    st.sampled_from(sorted(SITUATIONS)), st.integers(-(2**40), 2**63 - 1), st.integers(-(2**40), 2**63 - 1)
)
def test_no_number_breaks_the_page(name: str, one: int, other: int) -> None:
    """Counters of any size and sign, also where they contradict each other."""
    built = json.loads(msgspec.json.encode(SITUATIONS[name]))
    built["uptime_s"] = built["progress"]["rate"] = one
    built["progress"] |= {"done": one, "total": other, "eta_s": other}
    built["audit"] |= {"size": other, "signed": one, "witnessed": one}
    built["gate"]["counts"] = [abs(one), abs(other)]
    built["verdicts"]["denied"] = {"HOLD": abs(one), "TRIPPED": abs(other)}
    status = msgspec.convert(built, Status)
    Document(render_view(view(status, "build")))
    exposition(status)
