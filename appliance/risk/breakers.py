"""Every breaker of the core, what an opening does to others, and the one answer the gate asks for (CB-04).

Nothing is stored that follows from the breakers: the global state is the worst of those which new exposure
depends on, and an opening does not push its dependants into a state of their own, because they would have to
cool down and probe again for a fault that was not theirs. They are refused while what they need is not
closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from appliance.domain.breaker import BreakerChange, BreakerState, Component, Refusal
from appliance.risk.breaker import Breaker, BreakerSettings

DEPENDANTS: dict[Component, tuple[Component, ...]] = {
    Component.ORDER_ENTRY: (),
    Component.LOOK_UPS: (Component.ORDER_ENTRY,),  # an order whose fate nobody can look up is not sent
    Component.MARKET: (Component.ORDER_ENTRY,),  # no new exposure in a market that is not seen
    Component.MEMORY: (),  # slow or broken memory never denies an order
    Component.UPSTREAM: (),  # trading goes on; the backlog is kept
}
"""Component → what is refused with it (CB-13, the cascade). Exits are never refused (P40)."""

_ORDER = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)


def needs_of(component: Component) -> tuple[Component, ...]:
    """Everything `component` depends on, directly or not: DEPENDANTS read backwards."""
    direct = [each for each, dependants in DEPENDANTS.items() if component in dependants]
    found = dict.fromkeys(direct)
    for each in direct:
        found |= dict.fromkeys(needs_of(each))
    return tuple(found)


class Breakers:
    """One per core. mono_ns: CLOCK_MONOTONIC.

    tell: hears of every change; must not raise.
    """

    def __init__(self, settings: BreakerSettings, mono_ns: Callable[[], int]) -> None:
        self.tell: Callable[[BreakerChange], None] = _tell_nobody
        made: dict[Component, Breaker] = {}
        for component in sorted(Component, key=lambda each: len(needs_of(each))):
            needs = tuple(made[each] for each in needs_of(component))
            made[component] = Breaker(component, settings, mono_ns, self._changed, needs)
        self._made = {component: made[component] for component in Component}
        self._entry = made[Component.ORDER_ENTRY]
        self._decide = [self._entry, *(made[each] for each in needs_of(Component.ORDER_ENTRY))]

    def __getitem__(self, component: Component) -> Breaker:
        return self._made[component]

    def __iter__(self) -> Iterator[Breaker]:
        return iter(self._made.values())

    def refusal(self, now_ns: int) -> Refusal | None:
        """Why new exposure is refused now, or None. now_ns: CLOCK_MONOTONIC."""
        return self._entry.refusal(now_ns)

    def state(self) -> BreakerState:
        """The global state: the worst of what new exposure depends on."""
        return max((each.state for each in self._decide), key=_ORDER.index)

    def describe(self) -> str:
        """What keeps new exposure away, for a denial's detail."""
        return self._entry.describe()

    def settle(self, now_ns: int) -> None:
        """What time alone changes; see `Breaker.settle`."""
        for each in self._made.values():
            each.settle(now_ns)

    def _changed(self, change: BreakerChange) -> None:
        self.tell(change)


def _tell_nobody(_change: BreakerChange) -> None:
    return
