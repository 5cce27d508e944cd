"""How the core writes to its log: both clocks are added, numbering and durability are the client's."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from appliance.domain.order import Order
from appliance.ports import AuditLog, Entry, Ticket


class CoreScribe:
    """Implements ports.Scribe. Entries carry the machine's own UTC, also in a replay: the log tells when the
    appliance did something; the market's time is part of what it did."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def note(
        self,
        kind: str,
        data: Mapping[str, object],
        *,
        causes: Sequence[int] = (),
        orders: Sequence[Order] = (),
    ) -> Ticket:
        """One entry and the order rows of its transaction."""
        entry = Entry(
            kind=kind,
            utc_ns=time.time_ns(),
            mono_ns=time.monotonic_ns(),
            data=data,
            causes=tuple(causes),
        )
        return self._log.append((entry,), orders)
