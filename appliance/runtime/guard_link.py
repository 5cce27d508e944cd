"""The core's end of the interlock pages: the only module that knows `hardware.pages`.

Maps the guard's page read-only and owns the core's. The page's inode is looked at every 100 ms: after a
replaced file the old mapping would show a guard that is no longer there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import deque
from pathlib import Path

from appliance.domain.errors import PeerMissingError
from appliance.domain.mode import Mode, TripReason
from appliance.ports import GuardStatus, PageReading
from hardware import pages
from hardware.pages import ArmOutcome, ArmSource, BoardKind, CoreWord, GuardFlag, GuardWord, Refusal

REMAP_NS = 100_000_000
PATTERNS = ("off", "pulse", "slow", "fast", "double", "steady")
"""Names of the guard's light patterns, in their numbers' order (tests/rules compares)."""

_ABSENT = PageReading(False, 0, 0, 0, 0, 0)

# Plain numbers: the gate reads these words on every order, and an enum member costs as much as the word.
_STATE, _ARMED, _COMPLEMENT = int(GuardWord.STATE), int(GuardWord.ARMED), int(GuardWord.COMPLEMENT)
_GENERATION, _BEAT, _REASON, _WORDS = (
    int(GuardWord.GENERATION), int(GuardWord.HEARTBEAT_NS), int(GuardWord.REASON), len(GuardWord),
)  # fmt: skip


def name_word(name: str) -> int:
    """As the guard tells of a name on its page: the first eight bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode("ascii")).digest()[:8], "big")


class PageLink:
    """Implements ports.GuardLink on the two files in `runtime`. PeerMissingError if they are absent."""

    def __init__(self, runtime: Path) -> None:
        self._guard_path = runtime / pages.GUARD_PAGE
        self._boot = pages.boot_id()
        self._boot_text = f"{self._boot[0]:016x}{self._boot[1]:016x}"
        try:
            self._core = pages.PageFile(runtime / pages.CORE_PAGE, writable=True)
        except OSError as error:
            raise PeerMissingError("the interlock pages are not there", str(error), "interlock up") from error
        self._own = self._core.words
        pages.start_page(self._own, pages.CORE_LAYOUT, self._boot)
        self._own[CoreWord.PERMIT] = 0
        self._own[CoreWord.PID] = os.getpid()
        self._requests: deque[TripReason] = deque()
        self._asked = False
        self._guard: pages.PageFile | None = None
        self._words: memoryview[int] | None = None
        self._looked_ns = 0
        self.remap()

    def remap(self) -> None:
        """Looks at the path again; call it on the 100 ms tick."""
        self._looked_ns = time.monotonic_ns()
        if self._guard is not None and not self._guard.still_the_file():
            self._guard, self._words = None, None
        if self._guard is None:
            try:
                self._guard = pages.PageFile(self._guard_path, writable=False)
            except OSError:
                return
        current = pages.is_current(self._guard.words, pages.GUARD_LAYOUT, self._boot)
        self._words = self._guard.words if current else None

    def read(self) -> PageReading:
        """STATE is read last: a trip between two reads shows as shut."""
        words = self._words
        if words is None:
            return _ABSENT
        armed, complement = words[_ARMED], words[_COMPLEMENT]
        return PageReading(True, words[_STATE], armed, complement, words[_BEAT], words[_REASON])

    def glance(self) -> bytes:
        """The guard's page without its heartbeat, to compare with an earlier glance; b"" without a page."""
        words = self._words
        if words is None:
            return b""
        return words[_GENERATION:_BEAT].tobytes() + words[_BEAT + 1 : _WORDS].tobytes()

    def status(self) -> GuardStatus:
        """Arm presses are read before the page: the guard writes them after it has armed."""
        if time.monotonic_ns() - self._looked_ns >= REMAP_NS:
            self.remap()
        words = self._words
        if words is None:
            return _NO_GUARD
        presses, outcome = words[GuardWord.ARM_PRESSES], words[GuardWord.ARM_OUTCOME]
        source, operator = words[GuardWord.ARM_SOURCE], words[GuardWord.ARM_OPERATOR]
        refused, refusal = words[GuardWord.REFUSED], words[GuardWord.REFUSAL]
        later = words[GuardWord.LATER]
        lamps = (words[GuardWord.LAMP_GREEN], words[GuardWord.LAMP_YELLOW], words[GuardWord.LAMP_RED])
        return GuardStatus(
            page=self.read(),
            boot=self._boot_text,
            generation=words[GuardWord.GENERATION],
            last=words[GuardWord.LAST],
            later=frozenset(reason for reason in TripReason if later >> reason & 1),
            stored=words[GuardWord.STORED],
            liquidate=words[GuardWord.LIQUIDATE],
            arm_presses=presses,
            arm_outcome=ArmOutcome(outcome).name if outcome in set(ArmOutcome) else "NONE",
            simulated=words[GuardWord.BOARD] != BoardKind.GPIOZERO,
            realtime=bool(words[GuardWord.FLAGS] & GuardFlag.REALTIME),
            lamps=tuple(PATTERNS[lamp] if lamp < len(PATTERNS) else "off" for lamp in lamps),  # type: ignore[arg-type]
            trip_ns=words[GuardWord.TRIP_NS],
            trip_utc_ns=words[GuardWord.TRIP_UTC_NS],
            arm_source=ArmSource(source).name if source in set(ArmSource) else "NONE",
            arm_operator=f"{operator:016x}" if operator else "",
            arm_subject=words[GuardWord.ARM_SUBJECT],
            refused=refused,
            refusal=Refusal(refusal).name if refusal in set(Refusal) else "NONE",
        )

    def request_trip(self, reason: TripReason) -> None:
        """One at a time: the page has room for one, and the first reason must arrive as the first."""
        self._requests.append(reason)
        self._pass_on()

    def _pass_on(self) -> None:
        """The next request, once the guard has taken the one before. Reason first: it is read when the
        sequence moves."""
        words = self._words
        waits = self._asked if words is None else self._own[CoreWord.REQUEST] != words[GuardWord.ADOPTED]
        if self._requests and not waits:
            self._asked = True
            self._own[CoreWord.REQUEST_REASON] = self._requests.popleft()
            self._own[CoreWord.REQUEST] = self._own[CoreWord.REQUEST] + 1

    def store_failed(self) -> bool:
        """The audit log's disk failed in this boot, in this core or in one before it."""
        return bool(self._own[CoreWord.STORE_FAILED])

    def mark_store_failed(self) -> None:
        """Until the machine restarts: Linux marks pages clean whose fsync failed (SAFETY 8)."""
        self._own[CoreWord.STORE_FAILED] = 1

    def permit(self, trip_epoch: int) -> None:
        """Consent to arming out of this epoch; 0 withdraws."""
        self._own[CoreWord.PERMIT] = trip_epoch

    def publish_mode(self, mode: Mode) -> None:
        """For the lights."""
        self._own[CoreWord.MODE] = mode

    def beat(self, open_orders: int, holds: int, degraded: int) -> None:
        """The core's heartbeat; the counts are for the lights. Passes on what the guard has not been told."""
        self._pass_on()
        self._own[CoreWord.OPEN_ORDERS] = open_orders
        self._own[CoreWord.HOLDS] = holds
        self._own[CoreWord.DEGRADED] = degraded
        self._own[CoreWord.HEARTBEAT_NS] = time.monotonic_ns()


_NO_GUARD = GuardStatus(
    page=_ABSENT,
    boot="",
    generation=0,
    last=0,
    later=frozenset(),
    stored=0,
    liquidate=0,
    arm_presses=0,
    arm_outcome="NONE",
    simulated=True,
    realtime=False,
    lamps=("off", "off", "off"),
    trip_ns=0,
    trip_utc_ns=0,
)


def boot_text() -> str:
    """The kernel's id of this boot, as text for files."""
    high, low = pages.boot_id()
    return f"{high:016x}{low:016x}"


def prepare_pages(runtime: Path) -> None:
    """Creates both files where they do not exist (`interlock up`; on the appliance tmpfiles.d does it)."""
    pages.create_pages(runtime)


class Glance:
    """Reads both pages without owning either: for status, supervisor, cancel-only process and alerter."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._files: dict[str, pages.PageFile] = {}
        self._boot = pages.boot_id()
        self.renew()

    def renew(self) -> None:
        """Maps what is not mapped yet, and again what is another file now, for whoever looks often."""
        for name in (pages.GUARD_PAGE, pages.CORE_PAGE):
            if name in self._files and not self._files[name].still_the_file():
                self._files.pop(name).close()
            if name not in self._files:
                with contextlib.suppress(OSError):
                    self._files[name] = pages.PageFile(self._runtime / name, writable=False)

    def is_shut(self) -> bool | None:
        """Whether the guard's page shuts the gate; None without a page of this boot."""
        file = self._files.get(pages.GUARD_PAGE)
        if file is None or not pages.is_current(file.words, pages.GUARD_LAYOUT, self._boot):
            return None
        words = file.words
        armed, complement, state = words[_ARMED], words[_COMPLEMENT], words[_STATE]
        return armed != state or armed ^ complement != pages.WORD_MASK

    def guard_age_ns(self) -> int | None:
        """Age of the guard's heartbeat; None without a page of this boot."""
        return self._age(pages.GUARD_PAGE, pages.GUARD_LAYOUT, GuardWord.HEARTBEAT_NS)

    def core_age_ns(self) -> int | None:
        """Age of the core's heartbeat; None without a page of this boot."""
        return self._age(pages.CORE_PAGE, pages.CORE_LAYOUT, CoreWord.HEARTBEAT_NS)

    def guard_words(self) -> dict[str, int]:
        """Every word of the guard's page by name; empty without a page."""
        file = self._files.get(pages.GUARD_PAGE)
        return {} if file is None else {word.name: file.words[word] for word in GuardWord}

    def core_words(self) -> dict[str, int]:
        """Every word of the core's page by name; empty without a page."""
        file = self._files.get(pages.CORE_PAGE)
        return {} if file is None else {word.name: file.words[word] for word in CoreWord}

    def _age(self, name: str, layout: int, word: int) -> int | None:
        file = self._files.get(name)
        if file is None or not pages.is_current(file.words, layout, self._boot) or not file.words[word]:
            return None
        return pages.age_ns(file.words[word])
