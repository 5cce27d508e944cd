"""Share of one processor a waiting appliance takes: guard, core and cancel-only process, each beside a bare
loop that wakes as often and does nothing, in the same seconds. Part of the `kill` benchmark.
"""

from __future__ import annotations

import select
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from sys import executable

from tests.bench.measure import Case
from tests.box import Box
from tests.processes import running, until

BARE_SELECT = "import select\nwhile True: select.select([], [], [], {})"
BARE_ASYNCIO = """
import asyncio
async def main():
    while True: await asyncio.sleep({})
asyncio.run(main())
"""
PARTS = {
    "hardware.main": ("guard", "select loop, 20 ms", BARE_SELECT.format(0.020)),
    "appliance\0run": ("core", "asyncio loop, 50 ms", BARE_ASYNCIO.format(0.050)),
    "appliance\0cancel-only": ("cancel-only process", "select loop, 100 ms", BARE_SELECT.format(0.100)),
}


def _cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _pid(part: str, runtime: Path) -> int:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_text()
            except OSError:
                continue
            if f"-m\0{part}\0" in line and str(runtime) in line:
                return int(process.name)
    raise LookupError(part)


@contextmanager
def _loop(code: str) -> Iterator[int]:
    with Popen([executable, "-c", code]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def run(*, quick: bool) -> list[Case]:
    """Waiting to be armed, nobody at the page."""
    seconds = 3 if quick else 30
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        box = Box(Path(name))
        stack.enter_context(running(box.up("--no-arm"), Path(name) / "up.log"))
        until(lambda: box.mode() == "PAUSED", "PAUSED", 60)
        pids = {part: (_pid(part, box.runtime), stack.enter_context(_loop(PARTS[part][2]))) for part in PARTS}
        select.select([], [], [], 5)  # the start's own work is over
        before = {pid: _cpu_ns(pid) for pair in pids.values() for pid in pair}
        select.select([], [], [], seconds)
        percent = {pid: round((_cpu_ns(pid) - before[pid]) / seconds / 1e7, 3) for pid in before}
    return [
        Case(
            f"{PARTS[part][0]}, idle",
            "% of one CPU",
            seconds,
            percent[pid],
            peer=PARTS[part][1],
            peer_p50=percent[bare],
            ratio=round(percent[pid] / percent[bare], 2) if percent[bare] else None,
        )
        for part, (pid, bare) in pids.items()
    ]
