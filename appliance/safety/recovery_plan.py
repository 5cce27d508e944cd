"""What new exposure may be after an emergency: recovery plans *standard* and *aggressive* (RSK-11, U02, C04).

A plan arms nothing: a person arms, as after any trip. It decides only how much of the configured limits
the gate grants to INCREASE from then on. Exits (CANCEL, REDUCE, PROTECTIVE) are never asked about it.

| what                                              | what it does to the plan                          |
|---------------------------------------------------|---------------------------------------------------|
| a trip that leads to EMERGENCY                     | the next arming begins the plan, from its start  |
| NEVER_ARMED or FOREIGN_CARD on a box armed before  | the same: what tripped it last is not known      |
| the button while only a start keeps the gate shut  | nothing: it is the proof test every arming needs |
| any other trip while the plan runs                 | the present share's period begins again          |
| NOT_ARMED (the guard or the machine started)       | nothing: the plan goes on once somebody has armed |
| the box's first arming ever                        | nothing: there is nothing to recover from        |

Time is the market's (recorded time in a replay), counted between two observations at which the box was in
NORMAL without a hold on it: time switched off, tripped or held never counts, and one look ends one period at
most, so that a jump of the market's clock cannot skip a share. Everything is in the log before it counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from appliance.domain.mode import TripReason
from appliance.domain.money import PPM_ONE, format_share
from appliance.ports import Clock, Scribe

PLANS: dict[str, tuple[int, ...]] = {
    "standard": (250_000, 500_000),
    "aggressive": (),
}
"""Plan → shares (ppm) of every limit on new exposure, one period each; after the last one all of it."""

DEFAULT_PLAN, DEFAULT_EVERY_NS = "standard", 86_400_000_000_000
"""Of a configuration without the table [recovery]: the stricter plan, a day for each share."""

STARTS = frozenset({TripReason.NOT_ARMED, TripReason.NEVER_ARMED, TripReason.FOREIGN_CARD})
"""What stands when nothing but a start keeps the gate shut."""
_UNKNOWN = frozenset({TripReason.NEVER_ARMED, TripReason.FOREIGN_CARD})


class Stage(Struct, frozen=True):
    """Where a running plan is. number: index into PLANS[plan].  passed_ns: counted in this stage."""

    plan: str
    number: int
    every_ns: int
    passed_ns: int = 0

    @property
    def share_ppm(self) -> int:
        """Of every limit on new exposure."""
        return PLANS[self.plan][self.number]

    @property
    def next_ppm(self) -> int:
        """The share after this one."""
        shares = PLANS[self.plan]
        return shares[self.number + 1] if self.number + 1 < len(shares) else PPM_ONE


class Earlier(Struct, frozen=True):
    """What the log knows. due: an emergency nobody has armed out of.  stage: of a plan that runs."""

    armed_before: bool = False
    due: bool = False
    stage: Stage | None = None


def read_earlier(armed_before: bool, told: Mapping[str, object], beat: Mapping[str, object]) -> Earlier:
    """From the log: the last entry `recovery` (or nothing) and a heartbeat that came after it (or nothing).

    KeyError, ValueError, IndexError or TypeError for an entry that tells of no plan there is.
    """
    due = told.get("due") is True
    if "stage" not in told:
        return Earlier(armed_before, due)
    every_ns = int(str(told["every_ns"]))
    passed_ns = int(str(beat.get("recovery_passed_ns", "0")))
    if not 0 <= passed_ns < every_ns:
        raise ValueError(f"{passed_ns} of {every_ns} ns have passed")
    stage = Stage(str(told["plan"]), int(str(told["stage"])), every_ns, passed_ns)
    if stage.number < 0 or not stage.share_ppm:
        raise ValueError(f"stage {stage.number}")
    return Earlier(armed_before, due, stage)


class RecoveryPlan:
    """One per core, owned by the safety controller; the gate reads `share_ppm` on every order.

    clock: its utc_ns is the market's time.  plan, every_ns: for plans that begin from now on; one that
    runs ends as it began, so that no restart with an edited file shortens it.  KeyError for an unknown plan.
    """

    __slots__ = (
        "_armed_before", "_clock", "_counting", "_every_ns", "_plan", "_scribe", "_seen_ns",
        "due", "share_ppm", "stage",
    )  # fmt: skip

    def __init__(
        self,
        scribe: Scribe,
        clock: Clock,
        *,
        plan: str = DEFAULT_PLAN,
        every_ns: int = DEFAULT_EVERY_NS,
        earlier: Earlier | None = None,
    ) -> None:
        known = earlier or Earlier()
        self._scribe = scribe
        self._clock = clock
        self._plan = plan
        self._every_ns = every_ns
        self._armed_before = known.armed_before
        self._counting = False
        self._seen_ns = 0
        self.due = known.due
        self.stage = known.stage
        self.share_ppm = PPM_ONE if self.stage is None else self.stage.share_ppm
        if self.due:
            self._await_arming()

    def tripped(self, reason: TripReason, standing: Collection[TripReason], *, emergency: bool) -> None:
        """A reason was entered while those in `standing` stood. emergency: it leads to EMERGENCY."""
        if reason is TripReason.NOT_ARMED or _is_proof_test(reason, standing):
            return
        if emergency or reason in _UNKNOWN:
            if self._armed_before and not self.due:
                self.due = True
                self._await_arming()
                self._note("due", reason.name)
        elif self.stage is not None and reason not in standing:
            self.stage = replace(self.stage, passed_ns=0)
            self._note("again", reason.name)

    def armed(self) -> None:
        """A person armed: call it before the gate opens. Begins the plan that is due, or goes on with one."""
        self._armed_before = True
        self._seen_ns, self._counting = self._clock.utc_ns(), True
        if not self.due:
            return
        self.due = False
        if PLANS[self._plan]:
            self._enter(Stage(self._plan, 0, self._every_ns), "begin")
        else:
            self._end(self._plan)

    def pass_time(self, *, counts: bool) -> None:
        """Once for each observation. counts: in NORMAL, and nothing holds the box."""
        stage = self.stage
        if stage is None:
            return
        now_ns = self._clock.utc_ns()
        passed_ns = max(0, now_ns - self._seen_ns) if counts and self._counting else 0
        self._seen_ns, self._counting = now_ns, counts
        if not passed_ns:
            return
        if stage.passed_ns + passed_ns < stage.every_ns:
            self.stage = replace(stage, passed_ns=stage.passed_ns + passed_ns)
        elif stage.number + 1 < len(PLANS[stage.plan]):
            self._enter(Stage(stage.plan, stage.number + 1, stage.every_ns), "step")
        else:
            self._end(stage.plan)

    def beat(self) -> dict[str, object]:
        """For the log's heartbeat: from where a restart goes on; empty while no plan runs."""
        return {} if self.stage is None else {"recovery_passed_ns": str(self.stage.passed_ns)}

    def _await_arming(self) -> None:
        """The gate is shut until somebody arms; whatever looks before that finds the first share."""
        self.share_ppm = min((*PLANS[self._plan], self.share_ppm))

    def _enter(self, stage: Stage, event: str) -> None:
        self.stage, self.share_ppm = stage, stage.share_ppm
        self._note(event, f"new exposure gets {format_share(stage.share_ppm)} of its limits")

    def _end(self, plan: str) -> None:
        self.stage, self.share_ppm = None, PPM_ONE
        said = {"event": "end", "plan": plan, "why": "new exposure gets all of its limits"}
        self._scribe.note("recovery", said | {"share_ppm": PPM_ONE})

    def _note(self, event: str, why: str) -> None:
        """Self-contained: the last entry of the kind is all a restart reads (`runtime.restore`)."""
        stage = self.stage
        data: dict[str, object] = {"event": event, "why": why, "due": self.due, "plan": self._plan}
        if stage is not None:
            data |= {
                "plan": stage.plan,
                "stage": stage.number,
                "every_ns": str(stage.every_ns),
                "share_ppm": stage.share_ppm,
            }
        self._scribe.note("recovery", data)


def _is_proof_test(reason: TripReason, standing: Collection[TripReason]) -> bool:
    """Every arming needs the button pressed once (SAFETY 6): behind a gate that a start keeps shut, a press
    is no more than that."""
    if reason is not TripReason.KILL_BUTTON:
        return False
    before = frozenset(standing)
    return bool(before & STARTS) and before <= STARTS | {TripReason.KILL_BUTTON}
