"""Reads CLOCK_BOOTTIME, UTC and what the kernel knows about synchronisation (SAFETY 10).

`adjtimex` with nothing to set needs no privilege. glibc makes the system call clock_adjtime of it: the unit
must let both through its filter, and systemd's ProtectClock= lets neither (it cannot tell reading from
setting). A call that is refused counts as not synchronised.
"""

from __future__ import annotations

import ctypes
import os
import time

from appliance.safety.clock_watch import ClockReading

STA_UNSYNC, STA_CLOCKERR = 0x0040, 0x1000
TIME_ERROR = 5
MAX_ERROR_US = 2_000_000
"""The kernel adds 500 µs for each second since a time service last set the clock, and gives up (STA_UNSYNC)
at 16 s, 9 h later. systemd-timesyncd asks at least every 2,048 s (1.02 s more): at 2 s it missed one."""

_TRIES = 5
_TIGHT_NS = 20_000  # both clocks read within this: no other process came between


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>; spare is longer than any kernel's, so that nothing is overwritten."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 64),
    )


def read_kernel_clock() -> ClockReading:
    """One reading. Never raises: what cannot be known is not synchronised."""
    boot_ns, utc_ns = read_both()
    synchronised, detail = read_synchronisation()
    return ClockReading(boot_ns, utc_ns, synchronised, detail)


def read_both() -> tuple[int, int]:
    """(CLOCK_BOOTTIME, UTC) of one moment: of a few tries the one with the least time in between."""
    found: list[tuple[int, int, int]] = []
    while len(found) < _TRIES and not (found and found[-1][0] <= _TIGHT_NS):
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        utc_ns = time.time_ns()
        after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found.append((after_ns - before_ns, (before_ns + after_ns) // 2, utc_ns))
    _, boot_ns, utc_ns = min(found)
    return boot_ns, utc_ns


def read_synchronisation() -> tuple[bool, str]:
    """Whether a time service keeps UTC right, and in words why or why not."""
    timex = _Timex()
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError) as error:
        return False, f"the kernel cannot be asked whether the clock is synchronised ({error})"
    ctypes.set_errno(0)
    state = call(ctypes.byref(timex))
    if state < 0:
        why = os.strerror(ctypes.get_errno())
        return False, f"the kernel refuses to say whether the clock is synchronised (adjtimex: {why})"
    return judge(state, timex.status, timex.maxerror)


def judge(state: int, status: int, max_error_us: int) -> tuple[bool, str]:
    """What adjtimex answered: return value, status bits, largest error in microseconds."""
    if status & STA_UNSYNC:
        return False, "no time service keeps the clock right (STA_UNSYNC; chrony needs its rtcsync)"
    if status & STA_CLOCKERR or state == TIME_ERROR:
        return False, f"the kernel reports an error of its clock (status {status:#x})"
    if not 0 <= max_error_us <= MAX_ERROR_US:
        limit_s = MAX_ERROR_US // 1_000_000
        return False, f"no time service has set the clock lately: it may be wrong by more than {limit_s} s"
    return True, "synchronised"
