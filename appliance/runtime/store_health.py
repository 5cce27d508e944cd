"""Whether the audit log may be trusted with an arm press (SAFETY 8).

After a write or fsync error Linux marks the pages clean, so a later success proves nothing: no arming until
the machine was started again. The core's page carries that over a restart of the core. A log that did not
end with a stop is read whole, in a process of its own at low priority, before anybody may arm.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from appliance.audit.records import decode_entry
from appliance.domain.errors import PeerError
from appliance.domain.exit_codes import ExitCode
from appliance.domain.mode import TripReason
from appliance.runtime.cmd_audit import NOT_VERIFIED
from appliance.runtime.guard_link import PageLink
from appliance.runtime.paths import Paths
from appliance.storage.log_client import LogClient
from appliance.storage.log_reader import LogReader

_PACKAGE_ROOT = Path(__file__).parents[2]
_LOWER = 10


def ended_well(log: Path) -> bool:
    """The last entry is the stop of a core that knew the log to be whole, or there is none yet.

    Call it before anything is appended.
    """
    reader = LogReader(log)
    try:
        size = reader.size()
        if size == 0:
            return True
        last = next(iter(reader.entries(size - 1, size)), None)
        if last is None or last.kind != "stop":
            return False
        return not decode_entry(last.body).data.get("unverified")
    except PeerError:
        return False  # the last entry cannot be read: `verify` will say so
    finally:
        reader.close()


class StoreHealth:
    """Owned by the event loop. `problem` is empty while arming is possible, else the reason for people."""

    def __init__(self, log: LogClient, link: PageLink, paths: Paths, *, clean: bool) -> None:
        """clean: see `ended_well`."""
        self._log = log
        self._link = link
        self._paths = paths
        self._unread = "" if clean else "the log did not end with a stop and is being read whole"

    @property
    def problem(self) -> str:
        """Why nobody may arm."""
        if self._log.failure is not None:
            return self._log.failure.sentence()
        if self._log.reserve.missing:
            return f"the disk reserve for exits is not there: {self._log.reserve.why}"
        if self._link.store_failed():
            return "the log's disk failed in this boot; arming needs a reboot"
        return self._unread

    @property
    def whole(self) -> bool:
        """The log ended well or verified, and its disk did not fail in this boot: it may be pruned."""
        return not (self._unread or self._log.failure is not None or self._link.store_failed())

    @property
    def unverified(self) -> bool:
        """The log did not end well, and is not read whole yet or does not verify. The next start reads it."""
        return bool(self._unread)

    def note_failure(self) -> None:
        """The log failed: remembered until the next boot if its disk did, not if its process was killed."""
        if self._log.disk_failed:
            self._link.mark_store_failed()

    async def read_whole(self) -> tuple[TripReason, str] | None:
        """Verifies the log if that is needed. None if nothing is wrong; else what trips, and why: the log was
        read and contradicts itself (DATA_INTEGRITY), or could not be read (AUDIT_STORE)."""
        if not self._unread:
            return None
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "appliance", "verify", "--no-color"),
            *("--state", str(self._paths.state), "--runtime", str(self._paths.runtime)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=_PACKAGE_ROOT,
            preexec_fn=_lower,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == ExitCode.OK:
            self._unread = ""
            return None
        self._unread = said.decode("utf-8", "replace").strip()[-400:] or f"exit code {process.returncode}"
        if process.returncode == ExitCode.SAID_NO and NOT_VERIFIED.encode() in said:
            return TripReason.DATA_INTEGRITY, f"the log does not verify: {self._unread[-200:]}"
        return TripReason.AUDIT_STORE, f"the log cannot be read: {self._unread[-200:]}"


def _lower() -> None:
    with contextlib.suppress(OSError):  # the unit's system call filter refuses it: then at normal priority
        os.nice(_LOWER)
