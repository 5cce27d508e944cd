"""A test's own hand at the paper venue: orders as a core might have left them, and what is open there."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

from appliance.runtime.venue_note import VenueNote


def ask(port: int, method: str, path: str, body: object = None) -> Any:
    """One request to the venue; its decoded answer."""
    now = str(time.time_ns())
    headers = {"X-Interlock-Sent-Ns": now, "X-Interlock-Window-Ns": "1000000000"}
    data = None if body is None else json.dumps(body).encode()
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        link.request(method, path, data, headers)
        reply = link.getresponse()
        answer = reply.read()
    finally:
        link.close()
    assert reply.status == 200, answer
    return json.loads(answer)


def open_orders(note: VenueNote) -> dict[str, bool]:
    """Client ids of open orders, and whether each only reduces."""
    listed = ask(note.port, "GET", f"/v1/{note.account}/orders")
    return {order["order_id"]: order["reduce_only"] for order in listed}


def entry_id(number: int, series: int = 0) -> str:
    """Client id of one of `place_entries`."""
    return f"il-{series:015x}{number:015x}"


def place_entries(note: VenueNote, count: int, series: int = 0) -> None:
    """Resting buys far below the market."""
    for number in range(count):
        order = {
            "order_id": entry_id(number, series),
            "instrument": "SPX",
            "side": "BUY",
            "qty": 100,
            "order_type": "LIMIT",
            "price": 100 + number,
            "stop_price": None,
            "attached_stop": None,
            "time_in_force": "GTC",
            "reduce_only": False,
        }
        ask(note.port, "POST", f"/v1/{note.account}/orders", order)
