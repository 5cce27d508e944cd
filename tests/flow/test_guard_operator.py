"""Arming by signed command: a guard process, its socket, and the command line on both sides."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from appliance.runtime.guard_link import Glance
from appliance.runtime.operator_socket import CommandRefusedError, ask_challenge, send_command
from hardware.operator_command import APART_NS, fingerprint
from hardware.pages import ArmOutcome, ArmSource, CoreWord, GuardWord, Reason
from tests.flow.test_guard_process import EXAMPLE, Box
from tests.processes import ROOT, Child, running, until

SEED = SigningKey(bytes(range(32)))
PUBLIC = bytes(SEED.verify_key)


class Console(Box):
    """A box without a key switch, and an operator with the key at its console."""

    def __init__(self, root: Path, public: bytes = PUBLIC, filter_ms: int = 0) -> None:
        super().__init__(root)
        text = EXAMPLE.replace('key = ""', f'key = "{public.hex()}"')
        (self.state / "guard.toml").write_text(
            text.replace('glitch_filter = "0 ms"', f'glitch_filter = "{filter_ms} ms"')
        )
        self._looked_ns = 0

    def prove(self) -> None:
        """The proof test: press and release."""
        self.send("press")
        until(lambda: self.word(GuardWord.LIQUIDATE) == self.word(GuardWord.STATE), "20 ms of open level")
        self.send("release")
        until(lambda: self.word(GuardWord.PROVEN) == self.word(GuardWord.STATE), "the proof test")

    def pause(self) -> None:
        """Until the guard looks at a signature again."""
        until(lambda: self.word(GuardWord.HEARTBEAT_NS) - self._looked_ns > APART_NS, "5 s between attempts")

    def command(self, line: str) -> str:
        """The line signed and delivered."""
        try:
            return send_command(self.runtime, line, SEED.sign(line.encode()).signature.hex())
        finally:
            self._looked_ns = self.word(GuardWord.HEARTBEAT_NS) + 20_000_000


@pytest.fixture
def box(tmp_path: Path) -> Console:
    """A new box; no guard runs yet."""
    return Console(tmp_path)


@pytest.fixture
def guard(box: Console, tmp_path: Path) -> Iterator[Child]:
    """A guard that has written its first heartbeat."""
    with running(box.arguments, tmp_path / "guard.log") as child:
        until(box.alive, "the guard's first heartbeat")
        yield child


def _refused(box: Console, line: str) -> str:
    with pytest.raises(CommandRefusedError) as caught:
        box.command(line)
    assert caught.value.exit_code == 1
    return caught.value.sentence()


def test_from_never_armed_to_armed_without_a_key_switch(box: Console, guard: Child, tmp_path: Path) -> None:
    """A step, then the arming; replayed, pressed, restarted and expired commands each say why not."""
    path = box.runtime / "operator.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"operator key {fingerprint(PUBLIC):016x}" in guard.output()
    assert box.command(ask_challenge(box.runtime)) == "NO_PROOF"
    box.prove()
    box.pause()
    first = ask_challenge(box.runtime)
    assert box.command(first) == "STEP"
    assert "its challenge has been used (REPLAYED)" in _refused(box, first)
    assert "less than 5 s ago (TOO_SOON)" in _refused(box, ask_challenge(box.runtime))
    box.core_page.words[CoreWord.PERMIT] = box.word(GuardWord.STATE)
    box.pause()
    assert box.command(ask_challenge(box.runtime)) == "ARMED"
    assert box.armed()
    assert box.word(GuardWord.ARM_PRESSES) == 3
    assert (box.word(GuardWord.ARM_SOURCE), box.word(GuardWord.ARM_OPERATOR)) == (
        ArmSource.OPERATOR,
        fingerprint(PUBLIC),
    )
    pressed = ask_challenge(box.runtime)
    box.send("press")
    until(lambda: box.tripped(Reason.KILL_BUTTON), "the press stored")
    assert "pressed after the challenge (PRESSED)" in _refused(box, pressed)
    old = ask_challenge(box.runtime)
    assert box.word(GuardWord.REFUSED) == 3
    assert guard.stop() == 0
    assert not path.exists()
    with running(box.arguments, tmp_path / "second.log"):
        until(lambda: path.exists() and box.alive(), "a second guard")
        assert "restarted since the challenge (OTHER_GENERATION)" in _refused(box, old)
        assert box.word(GuardWord.REASON) == Reason.NEVER_ARMED
        assert box.word(GuardWord.REFUSED) == 1


def _interlock(box: Console, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance", "operator", *arguments]
    where = ["--state", str(box.state), "--runtime", str(box.runtime)]
    with _living_core(box):
        return subprocess.run(
            [*command, *where], cwd=ROOT, input=given, capture_output=True, text=True, timeout=60
        )


@contextmanager
def _living_core(box: Console) -> Iterator[None]:
    """A core that beats however long a command takes: one that was lost for 0.8 s permits nothing."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.05):
            box.word(GuardWord.STATE)

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()


def test_the_command_line_makes_a_key_and_arms_with_it(tmp_path: Path) -> None:
    """keygen off the box, its line in guard.toml, sign and arm; what goes wrong says what to do."""
    key = tmp_path / "operator.key"
    made = subprocess.run(
        [sys.executable, "-m", "appliance", "operator", "keygen", "--out", str(key)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert made.returncode == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    public = bytes.fromhex(made.stdout.splitlines()[1].split('"')[1])
    box = Console(tmp_path, public)
    absent = _interlock(box, "arm", "--key", str(key))
    assert absent.returncode == 69
    assert "takes no operator commands" in absent.stderr
    with running(box.arguments, tmp_path / "guard.log"):
        until(box.alive, "the guard's first heartbeat")
        box.prove()
        signed = _interlock(box, "sign", "--key", str(key), given=ask_challenge(box.runtime) + "\n")
        assert signed.returncode == 0
        assert "signing one arm step: card " in signed.stderr
        wrong = _interlock(box, "arm", given=signed.stdout)
        assert wrong.returncode == 1, "a signature over another challenge"
        assert "(BAD_SIGNATURE). DO: see that [operator] key" in wrong.stderr
        box._looked_ns = box.word(GuardWord.HEARTBEAT_NS)
        box.core_page.words[CoreWord.PERMIT] = box.word(GuardWord.STATE)
        box.pause()
        armed = _interlock(box, "arm", "--key", str(key))
        assert (armed.returncode, armed.stderr.splitlines()[-1]) == (0, "armed: the gate is open")
        assert Glance(box.runtime).guard_words()["ARM_OUTCOME"] == ArmOutcome.ARMED
    key.chmod(0o644)
    assert "its mode is 0644, not 0600" in _interlock(box, "sign", "--key", str(key), signed_line()).stderr
    missing = _interlock(box, "sign", "--key", str(tmp_path / "none"), signed_line())
    assert (missing.returncode, "interlock operator keygen" in missing.stderr) == (78, True)
    for text in ("transfer everything", signed_line().replace("arm-step", "disarm"), f"{signed_line()}\n"):
        nonsense = _interlock(box, "sign", "--key", str(key), text)
        assert (nonsense.returncode, nonsense.stdout) == (2, "")


def signed_line() -> str:
    """Something that has the form of a challenge."""
    return (
        f"interlock-operator/1 purpose=arm-step card=cid-1 boot={'0' * 32} generation=1 epoch=1"
        f" nonce={'0' * 64}"
    )


def test_without_a_key_in_the_configuration_there_is_no_socket(tmp_path: Path) -> None:
    """Also none that an earlier guard has left behind."""
    box = Box(tmp_path)
    os.mknod(box.runtime / "operator.sock", stat.S_IFSOCK | 0o600)
    with running(box.arguments, tmp_path / "guard.log") as child:
        until(box.alive, "the guard's first heartbeat")
        assert not (box.runtime / "operator.sock").exists()
        assert "operator" not in child.output()


def test_a_glitch_filter_says_its_cost_and_a_held_press_trips(tmp_path: Path) -> None:
    """Switched on: a spike is counted and ignored, a press is not; the start-up line states the latency."""
    box = Console(tmp_path, filter_ms=2)
    with running(box.arguments, tmp_path / "guard.log") as child:
        until(box.alive, "the guard's first heartbeat")
        assert "glitch filter 2 ms: a press shuts the gate 2 ms later" in child.output()
        before = box.word(GuardWord.STATE)
        box.send("glitch")
        until(lambda: box.word(GuardWord.GLITCHES) == 1, "the spike counted")
        assert box.word(GuardWord.STATE) == before
        box.send("press")
        until(lambda: box.word(GuardWord.STATE) == before + 1, "the trip")


def test_a_glitch_filter_without_the_kernels_times_is_refused(tmp_path: Path) -> None:
    """gpiozero's mock, as RPi.GPIO and the native driver: exit 78, and what to set."""
    box = Console(tmp_path, filter_ms=2)
    path = box.state / "guard.toml"
    text = path.read_text().replace('driver = "simulated"', 'driver = "gpiozero"')
    path.write_text(text.replace('pin_factory = "lgpio"', 'pin_factory = "mock"'))
    with running(box.arguments, tmp_path / "guard.log") as child:
        assert child.wait() == 78
        assert 'DO: set glitch_filter = "0 ms"' in child.output()


def test_what_lgpio_leaves_behind_it_leaves_in_the_runtime_directory(tmp_path: Path) -> None:
    """Importing lgpio makes a FIFO in the current directory; here a stand-in does, off a Pi: exit 69."""
    box = Box(tmp_path)
    path = box.state / "guard.toml"
    path.write_text(path.read_text().replace('driver = "simulated"', 'driver = "gpiozero"'))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "lgpio.py").write_text(
        "import os\nos.mkfifo('.lgd-nfy0')\n"
        "SET_PULL_NONE = BOTH_EDGES = RISING_EDGE = FALLING_EDGE = 0\n"
        "def gpiochip_open(chip): raise OSError('no chip')\n"
    )
    before = os.environ.get("PYTHONPATH", "")
    path_first = {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path / "site"), before]))}
    with running(box.arguments, tmp_path / "guard.log", path_first) as child:
        assert child.wait() == 69
        assert "pin factory lgpio cannot be opened" in child.output()
    assert (box.runtime / ".lgd-nfy0").is_fifo()
