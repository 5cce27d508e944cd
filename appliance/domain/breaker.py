"""Circuit breakers as everybody speaks of them: what has one, its states, why a call was refused. R0.

The machine is in `risk.breaker`. INFRA_001, CIRCUIT_001, PATTERN_001 and the CWTS struct settled into one.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from appliance.domain.errors import TransportError


class Component(StrEnum):
    """What the core calls and what may stop answering. The audit log has a trip of its own instead.

    ORDER_ENTRY: orders and cancels at the venue.  LOOK_UPS: open orders, fates and the account there.
    MARKET: the feed's market steps.  MEMORY: questions for precedents.  UPSTREAM: the witness.
    """

    ORDER_ENTRY = "order_entry"
    LOOK_UPS = "look_ups"
    MARKET = "market"
    MEMORY = "memory"
    UPSTREAM = "upstream"


class BreakerState(StrEnum):
    """CLOSED: calls pass.  OPEN: they are refused.  HALF_OPEN: a few pass as probes (CB-15)."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Refusal(StrEnum):
    """Why a breaker refuses a call (CB-02).

    MinCallsNotMet of the specification is none: too few calls keep a breaker closed (P35). Its GlobalOpen is
    NEEDED_NOT_CLOSED: what this component needs is not proven to work.
    """

    OPEN = "OPEN"
    HALF_OPEN_EXHAUSTED = "HALF_OPEN_EXHAUSTED"
    NEEDED_NOT_CLOSED = "NEEDED_NOT_CLOSED"


class BreakerChange(Struct, frozen=True):
    """One change of state. why: a sentence's part, with the numbers that decided."""

    component: Component
    before: BreakerState
    after: BreakerState
    why: str


class BreakerOpenError(TransportError):
    """The breaker refused: nothing was sent, so no fate is unknown."""

    default_do = "nothing: it is tried again when the cooldown is over"

    def __init__(self, component: Component, refusal: Refusal, why: str) -> None:
        super().__init__(f"calls of {component} are refused", f"{refusal}: {why}")
        self.component = component
        self.refusal = refusal
