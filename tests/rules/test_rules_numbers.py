"""Tables that stand twice, because guard and core share no code, must be the same table."""

from __future__ import annotations

import tomllib

from appliance import __version__
from appliance.domain.alert import MEANING as MEANINGS
from appliance.domain.alert import AlertKind
from appliance.domain.exit_codes import NO_RESTART, ExitCode
from appliance.domain.mode import MODE_AFTER_TRIP, Mode, TripReason
from appliance.domain.reasons import MEANING, Reason
from appliance.safety import alert_facts, alerts
from hardware import guard, main, pages
from tests.rules.source import ROOT


def test_guard_and_core_count_modes_and_reasons_alike() -> None:
    """The numbers travel through shared memory."""
    assert {mode.name: mode.value for mode in pages.Mode} == {mode.name: mode.value for mode in Mode}
    assert {reason.name: reason.value for reason in pages.Reason} == {r.name: r.value for r in TripReason}


def test_guard_and_core_agree_what_is_an_emergency() -> None:
    """SAFETY 1, the literal table; tamper is by configuration on both sides."""
    emergency = {reason.name for reason, mode in MODE_AFTER_TRIP.items() if mode is Mode.EMERGENCY}
    assert {reason.name for reason in guard.EMERGENCY_REASONS} == emergency
    assert set(MODE_AFTER_TRIP) | {TripReason.NONE} == set(TripReason)


def test_the_alerter_reads_the_guards_words_as_they_are_meant() -> None:
    """Level bits travel as numbers; every trip reason is an alert of its own name."""
    levels = pages.LevelBit
    assert (alert_facts.TAMPER_OPEN, alert_facts.LINES_UNKNOWN) == (levels.TAMPER_OPEN, levels.UNKNOWN)
    reasons = {reason.name for reason in TripReason} - {"NONE"}
    assert {kind.name for kind in alerts.TRIP_KINDS.values()} == reasons
    assert all(kind.name == kind.value for kind in AlertKind)
    assert set(alerts.RULES) == set(MEANINGS) == set(AlertKind)


def test_exit_codes_of_the_guard_are_everybodys() -> None:
    """CONVENTIONS."""
    assert (main.EXIT_BOARD, main.EXIT_BUSY) == (ExitCode.UNAVAILABLE, ExitCode.BUSY)
    assert (main.EXIT_PERMISSION, main.EXIT_CONFIG) == (ExitCode.NO_PERMISSION, ExitCode.CONFIG)
    assert {int(code) for code in NO_RESTART} == {2, 75, 77, 78}


def test_every_reason_code_has_its_sentence() -> None:
    """The README table is made of them."""
    assert set(MEANING) == set(Reason)
    assert all(reason.name == reason.value for reason in Reason)


def test_the_version_has_one_place() -> None:
    """appliance/__init__.py; the changelog names it first, pyproject takes it from there."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert config["tool"]["hatch"]["version"]["path"] == "appliance/__init__.py"
    changelog = (ROOT / "appliance" / "CHANGELOG.md").read_text()
    first = next(line for line in changelog.splitlines() if line.startswith("## ["))
    assert first.startswith(f"## [{__version__}]")
