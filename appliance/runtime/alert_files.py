"""The two files of the alerter: what it shows to others, and what it remembers for its next life.

`<runtime>/alerts/board.json`, rewritten every second, not durable: standing alerts, counts, heartbeat. The
core shows it on the page and in /metrics, `interlock status` reads it. Nobody waits for it and nobody
believes an old one.

`<state>/alerts/alerts.json`, durable, rewritten when somebody was told something: where in the log to go on,
what was told, what still waits for the hook. All of one moment, in one file: whatever a crash leaves, an
alert is told again at worst, and never forgotten.

Integers under a name that ends in `_ns` are strings in both, as in every JSON of Interlock.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from appliance.domain.alert import AlertKind, severity, text
from appliance.domain.errors import StoreError
from appliance.domain.status import AlertLine, Part
from appliance.safety.alert_facts import Known
from appliance.safety.alert_queue import Waiting
from appliance.safety.alerts import Case
from appliance.storage.durable import make_directory, write_file

BEAT_NS = 1_000_000_000
FRESH_NS = 4_000_000_000
REREAD_NS = 500_000_000
COUNT_END = 2**53  # what an entry of the log can hold: a board that is damaged must not stop the core
_BOARD_MAX, _MEMORY_MAX = 256 * 1024, 4 * 1024 * 1024
_Struct = TypeVar("_Struct", bound=Struct)


class Standing(Struct, frozen=True):
    """One alert that stands."""

    kind: AlertKind
    subject: str
    since_ns: int


class HookCounts(Struct, kw_only=True):
    """Since the alerter's start. waiting: alerts not delivered yet.  given_up: alerts tried in vain."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    waiting: int = 0


class Board(Struct, frozen=True, kw_only=True):
    """boot, beat_ns: whose heartbeat, and when by CLOCK_MONOTONIC.  counts: alerts since the alerter's start,
    beginnings and repetitions, not ends.  problem: why it works with less, or ""."""

    v: int = 1
    boot: str
    pid: int
    beat_ns: int
    standing: tuple[Standing, ...]
    counts: dict[str, int]
    hook: HookCounts
    problem: str


class Memory(Struct, frozen=True, kw_only=True):
    """All an alerter needs from the one before it. cursor: the next log entry to read."""

    v: int = 1
    boot: str
    cursor: int | None
    number: int
    known: Known
    cases: tuple[Case, ...]
    waiting: tuple[Waiting, ...]


def dump(value: Struct) -> bytes:
    """JSON with nanoseconds as strings."""
    return msgspec.json.encode(_with_text(msgspec.to_builtins(value)))


def load(data: bytes, kind: type[_Struct]) -> _Struct:
    """The inverse of `dump`. Raises msgspec.ValidationError or DecodeError."""
    return msgspec.json.decode(data, type=kind, strict=False)


def _with_text(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _with_text(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text(item, key) for item in value]
    is_time = key.endswith("_ns") and isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_time else value


def write_board(path: Path, board: Board) -> None:
    """Replaces the file as a whole. Raises OSError."""
    temp = path.with_name(f".{path.name}.tmp")
    temp.write_bytes(dump(board))
    temp.replace(path)


def read_board(path: Path) -> Board | None:
    """None if it is not there or is none. Never raises and never blocks: it is somebody else's file."""
    try:
        return load(_read_plain(path, _BOARD_MAX), Board)
    except (OSError, msgspec.MsgspecError):
        return None


def _read_plain(path: Path, limit: int) -> bytes:
    """A regular file's bytes, cut at `limit`. Whoever may write to the folder, the hook included, could put a
    pipe or a link in its place: opening it must not stop the core. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return os.read(handle, min(status.st_size, limit))
    finally:
        os.close(handle)


def board_age_ns(board: Board | None, boot: str) -> int | None:
    """Age of its heartbeat; None without a board of this boot."""
    if board is None or board.boot != boot:
        return None
    return max(0, time.monotonic_ns() - board.beat_ns)


class BoardView:
    """The core's view of the board, read again every 500 ms at most."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._board: Board | None = None
        self._read_ns = -REREAD_NS

    def part(self) -> Part:
        """The alerter as a part: without it trading goes on and nobody outside is told."""
        board = self._look()
        age_ns = board_age_ns(board, self._boot)
        if board is None or age_ns is None:
            return Part("alerts", "degraded", "the alerter does not run: nobody outside the box is told")
        if age_ns > FRESH_NS:
            silent = f"no heartbeat of the alerter for {age_ns // 1_000_000_000} s: nobody is told"
            return Part("alerts", "degraded", silent)
        told = sum(board.counts.values())
        return Part("alerts", "degraded" if board.problem else "ok", board.problem or f"{told} alerts told")

    def lines(self) -> tuple[AlertLine, ...]:
        """What stands by the last word of the alerter, most urgent first; nothing if it does not live."""
        board = self._look()
        age_ns = board_age_ns(board, self._boot)
        if board is None or age_ns is None or age_ns > FRESH_NS:
            return ()
        return tuple(
            AlertLine(each.kind, severity(each.kind), each.subject, text(each.kind), str(each.since_ns))
            for each in board.standing
        )

    def told(self) -> dict[str, object] | None:
        """For the log: alerts by kind since the alerter's start, what stands; None if it does not live."""
        board = self._look()
        age_ns = board_age_ns(board, self._boot)
        if board is None or age_ns is None or age_ns > FRESH_NS:
            return None
        standing = [
            {"kind": each.kind, "subject": each.subject, "since_ns": each.since_ns} for each in board.standing
        ]
        counts = {kind: n for kind, n in board.counts.items() if kind.isascii() and abs(n) < COUNT_END}
        return {"counts": counts, "standing": standing}

    def counts(self) -> dict[str, int]:
        """Alerts by kind since the alerter's start."""
        board = self._look()
        return dict(board.counts) if board is not None else {}

    def hook(self) -> dict[str, int]:
        """Deliveries by outcome since the alerter's start."""
        board = self._look()
        return {} if board is None else msgspec.structs.asdict(board.hook)

    def _look(self) -> Board | None:
        now_ns = time.monotonic_ns()
        if now_ns - self._read_ns >= REREAD_NS:
            self._read_ns = now_ns
            self._board = read_board(self._path)
        return self._board


class Keeper(threading.Thread):
    """Writes the memory on a thread of its own: a slow disk delays no alert. The last one given wins.

    A write that failed is tried again with the next one: each writes a new file, so a failed fsync of an
    older one cannot be mistaken for a success.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(name="alert keeper", daemon=True)
        self._path = path
        self._changed = threading.Condition()
        self._next: bytes | None = None
        self._closing = False
        self.problem = ""

    def save(self, memory: Memory) -> None:
        """Returns at once."""
        data = dump(memory)
        with self._changed:
            self._next = data
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Writes what was given last, for so long."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self.join(timeout_s)

    def run(self) -> None:
        """Until `close`."""
        while True:
            with self._changed:
                while self._next is None and not self._closing:
                    self._changed.wait()
                data, self._next = self._next, None
            if data is None:
                return
            try:
                make_directory(self._path.parent, 0o700)
                write_file(self._path, data, 0o600)
                self.problem = ""
            except StoreError as error:
                self.problem = error.what


def read_memory(path: Path, boot: str) -> tuple[Memory | None, str]:
    """(what the last life left, what is wrong with it). A damaged file is moved aside and kept: an alerter
    that starts anew tells what stands once more, one that refuses to start tells nothing."""
    try:
        data = _read_plain(path, _MEMORY_MAX)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror}"
    try:
        memory = load(data, Memory)
    except msgspec.MsgspecError as error:
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError:
            return None, f"{path.name} is damaged: {error}"
        return None, f"{path.name} is damaged and was moved to {aside.name}: {error}"
    if memory.boot != boot:
        memory.known.another_boot()
        for case in memory.cases:
            case.told_ns, case.changed_ns = None, time.monotonic_ns()
    return memory, ""
