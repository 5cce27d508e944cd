"""The installed appliance on a real kernel: lines, lamps, units, latch; the button works whatever happens.

One guest for the whole module, armed again where a test needs it: a boot takes 20 s under emulation. Times
are the emulation's; they are printed, and only the order of magnitude is asserted.
"""

from __future__ import annotations

import time

import pytest

from tests.vm.machine import BUTTON, MARKS, NO_PROOF, TAMPER, UNITS, Machine, Reasons

pytestmark = MARKS
SWAPPING = """
test -e /swap || { fallocate -l 300M /swap && chmod 600 /swap && mkswap -q /swap; }; swapon /swap
cat > /run/hog.py <<'PY'
blocks = [bytearray(1 << 20) for _ in range(1000)]
while True:
    for block in blocks:
        for at in range(0, 1 << 20, 4096):
            block[at] ^= 1
PY
systemd-run -q -u hog1 python3 /run/hog.py
for i in $(seq 60); do [ $(awk '/SwapFree/ {print $2}' /proc/meminfo) -lt 200000 ] && break; sleep 0.5; done
"""


def test_everything_starts_and_is_confined(box: Machine) -> None:
    """READY of every unit, an unprivileged user, real-time priority for the guard, locked memory."""
    for unit in UNITS:
        assert box.sh(f"systemctl is-active interlock-{unit}").out.strip() == "active", unit
    assert box.sh("systemctl --failed --plain --no-legend").out.strip() == ""
    guard = box.pid("guard")
    assert box.sh(f"chrt -p {guard}").out.split("policy: ")[1].startswith("SCHED_FIFO")
    for unit in ("guard", "cancel-only"):
        locked = box.sh(f"grep VmLck /proc/{box.pid(unit)}/status").out.split()[1]
        assert int(locked) > 5_000, f"{unit} has {locked} kB locked"
    for unit in UNITS:
        status = box.sh(f"cat /proc/{box.pid(unit)}/status").out
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status, unit
        assert "Uid:\t0" not in status, unit


def test_a_box_never_armed_is_tripped_and_says_so(box: Machine) -> None:
    """No valid record means tripped (SAFETY 5)."""
    assert box.page("guard")["REASON"] in (Reasons.NEVER_ARMED, Reasons.KILL_BUTTON)
    assert box.page("guard")["ARMED"] != box.page("guard")["STATE"]
    green, _, red = box.watch_lamps(3)
    assert green == 0
    assert 0 < red < 1


def test_a_shorted_button_is_refused_at_arming(box: Machine) -> None:
    """It reads closed for ever: without a press since the start no arm press opens the gate (SAFETY 6)."""
    box.sh("systemctl restart interlock-guard")
    box.ready()
    box.until(lambda: not box.status().get("missing", ["?"]), "nothing but the proof missing", 60)
    for count in (1, 2):
        box.arm_press()
        page = box.page("guard")
        assert (page["ARM_PRESSES"], page["ARM_OUTCOME"]) == (count, NO_PROOF)
        assert box.is_shut()
    last = box.entries("arm_press")[-1]["data"]
    assert (last["outcome"], last["press"]) == ("NO_PROOF", 2)


def test_a_person_arms_it_and_green_only_pulses(armed: Machine) -> None:
    """Proof test, arm presses, NORMAL; no steady light (SAFETY 6, 11)."""
    green, yellow, red = armed.watch_lamps(4)
    assert 0 < green < 0.5
    assert (yellow, red) == (0, 0)


def test_a_press_shuts_the_gate_and_is_stored(armed: Machine) -> None:
    """Edge on the character device → page word → record gone from the disk → page says EMERGENCY."""
    before = armed.page("guard")["STATE"]
    began = time.monotonic()
    armed.press_button()
    shut_s = armed.until(lambda: armed.page("guard")["STATE"] > before, "the trip", 5)
    stored_s = armed.until(
        lambda: armed.page("guard")["STORED"] == armed.page("guard")["STATE"], "stored", 10
    )
    shown_s = armed.until(lambda: armed.mode() == "EMERGENCY", "EMERGENCY on the page", 10)
    print(
        f"\n  emulated, seen from the host: shut {shut_s * 1e3:.0f} ms, stored {stored_s * 1e3:.0f} ms, "
        f"page {shown_s:.1f} s, all {time.monotonic() - began:.1f} s"
    )
    assert armed.page("guard")["REASON"] == Reasons.KILL_BUTTON
    assert armed.sh("ls /var/lib/interlock/latch", check=False).out.split() == []
    armed.release_button()
    time.sleep(1)
    assert armed.mode() == "EMERGENCY"


@pytest.mark.parametrize("how", ["burn", "stop", "swap"])
def test_a_press_while_the_core_is_busy_stopped_or_swapping(armed: Machine, how: str) -> None:
    """The gate shuts whatever the core does; if it is stopped, the cancel-only process sees to the orders."""
    core, before = armed.pid("core"), armed.page("guard")["STATE"]
    hog = {
        "burn": "for i in 1 2 3 4; do systemd-run -q -u hog$i python3 -c 'while True: pass'; done",
        "stop": f"kill -STOP {core}",
        "swap": SWAPPING,
    }[how]
    armed.sh(hog, 120)
    try:
        time.sleep(1.5)
        began = time.monotonic()
        armed.press_button()
        armed.until(lambda: armed.page("guard")["STATE"] > before, "the trip", 5)
        took_ms = 1e3 * (time.monotonic() - began)
        print(f"\n  emulated, {how}: press → gate shut as the host sees it {took_ms:.0f} ms")
        armed.until(lambda: armed.page("guard")["STORED"] == armed.page("guard")["STATE"], "stored", 20)
        if how == "stop":
            said = "journalctl -u interlock-cancel-only -n 5 --no-pager -o cat"
            armed.until(lambda: "does not answer" in armed.sh(said).out, "the cancel-only process", 10)
    finally:
        armed.sh(f"kill -CONT {core}; systemctl stop hog1 hog2 hog3 hog4; swapoff -a", 120, False)
        armed.release_button()
    armed.until(lambda: armed.mode() == "EMERGENCY", "EMERGENCY from the core", 60)


def test_a_cut_wire_is_a_press(armed: Machine) -> None:
    """And stays one: nobody arms with the wire cut."""
    armed.open_contact(BUTTON)
    armed.until(lambda: armed.mode() == "EMERGENCY", "EMERGENCY", 10)
    armed.arm_press()
    assert armed.page("guard")["ARMED"] != armed.page("guard")["STATE"]


def test_tamper_pauses_and_is_latched(armed: Machine) -> None:
    """The case opened and closed again: PAUSED, nothing sold, until somebody arms (SAFETY 1)."""
    armed.open_contact(TAMPER)
    armed.until(lambda: armed.mode() == "PAUSED", "PAUSED", 10)
    armed.close_contact(TAMPER)
    time.sleep(1)
    assert (armed.mode(), armed.page("guard")["REASON"]) == ("PAUSED", Reasons.TAMPER)


def test_kill_9_of_the_core(armed: Machine) -> None:
    """Lamps show it, systemd restarts it, the mode is kept."""
    core = armed.pid("core")
    armed.sh(f"kill -9 {core}")
    dark_s = armed.until(lambda: armed.page("guard")["LAMP_YELLOW"] == 3, "the lamps", 5)
    armed.until(lambda: armed.pid("core") not in (0, core), "a new core", 30)
    armed.until(lambda: armed.mode() == "NORMAL", "NORMAL again", 90)
    print(f"\n  core killed → lamps {dark_s:.1f} s")
    assert dark_s < 3


def liquidations(box: Machine) -> int:
    """How many liquidation exits were asked for so far."""
    wishes = [entry["data"]["intent"] for entry in box.entries("intent")]
    return sum(wish.startswith("liquidate/") for wish in wishes)


def test_kill_9_of_the_guard_liquidates_nothing(armed: Machine) -> None:
    """PAUSED, one epoch further, not armed; positions stay (SAFETY 1)."""
    sold = liquidations(armed)
    guard, state = armed.pid("guard"), armed.page("guard")["STATE"]
    armed.sh(f"kill -9 {guard}")
    armed.until(lambda: armed.pid("guard") not in (0, guard), "a new guard", 20)
    armed.until(lambda: armed.mode() == "PAUSED", "PAUSED", 20)
    armed.until(lambda: armed.page("guard")["STATE"] > state, "the new guard's epoch", 20)
    assert armed.page("guard")["ARMED"] != armed.page("guard")["STATE"]
    assert armed.mode() == "PAUSED"
    assert liquidations(armed) == sold


def test_kill_9_of_both(armed: Machine) -> None:
    """Both come back; nobody is armed."""
    armed.sh(f"kill -9 {armed.pid('guard')} {armed.pid('core')}")
    armed.until(lambda: armed.mode() == "PAUSED", "PAUSED after both came back", 90)
    assert armed.page("guard")["ARMED"] != armed.page("guard")["STATE"]


def test_a_hung_core_is_restarted_by_its_watchdog(armed: Machine) -> None:
    """SIGSTOP for good: systemd's watchdog ends it within 5 s and starts it again (SAFETY 3)."""
    core = armed.pid("core")
    armed.sh(f"kill -STOP {core}")
    took = armed.until(lambda: armed.pid("core") not in (0, core), "the watchdog's restart", 40)
    print(f"\n  core hung → another runs {took:.1f} s")
    assert (
        armed.sh("journalctl -u interlock-core --no-pager -o cat | grep -c 'Watchdog timeout'").out.strip()
        != "0"
    )
    armed.until(lambda: armed.mode() != "", "its page", 90)


def test_a_hung_guard_shows_and_is_restarted(armed: Machine) -> None:
    """A hold at 250 ms, tripped at 2 s, watchdog at 2 s; not armed afterwards."""
    guard = armed.pid("guard")
    armed.sh(f"kill -STOP {guard}")
    armed.until(lambda: armed.mode() == "PAUSED", "PAUSED without a guard", 10)
    armed.until(lambda: armed.pid("guard") not in (0, guard), "the watchdog's restart", 20)
    armed.until(lambda: armed.page("guard")["PID"] != guard, "its page", 20)
    assert armed.page("guard")["ARMED"] != armed.page("guard")["STATE"]


def test_a_stopped_guard_leaves_the_fault_lights(box: Machine) -> None:
    """ExecStopPost= drives them; gpio-sim drops a released line, so the journal is asked (SAFETY 11)."""
    box.sh("systemctl stop interlock-guard")
    found = box.sh("systemctl show interlock-guard -p ExecStopPost --value").out
    assert "code=exited" in found, found
    assert "status=0" in found, found
    journal = box.sh("journalctl -u interlock-guard -n 20 --no-pager -o short-monotonic").out
    assert "failed" not in journal[journal.rindex("Stopping interlock-guard") :].lower(), journal


def test_the_log_verifies_after_all_that(box: Machine) -> None:
    """Everything above is in it."""
    assert "VERIFIED" in box.verify()
    assert box.entries("trip")
