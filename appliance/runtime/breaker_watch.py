"""What a breaker's change means to people: entry, log line, hold. Nothing here decides about an order.

The gate reads the breakers themselves. A listener that raises is reported and changes nothing: the breaker
had moved before anybody was told, and the others are told all the same (CB-07). The hold is made from the
level at every round of the safety loop, not from the change, so a lost one costs nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from appliance.domain.breaker import BreakerChange, BreakerState, Refusal
from appliance.domain.mode import HoldCause
from appliance.domain.status import BreakerLine, Part
from appliance.ports import Clock, Scribe
from appliance.risk.breakers import Breakers
from appliance.safety.holds import Holds, venue_scope

_SHUT = (Refusal.OPEN, Refusal.NEEDED_NOT_CLOSED)
"""Not HALF_OPEN_EXHAUSTED: a hold that comes and goes with every probe would say nothing."""


class BreakerWatch:
    """One per core. listeners: called with every change, in order.  report: told in words what a listener
    raised.  problem: that of the last change, empty if everybody heard of it."""

    def __init__(self, breakers: Breakers, holds: Holds, scribe: Scribe, clock: Clock, venue: str) -> None:
        self._breakers = breakers
        self._holds = holds
        self._scribe = scribe
        self._clock = clock
        self._scope = venue_scope(venue)
        self.listeners: list[Callable[[BreakerChange], None]] = [self._note]
        self.report: Callable[[str], None] = lambda _why: None
        self.problem = ""
        breakers.tell = self.tell

    def tell(self, change: BreakerChange) -> None:
        """Never raises: it runs inside whatever call moved the breaker, an exit's included."""
        self.problem = ""
        for listener in self.listeners:
            try:
                listener(change)
            except Exception as error:  # noqa: BLE001 - whatever a listener does, the call goes on
                self.problem = f"a listener failed: {type(error).__name__}: {error}"
                with contextlib.suppress(Exception):
                    self.report(self.problem)

    def round(self) -> None:
        """Ends cooldowns, and lets a hold stand exactly while new exposure is refused."""
        now_ns = self._clock.mono_ns()
        self._breakers.settle(now_ns)
        cause, scope = HoldCause.BREAKER, self._scope
        if self._breakers.refusal(now_ns) in _SHUT:
            why = self._breakers.describe()
            if self._holds.begin(cause, scope, self._clock.utc_ns(), why):
                self._scribe.note("hold", {"cause": cause, "scope": scope, "detail": why})
        elif self._holds.end(cause, scope) is not None:
            self._scribe.note("hold_end", {"cause": cause, "scope": scope})

    def part(self) -> Part:
        """For the page. Half open is no fault: calls pass, and the next ones decide."""
        impaired = [each for each in self._breakers if each.state is not BreakerState.CLOSED]
        told = [f"{each.component} {each.state}: {each.why}" for each in impaired]
        told += [self.problem] if self.problem else []
        is_open = any(each.state is BreakerState.OPEN for each in impaired)
        state = "degraded" if is_open or self.problem else "ok"
        return Part("breakers", state, "; ".join(told) or "all closed")

    def lines(self) -> tuple[BreakerLine, ...]:
        """Counters for /metrics, every component."""
        return tuple(
            BreakerLine(
                name=each.component,
                state=each.state,
                succeeded=each.successes,
                failed=each.failures,
                turned_away=each.refused,
                passed=each.passed,
                unknown=each.abandoned + each.hung,
                openings=each.openings,
            )
            for each in self._breakers
        )

    def _note(self, change: BreakerChange) -> None:
        data = {"component": change.component, "from": change.before, "to": change.after, "why": change.why}
        self._scribe.note("breaker", data)
