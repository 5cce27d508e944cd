"""One circuit breaker: counts how calls of one component end, and refuses them for a while when too many
fail (CB-01 to CB-23). Owned by the event loop, which is all the locking it needs (CB-03); no IO, no clock of
its own.

    CLOSED ──more than the allowed share of the window failed──► OPEN ──cooldown over──► HALF_OPEN
       ▲                                                           ▲                        │  │
       └──────────────────── enough calls ended well ──────────────┼────────────────────────┘  │
                                                                   └────── a call failed ──────┘

Settled where the specification contradicts itself (C07, P35, P37, P40, U32):

- the window holds the last `window_calls` outcomes that are not older than `window_ns`; with fewer than
  `min_calls` in it the breaker stays closed, and it opens when *more* than the allowed share of them failed
  (a limit is the last allowed value, C24);
- the cooldown runs from the last failure anybody saw, not from the opening;
- at most `probes` calls at a time pass a half open breaker, `successes` calls that ended well close it;
- what began before the last change proves nothing by succeeding; a failure always counts;
- an **exempt** call (whatever cancels, reduces or protects, and what these need to know) is never refused
  and needs no probe. It is counted: its failure opens, its success helps to close;
- nobody can force a breaker closed (C04): cooldown and probes do it, or a restart, which compares the books
  with the venue before anything may be sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from types import TracebackType
from typing import Self

from msgspec import Struct

from appliance.domain.breaker import BreakerChange, BreakerOpenError, BreakerState, Component, Refusal
from appliance.domain.money import PPM_ONE, format_share
from appliance.ports import StoppedAtWire

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every call of a component passes here.
_CLOSED, _OPEN, _HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

SECOND_NS = 1_000_000_000
PROBE_NS = 30 * SECOND_NS  # longer than any edge waits for an answer: what is not back by then never will be


class CallEvent(Enum):
    """SUCCESS, FAILURE: a call ended.  TOO_MANY: it failed, and with it too many of the window.
    PROVEN: it ended well, and with it as many as are asked for.  COOLED: the cooldown is over."""

    SUCCESS = auto()
    FAILURE = auto()
    TOO_MANY = auto()
    PROVEN = auto()
    COOLED = auto()


TRANSITIONS: dict[tuple[BreakerState, CallEvent], BreakerState] = {
    (_CLOSED, CallEvent.SUCCESS): _CLOSED,
    (_CLOSED, CallEvent.FAILURE): _CLOSED,
    (_CLOSED, CallEvent.TOO_MANY): _OPEN,
    (_CLOSED, CallEvent.PROVEN): _CLOSED,
    (_CLOSED, CallEvent.COOLED): _CLOSED,
    (_OPEN, CallEvent.SUCCESS): _OPEN,  # an exit got through: the cooldown is served all the same
    (_OPEN, CallEvent.FAILURE): _OPEN,  # an exit failed: the cooldown begins again
    (_OPEN, CallEvent.TOO_MANY): _OPEN,
    (_OPEN, CallEvent.PROVEN): _OPEN,
    (_OPEN, CallEvent.COOLED): _HALF_OPEN,
    (_HALF_OPEN, CallEvent.SUCCESS): _HALF_OPEN,
    (_HALF_OPEN, CallEvent.FAILURE): _OPEN,
    (_HALF_OPEN, CallEvent.TOO_MANY): _OPEN,
    (_HALF_OPEN, CallEvent.PROVEN): _CLOSED,
    (_HALF_OPEN, CallEvent.COOLED): _HALF_OPEN,
}
"""(state, event) → state, total: no pair can raise. The only way out of OPEN is COOLED, the only way back to
CLOSED is PROVEN while half open."""


class BreakerSettings(Struct, frozen=True, kw_only=True):
    """Limits of a breaker.

    window_calls, window_ns: outcomes that are looked at, by number and by age (the last allowed age).
    min_calls: fewer outcomes than this prove nothing.  open_above_ppm: the last allowed share of failures.
    cooldown_ns: since the last failure.  probes: calls at a time while half open.  successes: calls that must
    end well before it closes.
    """

    window_calls: int
    window_ns: int
    min_calls: int
    open_above_ppm: int
    cooldown_ns: int
    probes: int
    successes: int

    def __post_init__(self) -> None:
        """Raises ValueError naming the setting."""
        for name, least, most in (
            ("window_calls", 1, 1_000),
            ("min_calls", 1, self.window_calls),
            ("probes", 1, 100),
            ("successes", 1, 100),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is outside of {least} to {most}")
        if not SECOND_NS <= self.window_ns <= 86_400 * SECOND_NS:
            raise ValueError("window is outside of 1 s to 1 d")
        if not SECOND_NS <= self.cooldown_ns <= 3_600 * SECOND_NS:
            raise ValueError("cooldown is outside of 1 s to 1 h")
        if not 0 <= self.open_above_ppm < PPM_ONE:
            raise ValueError("open_above is outside of 0 % to less than 100 %: it could never open")


class Breaker:
    """Counters are since this start: successes, failures, refused calls, exempt calls that passed while it
    was not closed, calls of which nobody knows (`abandoned`), probes never back (`hung`), openings.

    needs: breakers that must be closed as well, for every call that is not exempt.  mono_ns: CLOCK_MONOTONIC.
    tell: hears of every change after it is complete; it must not raise (`runtime.breaker_watch` sees to it).
    free: it and all it needs are closed, which is all that most calls ask; worked out anew at every change.
    serial: of the last call that was let through.
    """

    def __init__(
        self,
        component: Component,
        settings: BreakerSettings,
        mono_ns: Callable[[], int],
        tell: Callable[[BreakerChange], None],
        needs: tuple[Breaker, ...] = (),
    ) -> None:
        self.component = component
        self.settings = settings
        self.state = _CLOSED
        self.free = all(need.state is _CLOSED for need in needs)
        self.why = ""  # of the last change
        self.serial = 0
        self.successes = self.failures = self.refused = self.passed = 0
        self.abandoned = self.hung = self.openings = 0
        self._mono_ns = mono_ns
        self._tell = tell
        self.needs = needs
        self.dependants: list[Breaker] = []
        for need in needs:
            need.dependants.append(self)
        self._window: deque[int] = deque(maxlen=settings.window_calls)  # ends in ns; ~ns of those that failed
        self._bad = 0  # failures in the window
        self._changed_at = 0  # serials up to here began before the last change
        self._failed_ns = 0
        self._proven = 0
        self._probes: dict[int, int] = {}  # serial → begin, oldest first; of this half open phase only

    def guard(self, *, exempt: bool = False) -> Guard:
        """`with breaker.guard(): …` around one call; see `Guard`."""
        return Guard(self, exempt)

    def begin(self, *, exempt: bool = False) -> int:
        """A ticket for one call, to be handed to exactly one of `succeeded`, `failed` and `abandon`.

        Raises BreakerOpenError, never for an exempt call. `guard` does all of it.
        """
        if self.free or (exempt and self.state is _CLOSED):
            self.serial = serial = self.serial + 1
            return serial
        return self._begin_impaired(exempt=exempt)

    def succeeded(self, ticket: int) -> None:
        """The call ended well."""
        self.successes += 1
        if ticket <= self._changed_at:
            return
        if self.state is _CLOSED:  # the row (CLOSED, SUCCESS) without a look at the table
            if self._bad:
                self._make_room()
            self._window.append(self._mono_ns())
            return
        self._probes.pop(ticket, None)
        self._proven += self.state is _HALF_OPEN
        enough = self._proven >= self.settings.successes
        self._move(CallEvent.PROVEN if enough else CallEvent.SUCCESS, f"{self._proven} calls ended well")

    def failed(self, _ticket: int) -> None:
        """The call failed, whenever it began: that the component does not answer is learned now."""
        self.failures += 1
        self._failed_ns = now_ns = self._mono_ns()
        if self.state is not _CLOSED:
            self._move(CallEvent.FAILURE, "a call failed while it was half open")
            return
        self._make_room()
        self._window.append(~now_ns)
        self._bad += 1
        self._forget(now_ns - self.settings.window_ns)
        total, allowed = len(self._window), self.settings.open_above_ppm
        too_many = total >= self.settings.min_calls and self._bad * PPM_ONE > allowed * total
        why = f"{self._bad} of {total} calls failed, allowed are {format_share(allowed)}"
        self._move(CallEvent.TOO_MANY if too_many else CallEvent.FAILURE, why)

    def abandon(self, ticket: int) -> None:
        """Nothing is known of the call: it was stopped on our side before it could prove anything."""
        self.abandoned += 1
        self._probes.pop(ticket, None)

    def refusal(self, now_ns: int) -> Refusal | None:
        """Why a call that is not exempt would be refused now. Changes nothing."""
        if self.state is _OPEN and not self._is_cooled(now_ns):
            return Refusal.OPEN
        if any(need.state is not _CLOSED for need in self.needs):
            return Refusal.NEEDED_NOT_CLOSED
        return Refusal.HALF_OPEN_EXHAUSTED if len(self._probes) >= self.settings.probes else None

    def settle(self, now_ns: int) -> None:
        """What time alone does: the cooldown ends, or a probe is not back after PROBE_NS, which is a failure.

        Called before every call that meets a breaker which is not closed, and by the safety loop, so that a
        lost probe cannot keep it half open for ever.
        """
        if self.state is _OPEN and self._is_cooled(now_ns):
            self._move(CallEvent.COOLED, "the cooldown is over")
        elif self._probes and now_ns - next(iter(self._probes.values())) >= PROBE_NS:
            self.hung += 1
            self._failed_ns = now_ns
            self._move(CallEvent.FAILURE, "a probe did not come back")

    def _begin_impaired(self, *, exempt: bool) -> int:
        now_ns = self._mono_ns()
        self.settle(now_ns)
        if exempt:
            self.passed += 1
        else:
            refusal = self.refusal(now_ns)
            if refusal is not None:
                self.refused += 1
                raise BreakerOpenError(self.component, refusal, self.describe())
        self.serial += 1
        if not exempt:
            self._probes[self.serial] = now_ns
        return self.serial

    def _make_room(self) -> None:
        """The next outcome pushes the oldest out of a full window."""
        window = self._window
        self._bad -= len(window) == window.maxlen and window[0] < 0

    def _forget(self, oldest_ns: int) -> None:
        window = self._window
        while (window[0] if window[0] >= 0 else ~window[0]) < oldest_ns:
            self._bad -= window.popleft() < 0

    def describe(self) -> str:
        """Every breaker that is not closed, itself first, with what made it so."""
        impaired = [each for each in (self, *self.needs) if each.state is not _CLOSED]
        return "; ".join(f"{each.component} is {each.state}, {each.why}" for each in impaired)

    def _is_cooled(self, now_ns: int) -> bool:
        return now_ns - self._failed_ns >= self.settings.cooldown_ns

    def _move(self, event: CallEvent, why: str) -> None:
        before, after = self.state, TRANSITIONS[self.state, event]
        if after is before:
            return
        self.state, self.why = after, why
        for each in (self, *self.dependants):
            each.free = each.state is _CLOSED and all(need.state is _CLOSED for need in each.needs)
        self.openings += after is _OPEN
        self._changed_at = self.serial
        self._bad = self._proven = 0
        self._window.clear()
        self._probes.clear()
        self._tell(BreakerChange(self.component, before, after, why))  # last: all of the above stands


class Guard(Struct, gc=False):
    """Records by itself how one call ends (CB-08). Not used twice; made by `Breaker.guard`.

    Left without an exception: a success, unless `fail` was called. With an Exception: a failure. Stopped by
    our own latch, or cancelled from outside (any BaseException that is no Exception): nothing is known.
    """

    breaker: Breaker
    exempt: bool
    has_failed: bool = False
    ticket: int = 0

    def fail(self) -> None:
        """The call came back, and what it brought says that it failed."""
        self.has_failed = True

    def __enter__(self) -> Self:
        """Raises BreakerOpenError: the call may not begin."""
        breaker = self.breaker
        if breaker.free:  # `begin`, without the call: it is every call of a healthy component
            breaker.serial = self.ticket = breaker.serial + 1
        else:
            self.ticket = breaker.begin(exempt=self.exempt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if self.has_failed:
                self.breaker.failed(self.ticket)
            else:
                self.breaker.succeeded(self.ticket)
        elif issubclass(kind, StoppedAtWire) or not issubclass(kind, Exception):
            self.breaker.abandon(self.ticket)
        else:
            self.breaker.failed(self.ticket)
