"""A paper venue that ends under a running appliance: breaker, hold, log, page and metrics, and back.

Real processes and real time; with settings under which one failure opens, so that a short outage is enough.
The venue is asked to end, not killed: a killed one forgets market steps it had not written yet, and its
account then disagrees with ours, which trips.
"""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path

from tests.box import Box
from tests.processes import Child, running, until

TIGHT = {
    'speed = "60 d/s"': 'speed = "200 d/s"',
    "window_calls = 20": "window_calls = 1",
    "min_calls = 5": "min_calls = 1",
    'open_above = "50 %"': 'open_above = "0 %"',
    'cooldown = "10 s"': 'cooldown = "1 s"',
    "successes = 2": "successes = 1",
}


def _venue_pid(up: Child) -> int:
    """The supervisor's own child, by its command line."""
    for child in Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
        if b"paper-venue" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("no paper venue")


def _metric(box: Box, series: str) -> float:
    link = http.client.HTTPConnection("127.0.0.1", box.port, timeout=5)
    try:
        link.request("GET", "/metrics", headers={"Host": "127.0.0.1"})
        lines = link.getresponse().read().decode().splitlines()
    finally:
        link.close()
    (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{series} ")]
    return float(value)


def test_a_venue_that_ends_opens_the_breaker_and_one_that_is_back_closes_it(tmp_path: Path) -> None:
    """One failed step of the market: a hold while it is open, and the replay goes on by itself."""
    box = Box(tmp_path, TIGHT)
    with running(box.up(), tmp_path / "up.log") as up:
        until(lambda: box.mode() == "NORMAL" or up.process.poll() is not None, "NORMAL", 60)
        until(lambda: box.done() > 300, f"the replay\n{up.output()}", 60)
        os.kill(_venue_pid(up), signal.SIGTERM)
        until(lambda: _state(box) == "degraded", "the part shown as degraded", 15)
        stood = box.done()
        until(lambda: box.done() > stood + 100, "the replay going on", 60)
        until(lambda: _state(box) == "ok" and not _held(box), "no hold, and nothing open", 20)
        assert box.mode() == "NORMAL", "a breaker is no trip"
        assert _metric(box, 'interlock_breaker_openings_total{component="market"}') >= 1
        assert _metric(box, 'interlock_breaker_state{component="market",state="CLOSED"}') == 1
        assert up.stop() == 130
    went = [entry["to"] for entry in box.entries("breaker") if entry["component"] == "market"]
    assert went[:2] == ["OPEN", "HALF_OPEN"]
    assert went[-1] == "CLOSED"
    causes = [entry["cause"] for entry in box.entries("hold")]
    assert "BREAKER" in causes
    assert causes.count("BREAKER") == [entry["cause"] for entry in box.entries("hold_end")].count("BREAKER")
    box.verified()


def _state(box: Box) -> str:
    status = box.status()
    return next(part.state for part in status.parts if part.name == "breakers") if status is not None else ""


def _held(box: Box) -> bool:
    status = box.status()
    return status is None or any(hold.cause == "BREAKER" for hold in status.holds)
