"""Entries and cancels while the log's disk is as slow as an SD card (SAFETY 13).

Injected into the log writer's process: every fsync takes 8 ms (p50) to 50 ms (p99), and once a minute one
takes 2 s. New orders may be late then, since they wait for their entry; a CANCEL may not (SAFETY 8: it waits
50 ms at most, and owes its entry).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

from appliance.domain.ids import OrderId
from appliance.domain.intent import OrderType
from appliance.domain.money import Price, Qty
from appliance.domain.verdict import Approved
from appliance.storage.log_client import LogClient
from tests.audit_support import new_log
from tests.bench.measure import Case, case_of
from tests.bench.orders_desk import make_desk
from tests.bench.test_storage_latency import SD_CARD

EVERY_S = 0.02
FIRST_STALL_S = 20


class TimedWire:
    """A venue up to the call; says when a cancel reached it."""

    name = "wire"

    def __init__(self) -> None:
        self.cancelled: dict[OrderId, int] = {}

    async def submit(self, _order: Approved) -> None:
        """Called once the order is durable."""

    async def cancel(self, order: Approved) -> None:
        """Called once the cancel is durable, or has waited long enough."""
        self.cancelled[order.order_id] = time.perf_counter_ns()


def run(seconds: int) -> list[Case]:
    """Both cases; below 20 s without a stall of 2 s, and the case says so."""
    return asyncio.run(_measure(int(seconds / EVERY_S), stalls=seconds > FIRST_STALL_S))


async def _measure(count: int, *, stalls: bool) -> list[Case]:
    entries: list[int] = []
    cancels: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(new_log(Path(folder)), command=(sys.executable, "-c", SD_CARD))
        log, wire = await LogClient.start(settings), TimedWire()
        core, desk = await make_desk(log, wire)

        async def one() -> None:
            wish = core.intent(qty=Qty(1), order_type=OrderType.LIMIT, price=Price(96_000))
            started = time.perf_counter_ns()
            verdict = await desk.place(wish)
            assert isinstance(verdict, Approved), verdict
            entries.append(time.perf_counter_ns() - started)
            order = core.orders.get(verdict.order_id)
            assert order is not None
            started = time.perf_counter_ns()
            await desk.cancel(order)
            cancels.append(wire.cancelled[order.id] - started)

        tasks, began = [], time.perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number * EVERY_S - time.perf_counter()))
            tasks.append(asyncio.create_task(one()))
        await asyncio.gather(*tasks)
        await log.aclose()
    card = "SD card injected" if stalls else "SD card injected, no stall yet"
    return [
        _offered(case_of(f"{card}: intent → durable → venue call, 50/s", entries)),
        _offered(case_of(f"{card}: CANCEL → venue call, 50/s", cancels)),
    ]


def _offered(case: Case) -> Case:
    """The rate is what was offered, no result."""
    return Case(**{**case.as_dict(), "per_s": None})
