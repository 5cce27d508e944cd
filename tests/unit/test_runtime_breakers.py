"""Where breakers meet the rest of the core: listeners, holds, memory, upstream, configuration, page."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from appliance.domain.breaker import BreakerChange, BreakerOpenError, BreakerState, Component
from appliance.domain.errors import ConfigError, TransportError
from appliance.domain.ids import InstrumentId
from appliance.domain.mode import HoldCause
from appliance.memory.service_store import MemoryService, MemorySettings
from appliance.ports import Precedent
from appliance.risk.breaker import Breaker, BreakerSettings
from appliance.runtime.breaker_watch import BreakerWatch
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.guarded import GuardedExchange, GuardedMemory
from appliance.runtime.picture import limit_lines
from appliance.upstream.exchange import Answer, Exchange
from appliance.web.metrics import exposition
from tests.kit import SECOND, SPX, Core, FakeClock, breaker_settings
from tests.pictures.web_samples import NORMAL

COOLDOWN = 10 * SECOND


class Rig:
    """A core with its breaker watch."""

    def __init__(self) -> None:
        self.core = Core()
        self.watch = BreakerWatch(
            self.core.breakers, self.core.holds, self.core.scribe, self.core.clock, "paper"
        )

    def fail(self, component: Component) -> None:
        """Opens it."""
        breaker = self.core.breakers[component]
        while breaker.state is not BreakerState.OPEN:
            breaker.failed(breaker.begin(exempt=True))

    def heal(self, component: Component) -> None:
        """Closes it after its cooldown."""
        self.core.clock.mono += COOLDOWN
        breaker = self.core.breakers[component]
        for _ in range(2):
            breaker.succeeded(breaker.begin(exempt=True))

    def holds(self) -> list[tuple[str, str]]:
        """What stands."""
        return [(hold.cause, hold.scope) for hold in self.core.holds.standing()]


def test_every_change_is_an_entry() -> None:
    """Component, from, to and the numbers that decided (CB-13: log all state changes)."""
    rig = Rig()
    rig.fail(Component.MEMORY)
    rig.heal(Component.MEMORY)
    memory = {"component": "memory"}
    assert rig.core.scribe.of("breaker") == [
        memory | {"from": "CLOSED", "to": "OPEN", "why": "4 of 4 calls failed, allowed are 50 %"},
        memory | {"from": "OPEN", "to": "HALF_OPEN", "why": "the cooldown is over"},
        memory | {"from": "HALF_OPEN", "to": "CLOSED", "why": "2 calls ended well"},
    ]


@pytest.mark.parametrize("component", list(Component))
def test_a_hold_stands_while_new_exposure_is_refused(component: Component) -> None:
    """Of the venue's scope, with the cause in words; memory and upstream make none (SAFETY 1)."""
    rig = Rig()
    rig.watch.round()
    assert rig.holds() == []
    rig.fail(component)
    rig.watch.round()
    rig.watch.round()
    decides = component not in (Component.MEMORY, Component.UPSTREAM)
    assert rig.holds() == ([(HoldCause.BREAKER, "venue:paper")] if decides else [])
    if decides:
        detail = rig.core.holds.standing()[0].detail
        assert detail == f"{component} is OPEN, 4 of 4 calls failed, allowed are 50 %"
    rig.heal(component)
    rig.watch.round()
    assert rig.holds() == []
    kinds = [kind for kind in rig.core.scribe.kinds() if kind.startswith("hold")]
    assert kinds == (["hold", "hold_end"] if decides else [])


def test_the_hold_makes_room_for_the_probes() -> None:
    """Order entry half open: under a hold no probe could ever leave; while one is out, none comes back."""
    rig = Rig()
    rig.fail(Component.ORDER_ENTRY)
    rig.watch.round()
    rig.core.clock.mono += COOLDOWN - 1
    rig.watch.round()
    assert rig.holds()
    rig.core.clock.mono += 1
    rig.watch.round()
    assert rig.holds() == []
    assert rig.core.breakers.state() is BreakerState.HALF_OPEN, "time alone ended the cooldown"
    rig.core.breakers[Component.ORDER_ENTRY].begin()
    rig.watch.round()
    assert rig.holds() == []


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("y"), TransportError("z")])
def test_a_listener_that_raises_changes_nothing_and_is_reported(error: Exception) -> None:
    """CB-07: breaker, gate, entry and the other listeners are as without it; a person is told."""
    rig = Rig()
    told: list[BreakerState] = []
    reports: list[str] = []

    def raises(_change: BreakerChange) -> None:
        raise error

    rig.watch.listeners = [raises, *rig.watch.listeners, lambda change: told.append(change.after)]
    rig.watch.report = reports.append
    rig.fail(Component.LOOK_UPS)
    assert told == [BreakerState.OPEN]
    assert not rig.core.breakers[Component.ORDER_ENTRY].free
    assert rig.core.scribe.of("breaker")
    assert reports == [f"a listener failed: {type(error).__name__}: {error}"]
    rig.heal(Component.LOOK_UPS)
    assert told == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]
    assert rig.core.breakers.refusal(rig.core.clock.mono) is None
    part = rig.watch.part()
    assert (part.state, part.detail) == ("degraded", reports[0])
    rig.watch.listeners.remove(raises)
    rig.fail(Component.LOOK_UPS)
    rig.heal(Component.LOOK_UPS)
    assert rig.watch.part().detail == "all closed", "told to everybody again"


def test_not_even_the_report_can_break_the_call() -> None:
    """Log and log line both fail: the call that moved the breaker still ends as it would."""
    rig = Rig()

    def raises(_anything: object) -> None:
        raise OSError("no disk, no terminal")

    rig.watch.listeners = [raises]
    rig.watch.report = raises
    with rig.core.breakers[Component.ORDER_ENTRY].guard(exempt=True) as call:
        call.fail()
    rig.fail(Component.ORDER_ENTRY)
    assert rig.watch.problem.endswith("no disk, no terminal")


def test_what_the_page_says() -> None:
    """Open is degraded; half open is not, because calls pass; closed says so."""
    rig = Rig()
    assert (rig.watch.part().state, rig.watch.part().detail) == ("ok", "all closed")
    rig.fail(Component.MEMORY)
    rig.fail(Component.UPSTREAM)
    part = rig.watch.part()
    assert part.state == "degraded"
    assert part.detail == "; ".join(
        f"{name} OPEN: 4 of 4 calls failed, allowed are 50 %" for name in ("memory", "upstream")
    )
    rig.core.clock.mono += COOLDOWN
    rig.watch.round()
    part = rig.watch.part()
    assert (part.state, part.detail.partition(";")[0]) == ("ok", "memory HALF_OPEN: the cooldown is over")


def test_what_metrics_say() -> None:
    """Every component from the first scrape on, and its counters (CB-14)."""
    body, _ = exposition(NORMAL)
    assert 'interlock_breaker_state{component="order_entry",state="CLOSED"} 1.0' in body.decode()
    assert 'interlock_breaker_openings_total{component="upstream"} 0.0' in body.decode()
    rig = Rig()
    rig.fail(Component.MEMORY)
    breaker = rig.core.breakers[Component.MEMORY]
    with pytest.raises(BreakerOpenError):
        breaker.begin()
    breaker.succeeded(breaker.begin(exempt=True))
    breaker.abandon(breaker.begin(exempt=True))
    breaker.hung = 2
    lines = rig.watch.lines()
    assert [line.name for line in lines] == list(Component)
    body, _ = exposition(msgspec.structs.replace(NORMAL, breakers=lines))
    for told in (
        'state{component="memory",state="OPEN"} 1.0',
        'state{component="memory",state="CLOSED"} 0.0',
        'state{component="market",state="CLOSED"} 1.0',
        'calls_total{component="memory",outcome="succeeded"} 1.0',
        'calls_total{component="memory",outcome="failed"} 4.0',
        'calls_total{component="memory",outcome="turned_away"} 1.0',
        'calls_total{component="memory",outcome="unknown"} 3.0',
        'openings_total{component="memory"} 1.0',
        'exits_passed_total{component="memory"} 2.0',
    ):
        assert f"interlock_breaker_{told}" in body.decode()


def _breaker(clock: FakeClock) -> Breaker:
    return Breaker(Component.MEMORY, breaker_settings(), clock.mono_ns, lambda change: None)


class Unsteady:
    """Stands for MemoryService's own question: counts as it does, and answers what the test says."""

    def __init__(self, memory: GuardedMemory) -> None:
        self.memory = memory
        self.outcome = "timeout"
        self.asked = 0

    async def find(self, instrument: InstrumentId, k: int) -> Sequence[Precedent]:
        self.asked += 1
        if self.outcome:
            self.memory._unanswered[self.outcome] += 1
            return ()
        return (Precedent(observation="o", event_ns=1, distance=k),)


def _memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[GuardedMemory, Unsteady, FakeClock]:
    clock = FakeClock()
    memory = GuardedMemory(
        tmp_path / "no.db", [SPX], MemorySettings(bar_ns=SECOND), clock.mono_ns, _breaker(clock)
    )
    inner = Unsteady(memory)

    async def find(_self: MemoryService, instrument: InstrumentId, k: int) -> Sequence[Precedent]:
        return await inner.find(instrument, k)

    monkeypatch.setattr(MemoryService, "find_similar_conditions", find)
    return memory, inner, clock


@pytest.mark.parametrize("fault", ["timeout", "unavailable", "down"])
def test_memory_that_does_not_answer_is_not_asked_for_a_while(
    fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A signal then waits for nothing instead of 250 ms; after the cooldown one question tries again."""
    memory, inner, clock = _memory(monkeypatch, tmp_path)
    inner.outcome = fault

    async def ask() -> Sequence[Precedent]:
        return await memory.find_similar_conditions(SPX, 5)

    async def run() -> None:
        for _ in range(10):
            assert await ask() == ()
        assert inner.asked == 4
        clock.mono += COOLDOWN
        inner.outcome = ""
        assert len(await ask()) == 1
        assert len(await ask()) == 1
        assert memory._breaker.state is BreakerState.CLOSED

    asyncio.run(run())


def test_no_condition_yet_is_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Memory that knows nothing works."""
    memory, inner, _ = _memory(monkeypatch, tmp_path)
    inner.outcome = "no_condition"

    async def run() -> None:
        for _ in range(20):
            assert await memory.find_similar_conditions(SPX, 5) == ()
        assert inner.asked == 20
        assert (memory._breaker.successes, memory._breaker.failures) == (20, 0)

    asyncio.run(run())


def test_a_memory_file_that_is_damaged_opens_the_breaker(tmp_path: Path) -> None:
    """The real service on a file that is none: asked four times, then not any more."""
    path = tmp_path / "memory.db"
    path.write_bytes(b"no database at all" * 100)
    clock = FakeClock()

    async def run() -> None:
        breaker = _breaker(clock)
        memory = GuardedMemory(path, [SPX], MemorySettings(bar_ns=SECOND), clock.mono_ns, breaker)
        memory.start()
        for _ in range(6):
            assert await memory.find_similar_conditions(SPX, 5) == ()
        assert breaker.state is BreakerState.OPEN
        assert (breaker.failures, breaker.refused) == (4, 2)
        assert sum(memory.stats().unanswered.values()) == 4
        await memory.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "failed"),
    [(200, 0), (404, 0), (409, 0), (428, 0), (429, 1), (430, 0), (499, 0), (500, 1), (501, 1), (503, 1)],
)
def test_what_of_a_witness_is_a_failure(status: int, failed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is an answer; being asked too often or broken is not."""
    clock = FakeClock()
    breaker = Breaker(Component.UPSTREAM, breaker_settings(), clock.mono_ns, lambda change: None)

    async def talk(*_: object) -> Answer:
        return Answer(status, b"")

    monkeypatch.setattr(Exchange, "_talk", talk)
    exchange = GuardedExchange("http://127.0.0.1:1", breaker)
    assert asyncio.run(exchange.latest("x")).status == status
    assert (breaker.failures, breaker.successes) == (failed, 1 - failed)


def test_an_upstream_that_cannot_be_reached_is_left_alone_for_a_while() -> None:
    """Refused without a connection; a TransportError, which the client knows how to wait out."""
    clock = FakeClock()
    breaker = Breaker(Component.UPSTREAM, breaker_settings(), clock.mono_ns, lambda change: None)

    async def run() -> None:
        async with GuardedExchange("http://127.0.0.1:1", breaker) as exchange:
            for count in range(6):
                with pytest.raises(TransportError) as failed:
                    await exchange.add_checkpoint(b"x")
                assert isinstance(failed.value, BreakerOpenError) is (count >= 4)

    asyncio.run(run())
    assert (breaker.failures, breaker.refused) == (4, 2)


def test_the_shipped_configuration() -> None:
    """[breaker] of the example, as settings and as limits on the page."""
    config = load_config(EXAMPLE)
    assert config.breaker.settings() == BreakerSettings(
        window_calls=20,
        window_ns=300 * SECOND,
        min_calls=5,
        open_above_ppm=500_000,
        cooldown_ns=10 * SECOND,
        probes=1,
        successes=2,
    )
    lines = [line for line in limit_lines(config) if line.scope == "breakers"]
    assert [(line.name, line.value) for line in lines] == [
        ("most failures", "50 % of 5 to 20 calls in 300 s"),
        ("trial", "2 calls, 1 at a time, after 10 s"),
    ]


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("min_calls", "21", "min_calls is outside of 1 to 20"),
        ("window_calls", "1001", "window_calls is outside of 1 to 1000"),
        ("open_above", '"100 %"', "could never open"),
        ("cooldown", '"999 ms"', "cooldown is outside"),
        ("cooldown", "10", "needs a unit"),
        ("window", '"2 d"', "window is outside"),
        ("probes", "0", "probes is outside of 1 to 100"),
        ("successes", "0", "successes is outside of 1 to 100"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name_and_line(
    key: str, value: str, why: str, tmp_path: Path
) -> None:
    """Exit 78; nothing falls back to a default."""
    text = EXAMPLE.read_text()
    before = tomllib.loads(text)["breaker"][key]
    old = f'{key} = "{before}"' if isinstance(before, str) else f"{key} = {before}"
    head, table, rest = text.partition("[breaker]")
    assert old in rest
    path = tmp_path / "interlock.toml"
    path.write_text(head + table + rest.replace(old, f"{key} = {value}", 1))
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert why in refused.value.why[:1].lower() + refused.value.why[1:]
    assert f"{path}:" in refused.value.why


def test_a_configuration_without_the_table_is_refused(tmp_path: Path) -> None:
    """No limit has a default."""
    text = EXAMPLE.read_text()
    start = text.index("[breaker]")
    path = tmp_path / "interlock.toml"
    path.write_text(text[:start] + text[text.index("[instruments.SPX]") :])
    with pytest.raises(ConfigError, match="lacks breaker"):
        load_config(path)


