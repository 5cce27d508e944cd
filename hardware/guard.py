"""What the guard decides on every loop and edge: a state machine over the two pages. No IO of its own.

Word order is the safety argument. A trip writes its reason first and then STATE: one aligned word shuts the
gate, and nothing that follows (disk, lights, log) can delay it. Arming makes the record durable first, then
writes COMPLEMENT and ARMED. Whatever happens between two writes leaves the gate shut.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from hardware.arm_key import ArmKey
from hardware.board import Edge, Level, Levels
from hardware.kill_switch import KillSwitch
from hardware.latch import ArmedRecord
from hardware.lights import LIGHTS, Pattern, Stands
from hardware.pages import (
    CORE_LAYOUT,
    WORD_MASK,
    ArmOutcome,
    CoreWord,
    GuardWord,
    LevelBit,
    Mode,
    Reason,
    is_current,
)
from hardware.tamper import Tamper

CORE_LOST_NS = 800_000_000  # shown within 1 s of the core's last heartbeat, one loop and one blink included
TRIP_REASONS = frozenset(Reason) - {Reason.NONE, Reason.NOT_ARMED}
EMERGENCY_REASONS = frozenset({Reason.KILL_BUTTON, Reason.DRAWDOWN, Reason.DAILY_LOSS})


class Keeper(Protocol):
    """The disk side of the latch (`latch.LatchKeeper`)."""

    stored_trip: int
    stored_armed: int
    broken: str

    def trip(self, epoch: int) -> None:
        """Queue the removal of the armed record."""
        ...

    def arm(self, record: ArmedRecord) -> None:
        """Queue the armed record."""
        ...


class Guard:
    """One box. `page` is the guard's own page, `core` the core's page or None while it is not mapped.

    tamper_reaction: `alert` (level and count only), `paused` or `emergency` (SAFETY 1).
    """

    def __init__(
        self,
        page: memoryview[int],
        core: memoryview[int] | None,
        keeper: Keeper,
        identity: tuple[str, str, str],
        boot: tuple[int, int],
        *,
        tamper_reaction: str = "paused",
    ) -> None:
        self.page = page
        self.core = core
        self.lights = LIGHTS[Stands.PAUSED]
        self._keeper = keeper
        self._boot_text, self._board, self._card = identity
        self._boot = boot
        self._tamper_reaction = tamper_reaction
        self._button = KillSwitch()
        self._key = ArmKey()
        self._tamper = Tamper()
        self._arming = 0  # epoch whose armed record is being stored

    def start(self, verdict: Reason, now_ns: int) -> None:
        """Shuts the gate for this start: one epoch further, reason as `latch.judge` found it."""
        page = self.page
        page[GuardWord.REASON] = page[GuardWord.LAST] = verdict
        page[GuardWord.STATE] = page[GuardWord.STATE] + 1
        page[GuardWord.LATER] = 0
        page[GuardWord.TRIP_NS] = now_ns
        page[GuardWord.TRIP_UTC_NS] = time.time_ns()
        page[GuardWord.ARM_PRESSES] = 0
        page[GuardWord.PROVEN] = 0
        page[GuardWord.LIQUIDATE] = 0
        page[GuardWord.STORED] = 0
        if verdict in (Reason.NEVER_ARMED, Reason.FOREIGN_CARD):
            self._keeper.trip(page[GuardWord.STATE])

    def loop(self, edges: Sequence[Edge], levels: Levels, now_ns: int) -> None:
        """One pass: edges since the last one, levels now. Writes the heartbeat last."""
        self._read_button(edges, levels, now_ns)
        if Level.UNKNOWN in levels:
            self.trip_once(Reason.GUARD_LOST, now_ns)
        self._read_tamper(edges, levels, now_ns)
        self._adopt_core_trip(now_ns)
        self._read_key(levels, now_ns)
        self._collect_stored()
        self._publish(levels, now_ns)

    def trip(self, reason: Reason, at_ns: int) -> None:
        """Shuts the gate. The first reason stays; a later one is a bit in LATER. The epoch moves every time,
        so that permits and approvals given before are void."""
        page = self.page
        standing = page[GuardWord.REASON]
        if standing in (Reason.NONE, Reason.NOT_ARMED):
            page[GuardWord.TRIP_NS] = at_ns
            page[GuardWord.LATER] = 0
            page[GuardWord.REASON] = reason
        else:
            page[GuardWord.LATER] = page[GuardWord.LATER] | (1 << reason)
        page[GuardWord.LAST] = reason
        page[GuardWord.STATE] = page[GuardWord.STATE] + 1
        if standing in (Reason.NONE, Reason.NOT_ARMED):
            page[GuardWord.TRIP_UTC_NS] = time.time_ns()
        self._arming = 0
        self._keeper.trip(page[GuardWord.STATE])

    def trip_once(self, reason: Reason, at_ns: int) -> None:
        """As `trip`, unless that reason already stands."""
        if self.page[GuardWord.REASON] != reason and not self.page[GuardWord.LATER] >> reason & 1:
            self.trip(reason, at_ns)

    def is_open(self) -> bool:
        """Armed in this epoch, and the complement agrees."""
        page = self.page
        state = page[GuardWord.STATE]
        return page[GuardWord.ARMED] == state and page[GuardWord.COMPLEMENT] == state ^ WORD_MASK

    def _read_button(self, edges: Sequence[Edge], levels: Levels, now_ns: int) -> None:
        opened = [edge.at_ns for edge in edges if edge.line == "button" and edge.level is not Level.CLOSED]
        outcome = self._button.read(levels.button, bool(opened), now_ns)
        if outcome.trip:
            self.trip(Reason.KILL_BUTTON, opened[0] if opened else now_ns)
            self._key.restart()
        if outcome.liquidate:
            self.page[GuardWord.LIQUIDATE] = self.page[GuardWord.STATE]
        if outcome.proven:
            self.page[GuardWord.PROVEN] = self.page[GuardWord.STATE]

    def _read_tamper(self, edges: Sequence[Edge], levels: Levels, now_ns: int) -> None:
        opened = any(edge.line == "tamper" and edge.level is not Level.CLOSED for edge in edges)
        if not self._tamper.read(levels.tamper, opened):
            return
        self.page[GuardWord.TAMPERS] = self.page[GuardWord.TAMPERS] + 1
        if self._tamper_reaction != "alert":
            self.trip(Reason.TAMPER, now_ns)

    def _adopt_core_trip(self, now_ns: int) -> None:
        core = self._core_page()
        if core is None:
            return
        request = core[CoreWord.REQUEST]
        if request == self.page[GuardWord.ADOPTED]:
            return
        reason = core[CoreWord.REQUEST_REASON]
        self.trip(Reason(reason) if reason in TRIP_REASONS else Reason.INVARIANT, now_ns)
        self.page[GuardWord.ADOPTED] = request

    def _read_key(self, levels: Levels, now_ns: int) -> None:
        if not self._key.read(levels.key, now_ns):
            return
        page, core = self.page, self._core_page()
        state = page[GuardWord.STATE]
        permitted = core is not None and core[CoreWord.PERMIT] == state
        if page[GuardWord.PROVEN] != state:
            self._press_done(ArmOutcome.NO_PROOF)
        elif not permitted:
            self._press_done(ArmOutcome.STEP)
        elif self._keeper.broken:
            self._press_done(ArmOutcome.NOT_STORED)
        else:
            self._arming = state
            self._keeper.arm(ArmedRecord(state, self._boot_text, self._board, self._card))

    def _collect_stored(self) -> None:
        page, keeper = self.page, self._keeper
        page[GuardWord.STORED] = keeper.stored_trip
        if not self._arming:
            return
        if keeper.stored_armed == self._arming == page[GuardWord.STATE]:
            page[GuardWord.REASON] = Reason.NONE
            page[GuardWord.LATER] = 0
            page[GuardWord.COMPLEMENT] = self._arming ^ WORD_MASK
            page[GuardWord.ARMED] = self._arming
            self._arming = 0
            self._press_done(ArmOutcome.ARMED)
        elif keeper.broken:
            self._arming = 0
            self._press_done(ArmOutcome.NOT_STORED)

    def _press_done(self, outcome: ArmOutcome) -> None:
        self.page[GuardWord.ARM_OUTCOME] = outcome
        self.page[GuardWord.ARM_PRESSES] = self.page[GuardWord.ARM_PRESSES] + 1

    def _core_page(self) -> memoryview[int] | None:
        core = self.core
        return core if core is not None and is_current(core, CORE_LAYOUT, self._boot) else None

    def _publish(self, levels: Levels, now_ns: int) -> None:
        page = self.page
        bits = 0
        bits |= LevelBit.BUTTON_OPEN if levels.button is not Level.CLOSED else 0
        bits |= LevelBit.KEY_CLOSED if levels.key is Level.CLOSED else 0
        bits |= LevelBit.TAMPER_OPEN if levels.tamper is not Level.CLOSED else 0
        bits |= LevelBit.UNKNOWN if Level.UNKNOWN in levels else 0
        page[GuardWord.LEVELS] = bits
        self.lights = LIGHTS[self.stands(levels, now_ns)]
        page[GuardWord.LAMP_GREEN], page[GuardWord.LAMP_YELLOW], page[GuardWord.LAMP_RED] = self.lights
        page[GuardWord.HEARTBEAT_NS] = now_ns

    def stands(self, levels: Levels, now_ns: int) -> Stands:
        """The most urgent thing the lights have to say."""
        page, core = self.page, self._core_page()
        if Level.UNKNOWN in levels:
            return Stands.FAULT
        lost = core is None or now_ns - core[CoreWord.HEARTBEAT_NS] > CORE_LOST_NS
        mode = core[CoreWord.MODE] if core is not None else 0
        reason = page[GuardWord.REASON]
        if reason not in (Reason.NONE, Reason.NOT_ARMED):
            if page[GuardWord.STORED] != page[GuardWord.STATE]:
                return Stands.TRIPPING_CORE_LOST if lost else Stands.TRIPPING
            if mode == Mode.EMERGENCY or (lost and self._emergency_stands()):
                return Stands.EMERGENCY_CORE_LOST if lost else Stands.EMERGENCY
            return Stands.TRIPPED_CORE_LOST if lost else Stands.TRIPPED
        if lost:
            return Stands.CORE_LOST
        if mode in (Mode.REDUCED, Mode.EMERGENCY):
            return Stands.REDUCED if mode == Mode.REDUCED else Stands.EMERGENCY
        if mode != Mode.NORMAL or not self.is_open():
            return Stands.PAUSED
        return Stands.HOLD if core is not None and core[CoreWord.HOLDS] else Stands.NORMAL

    def _emergency_stands(self) -> bool:
        standing = {Reason(self.page[GuardWord.REASON])}
        standing |= {reason for reason in Reason if self.page[GuardWord.LATER] >> reason & 1}
        tamper = {Reason.TAMPER} if self._tamper_reaction == "emergency" else set()
        return bool(standing & (EMERGENCY_REASONS | tamper))


def fault_lights() -> tuple[Pattern, Pattern, Pattern]:
    """What a guard that cannot run leaves behind."""
    return LIGHTS[Stands.FAULT]
