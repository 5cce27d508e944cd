"""Checks on every observation before anything may believe it (DAT-01 to DAT-05; SAFETY 1, 9; FIA 3.1).

One `InstrumentQuality` per instrument, in this order: structure, our clock, order, belief. The outcome is

- ACCEPTED   strategies and marks may have it;
- SUSPECT    kept back until the next observation of the instrument, which either confirms it (it is then
             delivered, late but complete) or does not;
- REFUSED    never delivered.

A jump is neither believed nor thrown away at once. A single bad print is contradicted by the next observation
and dies as NOT_CONFIRMED. A crash is supported by the next observation, or inside one bar by two different
prints at the new level (`prints` has the rules), and gets through with every observation of it. The very
first price of an instrument has nothing to be compared with and waits for a second one in the same way. While
a suspect waits, the last accepted price stays the mark and a STALE_DATA hold stands.

Every observation is counted once: received = accepted + refused + waiting. No clock is read here: order and
age use the times the observations carry and the `now_ns` passed in.

Choosing jump_ppm: below the usual range of one bar, real bars with a wide single excursion are lost. Measured
on the shipped samples with 100,000 ppm (10 %): all 10,062 index bars get through, 2008 included, 1 of them
(2008-10-28, +10.8 %) and 1 low (2000-04-04) one day late; of 5,020 oil prices 2 real ones are lost, with
150,000 ppm none. With 50,000 ppm 2 real index bars are lost. In a vendor's 5,849 days of SPY 10 % finds 7 bad
bars, each with one print the index never made.

Not seen here: a wrong price within `jump_ppm`, a wrong level that at least two observations agree on, and
corporate actions (an unadjusted 7:1 split is confirmed the next day and looks like −86 %: adjust the file).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.mode import Hold, HoldCause
from appliance.domain.observation import Bar, Observation
from appliance.market.prints import confirms, loose_prints, mark_of, move_ppm, prints_of
from appliance.market.schema import MEANING, DataReason, find_fault


class Outcome(StrEnum):
    """What may be done with an observation."""

    ACCEPTED = "ACCEPTED"
    SUSPECT = "SUSPECT"
    REFUSED = "REFUSED"


class QualityLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one instrument, each the last allowed value. No limit has a default (CONVENTIONS).

    jump_ppm: largest move believed at once.  stale_ns: age at which the last accepted price is still fresh.
    max_delay_ns: a trade or quote may have happened this long before it was seen.  max_ahead_ns: and this
    long after, by the sender's clock. Both bound the sum of delay and clock error, which cannot be told apart
    (P50).
    """

    jump_ppm: int
    stale_ns: int
    max_delay_ns: int
    max_ahead_ns: int

    def __post_init__(self) -> None:
        """Raises ValueError naming the limit that makes no sense."""
        if not 0 < self.jump_ppm < 1_000_000:
            raise ValueError(f"jump_ppm must be between 1 and 999,999, got {self.jump_ppm}")
        if self.stale_ns <= 0 or self.max_delay_ns < 0 or self.max_ahead_ns < 0:
            raise ValueError("stale_ns must be positive, max_delay_ns and max_ahead_ns not negative")


class Mark(Struct, frozen=True, gc=False):
    """The last accepted price (middle of a quote, close of a bar) and when it was seen, UTC."""

    price: int
    seen_ns: int


class DataVerdict(Struct, frozen=True):
    """What became of one observation, and of the suspect before it.

    deliver: what strategies and marks may have now, in order: a confirmed suspect, then this one if it is
    accepted.  discarded: the suspect this observation did not confirm, refused as NOT_CONFIRMED.
    """

    outcome: Outcome
    reason: DataReason
    detail: str
    deliver: tuple[Observation, ...] = ()
    discarded: Observation | None = None


class _Waiting(Struct, frozen=True):
    observation: Observation
    loose: tuple[int, ...]


_TELLS_NOTHING = frozenset({DataReason.DUPLICATE, DataReason.SEEN_BACKWARDS, DataReason.EVENT_BACKWARDS})
"""Refusals that say nothing about the present price, so they start no hold."""


class InstrumentQuality:
    """The checks of one instrument and what they remember."""

    def __init__(self, instrument: InstrumentId, limits: QualityLimits, started_ns: int) -> None:
        """started_ns: UTC; the instrument is held from here until its first accepted price."""
        self.received = self.accepted = self.confirmed = self.suspected = self.gaps = 0
        self.refused: Counter[DataReason] = Counter()
        self.mark: Mark | None = None
        self._instrument = instrument
        self._limits = limits
        self._waiting: _Waiting | None = None
        self._doubt: tuple[int, str] | None = (started_ns, "no price was accepted yet")
        self._seen_ns = -1
        self._last: dict[type[Observation], Observation] = {}

    @property
    def waiting(self) -> int:
        """1 while a suspect waits for its confirmation."""
        return 0 if self._waiting is None else 1

    def check(self, observation: Observation) -> DataVerdict:
        """Judges one observation; call it with every one, in the order in which they arrive."""
        self.received += 1
        reason = self._find_refusal(observation)
        if reason is not DataReason.OK:
            detail = f"{MEANING[reason]}: {_numbers(observation)}"
            self.refused[reason] += 1
            if reason not in _TELLS_NOTHING:
                self._start_doubt(observation.seen_ns, detail)
            return DataVerdict(Outcome.REFUSED, reason, detail)
        self._seen_ns = observation.seen_ns
        self._last[type(observation)] = observation
        return self._believe(observation)

    def hold(self, now_ns: int) -> Hold | None:
        """The STALE_DATA hold of this instrument at `now_ns`, None if it may trade.

        Stands from the start, while the newest price is suspect or refused, and once the last accepted one
        is older than allowed. Ends with the next accepted observation.
        """
        scope = f"instrument:{self._instrument}"
        if self._doubt is not None:
            return Hold(HoldCause.STALE_DATA, scope, *self._doubt)
        mark = self.mark
        stale_ns = self._limits.stale_ns
        if mark is not None and now_ns - mark.seen_ns > stale_ns:
            age_ms, allowed_ms = (now_ns - mark.seen_ns) // 1_000_000, stale_ns // 1_000_000
            detail = f"no price for {age_ms} ms, allowed are {allowed_ms}"
            return Hold(HoldCause.STALE_DATA, scope, mark.seen_ns + stale_ns, detail)
        return None

    def forget_order(self) -> None:
        """Our clock was stepped (SAFETY 10, a hold of its own): earlier times say nothing about order now."""
        self._seen_ns = -1
        self._last.clear()

    def counts(self) -> dict[str, int]:
        """received = accepted + waiting + the sum of refused; the others are counted on top of it."""
        numbers = {"received": self.received, "accepted": self.accepted, "waiting": self.waiting}
        numbers |= {"suspected": self.suspected, "confirmed": self.confirmed, "gaps": self.gaps}
        return numbers | {f"refused.{reason}": count for reason, count in sorted(self.refused.items())}

    def _find_refusal(self, observation: Observation) -> DataReason:
        fault = find_fault(observation)
        if fault is not DataReason.OK:
            return fault
        event_ns, seen_ns = observation.event_ns, observation.seen_ns
        if event_ns - seen_ns > self._limits.max_ahead_ns:
            return DataReason.AHEAD
        is_bar = isinstance(observation, Bar)
        if not is_bar and seen_ns - event_ns > self._limits.max_delay_ns:
            return DataReason.LATE
        if seen_ns < self._seen_ns:
            return DataReason.SEEN_BACKWARDS
        last = self._last.get(type(observation))
        if last is None or event_ns > last.event_ns:
            return DataReason.OK
        if event_ns < last.event_ns:
            return DataReason.EVENT_BACKWARDS
        return DataReason.DUPLICATE if is_bar or observation == last else DataReason.OK

    def _believe(self, observation: Observation) -> DataVerdict:
        released, discarded = self._settle(observation)
        mark = self.mark
        jump_ppm = self._limits.jump_ppm
        loose = prints_of(observation) if mark is None else loose_prints(observation, mark.price, jump_ppm)
        if not loose:
            self._accept(observation)
            return DataVerdict(Outcome.ACCEPTED, DataReason.OK, "", (*released, observation), discarded)
        self.suspected += 1
        self._waiting = _Waiting(observation, loose)
        if mark is None:
            reason, detail = DataReason.FIRST, MEANING[DataReason.FIRST]
        else:
            furthest = max((move_ppm(price, mark.price) for price in loose), key=abs)
            reason = DataReason.JUMP
            detail = f"moved {furthest} ppm from {mark.price}, limit {jump_ppm}: {_numbers(observation)}"
        self._start_doubt(observation.seen_ns, detail)
        return DataVerdict(Outcome.SUSPECT, reason, detail, released, discarded)

    def _settle(self, observation: Observation) -> tuple[tuple[Observation, ...], Observation | None]:
        """Ends the wait of a suspect: ((it,), None) if `observation` confirms it, ((), it) if not."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return (), None
        if confirms(observation, waiting.loose, self._limits.jump_ppm):
            self.confirmed += 1
            self._accept(waiting.observation)
            return (waiting.observation,), None
        self.refused[DataReason.NOT_CONFIRMED] += 1
        return (), waiting.observation

    def _accept(self, observation: Observation) -> None:
        mark = self.mark
        if mark is not None and observation.seen_ns - mark.seen_ns > self._limits.stale_ns:
            self.gaps += 1
        self.accepted += 1
        self.mark = Mark(mark_of(observation), observation.seen_ns)
        self._doubt = None

    def _start_doubt(self, seen_ns: int, detail: str) -> None:
        """A doubt that stands keeps its beginning and takes the newest text."""
        since_ns = seen_ns if self._doubt is None else self._doubt[0]
        self._doubt = since_ns, detail


class DataQuality:
    """The checks of every configured instrument."""

    def __init__(self, limits: Mapping[InstrumentId, QualityLimits], started_ns: int) -> None:
        """limits: one table per instrument.  started_ns: UTC of the first observation to come, or earlier."""
        self._parts = {name: InstrumentQuality(name, each, started_ns) for name, each in limits.items()}
        self.unknown = 0

    def check(self, observation: Observation) -> DataVerdict:
        """Judges one observation. What belongs to no configured instrument is refused and counted."""
        part = self._parts.get(observation.instrument)
        if part is None:
            self.unknown += 1
            reason = DataReason.UNKNOWN_INSTRUMENT
            return DataVerdict(Outcome.REFUSED, reason, f"{MEANING[reason]}: {observation.instrument!r}")
        return part.check(observation)

    def mark(self, instrument: InstrumentId) -> Mark | None:
        """The last accepted price; None if there is none. Raises KeyError if not configured."""
        return self._parts[instrument].mark

    def holds(self, now_ns: int) -> tuple[Hold, ...]:
        """Every instrument that may not take new exposure at `now_ns`, and why."""
        found = (part.hold(now_ns) for part in self._parts.values())
        return tuple(hold for hold in found if hold is not None)

    def forget_order(self) -> None:
        """Our clock was stepped; see `InstrumentQuality.forget_order`."""
        for part in self._parts.values():
            part.forget_order()

    def counts(self) -> dict[str, int]:
        """`SPX.accepted` and so on, for the status page; `unknown` counts what belongs to no instrument."""
        numbers = {
            f"{name}.{key}": count
            for name, part in self._parts.items()
            for key, count in part.counts().items()
        }
        return numbers | {"unknown": self.unknown}


def _numbers(observation: Observation) -> str:
    kind = type(observation).__name__.lower()
    prices = "/".join(str(price) for price in prints_of(observation))
    return f"{kind} {prices} at {observation.event_ns}, seen {observation.seen_ns}"
