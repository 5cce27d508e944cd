"""The systemd units: every key is known, nothing is misspelt, and each is well confined (TOOLCHAIN 11)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.domain.exit_codes import NO_RESTART
from tests.rules.source import ROOT

UNITS = sorted((ROOT / "systemd").glob("*.service"))
EXPOSURE_MAX = 1.8

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed on this machine"
)


def _runnable(unit: Path, folder: Path) -> Path:
    """`verify` fails when the program is absent and passes over a misspelt key: only stderr tells both."""
    text = re.sub(r"(?m)^(Exec\w+=-?).*", r"\1/bin/true", unit.read_text())
    copy = folder / unit.name
    copy.write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
    return copy


def _value(text: str, key: str) -> str:
    match = re.search(rf"(?m)^{key}=(.*)$", text)
    assert match, key
    return match[1]


@needs_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_verifies_without_a_word(unit: Path, tmp_path: Path) -> None:
    """Exit 0 is not enough: a misspelt key is only a warning."""
    command = ["systemd-analyze", "verify", str(_runnable(unit, tmp_path))]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


@needs_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_confined(unit: Path, tmp_path: Path) -> None:
    """Overall exposure by systemd's own measure; a bare unit scores 9.2."""
    command = ["systemd-analyze", "security", "--offline=true", str(_runnable(unit, tmp_path))]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"exposure level for \S+: ([0-9.]+)", found.stdout)
    assert match, found.stderr
    assert float(match[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_restart_policy_cannot_loop_on_configuration(unit: Path) -> None:
    """RestartPreventExitStatus is the exit codes a restart cannot mend (CONVENTIONS)."""
    codes = " ".join(str(int(code)) for code in sorted(NO_RESTART))
    assert f"RestartPreventExitStatus={codes}\n" in unit.read_text()


@pytest.mark.safety("S3.19", "S3.20")
def test_the_core_wants_the_guard_and_never_requires_it() -> None:
    """SAFETY 3: cancels must still be possible while the guard is down."""
    text = (ROOT / "systemd" / "interlock-core.service").read_text()
    assert "Wants=interlock-guard.service" in text
    assert not re.search(r"(?m)^(Requires|BindsTo|Requisite)=.*interlock-guard", text)
    watchdog, stop = (int(_value(text, key)) for key in ("WatchdogSec", "TimeoutStopSec"))
    assert watchdog <= 5
    assert stop >= 60


@pytest.mark.safety("S10.3")
def test_the_core_may_ask_for_the_clock_and_never_set_it() -> None:
    """ProtectClock= would refuse both; what sets a clock needs CAP_SYS_TIME, which is taken away for good."""
    text = (ROOT / "systemd" / "interlock-core.service").read_text()
    assert _value(text, "ProtectClock") == "no"
    filters = re.findall(r"(?m)^SystemCallFilter=(.*)$", text)
    assert filters[-1] == "adjtimex clock_adjtime", "after the line that takes @privileged away"
    assert "clock_settime" not in text
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert _value(text, key) == ""
    assert _value(text, "NoNewPrivileges") == "yes"


@pytest.mark.safety("S3.17", "S11.3")
def test_the_guard_gets_what_it_asks_for() -> None:
    """Real-time priority, locked memory, and the last place in the queue of the out-of-memory killer."""
    text = (ROOT / "systemd" / "interlock-guard.service").read_text()
    assert _value(text, "LimitMEMLOCK") == "infinity"
    assert _value(text, "OOMScoreAdjust") == "-1000"
    assert _value(text, "PrivateNetwork") == "yes"
    assert _value(text, "DeviceAllow") == "char-gpiochip rw"
    assert int(_value(text, "LimitRTPRIO")) >= 50
    assert "ExecStopPost=" in text
