"""What an entry will cost, said in the log with its verdict, and held against what it did cost (FEE-06, 07).

Nothing here decides: the gate counts the highest fee a schedule can charge (ports.FeeView); these figures are
the expected ones. Total = exchange fee + network fee + slippage (P22: the network fee is part of it); funding
of perpetuals is not, there are none. Predictions are scored when their order has ended.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.describe import price_text
from appliance.domain.fees import FeeSchedule, takes
from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import AMOUNT_EXP, PPM_ONE, Amount, Price, format_scaled
from appliance.domain.observation import Observation
from appliance.domain.order import Fill, Order
from appliance.domain.verdict import Approved
from appliance.orders.breakeven import Leaving, break_even
from appliance.orders.fees import FeeBook
from appliance.orders.slippage import MOST_PPM, Prediction, SlippageModel, realised_ppm
from appliance.ports import Clock, InstrumentView

MOST_FOLLOWED = 10_000
_NOTHING = format_scaled(0, AMOUNT_EXP)


class CostEstimate(Struct, frozen=True, kw_only=True):
    """FEE-07 for one entry. arrival: the price it saw; slippage is against it.  prediction: None if it rests.

    break_even: price at which leaving, as taker, pays back everything here; None where no price does.
    """

    arrival: Price
    taker: bool
    exchange_fee: Amount
    network_fee: Amount
    slippage: Amount
    prediction: Prediction | None
    break_even: Price | None

    @property
    def total(self) -> Amount:
        """What the entry costs beside its value at arrival."""
        return Amount(self.exchange_fee + self.network_fee + self.slippage)


class _Followed:
    """An order whose prediction waits for its fills."""

    __slots__ = ("arrival", "prediction", "qty", "side", "value")

    def __init__(self, side: Side, estimate: CostEstimate, prediction: Prediction) -> None:
        self.side = side
        self.arrival = estimate.arrival
        self.prediction = prediction
        self.qty = self.value = 0  # of taker fills; price × quantity


class Costs:
    """Owned by the event loop. fees: the schedule it computes with."""

    def __init__(self, fees: FeeBook, clock: Clock) -> None:
        self.fees = fees
        self._clock = clock
        self._models: dict[InstrumentId, SlippageModel] = {}
        self._followed: dict[OrderId, _Followed] = {}

    def see(self, observation: Observation) -> None:
        """What the market shows of sizes and ranges."""
        self._model(observation.instrument).see(observation)

    def estimate(self, order: Approved, view: InstrumentView) -> CostEstimate | None:
        """For an approved entry; None without prices or without a schedule that may be used."""
        schedule = self.fees.usable(self._clock.mono_ns())
        if schedule is None or view.bid <= 0 or view.ask <= 0:
            return None
        buying = order.side is Side.BUY
        taker = takes(
            market=order.order_type is not OrderType.LIMIT,  # a stop's limit crosses when it is triggered
            buying=buying,
            limit=order.price,
            best=view.ask if buying else view.bid,
        )
        if not taker:
            return self._costs(schedule, order, view, Price(order.price or 0), None)
        arrival = order.stop_price or Price((view.bid + view.ask) // 2)
        most_ppm = MOST_PPM if order.price is None else abs(order.price - arrival) * PPM_ONE // arrival
        model = self._model(order.instrument)
        prediction = model.predict(order.side, order.qty, view.bid, view.ask, most_ppm)
        return self._costs(schedule, order, view, arrival, prediction)

    def entry(self, order: Approved, view: InstrumentView) -> dict[str, object]:
        """The estimate as the log tells it; from now on its fills are followed."""
        estimate = self.estimate(order, view)
        if estimate is None:
            return {}
        data: dict[str, object] = {
            "arrival": price_text(view.instrument, estimate.arrival),
            "taker": estimate.taker,
            "fee": _amount(estimate.exchange_fee),
            "network_fee": _amount(estimate.network_fee),
            "slippage": _amount(estimate.slippage),
            "total": _amount(estimate.total),
            "break_even": price_text(view.instrument, estimate.break_even),
        }
        prediction = estimate.prediction
        if prediction is None:
            return {"cost": data}
        if len(self._followed) < MOST_FOLLOWED:
            self._followed[order.order_id] = _Followed(order.side, estimate, prediction)
        error = "unknown" if prediction.error_ppm is None else str(prediction.error_ppm)
        data |= {"slippage_ppm": str(prediction.expected_ppm), "slippage_error_ppm": error}
        return {"cost": data | {"slippage_samples": prediction.samples}}

    def filled(self, fill: Fill) -> None:
        """Counts a fill towards its order's slippage; what it got as maker was not predicted."""
        followed = self._followed.get(fill.order_id)
        if followed is not None and not fill.maker:
            followed.qty += fill.qty
            followed.value += fill.qty * fill.price

    def ended(self, order: Order) -> None:
        """Scores the prediction of an order that can fill no more."""
        followed = self._followed.pop(order.id, None)
        if followed is not None and followed.qty:
            realised = realised_ppm(followed.side, followed.arrival, followed.qty, followed.value)
            self._model(order.instrument).learn(followed.prediction, realised)

    def _costs(
        self,
        schedule: FeeSchedule,
        order: Approved,
        view: InstrumentView,
        arrival: Price,
        prediction: Prediction | None,
    ) -> CostEstimate:
        instrument = view.instrument
        value = instrument.notional(arrival, order.qty)
        share_ppm = prediction.expected_ppm if prediction is not None else 0
        slippage = -(-value * share_ppm // PPM_ONE)
        entered = value + order.side.sign * slippage
        tier = self.fees.tier(schedule, self._clock.utc_ns())
        fee = schedule.charge(tier, entered, maker=prediction is None)
        paid = fee + schedule.network_fee
        leaving = Leaving(schedule=schedule, tier=tier)
        return CostEstimate(
            arrival=arrival,
            taker=prediction is not None,
            exchange_fee=fee,
            network_fee=schedule.network_fee,
            slippage=Amount(slippage),
            prediction=prediction,
            break_even=break_even(order.side, order.qty, entered, paid, instrument, leaving),
        )

    def _model(self, instrument: InstrumentId) -> SlippageModel:
        model = self._models.get(instrument)
        if model is None:
            model = self._models[instrument] = SlippageModel()
        return model


def _amount(amount: int) -> str:
    return format_scaled(amount, AMOUNT_EXP) if amount else _NOTHING  # most entries have two such
