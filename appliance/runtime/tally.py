"""Counts for the status page: verdicts by reason and the gate's latency. A few list operations per order."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence

from appliance.domain.intent import Intent, ListKind
from appliance.domain.status import Histogram, Verdicts
from appliance.domain.verdict import Approved, ApprovedList, Denied, Verdict
from appliance.orders.desk import Gatekeeper, PaceKeeper

BOUNDS_US = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1_000, 10_000)
_BOUNDS_NS = [bound * 1_000 for bound in BOUNDS_US]


class Tally:
    """Owned by the event loop."""

    def __init__(self) -> None:
        self._approved = 0
        self._denied: dict[str, int] = {}
        self._latency = [0] * (len(BOUNDS_US) + 1)

    def verdict(self, verdict: Verdict) -> None:
        """Counts one answer of the gate."""
        if isinstance(verdict, Approved):
            self._approved += 1
        else:
            self._denied[verdict.reason] = self._denied.get(verdict.reason, 0) + 1

    def took(self, duration_ns: int) -> None:
        """Counts one check's duration."""
        self._latency[bisect_left(_BOUNDS_NS, duration_ns)] += 1

    def verdicts(self) -> Verdicts:
        """Since this start."""
        return Verdicts(self._approved, dict(sorted(self._denied.items())))

    def histogram(self) -> Histogram:
        """Since this start; percentiles are the upper bounds of their buckets."""
        return Histogram(BOUNDS_US, tuple(self._latency), self._percentile(50), self._percentile(99))

    def _percentile(self, percent: int) -> int:
        total, seen = sum(self._latency), 0
        for bound, count in zip(BOUNDS_US, self._latency, strict=False):
            seen += count
            if seen * 100 >= total * percent:
                return bound if total else 0
        return BOUNDS_US[-1]


class TimedGate:
    """The gate, with its duration counted."""

    def __init__(self, gate: Gatekeeper, tally: Tally) -> None:
        self._gate = gate
        self._tally = tally

    def check(self, intent: Intent) -> Verdict:
        """As the gate."""
        started_ns = time.perf_counter_ns()
        verdict = self._gate.check(intent)
        self._tally.took(time.perf_counter_ns() - started_ns)
        return verdict

    @property
    def pace(self) -> PaceKeeper:
        """As the gate's."""
        return self._gate.pace

    def check_list(self, kind: ListKind, intents: Sequence[Intent]) -> ApprovedList | Denied:
        """As the gate; a list's duration is not an order's, so it is not counted."""
        return self._gate.check_list(kind, intents)
