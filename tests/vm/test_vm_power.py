"""Power and disk of the installed appliance: a panic, a foreign card, a full and a failing disk.

Each test boots a machine of its own and breaks it. Power cuts around a press are in test_vm_cuts.
"""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.vm.machine import BUTTON, MARKS, TAMPER, Machine, Reasons

pytestmark = MARKS


def test_pressed_during_boot(cold: Machine) -> None:
    """Held down since before anything ran: tripped from the guard's first look (SAFETY 1)."""
    cold.boot(button_closed=False)
    cold.until(lambda: cold.page("guard")["HEARTBEAT_NS"] > 0, "the guard", 60)
    page = cold.page("guard")
    later = page["LATER"] >> Reasons.KILL_BUTTON & 1
    assert later or Reasons.KILL_BUTTON in (page["REASON"], page["LAST"])
    assert cold.is_shut()
    assert cold.watch_lamps(2)[0] == 0


def test_a_panic_and_the_hardware_watchdog(cold: Machine) -> None:
    """The kernel dies with the box armed: the watchdog resets it, nobody is armed, the log verifies."""
    cold.boot()
    cold.arm()
    since, began = len(cold.rig.events), time.monotonic()
    cold.sh("sync; (sleep 0.3; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 </dev/null &")
    cold.rig.wait_event("WATCHDOG", 60, since)
    cold.rig.wait_agent(120, boots=2)
    cold.close_contact(BUTTON)
    cold.close_contact(TAMPER)
    cold.rig.wait_booted(180, boots=2)
    print(f"\n  panic → reset by the watchdog → up again {time.monotonic() - began:.0f} s")
    cold.until(lambda: cold.mode() == "PAUSED", "PAUSED", 120)
    assert cold.is_shut()
    lines_float = (Reasons.NOT_ARMED, Reasons.KILL_BUTTON, Reasons.TAMPER)  # through a reset
    assert cold.page("guard")["REASON"] in lines_float
    assert "VERIFIED" in cold.verify()


def test_another_card(cold: Machine) -> None:
    """The armed box's files on another file system: tripped as a foreign card (SAFETY 5)."""
    cold.boot()
    cold.arm()
    cold.rig.shutdown(120)
    subprocess.run(["e2fsck", "-fp", str(cold.rig.data)], check=False, capture_output=True)
    subprocess.run(
        ["tune2fs", "-U", "random", str(cold.rig.data)], check=True, capture_output=True, input=b"y\n"
    )
    cold.boot()
    cold.until(lambda: cold.page("guard")["HEARTBEAT_NS"] > 0, "the guard", 60)
    assert cold.page("guard")["REASON"] == Reasons.FOREIGN_CARD
    assert cold.is_shut()


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_takes_nothing_more(cold: Machine, how: str) -> None:
    """The log fails: gate shut, nobody arms until a reboot, what was acknowledged is there (SAFETY 8)."""
    cold.boot()
    cold.arm()
    zeros = "dd if=/dev/zero status=none"
    fill = f"{zeros} of=/data/ballast bs=1M; {zeros} of=/data/crumbs bs=512"
    broken = {
        "full": f"{fill}; true",
        "read-only": "echo u > /proc/sysrq-trigger; sleep 1",
    }[how]
    cold.sh(broken, 120, check=False)
    cold.until(lambda: cold.is_shut(), "the gate shut", 60)
    cold.until(lambda: "store_ok" in cold.status().get("missing", []) or cold.mode() == "", "the refusal", 60)
    assert cold.mode() in ("PAUSED", "EMERGENCY", "")
    if how == "full":
        cold.sh(
            "rm /data/ballast /data/crumbs; systemctl reset-failed; systemctl start interlock-core",
            120,
            check=False,
        )
        cold.until(
            lambda: "store_ok" in cold.status().get("missing", []),
            "still refusing after the room came back",
            120,
        )
        assert "VERIFIED" in cold.verify()
    cold.rig.shutdown(180)
    cold.boot()
    cold.until(lambda: cold.mode() != "", "the core", 120)
    cold.until(
        lambda: "store_ok" not in cold.status().get("missing", ["store_ok"]), "the log read whole", 120
    )
    assert "VERIFIED" in cold.verify()
