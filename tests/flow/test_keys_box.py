"""A whole appliance before and behind a change of its log's key: it goes on, and its collector with it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.box import Box
from tests.processes import running, until


def test_an_appliance_goes_on_under_its_next_key(tmp_path: Path) -> None:
    """Witnessed, exported while it runs, stopped, rotated, started, witnessed again."""
    box = Box(tmp_path)
    with running(box.up("--no-arm"), tmp_path / "first.log") as child:
        until(lambda: (status := box.status()) and status.audit.witnessed > 0, "a co-signature", 60)
        assert box.interlock("keys rotate log").returncode == 75, "a core has the log"
        assert box.interlock("audit export", "--out", str(tmp_path / "out")).returncode == 0
        until(lambda: [each for each in box.entries("key") if each["act"] == "used"], "the use of a key")
        child.stop()
    before = box.verified()
    assert box.interlock("keys rotate log").returncode == 0
    with running(box.up("--no-arm"), tmp_path / "second.log") as child:
        until(
            lambda: (status := box.status()) and status.audit.witnessed > before["entries"],
            "a co-signature under the new key", 60,
        )  # fmt: skip
        status = box.status()
        assert status is not None
        assert not status.audit.alarm, status.audit
        child.stop()
    report = box.verified()
    assert len(report["keys"]) == 2
    assert report["witnessed"] == report["entries"]
    starts = [entry["keys"]["log"] for entry in box.entries("start")]
    assert starts == [key["vkey"] for key in report["keys"]]
    listed = json.loads(box.interlock("keys list --json").stdout)
    assert [row["state"] for row in listed if row["name"] == "log"] == ["retired", "in use"]
