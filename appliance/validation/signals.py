"""Every signal is judged before it may become an intent (VAL-01, VAL-09; DAT-04; P50). Pure.

A LONG must come from a configured strategy about its own instrument, be fresh in market time, name a
protective stop below its price and not too far away, and refer to a price that was accepted from the market
lately. A CLOSE leaves exposure, and exits pass with any input missing (SAFETY 2): for it only the identities
are checked, so that a stale or clumsy one still gets out.

The statistics the specification asks for (p-value, Sharpe, expected value: VAL-02 to VAL-05) need a sample
of outcomes and belong to another module; nothing here vouches for a strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.money import PPM_ONE
from appliance.domain.signal import Direction, Signal
from appliance.validation.recent import RecentPrices


class SignalFault(StrEnum):
    """Why a signal may not become an intent. Names appear in the log and are never reused."""

    UNKNOWN_STRATEGY = "UNKNOWN_STRATEGY"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    WRONG_INSTRUMENT = "WRONG_INSTRUMENT"
    FROM_FUTURE = "FROM_FUTURE"
    STALE = "STALE"
    PRICE_NOT_POSITIVE = "PRICE_NOT_POSITIVE"
    PRICE_NOT_SEEN = "PRICE_NOT_SEEN"
    STOP_MISSING = "STOP_MISSING"
    STOP_NOT_POSITIVE = "STOP_NOT_POSITIVE"
    STOP_SIDE = "STOP_SIDE"
    STOP_DISTANCE = "STOP_DISTANCE"
    TICK_SIZE = "TICK_SIZE"


MEANING: dict[SignalFault, str] = {
    SignalFault.UNKNOWN_STRATEGY: "no strategy of that name is configured",
    SignalFault.UNKNOWN_INSTRUMENT: "no instrument of that name is configured",
    SignalFault.WRONG_INSTRUMENT: "the strategy is configured for another instrument",
    SignalFault.FROM_FUTURE: "it is dated after the market's time",
    SignalFault.STALE: "it is older than allowed",
    SignalFault.PRICE_NOT_POSITIVE: "its reference price is not positive",
    SignalFault.PRICE_NOT_SEEN: "its reference price was not accepted from the market lately",
    SignalFault.STOP_MISSING: "it has no protective stop",
    SignalFault.STOP_NOT_POSITIVE: "its protective stop is not positive",
    SignalFault.STOP_SIDE: "its protective stop is not below its reference price",
    SignalFault.STOP_DISTANCE: "its protective stop is further away than allowed",
    SignalFault.TICK_SIZE: "its protective stop is not on a tick",
}


class SignalLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is allowed, each the last allowed value; nothing has a default.

    strategies: the instrument of each.  instruments: by symbol.  max_age_ns: market time since the signal.
    max_stop_ppm: distance of the stop from the reference price.
    """

    strategies: Mapping[SourceId, InstrumentId]
    instruments: Mapping[InstrumentId, Instrument]
    max_age_ns: int
    max_stop_ppm: int


class SignalRefusal(Struct, frozen=True):
    """Why not, and the numbers that decided."""

    fault: SignalFault
    detail: str


def check_signal(
    signal: Signal, limits: SignalLimits, recent: RecentPrices, now_ns: int
) -> SignalRefusal | None:
    """None if the signal may become an intent, else the first reason why not.

    recent: prices accepted from the market.  now_ns: the market's time, UTC.
    """
    refusal = _check_identity(signal, limits)
    if refusal is not None or signal.direction is Direction.CLOSE:
        return refusal
    return (
        _check_age(signal, limits, now_ns)
        or _check_price(signal, recent)
        or _check_stop(signal, limits.instruments[signal.instrument], limits.max_stop_ppm)
    )


def _check_identity(signal: Signal, limits: SignalLimits) -> SignalRefusal | None:
    configured = limits.strategies.get(signal.strategy)
    if configured is None:
        return _refuse(SignalFault.UNKNOWN_STRATEGY, repr(signal.strategy))
    if signal.instrument not in limits.instruments:
        return _refuse(SignalFault.UNKNOWN_INSTRUMENT, repr(signal.instrument))
    if configured != signal.instrument:
        return _refuse(SignalFault.WRONG_INSTRUMENT, f"{signal.instrument}, configured {configured}")
    return None


def _check_age(signal: Signal, limits: SignalLimits, now_ns: int) -> SignalRefusal | None:
    age_ns = now_ns - signal.event_ns
    if age_ns < 0:
        return _refuse(SignalFault.FROM_FUTURE, f"by {-age_ns} ns")
    if age_ns > limits.max_age_ns:
        return _refuse(SignalFault.STALE, f"{age_ns} ns, limit {limits.max_age_ns}")
    return None


def _check_price(signal: Signal, recent: RecentPrices) -> SignalRefusal | None:
    price = signal.reference_price
    if not price > 0:
        return _refuse(SignalFault.PRICE_NOT_POSITIVE, str(price))
    if not recent.contains(signal.instrument, price, signal.event_ns):
        return _refuse(SignalFault.PRICE_NOT_SEEN, str(price))
    return None


def _check_stop(signal: Signal, instrument: Instrument, max_stop_ppm: int) -> SignalRefusal | None:
    stop, price = signal.stop_price, signal.reference_price
    if stop is None:
        return _refuse(SignalFault.STOP_MISSING, f"reference {price}")
    if not stop > 0:
        return _refuse(SignalFault.STOP_NOT_POSITIVE, str(stop))
    if not stop < price:
        return _refuse(SignalFault.STOP_SIDE, f"stop {stop}, reference {price}")
    if (price - stop) * PPM_ONE > max_stop_ppm * price:
        return _refuse(SignalFault.STOP_DISTANCE, f"stop {stop}, reference {price}, limit {max_stop_ppm} ppm")
    if stop % instrument.tick:
        return _refuse(SignalFault.TICK_SIZE, f"stop {stop}, tick {instrument.tick}")
    return None


def _refuse(fault: SignalFault, numbers: str) -> SignalRefusal:
    return SignalRefusal(fault, f"{MEANING[fault]}: {numbers}")
