"""`interlock audit proof` on a log on disk: made, checked without the log, and extended."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import apsw
import pytest

from appliance.domain.exit_codes import ExitCode
from appliance.ports import Entry
from appliance.runtime.cli import main
from tests.audit_story import StoryBox
from tests.audit_support import entry

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def box(tmp_path: Path) -> StoryBox:
    return StoryBox(tmp_path, cosign=12)


def made(box: StoryBox, capfd: Capture, *verb: str) -> str:
    """What a proof command prints."""
    assert box.run("proof", *verb) == 0
    return capfd.readouterr().out


def test_every_entry_s_proof_checks_without_the_appliance(
    box: StoryBox, tmp_path: Path, capfd: Capture
) -> None:
    """Entries the witness has seen are proven against its co-signature, later ones against the log's own."""
    file = tmp_path / "proof"
    for index in range(22):
        file.write_text(made(box, capfd, str(index)), "utf-8")
        trust = ["--trust", str(box.paths.trust), "--state", str(tmp_path / "elsewhere")]
        assert main(["audit", "proof", "--check", str(file), "--json", *trust]) == 0
        found = json.loads(capfd.readouterr().out)
        assert (found["entry"], found["size"]) == (index, 12 if index < 12 else 22)
        assert bool(found["witness"]) is (index < 12)


def test_an_outside_reader_needs_sha256_only(box: StoryBox, capfd: Capture) -> None:
    """The path of RFC 6962 written out for entry 20 of 22: 21 is its sibling, then 16…19, then 0…15."""
    lines = made(box, capfd, "20").split("\n")
    entry = base64.b64decode(lines[1].removeprefix("extra "))
    assert entry == box.bodies[20]
    path = [base64.b64decode(line) for line in lines[3:6]]
    computed = hashlib.sha256(b"\0" + entry).digest()
    computed = hashlib.sha256(b"\1" + computed + path[0]).digest()
    computed = hashlib.sha256(b"\1" + path[1] + computed).digest()
    computed = hashlib.sha256(b"\1" + path[2] + computed).digest()
    assert (lines[6], lines[8], base64.b64decode(lines[9])) == ("", "22", computed)


def test_a_proof_about_something_else_is_refused(box: StoryBox, tmp_path: Path, capfd: Capture) -> None:
    """Exit 1 and the reason; a missing file is a mistake of the command line, exit 2."""
    file, other = tmp_path / "proof", tmp_path / "entry"
    file.write_text(made(box, capfd, "5"), "utf-8")
    other.write_bytes(box.bodies[6])
    assert box.run("proof 6 --check", str(file)) == 1
    assert "NOT VERIFIED: another entry" in capfd.readouterr().out
    assert box.run("proof --check", str(file), "--entry", str(other)) == 1
    assert "another root" in capfd.readouterr().out
    other.write_bytes(box.bodies[5] + b"\n")
    assert box.run("proof 5 --check", str(file), "--entry", str(other)) == 0
    file.write_text(file.read_text("utf-8").replace("index 5", "index 4"), "utf-8")
    assert box.run("proof --check", str(file)) == 1
    assert box.run("proof --check", str(tmp_path / "none")) == ExitCode.USAGE
    assert box.run("proof --check", str(tmp_path)) == ExitCode.USAGE


def test_what_cannot_be_proven_is_said(box: StoryBox, capfd: Capture) -> None:
    """No such entry, nothing asked, two things asked."""
    for verb, said in (
        ("proof 22", "there is no entry 22"),
        ("proof", "not clear what to prove"),
        ("proof 1 --extends x", "not clear what to prove"),
        ("proof --extends x", "no such file"),
    ):
        assert box.run(verb) == ExitCode.USAGE
        assert said in capfd.readouterr().err


def test_a_damaged_entry_is_not_proven(box: StoryBox, capfd: Capture) -> None:
    """The proof is checked before it is given away."""
    connection = apsw.Connection(str(box.paths.log / "log.db"))
    connection.execute("UPDATE entries SET body = ? WHERE idx = 20", (box.bodies[19],))
    connection.close()
    assert box.run("proof 20") == ExitCode.STORE
    assert "is not what was signed" in capfd.readouterr().err


def test_the_log_extends_every_checkpoint_it_ever_signed(tmp_path: Path, capfd: Capture) -> None:
    """Kept at 7, proven at 22, checked without the log; the form is a witness's request."""
    box, kept = StoryBox(tmp_path / "box", cosign=7), tmp_path / "kept"
    kept.write_bytes((box.paths.log / "cosigned").read_bytes())
    proof = tmp_path / "extension"
    assert box.run("proof --extends", str(kept), "--out", str(proof)) == 0
    assert proof.read_bytes().startswith(b"old 7\n")
    assert box.run("proof --extends", str(kept), "--check", str(proof), "--json") == 0
    assert json.loads(capfd.readouterr().out)["old"] == 7
    for at in range(0, len(proof.read_bytes()), 7):
        changed = bytearray(proof.read_bytes())
        changed[at] ^= 1
        damaged = tmp_path / "damaged"
        damaged.write_bytes(bytes(changed))
        assert box.run("proof --extends", str(kept), "--check", str(damaged)) == 1, at
    assert "NOT VERIFIED" in capfd.readouterr().out


def test_another_history_extends_nothing(tmp_path: Path, capfd: Capture) -> None:
    """A checkpoint signed by the same key over other entries: the log refuses to prove it."""
    box = StoryBox(tmp_path / "a")
    other = StoryBox(tmp_path / "b", _plain(9))
    kept = other.paths.log / "checkpoint"
    assert box.run("proof --extends", str(kept)) == ExitCode.STORE
    assert "does not extend that checkpoint" in capfd.readouterr().err
    short = StoryBox(tmp_path / "c", _plain(3))
    assert short.run("proof --extends", str(box.paths.log / "checkpoint")) == ExitCode.STORE
    assert "older than that checkpoint" in capfd.readouterr().err


def _plain(count: int) -> list[Entry]:
    return [entry(number) for number in range(count)]
