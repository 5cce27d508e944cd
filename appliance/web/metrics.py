"""/metrics: the status as Prometheus sees it (OBV-01). No position, no P&L, no use of a limit (SAFETY 12).

Series exist before their first event (every mode, trip reason, hold cause and reason code, at 0), because an
alert on a series that is not there never fires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from appliance.domain.alert import MEANING
from appliance.domain.breaker import BreakerState, Component
from appliance.domain.mode import HoldCause, Mode, TripReason
from appliance.domain.reasons import Reason
from appliance.domain.status import BreakerLine, Buckets, Disk, FeeLine, Histogram, Status
from appliance.web.text import clean
from appliance.web.words import DISK_LEVELS, FEED, PART_STATES, RESERVE_STATES, STRATEGY_STATES

_Counted = TypeVar("_Counted", CounterMetricFamily, GaugeMetricFamily)

_NO_BREAKER = BreakerLine(
    name="", state="CLOSED", succeeded=0, failed=0, turned_away=0, passed=0, unknown=0, openings=0
)
TRIPS = [reason.name for reason in TripReason if reason is not TripReason.NONE]


def exposition(status: Status, accept: str = "") -> tuple[bytes, str]:
    """(body, content type): OpenMetrics if `accept` asks for it, else the text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(status))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class StatusCollector(Collector):
    """The families of one status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """See `Collector`; always the same families in the same order."""
        yield from _safety(self._status)
        yield from _alerts(self._status)
        yield from _gate(self._status)
        yield from _execution(self._status)
        yield from _parts(self._status)
        yield from _breakers(self._status)
        yield from _fees(self._status.fees)
        yield from _audit(self._status)
        yield from _disk(self._status)
        yield from _feed(self._status)


def _one_of(name: str, text: str, label: str, known: Iterable[str], actual: str) -> GaugeMetricFamily:
    """1 for the actual value and 0 for every other known one; an unknown actual value is shown too."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value in dict.fromkeys([*known, *([clean(actual)] if actual else [])]):
        family.add_metric([value], value == clean(actual))
    return family


def _counts(family: _Counted, known: Iterable[str], counted: Mapping[str, int]) -> _Counted:
    totals = dict.fromkeys(known, 0)
    for name, number in counted.items():
        totals[clean(name)] = totals.get(clean(name), 0) + number
    for name, number in totals.items():
        family.add_metric([name], number)
    return family


def _flag(name: str, text: str, value: bool) -> Metric:
    return GaugeMetricFamily(name, text, value=int(value))


def _safety(status: Status) -> Iterator[Metric]:
    trip = status.trip
    yield _one_of("interlock_mode", "1 for the mode the box is in.", "mode", Mode.__members__, status.mode)
    yield _flag("interlock_tripped", "1 while a trip stands.", trip is not None)
    reason = trip.reason if trip else ""
    yield _one_of("interlock_trip", "1 for the reason of the standing trip.", "reason", TRIPS, reason)
    stored = trip is not None and trip.stored
    yield _flag("interlock_trip_stored", "1 once the trip survives a power cut.", stored)
    yield _flag("interlock_armed", "1 while the box is armed.", status.armed)
    holds = GaugeMetricFamily("interlock_holds", "Standing holds by cause.", labels=["cause"])
    yield _counts(holds, [cause.value for cause in HoldCause], Counter(hold.cause for hold in status.holds))


def _alerts(status: Status) -> Iterator[Metric]:
    """By kind, every kind from the first scrape on; counts since the alerter's start."""
    told = CounterMetricFamily(
        "interlock_alerts", "Alerts told: that something began or came again.", labels=["kind", "severity"]
    )
    standing = GaugeMetricFamily("interlock_alert_standing", "1 while an alert stands.", labels=["kind"])
    stands = {clean(line.kind) for line in status.alerts}
    for kind, (severity, _) in MEANING.items():
        told.add_metric([kind, severity], status.alert_counts.get(kind, 0))
        standing.add_metric([kind], kind in stands)
    yield told
    yield standing
    deliveries = CounterMetricFamily(
        "interlock_alert_deliveries", "Runs of the alert hook by outcome.", labels=["outcome"]
    )
    for outcome in ("delivered", "failed", "given_up"):
        deliveries.add_metric([outcome], status.alert_hook.get(outcome, 0))
    yield deliveries
    waiting = status.alert_hook.get("waiting", 0)
    yield GaugeMetricFamily("interlock_alerts_waiting", "Alerts not delivered yet.", value=waiting)


def _gate(status: Status) -> Iterator[Metric]:
    approved = status.verdicts.approved
    yield CounterMetricFamily("interlock_verdicts_approved", "Intents the gate approved.", value=approved)
    denied = CounterMetricFamily("interlock_verdicts_denied", "Intents the gate denied.", labels=["reason"])
    yield _counts(denied, [reason.value for reason in Reason], status.verdicts.denied)
    yield HistogramMetricFamily(
        "interlock_gate_latency_seconds",
        "Time of one verdict of the gate.",
        buckets=buckets(status.gate),
        sum_value=None,  # the core counts buckets only, so there is no _sum and no _count
    )


def _execution(status: Status) -> Iterator[Metric]:
    """How wishes were worked: shares, ppm and times. No quantity and no amount, so no position either."""
    told = status.execution
    parents = CounterMetricFamily("interlock_execution_parents", "Wishes that ended.", labels=["ending"])
    yield _counts(parents, [], told.parents)
    yield CounterMetricFamily("interlock_execution_children", "Orders asked for.", value=told.children)
    yield CounterMetricFamily("interlock_execution_retries", "Slices tried again.", value=told.retries)
    for name, text, counted, divisor in (
        ("filled_ratio", "What was filled of what was wanted.", told.filled_percent, 100),
        ("slippage_ppm", "Average price against arrival; positive is worse.", told.slippage_ppm, 1),
        ("fill_seconds", "Market time from decision to last fill.", told.fill_ms, 1_000),
    ):
        yield HistogramMetricFamily(
            f"interlock_execution_{name}", text, buckets=cumulative(counted, divisor), sum_value=None
        )


def cumulative(counted: Buckets, divisor: int) -> list[tuple[str, float]]:
    """Cumulative (upper bound in the series' unit, count), ending with +Inf."""
    found: list[tuple[str, float]] = []
    so_far = 0
    for bound, number in zip(counted.bounds, counted.counts, strict=False):
        so_far += number
        found.append((floatToGoString(bound / divisor), so_far))  # type: ignore[no-untyped-call]
    return [*found, ("+Inf", sum(counted.counts))]


def buckets(gate: Histogram) -> list[tuple[str, float]]:
    """Cumulative (upper bound in seconds, count), ending with +Inf."""
    found: list[tuple[str, float]] = []
    so_far = 0
    for bound_us, number in zip(gate.bounds_us, gate.counts, strict=False):
        so_far += number
        found.append((floatToGoString(bound_us / 1e6), so_far))  # type: ignore[no-untyped-call]
    return [*found, ("+Inf", sum(gate.counts))]


def _parts(status: Status) -> Iterator[Metric]:
    family = GaugeMetricFamily("interlock_part_state", "1 for a part's state.", labels=["part", "state"])
    for part in status.parts:
        for state in dict.fromkeys([*PART_STATES, clean(part.state)]):
            family.add_metric([clean(part.name), state], state == clean(part.state))
    yield family
    runs = {"version": clean(status.version), "commit": clean(status.commit), "box": clean(status.box)}
    yield InfoMetricFamily("interlock_build", "What runs.", value=runs)
    yield GaugeMetricFamily("interlock_uptime_seconds", "Time since this start.", value=status.uptime_s)
    yield _flag("interlock_simulated_board", "1 if the board is simulated.", status.simulated_board)
    yield _flag("interlock_realtime", "1 if the guard has real-time priority.", status.realtime)
    yield _flag("interlock_sealed", "1 if the configuration is sealed.", status.sealed)


def _breakers(status: Status) -> Iterator[Metric]:
    """Every component from the first scrape on."""
    state = GaugeMetricFamily(
        "interlock_breaker_state", "1 for a breaker's state.", labels=["component", "state"]
    )
    calls = CounterMetricFamily(
        "interlock_breaker_calls", "Calls by how they ended.", labels=["component", "outcome"]
    )
    openings = CounterMetricFamily("interlock_breaker_openings", "Openings.", labels=["component"])
    passed = CounterMetricFamily(
        "interlock_breaker_exits_passed",
        "Exits, and what they need to know, that passed a breaker which was not closed.",
        labels=["component"],
    )
    lines = {clean(line.name): line for line in status.breakers}
    for name in dict.fromkeys([*(component.value for component in Component), *lines]):
        line = lines.get(name, _NO_BREAKER)
        for each in dict.fromkeys([*(known.value for known in BreakerState), clean(line.state)]):
            state.add_metric([name, each], each == clean(line.state))
        for outcome in ("succeeded", "failed", "turned_away", "unknown"):
            calls.add_metric([name, outcome], getattr(line, outcome))
        openings.add_metric([name], line.openings)
        passed.add_metric([name], line.passed)
    yield from (state, calls, openings, passed)


def _fees(line: FeeLine) -> Iterator[Metric]:
    """Without a schedule the age is infinite: an alert on an age above a limit fires then too."""
    age = float(line.age_s) if line.age_s >= 0 else float("inf")
    yield GaugeMetricFamily("interlock_fee_schedule_age_seconds", "Since it was asked for.", value=age)
    yield _flag("interlock_fee_schedule_usable", "1 while it is young enough for entries.", line.usable)
    yield GaugeMetricFamily("interlock_fee_tier", "Tier in force, from 1; 0 if unknown.", value=line.tier)
    yield CounterMetricFamily(
        "interlock_fee_mismatches", "Fills charged otherwise than computed.", value=line.mismatches
    )
    yield CounterMetricFamily(
        "interlock_fee_unchecked", "Fills whose fee could not be computed.", value=line.unchecked
    )


def _audit(status: Status) -> Iterator[Metric]:
    head = status.audit
    yield GaugeMetricFamily("interlock_audit_entries", "Entries in the audit log.", value=head.size)
    yield GaugeMetricFamily(
        "interlock_audit_signed_entries", "Entries under a checkpoint.", value=head.signed
    )
    yield GaugeMetricFamily("interlock_audit_witnessed_entries", "Entries co-signed.", value=head.witnessed)
    yield _flag("interlock_audit_alarm", "1 while an alarm about the log stands.", bool(head.alarm))


def _disk(status: Status) -> Iterator[Metric]:
    """-1 while nobody has measured; the reserve counts as taken."""
    disk = status.disk or Disk("", -1, -1, -1, -1, "", -1)
    yield _one_of("interlock_disk_level", "1 for the level of the disk.", "level", DISK_LEVELS, disk.level)
    for name, text, value in (
        ("taken", "Taken by the state directory.", disk.taken_bytes),
        ("left", "What it may and can still take.", disk.left_bytes),
        ("quota", "What it may take at most.", disk.quota_bytes),
    ):
        yield GaugeMetricFamily(f"interlock_disk_{name}_bytes", text, value=value)
    yield _one_of(
        "interlock_disk_reserve", "1 for the disk reserve's state.", "state", RESERVE_STATES, disk.reserve
    )
    yield GaugeMetricFamily("interlock_disk_reserve_bytes", "Allocated for exits.", value=disk.reserve_bytes)


def _feed(status: Status) -> Iterator[Metric]:
    feed = status.progress
    yield _one_of("interlock_feed_state", "1 for the state of the feed.", "state", FEED, feed.state)
    yield CounterMetricFamily("interlock_feed_observations", "Observations taken.", value=feed.done)
    strategies = GaugeMetricFamily("interlock_strategies", "Strategies by state.", labels=["state"])
    yield _counts(strategies, STRATEGY_STATES, Counter(line.state for line in status.strategies))
    stored = GaugeMetricFamily("interlock_data_count", "Data by kind.", labels=["kind"])
    yield _counts(stored, [], status.data_counts)
