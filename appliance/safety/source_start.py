"""A source that its own limits stopped trades again only by a person's signed, audited act (CONTROLS 7;
RTS 6 Article 15(3): disabled until a designated member of staff enables it again; no timer does).

The guard has verified the command (key, nonce, boot, generation, trip epoch) and tells of it on its page by
the fingerprint of the source's name; nothing here looks at a signature. It loosens, and is logged as such. It
arms nothing, and what stands above a source (mode, holds, the account's limits) denies as before.

The source's peak becomes its present equity, or the next price would stop it again for the same fall; its
executions and refusals are counted anew.

The entry is durable before the source trades: a crash in between leaves it stopped, or, with the entry,
started as the entry says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from appliance.domain.errors import StoreError
from appliance.domain.ids import SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.mode import Mode
from appliance.domain.money import format_amount
from appliance.domain.order import Order
from appliance.ports import Clock, Scribe
from appliance.safety.controller import SafetyController
from appliance.safety.peak_reset import Counted
from appliance.safety.preconditions import Preconditions
from appliance.safety.signed_act import Request, SignedActs

OUTCOME = "SOURCE_START"
MODES = frozenset({Mode.NORMAL, Mode.PAUSED})
"""Where one source may start again: EMERGENCY and REDUCED are no time to loosen anything."""

NEEDED = ("guard_fresh", "trip_stored", "reconciled", "clock_ok", "store_ok")


class Share(Protocol):
    """`portfolio.holdings.Allocation`, as far as a start concerns it. Amounts are scaled integers."""

    stopped_reason: str

    def start(self, peak: int) -> None:
        """Ends the stop; its peak becomes this."""
        ...


class Books(Protocol):
    """`portfolio.Portfolio`, as far as a start concerns it."""

    @property
    def resets(self) -> Counted:
        """Where a new peak is found again."""
        ...

    @property
    def sources(self) -> Mapping[SourceId, Share]:
        """Every source with an allocation."""
        ...

    def held(self) -> Sequence[tuple[SourceId, Instrument, int]]:
        """(source, instrument, signed quantity) of everything that is not zero."""
        ...


class SourceStarts:
    """Owned by the safety loop. preconditions: as of the moment they are asked for.

    equity: of a source's allocation, now.  live: orders that may still fill.  forget: a source's executions
    count anew.  fingerprints: of every source's name, as the guard makes them.
    """

    def __init__(
        self,
        safety: SafetyController,
        books: Books,
        equity: Callable[[SourceId], int],
        live: Callable[[], Iterator[Order]],
        forget: Callable[[SourceId], None],
        clock: Clock,
        scribe: Scribe,
        preconditions: Callable[[], Preconditions],
        fingerprints: Mapping[int, SourceId],
    ) -> None:
        self._safety = safety
        self._books = books
        self._equity = equity
        self._live = live
        self._forget = forget
        self._clock = clock
        self._scribe = scribe
        self._preconditions = preconditions
        self._fingerprints = fingerprints
        self._acts = SignedActs(OUTCOME, safety.status)

    def follow(self) -> None:
        """After every poll of the controller; never waits. Takes a command off the page, and gives it up when
        another trip came or nobody decided it in time."""
        lapsed = self._acts.follow(self._safety.status, self._clock.mono_ns())
        if lapsed is not None:
            self._refuse(*lapsed)

    async def work(self) -> None:
        """Decides a waiting command."""
        request = self._acts.waiting
        if request is None:
            return
        if lacking := self._lacking(request):
            self._refuse(request, lacking)
            return
        self._acts.end()
        source = self._fingerprints[request.subject]
        equity = self._equity(source)
        ticket = self._scribe.note("loosening", self._describe(request, source, equity))
        try:
            await ticket.durable()
        except StoreError:
            return  # whether it is on record is not known, so nothing starts; the log's own failure trips
        self._forget(source)
        self._books.sources[source].start(equity)

    def _lacking(self, request: Request) -> tuple[str, ...]:
        """Names of what keeps the source from being started; empty if nothing does."""
        source = self._fingerprints.get(request.subject)
        if source is None or source not in self._books.sources:
            return ("a source of this name",)
        now = self._preconditions()
        own = {
            "mode NORMAL or PAUSED": self._safety.mode in MODES,
            "a stopped source": bool(self._books.sources[source].stopped_reason),
            "nothing held by it": self._is_flat(source),
            "no order of it": all(order.source != source for order in self._live()),
        }
        lacking = tuple(name for name, holds_true in own.items() if not holds_true)
        return lacking + tuple(name for name in NEEDED if not getattr(now, name))

    def _is_flat(self, source: SourceId) -> bool:
        """Nothing held that the venue would still take an order for."""
        held = self._books.held()
        return all(whose != source or abs(qty) < instrument.min_qty for whose, instrument, qty in held)

    def _refuse(self, request: Request, lacking: tuple[str, ...]) -> None:
        self._acts.end()
        source = self._fingerprints.get(request.subject, "")
        data = {"act": "source_start", "outcome": "refused", "source": source, "missing": list(lacking)}
        self._scribe.note("loosening", data | request.who())

    def _describe(self, request: Request, source: SourceId, equity: int) -> dict[str, object]:
        return {
            "act": "source_start",
            "outcome": "done",
            "source": source,
            "why": self._books.sources[source].stopped_reason,
            "equity": format_amount(equity),
            "raw": {"equity": str(equity)},
            "marks": self._books.resets.marks,
            **request.who(),
        }
