"""An exported bundle checked with hashlib and PyNaCl alone, as its README tells; and with pymerkle.

OUTSIDE imports nothing of the project: it is what an auditor would write from the README.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.audit.merkle import root_from_hashes
from tests.audit_story import StoryBox
from tests.audit_support import entry, flip

OUTSIDE = r'''
import base64, functools, hashlib, pathlib, sys
from nacl.signing import VerifyKey

there, trust = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
sha = lambda data: hashlib.sha256(data).digest()

def signed(name, vkey, cosigned=False):
    key_name, key_id, key = (trust / vkey).read_text().strip().split("+", 2)
    text, _, lines = (there / name).read_text("utf-8").rpartition("\n\n")
    for line in lines.splitlines():
        _, who, blob = line.split(" ")
        blob = base64.b64decode(blob)
        if who == key_name and blob[:4].hex() == key_id:
            message = text + "\n"
            if cosigned:
                message = f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n" + message
            VerifyKey(base64.b64decode(key)[1:]).verify(message.encode(), blob[-64:])
            return text.split("\n")
    raise SystemExit(f"{name}: not signed by {key_name}")

facts = dict(line.split(" ", 1) for line in signed("manifest", "export.vkey")[1:])
sums = (there / "SHA256SUMS").read_bytes()
assert hashlib.sha256(sums).hexdigest() == facts["sha256sums"]
listed = {line[66:]: line[:64] for line in sums.decode().splitlines()}
files = {str(p.relative_to(there)) for p in there.rglob("*") if p.is_file()}
assert files == set(listed) | {"SHA256SUMS", "manifest"}, files
for name, digest in listed.items():
    assert hashlib.sha256((there / name).read_bytes()).hexdigest() == digest, name

origin, size, root = signed("checkpoint", "log.vkey")[:3]
signed("checkpoint", "witness.vkey", cosigned=True)
size, root = int(size), base64.b64decode(root)

@functools.cache
def tile(level, index):
    width = min(256, (size >> 8 * level) - 256 * index)
    data = (there / f"tile/{level}/{index:03d}{'' if width == 256 else f'.p/{width}'}").read_bytes()
    assert len(data) == 32 * width
    return [data[at:at + 32] for at in range(0, len(data), 32)]

@functools.cache
def subtree(start, stop):
    """MTH of [start, stop), from the highest tiles that have it whole."""
    count = stop - start
    if count & (count - 1) == 0:
        level = (count.bit_length() - 1) // 8
        if count == 256 ** level:
            item = start >> 8 * level
            return tile(level, item // 256)[item % 256]
    half = 1 << (count - 1).bit_length() - 1
    return sha(b"\1" + subtree(start, start + half) + subtree(start + half, stop))

def included(index):
    """Root computed from one leaf upwards with its siblings."""
    def path(start, stop, leaf):
        if stop - start == 1:
            return leaf
        half = start + (1 << (stop - start - 1).bit_length() - 1)
        if index < half:
            return sha(b"\1" + path(start, half, leaf) + subtree(half, stop))
        return sha(b"\1" + subtree(start, half) + path(half, stop, leaf))
    return path

first, stop = (int(number) for number in facts["entries"].split())
lines = (there / "entries.jsonl").read_bytes().split(b"\n")
assert lines.pop() == b"" and len(lines) == stop - first
for index, line in enumerate(lines, first):
    assert included(index)(0, size, sha(b"\0" + line)) == root, index
print(f"OK {origin} {first} {stop} of {size}")
'''


def outside(bundle: Path, trust: Path) -> subprocess.CompletedProcess[str]:
    """Runs the auditor's script in an interpreter that cannot see the project."""
    command = [sys.executable, "-I", "-c", OUTSIDE, str(bundle), str(trust)]
    return subprocess.run(command, cwd=bundle, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def box(tmp_path: Path) -> StoryBox:
    made = StoryBox(tmp_path / "box", [entry(number) for number in range(700)], cosign=0)
    assert made.run("export --make-key") == 0
    return made


def test_an_auditor_needs_sha256_and_ed25519_only(box: StoryBox, tmp_path: Path) -> None:
    """Signatures of three keys, sums, and the inclusion of every entry; a change of any class is refused."""
    place = tmp_path / "out"
    span = ("--from", "2023-11-14T22:13:20.000000250Z", "--to", "2023-11-14T22:13:20.000000600Z")
    assert box.run("export", *span, "--out", str(place)) == 0
    found = outside(place, box.paths.trust)
    assert found.stdout == "OK audit.example/pi-0001 250 600 of 700\n", found.stderr
    for name in ("entries.jsonl", "checkpoint", "manifest", "SHA256SUMS", "tile/0/001", "README.txt"):
        whole = (place / name).read_bytes()
        (place / name).write_bytes(flip(whole, len(whole) // 2))
        assert outside(place, box.paths.trust).returncode != 0, name
        (place / name).write_bytes(whole)


def test_sha256sum_reads_the_sums(box: StoryBox, tmp_path: Path) -> None:
    """The first step of the README, as a shell does it."""
    place = tmp_path / "out"
    assert box.run("export --out", str(place)) == 0
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    found = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_pymerkle_finds_the_same_root(box: StoryBox, tmp_path: Path) -> None:
    """An implementation nobody here wrote, over the lines of the whole log's bundle."""
    pymerkle = pytest.importorskip("pymerkle", reason="no outside Merkle tree: pip install pymerkle")
    place = tmp_path / "out"
    assert box.run("export --out", str(place)) == 0
    lines = (place / "entries.jsonl").read_bytes().splitlines()
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for line in lines:
        tree.append_entry(line)
    root = base64.b64decode((place / "checkpoint").read_text("utf-8").split("\n")[2])
    assert tree.get_root(len(lines)) == root
    for index in (1, 256, 257, 700):
        leaf = hashlib.sha256(b"\0" + lines[index - 1]).digest()
        pymerkle.verify_inclusion(leaf, root, tree.prove_inclusion(index, 700))


def test_the_lines_are_json_and_lead_to_the_root(box: StoryBox, tmp_path: Path) -> None:
    """Each line is an object with its number; all leaf hashes together are the tree."""
    place = tmp_path / "out"
    assert box.run("export --out", str(place)) == 0
    lines = (place / "entries.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["i"] for line in lines] == list(range(700))
    root = root_from_hashes(hashlib.sha256(b"\0" + line).digest() for line in lines)
    assert base64.b64encode(root).decode() in (place / "checkpoint").read_text("utf-8")
