"""The latch on disk: *armed* is what is stored, never *tripped* (SAFETY 5).

No valid record for this board and card means tripped. Losing the file, the card or half a write therefore
always ends on the safe side. Writing is temp file → fsync → rename → fsync of the directory; a trip removes
the file and fsyncs the directory. Both run in `LatchKeeper`'s thread: the loop that reads the lines never
waits for a disk.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hardware.pages import Reason

RECORD = "armed"
_HEADER = "interlock armed record 1"
_MAX_BYTES = 4096
RETRY_S = 1.0


@dataclass(frozen=True)
class ArmedRecord:
    """Who was armed, when: trip epoch, boot, board and card. Another boot is not armed in this boot."""

    epoch: int
    boot: str
    board: str
    card: str

    def encode(self) -> bytes:
        """Text with a digest line, so that a torn or edited record is unparsable."""
        body = f"{_HEADER}\nepoch={self.epoch}\nboot={self.boot}\nboard={self.board}\ncard={self.card}\n"
        return (body + f"blake2b={_digest(body)}\n").encode("ascii")


def _digest(body: str) -> str:
    return hashlib.blake2b(body.encode("ascii"), digest_size=16).hexdigest()


def decode_record(data: bytes) -> ArmedRecord | None:
    """The record, or None for anything that is not exactly one."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    keys = ("epoch=", "boot=", "board=", "card=", "blake2b=")
    if len(lines) != 7 or lines[0] != _HEADER or lines[6]:
        return None
    if not all(line.startswith(key) for line, key in zip(lines[1:6], keys, strict=True)):
        return None
    epoch, boot, board, card, digest = (line.partition("=")[2] for line in lines[1:6])
    body = "\n".join(lines[:5]) + "\n"
    if digest != _digest(body) or not (epoch.isascii() and epoch.isdigit()):
        return None
    return ArmedRecord(int(epoch), boot, board, card)


def judge(data: bytes | None, board: str, card: str) -> Reason:
    """What a start makes of the stored record: NOT_ARMED (shut, no trip), NEVER_ARMED or FOREIGN_CARD.

    A start never arms: a restarted guard of the same boot is shut as well (SAFETY 1).
    """
    record = decode_record(data) if data is not None else None
    if record is None:
        return Reason.NEVER_ARMED
    if (record.board, record.card) != (board, card):
        return Reason.FOREIGN_CARD
    return Reason.NOT_ARMED


def read_record(directory: Path) -> bytes | None:
    """The stored bytes; None if there are none or they cannot be read."""
    try:
        with (directory / RECORD).open("rb") as handle:
            return handle.read(_MAX_BYTES)
    except OSError:
        return None


def card_id(directory: Path) -> str:
    """Identity of the medium below `directory`: the SD card's CID, else the file system's id."""
    device = directory.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for candidate in (block / "device" / "cid", block / ".." / "device" / "cid"):
        try:
            return "cid-" + candidate.read_text("ascii").strip()
        except OSError:
            continue
    return f"fs-{os.statvfs(directory).f_fsid:x}"


def _fsync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def store_armed(directory: Path, record: ArmedRecord) -> None:
    """Makes the record durable; a crash before the rename leaves the box tripped. Raises OSError."""
    temporary = directory / (RECORD + ".new")
    handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        os.write(handle, record.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.rename(directory / RECORD)
    _fsync_directory(directory)


def store_tripped(directory: Path) -> None:
    """Removes the record and makes the removal durable. Raises OSError."""
    for name in (RECORD, RECORD + ".new"):
        (directory / name).unlink(missing_ok=True)
    _fsync_directory(directory)


class LatchKeeper:
    """Runs the disk work of the latch in its own thread; the guard's loop polls the results.

    After a failed write or fsync nothing is armed any more until the machine restarts: Linux marks the
    pages clean, so a retry that succeeds proves nothing (SAFETY 8). A failed removal is retried for ever.
    """

    def __init__(self, directory: Path, before: Callable[[], None] = lambda: None) -> None:
        self._directory = directory
        self._jobs: queue.SimpleQueue[ArmedRecord | int | None] = queue.SimpleQueue()
        self._before = before
        self.stored_trip = 0  # highest epoch whose trip is durable
        self.stored_armed = 0  # epoch whose armed record is durable
        self.broken = ""  # why nothing can be armed
        self._thread = threading.Thread(target=self._run, name="latch", daemon=True)
        self._thread.start()

    def trip(self, epoch: int) -> None:
        """Queues the removal of the record."""
        self._jobs.put(epoch)

    def arm(self, record: ArmedRecord) -> None:
        """Queues the armed record."""
        self._jobs.put(record)

    def close(self) -> None:
        """Finishes what is queued and ends the thread."""
        self._jobs.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        self._before()
        job = self._jobs.get()
        while job is not None:
            if isinstance(job, ArmedRecord):
                self._store_armed(job)
            elif not self._store_tripped(job):
                job = self._next_after_failure(job)
                continue
            job = self._jobs.get()

    def _store_armed(self, record: ArmedRecord) -> None:
        if self.broken:
            return
        try:
            store_armed(self._directory, record)
        except OSError as error:
            self.broken = f"armed record not stored: {error}"
        else:
            self.stored_armed = record.epoch

    def _store_tripped(self, epoch: int) -> bool:
        try:
            store_tripped(self._directory)
        except OSError as error:
            self.broken = f"trip not stored: {error}"
            return False
        self.stored_trip = epoch
        return True

    def _next_after_failure(self, epoch: int) -> ArmedRecord | int | None:
        try:
            job = self._jobs.get(timeout=RETRY_S)
        except queue.Empty:
            return epoch
        return job if isinstance(job, int) or job is None else epoch
