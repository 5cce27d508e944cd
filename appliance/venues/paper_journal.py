"""The paper venue's order log: everything it was told, in order, durable before it answers an order.

It is the judge of what really arrived: a test that kills the core compares the core's books with this file.
On start the inputs are replayed into fresh engines; determinism makes their events the same ones. A line
torn by a power cut is cut off; a damaged line before the end is an error, never skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from appliance.domain.errors import StoreError
from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.observation import Bar, Quote, Trade
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_terms import AmendOrder, NewList, NewOrder


class Submitted(Struct, frozen=True, tag="submit"):
    """A new order arrived. fault: the code a switch rejects it with."""

    account: str
    order: NewOrder
    fault: str = ""


class ListSubmitted(Struct, frozen=True, tag="list"):
    """An order list arrived."""

    account: str
    orders: NewList


class CancelAsked(Struct, frozen=True, tag="cancel"):
    """A cancel arrived. late_fill: quantity a switch reports as filled after it."""

    account: str
    order_id: OrderId
    late_fill: int = 0


class AmendAsked(Struct, frozen=True, tag="amend"):
    """An amendment arrived."""

    account: str
    order_id: OrderId
    change: AmendOrder


class Replaced(Struct, frozen=True, tag="replace"):
    """A cancel-and-replace arrived."""

    account: str
    target: OrderId
    order: NewOrder


class Stepped(Struct, frozen=True, tag="step"):
    """The market moved."""

    account: str
    observation: Bar | Quote | Trade
    number: int


class StoodStill(Struct, frozen=True, tag="still"):
    """The market's last prices were shown again."""

    account: str
    instruments: list[InstrumentId]


class Opened(Struct, frozen=True, tag="open"):
    """An account was opened with the venue's start cash."""

    account: str


Input: TypeAlias = (
    Submitted | ListSubmitted | CancelAsked | AmendAsked | Replaced | Stepped | StoodStill | Opened
)

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Input] = msgspec.json.Decoder(Input)


def apply_input(engine: PaperEngine, entry: Input) -> None:
    """Does to an engine what an input asks; the one function both a request and a restart go through."""
    match entry:
        case Submitted(order=order, fault=fault):
            engine.submit(order, fault)
        case ListSubmitted(orders=orders):
            engine.submit_list(orders)
        case CancelAsked(order_id=order_id, late_fill=late_fill):
            engine.cancel(order_id, late_fill)
        case AmendAsked(order_id=order_id, change=change):
            engine.amend(order_id, change)
        case Replaced(target=target, order=order):
            engine.replace(target, order)
        case Stepped(observation=observation, number=number):
            engine.step(observation, number)
        case StoodStill(instruments=instruments):
            for symbol in instruments:
                engine.stand_still(symbol)
        case Opened():
            pass  # the engine is there: opening an account twice finds it


def read_journal(path: Path) -> Iterator[Input]:
    """Every complete line; truncates a torn last one. Raises StoreError naming the damaged line."""
    if not path.exists():
        return
    good = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = _DECODER.decode(line)
            except msgspec.MsgspecError as error:
                raise StoreError(
                    "the paper venue's order log is damaged", f"{error} ({path}:{number})", "interlock doctor"
                ) from error
            good += len(line)
            yield entry
    if good != path.stat().st_size:
        os.truncate(path, good)


class Journal:
    """Appends inputs. Orders and cancels are fsynced before the answer; market steps ride along."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = path.open("ab")

    def append(self, entry: Input, *, durable: bool) -> None:
        """Raises StoreError when a durable line cannot be made so; the server then ends."""
        try:
            self._handle.write(_ENCODER.encode(entry) + b"\n")
            if durable:
                self._handle.flush()
                os.fsync(self._handle.fileno())
        except OSError as error:
            what = "the paper venue's order log cannot be written"
            raise StoreError(what, f"{error} ({self._path})") from error

    def close(self) -> None:
        """Flushes what rode along."""
        self._handle.close()
