"""Tables that stand twice, because guard and core share no code, must be the same table."""

from __future__ import annotations

import hashlib
import tomllib

from appliance import __version__
from appliance.domain.alert import MEANING as MEANINGS
from appliance.domain.alert import AlertKind
from appliance.domain.exit_codes import NO_RESTART, ExitCode
from appliance.domain.mode import MODE_AFTER_TRIP, Mode, TripReason
from appliance.domain.reasons import MEANING, Reason
from appliance.runtime import cmd_operator, guard_link, operator_socket, tables
from appliance.runtime.own_latch import RECORDS
from appliance.safety import alert_facts, alerts, peak_reset, source_start
from appliance.safety.signed_act import WITHIN_NS
from hardware import guard, latch, main, pages
from hardware import operator_socket as guard_socket
from hardware.operator_command import PURPOSES, SUBJECT, Box, Moment, OperatorDesk, fingerprint
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


def test_guard_and_core_remove_the_same_records() -> None:
    """SAFETY 5: absence of these files is the trip, whoever removes them."""
    assert (latch.RECORD, f"{latch.RECORD}.new") == RECORDS


def test_a_changed_page_has_a_new_layout_number() -> None:
    """Guard and core of different releases may meet over an update: a reader that knows another table must
    take the page for absent. Whoever changes a word changes the number, and then this line."""
    words = "".join(f"{word.name}={word.value};" for word in pages.GuardWord)
    assert (pages.GUARD_LAYOUT.to_bytes(8, "big"), hashlib.sha256(words.encode()).hexdigest()[:16]) == (
        b"ILKGRD03",
        "046b93db724e4147",
    )
    words = "".join(f"{word.name}={word.value};" for word in pages.CoreWord)
    assert (pages.CORE_LAYOUT.to_bytes(8, "big"), hashlib.sha256(words.encode()).hexdigest()[:16]) == (
        b"ILKCOR02",
        "346f669614ecc088",
    )


def test_no_two_words_share_a_place() -> None:
    """An IntEnum takes a second name for one number without a word."""
    for table in (pages.GuardWord, pages.CoreWord):
        assert sorted(table.__members__.values()) == list(range(len(table.__members__)))
        assert max(table) * 8 < pages.PAGE_SIZE


def test_console_and_guard_agree_on_the_protocol() -> None:
    """They share no code; the socket's name, the challenge and the names of outcomes stand twice."""
    assert operator_socket.SOCKET == guard_socket.SOCKET
    desk = OperatorDesk(bytes(32), Box("cid-1", "b" * 32, 3), lambda: Moment(4, 5), bytes)
    assert set(cmd_operator._ABOUT) == PURPOSES
    console = operator_socket
    assert {console.ARM_STEP, console.RESET_PEAK, console.START_SOURCE} == PURPOSES
    for purpose in PURPOSES:
        for subject in ("", "trend-spx"):
            found = cmd_operator._CHALLENGE.fullmatch(desk.challenge(0, purpose, subject))
            assert found is not None
            assert (found[1], found[2] or "") == (purpose, subject)
    assert pages.ArmOutcome.PEAK_RESET.name == peak_reset.OUTCOME
    assert pages.ArmOutcome.SOURCE_START.name == source_start.OUTCOME
    assert guard_link.name_word("trend-spx") == fingerprint(b"trend-spx")
    assert cmd_operator._NAME.pattern == SUBJECT == tables._SOURCE_NAME.pattern
    assert cmd_operator.DECIDED_WITHIN_S * 1e9 > WITHIN_NS
    assert set(cmd_operator._OUTCOMES) == set(pages.ArmOutcome.__members__) - {"NONE"}
    assert not set(pages.ArmOutcome.__members__) & set(pages.Refusal.__members__) - {"NONE"}


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
