"""A box for the alerter alone: both pages and the log under the test's hand, and a hook that writes down."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from appliance.audit.records import encode_entry
from appliance.domain.alert import Alert
from appliance.ports import Entry
from appliance.runtime.alerts import Alerter
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.logs import Log
from appliance.runtime.paths import Paths
from appliance.storage.keys import read_signing_key
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from hardware import pages
from hardware.pages import CoreWord, GuardWord
from tests.audit_support import new_log
from tests.processes import until


class World:
    """State and run-time directory with pages of this boot, an armed guard, a beating core and an empty log.

    hook: body of a shell script, "" for none; it finds its alert on standing input and may write to $TOLD,
    which is `told`.
    """

    def __init__(self, root: Path, hook: str = 'cat >> "$TOLD"', **settings: str) -> None:
        self.paths = Paths(root / "state", root / "run")
        self.told = root / "told.jsonl"
        self.where = ["--state", str(self.paths.state), "--runtime", str(self.paths.runtime)]
        self.paths.state.mkdir()
        self.paths.runtime.mkdir(mode=0o700)
        self.settings = new_log(self.paths.state)
        self._store: LogStore | None = None
        self.boot = pages.boot_id()
        pages.create_pages(self.paths.runtime)
        self.guard = pages.PageFile(self.paths.runtime / pages.GUARD_PAGE, writable=True).words
        self.core = pages.PageFile(self.paths.runtime / pages.CORE_PAGE, writable=True).words
        pages.start_page(self.guard, pages.GUARD_LAYOUT, self.boot)
        pages.start_page(self.core, pages.CORE_LAYOUT, self.boot)
        self.arm()
        self.beat()
        self.script = root / "hook"
        if hook:
            self.write_hook(hook)
        self.configure(hook=f'["{self.script}"]' if hook else "[]", **settings)

    def write_hook(self, body: str) -> None:
        """A new file in the old one's place: a hook whose reader was killed may still be about to begin."""
        new = self.script.with_name("hook.new")
        new.write_text(f"#!/bin/sh\nTOLD='{self.told}'\n{body}\n")
        new.chmod(0o755)
        new.replace(self.script)

    def configure(self, **settings: str) -> None:
        """Writes the configuration: the example with other values under [alerts]."""
        head, _, rest = EXAMPLE.read_text().partition("[alerts]")
        _, _, rest = rest.partition("[log]")
        values = {"hook": "[]", "timeout": '"3 s"', "min_interval": '"1 s"', "hold_after": '"1 s"'}
        lines = "".join(f"{name} = {value}\n" for name, value in (values | settings).items())
        self.paths.config.write_text(f"{head}[alerts]\n{lines}\n[log]{rest}")

    def alerter(self) -> Alerter:
        """An alerter of this process, prepared."""
        alerter = Alerter(load_config(self.paths.config), self.paths, Log("json"))
        self.paths.alert_board.parent.mkdir(mode=0o700, exist_ok=True)
        alerter.prepare()
        return alerter

    def arm(self, epoch: int = 5) -> None:
        """The gate is open."""
        self.guard[GuardWord.REASON] = self.guard[GuardWord.LATER] = 0
        self.guard[GuardWord.STATE] = self.guard[GuardWord.ARMED] = epoch
        self.guard[GuardWord.COMPLEMENT] = epoch ^ pages.WORD_MASK

    def trip(self, reason: int = 1) -> None:
        """As the guard trips: reason, then the epoch; stored at once."""
        self.guard[GuardWord.TRIP_NS] = time.monotonic_ns()
        self.guard[GuardWord.REASON] = self.guard[GuardWord.LAST] = reason
        self.guard[GuardWord.STATE] += 1
        self.guard[GuardWord.STORED] = self.guard[GuardWord.STATE]

    def beat(self) -> None:
        """Both heartbeats, as if there were no end of them: no test depends on how long it takes."""
        for words, word in ((self.guard, GuardWord.HEARTBEAT_NS), (self.core, CoreWord.HEARTBEAT_NS)):
            words[word] = time.monotonic_ns() + 3_600_000_000_000

    def write(self, kind: str, **data: object) -> int:
        """One more entry in the log, durable; its index."""
        if self._store is None:
            directory, key = self.settings.directory, self.settings.key_file
            self._store = LogStore(directory, read_signing_key(key))
        index = self._store.size
        entry = Entry(kind=kind, utc_ns=time.time_ns(), mono_ns=time.monotonic_ns(), data=data)
        row = EntryRow(kind, entry.utc_ns, None, encode_entry(index, "core", index, entry))
        self._store.commit([Append(index, "core", index + 1, (row,), ())])
        return index

    def close(self) -> None:
        """Lets go of the log."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def heard(self) -> list[dict[str, Any]]:
        """What the hook wrote down, whole lines only."""
        text = self.told.read_text() if self.told.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def kinds(self) -> list[tuple[str, str]]:
        """Kind and phase of each."""
        return [(alert["kind"], alert["phase"]) for alert in self.heard()]


def looked(alerter: Alerter, kind: str, timeout_s: float = 30.0) -> Alert:
    """Looks until an alert of that kind is made."""
    found: list[Alert] = []

    def look() -> bool:
        found.extend(alerter.look())
        return any(alert.kind == kind for alert in found)

    until(look, f"an alert {kind}", timeout_s)
    return next(alert for alert in found if alert.kind == kind)
