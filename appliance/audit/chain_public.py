"""A chain as the status page may show it: who decided, from what, under which limits, what the gate said.

The page shows no live position and no P&L (SAFETY 12, D32), and a chain is made of them: sides, sizes,
prices, stops, fills, and which orders only close. So nothing of an entry is shown that is not named here,
kind by kind. What would tell by being there – fills, ends of orders, protective legs, and plans, which new
exposure alone has – is left out with its links drawn through it. `interlock audit why` on the box shows all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from appliance.audit.chain_words import MAX_PRECEDENTS, Stamp, Story, facts, rows_of, time_of
from appliance.audit.provenance import Chain
from appliance.audit.records import Record
from appliance.audit.select import printable
from appliance.domain.reasons import Reason

LEFT_OUT = "sides, sizes, prices, fills and results are not shown here: on the box, interlock audit why"


def public_story(chain: Chain, index: int, stamp: Stamp) -> Story:
    """The story of the decision that was logged as entry `index`."""
    seen = _visible(chain)
    return Story(
        title=f"decision {index}",
        facts=tuple((name, printable(text)) for name, text in facts(seen)),
        rows=tuple(rows_of(seen, stamp, _describe)),
        notes=(f"{LEFT_OUT} {index}",),
    )


def is_decision(record: Record) -> bool:
    """True for an entry a picture may be asked for."""
    return record.kind == "verdict"


def _visible(chain: Chain) -> Chain:
    """The chain without what must not be shown; what followed from it follows from its causes."""
    kept: dict[int, Record] = {}
    above: dict[int, tuple[int, ...]] = {}
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    told: set[tuple[object, str]] = set()
    for index, record in chain.records.items():
        causes = dict.fromkeys(top for cause in record.causes for top in above.get(cause, ()))
        if not _may_be_seen(record, told):
            above[index] = tuple(causes)
            continue
        kept[index], above[index] = record, (index,)
        for cause in causes:
            children.setdefault(cause, []).append(index)
        if not causes:
            roots.append(index)
    linked = {cause: tuple(effects) for cause, effects in children.items()}
    return msgspec.structs.replace(
        chain, records=kept, children=linked, roots=tuple(roots), focus=chain.focus & kept.keys()
    )


def _may_be_seen(record: Record, told: set[tuple[object, str]]) -> bool:
    """told: what was said of which order; each word once, so that nothing is counted."""
    if record.kind != "order":
        return record.kind in _WORDS
    order, word = record.data.get("order_id"), _FATES.get(str(record.data.get("state")), "")
    if not word or not isinstance(order, str) or order.count("-") != 1 or (order, word) in told:
        return False  # il-… is an order; il-…-s is its stop, which is there once it was filled
    told.add((order, word))
    return True


def _describe(record: Record, stamp: Stamp) -> tuple[str, list[str]]:
    return _WORDS[record.kind](record.data, stamp)


def _signal(data: Mapping[str, object], stamp: Stamp) -> tuple[str, list[str]]:
    seen = time_of(data.get("event_ns"))
    details = [f"from the observation of {stamp(seen)}"] if seen else []
    near = data.get("precedents")
    if isinstance(near, list):
        details.append(f"precedents memory knew: {len(near) or 'none'}")
        for each in near[:MAX_PRECEDENTS]:
            at = time_of(each.get("event_ns")) if isinstance(each, dict) else 0
            details += [f"precedent of {stamp(at)}"] if at else []
    return f"{_name(data, 'strategy')} changed its mind about {_name(data, 'instrument')}", details


def _intent(data: Mapping[str, object], _stamp: Stamp) -> tuple[str, list[str]]:
    return f"{_name(data, 'source')} asks about {_name(data, 'instrument')}", []


def _verdict(data: Mapping[str, object], _stamp: Stamp) -> tuple[str, list[str]]:
    if data.get("verdict") == "approved":
        return "approved by the gate", []
    reason = str(data.get("reason"))
    return f"DENIED: {reason if reason in Reason.__members__ else 'for a reason of another version'}", []


def _order(data: Mapping[str, object], _stamp: Stamp) -> tuple[str, list[str]]:
    return _FATES[str(data.get("state"))], []


_FATES = {"WORKING": "taken by the venue", "REJECTED": "rejected by the venue"}
"""How an order ends is not among them: filled and cancelled would tell what is held."""

_WORDS: dict[str, Callable[[Mapping[str, object], Stamp], tuple[str, list[str]]]] = {
    "signal": _signal,
    "intent": _intent,
    "verdict": _verdict,
    "order": _order,
}


def _name(data: Mapping[str, object], key: str) -> str:
    """A name of the configuration; nothing else is taken for one."""
    value = data.get(key)
    return value[:64] if isinstance(value, str) and value else "somebody"
