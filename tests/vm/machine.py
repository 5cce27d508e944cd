"""The rig as these tests use it: a guest with the appliance installed, its contacts, lamps, pages and log.

The rig (a real kernel, systemd as PID 1, a GPIO character device, a watchdog, disks whose power can be cut)
is found at INTERLOCK_RIG or ../shared/rig. Its parts are built once into INTERLOCK_RIG_BUILD (default: a
folder in the user's cache), the appliance is installed into a copy of its root disk once per state of the
checkout.

The paper venue's order log lies on the root disk: a real venue does not stall or break with our card.

Contacts: the rig's `press` grounds a line. Button and tamper are normally closed, so a healthy box has both
grounded, and opening one is the alarm (SAFETY 13).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT

BUTTON, KEY, TAMPER = 17, 27, 4
GREEN, YELLOW, RED = 22, 23, 24
STATE, RUNTIME = "/var/lib/interlock", "/run/interlock"
WHERE_INSTALLED = "/opt/interlock/current"
UNITS = ("guard", "core", "cancel-only", "paper-venue", "collector", "alerts")
INTERLOCK = f"{WHERE_INSTALLED}/bin/interlock"
WHERE = f"--state {STATE} --runtime {RUNTIME}"
HAND = """# A hand of the test at the paper venue, beside the core: place N | watch.
import http.client, json, sys, time

note = json.load(open("/run/interlock/venue.json"))
link = http.client.HTTPConnection("127.0.0.1", note["port"], timeout=10)


def ask(method, path, body=None):
    now = str(time.time_ns())
    headers = {"X-Interlock-Sent-Ns": now, "X-Interlock-Window-Ns": "10000000000"}
    data = None if body is None else json.dumps(body).encode()
    link.request(method, "/v1/" + note["account"] + path, data, headers)
    reply = link.getresponse()
    answer = reply.read()
    assert reply.status == 200, answer
    return json.loads(answer)


def entries():
    orders = ask("GET", "/orders")
    return [o for o in orders if not o.get("reduce_only") and o.get("parent") is None]


verb = sys.argv[1]
if verb == "place":
    series = time.time_ns() % 16**12
    for number in range(int(sys.argv[2])):
        order_id = f"il-{series:015x}{number:015x}"
        ask("POST", "/orders", {
            "order_id": order_id, "instrument": "SPX", "side": "BUY", "qty": 100, "order_type": "LIMIT",
            "price": 100 + number, "stop_price": None, "attached_stop": None, "time_in_force": "GTC",
            "reduce_only": False})
if verb == "watch":
    while entries():
        time.sleep(0.02)
    print(time.monotonic_ns())
"""
PI_4 = b"\nRevision\t: c03114\nSerial\t\t: 1000000012345678\n"
RECIPE = 3
"""Counted up when `install` changes, so that the image is made again."""

QUOTA_MB = 120
"""Of a data disk that has 213 MB free: the configured 4 GB are never there, and new exposure would wait."""

DROP_IN = "[Service]\nBindReadOnlyPaths=/usr/local/lib/cpuinfo-pi:/proc/cpuinfo\n"

RIG = Path(os.environ.get("INTERLOCK_RIG", ROOT.parent / "shared" / "rig"))
BUILD = Path(os.environ.get("INTERLOCK_RIG_BUILD", Path.home() / ".cache" / "interlock-rig"))


class Reasons(IntEnum):
    """REASON of the guard's page, as these tests expect it (written down here, not imported)."""

    NONE = 0
    KILL_BUTTON = 1
    TAMPER = 4
    GUARD_LOST = 5
    AUDIT_STORE = 7
    NEVER_ARMED = 11
    FOREIGN_CARD = 12
    NOT_ARMED = 13


LAMP_PULSE, LAMP_SLOW, LAMP_FAST = 1, 2, 3
NO_PROOF = 3
"""ARM_OUTCOME."""


def why_not() -> str:
    """Why this machine cannot run the lane; empty if it can."""
    if not (RIG / "rig.py").exists():
        return f"no rig at {RIG} (set INTERLOCK_RIG)"
    for program in ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mkfs.ext4", "cpio", "gcc", "make"):
        if shutil.which(program) is None and not Path("/usr/sbin", program).exists():
            packages = "qemu-system-x86 qemu-utils mmdebstrap cpio gcc-12 make e2fsprogs"
            return f"the rig needs {program}: apt-get install {packages}"
    if sys.version_info[:2] != (3, 11):
        return "the guest has Python 3.11, and so must the wheels built for it"
    if os.geteuid() != 0 and not (BUILD / "root.ext4").exists():
        return "building the guest needs root"
    return ""


MARKS = [
    pytest.mark.vm,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the rig leaves its sockets to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(
        bool(why_not()) or "INTERLOCK_VM" not in os.environ, reason=why_not() or "--vm was not asked for"
    ),
]


def _rig_class() -> Any:
    """The rig's class, closing the sockets it drops at a power cut, a restart and the end."""
    spec = importlib.util.spec_from_file_location("interlock_rig", RIG / "rig.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Rig(module.Rig):  # type: ignore[misc,name-defined]
        """One guest."""

        def attach(self) -> Any:
            """Talks to a machine that was just switched on."""
            self._hang_up()
            return super().attach()

        def close(self) -> None:
            """Switches it off."""
            super().close()
            self._hang_up()

        def power_cut(self, data: str = "flushed", seed: int = 0) -> None:
            """As the rig's. A disk that was not flushed since the machine went on is as it was then."""
            try:
                super().power_cut(data, seed)
            except struct.error:
                shutil.copyfile(self.base, self.data)

        def _hang_up(self) -> None:
            for name in ("agent", "qmp"):
                if name in self.__dict__:
                    self.__dict__.pop(name).close()

    return Rig


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    found = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, f"{command}: {found.stdout[-2000:]}{found.stderr[-2000:]}"


def _stamp() -> str:
    digest = hashlib.sha256(str(RECIPE).encode())
    for top in ("appliance", "hardware", "systemd", "provisioning"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def installed_image() -> Path:
    """A folder with root and data disk of a guest in which the appliance is installed and was shut down."""
    ready = BUILD / f"installed-{_stamp()}"
    if ready.exists():
        return ready
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (BUILD / "root.ext4").exists():
        _run(RIG / "build-gpio-sim", BUILD)
        _run(RIG / "build-image", BUILD)
    wheels = _wheels()
    work = BUILD / f"work-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    with _machine(work, wheels=wheels) as box:
        box.boot()
        box.install()
        box.rig.shutdown(120)
    for old in BUILD.glob("installed-*"):
        shutil.rmtree(old)
    ready.mkdir()
    for disk in ("root.qcow2", "data.img"):
        (work / disk).rename(ready / disk)
    shutil.rmtree(work)
    return ready


def _wheels() -> Path:
    """Every locked package for the guest's Python, built where there is a compiler, and the appliance."""
    lock = (ROOT / "provisioning" / "requirements.lock").read_bytes()
    wheels = BUILD / f"wheels-{hashlib.sha256(lock).hexdigest()[:16]}"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "wheel", "--no-deps", "-w")
    if not (wheels / ".complete").exists():
        shutil.rmtree(wheels, ignore_errors=True)
        _run(*pip, wheels, "-r", "provisioning/requirements.lock")
        _run(*pip, wheels, "lgpio>=0.2.2")  # Raspberry Pi OS brings it as a package
        (wheels / ".complete").touch()
    for old in wheels.glob("interlock-*.whl"):
        old.unlink()
    _run(*pip, wheels, ".")
    return wheels


@contextmanager
def _machine(folder: Path, **options: Any) -> Iterator[Machine]:
    rig = _rig_class()(BUILD, folder, project=ROOT, smp=2, mem=1024, data_mb=256, **options)
    try:
        yield Machine(rig)
    finally:
        rig.close()


@contextmanager
def fresh_machine(folder: Path, **options: Any) -> Iterator[Machine]:
    """A copy of the installed guest, switched off. options: the rig's."""
    image = installed_image()
    folder.mkdir(parents=True, exist_ok=True)
    for disk in ("root.qcow2", "data.img"):
        shutil.copyfile(image / disk, folder / disk)
    with _machine(folder, **options) as box:
        yield box


def machine_of_its_own() -> Iterator[Machine]:
    """For a fixture: switched off, for a test that breaks it."""
    with (
        tempfile.TemporaryDirectory(prefix="interlock-vm-") as folder,
        fresh_machine(Path(folder) / "run") as made,
    ):
        yield made


class Machine:
    """One guest."""

    def __init__(self, rig: Any) -> None:
        self.rig = rig

    def boot(self, *, button_closed: bool = True, tamper_closed: bool = True) -> float:
        """Power on, contacts as given before anything reads them; seconds until systemd has started all."""
        self.rig.start()
        self.rig.wait_agent()
        (self.close_contact if button_closed else self.open_contact)(BUTTON)
        (self.close_contact if tamper_closed else self.open_contact)(TAMPER)
        self.open_contact(KEY)
        return float(self.rig.wait_booted())

    def install(self) -> None:
        """As on a box, but without a network: state on the disk whose writes are recorded."""
        bind = "/data/interlock /var/lib/interlock none bind,x-systemd.requires-mounts-for=/data 0 0"
        self.sh("mkdir -p /data/interlock /var/lib/interlock")
        self.sh("mount --bind /data/interlock /var/lib/interlock")
        self.sh(f"echo '{bind}' >> /etc/fstab")
        self.rig.put("/usr/local/lib/cpuinfo-pi", self.rig.get("/proc/cpuinfo").rstrip(b"\n") + PI_4)
        self.sh("mkdir -p /etc/systemd/system/interlock-guard.service.d")
        self.rig.put("/etc/systemd/system/interlock-guard.service.d/rig.conf", DROP_IN.encode())
        self.sh("bash /mnt/project/provisioning/install.sh --wheels /mnt/wheels --no-start", timeout=900)
        self.sh(f"sed -i 's/^quota = \"4 GB\"/quota = \"{QUOTA_MB} MB\"/' {STATE}/interlock.toml")
        assert f'"{QUOTA_MB} MB"' in self.sh(f"grep ^quota {STATE}/interlock.toml").out
        self.sh("cp -a /var/lib/interlock/venue /srv/venue")
        bind = (
            "/srv/venue /var/lib/interlock/venue none bind,x-systemd.requires-mounts-for=/var/lib/interlock"
        )
        self.sh(f"echo '{bind} 0 0' >> /etc/fstab")
        self.sh("sync")

    def sh(self, command: str, timeout: int = 60, check: bool = True) -> Any:
        """A command in the guest, as root; its result has rc, out, err."""
        return self.rig.sh(command, timeout=timeout, check=check)

    def interlock(self, verb: str, check: bool = True) -> Any:
        """One of the appliance's commands, as its user."""
        return self.sh(f"cd /tmp && runuser -u interlock -- {INTERLOCK} {verb} {WHERE}", 120, check)

    def open_contact(self, line: int) -> None:
        """The contact opens: the pull-up wins."""
        self.rig.release(line)

    def close_contact(self, line: int) -> None:
        """The contact closes to ground."""
        self.rig.press(line)

    def press_button(self) -> None:
        """Opens the button's line."""
        self.open_contact(BUTTON)

    def release_button(self) -> None:
        """Closes it again."""
        self.close_contact(BUTTON)

    def lamps(self) -> tuple[int, int, int]:
        """Green, yellow, red at this moment."""
        return self.rig.led(GREEN), self.rig.led(YELLOW), self.rig.led(RED)

    def watch_lamps(self, seconds: float) -> tuple[float, float, float]:
        """Share of the time each lamp was lit."""
        end, seen = time.monotonic() + seconds, []
        while time.monotonic() < end:
            seen.append(self.lamps())
        return tuple(sum(column) / len(seen) for column in zip(*seen, strict=True))

    def page(self, name: str) -> dict[str, int]:
        """Words of `guard` or `core` page by name, read from the file and decoded here."""
        from hardware.pages import CoreWord, GuardWord

        words = memoryview(self.rig.get(f"{RUNTIME}/{name}.page")).cast("Q")
        return {word.name: words[word] for word in (GuardWord if name == "guard" else CoreWord)}

    def is_shut(self) -> bool:
        """The guard's page keeps the gate shut."""
        page = self.page("guard")
        return page["ARMED"] != page["STATE"]

    def status(self) -> dict[str, Any]:
        """`/status.json`; empty while nobody answers. Without Python: an interpreter's start takes 0.5 s."""
        ask = r"GET /status.json HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
        script = f"exec 3<>/dev/tcp/127.0.0.1/8480 && printf '{ask}' >&3 && timeout 5 cat <&3"
        head, _, body = self.sh(script, 20, check=False).out.replace("\r\n", "\n").partition("\n\n")
        return dict(json.loads(body)) if " 200 " in head.partition("\n")[0] else {}

    def mode(self) -> str:
        """On the page; empty while nobody answers."""
        return str(self.status().get("mode", ""))

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> float:
        """Waits; seconds it took. Says the guest's journal if it does not happen."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                journal = self.sh(
                    "journalctl -u 'interlock-*' -n 40 --no-pager -o short-monotonic", check=False
                ).out
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{journal[-6000:]}")
        return time.monotonic() - began

    def ready(self) -> None:
        """Everything runs and only a proof test and arm presses are missing."""
        self.until(lambda: self.mode() == "PAUSED", "the core in PAUSED", 120)

    def prove_button(self) -> None:
        """Press and release, seen by the guard."""
        before = self.page("guard")["STATE"]
        self.press_button()
        self.until(lambda: self.page("guard")["STATE"] > before, "the press", 10)
        self.release_button()
        self.until(lambda: self.page("guard")["PROVEN"] == self.page("guard")["STATE"], "the release", 10)

    def arm_press(self) -> None:
        """Key open long enough, closed for 4 s, released."""
        before = self.page("guard")["ARM_PRESSES"]
        time.sleep(1.5)
        self.close_contact(KEY)
        time.sleep(4)
        self.open_contact(KEY)
        self.until(lambda: self.page("guard")["ARM_PRESSES"] > before, "the arm press", 10)

    def arm(self) -> None:
        """All the way to NORMAL."""
        if self.page("guard")["PROVEN"] != self.page("guard")["STATE"]:
            self.prove_button()
        for _ in range(4):
            self.until(lambda: not self.status().get("missing", ["?"]), "nothing missing for a step", 90)
            self.arm_press()
            time.sleep(1)
            if self.mode() == "NORMAL":
                return
        raise AssertionError(f"could not be armed: {self.status()}")

    def pid(self, unit: str) -> int:
        """Main process of a unit."""
        return int(self.sh(f"systemctl show -P MainPID interlock-{unit}").out)

    def place_entries(self, count: int) -> None:
        """Resting buys at the venue, as a core might have left them: far below the market, unknown to it."""
        self._hand(f"place {count}")

    def watch_entries(self) -> None:
        """Starts watching, so that `entries_gone_ns` can tell when the venue listed none any more."""
        self._hand("watch >/run/gone 2>&1 </dev/null &")

    def entries_gone_ns(self) -> int:
        """CLOCK_MONOTONIC of the guest at which the venue listed no entry any more; 0 while it lists one."""
        text = self.rig.get("/run/gone").decode()
        assert not text.strip("0123456789\n"), text
        return int(text or 0)

    def _hand(self, verb: str) -> None:
        self.rig.put("/run/hand.py", HAND.encode())
        self.sh(f": >/run/gone; python3 /run/hand.py {verb}")

    def delay_flushes(self, ms: int) -> None:
        """Every flush of the data disk takes so long from now on. The first call stops and starts all units:
        it puts a device mapper target below their disk."""
        sectors = int(self.sh("blockdev --getsz /dev/vdb").out)
        table = f"0 {sectors} delay /dev/vdb 0 0 /dev/vdb 0 0 /dev/vdb 0 {ms}"
        if self.sh("dmsetup info slow", check=False).rc == 0:
            self.sh(f"dmsetup load slow --table '{table}' && dmsetup suspend --nolockfs slow")
            self.sh("dmsetup resume slow")
            return
        units = "interlock.target " + " ".join(f"interlock-{name}" for name in UNITS)
        self.sh(f"systemctl stop {units}", 180)
        self.sh(f"umount {STATE}/venue {STATE} /data && modprobe dm-delay")
        self.sh(f"dmsetup create slow --table '{table}' && mount -o noatime /dev/mapper/slow /data")
        self.sh(f"mount --bind /data/interlock {STATE} && mount --bind /srv/venue {STATE}/venue")
        self.sh(f"systemctl start {units}", 180)

    def unit(self, name: str, *words: str) -> dict[str, str]:
        """Properties of a unit as systemd shows them."""
        found = self.sh(f"systemctl show interlock-{name} " + " ".join(f"-p {word}" for word in words)).out
        return dict(line.split("=", 1) for line in found.splitlines())

    def verify(self) -> str:
        """`interlock verify`, which must be content."""
        found = self.interlock("verify", check=False)
        assert found.rc == 0, found
        return str(found.out)

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Entries of one kind, oldest first."""
        found = self.interlock(f"audit show {kind} --json", check=False)
        return [json.loads(line) for line in found.out.splitlines() if line.startswith("{")]
