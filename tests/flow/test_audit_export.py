"""`interlock audit export` on a log on disk: made, checked, changed in every way, and never with a secret."""

from __future__ import annotations

import base64
import errno
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec
import pytest

from appliance.audit.bundle import encode_sums, sha256
from appliance.audit.notes import Note, parse_note
from appliance.audit.records import encode_entry
from appliance.domain.exit_codes import ExitCode
from appliance.runtime.cli import main
from appliance.storage.keys import read_signing_key
from tests.audit_story import StoryBox, story
from tests.audit_support import entry, flip

Capture = pytest.CaptureFixture[str]
RANGE = ("--from", "2023-11-14T22:13:25Z", "--to", "2023-11-14T22:13:36Z")


@pytest.fixture
def box(tmp_path: Path) -> StoryBox:
    made = StoryBox(tmp_path / "box", cosign=0)
    assert made.run("export --make-key") == 0
    return made


@pytest.fixture
def bundle(box: StoryBox, tmp_path: Path) -> Path:
    place = tmp_path / "out"
    assert box.run("export", *RANGE, "--out", str(place)) == 0
    return place


def check(box: StoryBox, place: Path, trust: Path | None = None) -> int:
    """By somebody who has the public keys and no appliance."""
    keys = ["--trust", str(trust or box.paths.trust), "--state", str(place.parent / "nowhere")]
    return main(["audit", "export", "--check", str(place), *keys])


@pytest.mark.parametrize("name", ["out", "out.zip", "out.tar"])
def test_a_bundle_has_the_stored_bytes_and_checks_anywhere(
    box: StoryBox, tmp_path: Path, capsys: Capture, name: str
) -> None:
    """Entries 5 to 15 of 22: from 22:13:25 on, before 22:13:36."""
    place = tmp_path / name
    assert box.run("export", *RANGE, "--out", str(place)) == 0
    assert check(box, place) == 0
    said = capsys.readouterr().out
    assert "entries    5 to 15: 11, of a log of 22" in said
    assert "witnessed  by witness.example/w1" in said
    assert read(place, "entries.jsonl") == b"".join(body + b"\n" for body in box.bodies[5:16])
    assert read(place, "checkpoint") == (box.paths.log / "cosigned").read_bytes()
    assert b"entries 5 to 15, 11 in all" in read(place, "README.txt")
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]
    assert box.run("export", *RANGE, "--out", str(place)) == ExitCode.CANNOT_CREATE


def read(place: Path, name: str) -> bytes:
    """One member of a bundle of any kind."""
    if place.suffix == ".zip":
        return zipfile.ZipFile(place).read(name)
    if place.suffix == ".tar":
        with tarfile.open(place) as archive:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()
    return (place / name).read_bytes()


def test_the_whole_log_is_the_default_and_an_entry_alone_will_do(
    box: StoryBox, tmp_path: Path, capsys: Capture
) -> None:
    """No options but a place; and a range of one second."""
    assert box.run("export --out", str(tmp_path / "all")) == 0
    one = ("--from", "2023-11-14T22:13:41Z", "--to", "2023-11-14T22:13:42Z", "--out", str(tmp_path / "one"))
    assert box.run("export", *one) == 0
    capsys.readouterr()
    for place, count in (("all", 22), ("one", 1)):
        assert box.run("export --json --check", str(tmp_path / place)) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["stop"] - found["first"], found["sources"]) == (count, {"core": count})


def test_several_tiles_and_a_stepped_clock(tmp_path: Path, capsys: Capture) -> None:
    """700 entries; what the clock dated otherwise inside the range is there and counted."""
    entries = [entry(number) for number in range(700)]
    entries[300] = msgspec.structs.replace(entries[300], utc_ns=5)
    box = StoryBox(tmp_path / "box", entries)
    assert box.run("export --make-key") == 0
    place = tmp_path / "out.zip"
    bounds = ("--from", "2023-11-14T22:13:20.000000250Z", "--to", "2023-11-14T22:13:20.000000600Z")
    assert box.run("export", *bounds, "--out", str(place)) == 0
    assert "the witness has not co-signed all of it yet" in capsys.readouterr().err
    assert check(box, place) == 0
    said = capsys.readouterr().out
    assert "entries    250 to 599: 350, of a log of 700" in said
    assert "1 dated outside" in said
    assert "by nobody we trust" in said


def names(place: Path) -> list[str]:
    """Every file of a directory bundle."""
    return sorted(str(each.relative_to(place)) for each in place.rglob("*") if each.is_file())


def test_no_flipped_byte_of_any_file_goes_unnoticed(box: StoryBox, bundle: Path, capsys: Capture) -> None:
    """First, middle and last byte of each; the finding names a file and nothing is a traceback."""
    for name in names(bundle):
        whole = (bundle / name).read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            (bundle / name).write_bytes(flip(whole, at))
            assert check(box, bundle) == 1, (name, at)
            assert "NOT VERIFIED:" in capsys.readouterr().out
        (bundle / name).write_bytes(whole)
    assert check(box, bundle) == 0


def test_files_removed_added_or_linked_are_noticed(box: StoryBox, bundle: Path, capsys: Capture) -> None:
    """Each file in turn, then one too many, then one that is elsewhere."""
    for name in names(bundle):
        whole = (bundle / name).read_bytes()
        (bundle / name).unlink()
        assert check(box, bundle) == 1
        assert f"NOT VERIFIED: {name}: it is missing" in capsys.readouterr().out
        (bundle / name).write_bytes(whole)
    (bundle / "more").write_bytes(b"")
    assert check(box, bundle) == 1
    assert "more: a file that is not in SHA256SUMS" in capsys.readouterr().out
    (bundle / "more").unlink()
    (bundle / "checkpoint").rename(bundle.parent / "checkpoint")
    (bundle / "checkpoint").symlink_to(bundle.parent / "checkpoint")
    assert check(box, bundle) == 1
    assert "it is no regular file" in capsys.readouterr().out


def resign(box: StoryBox, place: Path, key: str = "export") -> None:
    """What an owner of the export key could do: sums and manifest made anew over changed files."""
    files = [name for name in names(place) if name not in ("SHA256SUMS", "manifest")]
    sums = encode_sums({name: sha256((place / name).read_bytes()) for name in files})
    (place / "SHA256SUMS").write_bytes(sums)
    text = parse_note((place / "manifest").read_bytes()).text
    head, _, _ = text.rpartition("sha256sums ")
    text = f"{head}sha256sums {sha256(sums).hex()}\n"
    signature = read_signing_key(box.paths.keys / f"{key}.key").sign(text)
    (place / "manifest").write_bytes(Note(text, (signature,)).encode())


def replace(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        data = (place / name).read_bytes()
        assert old in data
        (place / name).write_bytes(data.replace(old, new, 1))

    return change


def drop_line(place: Path) -> None:
    lines = (place / "entries.jsonl").read_bytes().splitlines(keepends=True)
    (place / "entries.jsonl").write_bytes(b"".join(lines[:3] + lines[4:]))


def swap_lines(place: Path) -> None:
    lines = (place / "entries.jsonl").read_bytes().splitlines(keepends=True)
    (place / "entries.jsonl").write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))


def add_line(place: Path) -> None:
    with (place / "entries.jsonl").open("ab") as file:
        file.write(b"{}\n")


def change_tile(place: Path) -> None:
    tile = place / "tile/0/000.p/22"
    tile.write_bytes(flip(tile.read_bytes(), 6 * 32))


def other_tile(place: Path) -> None:
    shutil.copy(place / "tile/0/000.p/22", place / "tile/0/001")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replace("entries.jsonl", b'"100.00"', b'"101.00"'), "is not the one that was signed"),
        (drop_line, "entry 8 is not the one that was signed"),
        (swap_lines, "entry 5 is not the one that was signed"),
        (add_line, "there are lines after entry 15"),
        (replace("manifest", b"entries 5 16", b"entries 5 15"), "there are lines after entry 14"),
        (change_tile, "it does not lead to the signed root"),
        (other_tile, "a tile this range does not need"),
        (replace("checkpoint", b"\n22\n", b"\n21\n"), "pi-0001 does not match the text"),
        (replace("manifest", b"tree 22", b"tree 23"), "it is not the one the manifest tells of"),
        (replace("manifest", b"outside 0", b"outside 1"), "0 entries are dated outside"),
        (replace("manifest", b"origin audit", b"origin other"), "it is not the one the manifest tells of"),
        (replace("trust/log.vkey", b"audit", b"autit"), "it is not the key you trust"),
    ],
)
def test_not_even_the_export_key_can_change_what_the_log_signed(
    box: StoryBox, bundle: Path, capsys: Capture, change: Callable[[Path], None], said: str
) -> None:
    """Every class of change, with all sums and the manifest's signature made anew."""
    change(bundle)
    resign(box, bundle)
    assert check(box, bundle) == 1
    assert said in capsys.readouterr().out


def test_a_manifest_by_another_key_is_refused(box: StoryBox, bundle: Path, capsys: Capture) -> None:
    """The log's own key signs checkpoints, not exports: one purpose each."""
    resign(box, bundle, "log")
    assert check(box, bundle) == 1
    assert "NOT VERIFIED: manifest: signature refused: no signature by a known key" in capsys.readouterr().out


def test_a_bundle_never_vouches_for_itself(
    box: StoryBox, bundle: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Another appliance's keys refuse it; without keys of one's own there is no check."""
    other = StoryBox(tmp_path / "other")
    assert other.run("export --make-key") == 0
    assert check(box, bundle, other.paths.trust) == 1
    assert main(["audit", "export", "--check", str(bundle), "--state", str(tmp_path / "x")]) == ExitCode.USAGE
    assert "not one from what is to be checked" in capsys.readouterr().err
    assert check(box, tmp_path / "none") == ExitCode.USAGE


def test_broken_archives_are_findings(box: StoryBox, tmp_path: Path, capsys: Capture) -> None:
    """Cut, flipped, doubled or not an archive at all."""
    for kind in ("zip", "tar"):
        place = tmp_path / f"whole.{kind}"
        assert box.run("export", *RANGE, "--out", str(place)) == 0
        whole = place.read_bytes()
        damaged = tmp_path / f"damaged.{kind}"
        for size in (0, 1, 100, len(whole) // 2):
            damaged.write_bytes(whole[:size])
            assert check(box, damaged) == 1
        for at in range(0, len(whole), 211):
            damaged.write_bytes(flip(whole, at))
            if check(box, damaged) == 0:  # its own padding: what is inside is the same
                assert read(damaged, "entries.jsonl") == read(place, "entries.jsonl")
    place = tmp_path / "whole.zip"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(place, "a") as archive:
        archive.writestr("checkpoint", b"")
    assert check(box, place) == 1
    assert "more than once" in capsys.readouterr().out
    link = tarfile.TarInfo("manifest")
    link.type, link.linkname = tarfile.SYMTYPE, "../elsewhere"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(link)
    (tmp_path / "link.tar").write_bytes(stream.getvalue())
    assert check(box, tmp_path / "link.tar") == 1
    assert "Traceback" not in capsys.readouterr().err


def secrets_of(box: StoryBox) -> dict[str, bytes]:
    """Every form of every file below keys/ that is not a public half."""
    found: dict[str, bytes] = {}
    for path in box.paths.keys.rglob("*"):
        if path.is_file() and path.suffix != ".vkey":
            text = path.read_bytes().strip()
            seed = base64.b64decode(text.split(b"+", 4)[4])[1:]
            forms = {"text": text, "seed": seed, "hex": seed.hex().encode(), "b64": base64.b64encode(seed)}
            found |= {f"{path.name} {name}": form for name, form in forms.items()}
    return found


@pytest.mark.parametrize("name", ["out", "out.tar"])
def test_no_secret_ever_leaves(box: StoryBox, tmp_path: Path, name: str) -> None:
    """Neither a private key of any purpose nor a file of keys/ is in a bundle, under any name."""
    place = tmp_path / name
    assert box.run("export --out", str(place)) == 0
    files = [place] if place.is_file() else [place / each for each in names(place)]
    data = b"".join(each.read_bytes() for each in files)
    secrets = secrets_of(box)
    assert {key.split()[0] for key in secrets} == {"log.key", "witness.key", "operator.key", "export.key"}
    for what, secret in secrets.items():
        assert secret not in data, what
    assert b"PRIVATE" not in data
    for path in box.paths.keys.iterdir():
        if path.name == "operator.vkey":
            assert path.read_bytes() not in data


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), ExitCode.USAGE, "one of --out, --check and --make-key"),
        (("--out", "x", "--make-key"), ExitCode.USAGE, "one of --out"),
        (("--out", "x", "--from", "soon"), ExitCode.USAGE, "--from is no time"),
        (("--out", "x", "--from", "2023-01-02", "--to", "2023-01-01"), ExitCode.USAGE, "--to is not after"),
        (("--out", "x", "--to", "2000-01-01"), ExitCode.USAGE, "no signed entry in that time"),
        (("--out", "no/such/place"), ExitCode.CANNOT_CREATE, "no such directory"),
        (("--make-key",), ExitCode.CANNOT_CREATE, "there is one already"),
    ],
)
def test_errors_say_what_to_do(
    box: StoryBox, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...], code: int, said: str,
) -> None:  # fmt: skip
    """And leave nothing behind."""
    monkeypatch.chdir(tmp_path)
    assert box.run("export", *options) == code
    error = capsys.readouterr().err
    assert said in error
    assert " DO: " in error
    assert [each.name for each in tmp_path.iterdir()] == ["box"]


def test_a_full_disk_leaves_no_half_bundle(
    box: StoryBox, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any file: exit 73, nothing under the name, nothing beside it."""

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert box.run("export --out", str(tmp_path / "out.zip")) == ExitCode.CANNOT_CREATE
    assert "No space left on device" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["box"]


def test_without_its_key_nothing_is_exported(tmp_path: Path, capsys: Capture) -> None:
    """An older appliance: the command that makes it is named. Nor with a key that auditors do not have."""
    box = StoryBox(tmp_path / "box", story())
    assert box.run("export --out", str(tmp_path / "out")) == ExitCode.CONFIG
    assert "DO: interlock audit export --make-key" in capsys.readouterr().err
    assert box.run("export --make-key") == 0
    own = (box.paths.trust / "export.vkey").read_bytes()
    (box.paths.trust / "export.vkey").unlink()
    assert box.run("export --make-key") == 0
    assert (box.paths.trust / "export.vkey").read_bytes() == own
    (box.paths.trust / "export.vkey").write_bytes((box.paths.trust / "log.vkey").read_bytes())
    assert box.run("export --out", str(tmp_path / "out")) == ExitCode.CONFIG


def test_a_damaged_log_is_not_exported(box: StoryBox, tmp_path: Path, capsys: Capture) -> None:
    """Neither an entry that is no record, nor a good record that was not signed, nor a missing one."""
    connection = apsw.Connection(str(box.paths.log / "log.db"))
    for body in (b"x", box.bodies[6], box.bodies[7].replace(b"95.00", b"94.00")):
        connection.execute("UPDATE entries SET body = ? WHERE idx = 7", (body,))
        assert box.run("export --out", str(tmp_path / "out")) == ExitCode.STORE
    connection.execute("DELETE FROM entries WHERE idx = 7")
    connection.close()
    assert box.run("export --out", str(tmp_path / "out")) == ExitCode.STORE
    assert "DO: interlock audit verify" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["box"]


def test_a_number_a_source_left_out_is_noticed(tmp_path: Path, capsys: Capture) -> None:
    """Signed, chained and whole otherwise: the log itself lacks an entry, and no bundle hides that."""
    box = StoryBox(tmp_path / "box", [])
    box.bodies = [encode_entry(i, "core", i + (i > 3), made) for i, made in enumerate(story())]
    box.write(len(box.bodies))
    assert box.run("export --make-key") == 0
    assert box.run("export --out", str(tmp_path / "out")) == ExitCode.STORE
    assert "entries.jsonl: entry 4: number 4 of source core is left out" in capsys.readouterr().err
