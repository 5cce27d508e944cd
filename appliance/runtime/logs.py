"""Log lines: `TIME LEVEL part event key=value…`, or the same keys as JSON; never a secret (CONVENTIONS).

With systemd they go to journald as fields, without it to stderr. This is for people who watch a process;
what must be provable is in the audit log.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARN": 4, "ERROR": 3}


class Log:
    """One per process, passed to whoever has something to say."""

    def __init__(self, form: str, *, quiet: bool = False, debug: bool = False) -> None:
        self._json = form == "json"
        self._quiet = quiet
        self._debug = debug
        under_journal = bool(os.environ.get("JOURNAL_STREAM"))
        self._journal: Any = importlib.import_module("systemd.journal") if under_journal else None

    def info(self, part: str, event: str, **fields: object) -> None:
        """Something people watch for."""
        if not self._quiet:
            self._write("INFO", part, event, fields)

    def warn(self, part: str, event: str, **fields: object) -> None:
        """Something that should not be so."""
        self._write("WARN", part, event, fields)

    def error(self, part: str, event: str, **fields: object) -> None:
        """Something that ends a part or the process."""
        self._write("ERROR", part, event, fields)

    def debug(self, part: str, event: str, **fields: object) -> None:
        """Only with --debug."""
        if self._debug:
            self._write("DEBUG", part, event, fields)

    def _write(self, level: str, part: str, event: str, fields: dict[str, object]) -> None:
        if self._journal is not None:
            told = {f"INTERLOCK_{key.upper()}": str(value) for key, value in fields.items()}
            text = f"{part} {event} {_pairs(fields)}".rstrip()
            self._journal.send(text, PRIORITY=_PRIORITY[level], INTERLOCK_PART=part, **told)
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._json:
            keys: dict[str, object] = {"time": stamp, "level": level, "part": part, "event": event}
            line = json.dumps(keys | fields, default=str)
        else:
            line = f"{stamp} {level} {part} {event} {_pairs(fields)}".rstrip()
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _pairs(fields: dict[str, object]) -> str:
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or set(text) & set(' "=\n') else text
