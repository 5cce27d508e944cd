"""Exit codes people and systemd can rely on (CONVENTIONS). Numbers follow sysexits.h where it has one."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """`RestartPreventExitStatus=2 75 77 78` in the units: a restart cannot mend those."""

    OK = 0
    SAID_NO = 1  # the check ran and its answer is no (verify, doctor)
    USAGE = 2
    UNAVAILABLE = 69  # a peer or the guard is missing
    INVARIANT = 70
    CANNOT_CREATE = 73
    STORE = 74
    BUSY = 75  # port in use, or a second instance
    NO_PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130


NO_RESTART: frozenset[ExitCode] = frozenset(
    {ExitCode.USAGE, ExitCode.BUSY, ExitCode.NO_PERMISSION, ExitCode.CONFIG}
)
