"""`interlock paper-venue`: the paper venue as a process of its own, so that a killed core has something to
reconcile with. Loopback HTTP with JSON bodies; every answer that changes something carries the events the
caller has not seen (`?after=N`).

    POST   /v1/{account}                        open (or find) an account
    POST   /v1/{account}/orders                 NewOrder
    DELETE /v1/{account}/orders/{id}
    PUT    /v1/{account}/orders/{id}            AmendOrder
    POST   /v1/{account}/lists                  NewList: all or none
    POST   /v1/{account}/replace                ReplaceOrder: both or neither
    GET    /v1/{account}/orders[/{id}]
    GET    /v1/{account}/account
    GET    /v1/{account}/events
    GET    /v1/{account}/fees                   FeeSchedule
    POST   /v1/{account}/market                 {number, observation: Bar | Quote | Trade}
    POST   /v1/{account}/still                  [symbol, …]
    POST   /v1/{account}/faults                 Fault; only if the venue was started with faults allowed
    GET    /v1/time   GET /healthz
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.instrument import Instrument
from appliance.ports import Clock
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_faults import ENGINE, Fault, FaultKind, Faults
from appliance.venues.paper_journal import (
    AmendAsked,
    CancelAsked,
    Input,
    Journal,
    ListSubmitted,
    Opened,
    Replaced,
    Stepped,
    StoodStill,
    Submitted,
    apply_input,
    read_journal,
)
from appliance.venues.paper_terms import AmendOrder, MarketStep, NewList, NewOrder, PaperTerms, ReplaceOrder
from appliance.venues.wire import SENT_HEADER, WINDOW_HEADER

MAX_BODY = 65_536
MAX_EVENTS = 5_000
_ACCOUNT = re.compile(r"[a-z0-9-]{1,40}")
_ENCODER = msgspec.json.Encoder()
_ORDERS: msgspec.json.Decoder[NewOrder] = msgspec.json.Decoder(NewOrder)
_LISTS: msgspec.json.Decoder[NewList] = msgspec.json.Decoder(NewList)
_AMENDS: msgspec.json.Decoder[AmendOrder] = msgspec.json.Decoder(AmendOrder)
_REPLACES: msgspec.json.Decoder[ReplaceOrder] = msgspec.json.Decoder(ReplaceOrder)
_FAULTS: msgspec.json.Decoder[Fault] = msgspec.json.Decoder(Fault)
_MARKET: msgspec.json.Decoder[MarketStep] = msgspec.json.Decoder(MarketStep)
_SYMBOLS: msgspec.json.Decoder[list[InstrumentId]] = msgspec.json.Decoder(list[InstrumentId])


class PaperServer:
    """All accounts of one venue; one event loop owns them."""

    def __init__(
        self,
        instruments: Iterable[Instrument],
        terms: PaperTerms,
        journal: Path,
        clock: Clock,
        faults: Faults | None = None,
    ) -> None:
        """faults: switches for tests and drills; None refuses to arm any."""
        self._instruments = tuple(instruments)
        self._terms = terms
        self._clock = clock
        self._faults = faults
        self._closing = asyncio.Event()
        self.engines: dict[str, PaperEngine] = {}
        for entry in read_journal(journal):
            self._apply(entry)
        self._journal = Journal(journal)

    def app(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
        route = application.router
        route.add_get("/healthz", self._health)
        route.add_get("/v1/time", self._time)
        route.add_post("/v1/{account}", self._open)
        route.add_post("/v1/{account}/orders", self._submit)
        route.add_get("/v1/{account}/orders", self._orders)
        route.add_get("/v1/{account}/orders/{id}", self._order)
        route.add_delete("/v1/{account}/orders/{id}", self._cancel)
        route.add_put("/v1/{account}/orders/{id}", self._amend)
        route.add_post("/v1/{account}/lists", self._list)
        route.add_post("/v1/{account}/replace", self._replace)
        route.add_post("/v1/{account}/faults", self._arm)
        route.add_get("/v1/{account}/account", self._account)
        route.add_get("/v1/{account}/events", self._events)
        route.add_get("/v1/{account}/fees", self._fees)
        route.add_post("/v1/{account}/market", self._market)
        route.add_post("/v1/{account}/still", self._still)
        application.on_shutdown.append(self._let_go)
        application.on_cleanup.append(self._close)
        return application

    async def _let_go(self, _app: web.Application) -> None:
        self._closing.set()

    async def _close(self, _app: web.Application) -> None:
        self._journal.close()

    def _take(self, entry: Input, *, durable: bool) -> None:
        self._journal.append(entry, durable=durable)
        self._apply(entry)

    def _apply(self, entry: Input) -> None:
        if isinstance(entry, Opened):
            if entry.account not in self.engines:
                self.engines[entry.account] = PaperEngine(entry.account, self._instruments, self._terms)
            return
        apply_input(self.engines[entry.account], entry)

    def _engine(self, request: web.Request) -> PaperEngine:
        name = request.match_info["account"]
        if name not in self.engines:
            raise web.HTTPNotFound(text=f"no account {name[:40]!r}; open it with POST /v1/NAME")
        return self.engines[name]

    def _news(self, request: web.Request, engine: PaperEngine) -> web.Response:
        after = request.query.get("after", "0")
        if not after.isdigit():
            raise web.HTTPBadRequest(text="after must be a number")
        start = int(after)
        events = engine.ledger.log[start : start + MAX_EVENTS]
        if self._faults is not None:
            events = self._faults.reported(events)
        return _json({"seq": len(engine.ledger.log), "events": events})

    def _in_window(self, request: web.Request) -> None:
        sent, window = request.headers.get(SENT_HEADER, ""), request.headers.get(WINDOW_HEADER, "")
        if not (sent.isdigit() and window.isdigit()):
            raise web.HTTPBadRequest(text=f"an order carries {SENT_HEADER} and {WINDOW_HEADER}")
        late_ns = self._clock.utc_ns() - int(sent) - int(window)
        if late_ns > 0:
            raise web.HTTPBadRequest(text=f"outside the validity window by {late_ns} ns")

    async def _health(self, _request: web.Request) -> web.Response:
        return _json({"ok": True, "accounts": len(self.engines)})

    async def _time(self, _request: web.Request) -> web.Response:
        return _json({"utc_ns": str(self._clock.utc_ns())})

    async def _open(self, request: web.Request) -> web.Response:
        name = request.match_info["account"]
        if not _ACCOUNT.fullmatch(name):
            raise web.HTTPBadRequest(text="account names have 1 to 40 characters of a-z, 0-9 and -")
        if name not in self.engines:
            self._take(Opened(name), durable=True)
        return self._news(request, self.engines[name])

    async def _submit(self, request: web.Request) -> web.Response:
        engine = self._engine(request)
        order = _ORDERS.decode(await request.read())
        self._in_window(request)
        account = engine.ledger.name
        return await self._answer(
            request, "submit", lambda fault: Submitted(account, order, "FAULT" if fault else "")
        )

    async def _list(self, request: web.Request) -> web.Response:
        engine = self._engine(request)
        orders = _LISTS.decode(await request.read())
        self._in_window(request)
        return await self._answer(request, "list", lambda _: ListSubmitted(engine.ledger.name, orders))

    async def _cancel(self, request: web.Request) -> web.Response:
        account, order_id = self._engine(request).ledger.name, OrderId(request.match_info["id"])
        return await self._answer(
            request, "cancel", lambda fault: CancelAsked(account, order_id, fault.qty if fault else 0)
        )

    async def _amend(self, request: web.Request) -> web.Response:
        account, order_id = self._engine(request).ledger.name, OrderId(request.match_info["id"])
        change = _AMENDS.decode(await request.read())
        self._in_window(request)
        return await self._answer(request, "amend", lambda _: AmendAsked(account, order_id, change))

    async def _replace(self, request: web.Request) -> web.Response:
        account = self._engine(request).ledger.name
        asked = _REPLACES.decode(await request.read())
        self._in_window(request)
        return await self._answer(request, "replace", lambda _: Replaced(account, asked.target, asked.order))

    async def _arm(self, request: web.Request) -> web.Response:
        if self._faults is None:
            raise web.HTTPForbidden(text="this venue was not started with faults allowed")
        self._engine(request)
        self._faults.arm(_FAULTS.decode(await request.read()))
        return _json({"ok": True})

    async def _answer(
        self, request: web.Request, on: str, entry: Callable[[Fault | None], Input]
    ) -> web.Response:
        """Takes an input and answers with the news, unless a switch says otherwise."""
        fault = self._faults.next(on) if self._faults is not None else None
        kind = fault.kind if fault is not None else None
        if kind is FaultKind.HANG:
            await self._closing.wait()
        if kind in (FaultKind.HANG, FaultKind.ERROR_BEFORE):
            raise web.HTTPInternalServerError(text="a fault switch; nothing was taken")
        if fault is not None and kind is FaultKind.DELAY:
            await asyncio.sleep(fault.delay_ms / 1000)
        self._take(entry(fault if kind in ENGINE.values() else None), durable=True)
        if kind is FaultKind.ERROR_AFTER:
            raise web.HTTPInternalServerError(text="a fault switch; it was taken")
        if kind is FaultKind.DROP_REPLY and request.transport is not None:
            request.transport.close()
        return self._news(request, self._engine(request))

    async def _orders(self, request: web.Request) -> web.Response:
        return _json([order.describe() for order in self._engine(request).ledger.live.values()])

    async def _order(self, request: web.Request) -> web.Response:
        order = self._engine(request).ledger.orders.get(OrderId(request.match_info["id"]))
        if order is None:
            raise web.HTTPNotFound(text="no such order")
        return _json(order.describe())

    async def _account(self, request: web.Request) -> web.Response:
        return _json(self._engine(request).ledger.account())

    async def _events(self, request: web.Request) -> web.Response:
        return self._news(request, self._engine(request))

    async def _fees(self, request: web.Request) -> web.Response:
        return _json(self._engine(request).ledger.fees)

    async def _market(self, request: web.Request) -> web.Response:
        engine = self._engine(request)
        step = _MARKET.decode(await request.read())
        symbol = step.observation.instrument
        if symbol not in engine.instruments:
            raise web.HTTPBadRequest(text=f"unknown symbol {symbol[:40]!r}")
        if step.number > engine.ledger.steps:
            self._take(Stepped(engine.ledger.name, step.observation, step.number), durable=False)
        return self._news(request, engine)

    async def _still(self, request: web.Request) -> web.Response:
        engine = self._engine(request)
        symbols = _SYMBOLS.decode(await request.read())
        self._take(
            StoodStill(engine.ledger.name, [s for s in symbols if s in engine.instruments]), durable=False
        )
        return self._news(request, engine)


def _json(value: Any) -> web.Response:
    return web.Response(body=_ENCODER.encode(value), content_type="application/json")


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A body that is not what the path takes is the caller's mistake, said in one line."""
    try:
        return await handler(request)
    except msgspec.MsgspecError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
