"""`interlock status`, and `interlock` without a verb: what stands, and what to do next. Under 300 ms."""

from __future__ import annotations

import argparse
import json
import time

import msgspec

from appliance.domain.mode import Mode, TripReason
from appliance.runtime.alert_files import FRESH_NS as FRESH_ALERTS_NS
from appliance.runtime.alert_files import board_age_ns, read_board
from appliance.runtime.disk_gauge import read_note
from appliance.runtime.disk_text import note_text
from appliance.runtime.guard_link import PATTERNS, Glance, boot_text
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.safety.disk import UNMEASURED_NS

FRESH_NS = 1_000_000_000


def run_status(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Reads the two pages: it works while the core hangs, and needs no network. Exit 69 if nothing runs."""
    picture = look(paths)
    if options.json:
        print(json.dumps(picture))
    else:
        for line in sentences(picture, terminal):
            print(line)
    return 0 if picture["guard"] == "runs" and picture["core"] == "runs" else 69


def look(paths: Paths) -> dict[str, object]:
    """What the pages say, as plain values."""
    glance = Glance(paths.runtime)
    guard, core = glance.guard_words(), glance.core_words()
    guard_age, core_age = glance.guard_age_ns(), glance.core_age_ns()
    reason = guard.get("REASON", 0) if guard_age is not None else int(TripReason.NOT_ARMED)
    armed = bool(guard) and guard["STATE"] == guard["ARMED"] != 0
    later = [r.name for r in TripReason if guard.get("LATER", 0) >> r & 1]
    lamps = {
        name.lower(): _pattern(guard.get(f"LAMP_{name}", 0)) for name in ("GREEN", "YELLOW", "RED")
    }
    return {
        "state": str(paths.state),
        "prepared": paths.log.is_dir(),
        "guard": _alive(guard_age),
        "core": _alive(core_age),
        "alerts": _alive(board_age_ns(read_board(paths.alert_board), boot_text()), FRESH_ALERTS_NS),
        "mode": _name(Mode, core.get("MODE", 0)) if core_age is not None else "",
        "armed": armed and guard_age is not None and guard_age < FRESH_NS,
        "reason": "" if armed else _name(TripReason, reason),
        "later": later,
        "stored": bool(guard) and guard["STORED"] == guard["STATE"],
        "holds": core.get("HOLDS", 0),
        "open_orders": core.get("OPEN_ORDERS", 0),
        "lamps": lamps,
        "disk": _disk(paths),
        "simulated_board": guard.get("BOARD", 0) != 2,
        "realtime": bool(guard.get("FLAGS", 0) & 1),
        "guard_age_ms": -1 if guard_age is None else guard_age // 1_000_000,
        "core_age_ms": -1 if core_age is None else core_age // 1_000_000,
    }


def sentences(picture: dict[str, object], terminal: Terminal) -> list[str]:
    """For people; the last line is the next step."""
    if not picture["prepared"]:
        return [f"there is no appliance in {picture['state']}", "next: interlock init"]
    if picture["guard"] != "runs" and picture["core"] != "runs":
        return [f"nothing runs on {picture['state']}", "next: interlock up"]
    mode = str(picture["mode"] or "unknown")
    gate = "gate open" if picture["armed"] and picture["core"] == "runs" else "gate shut"
    reason = f", {picture['reason']}" if picture["reason"] else ""
    lamps = picture["lamps"]
    lines = [
        f"mode    {terminal.style(mode, 'bold')} ({gate}{reason})",
        f"guard   {picture['guard']}, heartbeat {picture['guard_age_ms']} ms old"
        + ("" if picture["realtime"] else ", without real-time priority"),
        f"core    {picture['core']}, heartbeat {picture['core_age_ms']} ms old",
        f"holds   {picture['holds']}   working orders {picture['open_orders']}",
    ]
    if picture["alerts"] != "runs":
        lines.append(f"alerts  {picture['alerts']}: nobody outside the box is told (interlock alerts)")
    if isinstance(disk := picture["disk"], dict):
        lines.append(f"disk    {disk['text']}")
    if isinstance(lamps, dict):
        lines.append("lights  " + "  ".join(f"{color} {pattern}" for color, pattern in lamps.items()))
    return [*lines, f"next: {_next_step(picture)}"]


def _disk(paths: Paths) -> dict[str, object] | None:
    """The core's last measurement, None without one of this boot."""
    note = read_note(paths.disk_note)
    if note is None:
        return None
    age_ns = time.monotonic_ns() - note.mono_ns
    old = f", measured {age_ns // 1_000_000_000} s ago" if age_ns > UNMEASURED_NS else ""
    return {**msgspec.to_builtins(note), "text": note_text(note) + old}


def _next_step(picture: dict[str, object]) -> str:
    if picture["core"] != "runs" or picture["guard"] != "runs":
        return "interlock doctor"
    if picture["mode"] == "NORMAL":
        return "nothing; the status page has the details"
    if picture["simulated_board"]:
        return "interlock board arm"
    return "see the status page, then turn the arm key"


def _alive(age_ns: int | None, fresh_ns: int = FRESH_NS) -> str:
    if age_ns is None:
        return "absent"
    return "runs" if age_ns < fresh_ns else "silent"


def _pattern(number: int) -> str:
    return PATTERNS[number] if number < len(PATTERNS) else "unknown"


def _name(kind: type[Mode | TripReason], number: int) -> str:
    return next((member.name for member in kind if member.value == number), f"unknown ({number})")
