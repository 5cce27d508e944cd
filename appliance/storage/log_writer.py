"""The log writer: a process of its own, child of the core, the only one that writes the audit log.

    python -m appliance.storage.log_writer --fd N --directory DIR --key FILE [--reserve-bytes N]

It reads frames from an inherited socket, takes all that has arrived as one group, commits it in one
transaction, acknowledges, and then sees to tree, checkpoint and files (measured beside a busy core: a
thread would wait for the interpreter, SAFETY 8). It ends when the socket closes, after committing and
publishing what it has: a core that dies takes nothing acknowledged or received with it. SIGINT and SIGTERM
are ignored for the same reason; the core decides when it ends.

A lock on `<dir>/lock` makes a second writer impossible. After an error it says Failed and exits with that
error's code; it never writes again (SAFETY 8).

It owns the disk reserve. A commit that finds no space gives it back, says so, and is done once more. From
then on nothing is published but what is asked for (partial tiles are many times larger than the entries in
them), and the write-ahead log is kept short. A publication that finds no space waits for better times.

Old entries are sealed and pruned (`log_retention`) while the core gives leave for it: a step at a time, only
when nothing has arrived and nothing is being published.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.audit.notes import COSIGNATURE_KEY
from appliance.domain.errors import BusyError, InterlockError, NoSpaceError
from appliance.domain.exit_codes import ExitCode
from appliance.storage.durable import REAL_IO, Io, open_existing
from appliance.storage.keys import read_signing_key, read_verifier
from appliance.storage.log_retention import Retention
from appliance.storage.log_rotate import settle
from appliance.storage.log_schema import INIT, LOCK, RESERVE
from appliance.storage.log_store import LogStore
from appliance.storage.log_upkeep import Upkeep
from appliance.storage.log_wire import (
    Append,
    Durable,
    Failed,
    Frames,
    Publish,
    Ready,
    Refill,
    ReserveChanged,
    Signed,
    ToCore,
    decode_to_writer,
    frame,
)
from appliance.storage.reserve import ReserveFile
from appliance.storage.sqlite import WAL_PAGES

GROUP_BYTES = 4 * 1024 * 1024
_CHUNK = 256 * 1024
_LOCK_POLL_S = 0.02
_FULL_PAUSE_NS = 10_000_000_000
_SPARING_PAGES = 64  # a long one would take 4 MB before its room is used again


class LogWriter:
    """The loop between socket and store. Single-threaded; `run` returns when the core is gone."""

    def __init__(
        self, link: socket.socket, store: LogStore, publish_every_ns: int, reserve: ReserveFile
    ) -> None:
        """link: a connected stream socket.  publish_every_ns: shortest pause between publications.
        reserve: the one the store gives back."""
        self._link = link
        self._store = store
        self._reserve = reserve
        self._every_ns = publish_every_ns
        self._frames = Frames()
        self._publication: Iterator[None] | None = None
        self._wanted = self._asked = False  # somebody asked: for the next publication, for this one
        self._closed = False
        self._mute = False
        self._last_ns = -publish_every_ns
        self._upkeep: Upkeep | None = None

    def keep_up(self, upkeep: Upkeep) -> None:
        """Seals and prunes between the commits, when the core gives leave."""
        self._upkeep = upkeep

    def run(self) -> None:
        """Serves the core until it closes the socket; then publishes what is left. Raises StoreError."""
        store, shown = self._store, self._store.shown
        head = (shown.size, shown.root, shown.checkpoint)
        self._send(Ready(store.size, store.sources, *head, self._reserve.state()))
        self._reserve.on_change = self._follow_reserve
        self._keep_wal()
        while not self._closed:
            idle = self._take()
            self._advance()
            self._maintain(idle=idle)
        if self._upkeep is not None:
            self._upkeep.close()
        for _ in self._publication or ():
            pass
        for _ in self._store.publish():
            pass
        self._store.close()

    def _follow_reserve(self) -> None:
        self._keep_wal()
        if self._reserve.state().given and not self._asked:
            self._publication = None  # the next one begins where this one did
        self._send(ReserveChanged(self._reserve.state()))

    def _keep_wal(self) -> None:
        self._store.wal_pages = _SPARING_PAGES if self._reserve.state().given else WAL_PAGES

    def _take(self) -> bool:
        """Waits for work, then commits everything that has arrived as one group. True if nothing had."""
        group, refill = [], False
        for body in self._receive():
            message = decode_to_writer(body)
            if isinstance(message, Append):
                group.append(message)
            elif isinstance(message, Publish):
                self._wanted = True
            elif isinstance(message, Refill):
                refill = True
            elif self._upkeep is not None:
                self._upkeep.give_leave(message)
        if group:
            self._send(Durable(self._store.commit(group)))
            self._store.grow()
            self._store.tidy()
        if refill:
            self._reserve.fill()
        return not group

    def _maintain(self, *, idle: bool) -> None:
        """One step of sealing or pruning, if nobody waits for anything and the disk has room."""
        upkeep = self._upkeep
        busy = not idle or self._closed or self._publication is not None
        if upkeep is None or busy or self._reserve.state().given or not upkeep.due():
            return
        if (told := upkeep.step()) is not None:
            self._send(told)

    def _receive(self) -> list[bytes]:
        if not select.select([self._link], [], [], self._patience_s())[0]:
            return []
        frames: list[bytes] = []
        taken = 0
        while taken < GROUP_BYTES:
            try:
                data = self._link.recv(_CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self._closed = True
                break
            taken += len(data)
            frames += self._frames.feed(data)
        return frames

    def _patience_s(self) -> float | None:
        """How long to wait for the core: not while publishing, to the cadence if something is unpublished."""
        if self._publication is not None or self._wanted:
            return 0
        waits = [] if self._upkeep is None or self._reserve.state().given else self._upkeep.patience_ns()
        if self._unpublished():
            waits.append(max(0, self._last_ns + self._every_ns - time.monotonic_ns()))
        return min(waits) / 1e9 if waits else None

    def _unpublished(self) -> bool:
        """Something waits for the cadence."""
        return self._store.size != self._store.shown.size and not self._reserve.state().given

    def _advance(self) -> None:
        """One step of a publication: one file. Commits go before and in between."""
        if self._publication is None:
            due = self._unpublished()
            due = due and time.monotonic_ns() >= self._last_ns + self._every_ns
            if not due and not self._wanted:
                return
            self._asked, self._wanted = self._wanted, False
            self._publication = self._store.publish()
        try:
            next(self._publication)
        except NoSpaceError:
            if self._asked:
                raise  # whoever asked waits for an answer
            self._publication = None
            self._last_ns = time.monotonic_ns() + _FULL_PAUSE_NS - self._every_ns
        except StopIteration:
            self._publication = None
            self._last_ns = time.monotonic_ns()
            head = self._store.shown
            self._send(Signed(head.size, head.root, head.checkpoint))

    def _send(self, message: ToCore) -> None:
        if self._mute:
            return
        try:
            self._link.sendall(frame(message))
        except (BrokenPipeError, ConnectionResetError):
            self._mute = True  # the core is gone; what it sent before is still to be committed


@contextlib.contextmanager
def only_writer(directory: Path, wait_s: float) -> Iterator[None]:
    """Holds the log's lock. Raises BusyError if another writer has it after `wait_s`, ConfigError if absent.

    The wait covers a predecessor whose core died and who is still committing.
    """
    path = directory / LOCK
    descriptor = open_existing(path, os.O_RDWR, "the audit log's lock", INIT)
    try:
        give_up = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= give_up:
                    why = f"another log writer holds the lock ({path})"
                    raise BusyError("the audit log is in use", why, "stop the other core first") from error
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def serve(arguments: argparse.Namespace, io: Io = REAL_IO, vfs: str | None = None) -> ExitCode:
    """Runs the writer on the inherited socket; every InterlockError is reported and becomes the exit code."""
    link = socket.socket(fileno=arguments.fd)
    try:
        directory = Path(arguments.directory)
        with only_writer(directory, arguments.lock_wait_ms / 1000):
            reserve = ReserveFile(directory / RESERVE, arguments.reserve_bytes)
            reserve.find()
            settle(Path(arguments.key), directory, io, vfs, reserve.give_back)
            key = read_signing_key(Path(arguments.key))
            store = LogStore(directory, key, io, vfs, reserve.give_back)
            if not reserve.state().given:  # opening the store on a full disk may have taken it already
                reserve.fill()
            writer = LogWriter(link, store, arguments.publish_ms * 1_000_000, reserve)
            if arguments.witness:
                witness = read_verifier(Path(arguments.witness), COSIGNATURE_KEY)
                writer.keep_up(Upkeep(Retention(store, witness, io)))
            writer.run()
    except InterlockError as error:
        full = isinstance(error, NoSpaceError)
        failed = Failed(int(error.exit_code), error.what, error.why, error.do, full)
        try:
            link.sendall(frame(failed))
        except OSError:
            sys.stderr.write(f"interlock: log writer: {error.sentence()}\n")
        return error.exit_code
    finally:
        link.close()
    return ExitCode.OK


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line the core uses; nobody else starts this process."""
    parser = argparse.ArgumentParser(prog="log_writer", description="writes the audit log for a core")
    parser.add_argument("--fd", type=int, required=True, help="inherited stream socket")
    parser.add_argument("--directory", required=True, help="the log store")
    parser.add_argument("--key", required=True, help="the log's signing key file")
    parser.add_argument("--publish-ms", type=int, default=1000, help="shortest time between publications")
    parser.add_argument("--reserve-bytes", type=int, default=0, help="disk space kept for exits")
    parser.add_argument("--witness", default="", help="key of the pinned witness")
    parser.add_argument("--lock-wait-ms", type=int, default=10_000, help="patience with a predecessor")
    return parser.parse_args(arguments)


def main() -> None:
    """Entry point of `python -m appliance.storage.log_writer`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(serve(parse(sys.argv[1:])))


if __name__ == "__main__":
    main()
