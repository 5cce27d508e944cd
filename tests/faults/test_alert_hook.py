"""The owner's command does everything wrong that a command can do; the next alert leaves all the same."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import msgspec
import pytest

from appliance.domain.alert import Alert, AlertKind
from appliance.runtime.alert_hook import Hook, HookConfig, Outcome, run_hook
from appliance.safety.alerts import trial_alert
from tests.processes import until

ALERT = trial_alert("attic", 1_800_000_000_123_456_789)
LONG_S = 60.0


def script(folder: Path, body: str) -> Path:
    """An executable shell script; it runs in the root directory, so it gets whole paths."""
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def deliver(folder: Path, body: str, timeout_s: float = LONG_S) -> Outcome:
    """One delivery through that script."""
    return run_hook(HookConfig((str(script(folder, body)),), timeout_s, folder), ALERT)


def gone(file: Path) -> bool:
    """The process whose id stands in the file has ended (a zombie has, too)."""
    pid = int(file.read_text())
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_it_reads_one_json_object_with_all_its_keys(tmp_path: Path) -> None:
    """The documented schema: stable keys, nanoseconds as strings, then the end of the input."""
    told = tmp_path / "told"
    assert deliver(tmp_path, f"cat > {told}").good
    assert told.read_bytes().endswith(b"}\n")
    assert msgspec.json.decode(told.read_bytes()) == {
        "v": 1,
        "box": "attic",
        "number": 1,
        "kind": "TEST",
        "severity": "info",
        "phase": "began",
        "standing": False,
        "subject": "",
        "text": "This is a test of the alert hook.",
        "recovery": "nothing",
        "more": 0,
        "event_ns": "1800000000123456789",
        "alert_ns": "1800000000123456789",
        "delay_ns": "0",
        "log_index": None,
    }
    assert set(Alert.__struct_fields__) == set(msgspec.json.decode(told.read_bytes()))


def test_it_gets_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable but those a command needs, no open file, no terminal, a session of its own."""
    monkeypatch.setenv("BINANCE_API_SECRET", "hunter2")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("LANG", "C")
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        body = f"cd {tmp_path}; echo $OLDPWD > pwd; env > env; ls /proc/self/fd > fd"
        assert deliver(tmp_path, f"{body}; echo $$ > pid; cat /proc/$$/stat > stat").good
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "HOME", "USER", "LANG", "TZ", "PWD", "OLDPWD", "SHLVL", "_"}
    assert (tmp_path / "pwd").read_text() == "/\n"
    assert set((tmp_path / "fd").read_text().split()) <= {"0", "1", "2", "3"}, "3 is the listing itself"
    session = (tmp_path / "stat").read_text().rpartition(")")[2].split()[3]
    assert session == (tmp_path / "pid").read_text().strip()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("exit 1", "exit code 1"),
        ("exit 255", "exit code 255"),
        ("kill -9 $$", "signal 9"),
        ("no-such-command", "exit code 127"),
    ],
)
def test_what_does_not_exit_with_0_has_failed(tmp_path: Path, body: str, detail: str) -> None:
    """And its code is said."""
    outcome = deliver(tmp_path, body)
    assert (outcome.word, outcome.detail) == ("failed", detail)


def test_what_cannot_be_started_has_failed(tmp_path: Path) -> None:
    """Missing, not executable, a directory, no program: each says why, none raises."""
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF not really")
    garbage.chmod(0o755)
    for path in (tmp_path / "missing", plain, tmp_path, garbage):
        outcome = run_hook(HookConfig((str(path),), LONG_S, tmp_path), ALERT)
        assert outcome.word == "failed"
        assert outcome.detail.startswith("it cannot be started: "), outcome.detail
    nowhere = run_hook(HookConfig(("/bin/true",), LONG_S, tmp_path / "no folder"), ALERT)
    assert nowhere.word == "failed"


@pytest.mark.parametrize(
    "body", ["exec sleep 600", "trap '' TERM INT HUP; while :; do sleep 1; done", "kill -STOP $$"]
)
def test_a_hook_that_hangs_is_killed_at_the_timeout(tmp_path: Path, body: str) -> None:
    """Also one that ignores every signal it may ignore, and one that is stopped."""
    outcome = deliver(tmp_path, f"echo $$ > {tmp_path}/pid; {body}", timeout_s=0.5)
    assert outcome.word == "timeout"
    assert outcome.took_s >= 0.5
    assert gone(tmp_path / "pid")


def test_what_a_hook_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """Children in its process group, whether it hangs or has exited."""
    body = f"sleep 600 & echo $! > {tmp_path}/child"
    assert deliver(tmp_path, f"{body}; exit 0").good
    until(lambda: gone(tmp_path / "child"), "the end of the child")
    assert deliver(tmp_path, f"{body}; wait", timeout_s=0.5).word == "timeout"
    until(lambda: gone(tmp_path / "child"), "the end of the child")


def test_a_daemon_that_holds_the_output_is_not_waited_for(tmp_path: Path) -> None:
    """It left the process group, so it lives on; nobody waits for its output to close."""
    body = f"cd {tmp_path}; setsid sh -c 'echo $$ > pid; exec sleep 600' &"
    try:
        assert deliver(tmp_path, f"{body}\nwhile [ ! -s {tmp_path}/pid ]; do :; done; exit 0").good
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_hundred_megabytes_of_output_block_nobody(tmp_path: Path) -> None:
    """They go nowhere, on both streams."""
    assert deliver(tmp_path, "head -c 100000000 /dev/zero; head -c 1000000 /dev/zero >&2").good


def test_a_hook_that_reads_nothing_has_been_told(tmp_path: Path) -> None:
    """Its input is a file: nobody gets a broken pipe."""
    assert deliver(tmp_path, "exec 0<&-; exit 0").good


class Runner:
    """A Hook thread over one script, and what it reported."""

    def __init__(self, folder: Path, body: str, timeout_s: float = LONG_S) -> None:
        self.done: list[tuple[Alert, Outcome, bool]] = []
        self.reported = threading.Condition()
        config = HookConfig((str(script(folder, body)),), timeout_s, folder)
        self.hook = Hook(config, (), self._report)
        self.hook.start()

    def _report(self, alert: Alert, outcome: Outcome, given_up: bool) -> None:
        with self.reported:
            self.done.append((alert, outcome, given_up))
            self.reported.notify_all()

    def wait(self, count: int) -> None:
        """Until so many deliveries were reported."""
        with self.reported:
            assert self.reported.wait_for(lambda: len(self.done) >= count, 60)


def _numbered(number: int, kind: AlertKind = AlertKind.STRATEGY_STOP) -> Alert:
    return msgspec.structs.replace(ALERT, number=number, kind=kind, subject=f"s{number}")


def test_offering_waits_for_nothing_and_the_next_leaves_after_the_timeout(tmp_path: Path) -> None:
    """The first hook hangs; five hundred alerts are taken, the queue stays bounded, all are told."""
    body = f"cd {tmp_path}; [ -e pid ] || {{ echo $$ > pid; exec sleep 600; }}"
    runner = Runner(tmp_path, f"{body}; cat >> told", timeout_s=2.0)
    runner.hook.offer(_numbered(0))
    until(lambda: (tmp_path / "pid").exists(), "the first hook")
    for number in range(1, 501):
        runner.hook.offer(_numbered(number))
    assert runner.hook.counts().waiting <= 200
    runner.wait(2)
    assert [outcome.word for _, outcome, _ in runner.done[:2]] == ["timeout", "delivered"]
    assert runner.hook.counts().failed == 1
    until(lambda: runner.hook.counts().waiting <= 1, "all but the retry")
    runner.hook.close(0)
    told = [msgspec.json.decode(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert sum(1 + alert["more"] for alert in told) >= 500


def test_a_failing_hook_is_counted_and_its_alert_kept(tmp_path: Path) -> None:
    """For its next try, also over the end of the process."""
    runner = Runner(tmp_path, "exit 3")
    runner.hook.offer(_numbered(1))
    runner.wait(1)
    assert runner.hook.failing
    (waiting,) = runner.hook.waiting()
    assert (waiting.tries, waiting.alert.number) == (1, 1)
    counts = runner.hook.counts()
    assert (counts.failed, counts.delivered, counts.given_up, counts.waiting) == (1, 0, 0, 1)
    runner.hook.close(0)
    assert not runner.hook.is_alive()


def test_a_stop_delivers_what_is_due_and_ends_what_hangs(tmp_path: Path) -> None:
    """Nobody waits for a hook at the end; what it had is still waiting."""
    runner = Runner(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    runner.hook.offer(_numbered(1))
    until(lambda: (tmp_path / "pid").exists(), "the hook")
    runner.hook.close(0.1)
    assert not runner.hook.is_alive()
    assert gone(tmp_path / "pid")
    assert [each.alert.number for each in runner.hook.waiting()] == [1]
    quick = Runner(tmp_path, f"cat >> {tmp_path}/told")
    for number in range(5):
        quick.hook.offer(_numbered(number))
    quick.hook.close(LONG_S)
    assert len((tmp_path / "told").read_text().splitlines()) == 5
