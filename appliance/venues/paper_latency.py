"""How long an order travels to the paper venue: seeded, drawn from its id, the same in every replay."""

from __future__ import annotations

import random

from appliance.domain.ids import OrderId
from appliance.venues.paper_terms import Latency

NS_PER_MS = 1_000_000


def travel_ns(latency: Latency | None, order_id: OrderId) -> int:
    """Log-normal, in nanoseconds; 0 without a latency model.

    The draw depends on seed and id alone, not on how many came before: a venue that rebuilds itself from its
    order log, and one that is asked in another order, give each order the time it had.
    """
    if latency is None:
        return 0
    source = random.Random(f"{latency.seed}/{order_id}")  # noqa: S311 - a model, not a secret
    draw = source.lognormvariate(latency.mu, latency.sigma)
    return round(draw * NS_PER_MS)
