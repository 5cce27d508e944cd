"""What the pure stages need from outside, as protocols. R0. Edges implement them, `runtime.build` connects.

Fakes that tests use ship beside the real implementation and pass the same contract suite.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from appliance.domain.fees import FeeSchedule
from appliance.domain.ids import InstrumentId, OrderId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Side
from appliance.domain.mode import Mode, TripReason
from appliance.domain.observation import Observation
from appliance.domain.order import Order, VenueAccount, VenueEvent, VenueOrder
from appliance.domain.verdict import Approved, ApprovedList


class Clock(Protocol):
    """Two clocks that must not be mixed (SAFETY 3, 10)."""

    def utc_ns(self) -> int:
        """The market's time: wall clock live, time of the last observation in a replay."""
        ...

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC, real even in a replay: heartbeats, deadlines, latency."""
        ...


class PageReading(Struct, frozen=True, gc=False):
    """The words of the guard's page the gate needs (SAFETY 3). Each was read once, in this order.

    present: the page is mapped and belongs to this boot and layout.
    state: trip epoch.  armed, complement: open only if armed == state and complement == ~armed.
    heartbeat_ns: CLOCK_MONOTONIC of the guard's last loop.  reason: TripReason number.
    """

    present: bool
    state: int
    armed: int
    complement: int
    heartbeat_ns: int
    reason: int


class InterlockPage(Protocol):
    """The guard's page as the core sees it. Reading costs no lock and no system call."""

    def read(self) -> PageReading:
        """Never raises; an unmapped page reads `present=False`."""
        ...


class GuardStatus(Struct, frozen=True, kw_only=True):
    """The guard's page as the safety controller reads it every few milliseconds.

    boot: the boot the page belongs to, empty without a page.  generation: guard starts within it.
    last: reason of the latest trip.  later: reasons that came after the first.  stored: epoch whose trip is
    durable.  liquidate: epoch in which the button read open for 20 ms.  arm_presses, arm_outcome: count and
    result of arm presses.  lamps: pattern names green, yellow, red.  trip_ns: CLOCK_MONOTONIC;
    trip_utc_ns: for people.  arm_source: KEY or OPERATOR.  arm_operator: fingerprint of the operator key
    behind a signed command, 16 hex digits, empty for the arm key.  arm_subject: of the name it is about, 0 if
    it is about none.  refused, refusal: signed commands the guard refused since it started, and why the last.
    """

    page: PageReading
    boot: str
    generation: int
    last: int
    later: frozenset[TripReason]
    stored: int
    liquidate: int
    arm_presses: int
    arm_outcome: str
    simulated: bool
    realtime: bool
    lamps: tuple[str, str, str]
    trip_ns: int
    trip_utc_ns: int
    arm_source: str = "NONE"
    arm_operator: str = ""
    arm_subject: int = 0
    refused: int = 0
    refusal: str = "NONE"


class GuardLink(InterlockPage, Protocol):
    """The page, and the core's own page the guard reads."""

    def status(self) -> GuardStatus:
        """Everything on the guard's page; never raises."""
        ...

    def request_trip(self, reason: TripReason) -> None:
        """Ask the guard to adopt and persist a trip that started in the core. Idempotent while it stands."""
        ...

    def permit(self, trip_epoch: int) -> None:
        """Consent to arming out of exactly this trip epoch; 0 withdraws it."""
        ...

    def publish_mode(self, mode: Mode) -> None:
        """Show the mode to the guard's lights."""
        ...


class Latch(Protocol):
    """What the door checks: may an order of this epoch still leave (SAFETY 4)?"""

    def epoch(self) -> int:
        """Current trip epoch."""
        ...

    def is_open(self) -> bool:
        """True only if the guard's page and the core's own latch both say so."""
        ...


class InstrumentView(Protocol):
    """Market and exposure of one instrument as the gate sees them. Quantities are signed, long positive.

    position: confirmed by the venue.  working_buy, working_sell: leaves of our working orders, without
    protective legs.  price_ns: UTC of the last good price, 0 if there never was one.  buy_top, sell_top:
    dearest price a working entry of that side may fill at, or more; 0 without one.  worst: value of the
    position with all working orders of its dearer side.  cost: signed value at entry of what is held.
    """

    instrument: Instrument
    bid: int
    ask: int
    last: int
    price_ns: int
    position: int
    working_buy: int
    working_sell: int
    buy_top: int
    sell_top: int
    worst: int

    @property
    def cost(self) -> int:
        """An amount."""
        ...


class DeclineView(Protocol):
    """loss_ppm: below the day's first equity.  drawdown_ppm: below the peak. Rounded up, never negative."""

    loss_ppm: int
    drawdown_ppm: int


class SourceView(Protocol):
    """What one source has of the account. held_cost, working_cost: its positions', its working entries', both
    amounts.  stopped_reason: empty unless its allocation's drawdown limit was passed (latched)."""

    held_cost: int
    working_cost: int
    stopped_reason: str


class AccountView(Protocol):
    """The account as the gate sees it; amounts are scaled integers. gross: Σ `worst` of every instrument."""

    gross: int

    @property
    def equity(self) -> int:
        """Portfolio value: cash and positions at the conservative mark (SAFETY 9)."""
        ...

    @property
    def decline(self) -> DeclineView:
        """How far the account's equity has fallen."""
        ...

    @property
    def equity_ns(self) -> int:
        """UTC of the oldest price in it of anything held, 0 if there is none (SAFETY 9)."""
        ...

    @property
    def free_margin(self) -> int:
        """Collateral less the initial margin of everything held and working; may be negative."""
        ...

    def cross_margin(self, instrument: InstrumentId) -> int:
        """Collateral without one instrument, less the maintenance margin of the others."""
        ...

    def correlated(self, instrument: InstrumentId, side: Side) -> bool | None:
        """Would an entry stand beside one that moves with it? None: beside one of which nobody knows."""
        ...

    def view(self, instrument: InstrumentId) -> InstrumentView | None:
        """None if the instrument is not configured."""
        ...

    def source(self, source: SourceId) -> SourceView | None:
        """None for a source without an allocation, which has nothing."""
        ...

    def source_exposure(self, source: SourceId) -> int:
        """Cost of the source's positions and working entries, an amount."""
        ...

    def source_stopped(self, source: SourceId) -> bool:
        """True once its allocation's drawdown limit was passed (latched)."""
        ...


class FeeView(Protocol):
    """The fee schedule as the gate sees it: words computed when a schedule came, none per order (FEE-03).

    until_ns: CLOCK_MONOTONIC of the last instant it may be used, 0 if none ever came.
    cost_ppm: an entry's value with the highest fee, in ppm of the value.
    cost_fixed: the most an order costs besides, an amount.
    """

    until_ns: int
    cost_ppm: int
    cost_fixed: int


class FeeSource(Protocol):
    """Where a venue's fee schedule comes from."""

    async def fees(self) -> FeeSchedule:
        """The schedule now. Raises TransportError (no answer) or PeerError (one that cannot be used)."""
        ...


class Ticket(Protocol):
    """One appended group of audit entries."""

    @property
    def index(self) -> int:
        """Log index of its first entry, known before it is durable."""
        ...

    async def durable(self) -> None:
        """Returns once it survives a power cut; raises StoreError if that cannot be known."""
        ...


class Entry(Struct, frozen=True, kw_only=True):
    """One audit entry before it is numbered.

    kind: see `audit.records.KINDS`.  utc_ns, mono_ns: both clocks.  causes: log indices it follows from.
    data: ASCII keys; strings, booleans, integers below 2^53, lists and mappings of those; no floats.
    """

    kind: str
    utc_ns: int
    mono_ns: int
    data: Mapping[str, object]
    causes: tuple[int, ...] = ()


class AuditLog(Protocol):
    """Append-only, signed, one writer. Entries of one `append` and its order rows share one transaction."""

    def append(self, entries: Sequence[Entry], orders: Sequence[Order] = ()) -> Ticket:
        """Numbers the entries and starts writing them; never blocks."""
        ...


class Scribe(Protocol):
    """The log as the pure flow writes to it: times and numbering are added."""

    def note(
        self,
        kind: str,
        data: Mapping[str, object],
        *,
        causes: Sequence[int] = (),
        orders: Sequence[Order] = (),
    ) -> Ticket:
        """One entry, with the order rows that belong into its transaction."""
        ...


class Patience(Protocol):
    """Waiting with a limit: the pure flow has no clock of its own to sleep on."""

    async def durable_within(self, ticket: Ticket, limit_ns: int) -> bool:
        """True once the ticket is durable, False when the limit passes first. Raises StoreError."""
        ...

    async def together(self, works: Sequence[Awaitable[None]]) -> None:
        """Does all of them side by side, a bounded number at a time; raises the first error at the end."""
        ...


class Venue(Protocol):
    """An exchange account. The only parameter that makes anything leave the box is an `Approved`.

    Replies arrive as events; what asks for something raises TransportError when the fate is unknown,
    RefusedError when the venue answered with an error (`orders.replies` says what that means) and
    `StoppedAtWire` when the latch refused between the gate and the wire (SAFETY 4).
    """

    name: str

    async def submit(self, order: Approved) -> None:
        """Sends a new order once. Never retried here: its fate is looked up by id."""
        ...

    async def submit_list(self, orders: ApprovedList) -> None:
        """Sends orders the venue takes together or not at all, in one message."""
        ...

    async def cancel(self, order: Approved) -> None:
        """Asks for the end of `order.order_id`. Never waits behind anything that is not a cancel."""
        ...

    async def amend(self, order: Approved) -> None:
        """Asks for `order.order_id` to become what the approval says."""
        ...

    async def replace_order(self, order: Approved) -> None:
        """Asks for the end of `order.target` and, only if it ends, for this order, in one message."""
        ...

    async def events(self) -> Sequence[VenueEvent]:
        """What happened since the last call, in the venue's order."""
        ...

    async def open_orders(self) -> Sequence[VenueOrder]:
        """Everything that can still fill, protective legs included."""
        ...

    async def order(self, order_id: OrderId) -> VenueOrder | None:
        """The order's fate; None if the venue never saw the id."""
        ...

    async def account(self) -> VenueAccount:
        """Cash and positions as the venue sees them."""
        ...


class PaperMarket(Protocol):
    """The other half of a paper venue: where its prices come from."""

    async def step(self, observation: Observation, number: int) -> None:
        """Moves the venue's market; fills become events. Steps are numbered from 1, and a number that is
        not greater than the last one does nothing: a restarted core repeats its last step safely."""
        ...

    async def stand_still(self, instruments: Sequence[InstrumentId]) -> None:
        """The replay clock is stopped: the last prices stand, so that an exit can fill. Synthetic."""
        ...


class Precedent(Struct, frozen=True, kw_only=True):
    """One earlier observation that resembles the present one. distance: L2 in int8 steps of the embedding."""

    observation: str
    event_ns: int
    distance: int


class Memory(Protocol):
    """Long-term memory. Slow or broken memory delays a signal, never a denial and never an exit."""

    def remember(self, observation: Observation) -> None:
        """Stores it soon; never blocks and never raises."""
        ...

    async def find_similar_conditions(self, instrument: InstrumentId, k: int) -> Sequence[Precedent]:
        """The k conditions most like the latest one of this instrument, itself excluded. Never raises: no
        answer in time is an empty one."""
        ...

    async def settle(self) -> bool:
        """Lets a memory that has fallen behind catch up, for a bounded time; a replay at full speed calls it
        now and then. False if it did not catch up."""
        ...


class StoppedAtWire(Exception):  # noqa: N818 - a verdict of the door, not an error
    """The connector refused to write: latch moved or approval expired. The order did not leave."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
