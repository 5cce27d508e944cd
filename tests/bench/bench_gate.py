"""The gate with every control on: approvals, denials, exits, on a real mapped page.

NautilusTrader's risk and execution engine took 13.7 µs an order on this kind of machine (a figure of the
design, not of this run). The floor measured here is one look at the page and one order id, without controls.
The last case is additions that take as long as an approval: its p99 is the machine's own.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from appliance.domain.ids import derive_order_id
from appliance.domain.intent import OrderType, Side
from appliance.domain.mode import Mode
from appliance.domain.money import Price, Qty
from appliance.domain.verdict import Approved, Denied
from appliance.runtime.guard_link import PageLink, prepare_pages
from appliance.safety.latch import WORD_MASK, CoreLatch
from hardware import pages
from hardware.pages import GuardWord
from tests.bench import bench_breaker
from tests.bench.measure import Case, case_of, repeat, with_peer
from tests.kit import SECOND, Core, FakeClock, account_limits


class RealClock(FakeClock):
    """CLOCK_MONOTONIC for the heartbeat; the market's time is the test's."""

    def mono_ns(self) -> int:
        """The real one, as in the core."""
        return time.monotonic_ns()


def _core(folder: Path) -> tuple[Core, threading.Event]:
    """A core whose gate reads a page in shared memory; a thread plays the guard's heartbeat."""
    prepare_pages(folder)
    guard = pages.PageFile(folder / pages.GUARD_PAGE, writable=True)
    pages.start_page(guard.words, pages.GUARD_LAYOUT, pages.boot_id())
    words = guard.words
    words[GuardWord.STATE] = words[GuardWord.ARMED] = 7
    words[GuardWord.COMPLEMENT] = 7 ^ WORD_MASK
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.02):
            words[GuardWord.HEARTBEAT_NS] = time.monotonic_ns()

    words[GuardWord.HEARTBEAT_NS] = time.monotonic_ns()
    threading.Thread(target=beat, daemon=True).start()
    core = Core(account=account_limits(duplicate_window_ns=SECOND))
    asyncio.run(_fill(core))
    clock = RealClock()
    clock.utc = core.clock.utc
    latch = CoreLatch(PageLink(folder), clock)
    latch.clear(7)
    core.gate._latch, core.gate._clock = latch, clock
    return core, stop


async def _fill(core: Core) -> None:
    """A position behind its stop, and 20 orders that rest."""
    await core.hold_position(500)
    for _ in range(20):
        wish = core.intent(order_type=OrderType.LIMIT, price=Price(96_000), qty=Qty(1))
        await core.desk.place(wish)


def run(*, quick: bool) -> list[Case]:
    """Approve, deny and exit, each with 100 orders known and 20 working."""
    count = 5_000 if quick else 200_000
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        core, stop = _core(Path(folder))
        try:
            return [*_cases(core, count), *bench_breaker.cases(count)]
        finally:
            stop.set()


def _cases(core: Core, count: int) -> list[Case]:
    gate, link = core.gate, core.gate._latch
    entry = core.intent(qty=Qty(10), order_type=OrderType.LIMIT, price=Price(99_000))
    leave = core.intent(side=Side.SELL, qty=Qty(100))
    too_large = core.intent(qty=Qty(1_000_000))
    far = core.intent(order_type=OrderType.LIMIT, price=Price(150_000))
    assert isinstance(gate.check(entry), Approved)
    assert isinstance(gate.check(leave), Approved)
    assert isinstance(gate.check(too_large), Denied)

    def floor() -> None:
        link.look(time.monotonic_ns())
        derive_order_id("test", entry.source, entry.id)

    for _ in range(5_000):
        gate.check(entry)
    floor_case = case_of("floor: page and order id only", repeat(floor, count))
    cases = [
        case_of("approve an entry, every control", repeat(partial(gate.check, entry), count)),
        case_of("deny: too large", repeat(partial(gate.check, too_large), count)),
        case_of("deny: outside the collar", repeat(partial(gate.check, far), count)),
        case_of("approve an exit", repeat(partial(gate.check, leave), count)),
    ]
    core.safety.mode = Mode.PAUSED
    cases.append(case_of("deny: mode PAUSED", repeat(partial(gate.check, entry), count)))
    cases.append(case_of("approve an exit in PAUSED", repeat(partial(gate.check, leave), count)))
    peer = "the floor: one look at the page and one order id, no control"
    assert floor_case.p50 is not None
    assert cases[0].p50 is not None
    tail = case_of("additions of an approval's length", repeat(_additions(cases[0].p50), count))
    return [floor_case, *(with_peer(case, peer, floor_case.p50) for case in cases), tail]


def _additions(wanted_us: float) -> Callable[[], None]:
    """Plain work without memory, page or branches, about as long as `wanted_us`."""

    def add(count: int) -> None:
        total = 0
        for value in range(count):
            total += value

    probe = case_of("", repeat(partial(add, 1_000), 1_000))
    assert probe.p50 is not None
    return partial(add, round(1_000 * wanted_us / probe.p50))
