"""The two interlock pages: small shared-memory files with one writer each (SAFETY 3).

Both are 4096 bytes of independent, aligned 8-byte words, read and written through `memoryview.cast('Q')`;
an aligned word never tears, and no two words need to agree except where a complement says so. The files
are created once (tmpfiles.d or `interlock up`), opened in place, and never truncated, unlinked or renamed
while mapped: truncating one would kill the peer with SIGBUS.

Guard page: the guard writes, the core maps it read-only. Core page: the reverse.
"""

from __future__ import annotations

import mmap
import os
import time
from enum import IntEnum
from pathlib import Path

PAGE_SIZE = 4096
GUARD_PAGE = "guard.page"
CORE_PAGE = "core.page"
WORD_MASK = (1 << 64) - 1

GUARD_LAYOUT = int.from_bytes(b"ILKGRD03", "big")
CORE_LAYOUT = int.from_bytes(b"ILKCOR02", "big")


class GuardWord(IntEnum):
    """Words of the guard page. STATE is the trip epoch; open only if ARMED == STATE == ~COMPLEMENT."""

    LAYOUT = 0
    BOOT_HIGH = 1
    BOOT_LOW = 2
    GENERATION = 3  # counts guard starts within one boot
    STATE = 4
    ARMED = 5
    COMPLEMENT = 6
    HEARTBEAT_NS = 7  # CLOCK_MONOTONIC, written by the loop that reads the lines
    REASON = 8  # Reason of the standing trip; NOT_ARMED after a start; NONE while armed
    TRIP_NS = 9  # CLOCK_MONOTONIC of the trip: kernel time of the edge where there is one
    LATER = 10  # bit per Reason that came after the first
    LEVELS = 11  # bit set: see Level
    STORED = 12  # epoch whose trip is durable
    LIQUIDATE = 13  # epoch in which the button line read open for 20 ms
    ARM_PRESSES = 14  # completed arm presses and other signed acts since the guard started
    PROVEN = 15  # epoch in which the button was seen to open and close
    BOARD = 16  # BoardKind
    FLAGS = 17  # bit set: see GuardFlag
    ADOPTED = 18  # last core request taken over
    PID = 19
    LAMP_GREEN = 20  # Pattern numbers, as shown on the box
    LAMP_YELLOW = 21
    LAMP_RED = 22
    TRIP_UTC_NS = 23  # for people only; may be wrong when the clock is
    ARM_OUTCOME = 24  # ArmOutcome of the last arm press
    LAST = 25  # Reason of the latest trip, the first or a later one
    ARM_SOURCE = 26  # ArmSource of the last arm press
    ARM_OPERATOR = 27  # fingerprint of the operator key behind it; 0 for the arm key
    REFUSED = 28  # signed operator commands refused since the guard started
    REFUSAL = 29  # Refusal of the last of them
    GLITCHES = 30  # openings of the button the glitch filter ignored since the guard started
    DISK_FAILED = 31  # 1 once the latch could not be written in this boot: nothing arms any more (SAFETY 8)
    TAMPERS = 32  # openings of the case seen in this boot, also where the reaction is only an alert
    ARM_SUBJECT = 33  # fingerprint of the name the last signed act is about; 0: none


class CoreWord(IntEnum):
    """Words of the core page."""

    LAYOUT = 0
    BOOT_HIGH = 1
    BOOT_LOW = 2
    GENERATION = 3
    HEARTBEAT_NS = 4
    MODE = 5  # Mode number
    REQUEST = 6  # sequence of the core's own trips
    REQUEST_REASON = 7
    PERMIT = 8  # trip epoch the core consents to arm out of; 0: none
    OPEN_ORDERS = 9
    HOLDS = 10  # number of standing holds
    DEGRADED = 11  # number of parts that are not ok
    PID = 12
    STORE_FAILED = 13  # 1 once the audit log's disk failed in this boot: nothing arms any more (SAFETY 8)


class Reason(IntEnum):
    """Trip reasons by number; the same table as the core's TripReason (tests/rules compares)."""

    NONE = 0
    KILL_BUTTON = 1
    DRAWDOWN = 2
    DAILY_LOSS = 3
    TAMPER = 4
    GUARD_LOST = 5
    CLOCK = 6
    AUDIT_STORE = 7
    DATA_INTEGRITY = 8
    POSITION_DISAGREEMENT = 9
    INVARIANT = 10
    NEVER_ARMED = 11
    FOREIGN_CARD = 12
    NOT_ARMED = 13


class Mode(IntEnum):
    """Modes by number; the same table as the core's Mode (tests/rules compares)."""

    NORMAL = 1
    PAUSED = 2
    REDUCED = 3
    EMERGENCY = 4


class LevelBit(IntEnum):
    """LEVELS: what the lines read, and which of them could not be read."""

    BUTTON_OPEN = 1
    KEY_CLOSED = 2
    TAMPER_OPEN = 4
    UNKNOWN = 8


class GuardFlag(IntEnum):
    """FLAGS: what the operating system granted."""

    REALTIME = 1
    LOCKED = 2


class BoardKind(IntEnum):
    """BOARD: a simulated board may only trade on paper (SAFETY 6)."""

    UNKNOWN = 0
    SIMULATED = 1
    GPIOZERO = 2


class ArmOutcome(IntEnum):
    """ARM_OUTCOME: what the last arm press did, for the page and the log."""

    NONE = 0
    STEP = 1  # counted; the core may step to a less safe mode
    ARMED = 2
    NO_PROOF = 3  # the button was not seen to open and close since the last start or trip
    NOT_STORED = 4  # the armed record could not be made durable
    PEAK_RESET = 5  # no arm press: a signed command to reset the account's peak, which the core decides
    SOURCE_START = 6  # no arm press: a signed command to start a stopped source again; the core decides


class ArmSource(IntEnum):
    """ARM_SOURCE: who made the last arm press. A signed command counts exactly as a turn of the key does."""

    NONE = 0
    KEY = 1
    OPERATOR = 2


class Refusal(IntEnum):
    """REFUSAL: why a signed operator command was refused (`operator_command` has the sentences)."""

    NONE = 0
    MALFORMED = 1
    OTHER_PURPOSE = 2
    OTHER_BOX = 3
    OTHER_BOOT = 4
    OTHER_GENERATION = 5
    REPLAYED = 6
    UNKNOWN_CHALLENGE = 7
    EXPIRED = 8
    PRESSED = 9
    OTHER_EPOCH = 10
    TOO_SOON = 11
    BAD_SIGNATURE = 12
    BUSY = 13


def boot_id() -> tuple[int, int]:
    """The kernel's random id of this boot, as two words."""
    number = int(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", ""), 16)
    return number >> 64, number & WORD_MASK


def create_pages(runtime: Path) -> None:
    """Makes both files, zero-filled and private, where they do not exist yet; never touches existing ones."""
    for name in (GUARD_PAGE, CORE_PAGE):
        try:
            handle = os.open(runtime / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            continue
        try:
            os.ftruncate(handle, PAGE_SIZE)
        finally:
            os.close(handle)


class PageFile:
    """One mapped page. Raises OSError if the file is absent or not exactly one page long."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        handle = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            status = os.fstat(handle)
            if status.st_size != PAGE_SIZE:
                raise OSError(f"{path} is {status.st_size} bytes long, not {PAGE_SIZE}")
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(handle, PAGE_SIZE, access=access)
        finally:
            os.close(handle)
        self._identity = (status.st_dev, status.st_ino)
        self.words = memoryview(self._map).cast("Q")

    def still_the_file(self) -> bool:
        """False once the path leads to another inode: the reader must map again (SAFETY 3)."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def close(self) -> None:
        """Unmaps. The file stays."""
        self.words.release()
        self._map.close()


def start_page(words: memoryview[int], layout: int, boot: tuple[int, int]) -> bool:
    """Writes the header of a page its writer has just opened; True if the page was of this boot and layout.

    Header words sit at the same place in both layouts. A page of another boot or layout is cleared, header
    last, so that a reader sees either an unknown page or a complete one.
    """
    kept = words[0] == layout and (words[1], words[2]) == boot
    if not kept:
        words[0] = 0
        for index in range(1, len(words)):
            words[index] = 0
        words[1], words[2] = boot
        words[0] = layout
    words[3] = words[3] + 1
    return kept


def is_current(words: memoryview[int], layout: int, boot: tuple[int, int]) -> bool:
    """The page is of this layout and boot; anything else counts as absent."""
    return words[0] == layout and words[1] == boot[0] and words[2] == boot[1]


def age_ns(heartbeat_ns: int) -> int:
    """Nanoseconds since a heartbeat; never negative."""
    return max(0, time.monotonic_ns() - heartbeat_ns)
