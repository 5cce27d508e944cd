"""Samples → percentiles → one line of the result."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One measured case. Times are in `unit`; peer is what it is compared with in the same run."""

    case: str
    unit: str
    n: int
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None
    per_s: float | None = None
    peer: str | None = None
    peer_p50: float | None = None
    ratio: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def case_of(name: str, samples_ns: Sequence[int], *, unit: str = "us", **more: Any) -> Case:
    """Percentiles of nanosecond samples, in microseconds."""
    ordered = sorted(samples_ns)
    count = len(ordered)

    def at(share: float) -> float:
        return round(ordered[min(count - 1, int(count * share))] / 1000, 3)

    more.setdefault("per_s", round(count / (sum(ordered) / 1e9)) if sum(ordered) else None)
    return Case(name, unit, count, at(0.5), at(0.99), at(0.999), round(ordered[-1] / 1000, 3), **more)


def with_peer(case: Case, peer: str, peer_p50: float) -> Case:
    """The same case, compared."""
    ratio = round(case.p50 / peer_p50, 3) if case.p50 is not None and peer_p50 else None
    return Case(**{**asdict(case), "peer": peer, "peer_p50": peer_p50, "ratio": ratio})


def repeat(work: Callable[[], object], count: int) -> list[int]:
    """Times `count` calls one by one."""
    clock = time.perf_counter_ns
    samples = [0] * count
    for index in range(count):
        started = clock()
        work()
        samples[index] = clock() - started
    return samples


def machine() -> str:
    """What it ran on, and how busy that was."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    load = "/".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{model}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}"


def table(found: dict[str, Any]) -> str:
    """For people."""
    head = f"{found['bench']} on {found['machine']}\n"
    columns = ("case", "n", "p50", "p99", "p999", "max", "per_s", "peer_p50", "ratio", "unit")
    rows = [["-" if case[c] is None else str(case[c]) for c in columns] for case in found["cases"]]
    widths = [max(len(c), *(len(row[i]) for row in rows)) for i, c in enumerate(columns)]
    lines = [_aligned(columns, widths), *(_aligned(row, widths) for row in rows)]
    peers = [f"  {case['case']}: compared with {case['peer']}" for case in found["cases"] if case["peer"]]
    return head + "\n".join(lines + peers)


def _aligned(values: Sequence[str], widths: Sequence[int]) -> str:
    """First column to the left, numbers to the right."""
    first, *rest = zip(values, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(value.rjust(width) for value, width in rest)])
