"""Power and disk of the installed appliance: cuts around a press, a panic, a full and a read-only disk.

INTERLOCK_CUTS says how many cuts (default 3; 30 for a release): each is a restored snapshot of an armed box,
a press, a cut at a random moment, and a boot from what the disk still holds.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.machine import BUTTON, TAMPER, Machine, fresh_machine, why_not

pytestmark = [
    pytest.mark.vm,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the rig leaves its sockets to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(
        bool(why_not()) or "INTERLOCK_VM" not in os.environ, reason=why_not() or "--vm was not asked for"
    ),
]
CUTS = int(os.environ.get("INTERLOCK_CUTS", "3"))
KILL_BUTTON, TAMPERED, NEVER_ARMED, FOREIGN_CARD, NOT_ARMED = 1, 4, 11, 12, 13


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own, switched off: these tests break it."""
    with (
        tempfile.TemporaryDirectory(prefix="interlock-vm-") as folder,
        fresh_machine(Path(folder) / "run") as made,
    ):
        yield made


def shut(box: Machine) -> bool:
    """The page keeps the gate shut."""
    page = box.page("guard")
    return page["ARMED"] != page["STATE"]


def test_power_cuts_around_a_press(box: Machine) -> None:
    """Whatever was shown as stored is stored: tripped after every cut, and the log verifies (SAFETY 5)."""
    luck = random.Random(20_261_121)
    box.boot()
    box.arm()
    saved = box.rig.dir / "armed"
    box.rig.snapshot(saved)
    shown_and_kept = 0
    for cut in range(CUTS):
        box.rig.close()
        box.rig.restore(saved)
        box.until(lambda: not shut(box), "armed after the restore", 10)
        before = box.page("guard")["STATE"]
        box.press_button()
        time.sleep(luck.choice([0, luck.uniform(0, 0.06), luck.uniform(0, 1)]))
        page = box.page("guard")
        stored = page["STATE"] > before and page["STORED"] == page["STATE"]
        mode = luck.choice(["flushed", "random"])
        box.rig.power_cut(mode, seed=cut)
        box.boot()
        box.until(lambda: box.page("guard")["HEARTBEAT_NS"] > 0, "the guard", 60)
        reason = box.page("guard")["REASON"]
        print(f"\n  cut {cut + 1}: stored shown {stored}, disk {mode}, reason after the boot {reason}")
        assert shut(box), "armed after a power cut"
        if stored:
            assert reason == NEVER_ARMED, "the trip was shown as stored, and the armed record is back"
            shown_and_kept += 1
        box.until(lambda: box.mode() != "", "the core", 120)
        assert "VERIFIED" in box.verify()
    print(f"  {CUTS} cuts, 'stored' had been shown before {shown_and_kept} of them")


def test_pressed_during_boot(box: Machine) -> None:
    """Held down since before anything ran: tripped from the guard's first look (SAFETY 1)."""
    box.boot(button_closed=False)
    box.until(lambda: box.page("guard")["HEARTBEAT_NS"] > 0, "the guard", 60)
    page = box.page("guard")
    assert KILL_BUTTON in (page["REASON"], page["LAST"]) or page["LATER"] >> KILL_BUTTON & 1
    assert shut(box)
    assert box.watch_lamps(2)[0] == 0


def test_a_panic_and_the_hardware_watchdog(box: Machine) -> None:
    """The kernel dies with the box armed: the watchdog resets it, nobody is armed, the log verifies."""
    box.boot()
    box.arm()
    since, began = len(box.rig.events), time.monotonic()
    box.sh("sync; (sleep 0.3; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 </dev/null &")
    box.rig.wait_event("WATCHDOG", 60, since)
    box.rig.wait_agent(120, boots=2)
    box.close_contact(BUTTON)
    box.close_contact(TAMPER)
    box.rig.wait_booted(180, boots=2)
    print(f"\n  panic → reset by the watchdog → up again {time.monotonic() - began:.0f} s")
    box.until(lambda: box.mode() == "PAUSED", "PAUSED", 120)
    assert shut(box)
    assert box.page("guard")["REASON"] in (NOT_ARMED, KILL_BUTTON, TAMPERED), "lines float through a reset"
    assert "VERIFIED" in box.verify()


def test_another_card(box: Machine) -> None:
    """The armed box's files on another file system: tripped as a foreign card (SAFETY 5)."""
    box.boot()
    box.arm()
    box.rig.shutdown(120)
    subprocess.run(["e2fsck", "-fp", str(box.rig.data)], check=False, capture_output=True)
    subprocess.run(
        ["tune2fs", "-U", "random", str(box.rig.data)], check=True, capture_output=True, input=b"y\n"
    )
    box.boot()
    box.until(lambda: box.page("guard")["HEARTBEAT_NS"] > 0, "the guard", 60)
    assert box.page("guard")["REASON"] == FOREIGN_CARD
    assert shut(box)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_takes_nothing_more(box: Machine, how: str) -> None:
    """The log fails: gate shut, nobody arms until a reboot, what was acknowledged is there (SAFETY 8)."""
    box.boot()
    box.arm()
    zeros = "dd if=/dev/zero status=none"
    fill = f"{zeros} of=/data/ballast bs=1M; {zeros} of=/data/crumbs bs=512"
    broken = {
        "full": f"{fill}; true",
        "read-only": "echo u > /proc/sysrq-trigger; sleep 1",
    }[how]
    box.sh(broken, 120, check=False)
    box.until(lambda: shut(box), "the gate shut", 60)
    box.until(lambda: "store_ok" in box.status().get("missing", []) or box.mode() == "", "the refusal", 60)
    assert box.mode() in ("PAUSED", "EMERGENCY", "")
    if how == "full":
        box.sh(
            "rm /data/ballast /data/crumbs; systemctl reset-failed; systemctl start interlock-core",
            120,
            check=False,
        )
        box.until(
            lambda: "store_ok" in box.status().get("missing", []),
            "still refusing after the room came back",
            120,
        )
        assert "VERIFIED" in box.verify()
    box.rig.shutdown(180)
    box.boot()
    box.until(lambda: box.mode() != "", "the core", 120)
    box.until(lambda: "store_ok" not in box.status().get("missing", ["store_ok"]), "the log read whole", 120)
    assert "VERIFIED" in box.verify()
