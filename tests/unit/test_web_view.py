"""What the page says for each situation, and what it never says."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from appliance.domain.status import Histogram, LimitLine, RecoveryLine, Status, Verdicts
from appliance.web import words
from appliance.web.view import MAX_ROWS, Cell, View, mode_name, view
from tests.pictures.web_samples import EMERGENCY, HELD, LIVE, NORMAL, PAUSED, SITUATIONS, TRIPPED_PAUSED


def _one(status: Status, name: str) -> Cell:
    return view(status, "build").one[name]


def _texts(shown: View, name: str) -> list[list[str | None]]:
    return [[cell.text for cell in row] for row in shown.rows[name]]


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (NORMAL, "NORMAL – attic-01 – Interlock"),
        (HELD, "NORMAL + HOLD – attic-01 – Interlock"),
        (EMERGENCY, "EMERGENCY (KILL_BUTTON) – attic-01 – Interlock"),
        (TRIPPED_PAUSED, "PAUSED (GUARD_LOST) – attic-01 – Interlock"),
        (replace(NORMAL, mode="TURBO"), "UNKNOWN – attic-01 – Interlock"),
    ],
)
def test_title_starts_with_the_mode(status: Status, title: str) -> None:
    """A hidden tab shows only the first letters of the title."""
    assert _one(status, "title").text == title


def test_mode_that_nobody_knows_is_unknown() -> None:
    """It gets neither another mode's colour nor its sentence."""
    status = replace(NORMAL, mode="normal")
    assert mode_name(status) == "UNKNOWN"
    assert _one(status, "root").attrs["data-mode"] == "UNKNOWN"
    assert _one(status, "meaning").text == "This page does not know the mode. Look at the lamps on the box."


@pytest.mark.safety("S1.12")
def test_a_hold_is_seen_beside_the_mode() -> None:
    """NORMAL alone would say that orders are sent."""
    assert _one(HELD, "tag") == Cell("+ hold", {"data-state": "hold", "hidden": None})
    assert "hold stands" in str(_one(HELD, "meaning").text)
    assert _one(HELD, "holds-panel").attrs == {"hidden": None}
    assert _one(HELD, "quiet").attrs == {"hidden": ""}
    (row,) = _texts(view(HELD, "b"), "holds")
    assert row == [
        None,
        "STALE_DATA",
        "instrument:WTI",
        "Market data is too old.",
        "newest bar is 38 s old, 30 s allowed",
        "2026-11-21 07:05:23 Z",
    ]


@pytest.mark.safety("S6.12")
def test_a_trip_says_why_since_when_and_how_to_recover() -> None:
    """And whether it survives a power cut, and what came later."""
    shown = view(EMERGENCY, "b").one
    assert shown["trip-panel"].attrs == {"hidden": None}
    assert shown["quiet"].attrs == {"hidden": ""}
    assert shown["tag"].text == "trip: KILL_BUTTON"
    assert shown["trip-meaning"].text == "The red button was pressed."
    assert shown["trip-since"] == Cell("2026-11-21 07:05:46 Z", {"datetime": "2026-11-21T07:05:46Z"})
    assert shown["trip-stored"].text == "stored on disk: it survives a power cut"
    assert shown["trip-later"].text == "DRAWDOWN"
    assert str(shown["trip-recovery"].text).startswith("release the button")
    assert view(TRIPPED_PAUSED, "b").one["trip-stored"].text == "not yet stored on disk"


def test_nothing_of_an_ended_trip_remains() -> None:
    """The script fills the same cells, so that each must be emptied again."""
    before, after = view(EMERGENCY, "b").one, view(NORMAL, "b").one
    assert before.keys() == after.keys()
    for name in ("trip-reason", "trip-meaning", "trip-since", "trip-stored", "trip-later", "trip-recovery"):
        assert after[name].text == ""
    assert after["trip-since"].attrs == {"datetime": None}
    assert after["trip-panel"].attrs == {"hidden": ""}
    assert after["quiet"].attrs == {"hidden": None}


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_has_the_same_cells_and_the_same_attributes(name: str) -> None:
    """An attribute that one state sets and another forgets would stay on the page."""
    expected, shown = view(NORMAL, "b"), view(SITUATIONS[name], "b")
    assert {key: set(cell.attrs) for key, cell in shown.one.items()} == {
        key: set(cell.attrs) for key, cell in expected.one.items()
    }
    assert shown.rows.keys() == expected.rows.keys()


def test_rows_of_one_list_have_the_same_cells() -> None:
    """The script copies one blank row."""
    for status in SITUATIONS.values():
        for name, rows in view(status, "b").rows.items():
            assert len({tuple(frozenset(cell.attrs) for cell in row) for row in rows}) <= 1, name


@pytest.mark.parametrize(
    ("status", "text", "hidden"),
    [
        (NORMAL, "the core permits the next step", ""),
        (SITUATIONS["reduced"], "the core permits the next step", None),
        (PAUSED, "waits until the fate of every order is known; the clock is synchronised", None),
        (replace(PAUSED, missing=("from_the_future",)), "waits until from_the_future", None),
    ],
)
def test_what_an_arm_press_waits_for_is_said(status: Status, text: str, hidden: str | None) -> None:
    """Everywhere but in NORMAL, where there is no further step."""
    assert _one(status, "arming") == Cell(text)
    assert _one(status, "arming-line").attrs == {"hidden": hidden}


def test_standing_alerts_are_listed_and_their_panel_is_gone_without_any() -> None:
    """Kind, what it is about, severity in words, sentence, since when; no alert role but the trip's."""
    shown = view(HELD, "b")
    assert shown.one["alerts-panel"].attrs["hidden"] is None
    first, second = shown.rows["alerts"]
    assert [cell.text for cell in first[1:5]] == [
        "VENUE_DOWN", "venue:paper", "warning", "The venue does not answer.",
    ]  # fmt: skip
    assert (first[0].attrs["data-state"], first[2].attrs["hidden"]) == ("warning", None)
    assert (second[2].text, second[2].attrs["hidden"]) == ("", "")
    assert view(NORMAL, "b").one["alerts-panel"].attrs["hidden"] == ""
    unknown = replace(HELD, alerts=(replace(HELD.alerts[0], severity="loud"),))
    assert view(unknown, "b").rows["alerts"][0][3].text == "unknown"


def test_a_recovery_plan_is_said_with_its_share_and_what_comes_next() -> None:
    """Due or running, first among what is special about the box; nothing about how much is used."""
    day = 86_400 * 10**9
    plan = RecoveryLine("standard", "25 %", "50 %", str(20 * day), str(8 * day))
    running = view(replace(LIVE, recovery=plan), "b").rows["badges"]
    assert [(row[1].text, row[2].text) for row in running] == [
        ("Recovery plan standard", "new exposure gets 25 % of its limits; 50 % after 12 d 0 h without a trip")
    ]
    for again in (None, plan):
        (row,) = view(replace(LIVE, recovery=again, recovery_due=True), "b").rows["badges"]
        assert (row[1].text, row[2].text) == ("Recovery plan", words.RECOVERY_DUE)


def test_badges_say_what_weakens_the_box() -> None:
    """Simulated board, no real-time priority, unsealed; none on a real, sealed box."""
    assert [row[1] for row in _texts(view(NORMAL, "b"), "badges")] == [
        "Simulated board",
        "No real-time priority",
        "Unsealed",
    ]
    assert view(LIVE, "b").rows["badges"] == ()
    assert _one(NORMAL, "sealed").text == "unsealed"
    assert _one(LIVE, "sealed").text == "sealed"


def test_feed_without_an_end_shows_no_bar_and_no_time_left() -> None:
    """A live feed has no total; an unknown rest is not zero."""
    assert _one(LIVE, "feed-bar").attrs["hidden"] == ""
    assert _one(LIVE, "feed-percent").attrs["hidden"] == ""
    assert _one(LIVE, "feed-done").text == "8,123,456"
    assert _one(LIVE, "feed-left").text == "–"
    running = replace(NORMAL, progress=replace(NORMAL.progress, eta_s=-1))
    assert _one(running, "feed-left").text == "unknown"
    assert _one(NORMAL, "feed-percent").text == "62 %"
    too_far = replace(NORMAL, progress=replace(NORMAL.progress, done=20_000))
    assert _one(too_far, "feed-percent").text == "100 %"


def test_reasons_are_sorted_by_count_and_zeros_left_out() -> None:
    """Most frequent first; equal counts by name, so that rows do not jump."""
    status = replace(NORMAL, verdicts=Verdicts(1, {"HOLD": 2, "TRIPPED": 0, "DRAWDOWN": 2, "NO_LIMIT": 5}))
    shown = view(status, "b")
    assert [row[1] for row in _texts(shown, "reasons")] == ["NO_LIMIT", "DRAWDOWN", "HOLD"]
    assert shown.one["denied"].text == "9"
    assert shown.rows["reasons"][0][4].attrs == {"width": "56%"}


def test_latency_has_a_row_above_all_bounds() -> None:
    """The slowest verdicts are the ones that matter."""
    rows = _texts(view(NORMAL, "b"), "latency")
    assert rows[-1][1] == "> 100 µs"
    assert rows[-1][3:] == ["1", "< 0.1 %"]
    empty = replace(NORMAL, gate=Histogram((), (), 0, 0))
    assert _one(empty, "gate-p99").text == "–"
    assert _one(empty, "latency-none").attrs == {"hidden": None}


def test_fast_buckets_nobody_reached_are_left_out() -> None:
    """Slow ones stay, because an empty one is good news."""
    rows = _texts(view(replace(NORMAL, gate=Histogram((1, 2, 5, 9), (0, 0, 7, 0, 0), 5, 5)), "b"), "latency")
    assert [row[1] for row in rows] == ["≤ 5 µs", "≤ 9 µs", "> 9 µs"]


def test_equal_limits_share_a_row_and_name_every_scope() -> None:
    """Nothing is lost: each limit of the status is in exactly one row."""
    rows = _texts(view(NORMAL, "b"), "limits")
    assert rows[4][1:] == ["price collar", "5 %", "SPX, NDX, WTI"]
    shown = [(scope, name, value) for _, name, value, within in rows for scope in str(within).split(", ")]
    assert sorted(shown) == sorted((line.scope, line.name, line.value) for line in NORMAL.limits)


def test_data_counts_are_one_row_for_each_instrument() -> None:
    """Zeros within it are left out; a key of its own shows its zero."""
    rows = [row[1:] for row in _texts(view(NORMAL, "b"), "data")]
    assert rows == [
        ["SPX", "3,144 received, 3,144 accepted"],
        ["NDX", "3,144 received, 3,143 accepted, 1 suspected"],
        ["WTI", "3,124 received, 3,122 accepted, 2 suspected, 2 confirmed"],
        ["unknown", "0"],
    ]
    idle = replace(NORMAL, data_counts={"SPX.received": 0, "BTC.USDT.gaps": 3})
    assert [row[1:] for row in _texts(view(idle, "b"), "data")] == [
        ["SPX", "nothing"],
        ["BTC.USDT", "3 gaps"],
    ]


def test_audit_shows_how_far_signature_and_witness_are_behind() -> None:
    """Without a witness there is no figure that could be mistaken for one."""
    shown = view(NORMAL, "b").one
    assert shown["audit-signed-note"].text == "25 behind the log"
    assert shown["audit-witness"].text == "by witness.example/tlog, 137 behind"
    assert shown["audit-root"] == Cell("9f2b61c0a7…1e0f9a8b", {"title": NORMAL.audit.root})
    assert shown["audit-alarm"].attrs == {"hidden": ""}
    alone = view(LIVE, "b").one
    assert alone["audit-witnessed"].text == "–"
    assert alone["audit-witness"].text == "no witness is configured"
    assert alone["audit-alarm"] == Cell("upstream shows another history from 61,200", {"hidden": None})


def test_long_lists_are_cut_and_say_so() -> None:
    """60 rows pass, the 61st is counted and left to /status.json."""

    def limits(number: int) -> Status:
        return replace(NORMAL, limits=tuple(LimitLine("s", f"n{at}", "1") for at in range(number)))

    assert view(limits(MAX_ROWS), "b").one["limits-more"].attrs == {"hidden": ""}
    shown = view(limits(MAX_ROWS + 1), "b")
    assert len(shown.rows["limits"]) == MAX_ROWS
    assert shown.one["limits-more"] == Cell("and 1 more in /status.json", {"hidden": None})


def test_states_this_version_does_not_know_are_unknown_not_ok() -> None:
    """Lamp, part and strategy."""
    odd = replace(
        NORMAL,
        lamps=(replace(NORMAL.lamps[0], pattern="morse"),),
        parts=(replace(NORMAL.parts[0], state="fine"),),
        strategies=(replace(NORMAL.strategies[0], state="zombie"),),
    )
    shown = view(odd, "b")
    assert shown.rows["lamps"][0][0].attrs["data-pattern"] == "unknown"
    assert shown.rows["parts"][0][0].attrs == {"data-state": "unknown"}
    assert shown.rows["strategies"][0][0].attrs == {"data-state": "unknown"}


def test_an_event_is_small() -> None:
    """Four a second to sixteen readers: a frame of the fullest sample stays below 10 kB."""
    for status in (NORMAL, PAUSED, EMERGENCY):
        assert len(msgspec.json.encode(view(status, "b"))) < 10_000
