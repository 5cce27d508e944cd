"""How much of its limits new exposure gets at this moment: a recovery plan's share, and half of everything
while the day's loss has passed its second mark (CONTROLS 9: alert, slow down, halt; SAFETY 2, 9)."""

from __future__ import annotations

from typing import NamedTuple

from appliance.domain.money import PPM_ONE
from appliance.domain.reasons import Reason
from appliance.ports import AccountView
from appliance.risk.limits import Limits, share_of
from appliance.safety.recovery_plan import PLANS, RecoveryPlan

SLOW_PPM = 500_000


class Part(NamedTuple):
    """share_ppm: of every limit on how much; bounds: those.  reason: the denial of what only they deny."""

    share_ppm: int
    bounds: Limits
    reason: Reason


class Shares:
    """Every share is computed once: limits are frozen."""

    def __init__(self, limits: Limits, account: AccountView, plan: RecoveryPlan) -> None:
        self._limits = limits
        self._account = account
        self._plan = plan
        parts = {share for each in PLANS.values() for share in each} | {SLOW_PPM}
        self._shares = {share: share_of(limits, share) for share in parts}

    def part(self) -> Part | None:
        """None while new exposure gets all of the limits."""
        plan_ppm = self._plan.share_ppm
        if plan_ppm == PPM_ONE and self._account.decline.loss_ppm <= self._limits.account.loss_slow_ppm:
            return None
        share_ppm = granted_ppm(plan_ppm, self._account, self._limits)
        reason = Reason.RECOVERY_LIMIT if share_ppm == plan_ppm else Reason.LOSS_SLOW
        return Part(share_ppm, self._shares[share_ppm], reason)


def granted_ppm(plan_ppm: int, account: AccountView, limits: Limits) -> int:
    """Of every limit on how much: the smaller of the plan's share and of what the day's loss leaves."""
    if plan_ppm > SLOW_PPM and account.decline.loss_ppm > limits.account.loss_slow_ppm:
        return SLOW_PPM
    return plan_ppm
