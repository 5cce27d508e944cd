"""Switches that make the paper venue behave as venues do on a bad day. For tests and drills; off by default.

    REJECT             the next order is refused
    FILL_AFTER_CANCEL  the next cancel is confirmed, then a fill of `qty` is reported
    DELAY              the request is taken only with the next market event (in-process) or after `delay_ms`
    DROP_REPLY         the request is taken, its reply is lost
    ERROR_BEFORE       the answer is 500, nothing was taken
    ERROR_AFTER        the answer is 500, and it was taken
    HANG               no answer, nothing was taken
    DUPLICATE          the next report of events repeats each of them
    OUT_OF_ORDER       the next report of events is in reverse

A switch is armed for one kind of request (or any) and a number of times, over HTTP with
`POST /v1/ACCOUNT/faults` if the venue was started with faults allowed. What changes the account is in the
order log like any other input, so a venue that restarts rebuilds the same state.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from appliance.domain.order import VenueEvent


class FaultKind(StrEnum):
    """What goes wrong."""

    REJECT = "REJECT"
    FILL_AFTER_CANCEL = "FILL_AFTER_CANCEL"
    DELAY = "DELAY"
    DROP_REPLY = "DROP_REPLY"
    ERROR_BEFORE = "ERROR_BEFORE"
    ERROR_AFTER = "ERROR_AFTER"
    HANG = "HANG"
    DUPLICATE = "DUPLICATE"
    OUT_OF_ORDER = "OUT_OF_ORDER"


REPORTS = frozenset({FaultKind.DUPLICATE, FaultKind.OUT_OF_ORDER})
ENGINE = {"submit": FaultKind.REJECT, "cancel": FaultKind.FILL_AFTER_CANCEL}


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """on: submit, list, cancel, amend, replace, or "" for any.  times: how often, then it is spent."""

    kind: FaultKind
    on: str = ""
    times: int = 1
    qty: int = 0
    delay_ms: int = 0


class Faults:
    """The armed switches, first armed first used."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """From the next request that fits on."""
        self._armed += [fault] * fault.times

    def next(self, on: str) -> Fault | None:
        """The switch for a request, spent by this call."""
        for index, fault in enumerate(self._armed):
            fits = fault.on in ("", on) and fault.kind not in REPORTS
            if fits and (fault.kind not in ENGINE.values() or ENGINE.get(on) is fault.kind):
                return self._armed.pop(index)
        return None

    def reported(self, events: Sequence[VenueEvent]) -> list[VenueEvent]:
        """The report as it leaves; a switch for reports is spent only on one that has something to tell."""
        told = list(events)
        for index, fault in enumerate(self._armed):
            if told and fault.kind in REPORTS:
                del self._armed[index]
                return told[::-1] if fault.kind is FaultKind.OUT_OF_ORDER else [*told, *told]
        return told
