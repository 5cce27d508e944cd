"""A desk with the real gate, books and log, and a venue that ends at the call: for the cases with a disk."""

from __future__ import annotations

from typing import Any

from appliance.orders.costs import Costs
from appliance.orders.desk import Desk
from appliance.runtime.patience import LoopPatience
from appliance.runtime.scribe import CoreScribe
from appliance.storage.log_client import LogClient
from tests.kit import Core, account_limits, source_limits

PRICE = 100_000


async def make_desk(log: LogClient, wire: Any) -> tuple[Core, Desk]:
    """wire: has the verbs of a venue that the case uses. Limits are wide: what is measured is approved."""
    core = Core(account=account_limits(position_cap_ppm=1_000_000), source=source_limits(allocation=10**24))
    await core.market(PRICE)
    core.guard.beating = True
    desk = Desk(
        core.gate,
        core.orders,
        core.ids,
        core.portfolio,
        wire,
        CoreScribe(log),
        LoopPatience(),
        core.clock,
        core.safety.trip,
        lambda verdict: None,
        lambda index, approved, order: None,
        Costs(core.fees, core.clock),
    )
    return core, desk
