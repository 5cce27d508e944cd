"""`interlock keys` on a log on disk: listed, rotated, revoked, and all that reads the log afterwards."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from appliance.audit.key_notes import OPERATOR, sign_revocation
from appliance.audit.notes import NOTE_KEY, SigningKey
from appliance.audit.records import decode_entry
from appliance.domain.errors import ConfigError
from appliance.domain.exit_codes import ExitCode
from appliance.runtime.cli import main
from appliance.runtime.key_table import UNREADABLE, in_force
from appliance.runtime.operator_key import operator_key
from appliance.storage.create import create_log_key
from appliance.storage.durable import write_file
from appliance.storage.keys import read_signing_key, read_verifier
from appliance.storage.log_reader import LogReader
from appliance.storage.log_writer import only_writer
from tests.audit_story import StoryBox
from tests.audit_support import LOG

Capture = pytest.CaptureFixture[str]
OPERATING = SigningKey(OPERATOR, bytes([7]) * 32)
SIZE = 22
FIRST_ID = LOG.verifier().key_id.hex()


class KeyBox(StoryBox):
    """A log of 22 entries, with an operator whose private key lies beside the state."""

    def __init__(self, root: Path, *, cosign: int = -1) -> None:
        super().__init__(root, cosign=cosign)
        self.operator = root / "operator.key"
        write_file(self.operator, f"{OPERATING.private_text()}\n".encode(), 0o600)
        write_file(self.paths.guard_config, f'[operator]\nkey = "{OPERATING.public.hex()}"\n'.encode())

    def keys(self, *words: object) -> int:
        return main(["keys", *map(str, words), *self.where])

    def verify(self) -> int:
        return main(["verify", *self.where])

    def listed(self, capsys: Capture) -> list[dict[str, str]]:
        capsys.readouterr()
        assert self.keys("list", "--json") == 0
        rows: list[dict[str, str]] = json.loads(capsys.readouterr().out)
        return rows

    def entries(self) -> list[dict[str, object]]:
        reader = LogReader(self.paths.log)
        found = [decode_entry(each.body).data for each in reader.entries_of_kind("key")]
        reader.close()
        return found


@pytest.fixture
def box(tmp_path: Path) -> KeyBox:
    return KeyBox(tmp_path / "box", cosign=0)


def test_every_key_is_listed_with_what_it_is_for(box: KeyBox, capsys: Capture) -> None:
    """Name, purpose, id, file, mode, since when, state; one that is not there is said to be missing."""
    rows = {row["name"]: row for row in box.listed(capsys)}
    assert set(rows) == {"log", "export", "witness", "mirror", "operator"}
    assert {name: row["state"] for name, row in rows.items()} == {
        "log": "in use", "witness": "in use", "operator": "in use", "export": "missing", "mirror": "missing",
    }  # fmt: skip
    log = rows["log"]
    assert (log["key_id"], log["mode"], log["vkey"]) == (FIRST_ID, "0600", LOG.verifier().vkey)
    assert log["file"] == str(box.paths.keys / "log.key")
    assert log["created"].startswith("20")
    assert rows["operator"]["file"] == str(box.paths.guard_config)
    assert len({row["purpose"] for row in rows.values()}) == 5
    assert box.keys("list") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in (*rows, FIRST_ID, "0600", "in use", "missing"))


def test_a_start_names_the_keys_in_force(box: KeyBox) -> None:
    """By purpose, as verifier keys; a file that cannot be read keeps no core from starting."""
    found = in_force(box.paths)
    assert found["log"] == LOG.verifier().vkey
    assert found["operator"] == OPERATING.verifier().vkey
    assert set(found) == {"log", "witness", "operator", "upstream_witness"}
    write_file(box.paths.keys / "witness.vkey", b"nothing\n")
    write_file(box.paths.guard_config, b"[operator\n")
    found = in_force(box.paths)
    assert (found["witness"], found["operator"]) == (UNREADABLE, UNREADABLE)
    assert found["log"] == LOG.verifier().vkey


@pytest.mark.parametrize("text", ["[operator]\nkey = 5", '[operator]\nkey = "ab"', "operator = 5", "\xff"])
def test_an_operator_s_key_that_is_none_is_named(box: KeyBox, text: str) -> None:
    """With the file it stands in."""
    write_file(box.paths.guard_config, text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"guard\.toml"):
        operator_key(box.paths)


def test_after_two_rotations_everything_still_checks(box: KeyBox, capsys: Capture, tmp_path: Path) -> None:
    """verify, proofs made before and after, bundles; by the first key with the chain, by the newest alone."""
    early, late, bundle = tmp_path / "early", tmp_path / "late", tmp_path / "bundle"
    assert box.run("export --make-key") == 0
    first_trust = tmp_path / "first"
    first_trust.mkdir()
    for name in ("log.vkey", "export.vkey", "witness.vkey"):
        write_file(first_trust / name, (box.paths.trust / name).read_bytes())
    assert box.run("proof 3", "--out", str(early)) == 0
    assert box.keys("rotate", "log") == 0
    assert box.keys("rotate", "log") == 0
    assert box.verify() == 0
    newest = read_verifier(box.paths.keys / "log.vkey", NOTE_KEY)
    assert capsys.readouterr().out.count("key        ") == 3
    assert box.run("proof 22", "--out", str(late)) == 0
    assert box.run("export", "--out", str(bundle)) == 0
    assert (bundle / "trust" / "log.vkey").read_text() == f"{newest.vkey}\n"
    away = ["--state", str(tmp_path / "nowhere")]

    def checks(trust: Path) -> list[int]:
        proof = ["audit", "proof", "--trust", str(trust), *away, "--check"]
        proofs = [[*proof, str(each)] for each in (early, late)]
        export = ["audit", "export", "--check", str(bundle), "--trust", str(trust), *away]
        return [main(words) for words in (*proofs, export)]

    assert box.run("proof", "--check", str(late)) == 0
    assert checks(first_trust) == [0, 1, 0], "the bundle brings what leads to its key, a proof does not"
    capsys.readouterr()
    assert box.keys("chain") == 0
    write_file(first_trust / "rotations", capsys.readouterr().out.encode())
    assert checks(first_trust) == [0, 0, 0]
    (first_trust / "rotations").unlink()
    write_file(first_trust / "log.vkey", f"{newest.vkey}\n".encode())
    assert checks(first_trust) == [1, 0, 0]
    stranger = SigningKey(LOG.name, bytes(32)).verifier().vkey
    write_file(first_trust / "log.vkey", f"{stranger}\n".encode())
    assert checks(first_trust) == [1, 1, 1]


def test_what_a_rotation_writes(box: KeyBox, capsys: Capture) -> None:
    """One entry naming both; the new key file, mode 0600; the trusted first key as it was."""
    assert box.keys("rotate", "log") == 0
    (entry,) = box.entries()
    new = read_signing_key(box.paths.keys / "log.key").verifier()
    assert (entry["act"], entry["purpose"]) == ("rotated", "log")
    note = str(entry["note"])
    assert f"old {LOG.verifier().vkey}\nnew {new.vkey}\n" in note
    assert (box.paths.trust / "log.vkey").read_text() == f"{LOG.verifier().vkey}\n"
    rows = [row for row in box.listed(capsys) if row["name"] == "log"]
    assert [row["state"] for row in rows] == ["retired", "in use"]
    assert [row["key_id"] for row in rows] == [FIRST_ID, new.key_id.hex()]
    assert f"after {SIZE + 1} entries" in rows[0]["detail"]


def test_nothing_is_changed_beside_a_core(
    box: KeyBox, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes the log has its lock: rotate and revoke say so and touch nothing."""
    monkeypatch.setattr("appliance.runtime.cmd_keys.LOCK_WAIT_S", 0.0)
    before = sorted((path.name, path.read_bytes()) for path in box.paths.keys.iterdir())
    with only_writer(box.paths.log, 0):
        assert box.keys("rotate", "log") == ExitCode.BUSY
        witness = box.listed(capsys)[2]
        assert box.keys("revoke", witness["key_id"], "--key", box.operator) == ExitCode.BUSY
    assert sorted((path.name, path.read_bytes()) for path in box.paths.keys.iterdir()) == before
    assert box.entries() == []


def test_the_old_key_is_revoked_where_it_was_retired(box: KeyBox, capsys: Capture) -> None:
    """The usual order; the list says so; the log still verifies."""
    assert box.keys("revoke", FIRST_ID, "--key", box.operator) == ExitCode.USAGE, "in force: rotate first"
    assert box.keys("rotate", "log") == 0
    assert box.keys("revoke", FIRST_ID, "--key", box.operator) == 0
    assert f"from entry {SIZE + 1} on" in capsys.readouterr().err
    assert box.verify() == 0
    row = box.listed(capsys)[0]
    assert (row["state"], row["key_id"]) == ("revoked", FIRST_ID)
    assert box.entries()[1]["act"] == "revoked"


def test_reaching_back_is_the_operator_s_word_and_is_said(box: KeyBox, capsys: Capture) -> None:
    """Off the box: prepared, signed elsewhere, logged; verify shows what stands on whose word."""
    assert box.keys("rotate", "log") == 0
    text, note = box.operator.with_name("text"), box.operator.with_name("note")
    assert box.keys("revoke", FIRST_ID, "--from", 5, "--prepare", text) == 0
    new = read_signing_key(box.paths.keys / "log.key").verifier()
    assert f"next {new.vkey}\n" in text.read_text()
    assert len(box.entries()) == 1, "nothing is logged before it is signed"
    assert box.keys("sign", text, "--key", box.operator, "--out", note) == 0
    assert box.keys("revoke", "--note", note) == 0
    capsys.readouterr()
    assert box.verify() == 0
    assert f"entries 5 to {SIZE} were signed by {FIRST_ID}" in capsys.readouterr().out


def test_a_revoked_witness_is_not_counted(box: KeyBox, capsys: Capture) -> None:
    """From an entry before its co-signature on: verify says no."""
    witness = next(row for row in box.listed(capsys) if row["name"] == "witness")["key_id"]
    assert box.verify() == 0
    assert box.keys("revoke", witness, "--from", SIZE, "--key", box.operator) == 0
    assert box.verify() == 0
    assert box.keys("revoke", witness, "--from", SIZE - 1, "--key", box.operator) == 0
    assert box.verify() == 1
    assert "is revoked from entry 21 on" in capsys.readouterr().out


def test_what_nobody_may_say_is_not_logged(box: KeyBox, tmp_path: Path) -> None:
    """By another operator's key, about another log, about a key that is nobody's, without an operator."""
    assert box.keys("rotate", "log") == 0
    other = SigningKey(OPERATOR, bytes([8]) * 32)
    write_file(tmp_path / "other.key", f"{other.private_text()}\n".encode(), 0o600)
    assert box.keys("revoke", FIRST_ID, "--key", tmp_path / "other.key") == ExitCode.USAGE
    assert box.keys("revoke", FIRST_ID, "--key", box.paths.keys / "log.key") == ExitCode.USAGE
    stranger = SigningKey(LOG.name, bytes(32)).verifier()
    notes = (
        sign_revocation(LOG.name, LOG.verifier(), 3, other),
        sign_revocation("audit.example/pi-0002", LOG.verifier(), 3, OPERATING),
        sign_revocation(LOG.name, stranger, 3, OPERATING),
        sign_revocation(LOG.name, LOG.verifier(), 3, LOG),
        "nothing",
    )
    for number, note in enumerate(notes):
        write_file(tmp_path / "note", note.encode())
        assert box.keys("revoke", "--note", tmp_path / "note") == ExitCode.USAGE, number
    assert box.keys("revoke", "00000000", "--key", box.operator) == ExitCode.USAGE
    assert box.keys("revoke", FIRST_ID, "--from", -1, "--key", box.operator) == ExitCode.USAGE
    write_file(box.paths.guard_config, b'[operator]\nkey = ""\n')
    assert box.keys("revoke", FIRST_ID, "--key", box.operator) == ExitCode.USAGE
    assert len(box.entries()) == 1
    assert box.verify() == 0


def test_a_log_whose_keys_hang_in_the_air_gets_no_further_one(box: KeyBox, tmp_path: Path) -> None:
    """The trusted first key is not the one the log began with: nothing is read or rotated by it."""
    assert box.keys("rotate", "log") == 0
    create_log_key(tmp_path / "elsewhere", LOG.name, bytes(32))
    write_file(box.paths.trust / "log.vkey", (tmp_path / "elsewhere" / "log.vkey").read_bytes())
    assert box.verify() == 1
    before = (box.paths.keys / "log.key").read_bytes()
    assert box.keys("rotate", "log") == ExitCode.CONFIG
    assert (box.paths.keys / "log.key").read_bytes() == before


def test_a_log_of_one_key_has_no_chain(box: KeyBox, capsys: Capture) -> None:
    """Exit 1 and no output, so that nobody gives away an empty file."""
    assert box.keys("chain") == 1
    assert capsys.readouterr().out == ""


def test_what_is_no_token_is_not_sent(
    box: KeyBox, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A line that is none, as when somebody pastes the wrong one."""
    from appliance.runtime.config_load import EXAMPLE

    monkeypatch.setattr("sys.stdin", io.StringIO("not a token\n"))
    assert box.keys("enrol", "--config", EXAMPLE) == ExitCode.USAGE
    assert "collector --token" in capsys.readouterr().err


def test_an_export_is_owed_to_the_log_and_a_revoked_key_exports_nothing(
    box: KeyBox, capsys: Capture, tmp_path: Path
) -> None:
    """The range and the key are noted before the bundle is there; refused, nothing is."""
    assert box.run("export --make-key") == 0
    assert box.run("export", "--out", str(tmp_path / "first")) == 0
    (owed,) = box.paths.key_uses.iterdir()
    facts = json.loads(owed.read_text())
    export = read_verifier(box.paths.trust / "export.vkey", NOTE_KEY)
    assert (facts["purpose"], facts["key"]) == ("export", export.vkey)
    assert (facts["first"], facts["stop"], facts["size"]) == (0, SIZE, SIZE)
    assert box.keys("revoke", export.key_id.hex(), "--key", box.operator) == 0
    assert box.verify() == 0
    assert box.run("export", "--out", str(tmp_path / "second")) == ExitCode.CONFIG
    assert "it is revoked" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()
    assert len(list(box.paths.key_uses.iterdir())) == 1
