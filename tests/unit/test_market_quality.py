"""The checks on every observation: structure, clock, order, and jumps that are neither believed nor lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId
from appliance.domain.mode import HoldCause
from appliance.domain.observation import Observation
from appliance.market.quality import DataQuality, DataVerdict, InstrumentQuality, Outcome, QualityLimits
from appliance.market.schema import MAX_VALUE, MEANING, DataReason
from tests.market_builders import DAY, SPX, S, bar, one_print, quote, trade

TICKS = QualityLimits(jump_ppm=20_000, stale_ns=5 * S, max_delay_ns=S // 2, max_ahead_ns=2 * S)
DAYS = QualityLimits(jump_ppm=100_000, stale_ns=5 * DAY, max_delay_ns=0, max_ahead_ns=0)


def _checks(limits: QualityLimits, *accepted: Observation) -> InstrumentQuality:
    """Checks that have seen `accepted`, the last of which is the mark."""
    quality = InstrumentQuality(SPX, limits, 0)
    outcomes = [quality.check(observation).outcome for observation in accepted]
    assert outcomes[-1] is Outcome.ACCEPTED
    return quality


def _at_100(limits: QualityLimits = TICKS) -> InstrumentQuality:
    return _checks(limits, trade(S, 10_000), trade(2 * S, 10_000))


def _delivered(quality: InstrumentQuality, observations: Sequence[Observation]) -> list[Observation]:
    return [each for observation in observations for each in quality.check(observation).deliver]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("price", 1, DataReason.OK),
        ("price", 0, DataReason.PRICE),
        ("price", -3_698, DataReason.PRICE),
        ("price", MAX_VALUE, DataReason.OK),
        ("price", MAX_VALUE + 1, DataReason.PRICE),
        ("price", float("nan"), DataReason.PRICE),
        ("price", float("inf"), DataReason.PRICE),
        ("qty", 0, DataReason.SIZE),
        ("qty", -1, DataReason.SIZE),
        ("qty", 1, DataReason.OK),
        ("qty", MAX_VALUE, DataReason.OK),
        ("qty", MAX_VALUE + 1, DataReason.SIZE),
        ("qty", float("nan"), DataReason.SIZE),
    ],
)
def test_the_structure_of_a_trade(field: str, value: Any, reason: DataReason) -> None:
    """Boundary values, and what a broken decoder might hand over."""
    quality = InstrumentQuality(SPX, TICKS, 0)
    verdict = quality.check(replace(trade(S, 10_000), **{field: value}))
    assert verdict.reason is (DataReason.FIRST if reason is DataReason.OK else reason)


@pytest.mark.parametrize(
    ("bid", "ask", "size", "reason"),
    [
        (100, 101, 1, DataReason.FIRST),
        (100, 100, 1, DataReason.FIRST),
        (101, 100, 1, DataReason.CROSSED),
        (0, 100, 1, DataReason.PRICE),
        (-1, 100, 1, DataReason.PRICE),
        (100, 0, 1, DataReason.PRICE),
        (100, 101, 0, DataReason.FIRST),
        (MAX_VALUE, MAX_VALUE, MAX_VALUE, DataReason.FIRST),
        (MAX_VALUE, MAX_VALUE + 1, 1, DataReason.PRICE),
        (MAX_VALUE + 1, MAX_VALUE + 1, 1, DataReason.PRICE),
        (100, 101, MAX_VALUE + 1, DataReason.SIZE),
        (100, 101, -1, DataReason.SIZE),
    ],
)
def test_the_structure_of_a_quote(bid: int, ask: int, size: int, reason: DataReason) -> None:
    """A locked market (bid = ask) exists, a crossed one is wrong; an empty side has size 0."""
    assert InstrumentQuality(SPX, TICKS, 0).check(quote(S, bid, ask, size)).reason is reason


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        ((100, 110, 90, 105), DataReason.FIRST),
        ((100, 100, 100, 100), DataReason.FIRST),
        ((100, 99, 90, 95), DataReason.RANGE),
        ((100, 104, 90, 105), DataReason.RANGE),
        ((100, 110, 101, 105), DataReason.RANGE),
        ((106, 110, 106, 105), DataReason.RANGE),
        ((100, 90, 110, 105), DataReason.RANGE),
        ((0, 110, 0, 105), DataReason.PRICE),
        ((1, 1, 1, 1), DataReason.FIRST),
        ((100, MAX_VALUE, 90, 105), DataReason.FIRST),
        ((100, MAX_VALUE + 1, 90, 105), DataReason.PRICE),
        ((100, 110, -90, 105), DataReason.PRICE),
    ],
)
def test_the_structure_of_a_bar(prices: tuple[int, int, int, int], reason: DataReason) -> None:
    """The high is the highest and the low the lowest of the four, all positive."""
    assert InstrumentQuality(SPX, DAYS, 0).check(bar(1, prices)).reason is reason


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (-1, DataReason.SIZE),
        (0, DataReason.FIRST),
        (MAX_VALUE, DataReason.FIRST),
        (MAX_VALUE + 1, DataReason.SIZE),
    ],
)
def test_a_negative_volume_is_refused(volume: int, reason: DataReason) -> None:
    """No volume at all is allowed: indices have none."""
    assert InstrumentQuality(SPX, DAYS, 0).check(bar(1, (1, 1, 1, 1), volume=volume)).reason is reason


@pytest.mark.parametrize(("size", "side"), [(-1, "bid_qty"), (-1, "ask_qty"), (MAX_VALUE + 1, "ask_qty")])
def test_each_side_of_a_quote_has_its_size(size: int, side: str) -> None:
    """One wrong side is enough."""
    wrong: Any = replace(quote(S, 100, 101), **{side: size})
    assert InstrumentQuality(SPX, TICKS, 0).check(wrong).reason is DataReason.SIZE


@pytest.mark.parametrize(
    ("behind_ns", "reason"),
    [
        (0, DataReason.OK),
        (S // 2, DataReason.OK),
        (S // 2 + 1, DataReason.LATE),
        (-2 * S, DataReason.OK),
        (-2 * S - 1, DataReason.AHEAD),
    ],
)
def test_our_clock_against_the_senders(behind_ns: int, reason: DataReason) -> None:
    """Both limits are the last allowed value; only the sum of delay and clock error can be seen (P50)."""
    seen_ns = 10 * S
    verdict = _at_100().check(trade(seen_ns, 10_000, event_ns=seen_ns - behind_ns))
    assert verdict.reason is reason


def test_a_bar_is_not_late_because_it_is_long() -> None:
    """Its event time is its start."""
    assert _checks(DAYS, bar(1, (9, 9, 9, 9)), bar(2, (9, 9, 9, 9))).accepted == 2


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (trade(2 * S, 10_001), DataReason.OK),
        (trade(2 * S - 1, 10_001), DataReason.SEEN_BACKWARDS),
        (trade(2 * S + S // 2, 10_001, event_ns=2 * S), DataReason.OK),
        (trade(2 * S + 9, 10_001, event_ns=2 * S - 1), DataReason.EVENT_BACKWARDS),
        (trade(2 * S, 10_000), DataReason.DUPLICATE),
        (quote(2 * S, 9_999, 10_001), DataReason.OK),
        (quote(2 * S - 1, 9_999, 10_001), DataReason.SEEN_BACKWARDS),
    ],
)
def test_time_does_not_go_backwards(observation: Observation, reason: DataReason) -> None:
    """Seen times over all kinds, event times within one kind: a spot quote has no time of its own."""
    assert _at_100().check(observation).reason is reason


@pytest.mark.parametrize(
    ("day", "reason"),
    [(2, DataReason.DUPLICATE), (1, DataReason.SEEN_BACKWARDS), (3, DataReason.OK)],
)
def test_a_second_bar_for_the_same_day_is_refused(day: int, reason: DataReason) -> None:
    """Even with other prices: the first one was already acted on."""
    quality = _checks(DAYS, bar(1, (9, 9, 9, 9)), bar(2, (9, 9, 9, 9)))
    assert quality.check(bar(day, (9, 9, 9, 9))).reason is reason


@pytest.mark.safety("S10.3")
def test_after_a_clock_step_order_starts_again() -> None:
    """The runtime says so (SAFETY 10); the price is kept and still guards against jumps."""
    quality = _at_100()
    assert quality.check(trade(S, 10_000)).reason is DataReason.SEEN_BACKWARDS
    quality.forget_order()
    assert quality.check(trade(S, 10_000)).reason is DataReason.OK
    assert quality.check(trade(S + 1, 20_000)).reason is DataReason.JUMP


def test_the_first_price_waits_for_a_second() -> None:
    """A box that starts on a bad print must not take it for the market."""
    quality = InstrumentQuality(SPX, TICKS, 0)
    first, second = trade(S, 10_000), trade(2 * S, 10_100)
    assert quality.check(first).outcome is Outcome.SUSPECT
    assert quality.mark is None
    assert quality.check(second).deliver == (first, second)


def test_a_bad_first_price_never_becomes_the_mark() -> None:
    """The second contradicts it and waits in its place; the third confirms the second."""
    quality = InstrumentQuality(SPX, TICKS, 0)
    bad, second, third = trade(S, 1), trade(2 * S, 10_000), trade(3 * S, 10_001)
    quality.check(bad)
    verdict = quality.check(second)
    assert (verdict.outcome, verdict.reason, verdict.discarded) == (Outcome.SUSPECT, DataReason.FIRST, bad)
    assert quality.check(third).deliver == (second, third)


@pytest.mark.parametrize(
    ("price", "outcome"),
    [
        (10_200, Outcome.ACCEPTED),
        (10_201, Outcome.SUSPECT),
        (9_800, Outcome.ACCEPTED),
        (9_799, Outcome.SUSPECT),
        (1, Outcome.SUSPECT),
        (1_000_000, Outcome.SUSPECT),
    ],
)
def test_the_jump_limit_is_the_last_allowed_value(price: int, outcome: Outcome) -> None:
    """2 % of 100.00, both ways, to the hundredth."""
    assert _at_100().check(trade(3 * S, price)).outcome is outcome


@pytest.mark.parametrize(
    ("bid", "ask", "outcome"),
    [
        (9_800, 10_200, Outcome.ACCEPTED),
        (9_799, 10_200, Outcome.SUSPECT),
        (9_800, 10_201, Outcome.SUSPECT),
        (1, 10_000, Outcome.SUSPECT),
    ],
)
def test_both_sides_of_a_quote_are_held_against_the_mark(bid: int, ask: int, outcome: Outcome) -> None:
    """One absurd side is enough: its middle would move the mark."""
    assert _at_100().check(quote(3 * S, bid, ask)).outcome is outcome


def test_a_bad_print_reaches_nobody() -> None:
    """100, 1, 100.01: the 1 is discarded by name and counted, and the mark never saw it."""
    quality = _at_100()
    bad, good = trade(3 * S, 1), trade(4 * S, 10_001)
    suspect = quality.check(bad)
    assert (suspect.outcome, suspect.deliver) == (Outcome.SUSPECT, ())
    assert quality.mark is not None
    assert quality.mark.price == 10_000
    verdict = quality.check(good)
    assert verdict == DataVerdict(Outcome.ACCEPTED, DataReason.OK, "", (good,), bad)
    assert quality.counts()["refused.NOT_CONFIRMED"] == 1


def test_a_crash_gets_through_whole_and_one_observation_late() -> None:
    """100, 90, 89.9: both low prices are delivered, in order, once the second supports the first."""
    quality = _at_100()
    crash, after = trade(3 * S, 9_000), trade(3 * S + 1, 8_990)
    assert quality.check(crash).deliver == ()
    assert quality.check(after).deliver == (crash, after)
    assert quality.confirmed == 2, "the first price of all was one as well"


def test_another_level_confirms_nothing() -> None:
    """100, 90, 80, 80.1: 90 stands alone and is lost, 80 is confirmed by 80.1."""
    quality = _at_100()
    prices = [trade((3 + n) * S, price) for n, price in enumerate((9_000, 8_000, 8_010))]
    assert _delivered(quality, prices) == prices[1:]


def test_a_repeated_message_does_not_confirm_itself() -> None:
    """The same bad print sent twice is a duplicate, not a second observation."""
    quality = _at_100()
    bad = trade(3 * S, 1)
    quality.check(bad)
    assert quality.check(bad).reason is DataReason.DUPLICATE
    assert quality.check(trade(4 * S, 10_000)).discarded == bad


def test_a_step_between_old_and_new_supports_both() -> None:
    """100, 97, 98.5: the last is near both, so neither was a bad print."""
    quality = _at_100()
    prices = [trade(3 * S, 9_700), trade(4 * S, 9_850)]
    assert _delivered(quality, prices) == prices


BLACK_MONDAY = [
    bar(6499, (28_252, 28_470, 27_836, 28_270)),
    bar(6500, (28_270, 28_270, 22_483, 22_484)),
    bar(6501, (22_506, 24_562, 21_646, 23_683)),
]


def test_black_monday_gets_through_on_the_day() -> None:
    """1987-10-19, −20.5 %, with 10 % believed at once: open at the old level, low and close at a new one."""
    quality = _checks(DAYS, bar(6498, (28_252, 28_470, 27_836, 28_252)), BLACK_MONDAY[0])
    verdict = quality.check(BLACK_MONDAY[1])
    assert (verdict.outcome, verdict.deliver) == (Outcome.ACCEPTED, (BLACK_MONDAY[1],))
    assert _delivered(quality, BLACK_MONDAY[2:]) == BLACK_MONDAY[2:]


def test_a_close_at_the_very_low_waits_for_the_next_open() -> None:
    """One print at the new level may be a bad one; the next day shows that it was not."""
    quality = _checks(DAYS, bar(6498, (28_252, 28_470, 27_836, 28_252)), BLACK_MONDAY[0])
    crash = replace(BLACK_MONDAY[1], low=22_484)
    assert quality.check(crash).outcome is Outcome.SUSPECT
    assert quality.check(BLACK_MONDAY[2]).deliver == (crash, BLACK_MONDAY[2])


def test_oil_in_april_2020_with_one_price_a_day() -> None:
    """18.31, −36.98, 8.91, 13.64, 15.06: negative is refused, 8.91 stands alone, 13.64 is near 18.31."""
    quality = _checks(replace(DAYS, jump_ppm=300_000), one_print(1, 1_831), one_print(2, 1_831))
    days = [one_print(3 + n, price) for n, price in enumerate((-3_698, 891, 1_364, 1_506))]
    verdicts = [quality.check(day) for day in days]
    assert [(each.outcome, each.reason) for each in verdicts] == [
        (Outcome.REFUSED, DataReason.PRICE),
        (Outcome.SUSPECT, DataReason.JUMP),
        (Outcome.ACCEPTED, DataReason.OK),
        (Outcome.ACCEPTED, DataReason.OK),
    ]
    assert verdicts[2].discarded == days[1]


@pytest.mark.parametrize(
    "prices",
    [
        (10_000, 10_050, 50, 10_020),
        (10_000, 1_000_000, 9_950, 10_020),
        (10_000, 20_000, 50, 10_020),
        (10_000, 10_050, 100, 100),
        (100, 101, 99, 100),
        (10_000, 10_050, 99, 100),
        (10_000, 1_000_000, 9_950, 995_000),
        (1_000_000, 1_005_000, 995_000, 1_002_000),
    ],
)
def test_a_bad_bar_reaches_nobody(prices: tuple[int, int, int, int]) -> None:
    """A single absurd print of a bar, or a row whose decimal point slipped: the next bar contradicts it."""
    quality = _checks(DAYS, bar(1, (9_990, 10_010, 9_980, 10_000)), bar(2, (9_990, 10_010, 9_980, 10_000)))
    bad, good = bar(3, prices), bar(4, (10_000, 10_050, 9_950, 10_020))
    assert _delivered(quality, [bad]) == []
    verdict = quality.check(good)
    assert (verdict.deliver, verdict.discarded) == ((good,), bad)


def test_prints_of_a_bar_may_be_linked_by_steps() -> None:
    """Mark 100, open 92, close 84, low 80: each is within 10 % of the one before, so the path is believed."""
    quality = _checks(DAYS, bar(1, (9_990, 10_010, 9_980, 10_000)), bar(2, (9_990, 10_010, 9_980, 10_000)))
    assert quality.check(bar(3, (9_200, 9_250, 8_000, 8_400))).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("low", "close", "outcome"),
    [
        (5_000, 5_500, Outcome.ACCEPTED),
        (5_000, 5_501, Outcome.SUSPECT),
        (5_000, 5_001, Outcome.ACCEPTED),
        (4_999, 5_001, Outcome.SUSPECT),
        (5_001, 5_001, Outcome.SUSPECT),
        (4_500, 5_000, Outcome.SUSPECT),
    ],
)
def test_a_bar_proves_a_fall_by_itself_down_to_half(low: int, close: int, outcome: Outcome) -> None:
    """Two different prints at the new level, the lower one at least half of the mark."""
    quality = _checks(DAYS, bar(1, (9_990, 10_010, 9_980, 10_000)), bar(2, (9_990, 10_010, 9_980, 10_000)))
    assert quality.check(bar(3, (10_000, 10_000, low, close))).outcome is outcome


@pytest.mark.parametrize(
    ("high", "outcome"), [(20_000, Outcome.ACCEPTED), (20_001, Outcome.SUSPECT), (21_000, Outcome.SUSPECT)]
)
def test_a_bar_proves_a_rise_by_itself_up_to_double(high: int, outcome: Outcome) -> None:
    """The same the other way round."""
    quality = _checks(DAYS, bar(1, (9_990, 10_010, 9_980, 10_000)), bar(2, (9_990, 10_010, 9_980, 10_000)))
    assert quality.check(bar(3, (10_000, high, 9_900, 19_500))).outcome is outcome


def test_every_observation_is_counted_once() -> None:
    """received = accepted + waiting + refused, whatever happened."""
    quality = _at_100()
    for observation in (
        trade(3 * S, 0),
        trade(3 * S, 9_000),
        trade(3 * S, 10_000),
        trade(2 * S, 1),
        trade(4 * S, 1),
    ):
        quality.check(observation)
    assert quality.counts() == {
        "received": 7, "accepted": 3, "waiting": 1, "suspected": 3, "confirmed": 1, "gaps": 0,
        "refused.NOT_CONFIRMED": 1, "refused.PRICE": 1, "refused.SEEN_BACKWARDS": 1,
    }  # fmt: skip


@pytest.mark.safety("S1.15")
@pytest.mark.parametrize(("age_ns", "held"), [(0, False), (5 * S, False), (5 * S + 1, True), (-S, False)])
def test_an_old_price_holds_the_instrument(age_ns: int, held: bool) -> None:
    """stale_ns is the last allowed age; the hold says since when and ends with the next accepted price."""
    quality = _at_100()
    hold = quality.hold(2 * S + age_ns)
    assert (hold is not None) == held
    if hold is not None:
        assert hold.detail == "no price for 5000 ms, allowed are 5000"
        assert (hold.cause, hold.scope) == (HoldCause.STALE_DATA, "instrument:SPX")
        assert hold.since_ns == 7 * S
        quality.check(trade(8 * S, 10_000))
        assert quality.hold(8 * S) is None
        assert quality.gaps == 1


@pytest.mark.parametrize(
    ("bad", "held"),
    [
        (trade(3 * S, 1), True),
        (trade(3 * S, 0), True),
        (trade(3 * S, 10_000, event_ns=2 * S), True),
        (quote(3 * S, 101, 100), True),
        (trade(S, 10_000), False),
        (trade(2 * S, 10_000), False),
    ],
)
def test_a_doubtful_newest_price_holds_the_instrument_at_once(bad: Observation, held: bool) -> None:
    """What is repeated or out of order says nothing about the present; everything else that fails does."""
    quality = _at_100()
    assert quality.check(bad).outcome is not Outcome.ACCEPTED
    hold = quality.hold(3 * S)
    assert (hold is not None) == held
    quality.check(trade(3 * S + 1, 10_000))
    assert quality.hold(3 * S + 1) is None


@pytest.mark.safety("S1.15")
def test_an_instrument_is_held_from_the_start() -> None:
    """No price yet is no permission."""
    quality = DataQuality({SPX: TICKS, InstrumentId("NDX"): TICKS}, 7 * S)
    quality.check(trade(8 * S, 10_000))
    quality.check(trade(9 * S, 10_000))
    holds = quality.holds(9 * S)
    assert [(hold.scope, hold.since_ns, hold.detail) for hold in holds] == [
        ("instrument:NDX", 7 * S, "no price was accepted yet")
    ]


@pytest.mark.parametrize(("silent_ns", "gaps"), [(5 * S, 0), (5 * S + 1, 1)])
def test_gaps_longer_than_allowed_are_counted(silent_ns: int, gaps: int) -> None:
    """Shown on the page: how often the feed was silent for too long."""
    quality = _at_100()
    quality.check(trade(2 * S + silent_ns, 10_000))
    assert quality.counts()["gaps"] == gaps


@pytest.mark.parametrize(("price", "moved"), [(9_000, -100_000), (11_000, 100_000), (9_666, -33_400)])
def test_the_detail_of_a_jump_holds_the_move_and_the_limit(price: int, moved: int) -> None:
    """Signed, in ppm of the mark."""
    detail = _at_100().check(trade(3 * S, price)).detail
    assert detail.startswith(f"moved {moved} ppm from 10000, limit 20000: trade {price} at")


def test_a_lasting_doubt_keeps_its_beginning() -> None:
    """Ten refused prices are one hold, since the first of them, with the newest text."""
    quality = _at_100()
    for second in range(3, 13):
        quality.check(quote(second * S, 101, 100))
    hold = quality.hold(13 * S)
    assert hold is not None
    assert hold.since_ns == 3 * S
    assert f"seen {12 * S}" in hold.detail


def test_an_unknown_instrument_is_refused_and_counted() -> None:
    """Its data must not be taken for another's."""
    quality = DataQuality({SPX: TICKS}, 0)
    verdict = quality.check(trade(S, 1, symbol="DOGE"))
    assert (verdict.outcome, verdict.reason) == (Outcome.REFUSED, DataReason.UNKNOWN_INSTRUMENT)
    assert quality.counts()["unknown"] == 1
    assert quality.counts()["SPX.received"] == 0
    assert quality.mark(SPX) is None


@pytest.mark.parametrize(
    "wrong",
    [{"jump_ppm": 0}, {"jump_ppm": 1_000_000}, {"stale_ns": 0}, {"max_delay_ns": -1}, {"max_ahead_ns": -1}],
)
def test_limits_without_meaning_are_refused(wrong: dict[str, int]) -> None:
    """A limit of zero would refuse everything, one above 100 % nothing."""
    values = {"jump_ppm": 1, "stale_ns": 1, "max_delay_ns": 0, "max_ahead_ns": 0}
    QualityLimits(**values)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        QualityLimits(**(values | wrong))


def test_every_reason_has_its_sentence() -> None:
    """The status page prints them."""
    assert set(MEANING) == set(DataReason)
    assert len(set(MEANING.values())) == len(MEANING)
