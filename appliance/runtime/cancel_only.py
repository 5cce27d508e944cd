"""`interlock cancel-only`: cancels when the core cannot (SAFETY 3). No strategy, no gate, no way to order.

It stands by with locked memory instead of being started on demand: a press must cancel although the disk is
dead or everything else is swapped out, and starting an interpreter needs both. It reads the two pages ten
times a second, does its work over one connection, writes what it did into a ring in memory, and says it on
stderr.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import threading
import time
from types import FrameType

from appliance.domain.errors import InterlockError, PeerError, StoreError, TransportError
from appliance.domain.order import VenueOrder
from appliance.runtime.guard_link import Glance
from appliance.runtime.logs import Log
from appliance.runtime.owed import Act, record
from appliance.runtime.paths import Paths, ensure_runtime
from appliance.runtime.terminal import Terminal
from appliance.runtime.venue_note import VenueNote, read_note
from appliance.safety.standby import Gate, Sighting, Watch
from appliance.storage.ring import Ring
from appliance.venues.cancel_client import CancelClient

LOOK_S = 0.1
LOOK_AGAIN_NS = 1_000_000_000
GUARD_GONE_NS = 2_000_000_000
_MCL_CURRENT_AND_FUTURE = 3


def run_cancel_only(paths: Paths, options: argparse.Namespace, _terminal: Terminal) -> int:
    """Until SIGTERM or Ctrl-C."""
    ensure_runtime(paths)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    log = Log("text", quiet=options.quiet, debug=options.debug)
    ring = Ring(paths.cancels_ring)
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT_AND_FUTURE) != 0:
        why = os.strerror(ctypes.get_errno())
        log.info("cancel-only", "memory-not-locked", why=why, so="it may answer late while the box swaps")
    gc.freeze()
    process = CancelOnly(paths, ring, log)
    log.info("cancel-only", "standing-by")
    try:
        while not stop.wait(LOOK_S):
            process.round(time.monotonic_ns())
    finally:
        process.close()
        ring.close()
    return 0


class CancelOnly:
    """One process's work, a round at a time."""

    def __init__(self, paths: Paths, ring: Ring, log: Log) -> None:
        """Reads nothing yet."""
        self._paths = paths
        self._ring = ring
        self._log = log
        self._glance = Glance(paths.runtime)
        self._looked_ns = 0
        self._watch = Watch()
        self._note: VenueNote | None = None
        self._client: CancelClient | None = None
        self._said = ""

    def round(self, now_ns: int) -> None:
        """Looks, and sweeps if that is due. Never raises for what a venue or a file does."""
        if now_ns - self._looked_ns >= LOOK_AGAIN_NS:
            self._looked_ns = now_ns
            self._glance.renew()
        due = self._watch.look(self._sighting(), now_ns)
        if not self._watch.why:
            self._say("the core answers again: standing by", quiet=not self._said)
            self._said = ""
            return
        if due:
            self._sweep()

    def close(self) -> None:
        """Drops the connection."""
        if self._client is not None:
            self._client.close()

    def _sighting(self) -> Sighting:
        guard_age_ns, shut = self._glance.guard_age_ns(), self._glance.is_shut()
        gate = Gate.SHUT if shut else Gate.OPEN
        if shut is None or guard_age_ns is None or guard_age_ns > GUARD_GONE_NS:
            gate = Gate.GUARD_GONE
        epoch = self._glance.guard_words().get("STATE", 0)
        return Sighting(gate, epoch, self._glance.core_age_ns())

    def _sweep(self) -> None:
        left = 1
        try:
            client = self._connect()
            if client is None:
                self._watch.swept(0, time.monotonic_ns())
                return  # no core has opened an account in this boot
            entries = client.entries()
            for order in entries:
                self._cancel(client, order)
            left = len(client.entries()) if entries else 0
            self._say(f"{self._watch.why}: {left} entries left")
        except (TransportError, PeerError, StoreError) as error:
            self._say(f"{self._watch.why}; cannot cancel: {error.sentence()}", bad=True)
        before = self._watch.confirmed
        self._watch.swept(left, time.monotonic_ns())
        if self._watch.confirmed and not before:
            self._say("the venue lists no entry any more, the window has passed")

    def _connect(self) -> CancelClient | None:
        note = read_note(self._paths.venue_note)
        if note != self._note or self._client is None:
            self.close()
            self._note = note
            self._client = CancelClient(note.port, note.account) if note is not None else None
        return self._client

    def _cancel(self, client: CancelClient, order: VenueOrder) -> None:
        outcome = "asked"
        try:
            client.cancel(order.order_id)
        except InterlockError as error:
            outcome = error.sentence()
            raise
        finally:
            act = Act(
                who="cancel-only",
                act="CANCEL",
                order_id=order.order_id,
                instrument=order.instrument,
                why=f"{self._watch.why}; {outcome}",
                utc_ns=time.time_ns(),
                mono_ns=time.monotonic_ns(),
            )
            record(self._ring, act)

    def _say(self, sentence: str, *, bad: bool = False, quiet: bool = False) -> None:
        """Each sentence once, not at every round."""
        if sentence == self._said or quiet:
            return
        self._said = sentence
        (self._log.error if bad else self._log.warn)("cancel-only", "sweep", what=sentence)
