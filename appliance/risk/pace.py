"""How often and how much alike: message throttle, same economics, repeated execution (CONTROLS 5b, 6, 7).

All of it binds new exposure only. A cancel, an exit and a protective leg always leave, and are counted: what
they use, entries do not get. Time is the market's, which live is this machine's; where it steps back nothing
is refilled twice, and a doubt about the clock is a hold anyway (SAFETY 10).

    throttle      a bucket for the venue, of which a share is kept for exits, and one for each source; a
                  source that was refused as often in one second as it may send is stopped (CME: reject,
                  then terminate)
    economics     the same source, instrument, side, quantity, type and prices again within the window
    execution     entries of one source in one instrument that began to fill within the window; one too many
                  stops the source, until a person starts it again: no timer does (RTS 6 Art. 15(3))

A crash forgets the buckets and the last second; executions are found again in the log (`restore`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import TypeAlias

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.intent import Action, Intent
from appliance.domain.money import PPM_ONE
from appliance.domain.order import Fill, Order
from appliance.domain.reasons import Reason
from appliance.domain.verdict import OrderClass
from appliance.risk.limits import Limits

SECOND_NS = 1_000_000_000
_NEW, _INCREASE = Action.NEW, OrderClass.INCREASE

Economics: TypeAlias = tuple[object, ...]


class Bucket:
    """Messages that may leave now, in message × ns. Full at the start; holds one second's worth."""

    __slots__ = ("_full", "_last_ns", "_rate", "level")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._full = self.level = rate * SECOND_NS
        self._last_ns = 0

    def at(self, now_ns: int) -> int:
        """What is in it now."""
        passed_ns = now_ns - self._last_ns
        if passed_ns:
            self._last_ns = now_ns
            if passed_ns > 0:
                level = self.level + passed_ns * self._rate
                if level > self._full:  # compared by hand: min() of two takes three times as long
                    level = self._full
                self.level = level
        return self.level

    def take(self, now_ns: int) -> None:
        """One message left, whatever was in it: exits may owe at most what one second brings."""
        self.level = max(-self._full, self.at(now_ns) - SECOND_NS)


class Pace:
    """Owned by the gate; read by it, told by the desk and by the booking of fills."""

    def __init__(self, limits: Limits) -> None:
        account = limits.account
        self._limits = limits
        self._venue = Bucket(account.messages)
        self._least = SECOND_NS + account.messages * SECOND_NS * account.messages_kept_ppm // PPM_ONE
        self._window_ns = account.duplicate_window_ns
        self._sources: dict[SourceId, Bucket] = {}
        self._refused: dict[SourceId, deque[int]] = {}
        self._recent: OrderedDict[Economics, int] = OrderedDict()
        self._entries: dict[tuple[SourceId, InstrumentId], deque[int]] = {}
        self._over: dict[SourceId, str] = {}

    def refusal(self, intent: Intent, now_ns: int) -> tuple[Reason, str] | None:
        """Why this entry may not leave now. Changes nothing but what time changes.

        The orders of a list are judged by what there is before the first of them.
        """
        if intent.source in self._over:  # nobody has come to stop it yet
            return Reason.STRATEGY_STOPPED, self._over[intent.source]
        own = self._sources.get(intent.source) or self._bucket(intent.source)
        # What is in a bucket is looked up before it is filled: filling it only makes it more.
        if own is None or (own.level < SECOND_NS and own.at(now_ns) < SECOND_NS):
            return Reason.THROTTLED, f"{intent.source} may send {self._rate(intent.source)} messages a second"
        if self._venue.level < self._least and self._venue.at(now_ns) < self._least:
            most = self._limits.account.messages
            return Reason.THROTTLED, f"{most} messages a second go to the venue, a part of them is for exits"
        if not self._window_ns or intent.action is not _NEW:
            return None
        before_ns = self._recent.get(_economics(intent))
        if before_ns is not None and 0 <= now_ns - before_ns < self._window_ns:
            return Reason.DUPLICATE_ECONOMICS, f"{(now_ns - before_ns) // 1_000_000} ms after the first"
        return None

    def sent(self, source: SourceId, now_ns: int, entry: Intent | None = None) -> None:
        """A message is about to leave. entry: the wish behind it, if it is new exposure."""
        self._venue.take(now_ns)
        own = self._sources.get(source) or self._bucket(source)
        if own is not None:
            own.take(now_ns)
        if entry is not None and entry.action is _NEW:
            self._remember(_economics(entry), now_ns)

    def throttled(self, source: SourceId, now_ns: int) -> None:
        """An entry was denied THROTTLED; as many within a second as the source may send stop it."""
        if source not in self._limits.sources:
            return
        refused = self._refused.setdefault(source, deque())
        refused.append(now_ns)
        while refused and now_ns - refused[0] >= SECOND_NS:
            refused.popleft()
        if len(refused) >= self._rate(source):
            refused.clear()
            self._over[source] = f"throttled {self._rate(source)} times within a second"

    def filled(self, order: Order, fill: Fill) -> None:
        """The first fill of an entry is one execution. order: as this fill left it."""
        if order.filled == fill.qty:
            self._executed(order, fill)

    def _executed(self, order: Order, fill: Fill) -> None:
        limits = self._limits.sources.get(order.source)
        if order.order_class is not _INCREASE or limits is None:
            return
        begun = self._entries.setdefault((order.source, order.instrument), deque())
        begun.append(fill.event_ns)
        while begun and fill.event_ns - begun[0] >= limits.entries_window_ns:
            begun.popleft()
        if len(begun) > limits.entries:
            self._over[order.source] = (
                f"{len(begun)} entries in {order.instrument} began to fill within its window; "
                f"{limits.entries} are allowed"
            )

    def restore(
        self, orders: Iterable[Order], fills: Iterable[Fill], starts: Iterable[tuple[SourceId, int]] = ()
    ) -> None:
        """Executions of the log, in its order. One too many among them stops its source now, unless it was
        stopped before: a core may have been killed between that fill and the stop.

        starts: sources that were started again, each after so many of the fills.
        """
        by_id = {order.id: order for order in orders}
        to_come = deque(starts)
        for number, fill in enumerate(fills):
            while to_come and to_come[0][1] <= number:
                self.forget(to_come.popleft()[0])
            order = by_id.pop(fill.order_id, None)  # its further fills are no execution
            if order is not None:
                self._executed(order, fill)
        for source, _ in to_come:
            self.forget(source)

    def forget(self, source: SourceId) -> None:
        """It was started again: executions and refusals count anew."""
        self._over.pop(source, None)
        self._refused.pop(source, None)
        for key in [key for key in self._entries if key[0] == source]:
            del self._entries[key]

    def take_over(self) -> list[tuple[SourceId, str]]:
        """Sources to be stopped now, each once, and why."""
        if not self._over:
            return []
        over = list(self._over.items())
        self._over.clear()
        return over

    def _bucket(self, source: SourceId) -> Bucket | None:
        """None for a source nobody configured: it may send nothing, and its cancels are the venue's alone."""
        limits = self._limits.sources.get(source)
        if limits is None:
            return None
        made = self._sources[source] = Bucket(limits.messages)
        return made

    def _rate(self, source: SourceId) -> int:
        limits = self._limits.sources.get(source)
        return limits.messages if limits is not None else 0

    def _remember(self, key: Economics, now_ns: int) -> None:
        if not self._window_ns:
            return
        self._recent[key] = now_ns
        self._recent.move_to_end(key)
        oldest = next(iter(self._recent))
        if now_ns - self._recent[oldest] >= self._window_ns:
            del self._recent[oldest]


def _economics(intent: Intent) -> Economics:
    return (
        intent.source, intent.instrument, intent.side, intent.qty, intent.order_type, intent.price,
        intent.stop_price,
    )  # fmt: skip
