"""Every kind of entry: which item of AUDIT.md it is, who writes it, what it says, what it follows from.

    python -m tests.rules.logged

`parts` are modules below appliance/ that note it, and no other does. `fields` stand in every entry of the
kind. `follows`: kinds of which it names one as its cause; none where its nature calls for no cause. `run`: a
whole appliance that is pressed, armed and stopped writes it (tests/flow/test_what_is_logged.py).
"""

from __future__ import annotations

from dataclasses import dataclass

RUN = "flow/test_what_is_logged.py::test_each_kind_of_a_run_is_there_with_its_fields_and_causes"


@dataclass(frozen=True)
class Logged:
    """test: `path::name` below tests/ that fails if nobody writes it."""

    item: str
    parts: tuple[str, ...]
    fields: tuple[str, ...]
    follows: tuple[str, ...] = ()
    run: bool = True
    test: str = RUN


def _rare(item: str, parts: tuple[str, ...], fields: tuple[str, ...], test: str) -> Logged:
    return Logged(item, parts, fields, run=False, test=test)


_CORE, _DESK, _BOOKING = "runtime/core.py", "orders/desk.py", "orders/booking.py"
_CONTROLLER, _FLOW = "safety/controller.py", "pipeline.py"
_HOLDERS = (
    "runtime/breaker_watch.py", "runtime/clock_loop.py", "runtime/disk_watch.py", "runtime/feed.py",
    "runtime/watch.py", _CONTROLLER,
)  # fmt: skip

TABLE: dict[str, Logged] = {
    "start": Logged("start/stop", (_CORE,), ("version", "boot", "heartbeat_ns", "first", "keys")),
    "stop": Logged("start/stop", (_CORE,), ("mode", "unverified", "why")),
    "config": Logged("config in force", (_CORE,), ("sealed", "sha256", "limits")),
    "run_start": Logged("start/stop", (_CORE,), ("run", "account", "feed", "sha256", "unattended")),
    "run_end": _rare(
        "start/stop", (_CORE,), ("run", "observations", "mode"),
        "flow/test_spot_recording.py::test_the_recording_is_traded_alike_by_either_venue",
    ),
    "signal": Logged("intent", (_FLOW,), ("strategy", "instrument", "direction", "reason", "event_ns")),
    "execution": Logged("intent", ("orders/executor.py",), ("execution", "intent"), ("signal", "execution")),
    "intent": Logged("intent", (_DESK,), ("intent", "source", "instrument", "action")),
    "verdict": Logged("verdict", (_DESK,), ("verdict", "source", "class"), ("intent",)),
    "denied_count": _rare(
        "verdict", ("runtime/disk_watch.py",), ("counts", "why"),
        "unit/test_disk_watch.py::test_denials_are_counted_while_only_exits_may_write",
    ),
    "order": Logged("order", (_BOOKING,), ("order_id", "state", "filled", "qty", "seq", "why"), ("intent",)),
    "fill": Logged(
        "fill", (_BOOKING,), ("order_id", "trade", "side", "qty", "price", "fee", "event_ns"), ("intent",)
    ),
    "fees": Logged("fill", ("runtime/fee_refresh.py",), ("tiers", "network_fee", "window_days")),
    "venue": _rare(
        "order", (_BOOKING, _DESK), ("problem",),
        "flow/test_order_flow.py::test_what_the_venue_says_that_cannot_be_is_told_and_changes_nothing",
    ),
    "mode": Logged(
        "mode change", (_CONTROLLER,), ("from", "to", "why", "epoch", "boot"), ("trip", "arm_press")
    ),
    "recovery": Logged("mode change", ("safety/recovery_plan.py",), ("event", "plan", "why")),
    "hold": _rare(
        "mode change", _HOLDERS, ("cause", "scope", "detail"),
        "unit/test_disk_watch.py::test_a_hold_is_recorded_once_with_its_end",
    ),
    "hold_end": Logged("mode change", _HOLDERS, ("cause", "scope")),
    "breaker": _rare(
        "mode change", ("runtime/breaker_watch.py",), ("component",),
        "unit/test_runtime_breakers.py::test_every_change_is_an_entry",
    ),
    "loss_level": _rare(
        "mode change", (_FLOW,), ("level",),
        "flow/test_losses.py::test_the_marks_of_a_days_loss_are_told_once_a_day",
    ),
    "strategy_stop": _rare(
        "trip", (_FLOW,), ("strategy",),
        "flow/test_losses.py::test_an_allocation_limit_stops_that_strategy_and_leaves_the_others",
    ),
    "trip": Logged("trip", (_CONTROLLER,), ("reason", "from", "detail", "mode")),
    "arm": Logged("arm", (_CONTROLLER,), ("epoch", "mode"), ("arm_press",)),
    "arm_press": Logged(
        "manual act", (_CONTROLLER,), ("outcome", "source", "operator", "conditions", "press")
    ),
    "arm_refused": _rare(
        "manual act", (_CONTROLLER,), ("count", "last"),
        "unit/test_safety_controller.py::test_refused_commands_are_logged_once_a_second",
    ),
    "loosening": _rare(
        "manual act", ("safety/peak_reset.py", "safety/source_start.py"), ("outcome",),
        "flow/test_peak_reset_box.py::test_the_operators_way_back_on_a_whole_appliance",
    ),
    "rebalance": _rare(
        "verdict", (_FLOW,), ("qty",),
        "flow/test_risk_flow.py::test_proposals_are_noted_once_a_day_and_never_become_orders",
    ),
    "reconcile": Logged("start/stop", (_CORE, "runtime/watch.py"), ()),
    "clock": Logged(
        "clock event", ("runtime/clock_loop.py",), ("event", "state", "moved_ns", "synchronised")
    ),
    "disk": _rare(
        "heartbeat", ("runtime/disk_watch.py",), ("level", "reserve"),
        "flow/test_disk_full.py::test_a_nearly_full_disk_holds_and_lets_go",
    ),
    "alert": Logged("heartbeat", ("runtime/side_notes.py",), ("counts", "standing")),
    "memory": Logged("heartbeat", ("runtime/side_notes.py",), ("state", "why", "rows")),
    "key": _rare(
        "key use", ("runtime/key_uses.py",), ("act",),
        "flow/test_keys.py::test_an_export_is_owed_to_the_log_and_a_revoked_key_exports_nothing",
    ),
    "retention": _rare(
        "heartbeat", ("runtime/retention.py",), ("sealed", "pruned"),
        "unit/test_runtime_retention.py::test_what_became_of_it_is_an_entry",
    ),
    "heartbeat": Logged("heartbeat", (_CORE,), ("mode", "done", "market_ns")),
    "gap": _rare(
        "order", (_DESK, "runtime/owed.py"), ("why",),
        "flow/test_before_sending.py::test_an_exit_waits_50_ms_for_the_log_and_then_goes",
    ),
    "upstream": _rare(
        "heartbeat", (_CORE,), ("alarm",),
        "unit/test_side_notes.py::test_a_refusal_by_the_witness_is_an_entry",
    ),
}  # fmt: skip

ITEMS = (
    "start/stop", "config in force", "intent", "verdict", "order", "fill", "mode change", "trip", "arm",
    "manual act", "key use", "OTA step", "clock event", "heartbeat",
)  # fmt: skip
"""What AUDIT.md wants logged, in its words."""

NOT_YET = {
    "OTA step": "there is no update over the air yet: it comes with its issue, and nothing updates itself",
}
"""Items nobody writes, and why."""

UNWRITTEN: dict[str, str] = {}
"""Kinds without a writer: the item each belongs to."""


def tell() -> str:
    """One block for each item of AUDIT.md."""
    lines: list[str] = []
    for item in ITEMS:
        lines.append(f"{item}: {NOT_YET[item]}" if item in NOT_YET else item)
        for kind, each in TABLE.items():
            if each.item == item:
                lines += [f"  {kind:<14}{', '.join(each.parts)}", f"{'':16}{each.test}"]
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(tell() + "\n")
