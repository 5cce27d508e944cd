"""The least a venue must be asked while everything else may be broken: what is open, and cancel this.

Standard library only, one connection, one thread, bounded waits; no gate and no way to send an order. Talks
to the paper venue; a live venue gets its own of these beside its connector.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence

import msgspec

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.ids import OrderId
from appliance.domain.order import VenueOrder

TIMEOUT_S = 2.0
MAX_REPLY = 8_000_000
_ORDERS: msgspec.json.Decoder[list[VenueOrder]] = msgspec.json.Decoder(list[VenueOrder])


class CancelClient:
    """One venue account on 127.0.0.1. Raises TransportError (no answer) and PeerError (a wrong one)."""

    def __init__(self, port: int, account: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connects with the first question, and again after an error."""
        self._path = f"/v1/{account}"
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def entries(self) -> Sequence[VenueOrder]:
        """Open orders that can increase exposure: neither reduce-only nor attached to another."""
        listed = self._ask("GET", "/orders")
        try:
            orders = _ORDERS.decode(listed)
        except msgspec.MsgspecError as error:
            raise PeerError("the venue's list cannot be read", str(error)) from error
        return [order for order in orders if not order.reduce_only and order.parent is None]

    def cancel(self, order_id: OrderId) -> None:
        """Asks for the end of one order; asking twice is harmless."""
        self._ask("DELETE", f"/orders/{order_id}")

    def close(self) -> None:
        """Drops the connection."""
        self._link.close()

    def _ask(self, method: str, path: str) -> bytes:
        try:
            self._link.request(method, self._path + path)
            reply = self._link.getresponse()
            body = reply.read(MAX_REPLY + 1)
        except (OSError, http.client.HTTPException) as error:
            self._link.close()
            raise TransportError("the venue does not answer", f"{type(error).__name__}: {error}") from error
        if reply.status != 200 or len(body) > MAX_REPLY:
            self._link.close()
            raise PeerError(f"the venue answers {reply.status}", body[:200].decode("utf-8", "replace"))
        return body
