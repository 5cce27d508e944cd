"""Power and disk of the installed appliance: a panic, a foreign card, a full and a failing disk.

Each test boots a machine of its own and breaks it. Power cuts around a press are in test_vm_cuts.
"""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.vm.machine import BUTTON, LAMP_FAST, MARKS, TAMPER, Machine, Reasons

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


@pytest.mark.parametrize("how", ["echo c > /proc/sysrq-trigger", "kill -SEGV 1"], ids=["panic", "init"])
def test_the_hardware_watchdog(cold: Machine, how: str) -> None:
    """Kernel or PID 1 dies with the box armed: the watchdog resets it, nobody is armed, the log verifies."""
    cold.boot()
    cold.arm()
    since, began = len(cold.rig.events), time.monotonic()
    cold.sh(f"sync; (sleep 0.3; {how}) >/dev/null 2>&1 </dev/null &")
    cold.rig.wait_event("WATCHDOG", 60, since)
    reset_s = time.monotonic() - began
    cold.rig.wait_agent(120, boots=2)
    cold.close_contact(BUTTON)
    cold.close_contact(TAMPER)
    cold.rig.wait_booted(180, boots=2)
    up_s = time.monotonic() - began
    print(f"\n  {how} → reset by the watchdog {reset_s:.0f} s → up again {up_s:.0f} s")
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


def test_an_open_case_at_power_on(cold: Machine) -> None:
    """Open since before anything ran: counted and latched, and closing it ends nothing (SAFETY 1)."""
    cold.boot(tamper_closed=False)
    cold.until(lambda: cold.page("guard")["HEARTBEAT_NS"] > 0, "the guard", 60)
    page = cold.page("guard")
    assert page["TAMPERS"] == 1
    assert page["LATER"] >> Reasons.TAMPER & 1 or page["REASON"] == Reasons.TAMPER
    cold.close_contact(TAMPER)
    cold.until(lambda: cold.mode() == "PAUSED", "PAUSED", 120)
    page = cold.page("guard")
    assert page["LATER"] >> Reasons.TAMPER & 1 or page["REASON"] == Reasons.TAMPER
    assert cold.is_shut()


FILL = "fallocate -l $(($(stat -f -c '%a * %S' /data) - 16384)) /data/ballast"  # and no more: who goes on
# writing takes the reserve too, the core ends with 74, and the cancel-only process does its work
FAIL = "mount -o remount,errors=remount-ro /data && echo 1 > /sys/fs/ext4/vdb/trigger_fs_error"


def _break_with_orders_open(box: Machine, command: str) -> None:
    """The disk takes nothing more while ten entries work: gate shut, all of them cancelled."""
    box.boot()
    box.arm()
    box.place_entries(10)
    box.watch_entries()
    box.sh(command, 120)
    box.until(box.is_shut, "the gate shut", 60)
    box.until(box.entries_gone_ns, "every entry cancelled", 60)
    gone_s = (box.entries_gone_ns() - box.page("guard")["TRIP_NS"]) / 1e9
    print(f"\n  emulated: gate shut → 10 entries cancelled {gone_s:.1f} s")
    box.until(lambda: box.mode() in ("PAUSED", "EMERGENCY"), "the mode on the page", 60)


def test_a_full_disk_leaves_the_reserve_to_exits(cold: Machine) -> None:
    """The log goes on, on the reserve; new exposure waits for room, and for somebody who arms (SAFETY 8)."""
    _break_with_orders_open(cold, FILL)
    core = cold.pid("core")
    page = cold.page("guard")
    assert page["REASON"] == Reasons.AUDIT_STORE or page["LATER"] >> Reasons.AUDIT_STORE & 1
    cold.until(lambda: _holds(cold, "DISK_QUOTA"), "the hold", 60)
    assert cold.unit("core", "NRestarts")["NRestarts"] == "0"
    cold.sh("rm /data/ballast")
    cold.until(lambda: not _holds(cold, "DISK_QUOTA"), "the hold's end", 120)
    assert cold.is_shut()
    assert cold.pid("core") == core
    assert "VERIFIED" in cold.verify()
    assert "in use" in [entry["data"]["reserve"] for entry in cold.entries("disk")]
    cold.arm()
    assert cold.mode() == "NORMAL"


def test_a_disk_that_fails_is_not_trusted_until_a_reboot(cold: Machine) -> None:
    """The log fails: nobody arms until a reboot, and what was acknowledged is there (SAFETY 8)."""
    _break_with_orders_open(cold, FAIL)
    cold.until(lambda: _refuses(cold) is not False, "the refusal", 60)
    cold.until(lambda: cold.page("guard")["DISK_FAILED"], "the guard's own failure to store", 10)
    assert cold.page("guard")["LAMP_RED"] == LAMP_FAST, "a trip that cannot be stored must not look stored"
    cold.rig.shutdown(180)
    cold.boot()
    cold.until(lambda: cold.mode() != "", "the core", 120)
    cold.until(lambda: _refuses(cold) is False, "the log read whole", 120)
    assert cold.is_shut()
    assert "VERIFIED" in cold.verify()


def _refuses(box: Machine) -> bool | None:
    """Whether the page names the store among what is missing for arming; None while nobody answers."""
    status = box.status()
    return "store_ok" in status["missing"] if status else None


def _holds(box: Machine, cause: str) -> bool:
    return any(hold["cause"] == cause for hold in box.status().get("holds", ()))
