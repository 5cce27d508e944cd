"""A chain in words: one row per entry in the order a tree is read, and the facts around it. R1.

Texts come from bots and strategies: every one passes `printable` before it is shown anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from appliance.audit.provenance import Chain
from appliance.audit.records import Record, entry_bytes
from appliance.audit.select import printable, summary

MAX_PRECEDENTS = 3
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60
_RECORDED_S = 2 * _DAY_S
"""An observation older than this when it led to something came from a recording, so it has no age."""

Stamp = Callable[[int], str]
"""UTC nanoseconds as text; given in, for this layer has no calendar."""


Describe = Callable[[Record, Stamp], tuple[str, list[str]]]
"""An entry → its title and further lines."""


class Row(Struct, frozen=True):
    """One entry of the tree. rails: for each level above whether more siblings follow, outermost first.

    again: it was shown above already, in full.  title, details: printable, one line each.
    """

    index: int
    kind: str
    rails: tuple[bool, ...]
    title: str
    details: tuple[str, ...]
    focus: bool
    again: bool


class Story(Struct, frozen=True, kw_only=True):
    """Everything a person is told about a decision. facts: (name, text).  notes: what is not in it."""

    title: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def tell(chain: Chain, asked: str, outcome: str, stamp: Stamp, mode: str = "") -> Story:
    """The story of a chain. asked: what the person typed.  outcome: what came of it, empty if no order.
    mode: the box's when it was decided, empty if nobody looked."""
    who, *under = facts(chain)
    told = [who, ("mode", mode), *under, ("outcome", outcome)]
    missing = [f"entry {entry} names {cause} as its cause: it is missing" for entry, cause in chain.missing]
    notes = tuple(printable(note) for note in (*missing, *chain.notes))
    return Story(
        title=printable(f"why {asked}"),
        facts=tuple((name, printable(text)) for name, text in told if text),
        rows=tuple(rows_of(chain, stamp, _describe)),
        notes=notes,
    )


def facts(chain: Chain) -> list[tuple[str, str]]:
    """(name, text) of who decided, then under which configuration and limits; a text may be empty."""
    return [("who", _who(chain)), ("under", _config(chain.config)), ("limits", _limits(chain))]


def rows_of(chain: Chain, stamp: Stamp, describe: Describe) -> Iterable[Row]:
    """Depth first, oldest first; every entry in full once, without recursion: a chain may be long."""
    shown: set[int] = set()
    open_ends: list[tuple[int, tuple[bool, ...]]] = [(root, ()) for root in reversed(chain.roots)]
    while open_ends:
        index, rails = open_ends.pop()
        record = chain.records[index]
        again = index in shown
        title, details = describe(record, stamp)
        yield Row(
            index=index,
            kind=printable(record.kind),
            rails=rails,
            title=printable(title),
            details=() if again else tuple(printable(each) for each in details),
            focus=index in chain.focus,
            again=again,
        )
        if again:
            continue
        shown.add(index)
        below = chain.children.get(index, ())
        last = len(below) - 1
        open_ends += [(below[at], (*rails, at < last)) for at in range(last, -1, -1)]


def _describe(record: Record, stamp: Stamp) -> tuple[str, list[str]]:
    writer = _WORDS.get(record.kind)
    if writer is None:
        return summary(record.data), []
    return writer(record, stamp)


def _signal(record: Record, stamp: Stamp) -> tuple[str, list[str]]:
    data = record.data
    details = [f"price {_get(data, 'reference') or 'not told'}, stop {_get(data, 'stop') or 'none'}"]
    if seen := time_of(data.get("event_ns")):
        details.append(f"observed {stamp(seen)}, {_age(int(record.utc_ns) - seen)}")
    if "refused" in data:
        details.append(f"refused: {_get(data, 'refused')} {_get(data, 'detail')}")
    near = data.get("precedents")
    if isinstance(near, list):
        details.append(f"precedents memory knew: {len(near) or 'none'}")
        details += [_precedent(each, seen, stamp) for each in near[:MAX_PRECEDENTS] if isinstance(each, dict)]
        if len(near) > MAX_PRECEDENTS:
            details.append(f"and {len(near) - MAX_PRECEDENTS} more (interlock audit show {record.i})")
    advice = data.get("advice")
    if isinstance(advice, dict):
        details.append(f"advised {summary(advice)}")
    who = f"{_get(data, 'strategy')} wants {_get(data, 'direction')} {_get(data, 'instrument')}"
    return f"{who}: {_get(data, 'reason') or 'no reason told'}", details


def _precedent(each: Mapping[str, object], seen: int, stamp: Stamp) -> str:
    at = time_of(each.get("event_ns"))
    when = f" of {stamp(at)}" if at else ""
    before = f", {_span((seen - at) // 10**9)} before" if at and seen >= at else ""
    return f"precedent {_get(each, 'observation')}{when}{before}, distance {_get(each, 'distance')}"


def _intent(record: Record, _stamp: Stamp) -> tuple[str, list[str]]:
    data = record.data
    if data.get("action") == "CANCEL":
        return f"{_get(data, 'source')} asks to cancel {_get(data, 'target')}", []
    what = " ".join(_get(data, key) for key in ("side", "qty", "instrument", "type") if _get(data, key))
    price = f" at {_get(data, 'price')}" if _get(data, "price") else ""
    stop = f", stop {_get(data, 'stop')}" if _get(data, "stop") else ""
    return f"{_get(data, 'source')} asks: {what}{price}{stop}", [f"intent {_get(data, 'intent')}"]


def _verdict(record: Record, _stamp: Stamp) -> tuple[str, list[str]]:
    data = record.data
    if data.get("verdict") == "denied":
        detail = f" ({_get(data, 'detail')})" if _get(data, "detail") else ""
        kind = f" {_get(data, 'class')}" if _get(data, "class") else ""
        return f"DENIED{kind}: {_get(data, 'reason')}{detail}", []
    flags = data.get("flags")
    details = []
    if isinstance(flags, list) and flags:
        details.append(f"changed: {', '.join(str(flag) for flag in flags)}")
    if _get(data, "attached_stop"):
        details.append(f"stop attached at {_get(data, 'attached_stop')}")
    cost = data.get("cost")
    if isinstance(cost, dict):
        details.append(f"expected cost {_get(cost, 'total')}, breaks even at {_get(cost, 'break_even')}")
    orders = data.get("orders")
    if isinstance(orders, list):
        details += [summary(each) for each in orders if isinstance(each, dict)]
    kind = f" {_get(data, 'list')}" if "list" in data else ""
    return f"approved {_get(data, 'class')}{kind}: order {_get(data, 'order_id')}", details


def _order(record: Record, _stamp: Stamp) -> tuple[str, list[str]]:
    data = record.data
    why = f": {_get(data, 'why')}" if _get(data, "why") else ""
    done = f", {_get(data, 'filled')} of {_get(data, 'qty')} filled" if _get(data, "qty") else ""
    return f"{_get(data, 'order_id')} is {_get(data, 'state')}{done}{why}", []


def _fill(record: Record, _stamp: Stamp) -> tuple[str, list[str]]:
    data = record.data
    what = f"{_get(data, 'side')} {_get(data, 'qty')} {_get(data, 'instrument')} at {_get(data, 'price')}"
    return f"{_get(data, 'order_id')} filled: {what}, fee {_get(data, 'fee')}", []


def _execution(record: Record, _stamp: Stamp) -> tuple[str, list[str]]:
    data = record.data
    plan = data.get("plan")
    style = f" {_get(plan, 'style')}" if isinstance(plan, dict) else ""
    if data.get("execution") != "ended":
        return f"working the wish {_get(data, 'execution')}{style}", [f"intent {_get(data, 'intent')}"]
    why = f": {_get(data, 'why')}" if _get(data, "why") else ""
    return f"worked: {_get(data, 'ending')}{why}", [summary(data)]


_WORDS: dict[str, Callable[[Record, Stamp], tuple[str, list[str]]]] = {
    "signal": _signal,
    "intent": _intent,
    "verdict": _verdict,
    "order": _order,
    "fill": _fill,
    "execution": _execution,
}


def _who(chain: Chain) -> str:
    return ", ".join(_sources(chain)) or "the appliance itself"


def _sources(chain: Chain) -> list[str]:
    named = (_get(r.data, key) for r in chain.records.values() for key in ("source", "strategy"))
    return list(dict.fromkeys(name for name in named if name))


def _config(config: Record | None) -> str:
    if config is None:
        return "no configuration is in the log before it"
    sealed = "sealed" if config.data.get("sealed") is True else "unsealed"
    digest = hashlib.sha256(entry_bytes(config)).hexdigest()
    return f"{sealed} configuration of entry {config.i}, sha256 {digest}"


def _limits(chain: Chain) -> str:
    """Those of the account, then of the sources and of the instruments the chain names."""
    limits = chain.config.data.get("limits") if chain.config is not None else None
    if not isinstance(limits, dict):
        return ""
    traded = (_get(record.data, "instrument") for record in chain.records.values())
    scopes = dict.fromkeys(name for name in ("account", *_sources(chain), *traded) if name)
    named = (each for scope in scopes for each in limits.items() if each[0].startswith(f"{scope} "))
    return "; ".join(f"{name} {value}" for name, value in dict(named).items())


def _get(data: Mapping[str, object], key: str) -> str:
    value = data.get(key)
    return "" if value is None or isinstance(value, dict | list) else str(value)


def time_of(value: object) -> int:
    """Nanoseconds of a `_ns` field, 0 if it is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _age(age_ns: int) -> str:
    seconds = age_ns // 10**9
    if not 0 <= seconds < _RECORDED_S:
        return "recorded market"
    return f"{_span(seconds)} old" if seconds else f"{age_ns // 10**6} ms old"


def _span(seconds: int) -> str:
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
