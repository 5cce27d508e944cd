"""What the guard decides on every loop and edge: a state machine over the two pages. No IO of its own.

Word order is the safety argument. A trip writes its reason first and then STATE: one aligned word shuts the
gate, and nothing that follows (disk, lights, log) can delay it. Arming makes the record durable first, then
writes COMPLEMENT and ARMED. Whatever happens between two writes leaves the gate shut.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hardware.arm_key import ArmKey
from hardware.board import Edge, Level, Levels
from hardware.glitch_filter import GlitchFilter
from hardware.kill_switch import KillSwitch, SwitchState
from hardware.latch import ArmedRecord
from hardware.lights import LIGHTS, Pattern, Stands
from hardware.operator_command import OUTCOMES, Moment, OperatorInbox
from hardware.pages import (
    CORE_LAYOUT,
    WORD_MASK,
    ArmOutcome,
    ArmSource,
    CoreWord,
    GuardWord,
    LevelBit,
    Mode,
    Reason,
    Refusal,
    is_current,
)
from hardware.tamper import Tamper

CORE_LOST_NS = 800_000_000  # shown within 1 s of the core's last heartbeat, one loop and one blink included
TRIP_REASONS = frozenset(Reason) - {Reason.NONE, Reason.NOT_ARMED}
EMERGENCY_REASONS = frozenset({Reason.KILL_BUTTON, Reason.DRAWDOWN, Reason.DAILY_LOSS})


PRESS_APART_NS = 1_000_000_000  # the core polls every few milliseconds: it sees each arm press by itself


class ArmPress(NamedTuple):
    """One wish for one step, by the key or by a verified command; both are the same from here on.

    operator: fingerprint of the operator key.  subject: of the name a signed act is about.
    """

    source: ArmSource
    operator: int = 0
    nonce: str = ""
    subject: int = 0


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
        glitch_filter_ns: int = 0,
    ) -> None:
        self.page = page
        self.core = core
        self.lights = LIGHTS[Stands.PAUSED]
        self._keeper = keeper
        self._boot_text, self._board, self._card = identity
        self._boot = boot
        self._tamper_reaction = tamper_reaction
        self._button = KillSwitch()
        self._filter = GlitchFilter(glitch_filter_ns)
        self._key = ArmKey()
        self._tamper = Tamper()
        self.inbox = OperatorInbox()
        self._button_presses = 0
        self._arming = 0  # epoch whose armed record is being stored
        self._storing = ArmPress(ArmSource.NONE)  # the press that wants it
        self._press_ns = 0  # when the last arm press was counted

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
        for word in (GuardWord.ARM_OUTCOME, GuardWord.ARM_SOURCE, GuardWord.ARM_OPERATOR,
                     GuardWord.REFUSED, GuardWord.REFUSAL, GuardWord.GLITCHES):  # fmt: skip
            page[word] = 0
        if verdict in (Reason.NEVER_ARMED, Reason.FOREIGN_CARD):
            self._keeper.trip(page[GuardWord.STATE])

    def loop(self, edges: Sequence[Edge], levels: Levels, now_ns: int) -> None:
        """One pass: edges since the last one, levels read before `now_ns`. Writes the heartbeat last."""
        self._read_button(edges, levels, now_ns)
        if Level.UNKNOWN in levels:
            self._key.restart()
            if self._arming:  # also where that reason stands already: the record on its way must not arm
                self.trip(Reason.GUARD_LOST, now_ns)
            self.trip_once(Reason.GUARD_LOST, now_ns)
            self.page[GuardWord.PROVEN] = 0  # a line that cannot be read is proven no more
        self._read_tamper(edges, levels, now_ns)
        self._adopt_core_trip(now_ns)
        self._note_stored()
        if not self._filter.opening_ns:  # a press may be beginning: whoever arms waits for the filter
            self._collect_stored(now_ns)
            self._read_key(levels, now_ns)
            self._read_operator(now_ns)
        self._publish(levels, now_ns)

    def wait_s(self, longest_s: float, now_ns: int) -> float:
        """How long the loop may sleep: until an opening that is still a possible glitch counts."""
        due_ns = self._filter.due_ns()
        return min(longest_s, max(0, due_ns - now_ns) / 1e9) if due_ns else longest_s

    def moment(self) -> Moment:
        """What a challenge is bound to; for the operator's thread. Presses are read first: a trip between
        the two reads moves the epoch before the count, and either difference voids the challenge."""
        presses = self._button_presses
        return Moment(self.page[GuardWord.STATE], presses)

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
        if self._arming:
            self._arming = 0
            pressed = reason is Reason.KILL_BUTTON
            self.inbox.settle(self._storing.nonce, (Refusal.PRESSED if pressed else Refusal.OTHER_EPOCH).name)
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
        shut = self._button.state is SwitchState.CLOSED
        own = [edge for edge in edges if edge.line == "button"]
        seen = self._filter.read(levels.button, own, now_ns, shut=shut)
        self.page[GuardWord.GLITCHES] = self._filter.glitches
        outcome = self._button.read(seen.level, bool(seen.opened_ns), now_ns)
        if outcome.trip:
            self.trip(Reason.KILL_BUTTON, seen.opened_ns or now_ns)
            self._button_presses += 1
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
        if core is None or (request := core[CoreWord.REQUEST]) == self.page[GuardWord.ADOPTED]:
            return
        reason = core[CoreWord.REQUEST_REASON]
        self.trip(Reason(reason) if reason in TRIP_REASONS else Reason.INVARIANT, now_ns)
        self.page[GuardWord.ADOPTED] = request

    def _read_key(self, levels: Levels, now_ns: int) -> None:
        if self._key.read(levels.key, now_ns):
            self._arm_press(ArmPress(ArmSource.KEY), now_ns)

    def _read_operator(self, now_ns: int) -> None:
        """A verified command is judged once more here: the button may have been pressed since."""
        if now_ns - self._press_ns < PRESS_APART_NS:
            return
        if (command := self.inbox.take()) is None:
            return
        busy = Refusal.BUSY if self._arming else Refusal.NONE
        refusal = command.refusal(self.moment(), now_ns) or busy
        press = ArmPress(ArmSource.OPERATOR, command.operator, command.nonce, command.subject)
        if refusal is not Refusal.NONE:
            self.inbox.settle(command.nonce, refusal.name)
        elif command.purpose in OUTCOMES:  # counted, never an arming: no proof, no permit, no record
            self._press_done(press, OUTCOMES[command.purpose], now_ns)
        else:
            self._arm_press(press, now_ns)

    def _arm_press(self, press: ArmPress, now_ns: int) -> None:
        """One arm press, whoever made it: at most one step, never without the proof test (SAFETY 6)."""
        page, core = self.page, self._core_page()
        state = page[GuardWord.STATE]
        permitted = core is not None and core[CoreWord.PERMIT] == state and not _is_lost(core, now_ns)
        if self._arming:
            return  # the press before is still being stored; this one adds nothing to it
        if page[GuardWord.PROVEN] != state:
            self._press_done(press, ArmOutcome.NO_PROOF, now_ns)
        elif not permitted:
            self._press_done(press, ArmOutcome.STEP, now_ns)
        elif page[GuardWord.DISK_FAILED]:
            self._press_done(press, ArmOutcome.NOT_STORED, now_ns)
        else:
            self._arming, self._storing = state, press
            self._keeper.arm(ArmedRecord(state, self._boot_text, self._board, self._card))

    def _note_stored(self) -> None:
        self.page[GuardWord.STORED] = self._keeper.stored_trip
        if self._keeper.broken:
            self.page[GuardWord.DISK_FAILED] = 1

    def _collect_stored(self, now_ns: int) -> None:
        page, keeper = self.page, self._keeper
        if not self._arming:
            return
        if keeper.stored_armed == self._arming == page[GuardWord.STATE]:
            page[GuardWord.REASON] = Reason.NONE
            page[GuardWord.LATER] = 0
            page[GuardWord.COMPLEMENT] = self._arming ^ WORD_MASK
            page[GuardWord.ARMED] = self._arming
            self._arming = 0
            self._press_done(self._storing, ArmOutcome.ARMED, now_ns)
        elif keeper.broken:
            self._arming = 0
            self._press_done(self._storing, ArmOutcome.NOT_STORED, now_ns)

    def _press_done(self, press: ArmPress, outcome: ArmOutcome, now_ns: int) -> None:
        """The count comes last: whoever sees it move finds the words about that press."""
        page = self.page
        page[GuardWord.ARM_SOURCE] = press.source
        page[GuardWord.ARM_OPERATOR] = press.operator
        page[GuardWord.ARM_SUBJECT] = press.subject
        page[GuardWord.ARM_OUTCOME] = outcome
        page[GuardWord.ARM_PRESSES] = page[GuardWord.ARM_PRESSES] + 1
        self._press_ns = now_ns
        self.inbox.settle(press.nonce, outcome.name)

    def _core_page(self) -> memoryview[int] | None:
        core = self.core
        return core if core is not None and is_current(core, CORE_LAYOUT, self._boot) else None

    def _publish(self, levels: Levels, now_ns: int) -> None:
        page = self.page
        page[GuardWord.LEVELS] = _level_bits(levels)
        self.lights = LIGHTS[self.stands(levels, now_ns)]
        page[GuardWord.LAMP_GREEN], page[GuardWord.LAMP_YELLOW], page[GuardWord.LAMP_RED] = self.lights
        page[GuardWord.HEARTBEAT_NS] = now_ns

    def stands(self, levels: Levels, now_ns: int) -> Stands:
        """The most urgent thing the lights have to say."""
        page, core = self.page, self._core_page()
        if Level.UNKNOWN in levels:
            return Stands.FAULT
        lost = core is None or _is_lost(core, now_ns)
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


def _is_lost(core: memoryview[int], now_ns: int) -> bool:
    """No heartbeat for 0.8 s, or one nobody can have written yet. A permit of a core that is gone is none."""
    return not -CORE_LOST_NS <= now_ns - core[CoreWord.HEARTBEAT_NS] <= CORE_LOST_NS


def _level_bits(levels: Levels) -> int:
    bits = LevelBit.BUTTON_OPEN if levels.button is not Level.CLOSED else 0
    bits |= LevelBit.KEY_CLOSED if levels.key is Level.CLOSED else 0
    bits |= LevelBit.TAMPER_OPEN if levels.tamper is not Level.CLOSED else 0
    return bits | (LevelBit.UNKNOWN if Level.UNKNOWN in levels else 0)


def fault_lights() -> tuple[Pattern, Pattern, Pattern]:
    """What a guard that cannot run leaves behind."""
    return LIGHTS[Stands.FAULT]
