"""The page has a sentence for everything the domain can say."""

from __future__ import annotations

from appliance.domain.alert import AlertKind, text
from appliance.domain.mode import HoldCause, Mode, TripReason
from appliance.domain.reasons import Reason
from appliance.safety.preconditions import Preconditions
from appliance.web import words
from hardware.lights import Pattern


def test_every_mode_trip_and_hold_has_its_sentence() -> None:
    """A new reason without words would show as a bare code on the day it matters."""
    assert set(words.MODE) == {mode.name for mode in Mode}
    assert set(words.TRIP) == {reason.name for reason in TripReason} - {"NONE"}
    assert set(words.HOLD) == {cause.value for cause in HoldCause}
    assert all(words.reason(reason.value) for reason in Reason)


def test_every_precondition_of_arming_has_its_words() -> None:
    """`Status.missing` carries the names of the controller's preconditions."""
    assert set(words.MISSING) == set(Preconditions.__struct_fields__)


def test_page_and_alert_say_the_same_of_a_trip() -> None:
    """One sentence per reason, wherever it is read."""
    assert {name: text(AlertKind[name]) for name in words.TRIP} == words.TRIP


def test_patterns_are_those_of_the_guard() -> None:
    """The page describes exactly the patterns the lamps can show."""
    assert set(words.PATTERN) == {pattern.name.lower() for pattern in Pattern}


def test_sentences_are_sentences() -> None:
    """One sentence or two, starting large and ending with a full stop."""
    for sentence in [*words.MODE.values(), *words.TRIP.values(), *words.HOLD.values(), words.HELD]:
        assert sentence[0].isupper(), sentence
        assert sentence.endswith("."), sentence


def test_an_unknown_reason_code_has_no_invented_meaning() -> None:
    """A newer core may send a code this page does not know."""
    assert words.reason("FROM_THE_FUTURE") == ""
