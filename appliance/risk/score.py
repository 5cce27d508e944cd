"""Risk score of an entry: 0 nothing is used up, 100 everything is (RSK-18, RSK-20; U21).

A weighted sum of how much of each limit is used once the order fills. The weights are literal and add up
to 100; a part that passes its limit counts as whole, nothing of nothing as nothing, and the sum is rounded
up. It orders entries by how near they bring the account to its limits; it predicts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.domain.money import PPM_ONE

WEIGHTS: dict[str, int] = {
    "position": 30,  # worst case of the instrument, of the position cap
    "stop": 20,  # loss at the stop, of the risk budget
    "drawdown": 20,  # fall below the peak, of the drawdown limit
    "leverage": 15,  # worst cases together, of the leverage limit
    "correlation": 15,  # highest correlation with what is held, of the correlation limit
}


def score(used: Mapping[str, tuple[int, int]]) -> int:
    """used: for each name of WEIGHTS (what is used, the limit), in one unit. Raises KeyError for a gap."""
    total = 0
    for name, weight in WEIGHTS.items():
        amount, limit = used[name]
        if amount > 0:
            total += weight * (PPM_ONE if amount >= limit else -(-amount * PPM_ONE // limit))
    return -(-total // PPM_ONE)
