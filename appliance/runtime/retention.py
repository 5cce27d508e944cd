"""When the log may seal and prune what is old, and what became of it (SAFETY 8, AUDIT).

`[audit] keep` says how long the bodies of entries stay in the database and in published bundles; without it
nothing is ever sealed or pruned. The log writer does it, and checks the pinned witness's co-signature itself;
what is decided here is only whether now is the time. It is not while anything is tripped or in EMERGENCY, the
log is not known to be whole, its disk failed in this boot, the clock is not trusted, or the witness shows
another history. A disk at 80 % of its quota makes it faster, and never lets it touch anything younger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from appliance.domain.errors import ConfigError
from appliance.domain.mode import Mode
from appliance.ports import Scribe
from appliance.runtime.config import Config
from appliance.runtime.disk_watch import DiskWatch
from appliance.runtime.logs import Log
from appliance.safety.controller import SafetyController
from appliance.safety.disk import DiskLevel
from appliance.storage.log_client import LogClient
from appliance.storage.log_wire import Retained

LOOK_S = 1.0
RENEW_NS = 10_000_000_000
LEAST_NS = 3_600_000_000_000


def keep_ns(config: Config) -> int | None:
    """`[audit] keep`; None without one. Raises ConfigError below an hour."""
    keep = config.audit.keep
    if keep is not None and keep < LEAST_NS:
        do = 'set keep = "30 d", or leave it out'
        raise ConfigError("audit.keep cannot be used", "the least is 1 h", do)
    return None if keep is None else int(keep)


class RetentionLoop:
    """Owned by the event loop. why_not: why nothing may be pruned now, as far as other parts know."""

    def __init__(
        self,
        keep: int | None,
        log: LogClient,
        safety: SafetyController,
        disk: DiskWatch,
        why_not: Callable[[], str],
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """keep: of `keep_ns`."""
        self._keep = keep
        self._log = log
        self._safety = safety
        self._disk = disk
        self._why_not = why_not
        self._utc_ns = utc_ns
        self._given_ns = 0  # when leave was last given, by the event loop's clock; 0: it is not given

    async def run(self) -> None:
        """For ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Gives leave, renews it, or takes it back."""
        if self._keep is None:
            return
        now_ns = time.monotonic_ns()
        if self.forbidden():
            if self._given_ns:
                self._log.retain(0)
                self._given_ns = 0
        elif not self._given_ns or now_ns - self._given_ns >= RENEW_NS:
            hurry = self._disk.picture().level != DiskLevel.OK
            self._log.retain(max(1, self._utc_ns() - self._keep), hurry=hurry)
            self._given_ns = now_ns

    def forbidden(self) -> str:
        """Why nothing may be sealed or pruned now, or ""."""
        if self._safety.mode is Mode.EMERGENCY or self._safety.standing_trip() is not None:
            return "tripped"
        return self._why_not()


def note_retained(scribe: Scribe, log: Log) -> Callable[[Retained], None]:
    """For the log client: every pass that did something, or could not, is an entry and a line."""

    def note(told: Retained) -> None:
        data: dict[str, object] = {"sealed": told.sealed, "pruned": told.pruned}
        if told.problem:
            log.error("retention", "stopped", why=told.problem)
            data["problem"] = told.problem
        scribe.note("retention", data)

    return note
