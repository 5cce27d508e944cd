"""The installed appliance beside what breaks around it: a stalling disk, a stepping clock, a stopped core, a
wrong configuration. One guest for the whole module; times are the emulation's and are printed.
"""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.vm.machine import LAMP_FAST, LAMP_PULSE, LAMP_SLOW, MARKS, STATE, UNITS, Machine, Reasons

pytestmark = MARKS
STALL_MS = 2_000
EXPOSURE_MAX = 1.8


def shown_while_storing(box: Machine) -> tuple[list[int], list[tuple[int, int, int]], int]:
    """Until the trip is stored: red patterns of the page, lamps as lit, the core's longest silence in ns."""
    patterns: list[int] = []
    lit: list[tuple[int, int, int]] = []
    silence_ns, end = 0, time.monotonic() + 20
    while time.monotonic() < end:
        core, guard = box.page("core"), box.page("guard")
        if guard["STORED"] == guard["STATE"]:
            return patterns, lit, silence_ns
        silence_ns = max(silence_ns, guard["HEARTBEAT_NS"] - core["HEARTBEAT_NS"])
        patterns.append(guard["LAMP_RED"])
        lit.append(box.lamps())
    raise AssertionError("the trip was never stored")


def test_a_stall_of_the_disk_delays_nothing_but_stored(box: Machine) -> None:
    """Flushes of 2 s: the press shuts the gate at once, "not yet stored" is shown until it is, orders go."""
    box.delay_flushes(0)
    box.until(lambda: box.mode() != "", "a page", 120)
    box.arm()
    box.place_entries(10)
    core, before = box.unit("core", "MainPID", "NRestarts"), box.page("guard")["STATE"]
    box.watch_entries()
    box.delay_flushes(STALL_MS)
    try:
        began = time.monotonic()
        box.press_button()
        shut_s = box.until(lambda: box.page("guard")["STATE"] > before, "the trip", 5)
        patterns, lit, silence_ns = shown_while_storing(box)
        stored_s = time.monotonic() - began
        box.until(box.entries_gone_ns, "every entry cancelled", 10)
        gone_s = (box.entries_gone_ns() - box.page("guard")["TRIP_NS"]) / 1e9
        assert box.mode() == "EMERGENCY"
    finally:
        box.delay_flushes(0)
        box.release_button()
    print(
        f"\n  emulated, flushes of 2 s: shut {shut_s * 1e3:.0f} ms, stored {stored_s:.1f} s, entries gone "
        f"{gone_s:.2f} s, core's longest silence {silence_ns / 1e6:.0f} ms"
    )
    assert shut_s < 0.5
    assert stored_s > STALL_MS / 1000
    assert set(patterns[1:]) == {LAMP_FAST}  # the first look may come between the trip and its loop's end
    assert {red for _, _, red in lit} == {0, 1}
    assert silence_ns < 800_000_000, "the guard would have shown the core as lost"
    assert box.unit("core", "MainPID", "NRestarts") == core
    assert gone_s < 10
    box.until(lambda: box.page("guard")["LAMP_RED"] == LAMP_SLOW, "EMERGENCY, stored", 10)
    assert "VERIFIED" in box.verify()


@pytest.mark.parametrize("step", ["+1 hour", "-1 hour"])
def test_a_step_of_the_clock_moves_nothing(armed: Machine, step: str) -> None:
    """Heartbeats, latch and lamps run on CLOCK_MONOTONIC: the gate stays open, and a press still shuts it."""
    before, units = armed.page("guard"), {name: armed.unit(name, "MainPID") for name in UNITS}
    try:
        armed.sh(f"date -s '{step}'")
        green, _, red = armed.watch_lamps(4)
        after = armed.page("guard")
        assert (after["STATE"], after["ARMED"]) == (before["STATE"], before["STATE"])
        assert after["LAMP_GREEN"] == LAMP_PULSE
        assert 0 < green < 0.5
        assert red == 0
        assert {name: armed.unit(name, "MainPID") for name in UNITS} == units
        armed.press_button()
        shut_s = armed.until(lambda: armed.page("guard")["STATE"] > before["STATE"], "the trip", 5)
        armed.until(lambda: armed.page("guard")["STORED"] == armed.page("guard")["STATE"], "stored", 10)
        armed.until(lambda: armed.mode() == "EMERGENCY", "EMERGENCY on the page", 10)
        assert "VERIFIED" in armed.verify()
        told = [entry["data"] for entry in armed.entries("clock")]
        assert any(abs(abs(int(data["moved_ns"])) - 3_600 * 10**9) < 60 * 10**9 for data in told), told
        print(f"\n  emulated, clock {step}: press → gate shut as the host sees it {shut_s * 1e3:.0f} ms")
        armed.sh("systemctl restart interlock-core", 120)
        armed.until(lambda: armed.mode() == "EMERGENCY", "the mode kept by a core of the stepped clock", 90)
    finally:
        armed.sh(f"date -s @{time.time():.3f}")
        armed.release_button()
    assert "VERIFIED" in armed.verify()


def test_a_clock_nobody_set_holds(box: Machine) -> None:
    """watch = "system" in a guest without a time server: the core starts, waits and says why (SAFETY 10)."""
    box.sh(f"cp -p {STATE}/interlock.toml /run/kept.toml")
    box.sh(f"sed -i 's/^watch = \"auto\"/watch = \"system\"/' {STATE}/interlock.toml")
    try:
        box.sh("systemctl restart interlock-core", 120)
        box.until(lambda: _holds(box, "CLOCK"), "the hold", 90)
        assert "hold CLOCK" in box.status()["missing"]
        box.until(lambda: box.page("guard")["LAMP_YELLOW"], "yellow, at a round of the guard", 10)
        assert box.is_shut()
    finally:
        box.sh(f"cp -p /run/kept.toml {STATE}/interlock.toml; systemctl restart interlock-core", 120)
    box.until(lambda: box.mode() != "" and not _holds(box, "CLOCK"), "a core that does not look", 90)


def _holds(box: Machine, cause: str) -> bool:
    return any(hold["cause"] == cause for hold in box.status().get("holds", ()))


def test_a_start_tests_every_lamp(box: Machine) -> None:
    """All three lit at once for a moment, seen on the lines, and green nowhere else in a box not armed."""
    generation = box.page("guard")["GENERATION"]
    box.sh("systemctl restart --no-block interlock-guard")
    seen: list[tuple[float, tuple[int, int, int]]] = []
    end = time.monotonic() + 30
    while time.monotonic() < end and (not seen or time.monotonic() < seen[0][0] + 3):
        lamps = box.lamps()
        if seen or lamps == (1, 1, 1):
            seen.append((time.monotonic(), lamps))
    assert seen, "no lamp test within 30 s"
    together = [at for at, lamps in seen if lamps == (1, 1, 1)]
    print(f"\n  lamp test: all three lit for {together[-1] - together[0]:.2f} s, {len(together)} looks")
    assert 0.1 < together[-1] - together[0] < 2
    assert not any(lamps[0] for at, lamps in seen if at > together[-1] + 0.1)
    assert box.page("guard")["GENERATION"] == generation + 1


def test_a_stopped_core_cannot_keep_orders_open(armed: Machine) -> None:
    """SIGSTOP and a press: every entry is cancelled within 10 s by the unit that stands by (SAFETY 3)."""
    core = armed.pid("core")
    armed.place_entries(20)
    armed.sh(
        "systemctl service-watchdogs no"
    )  # else the core is killed after 5 s, and its successor cancels too
    try:
        armed.sh(f"kill -STOP {core}")
        armed.watch_entries()
        armed.press_button()
        armed.until(armed.entries_gone_ns, "every entry cancelled", 15)
        took_s = (armed.entries_gone_ns() - armed.page("guard")["TRIP_NS"]) / 1e9
        print(f"\n  emulated: press → 20 entries cancelled, core stopped: {took_s:.2f} s")
        assert took_s < 10
        assert armed.pid("core") == core
        assert armed.sh(f"grep State /proc/{core}/status").out.split()[1] == "T"
    finally:
        armed.sh(f"kill -CONT {core}; systemctl service-watchdogs yes", check=False)
        armed.release_button()
    armed.until(lambda: armed.mode() == "EMERGENCY", "EMERGENCY from the core", 60)
    armed.until(
        lambda: sum(entry["data"].get("who") == "cancel-only" for entry in armed.entries("gap")) >= 20,
        "what was done for it in the log",
        60,
    )


def wait_and_count_starts(box: Machine, unit: str, cursor: str, seconds: float) -> int:
    """Lines of systemd about starting a unit since a place in the journal."""
    time.sleep(seconds)
    command = f"journalctl -u interlock-{unit} --after-cursor='{cursor}' --no-pager -o cat"
    return sum(line.startswith("Starting ") for line in box.sh(command).out.splitlines())


def journal_cursor(box: Machine) -> str:
    """Where the journal ends now."""
    return str(box.sh("journalctl -n 0 --show-cursor").out.partition("cursor: ")[2].strip())


def test_a_wrong_configuration_does_not_loop(armed: Machine) -> None:
    """Exit 78 of the core: failed once, stays failed, and orders nobody minds are cancelled after 30 s."""
    armed.place_entries(5)
    armed.watch_entries()
    armed.sh(f"cp -p {STATE}/interlock.toml /run/kept.toml && echo 'nonsense = 1' >> {STATE}/interlock.toml")
    try:
        cursor, began = journal_cursor(armed), time.monotonic()
        assert armed.sh("systemctl restart interlock-core", 120, check=False).rc != 0
        assert wait_and_count_starts(armed, "core", cursor, 6) == 1
        found = armed.unit("core", "ActiveState", "Result", "ExecMainStatus")
        assert found == {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}
        said = armed.sh("journalctl -u interlock-core -n 20 --no-pager -o cat").out
        assert re.search(r"interlock\.toml:\d+.*nonsense|nonsense.*interlock\.toml:\d+", said), said
        assert armed.page("guard")["LAMP_YELLOW"] == LAMP_FAST
        armed.until(armed.entries_gone_ns, "the cancel-only process", 60)
        print(f"\n  core gone with exit 78 → entries cancelled after {time.monotonic() - began:.0f} s")
    finally:
        armed.sh(f"cp -p /run/kept.toml {STATE}/interlock.toml; systemctl reset-failed interlock-core")
    armed.sh("systemctl start interlock-core", 120)
    armed.until(lambda: armed.mode() != "", "a page", 90)


def lamps_until_failed(box: Machine, seconds: float) -> set[tuple[int, int, int]]:
    """Every combination seen on the lines until systemd has given the guard up."""
    seen, end = set(), time.monotonic() + seconds
    while time.monotonic() < end:
        seen |= {box.lamps() for _ in range(100)}
        if box.unit("guard", "ActiveState")["ActiveState"] == "failed":
            return seen
    raise AssertionError(f"the guard did not fail within {seconds:.0f} s")


def test_a_guard_without_a_configuration_does_not_loop(armed: Machine) -> None:
    """Exit 78 of the guard: failed once, fault lights behind it, and the core trips by itself: PAUSED."""
    armed.sh(f"cp -p {STATE}/guard.toml /run/kept.toml && echo '[nonsense]' >> {STATE}/guard.toml")
    try:
        cursor = journal_cursor(armed)
        armed.sh(f"kill -9 {armed.pid('guard')}")  # its own end would light the same lamps
        seen = lamps_until_failed(armed, 60)
        assert (0, 1, 1) in seen, seen
        assert wait_and_count_starts(armed, "guard", cursor, 3) == 1
        found = armed.unit("guard", "ActiveState", "Result", "ExecMainStatus")
        assert found == {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}
        armed.until(lambda: armed.mode() == "PAUSED", "PAUSED without a guard", 10)
        assert armed.status()["trip"]["reason"] == "GUARD_LOST"
    finally:
        armed.sh(f"cp -p /run/kept.toml {STATE}/guard.toml; systemctl reset-failed interlock-guard")
    armed.sh("systemctl start interlock-guard", 60)
    # The core, alone, had removed the armed record: the new guard finds none, and adopts the trip as later.
    armed.until(lambda: armed.page("guard")["LATER"] >> Reasons.GUARD_LOST & 1, "the trip adopted", 20)
    assert armed.page("guard")["REASON"] == Reasons.NEVER_ARMED
    assert armed.is_shut()


def test_every_unit_is_confined(box: Machine) -> None:
    """`systemd-analyze security` in the guest, as installed: at most 1.8 for each."""
    scores = {}
    for name in UNITS:
        found = box.sh(f"systemd-analyze security --no-pager interlock-{name}.service", check=False).out
        scores[name] = float(re.findall(r"exposure level for .*: ([0-9.]+)", found)[0])
    print("\n  exposure: " + json.dumps(scores))
    assert max(scores.values()) <= EXPOSURE_MAX
