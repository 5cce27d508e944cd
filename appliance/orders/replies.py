"""What a venue's answer means for the fate of what was asked (PROD_004; SAFETY 4). One literal table.

    FINAL      known: it was not taken and never will be. Asking for the same thing again is pointless.
    RETRYABLE  known: it was not taken; a new try under a new id may work later.
    UNKNOWN    it may have been taken: look it up by id, never send it again.

Only a fate that is known may lead to another try. What is not in the table is UNKNOWN.
"""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """Of a request that was answered with an error."""

    FINAL = "FINAL"
    RETRYABLE = "RETRYABLE"
    UNKNOWN = "UNKNOWN"


F, R, U = Fate.FINAL, Fate.RETRYABLE, Fate.UNKNOWN

FATE_OF_CODE: dict[str, Fate] = {
    # the paper venue's
    "SYMBOL": F,
    "PRICE_FILTER": F,
    "LOT_SIZE": F,
    "MIN_NOTIONAL": F,
    "BAD_ORDER": F,
    "EXPIRED": F,
    "LIST": F,
    "POSITION": F,
    "CASH": F,
    "REPLACE": F,
    "FAULT": R,
    "CLOSED": R,
    "DUPLICATE": U,  # something of ours has this id: which fate it had, the look-up says
    # Binance, spot REST and websocket API
    "-1000": U,  # unknown error while processing
    "-1001": U,  # internal error, disconnected
    "-1003": R,  # too many requests
    "-1006": U,  # unexpected response, execution status unknown
    "-1007": U,  # timeout of the backend, execution status unknown
    "-1008": R,  # overloaded, not processed
    "-1013": F,  # filter failure
    "-1015": R,  # too many new orders
    "-1016": R,  # service shutting down
    "-1021": R,  # outside recvWindow: the clocks differ
    "-1022": F,  # signature
    "-1100": F,
    "-1102": F,
    "-1111": F,
    "-1116": F,
    "-1121": F,  # invalid symbol
    "-2010": F,  # new order rejected
    "-2011": U,  # cancel rejected: ended, or unknown to it
    "-2013": U,  # order does not exist: counts only after the window
    "-2014": F,
    "-2015": F,
    "-2021": U,  # cancel and replace: one half failed
    "-2022": F,  # cancel and replace: both halves failed
}
"""Venue code → fate."""

FATE_OF_STATUS: dict[int, Fate] = {
    400: F,
    401: F,
    403: F,
    404: F,
    405: F,
    409: U,  # cancel and replace in part
    413: F,
    418: R,  # banned for a while
    429: R,
    431: F,
}
"""HTTP status → fate, where no code of the venue's says more. Every 5xx is UNKNOWN."""


def fate_of_reply(status: int, code: str) -> Fate:
    """The code says more than the status."""
    if code:
        return FATE_OF_CODE.get(code, Fate.UNKNOWN)
    return FATE_OF_STATUS.get(status, Fate.UNKNOWN)
