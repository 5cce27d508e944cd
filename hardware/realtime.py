"""Real-time priority and locked memory, asked for and reported, never assumed (SAFETY 3, TOOLCHAIN 6)."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
SWITCH_INTERVAL_S = 0.0001


def go_realtime(priority: int) -> str:
    """Puts the calling thread under SCHED_FIFO. Returns "" or the reason it was refused."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        return f"no SCHED_FIFO {priority}: {error.strerror}"
    return ""


def leave_realtime() -> None:
    """Takes the calling thread back to normal priority: helper threads must not compete with the loop."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def lock_memory() -> str:
    """mlockall for what is touched now and later. Returns "" or the reason it was refused.

    Pages are locked as they are used (MCL_ONFAULT), not every mapped library whole.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return f"memory not locked: {os.strerror(ctypes.get_errno())}"
    return ""


def quiet_interpreter() -> None:
    """No garbage collection pauses, and a helper thread that holds the GIL gives it back after 0.1 ms."""
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
