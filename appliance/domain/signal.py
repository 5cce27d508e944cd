"""What a strategy concludes from observations (SCH-04, SCH-05); no order yet."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.money import Price


class Direction(StrEnum):
    """LONG opens or keeps a long position; CLOSE leaves whatever the strategy holds."""

    LONG = "LONG"
    CLOSE = "CLOSE"


class Signal(Struct, frozen=True, kw_only=True):
    """A change of mind at `event_ns` (UTC, the time the deciding observation was known).

    stop_price: where the strategy admits to be wrong; None only for CLOSE.
    reason: one sentence for the log, made of the numbers that decided.
    """

    strategy: SourceId
    instrument: InstrumentId
    event_ns: int
    direction: Direction
    reference_price: Price
    stop_price: Price | None
    reason: str
