"""How the core writes to its log: both clocks are added, numbering and durability are the client's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from appliance.domain.order import Order
from appliance.domain.status import Decision
from appliance.ports import AuditLog, Entry, Ticket

SHOWN = 6
"""Verdicts of each kind that are kept for the page."""

Kept = deque[tuple[int, Entry]]


class CoreScribe:
    """Implements ports.Scribe. Entries carry the machine's own UTC, also in a replay: the log tells when the
    appliance did something; the market's time is part of what it did."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._verdicts: tuple[Kept, Kept] = (deque(maxlen=SHOWN), deque(maxlen=SHOWN))  # approved, denied

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
        ticket = self._log.append((entry,), orders)
        if kind == "verdict":
            self._verdicts[data.get("verdict") == "denied"].append((ticket.index, entry))
        return ticket

    def decisions(self) -> tuple[Decision, ...]:
        """The latest verdicts, newest first: so many of each kind that no flood of denials hides all."""
        latest = sorted((each for kept in self._verdicts for each in kept), key=_index, reverse=True)
        return tuple(_decision(index, entry) for index, entry in latest)


def _index(verdict: tuple[int, Entry]) -> int:
    return verdict[0]


def _decision(index: int, entry: Entry) -> Decision:
    """A list of orders has its source in each of them."""
    data = entry.data
    orders = data.get("orders")
    first = orders[0] if isinstance(orders, list) and orders else data
    denied = data.get("verdict") == "denied"
    reason = str(data.get("reason", "")) if denied else ""
    return Decision(index, str(entry.utc_ns), str(first.get("source", "")), str(data.get("verdict")), reason)
