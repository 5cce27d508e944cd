"""Power cuts at random moments around a press: what was shown as stored is stored (SAFETY 5).

INTERLOCK_CUTS says how many (default 3; 30 for a release), INTERLOCK_CUT_SEED gives the moments of an earlier
run again. Each cut is a restored snapshot of an armed box that trades, a press, a cut, and a boot from what
the disk still holds. A fifth of the cuts come before the press, most of the others while it is being stored.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.vm.machine import LAMP_SLOW, MARKS, STATE, WHERE_INSTALLED, Machine, Reasons

pytestmark = MARKS
CUTS = int(os.environ.get("INTERLOCK_CUTS", "3"))
SEED = int(os.environ.get("INTERLOCK_CUT_SEED") or random.SystemRandom().randrange(1 << 32))


class Head(NamedTuple):
    """A published checkpoint: size of the log and its root."""

    size: int
    root: str


class Seen(NamedTuple):
    """What the box showed before the power went. Milliseconds count from the press; stored_ms None: never."""

    cut_ms: float
    shut: bool
    stored_ms: float | None
    lamp_stored: bool
    head: Head


def moments(luck: random.Random) -> Iterator[float]:
    """Seconds after the press, for ever."""
    while True:
        yield luck.choice(
            [
                -luck.uniform(0, 0.3),
                luck.uniform(0, 0.02),
                luck.uniform(0, 0.06),
                luck.uniform(0, 0.15),
                luck.uniform(0, 1.5),
            ]
        )


def published(box: Machine) -> Head:
    """The checkpoint anybody may have taken away from this box."""
    _, size, root = box.rig.get(f"{STATE}/log/checkpoint").decode().splitlines()[:3]
    return Head(int(size), root)


def press_and_cut(box: Machine, after_s: float, disk: str, seed: int) -> Seen:
    """Presses unless the cut comes first, watches the page until the moment has come, and cuts."""
    page, head, stored_ms = box.page("guard"), published(box), None
    before = page["STATE"]
    pressed = time.monotonic()
    if after_s < 0:
        pressed -= after_s  # the press would come then
    else:
        box.press_button()
    while time.monotonic() < pressed + after_s:
        page = box.page("guard")
        if stored_ms is None and page["STATE"] > before and page["STORED"] == page["STATE"]:
            stored_ms = 1e3 * (time.monotonic() - pressed)
    cut_ms = 1e3 * (time.monotonic() - pressed)
    box.rig.power_cut(disk, seed=seed)
    shut = page["STATE"] > before
    return Seen(cut_ms, shut, stored_ms, shut and page["LAMP_RED"] == LAMP_SLOW, head)


def root_at(box: Machine, size: int) -> str:
    """Root of the first `size` entries as the log has them now."""
    script = (
        "import base64, pathlib; from appliance.storage.log_reader import LogReader; "
        f"print(base64.b64encode(LogReader(pathlib.Path('{STATE}/log')).root({size})).decode())"
    )
    python = f"{WHERE_INSTALLED}/bin/python"
    return str(box.sh(f'cd /tmp && runuser -u interlock -- {python} -c "{script}"', 60).out.strip())


def test_power_cuts_around_a_press(cold: Machine) -> None:
    """After every cut: shut; tripped if stored had been shown; log whole and what it published still true."""
    print(f"\n  {CUTS} cuts; INTERLOCK_CUT_SEED={SEED} gives their moments again")
    luck = random.Random(SEED)
    cold.boot()
    cold.arm()
    saved = cold.rig.dir / "armed"
    cold.rig.snapshot(saved)
    found: Counter[str] = Counter()
    for cut, after_s in zip(range(1, CUTS + 1), moments(luck), strict=False):
        disk = luck.choice(["flushed", "random"])
        cold.rig.restore(saved)
        cold.until(lambda: not cold.is_shut(), "armed after the restore", 10)
        time.sleep(luck.uniform(0, 1))
        seen = press_and_cut(cold, after_s, disk, seed=SEED + cut)
        up_s = cold.boot()
        cold.until(lambda: cold.page("guard")["HEARTBEAT_NS"] > 0, "the guard", 60)
        reason = Reasons(cold.page("guard")["REASON"])
        stored = seen.stored_ms is not None
        shown = "stored shown" if stored else "gate shut" if seen.shut else "nothing shown"
        when = f"{shown} ({seen.stored_ms:+.0f} ms)" if stored else shown
        print(
            f"  cut {cut:2}: {seen.cut_ms:+7.1f} ms, {when}, disk {disk} → boot {reason.name}",
            end="",
            flush=True,
        )
        assert cold.is_shut(), "armed after a power cut"
        assert reason is Reasons.NEVER_ARMED or not stored, "stored was shown, and the record is back"
        assert stored or not seen.lamp_stored, "the lamp said stored before the page did"
        cold.until(lambda: cold.mode() != "", "the core", 120)
        report = json.loads(cold.interlock("verify --json", check=False).out)
        assert report["ok"], report["findings"]
        assert report["entries"] >= seen.head.size, "the log lost what its checkpoint had published"
        assert root_at(cold, seen.head.size) == seen.head.root, "another history under a published checkpoint"
        print(f", log verified, {report['entries']} entries ({seen.head.size} published), up {up_s:.0f} s")
        found[f"{'before the press' if after_s < 0 else shown} → {reason.name}"] += 1
        cold.rig.close()
    print("\n".join(f"  {count:2} × {what}" for what, count in sorted(found.items())))
