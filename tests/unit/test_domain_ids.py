"""Client order ids."""

from __future__ import annotations

import re

import pytest

from appliance.domain.ids import ORDER_ID_MAX, IntentId, OrderIds, SourceId, derive_order_id


def test_an_order_id_is_a_function_of_the_wish() -> None:
    """The same after any restart, on any machine: the value is pinned."""
    made = derive_order_id("demo", SourceId("trend"), IntentId("1"))
    assert made == derive_order_id("demo", SourceId("trend"), IntentId("1"))
    assert made == "il-25e6c174600b89b6fba81ad427da7e"


@pytest.mark.safety("S4.7")
def test_it_fits_every_venue() -> None:
    """At most 36 characters of [a-z0-9-] (Binance: ^[a-zA-Z0-9-_]{1,36}$)."""
    made = derive_order_id("demo", SourceId("s" * 500), IntentId("ü" * 500))
    assert re.fullmatch(r"[a-z0-9-]{1,36}", made)
    assert len(made) <= ORDER_ID_MAX


@pytest.mark.safety("S4.7")
def test_fields_are_framed() -> None:
    """("ab", "c") and ("a", "bc") are different wishes (P02)."""
    made = {
        derive_order_id("x", SourceId("ab"), IntentId("c")),
        derive_order_id("x", SourceId("a"), IntentId("bc")),
        derive_order_id("xa", SourceId("b"), IntentId("c")),
        derive_order_id("x", SourceId("ab"), IntentId("c"), 1),
    }
    assert len(made) == 4


@pytest.mark.parametrize("account", ["", "demo", "ü" * 300])
def test_kept_digests_give_the_same_ids(account: str) -> None:
    """However often and in whatever order sources ask, and after more sources than are kept."""
    ids = OrderIds(account)
    asked = [
        (SourceId(source), IntentId(intent), attempt)
        for source in ("bot", "", "b", "ü1", *(f"s{number}" for number in range(300)))
        for intent in ("1", "ot1", "", *("i" * length for length in (9, 10, 99, 127, 128, 129)))
        for attempt in (0, 7)
    ]
    for source, intent, attempt in [*asked, *reversed(asked)]:
        assert ids.derive(source, intent, attempt) == derive_order_id(account, source, intent, attempt)
