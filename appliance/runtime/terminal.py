"""What people see on a terminal: progress as a bar with rate and ETA, colour only where it is wanted."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO

from appliance.domain.status import Status

_CODES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}
_MODE_STYLE = {"NORMAL": "green", "PAUSED": "yellow", "REDUCED": "yellow", "EMERGENCY": "red"}
LINE_EVERY_S = 10.0


class Terminal:
    """stderr for what happens, stdout for what was asked for."""

    def __init__(self, *, color: bool, quiet: bool, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self.live = self._stream.isatty()
        self._color = color and self.live and not os.environ.get("NO_COLOR")
        self._quiet = quiet
        self._bar_shown = False
        self._last_line = 0.0
        self._last_mode = ""

    def style(self, text: str, style: str) -> str:
        """Coloured or bold, where that is wanted."""
        return f"\033[{_CODES[style]}m{text}\033[0m" if self._color else text

    def say(self, text: str = "") -> None:
        """One line; a bar on the screen moves below it."""
        if self._quiet:
            return
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def transient(self, text: str) -> None:
        """A line that the next one replaces, on a terminal only; empty takes it away."""
        if self._quiet or not self.live:
            return
        self._clear()
        if text:
            self._stream.write("\r" + text)
            self._stream.flush()
            self._bar_shown = True

    def progress(self, status: Status) -> None:
        """A bar on a terminal, one line every 10 s elsewhere; a change of mode is always said."""
        if status.mode != self._last_mode:
            self._last_mode = status.mode
            self._mode(status)
        if self._quiet:
            return
        if self.live:
            self._clear()
            self._stream.write("\r" + self._bar(status))
            self._stream.flush()
            self._bar_shown = True
        elif time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            self.say(self._bar(status))

    def _mode(self, status: Status) -> None:
        text = self.style(status.mode, _MODE_STYLE.get(status.mode, "bold"))
        if status.trip is None:
            self.say(f"mode {text}")
            return
        self.say(f"mode {text}: {status.trip.reason}. To end it: {status.trip.recovery}")

    def _bar(self, status: Status) -> str:
        progress = status.progress
        date = time.strftime("%Y-%m-%d", time.gmtime(int(progress.market_ns) // 10**9))
        share = progress.done * 1000 // progress.total if progress.total else 0
        eta = f"{progress.eta_s // 60}:{progress.eta_s % 60:02d} left" if progress.eta_s >= 0 else "waiting"
        if progress.state == "finished":
            eta = "finished"
        tail = f" {share / 10:5.1f} %  {date}  {progress.rate}/s  {eta}  {status.mode}"
        width = max(10, min(40, shutil.get_terminal_size().columns - len(tail) - 3))
        full = share * width // 1000
        return f"[{'#' * full}{'-' * (width - full)}]{tail}"

    def _clear(self) -> None:
        if self._bar_shown:
            self._stream.write("\r\033[K")
            self._bar_shown = False
