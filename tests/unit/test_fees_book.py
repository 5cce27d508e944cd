"""How old a schedule may be, what the gate reads of it, and fills held against it (FEE-03, 08, 10)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Amount
from appliance.domain.status import FeeLine, Part
from appliance.orders.fees import MAX_AGE_NS, REFRESH_NS, FeeBook
from appliance.runtime.picture import fees_part
from tests.fee_kit import DAY_NS, KRAKEN, REBATE, fill, schedule, tier, usd
from tests.kit import SECOND, spx

NOW = 1_000 * SECOND


def _book(**more: int) -> FeeBook:
    book = FeeBook()
    book.take(schedule(**more), NOW)
    return book


def test_the_figures_of_the_rule() -> None:
    """FEE-03: every 60 s, never past 5 min."""
    assert (REFRESH_NS, MAX_AGE_NS) == (60 * SECOND, 300 * SECOND)


@pytest.mark.parametrize(("age_ns", "usable"), [(0, True), (300 * SECOND, True), (300 * SECOND + 1, False)])
def test_a_schedule_is_used_for_five_minutes(age_ns: int, usable: bool) -> None:
    """C24: exactly five minutes is the last allowed age; counted from the question."""
    book = _book()
    assert (book.usable(NOW + age_ns) is not None) is usable
    assert (NOW + age_ns <= book.until_ns) is usable
    assert book.line(NOW + age_ns, 0).usable is usable


def test_before_the_first_schedule_there_is_none() -> None:
    """The gate's word is 0, and no age is told."""
    book = FeeBook()
    assert book.usable(0) is None
    assert (book.until_ns, book.cost_ppm, book.cost_fixed) == (0, PPM_ONE, 0)
    assert book.line(NOW, 0) == FeeLine(problem="nobody has asked for it yet")


def test_taking_tells_whether_it_changed() -> None:
    """The log has one entry for each schedule, not for each question."""
    book = FeeBook()
    assert book.take(KRAKEN, NOW) is True
    assert book.take(KRAKEN, NOW + 1) is False
    assert book.asked_ns == NOW + 1
    assert book.take(REBATE, NOW + 2) is True
    assert book.schedule is REBATE


def test_an_overtaken_answer_changes_nothing() -> None:
    """A slow answer to an earlier question is older than what is known."""
    book = _book()
    assert book.take(KRAKEN, NOW - 1) is False
    assert (book.schedule, book.asked_ns, book.until_ns) == (schedule(), NOW, NOW + MAX_AGE_NS)
    assert book.take(KRAKEN, NOW) is True


def test_a_failed_question_renews_nothing() -> None:
    """What is known goes on ageing, and the reason is shown until an answer comes."""
    book = _book()
    book.failed("away")
    assert (book.until_ns, book.line(NOW, 0).problem) == (NOW + MAX_AGE_NS, "away")
    book.take(schedule(), NOW + 5)
    assert book.line(NOW + 5, 0).problem == ""


def test_the_gates_words() -> None:
    """The highest rate of any tier, no rebate counted; network fee and the most that rounding adds."""
    book = FeeBook()
    book.take(KRAKEN, NOW)
    assert (book.cost_ppm, book.cost_fixed) == (1_002_600, AMOUNT_ONE // 10_000 - 1)
    book.take(schedule(tier(0, -300, -200), network_fee=usd("2")), NOW)
    assert (book.cost_ppm, book.cost_fixed) == (1_000_000, 2 * AMOUNT_ONE)


@pytest.mark.parametrize("amount", [0, 1, 999, 2_000 * AMOUNT_ONE, 2_000 * AMOUNT_ONE + 1])
def test_affordable_is_the_gates_sum_solved(amount: int) -> None:
    """The value found fits, and one unit more does not."""
    book = FeeBook()
    book.take(schedule(tier(0, 0, 2_600), network_fee=Amount(50)), NOW)
    most = book.affordable(amount)
    assert most >= 0
    fits = [(most + more) * book.cost_ppm <= (amount - book.cost_fixed) * PPM_ONE for more in (0, 1)]
    assert fits == ([True, False] if amount >= 50 else [False, False])


def test_a_fill_charged_by_the_schedule_is_silent() -> None:
    """1,000.00 at 0.1 % is 1.00."""
    book = _book()
    check = book.check(fill(), spx(), first=True, now_ns=NOW)
    assert (check.expected, check.differs) == (AMOUNT_ONE, False)
    assert (book.mismatches, book.unchecked) == (0, 0)


@pytest.mark.parametrize(
    ("charged", "differs"),
    [
        (AMOUNT_ONE + 1_000_000, False),
        (AMOUNT_ONE + 1_000_001, True),
        (AMOUNT_ONE - 1_000_000, False),
        (AMOUNT_ONE - 1_000_001, True),
        (0, True),
        (-AMOUNT_ONE, True),
    ],
)
def test_one_part_in_ten_thousand_of_the_fee_is_the_tolerance(charged: int, differs: bool) -> None:
    """FEE-10: 0.01 %, on both sides: a venue that charges too little is wrong too."""
    book = _book()
    check = book.check(fill(fee=Amount(charged)), spx(), first=True, now_ns=NOW)
    assert (check.expected, check.differs, book.mismatches) == (AMOUNT_ONE, differs, int(differs))


@pytest.mark.parametrize(("charged", "differs"), [(-2_500, False), (2_500, True), (0, True)])
def test_a_rebate_is_held_against_a_rebate(charged: int, differs: bool) -> None:
    """0.025 % back of 1,000.00, as maker."""
    book = FeeBook()
    book.take(REBATE, NOW)
    paid = Amount(charged * AMOUNT_ONE // 10_000)
    check = book.check(fill(fee=paid, maker=True), spx(), first=True, now_ns=NOW)
    assert (check.expected, check.differs) == (usd("-0.25"), differs)


def test_where_nothing_is_due_anything_is_a_difference() -> None:
    """0 % expected: one unit is infinitely many per cent."""
    book = FeeBook()
    book.take(schedule(tier(0, 0, 0)), NOW)
    assert book.check(fill(fee=Amount(0)), spx(), first=True, now_ns=NOW).differs is False
    assert book.check(fill(fee=Amount(1)), spx(), first=True, now_ns=NOW).differs is True


def test_a_stale_schedule_checks_nothing() -> None:
    """Never used past five minutes, not even to judge; counted and said."""
    book = _book()
    check = book.check(fill(fee=Amount(7)), spx(), first=True, now_ns=NOW + MAX_AGE_NS + 1)
    assert (check.expected, check.differs) == (None, False)
    assert (book.mismatches, book.unchecked) == (0, 1)
    fresh = FeeBook()
    fresh.check(fill(), spx(), first=True, now_ns=NOW)
    assert fresh.line(NOW, 0).unchecked == 1


def test_the_network_fee_is_expected_once() -> None:
    """With the first fill of an order."""
    book = _book(network_fee=2 * AMOUNT_ONE)
    assert book.check(fill(), spx(), first=True, now_ns=NOW).expected == 3 * AMOUNT_ONE
    assert book.check(fill(), spx(), first=False, now_ns=NOW).expected == AMOUNT_ONE


def test_checked_unchecked_and_remembered_fills_make_the_tier() -> None:
    """After a restart the volume comes from the log; a fill nobody could check was traded all the same."""
    book = FeeBook()
    sixty = fill(6_000_000)
    book.remember(sixty, spx())
    book.check(replace(sixty, event_ns=1), spx(), first=True, now_ns=NOW)
    book.take(KRAKEN, NOW)
    assert book.line(NOW, DAY_NS - 1).tier == 1
    assert book.line(NOW, DAY_NS).tier == 3  # 120,000
    assert book.tier(KRAKEN, DAY_NS) is KRAKEN.tiers[2]
    book.check(replace(sixty, event_ns=DAY_NS), spx(), first=True, now_ns=NOW)
    check = book.check(fill(100_000, event_ns=2 * DAY_NS, fee=usd("2.2")), spx(), first=True, now_ns=NOW)
    assert (check.expected, check.differs) == (usd("2.2"), False)
    line = book.line(NOW + 7 * SECOND, 2 * DAY_NS)
    assert (line.age_s, line.tier, line.tiers, line.unchecked) == (7, 3, 9, 1)
    assert line.mismatches == 1  # of 60,000 at 0.1 %, the one there was a schedule for


@pytest.mark.parametrize(
    ("line", "state", "detail"),
    [
        (FeeLine(problem="away"), "down", "no schedule: away; entries are denied"),
        (
            FeeLine(age_s=9, usable=True, tier=1, tiers=2),
            "ok",
            "schedule 9 s old, tier 1 of 2",
        ),
        (
            FeeLine(age_s=99, usable=True, tier=2, tiers=2, problem="away"),
            "degraded",
            "schedule 99 s old, tier 2 of 2; away",
        ),
        (
            FeeLine(age_s=301, usable=False, tier=2, tiers=2, problem="away", mismatches=3),
            "down",
            "schedule 301 s old, tier 2 of 2; 3 fills charged otherwise; too old, entries are denied: away",
        ),
    ],
)
def test_what_the_page_says(line: FeeLine, state: str, detail: str) -> None:
    """Age and tier always; what keeps entries out, and why."""
    assert fees_part(line) == Part("fees", state, detail)
