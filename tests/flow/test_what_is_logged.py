"""One run of a whole appliance with its mirror: what its log says, what is missing, what the mirror has.

Started, armed, pressed, armed again and stopped by `interlock up` and `interlock board`; every test looks at
what that run left behind.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from appliance.audit.records import Record, decode_entry
from appliance.storage.log_reader import LogReader
from appliance.upstream.witness import origin_hash
from tests.box import Box
from tests.processes import running, until
from tests.rules.logged import TABLE

CHANGES = {
    'speed = "60 d/s"': 'speed = "200 d/s"',
    'heartbeat = "30 s"': 'heartbeat = "1 s"',
    "mirror = false": "mirror = true",
}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """Stopped in order, everything witnessed and mirrored."""
    root = tmp_path_factory.mktemp("logged")
    box = Box(root, CHANGES)
    with running(box.up(), root / "up.log") as child:
        until(lambda: box.mode() == "NORMAL" or child.process.poll() is not None, "NORMAL", 60)
        until(lambda: bool(box.held()), "a position", 60)
        assert box.interlock("board press").returncode == 0
        until(lambda: box.mode() == "EMERGENCY", "EMERGENCY", 5)
        until(lambda: not box.held(), "everything sold", 10)
        assert box.interlock("board release").returncode == 0
        for mode in ("PAUSED", "NORMAL"):
            until(box.ready_for_a_step, "the core's consent to a step", 10)
            assert box.interlock("board arm").returncode == 0
            until(partial(_is_in, box, mode), mode, 5)
        until(lambda: _heartbeats(box) >= 2, "heartbeats", 10)
        assert child.stop() == 130
    return box


def _is_in(box: Box, mode: str) -> bool:
    return box.mode() == mode


def _heartbeats(box: Box) -> int:
    return len(box.entries("heartbeat"))


@pytest.fixture(scope="module")
def records(box: Box) -> list[Record]:
    """Every entry."""
    reader = LogReader(box.state / "log")
    try:
        return [decode_entry(entry.body) for entry in reader.entries()]
    finally:
        reader.close()


def test_each_kind_of_a_run_is_there_with_its_fields_and_causes(records: list[Record]) -> None:
    """The table of what is logged, kind by kind, against real entries."""
    found = {kind: [record for record in records if record.kind == kind] for kind in TABLE}
    assert [kind for kind, each in TABLE.items() if each.run and not found[kind]] == []
    for kind, each in TABLE.items():
        for record in found[kind]:
            assert set(each.fields) <= record.data.keys(), (kind, record.data)
    for kind, each in TABLE.items():
        causes = {records[cause].kind for record in found[kind] for cause in record.causes}
        assert bool(causes & set(each.follows)) == bool(each.follows and found[kind]), (kind, causes)


def test_who_pressed_and_what_followed_is_one_chain(records: list[Record]) -> None:
    """Trip → mode; arm press → step or arm; intent → verdict, order and fill: none without its cause."""
    for record in records:
        named = [records[cause] for cause in record.causes]
        if record.kind == "mode":
            assert len(named) == 1, record
            (cause,) = named
            reason = {"trip": cause.data.get("reason"), "arm_press": record.data["why"]}[cause.kind]
            assert record.data["why"] == reason
        if record.kind in ("verdict", "order", "fill"):
            assert [cause.kind for cause in named] == ["intent"], record
        if record.kind == "arm":
            assert [cause.data["outcome"] for cause in named] == ["ARMED"]


def test_the_configuration_in_force_is_that_of_the_file(box: Box, records: list[Record]) -> None:
    """An auditor who is given the file can say that it was this one."""
    (config,) = (record for record in records if record.kind == "config")
    assert config.data["sha256"] == hashlib.sha256(box.config.read_bytes()).hexdigest()
    limits = config.data["limits"]
    assert isinstance(limits, dict)
    assert limits["account position cap"] == "2 %"


def test_what_people_were_told_is_in_the_log(records: list[Record]) -> None:
    """The alerter's own words: the press, and that it stood."""
    told = [record.data for record in records if record.kind == "alert"]
    counts, standing = told[-1]["counts"], [each["standing"] for each in told]
    assert isinstance(counts, dict)
    assert counts["KILL_BUTTON"] >= 1
    assert "KILL_BUTTON" in json.dumps(standing)


def test_nothing_is_missing(box: Box) -> None:
    """Numbers, heartbeats and the end add up, and no ring owes anything."""
    report = json.loads(box.interlock("verify", "--json", "--complete").stdout)
    assert report["ok"], report
    found = report["completeness"]
    assert (found["gaps"], found["running"], found["unjudged"]) == ([], [], 0)
    assert found["heartbeats"] >= 3
    gaps = box.interlock("audit gaps", "--json")
    assert gaps.returncode == 0, gaps
    assert json.loads(gaps.stdout) == {"ok": True, **found, "unrecorded": []}


def test_the_mirror_s_copy_is_verified_to_the_last_file(box: Box) -> None:
    """Both co-signatures; then one byte of each class of file is changed, and each is refused by its name."""
    verified = json.loads(box.interlock("verify", "--json").stdout)
    assert verified["mirrored"] == verified["witnessed"] == verified["entries"]
    out = box.root / "copy"
    assert box.interlock("collector", "--export", str(out)).returncode == 0
    (tree,) = out.iterdir()
    assert tree.name == origin_hash(verified["origin"])
    whole = box.interlock("verify", "--json", "--mirror", str(tree))
    assert whole.returncode == 0, whole
    report = json.loads(whole.stdout)
    assert (report["root"], report["mirrored"]) == (verified["root"], verified["entries"])
    assert report["witnessed"] == verified["entries"], "the box's own co-signed checkpoint has its root"
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        kept = path.read_bytes()
        path.write_bytes(kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:])
        found = box.interlock("verify", "--json", "--mirror", str(tree))
        assert found.returncode == 1, path
        place = str(path.relative_to(tree))
        said = json.loads(found.stdout)["findings"]
        assert any(place in each or "mirrored" in each for each in said), (place, said)
        path.write_bytes(kept)


def test_a_copy_checks_on_another_machine(box: Box, tmp_path: Path) -> None:
    """With the keys brought along and no appliance there; with another mirror's key it is refused."""
    out, trust, here = tmp_path / "copy", tmp_path / "trust", ["--state", str(tmp_path / "none")]
    assert box.interlock("collector", "--export", str(out)).returncode == 0
    trust.mkdir()
    for name in ("log", "mirror"):
        shutil.copy(box.state / "trust" / f"{name}.vkey", trust)
    (tree,) = out.iterdir()
    asked = ["--mirror", str(tree), "--trust", str(trust), *here]
    found = box.interlock("verify", "--json", *asked)
    assert found.returncode == 0, found
    assert json.loads(found.stdout)["witnessed"] == 0
    shutil.copy(box.state / "trust" / "witness.vkey", trust / "mirror.vkey")
    assert box.interlock("verify", "--json", *asked).returncode == 1
    (trust / "mirror.vkey").unlink()
    refused = box.interlock("verify", *asked)
    assert (refused.returncode, "mirror.vkey is missing" in refused.stderr) == (2, True)
