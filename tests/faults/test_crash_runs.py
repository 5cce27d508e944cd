"""kill -9 of real cores that trade: each run a process of its own, on a log and a venue that survive it.

INTERLOCK_CRASH_RUNS sets how many the long lane makes (1,000), INTERLOCK_CRASH_SEED where they begin and
INTERLOCK_LONG_WORKERS how many processes make them (2). Both print the seed of every journey.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.processes import running, until
from tests.venue_hand import ask

RUNS = int(os.environ.get("INTERLOCK_CRASH_RUNS", "1000"))
WORKERS = int(os.environ.get("INTERLOCK_LONG_WORKERS", "2"))
SEED = int(os.environ.get("INTERLOCK_CRASH_SEED", "0")) or secrets.randbelow(10**9) + 1


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[int]:
    """The port of a paper venue of its own process, which survives them all."""
    (port,) = free_ports(1)
    command = ["tests.crash_runs", "venue", str(port), str(tmp_path / "orders.jsonl")]
    with running(command, tmp_path / "venue.log"):
        until(lambda: _answers(port), "the venue answers")
        yield port


def _answers(port: int) -> bool:
    try:
        return bool(ask(port, "GET", "/healthz")["ok"])
    except OSError:
        return False


def _run(venue: int, directory: Path, seeds: list[int], runs: int) -> None:
    """So many runs in a process for each seed; their output is what is printed."""
    with ExitStack() as stack:
        workers = []
        for seed in seeds:
            place = directory / str(seed)
            command = [venue, directory / "orders.jsonl", place, seed, runs]
            made = running(["tests.crash_runs", "runs", *map(str, command)], directory / f"{seed}.log")
            workers.append(stack.enter_context(made))
        codes = [worker.wait(30 + 6.0 * runs) for worker in workers]
    output = "".join(worker.output() for worker in workers)
    print(output)
    assert codes == [0] * len(codes), output
    assert output.count("ok seed") == len(seeds) * -(-runs // 20)


@pytest.mark.safety("S4.5")
def test_killed_cores_leave_a_log_that_equals_the_venue(venue: int, tmp_path: Path) -> None:
    """Twenty of them: nothing lost, nothing sent twice, every book and order the venue's."""
    _run(venue, tmp_path, [20_260_101], 20)


@pytest.mark.long
def test_a_thousand_killed_cores(venue: int, tmp_path: Path) -> None:
    """Likewise, with seeds of their own."""
    _run(venue, tmp_path, [SEED + 10**9 * number for number in range(WORKERS)], -(-RUNS // WORKERS))
