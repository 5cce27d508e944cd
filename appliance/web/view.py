"""Status → everything the page shows, as text. First HTML and every event are made from the same view, so
page and script cannot disagree, and the words exist once.

`one` is keyed by element id, `rows` by list name. A cell is (text, attributes): text None leaves the
element's content alone, an attribute of None is absent. Row cell 0 is the row itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import dropwhile

from msgspec import Struct

from appliance.domain.mode import Mode
from appliance.domain.status import AuditHead, Histogram, Lamp, Progress, Status, Trip, Verdicts
from appliance.web import words
from appliance.web.text import clean, clock_time, count, duration, market_time, share, utc, width

MAX_ROWS = 60


class Cell(Struct, frozen=True, array_like=True):
    """One element's text and attributes."""

    text: str | None
    attrs: dict[str, str | None] = {}


Row = tuple[Cell, ...]


class View(Struct, frozen=True):
    """What one event carries, about 6 kB of JSON."""

    one: dict[str, Cell]
    rows: dict[str, tuple[Row, ...]]


def view(status: Status, build: str) -> View:
    """Every element of the page for this status. build: identity of page and script; another one reloads."""
    one: dict[str, Cell] = {}
    rows: dict[str, tuple[Row, ...]] = {}
    one |= _mode(status, build) | _trip(status.trip) | _box(status)
    one |= _feed(status.progress) | _audit(status.audit)
    rows["lamps"] = tuple(_lamp(lamp) for lamp in status.lamps[:8])
    rows["badges"] = _badges(status)
    held = bool(status.holds)
    one["holds-panel"] = Cell(None, _hidden(not held))
    one["quiet"] = Cell(None, _hidden(held or status.trip is not None))
    _table(one, rows, "holds", _holds(status))
    one["alerts-panel"] = Cell(None, _hidden(not status.alerts))
    _table(one, rows, "alerts", _alerts(status))
    _table(one, rows, "parts", _parts(status))
    _table(one, rows, "strategies", _strategies(status))
    _table(one, rows, "limits", _limits(status))
    _table(one, rows, "data", _data(status.data_counts))
    _verdicts(one, rows, status.verdicts)
    _latency(one, rows, status.gate)
    _table(one, rows, "decisions", decision_rows(status))
    return View(one, rows)


def mode_name(status: Status) -> str:
    """The mode, or UNKNOWN for a name this version has no colour and no sentence for."""
    return status.mode if status.mode in Mode.__members__ else "UNKNOWN"


def _hidden(hidden: bool) -> dict[str, str | None]:
    return {"hidden": "" if hidden else None}


def _text(text: str, **attrs: str | None) -> Cell:
    return Cell(clean(text), {name.replace("_", "-"): value for name, value in attrs.items()})


def _when(shown: tuple[str, str | None]) -> Cell:
    return Cell(shown[0], {"datetime": shown[1]})


def _table(one: dict[str, Cell], rows: dict[str, tuple[Row, ...]], key: str, found: Sequence[Row]) -> None:
    """A list with its two notes: none, and how many were left out to keep page and event bounded."""
    left = max(0, len(found) - MAX_ROWS)
    rows[key] = tuple(found[:MAX_ROWS])
    one[f"{key}-none"] = Cell(None, _hidden(bool(found)))
    one[f"{key}-more"] = Cell(f"and {count(left)} more in /status.json", _hidden(left == 0))


def _mode(status: Status, build: str) -> dict[str, Cell]:
    name = mode_name(status)
    held = bool(status.holds) and status.trip is None
    meaning = words.MODE.get(name, words.MODE_UNKNOWN)
    if held and name == Mode.NORMAL.name:
        meaning = words.HELD
    note = f" ({status.trip.reason})" if status.trip else " + HOLD" if held else ""
    return {
        "root": Cell(None, {"data-build": build, "data-mode": name}),
        "title": _text(f"{name}{note} – {status.box} – Interlock"),
        "mode": Cell(name),
        "tag": _tag(status, held),
        "meaning": Cell(meaning),
        "mode-since": _when(utc(status.mode_since_ns)),
        "system-mode": _text(status.system_mode),
        "armed": Cell("yes" if status.armed else "no"),
        "arming": _arming(status),
        "arming-line": Cell(None, _hidden(name == Mode.NORMAL.name)),
        "now": _when(clock_time(status.now_ns)),
    }


def _arming(status: Status) -> Cell:
    if not status.missing:
        return Cell(words.MAY_ARM)
    return _text("waits until " + "; ".join(words.MISSING.get(name, name) for name in status.missing))


def _tag(status: Status, held: bool) -> Cell:
    if status.trip is not None:
        return _text(f"trip: {status.trip.reason}", data_state="trip", hidden=None)
    return Cell("+ hold" if held else "", {"data-state": "hold", **_hidden(not held)})


def _trip(trip: Trip | None) -> dict[str, Cell]:
    if trip is None:
        blank = ("trip-reason", "trip-meaning", "trip-since", "trip-stored", "trip-later", "trip-recovery")
        empty = {name: Cell("", {"datetime": None} if name == "trip-since" else {}) for name in blank}
        return {
            **empty,
            "trip-panel": Cell(None, _hidden(True)),
            "trip-later-line": Cell(None, _hidden(True)),
        }
    stored = "stored on disk: it survives a power cut" if trip.stored else "not yet stored on disk"
    return {
        "trip-panel": Cell(None, _hidden(False)),
        "trip-reason": _text(trip.reason),
        "trip-meaning": Cell(words.TRIP.get(trip.reason, "")),
        "trip-since": _when(utc(trip.since_ns)),
        "trip-stored": Cell(stored),
        "trip-later": _text(", ".join(trip.later)),
        "trip-later-line": Cell(None, _hidden(not trip.later)),
        "trip-recovery": _text(trip.recovery),
    }


def _box(status: Status) -> dict[str, Cell]:
    return {
        "box": _text(status.box),
        "version": _text(status.version),
        "commit": _text(status.commit),
        "uptime": Cell(duration(status.uptime_s)),
        "sealed": Cell("sealed" if status.sealed else "unsealed"),
    }


def _badges(status: Status) -> tuple[Row, ...]:
    said = (
        *_recovery(status),
        (status.simulated_board, words.SIMULATED),
        (not status.realtime, words.NO_REALTIME),
        (not status.sealed, words.UNSEALED),
    )
    return tuple((Cell(None), Cell(name), Cell(meaning)) for shown, (name, meaning) in said if shown)


def _recovery(status: Status) -> list[tuple[bool, tuple[str, str]]]:
    """Due, or running with its share."""
    plan = status.recovery
    said = [(status.recovery_due, (words.RECOVERY, words.RECOVERY_DUE))]
    if plan is not None and not status.recovery_due:
        left = duration((int(plan.every_ns) - int(plan.passed_ns)) // 1_000_000_000)
        shares = f"new exposure gets {plan.share} of its limits; {plan.next} after {left} without a trip"
        said.append((True, (f"{words.RECOVERY} {plan.plan}", clean(shares))))
    return said


def _lamp(lamp: Lamp) -> Row:
    known = lamp.pattern in words.PATTERN
    pattern = lamp.pattern if known else "unknown"
    return (
        Cell(None, {"data-color": clean(lamp.color), "data-pattern": pattern}),
        _text(lamp.color[:1].upper()),
        _text(lamp.color),
        Cell(f"BCM {lamp.bcm}"),
        Cell(pattern),
        Cell(words.PATTERN.get(pattern, "")),
    )


def _holds(status: Status) -> list[Row]:
    return [
        (
            Cell(None),
            _text(hold.cause),
            _text(hold.scope),
            Cell(words.HOLD.get(hold.cause, "")),
            _text(hold.detail),
            _when(utc(hold.since_ns)),
        )
        for hold in status.holds
    ]


def _alerts(status: Status) -> list[Row]:
    found: list[Row] = []
    for line in status.alerts:
        severity = line.severity if line.severity in words.SEVERITIES else "unknown"
        found.append(
            (
                Cell(None, {"data-state": severity}),
                _text(line.kind),
                _text(line.subject, hidden=None if line.subject else ""),
                Cell(severity),
                _text(line.text),
                _when(utc(line.since_ns)),
            )
        )
    return found


def _feed(feed: Progress) -> dict[str, Cell]:
    bounded = feed.total > 0
    done = max(0, min(feed.done, feed.total)) if bounded else feed.done
    of_total = f"{count(done)} of {count(feed.total)}" if bounded else count(done)
    left = "unknown" if feed.eta_s < 0 else duration(feed.eta_s)
    bar = {"value": str(done), "max": str(feed.total if bounded else 1), **_hidden(not bounded)}
    percent = f"{done * 100 // feed.total} %" if bounded else ""
    return {
        "feed-label": _text(feed.label),
        "feed-state": _text(words.FEED.get(feed.state, feed.state), data_state=clean(feed.state)),
        "feed-percent": Cell(percent, _hidden(not bounded)),
        "feed-bar": Cell(None, bar),
        "feed-done": Cell(of_total),
        "feed-rate": Cell(f"{count(feed.rate)}/s"),
        "feed-left": Cell(left if feed.state == "running" else "–"),
        "feed-market": _when(market_time(feed.market_ns)),
    }


def _parts(status: Status) -> list[Row]:
    found: list[Row] = []
    for part in status.parts:
        state = part.state if part.state in words.PART_STATES else "unknown"
        found.append((Cell(None, {"data-state": state}), _text(part.name), Cell(state), _text(part.detail)))
    return found


def _strategies(status: Status) -> list[Row]:
    found: list[Row] = []
    for line in status.strategies:
        state = line.state if line.state in words.STRATEGY_STATES else "unknown"
        why = Cell(None, _hidden(state == "running"))
        since = _when(utc(line.since_ns))
        found.append(
            (
                Cell(None, {"data-state": state}),
                _text(line.name),
                _text(line.instrument),
                Cell(state),
                why,
                _text(line.reason),
                since,
            )
        )
    return found


def _limits(status: Status) -> list[Row]:
    """One row for each limit of the same name and value, with every scope it holds in."""
    scopes: dict[tuple[str, str], list[str]] = {}
    for line in status.limits:
        scopes.setdefault((line.name, line.value), []).append(line.scope)
    return [
        (Cell(None), _text(name), _text(value), _text(", ".join(within)))
        for (name, value), within in scopes.items()
    ]


def _data(counts: dict[str, int]) -> list[Row]:
    """`SPX.received`, `SPX.gaps` … become one row SPX; what is not listed in it is zero."""
    kinds: dict[str, list[str]] = {}
    for key, number in counts.items():
        name, dot, kind = key.rpartition(".")
        found = kinds.setdefault(name if dot else key, [])
        if number or not dot:
            found.append(f"{count(number)} {kind}" if dot else count(number))
    return [(Cell(None), _text(name), _text(", ".join(found) or "nothing")) for name, found in kinds.items()]


def _verdicts(one: dict[str, Cell], rows: dict[str, tuple[Row, ...]], verdicts: Verdicts) -> None:
    denied = sum(verdicts.denied.values())
    one["approved"] = Cell(count(verdicts.approved))
    one["denied"] = Cell(count(denied))
    by_count = sorted(verdicts.denied.items(), key=lambda item: (-item[1], item[0]))
    found: list[Row] = [
        (
            Cell(None),
            _text(code),
            Cell(words.reason(code)),
            Cell(count(number)),
            Cell(None, {"width": width(number, denied)}),
        )
        for code, number in by_count
        if number
    ]
    _table(one, rows, "reasons", found)


def _latency(one: dict[str, Cell], rows: dict[str, tuple[Row, ...]], gate: Histogram) -> None:
    total = sum(gate.counts)
    labels = [f"≤ {count(bound)} µs" for bound in gate.bounds_us]
    labels.append(f"> {count(gate.bounds_us[-1])} µs" if gate.bounds_us else "all")
    found: list[Row] = [
        (
            Cell(None),
            Cell(label),
            Cell(None, {"width": width(number, total)}),
            Cell(count(number)),
            Cell(share(number, total)),
        )
        for label, number in _without_leading_zeros(zip(labels, gate.counts, strict=False))
    ]
    one["gate-p50"] = Cell(f"{count(gate.p50_us)} µs" if total else "–")
    one["gate-p99"] = Cell(f"{count(gate.p99_us)} µs" if total else "–")
    one["gate-total"] = Cell(count(total))
    _table(one, rows, "latency", found)


def decision_rows(status: Status) -> list[Row]:
    """(the row, entry, verdict or the reason of a denial, source, time) of each, newest first."""
    found: list[Row] = []
    for each in status.decisions:
        known = each.verdict in words.VERDICTS
        said = (each.reason or "denied") if each.verdict == "denied" else each.verdict
        found.append(
            (
                Cell(None, {"data-state": each.verdict if known else "unknown"}),
                Cell(f"entry {each.index}"),
                _text(said if known else "unknown"),
                _text(each.source),
                _when(utc(each.at_ns)),
            )
        )
    return found


def _without_leading_zeros(buckets: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Fast buckets nobody reached say nothing; slow ones say that nobody was that slow, and stay."""
    return list(dropwhile(lambda bucket: not bucket[1], buckets))


def _audit(head: AuditHead) -> dict[str, Cell]:
    signed, witnessed = min(head.signed, head.size), min(head.witnessed, head.size)
    behind = head.size - signed
    unwitnessed = head.size - witnessed
    witness = f"by {head.witness}" if head.witness else "no witness is configured"
    lag = f", {count(unwitnessed)} behind" if head.witness and unwitnessed else ""
    return {
        "audit-origin": _text(head.origin),
        "audit-size": Cell(count(head.size)),
        "audit-signed": Cell(count(head.signed)),
        "audit-signed-note": Cell(f"{count(behind)} behind the log" if behind else "the whole log"),
        "audit-witnessed": Cell(count(head.witnessed) if head.witness else "–"),
        "audit-witness": _text(witness + lag),
        "audit-root": _text(_short(head.root), title=clean(head.root)),
        "audit-alarm": _text(head.alarm, hidden=None if head.alarm else ""),
    }


def _short(root: str) -> str:
    return root if len(root) <= 20 else f"{root[:10]}…{root[-8:]}"
