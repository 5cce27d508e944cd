"""One appliance of real processes for tests: its directories, its commands, what its page and log say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from appliance.audit.records import decode_entry
from appliance.domain.status import Status
from appliance.runtime.guard_link import Glance
from appliance.runtime.supervise import fetch_status
from appliance.storage.log_reader import LogReader
from tests.ports import free_ports, with_ports
from tests.processes import ROOT


class Box:
    """State and run-time directories of one appliance."""

    def __init__(self, root: Path, changes: dict[str, str] | None = None) -> None:
        self.state, self.runtime, self.root = root / "state", root / "run", root
        self.where = ["--state", str(self.state), "--runtime", str(self.runtime)]
        self.config = self.state / "interlock.toml"
        assert self.interlock("init").returncode == 0
        self.port = with_ports(self.config, free_ports(3))
        text = self.config.read_text()
        for old, new in (changes or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text)

    def interlock(self, verb: str, *more: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
        """Runs one command to its end."""
        command = [sys.executable, "-m", "appliance", *verb.split(), *self.where, *more]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, **keywords
        )

    def up(self, *more: str) -> list[str]:
        """Command line of the supervisor."""
        return ["appliance", "up", *self.where, *more]

    def status(self) -> Status | None:
        """The core's picture."""
        return fetch_status("127.0.0.1", self.port)

    def mode(self) -> str:
        """The mode on the page; empty while nobody answers."""
        status = self.status()
        return status.mode if status is not None else ""

    def lamps(self) -> list[str]:
        """Patterns green, yellow, red as the page shows them."""
        status = self.status()
        return [lamp.pattern for lamp in status.lamps] if status is not None else []

    def ready_for_a_step(self) -> bool:
        """Nothing but the arm press is missing."""
        status = self.status()
        return status is not None and not status.missing

    def done(self) -> int:
        """Observations replayed."""
        status = self.status()
        return status.progress.done if status is not None else 0

    def replay_state(self) -> str:
        """What the replay is doing, in the page's words."""
        status = self.status()
        return status.progress.state if status is not None else ""

    def core_pid(self) -> int:
        """The core's process, as its page says."""
        return Glance(self.runtime).core_words()["PID"]

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Data of every entry of one kind."""
        reader = LogReader(self.state / "log")
        try:
            return [dict(decode_entry(entry.body).data) for entry in reader.entries_of_kind(kind)]
        finally:
            reader.close()

    def held(self) -> dict[str, int]:
        """Positions by the venue's own order log, the judge."""
        positions: dict[str, int] = {}
        for entry in self.entries("fill"):
            sign = 1 if entry["side"] == "BUY" else -1
            positions[entry["instrument"]] = positions.get(entry["instrument"], 0) + sign * int(
                entry["raw"]["qty"]
            )
        return {symbol: qty for symbol, qty in positions.items() if qty}

    def verified(self) -> dict[str, Any]:
        """The report of `interlock verify`, which must be content."""
        found = self.interlock("verify", "--json")
        report: dict[str, Any] = json.loads(found.stdout)
        assert found.returncode == 0, report
        return report
