"""Connector to a paper venue in another process. Never re-posts an order; an unknown fate is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from appliance.domain.errors import PeerError, RefusedError, TransportError
from appliance.domain.fees import FeeSchedule
from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.observation import Observation
from appliance.domain.order import VenueAccount, VenueEvent, VenueOrder
from appliance.domain.sequence import EventSequence
from appliance.domain.verdict import Approved, ApprovedList
from appliance.ports import Clock
from appliance.venues.paper_terms import MarketStep, ReplaceOrder, amend_to_wire, list_to_wire, to_wire
from appliance.venues.wire import SENT_HEADER, WINDOW_HEADER, Recheck, before_write, door_session

TOTAL_S = 5.0
CONNECTIONS = 8
CANCEL_CONNECTIONS = 4  # of their own: a cancel never waits behind entries for a connection
GAP_TRIES = 3
WINDOW_NS = 1_000_000_000
MAX_REPLY = 8_000_000


class _News(Struct, frozen=True):
    seq: int
    events: list[VenueEvent]


_NEWS: msgspec.json.Decoder[_News] = msgspec.json.Decoder(_News)
_ORDER: msgspec.json.Decoder[VenueOrder] = msgspec.json.Decoder(VenueOrder)
_ORDERS: msgspec.json.Decoder[list[VenueOrder]] = msgspec.json.Decoder(list[VenueOrder])
_ACCOUNT: msgspec.json.Decoder[VenueAccount] = msgspec.json.Decoder(VenueAccount)
_FEES: msgspec.json.Decoder[FeeSchedule] = msgspec.json.Decoder(FeeSchedule)
_ENCODER = msgspec.json.Encoder()


class PaperClient:
    """Implements ports.Venue, FeeSource, PaperMarket over loopback HTTP. Use as an async context manager."""

    name = "paper"

    def __init__(self, base_url: str, account: str, recheck: Recheck, clock: Clock, after: int = 0) -> None:
        self._base_url = base_url
        self._path = f"/v1/{account}"
        self._recheck = recheck
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._cancels: aiohttp.ClientSession | None = None
        self._buffer: list[VenueEvent] = []
        self._sequence = EventSequence(after)
        self._gaps = 0  # replies in a row that left one open

    @property
    def after(self) -> int:
        """Number of the last event taken over."""
        return self._sequence.after

    async def __aenter__(self) -> Self:
        self._session = door_session(self._base_url, TOTAL_S, CONNECTIONS)
        self._cancels = door_session(self._base_url, TOTAL_S, CANCEL_CONNECTIONS)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._session, self._cancels):
            if session is not None:
                await session.close()

    async def open(self) -> None:
        """Opens the account, or finds it; events after `after` are fetched."""
        await self._mutate("POST", "", None)

    async def submit(self, order: Approved) -> None:
        """Stamps and writes once, behind the second look. TransportError: the fate is unknown."""
        await self._mutate("POST", "/orders", _ENCODER.encode(to_wire(order)), order)

    async def cancel(self, order: Approved) -> None:
        """Asks for the end of an order; asking twice is harmless."""
        await self._mutate("DELETE", f"/orders/{order.order_id}", None, order)

    async def submit_list(self, orders: ApprovedList) -> None:
        """As `submit`, for orders the venue takes together or not at all."""
        await self._mutate("POST", "/lists", _ENCODER.encode(list_to_wire(orders)), *orders.orders)

    async def amend(self, order: Approved) -> None:
        """Asks for a change. TransportError: look the order up to see whether it has it."""
        path = f"/orders/{order.order_id}"
        await self._mutate("PUT", path, _ENCODER.encode(amend_to_wire(order)), order)

    async def replace_order(self, order: Approved) -> None:
        """Asks for the end of one order and the beginning of another in one message."""
        asked = ReplaceOrder(target=order.target or OrderId(""), order=to_wire(order))
        await self._mutate("POST", "/replace", _ENCODER.encode(asked), order)

    async def events(self) -> Sequence[VenueEvent]:
        """What replies have brought since the last call."""
        fresh, self._buffer = self._buffer, []
        return fresh

    async def poll(self) -> None:
        """Asks for events nobody's reply has brought."""
        self._take(await self._call("GET", f"/events?after={self.after}"))

    async def open_orders(self) -> Sequence[VenueOrder]:
        """Everything that can still fill."""
        return _decode(_ORDERS, await self._call("GET", "/orders"))

    async def order(self, order_id: OrderId) -> VenueOrder | None:
        """One order's fate; None if the venue never saw it."""
        status, body = await self._exchange("GET", f"/orders/{order_id}", None)
        if status == 404 and body == b"no such order":
            return None
        return _decode(_ORDER, _good(status, body))

    async def account(self) -> VenueAccount:
        """Cash and positions."""
        return _decode(_ACCOUNT, await self._call("GET", "/account"))

    async def fees(self) -> FeeSchedule:
        """The schedule fills are charged by."""
        return _decode(_FEES, await self._call("GET", "/fees"))

    async def step(self, observation: Observation, number: int) -> None:
        """Moves the venue's market."""
        step = MarketStep(number=number, observation=observation)
        await self._mutate("POST", "/market", _ENCODER.encode(step))

    async def stand_still(self, instruments: Sequence[InstrumentId]) -> None:
        """Shows the last prices once more."""
        await self._mutate("POST", "/still", _ENCODER.encode(list(instruments)))

    async def _mutate(self, method: str, path: str, body: bytes | None, *orders: Approved) -> None:
        def last_look() -> dict[str, str]:
            for order in orders:
                self._recheck(order)
            return {SENT_HEADER: str(self._clock.utc_ns()), WINDOW_HEADER: str(WINDOW_NS)} if orders else {}

        token = before_write.set(last_look)
        try:
            self._take(await self._call(method, f"{path}?after={self.after}", body))
        finally:
            before_write.reset(token)

    def _take(self, body: bytes) -> None:
        """Two replies may bring the same events, or in another order; what is missing is asked for again
        with the next request. Raises PeerError if the venue keeps leaving it out."""
        self._buffer += self._sequence.take(_decode(_NEWS, body).events)
        self._gaps = self._gaps + 1 if self._sequence.gap else 0
        if self._gaps >= GAP_TRIES:
            raise PeerError(f"the venue's events leave out number {self.after + 1}")

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        return _good(*await self._exchange(method, path, body))

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        session = self._cancels if method == "DELETE" else self._session
        if session is None:
            raise TransportError("the connector is not open")
        try:
            async with session.request(method, self._path + path, data=body, allow_redirects=False) as reply:
                return reply.status, await _bounded(reply)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(
                "the paper venue does not answer",
                f"{type(error).__name__}: {error} ({self._base_url})",
                "interlock paper-venue",
            ) from error


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_chunked(65_536):
        body += chunk
        if len(body) > MAX_REPLY:
            raise PeerError(f"the paper venue's answer is longer than {MAX_REPLY} bytes")
    return bytes(body)


def _good(status: int, body: bytes) -> bytes:
    if status == 200:
        return body
    why = body[:200].decode("utf-8", "replace")
    raise RefusedError(f"the paper venue answers {status}", why, status=status)


_T = TypeVar("_T")


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise PeerError("the paper venue's answer cannot be read", str(error)) from error
