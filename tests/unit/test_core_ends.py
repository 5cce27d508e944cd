"""How a core ends: what is deadly, what degrades, and what is seen through before (SAFETY 3, 4, 8)."""

from __future__ import annotations

import ast
import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.domain.errors import BusyError, ConfigError, InterlockError, InvariantError, StoreError
from appliance.domain.mode import Mode, TripReason
from appliance.domain.verdict import OrderClass
from appliance.runtime import core as core_module
from appliance.runtime.core import STOP_S, STOP_TRIPPED_S, _Core, _deadly, _outcome
from appliance.runtime.supervise import CORE_STOP_S
from tests.kit import FakeScribe
from tests.rules.source import modules


class Watch:
    """The safety loop as the end of a core sees it."""

    def __init__(self) -> None:
        self.caught_up = True
        self.rounds = 0
        self.limits: list[float] = []
        self.confirmed_after = 5

    def round(self) -> None:
        """One look."""
        self.rounds += 1

    def preconditions(self) -> Any:
        """Cancels are confirmed after some looks."""
        self.confirmed_after -= 1
        return SimpleNamespace(cancels_confirmed=self.confirmed_after <= 0)

    async def see_cancels_through(self, limit_s: float) -> None:
        """Remembers for how long."""
        self.limits.append(limit_s)


class Log:
    """The audit log and the process's own."""

    def __init__(self) -> None:
        self.failure: InterlockError | None = None
        self.disk_failed = False
        self.lines: list[str] = []

    async def failed(self) -> InterlockError:
        """At once."""
        self.failure = StoreError("the disk is gone", "EIO", "look at it")
        return self.failure

    async def publish(self) -> None:
        """Works."""

    def error(self, part: str, event: str, **_more: object) -> None:
        """Remembers."""
        self.lines.append(f"{part} {event}")


def _core(mode: Mode = Mode.EMERGENCY, *entries: OrderClass) -> tuple[_Core, Any]:
    trips: list[TripReason] = []

    def trip(reason: TripReason, _detail: str) -> None:
        trips.append(reason)

    async def offer_last(_limit_s: float) -> None:
        return

    marked: list[bool] = []
    parts: Any = SimpleNamespace(
        watch=Watch(),
        log=Log(),
        scribe=FakeScribe(),
        safety=SimpleNamespace(mode=mode, trip=trip, trips=trips),
        desk=SimpleNamespace(
            orders=SimpleNamespace(live=lambda: iter([SimpleNamespace(order_class=each) for each in entries]))
        ),
        upstream=SimpleNamespace(offer_last=offer_last),
        store=SimpleNamespace(note_failure=lambda: marked.append(True), marked=marked, unverified=False),
    )
    made = _Core.__new__(_Core)
    made._parts, made._log, made._why = parts, parts.log, "it was asked to"
    made._notifier = SimpleNamespace(tell=lambda _message: None)  # type: ignore[assignment]
    return made, parts


@pytest.mark.safety("S3.21")
def test_a_deadly_loop_that_returns_ends_the_core() -> None:
    """Even without an error: a TaskGroup would go on without it."""

    async def returns() -> None:
        return

    with pytest.raises(InvariantError, match="safety loop ended"):
        asyncio.run(_deadly("safety loop", returns()))


def test_what_is_deadly_and_what_degrades() -> None:
    """By inspection of the one TaskGroup: safety loop, audit log and its disk are deadly, others degrade."""
    (module,) = [m for m in modules("appliance") if m.name == "appliance.runtime.core"]
    found: dict[str, set[str]] = {"_deadly": set(), "self._degrades": set()}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in found:
            found[ast.unparse(node.func)].add(ast.literal_eval(node.args[0]))
    assert found == {
        "_deadly": {"safety loop", "audit log", "clock watch", "disk watch"},
        "self._degrades": {
            "upstream", "status page", "gap entries", "log check", "fee schedule", "key uses", "retention",
        },
    }


@pytest.mark.safety("S3.21", "HW-24")
@pytest.mark.parametrize("error", [RuntimeError("bug"), StoreError("x"), OSError("y")])
def test_a_page_that_fails_is_survived(error: Exception) -> None:
    """Web and upstream say what is wrong, and the gate goes on."""
    core, parts = _core()

    async def fails() -> None:
        raise error

    asyncio.run(core._degrades("status page", fails()))
    assert len(parts.log.lines) == 1


@pytest.mark.parametrize("error", [BusyError("port"), ConfigError("key")])
def test_what_only_the_user_can_mend_is_not_degraded_away(error: InterlockError) -> None:
    """A port in use, a wrong key: said with their exit code."""
    core, _ = _core()

    async def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(core._degrades("status page", fails()))


@pytest.mark.safety("S1.31")
def test_a_bug_trips_before_the_process_ends() -> None:
    """INVARIANT for a bug; a wrong configuration is none."""
    core, parts = _core()
    core.end_for(ConfigError("key"))
    assert parts.safety.trips == []
    core.end_for(InvariantError("books"))
    assert parts.safety.trips == [TripReason.INVARIANT]


@pytest.mark.safety("S3.20")
@pytest.mark.parametrize(
    ("mode", "entries", "limits"),
    [
        (Mode.NORMAL, (OrderClass.INCREASE,), []),
        (Mode.EMERGENCY, (), [STOP_TRIPPED_S]),
        (Mode.PAUSED, (OrderClass.INCREASE,), [STOP_TRIPPED_S]),
        (Mode.PAUSED, (OrderClass.PROTECTIVE,), [STOP_S]),
        (Mode.REDUCED, (), [STOP_S]),
    ],
)
@pytest.mark.parametrize("log_lost", [True, False])
def test_a_stop_while_tripped_sees_the_cancels_through(
    mode: Mode, entries: tuple[OrderClass, ...], limits: list[float], log_lost: bool
) -> None:
    """Long in EMERGENCY and while an entry works, also without a log; inside what systemd and `up` wait."""
    core, parts = _core(mode, *entries)
    if log_lost:
        parts.log.failure = StoreError("gone")
    asyncio.run(core.finish())
    assert parts.watch.limits == limits
    assert bool(parts.scribe.of("stop")) is not log_lost
    assert STOP_S < STOP_TRIPPED_S < CORE_STOP_S <= 60


@pytest.mark.safety("S8.4")
@pytest.mark.parametrize("disk", [True, False])
def test_a_lost_log_cancels_before_the_process_ends(disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trip, wait until the other loop has its cancels confirmed, exit 74; a disk error is remembered."""
    monkeypatch.setattr(core_module, "TICK_S", 0.0001)
    core, parts = _core()
    parts.log.disk_failed = disk
    with pytest.raises(StoreError, match="the disk is gone"):
        asyncio.run(core._watch_log())
    assert parts.safety.trips == [TripReason.AUDIT_STORE]
    assert parts.watch.confirmed_after == 0
    assert parts.store.marked == [True], "asked once; whether it was the disk, the store's health knows"


def test_a_lost_log_and_a_dead_venue_do_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has an end."""
    core, parts = _core()
    parts.watch.confirmed_after = 10**9
    slept: list[float] = []

    async def nap(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", nap)
    with pytest.raises(StoreError):
        asyncio.run(core._watch_log())
    assert sum(slept) == pytest.approx(core_module.LOG_LOST_S)


def test_the_worst_of_several_errors_names_the_exit_code() -> None:
    """Configuration before store before invariant, however deep they are nested."""
    inner: Any = BaseExceptionGroup("inner", [StoreError("b"), ConfigError("c")])
    deep: Any = BaseExceptionGroup("outer", [InvariantError("a"), inner])
    assert isinstance(_outcome(deep), ConfigError)
