"""The HTML itself: read only, accessible, complete without script, and nothing from anywhere else."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from appliance.web.assets import assets
from appliance.web.page import render, template
from appliance.web.view import view
from tests.pictures.web_samples import EMERGENCY, HELD, NORMAL, SITUATIONS
from tests.unit.web_document import Document, Element

INTERACTIVE = {
    "form", "button", "input", "select", "textarea", "option", "label", "details", "summary", "dialog",
    "menu", "iframe", "object", "embed", "video", "audio", "img", "base", "style",
}  # fmt: skip
URL_ATTRS = {"href", "src", "action", "formaction", "poster", "data", "srcset", "cite", "ping", "background"}

PAGES = {name: Document(render(status, "build")) for name, status in SITUATIONS.items()}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> Document:
    """The page in each situation."""
    return PAGES[request.param]


def test_nothing_on_the_page_can_be_operated(page: Document) -> None:
    """No form, no button, no field, nothing editable, focusable or clickable but plain links (C04)."""
    for element in page.all():
        assert element.tag not in INTERACTIVE, element.tag
        assert element.attrs.get("role") in {None, "alert"}
        for name in element.attrs:
            assert not name.startswith("on"), f"{element.tag} {name}"
            assert name not in {"contenteditable", "tabindex", "accesskey", "draggable", "popovertarget"}


def test_no_script_and_no_style_is_inline(page: Document) -> None:
    """CSP would refuse them; this keeps them from being written in the first place."""
    for element in page.all():
        assert "style" not in element.attrs
        if element.tag == "script":
            assert element.attrs["src"]
            assert element.text == ""


def test_every_address_is_our_own(page: Document) -> None:
    """The page works on a network without internet, and tells nobody that it was opened."""
    html = render(NORMAL, "build")
    assert "://" not in html
    addresses = [
        value
        for element in page.all()
        for name, value in element.attrs.items()
        if name in URL_ATTRS and value
    ]
    assert set(addresses) == {
        "/static/favicon.svg", "/static/style.css", "/static/app.js", "/status.json", "/healthz", "/metrics",
        "/decisions",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["app.js", "tick.js", "style.css", "favicon.svg"])
def test_static_files_load_nothing_from_outside(name: str) -> None:
    """No address but the name of the SVG namespace; no import; no font and no picture."""
    text = assets()[name].body.decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"//[a-z0-9]|@import|url\(|@font-face", text.replace("// ", "")), name


def test_script_never_makes_markup() -> None:
    """Text and listed attributes only, so that no string can become an element."""
    script = assets()["app.js"].body.decode()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|\.style\b", script
    )
    (listed,) = re.findall(r"SETTABLE = new Set\(\[(.*?)\]\)", script, re.DOTALL)
    settable = set(re.findall(r'"([a-z-]+)"', listed))
    used = {
        name
        for status in SITUATIONS.values()
        for cell in [
            *view(status, "b").one.values(),
            *(cell for rows in view(status, "b").rows.values() for row in rows for cell in row),
        ]
        for name in cell.attrs
    }
    assert settable == used
    assert not settable & {"href", "src", "style", "class", "id"}


def test_ids_are_unique_and_references_resolve(page: Document) -> None:
    """Labels point at what is there."""
    ids = [value for element in page.all() if (value := element.attrs.get("id"))]
    assert len(ids) == len(set(ids))
    for element in page.all():
        for name in (element.attrs.get("aria-labelledby") or "").split():
            assert page.by_id(name).text


def test_every_cell_of_the_view_is_on_the_page_once() -> None:
    """No cell is forgotten and no slot is empty; `root` and panels carry attributes only."""
    shown = view(NORMAL, "build")
    outside = re.sub(r"\[\[#([a-z]+)\]\].*?\[\[/\1\]\]", "", template(), flags=re.DOTALL)
    attributes = re.findall(r"\[\[([a-z0-9-]+)@\]\]", outside)
    texts = re.findall(r"\[\[([a-z0-9-]+)\]\]", outside)
    assert sorted(attributes) == sorted(shown.one)
    with_text = {name for name, cell in shown.one.items() if cell.text is not None}
    assert sorted(texts) == sorted(with_text | {"title"})
    assert set(re.findall(r"\[\[#([a-z]+)\]\]", template())) == set(shown.rows)


def test_headings_are_in_order(page: Document) -> None:
    """One h1, which is the mode; no level is skipped."""
    levels = [int(element.tag[1]) for element in page.all() if re.fullmatch("h[1-6]", element.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_landmarks_language_and_viewport(page: Document) -> None:
    """One banner, one main, one footer; every section has a name; zooming is not prevented."""
    tags = [element.tag for element in page.all()]
    assert [tags.count(tag) for tag in ("header", "main", "footer", "title")] == [1, 1, 1, 1]
    (html,) = [element for element in page.all() if element.tag == "html"]
    assert html.attrs["lang"] == "en"
    assert page.declarations == ["doctype html"]
    for section in (element for element in page.all() if element.tag == "section"):
        assert section.attrs["aria-labelledby"]
    (viewport,) = [element for element in page.all() if element.attrs.get("name") == "viewport"]
    assert viewport.attrs["content"] == "width=device-width, initial-scale=1"


def test_only_mode_and_trip_are_announced(page: Document) -> None:
    """One alert, one polite region; counters that change four times a second stay silent."""
    alerts = [element for element in page.all() if element.attrs.get("role") == "alert"]
    live = [element for element in page.all() if "aria-live" in element.attrs]
    assert [element.attrs.get("aria-labelledby") for element in alerts] == ["trip-heading"]
    assert [element.attrs["aria-live"] for element in live] == ["polite"]
    assert "h1" in [element.tag for element in live[0].walk()]
    assert page.by_id("now") not in live[0].walk()


def test_drawings_are_silent_and_said_in_text(page: Document) -> None:
    """Every SVG is hidden from a screen reader, because the text beside it says the same."""
    for element in page.all():
        if element.tag == "svg":
            assert element.attrs["aria-hidden"] == "true"
            assert element.attrs["focusable"] == "false"
    for row in page.rows("latency"):
        assert re.fullmatch(r"[≤>] [\d,]+ µs [\d,]+ (\d+\.\d|0|< 0\.1) %", row.text), row.text


def test_tables_have_captions_and_header_cells(page: Document) -> None:
    """A row is understood without seeing the column."""
    for table in (element for element in page.all() if element.tag == "table"):
        assert [child.tag for child in table.walk()].count("caption") == 1
        assert any(cell.attrs.get("scope") == "col" for cell in table.walk())


def test_page_without_script_tells_the_whole_state() -> None:
    """Reading the HTML alone: mode, trip, holds, lamps, feed, parts, limits, strategies, verdicts, audit."""
    page = PAGES["emergency"]
    assert page.by_id("mode-heading").text.startswith("Mode EMERGENCY")
    (alert,) = [element for element in page.all() if element.attrs.get("role") == "alert"]
    assert "hidden" not in alert.attrs
    assert "Trip: KILL_BUTTON The red button was pressed." in alert.text
    assert "hold the arm key for 3 s, once per step" in alert.text
    assert [row.text for row in page.rows("lamps")] == [
        "G green BCM 22 off unknown",
        "Y yellow BCM 23 off unknown",
        "R red BCM 24 slow half a second on, half a second off unknown",
    ]
    assert page.by_id("feed-state").text == "stopped by a trip"
    assert len(page.rows("parts")) == len(EMERGENCY.parts)
    assert page.rows("limits")[3].text == "largest order SPX, NDX 40.00"
    assert (
        "breakout WTI stopped allocation drawdown limit of 8 % passed since"
        in page.rows("strategies")[2].text
    )
    assert (
        page.rows("reasons")[1].text
        == "TRIPPED the gate is latched shut; arm the box after the cause is gone 402"
    )
    assert page.by_id("audit-root").attrs["title"] == EMERGENCY.audit.root
    assert page.by_id("commit").text == EMERGENCY.commit


def test_hidden_panels_are_hidden() -> None:
    """NORMAL shows neither trip nor hold panel, a hold shows its own."""

    def hidden(page: Document, heading: str) -> bool:
        (panel,) = [element for element in page.all() if element.attrs.get("aria-labelledby") == heading]
        return "hidden" in panel.attrs

    assert hidden(PAGES["normal"], "trip-heading")
    assert hidden(PAGES["normal"], "holds-heading")
    assert not hidden(PAGES["held"], "holds-heading")
    assert len(PAGES["held"].rows("holds")) == len(HELD.holds)


def test_times_are_utc_with_a_machine_form(page: Document) -> None:
    """Each shown time ends with Z, and the script finds the same moment in `datetime`."""

    def shown(element: Element) -> bool:
        return element.tag == "time" and not element.inside_template and element.text not in {"", "never"}

    times = [element for element in page.all() if shown(element)]
    assert len(times) > 2
    for element in times:
        machine = element.attrs["datetime"]
        assert machine is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", machine)
        plain = machine.replace("T", " ").replace("Z", " Z")
        assert element.text in {plain, plain[11:], plain[:10]}


@pytest.mark.safety("S12.4")
def test_no_word_of_position_or_profit_is_a_figure() -> None:
    """The only mention is the footer's promise and the limit that is called so (SAFETY 12)."""
    text = PAGES["live"].root.text
    for word in ("equity:", "P&L", "balance", "exposure:", "unrealised", "realised"):
        assert word not in text
    assert "It shows no position, no profit and no loss." in text
