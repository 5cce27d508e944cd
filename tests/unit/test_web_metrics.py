"""/metrics as Prometheus parses it, and /healthz as a monitor reads it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from appliance.domain.alert import AlertKind, severity
from appliance.domain.mode import HoldCause, Mode, TripReason
from appliance.domain.reasons import Reason
from appliance.domain.status import Disk, Histogram, Part, Status
from appliance.web.health import health
from appliance.web.metrics import buckets, exposition
from appliance.web.words import DISK_LEVELS, RESERVE_STATES
from tests.pictures.web_samples import EMERGENCY, HELD, LIVE, NORMAL, PAUSED, SITUATIONS, TRIPPED_PAUSED

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _read(status: Status, accept: str = "") -> Series:
    body, _ = exposition(status, accept)
    parse = parse_openmetrics if accept else parse_text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


def _value(series: Series, name: str, **labels: str) -> float:
    return series[name, tuple(sorted(labels.items()))]


@pytest.mark.parametrize("name", SITUATIONS)
def test_both_formats_say_the_same(name: str) -> None:
    """A scraper gets the same series whichever format it asks for."""
    assert _read(SITUATIONS[name]) == _read(SITUATIONS[name], "application/openmetrics-text; version=1.0.0")


def test_content_type_names_the_format() -> None:
    """Prometheus 3 refuses a scrape without one."""
    assert exposition(NORMAL)[1] == "text/plain; version=0.0.4; charset=utf-8"
    assert exposition(NORMAL, "application/openmetrics-text")[1].startswith("application/openmetrics-text;")


@pytest.mark.parametrize("name", SITUATIONS)
def test_exactly_one_mode_is_one(name: str) -> None:
    """All four series are always there."""
    series = _read(SITUATIONS[name])
    values = {mode.name: _value(series, "interlock_mode", mode=mode.name) for mode in Mode}
    assert {mode for mode, value in values.items() if value == 1} == {SITUATIONS[name].mode}
    assert sum(values.values()) == 1


def test_a_trip_is_counted_by_its_reason() -> None:
    """Series of the other reasons stay at zero, so that alerts on them exist."""
    series = _read(EMERGENCY)
    assert _value(series, "interlock_tripped") == 1
    assert _value(series, "interlock_trip_stored") == 1
    assert _value(_read(TRIPPED_PAUSED), "interlock_trip_stored") == 0
    for reason in TripReason:
        if reason is not TripReason.NONE:
            expected = float(reason is TripReason.KILL_BUTTON)
            assert _value(series, "interlock_trip", reason=reason.name) == expected
    quiet = _read(NORMAL)
    assert _value(quiet, "interlock_tripped") == 0
    assert sum(value for (name, _), value in quiet.items() if name == "interlock_trip") == 0


def test_holds_and_verdicts_exist_before_they_happen() -> None:
    """Every cause and reason code from the first scrape on."""
    series = _read(PAUSED)
    assert _value(series, "interlock_holds", cause="RECONCILING") == 1
    for cause in HoldCause:
        assert ("interlock_holds", (("cause", cause.value),)) in series
    for reason in Reason:
        assert _value(series, "interlock_verdicts_denied_total", reason=reason.value) == 0
    busy = _read(NORMAL)
    assert _value(busy, "interlock_verdicts_approved_total") == 18_204
    assert _value(busy, "interlock_verdicts_denied_total", reason="POSITION_CAP") == 1_932


def test_every_alert_has_its_series_before_it_comes() -> None:
    """Counted by kind and severity, standing by kind; nothing but known kinds."""
    quiet, held = _read(NORMAL), _read(HELD)
    for kind in AlertKind:
        labels = {"kind": kind.value, "severity": severity(kind).value}
        assert _value(quiet, "interlock_alerts_total", **labels) == 0
        assert _value(quiet, "interlock_alert_standing", kind=kind.value) == 0
    assert _value(held, "interlock_alerts_total", kind="VENUE_DOWN", severity="warning") == 2
    gauge = "interlock_alert_standing"
    standing = {labels for (name, labels), value in held.items() if name == gauge and value}
    assert standing == {(("kind", "VENUE_DOWN"),), (("kind", "DEGRADED"),)}
    assert _value(held, "interlock_alert_deliveries_total", outcome="delivered") == 2
    assert _value(held, "interlock_alert_deliveries_total", outcome="failed") == 1
    assert _value(held, "interlock_alerts_waiting") == 1


def test_latency_buckets_are_cumulative_seconds() -> None:
    """The status counts each bucket alone; Prometheus wants all up to a bound."""
    assert buckets(Histogram((5, 10, 1_000_000), (3, 2, 1, 4), 5, 10)) == [
        ("5e-06", 3),
        ("1e-05", 5),
        ("1.0", 6),
        ("+Inf", 10),
    ]
    series = _read(NORMAL)
    assert _value(series, "interlock_gate_latency_seconds_bucket", le="4e-06") == 12_801
    assert _value(series, "interlock_gate_latency_seconds_bucket", le="+Inf") == sum(NORMAL.gate.counts)


def test_parts_audit_and_build() -> None:
    """What a dashboard of one box shows."""
    series = _read(TRIPPED_PAUSED)
    assert _value(series, "interlock_part_state", part="guard", state="down") == 1
    assert _value(series, "interlock_part_state", part="guard", state="ok") == 0
    assert _value(series, "interlock_audit_entries") == 61_337
    assert _value(series, "interlock_audit_signed_entries") == 61_312
    assert _value(series, "interlock_audit_witnessed_entries") == 61_200
    assert _value(series, "interlock_audit_alarm") == 0
    assert _value(_read(LIVE), "interlock_audit_alarm") == 1
    assert _value(series, "interlock_build_info", version="0.1.0", commit="5d1c9e2", box="attic-01") == 1
    assert _value(series, "interlock_uptime_seconds") == NORMAL.uptime_s
    assert _value(series, "interlock_simulated_board") == 1
    assert _value(series, "interlock_realtime") == 0
    assert _value(series, "interlock_data_count", kind="SPX.received") == 3_144


@pytest.mark.safety("S8.7")
def test_the_disk_is_measured_in_bytes_and_states() -> None:
    """Where nobody measures the sizes are -1, never 0: an empty disk is something else."""
    disk = Disk("alert", 81, 3_000, 760, 4_000, "in use", 0)
    series = _read(replace(NORMAL, disk=disk))
    sizes = {name: _value(series, f"interlock_disk_{name}_bytes") for name in ("taken", "left", "quota")}
    assert sizes == {"taken": 3_000, "left": 760, "quota": 4_000}
    assert _value(series, "interlock_disk_reserve_bytes") == 0
    levels = {level: _value(series, "interlock_disk_level", level=level) for level in DISK_LEVELS}
    assert levels == {"ok": 0, "alert": 1, "hold": 0}
    states = {state: _value(series, "interlock_disk_reserve", state=state) for state in RESERVE_STATES}
    assert states == {"in place": 0, "missing": 0, "in use": 1}
    nobody = _read(replace(NORMAL, disk=None))
    assert _value(nobody, "interlock_disk_left_bytes") == -1
    assert _value(nobody, "interlock_disk_level", level="ok") == 0


@pytest.mark.safety("S12.4")
def test_no_series_tells_a_position_or_a_profit() -> None:
    """Names and labels only speak of safety, gate, parts, log and feed (SAFETY 12)."""
    names = {name for name, _ in _read(LIVE)}
    assert {name.split("_")[1] for name in names} == {
        "mode", "tripped", "trip", "armed", "holds", "verdicts", "gate", "part", "build", "uptime",
        "simulated", "realtime", "sealed", "audit", "feed", "strategies", "data", "alert", "alerts", "disk",
        "breaker", "fee", "execution",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("states", "code", "word"),
    [
        ((), 200, "ok"),
        (("ok", "ok"), 200, "ok"),
        (("ok", "degraded"), 200, "degraded"),
        (("degraded", "down"), 503, "down"),
        (("ok", "fine"), 503, "down"),
        (("",), 503, "down"),
    ],
)
def test_health_is_that_of_the_worst_part(states: tuple[str, ...], code: int, word: str) -> None:
    """Unknown is not healthy; a box without parts answers, and that is all it promised."""
    parts = tuple(Part(f"part{at}", state, "") for at, state in enumerate(states))
    answer, body = health(replace(NORMAL, parts=parts))
    assert (answer, body.status) == (code, word)


def test_a_trip_is_not_ill_health() -> None:
    """The button was pressed and the box did what it is for: a restart by a monitor would be wrong."""
    code, body = health(replace(EMERGENCY, parts=NORMAL.parts[:1]))
    assert (code, body.status, body.mode, body.tripped) == (200, "ok", "EMERGENCY", "KILL_BUTTON")
    assert health(PAUSED)[1].holds == 2
