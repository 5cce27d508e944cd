"""Bad input, as a person meets it: WHAT. WHY (place). DO: command; exit code; nothing half-written."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.market.samples import FOLDER
from appliance.runtime.guard_link import Glance
from appliance.storage.log_reader import LogReader
from tests.ports import free_ports, with_ports
from tests.processes import ROOT, running, until

SENTENCE = re.compile(r"^interlock: [^\n]+\. .*DO: .+", re.MULTILINE)


class Box:
    """An appliance that is initialised but not running."""

    def __init__(self, root: Path, *, init: bool = True) -> None:
        self.root, self.state, self.runtime = root, root / "state", root / "run"
        self.where = ["--state", str(self.state), "--runtime", str(self.runtime)]
        self.config = self.state / "interlock.toml"
        if init:
            assert self.run("init").returncode == 0
            self.port = with_ports(self.config, free_ports(3))

    def run(self, verb: str, *more: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        command = [sys.executable, "-m", "appliance", *verb.split(), *self.where, *more]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **keywords
        )

    def change(self, old: str, new: str) -> None:
        """Edits the configuration."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new, 1))

    def feed(self, path: Path, interval: str = "1 d") -> None:
        """Replays one file instead of the samples."""
        text = self.config.read_text()
        head, tail = text.index("[[feed.source]]"), text.index("[venue]")
        keys = ("instrument", "SPX"), ("format", "ohlcv"), ("file", path), ("interval", interval)
        source = "[[feed.source]]\n" + "".join(f'{key} = "{value}"\n' for key, value in keys) + "\n"
        self.config.write_text(text[:head] + source + text[tail:])

    def log_size(self) -> int:
        """Entries in the audit log."""
        reader = LogReader(self.state / "log")
        try:
            return reader.size()
        finally:
            reader.close()


def _refused(found: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    assert found.returncode == code, found.stderr
    assert SENTENCE.search(found.stderr), found.stderr
    assert "Traceback" not in found.stderr
    for text in says:
        assert text in found.stderr


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box."""
    return Box(tmp_path)


@pytest.mark.parametrize(
    "verb",
    [
        "up",
        "run --unattended",
        "replay --unattended",
        "paper-venue",
        "collector",
        "guard",
        "verify",
        "audit tail",
    ],
)
def test_without_init_nothing_starts(tmp_path: Path, verb: str) -> None:
    """The daemon never creates its own trust or ledger store."""
    box = Box(tmp_path, init=False)
    _refused(box.run(verb), 78, "interlock init")
    assert not box.state.exists()


@pytest.mark.safety("S6.9")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("position_cap", "positon_cap", ["limits.positon_cap", "interlock.toml:", "write 'position_cap'"]),
        ('daily_loss = "3 %"', "daily_loss = 3", ["limits.daily_loss", "eeds a unit", "interlock.toml:"]),
        (
            'drawdown = "15 %"                  # below',
            "# below",
            ["lacks limits.drawdown", "interlock.toml:"],
        ),
        ('collar = "5 %"', 'collar = "5 USD"', ["instruments.SPX.limits.collar", "'USD'"]),
        ("[log]", "[logs]", ["logs", "write 'log'"]),
        ("[box]", "[box", ["no TOML"]),
        (
            'instrument = "SPX"\nformat',
            'instrument = "DAX"\nformat',
            ["feed.source.0", "'DAX'", "SPX, NDX, WTI"],
        ),
        ('kind = "trend"', 'kind = "trendy"', ["no strategy 'trendy'", "write 'trend'"]),
        ("fast = 20", "fast = 60", ["trend", "fast"]),
        ('sample = "spx"', 'sample = "dax"', ["no sample 'dax'", "spx"]),
        ('kind = "paper"', 'kind = "binance"', ["venue.kind", "'binance'"]),
        ('tick = "0.01"', 'tick = "0.001"', ["instruments.SPX"]),
        ('speed = "60 d/s"', 'speed = "fast"', ["feed.speed"]),
        ('currency = "USD"', 'currency = "EUR"', ["instruments.SPX.currency"]),
        ('allocation = "9500 USD"', 'allocation = "2000000 USD"', ["allocations", "exceed the account"]),
    ],
)
def test_a_wrong_configuration_is_refused(box: Box, old: str, new: str, says: list[str]) -> None:
    """File, line, key, nearest valid key; exit 78, and the log is not touched."""
    box.change(old, new)
    before = box.log_size()
    found = box.run("replay", "--unattended")
    _refused(found, 69 if "sample" in says[0] else 78, *says)
    assert box.log_size() == before


SPX = (FOLDER / "spx.csv.gz").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cut.csv.gz", SPX[: len(SPX) // 2], ["cut.csv.gz"]),
        ("flipped.csv.gz", SPX[:5000] + bytes([SPX[5000] ^ 1]) + SPX[5001:], ["flipped.csv.gz"]),
        ("nan.csv", b"date,open,high,low,close\n2020-01-01,1,1,1,1\n2020-01-02,NaN,1,1,1\n", ["nan.csv:3"]),
        ("back.csv", b"date,open,high,low,close\n2020-01-02,1,1,1,1\n2020-01-01,1,1,1,1\n", ["back.csv:3"]),
        ("text.csv", b"date,open,high,low,close\n2020-01-01,1,1,1,one\n", ["text.csv:2"]),
        ("short.csv", b"date,open,high,low,close\n2020-01-01,1,1\n", ["short.csv:2"]),
        ("fine.csv", b"date,open,high,low,close\n2020-01-01,1.001,1,1,1\n", ["fine.csv:2"]),
        ("empty.csv", b"", ["empty.csv"]),
        ("binary.csv", bytes(range(256)), ["binary.csv"]),
    ],
)
def test_a_replay_file_that_cannot_be_used(box: Box, name: str, content: bytes, says: list[str]) -> None:
    """Read to its end before the first row is used: nothing of it reaches strategies or log."""
    (box.root / name).write_bytes(content)
    box.feed(box.root / name)
    before = box.log_size()
    found = box.run("replay", "--unattended")
    assert found.returncode == 69, found.stderr
    assert found.stderr.startswith("interlock: ")
    for text in says:
        assert text in found.stderr
    assert box.log_size() == before


@pytest.mark.parametrize("row", ["-1,1,-1,1", "0,0,0,0", "5,4,3,5", "100,900,90,500"])
def test_prices_that_cannot_be_are_counted_and_kept_from_everything(box: Box, row: str) -> None:
    """Negative, zero, outside their own range, absurd jumps: the replay goes on, the count is on the page."""
    good = [f"2020-01-{day:02d},{100 + day},{101 + day},{99 + day},{100 + day}" for day in range(1, 10)]
    rows = [
        *good,
        f"2020-01-10,{row}",
        *(f"2020-01-{d},{100 + d},{101 + d},{99 + d},{100 + d}" for d in range(11, 20)),
    ]
    (box.root / "bars.csv.gz").write_bytes(
        gzip.compress(("date,open,high,low,close\n" + "\n".join(rows) + "\n").encode())
    )
    box.feed(box.root / "bars.csv.gz")
    found = box.run("replay", "--unattended", "--speed", "max")
    assert found.returncode == 0, found.stderr
    assert "finished observations=18" in found.stderr


def test_a_file_that_is_not_there(box: Box) -> None:
    """Says which."""
    box.feed(box.root / "missing.csv")
    found = box.run("replay", "--unattended")
    assert found.returncode == 69
    assert "missing.csv" in found.stderr


def test_a_port_in_use(box: Box) -> None:
    """Exit 75, for page, collector and paper venue."""
    numbers = re.findall(r"(?m)^(?:port|collector_port) = (\d+)", box.config.read_text())
    venue, collector, page = (int(number) for number in numbers)
    for port, verb in ((page, "replay --unattended"), (collector, "collector"), (venue, "paper-venue")):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            _refused(box.run(verb), 75, str(port))
            found = box.run("up --no-arm")
            _refused(found, 75, str(port))
            assert "running" not in found.stdout + found.stderr, "nothing was started"


@pytest.mark.safety("S3.1")
def test_a_second_instance_is_refused(box: Box, tmp_path: Path) -> None:
    """One supervisor, one guard and one log writer per appliance."""
    with running(["appliance", "up", *box.where, "--no-arm"], tmp_path / "up.log") as up:
        until(lambda: (Glance(box.runtime).core_age_ns() or 10**18) < 10**9, "a running core")
        _refused(box.run("up"), 75, "runs already")
        found = box.run("guard")
        assert (found.returncode, "another guard runs" in found.stderr) == (75, True)
        before = Glance(box.runtime).core_words()
        second = box.run("replay", "--unattended")
        assert second.returncode == 75, second.stderr
        after = Glance(box.runtime).core_words()
        assert [after[word] for word in ("GENERATION", "PID")] == [
            before[word] for word in ("GENERATION", "PID")
        ], "one writer each: it was refused before it touched the running core's page (SAFETY 3)"
        assert up.process.poll() is None


@pytest.mark.safety("S6.13", "HW-01")
def test_without_a_guard_the_core_says_so(box: Box) -> None:
    """Exit 69; with --unattended it goes on with the gate shut and counts the denials."""
    _refused(box.run("replay"), 69, "the guard does not run", "interlock guard")
    found = box.run("replay", "--unattended", "--speed", "max")
    assert found.returncode == 0, found.stderr
    reader = LogReader(box.state / "log")
    reasons = [entry.body for entry in reader.entries_of_kind("verdict")]
    reader.close()
    assert len(reasons) > 100
    assert all(b"GUARD_MISSING" in body for body in reasons)


@pytest.mark.safety("S3.21", "HW-24")
def test_a_dead_collector_costs_the_co_signature_and_nothing_else(box: Box) -> None:
    """Nobody listens there: the replay runs, the log is complete and verifies."""
    found = box.run("replay", "--unattended", "--speed", "max")
    assert found.returncode == 0, found.stderr
    verified = box.run("verify")
    assert verified.returncode == 0, verified.stdout
    assert "witnessed  0 entries" in verified.stdout


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Exit 73: a file is in the way."""
    (tmp_path / "state").write_text("in the way")
    box = Box(tmp_path, init=False)
    _refused(box.run("init"), 73, "state")
    assert (tmp_path / "state").read_text() == "in the way"


@contextmanager
def _read_only(directory: Path) -> Iterator[None]:
    """The directory as it looks to somebody who may not write: mode bits, or a read-only mount for root."""
    if os.getuid() != 0:
        directory.chmod(0o500)
        yield
        directory.chmod(0o700)
        return
    bind = ["mount", "--bind", str(directory), str(directory)]
    if shutil.which("mount") is None or subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("root may write anywhere here, and this machine does not let it mount read-only")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(directory)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("verb", ["up", "replay --unattended", "collector", "paper-venue"])
def test_a_state_directory_that_cannot_be_written(box: Box, verb: str) -> None:
    """Exit 77, and nothing is half-written."""
    before = box.log_size()
    with _read_only(box.state):
        _refused(box.run(verb), 77, "cannot be written", str(box.state))
    assert box.log_size() == before


def test_reset_moves_the_state_aside_and_keeps_the_log(box: Box) -> None:
    """`init --reset` never deletes: the old log verifies where it now lies."""
    assert box.run("replay", "--unattended", "--speed", "max").returncode == 0
    size = box.log_size()
    assert box.run("init", "--reset").returncode == 0
    (aside,) = [path for path in box.root.iterdir() if path.name.startswith("state.")]
    assert box.log_size() == 0
    reader = LogReader(aside / "log")
    assert reader.size() == size
    reader.close()
    moved = [sys.executable, "-m", "appliance", "verify", "--state", str(aside)]
    assert subprocess.run(moved, cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_init_twice_changes_nothing(box: Box) -> None:
    """Keys and log stay."""
    before = {
        path: path.read_bytes() for path in box.state.rglob("*") if path.is_file() and "db" not in path.name
    }
    found = box.run("init")
    assert found.returncode == 0
    assert "nothing was changed" in found.stderr
    after = {
        path: path.read_bytes() for path in box.state.rglob("*") if path.is_file() and "db" not in path.name
    }
    assert after == before


@pytest.mark.parametrize("arguments", [["frob"], ["board", "push"], ["up", "--sped", "1"], ["audit"]])
def test_a_wrong_command_line(box: Box, arguments: list[str]) -> None:
    """Exit 2 and the usage."""
    found = box.run(" ".join(arguments))
    assert found.returncode == 2
    assert "usage: interlock" in found.stderr


def test_what_a_person_asks_for_the_log(box: Box) -> None:
    """`audit show` explains what it takes, and says what there is instead of an entry there is not."""
    _refused(box.run("audit show", "nonsense"), 2, "no entry number, order id or kind", "trip")
    _refused(box.run("audit show", "999999"), 2, "there is no entry 999999", "the log")
