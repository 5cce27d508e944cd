"""What a breaker adds to a call: part of `python -m tests.bench gate`. Budget: 1 µs p99 while closed (CB-01).

The floor in the same run is an empty `with` block and two readings of the clock: what any guard that
measures time would cost without deciding anything.
"""

from __future__ import annotations

import time

from appliance.domain.breaker import Component
from appliance.risk.breakers import Breakers
from tests.bench.measure import Case, case_of, repeat, with_peer
from tests.kit import breaker_settings


class _Empty:
    __slots__ = ("began", "ended")

    def __enter__(self) -> None:
        self.began = time.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        self.ended = time.monotonic_ns()


def cases(count: int) -> list[Case]:
    """Closed path of order entry, which needs two others; the whole guard, and what the gate asks."""
    breakers = Breakers(breaker_settings(window_calls=20), time.monotonic_ns)
    entry, memory = breakers[Component.ORDER_ENTRY], breakers[Component.MEMORY]

    def floor() -> None:
        with _Empty():
            pass

    def nothing() -> None:
        return

    def order_entry() -> None:
        with entry.guard():
            pass

    def exempt() -> None:
        with entry.guard(exempt=True):
            pass

    def alone() -> None:
        with memory.guard():
            pass

    def permission() -> None:
        entry.begin()

    def gate() -> bool:
        return not entry.free and entry.refusal(0) is not None

    for work in (floor, nothing, order_entry, exempt, alone, permission, gate):
        repeat(work, 5_000)
    call = case_of("floor: a call that does nothing", repeat(nothing, count))
    empty = case_of("floor: an empty with and two clock readings", repeat(floor, count))
    assert empty.p50 is not None
    peer = "an empty with and two clock readings"
    found = [
        with_peer(case_of(f"breaker closed: {name}", repeat(work, count)), peer, empty.p50)
        for name, work in (
            ("permission (begin)", permission),
            ("what the gate asks", gate),
            ("guard, order entry", order_entry),
            ("guard, exempt", exempt),
            ("guard, memory", alone),
        )
    ]
    return [call, empty, *found]
