"""The log on a real disk under a real kernel: power cuts while it grows, a full, failing and read-only disk.

In the guest runs the appliance's own log, writer and upstream client as fast as they go; the collector is on
this machine and keeps what it saw. After a cut the disk's image is opened here, by e2fsck and debugfs, and
the log in it judged by ours and by golang.org/x/mod/sumdb. A `random` cut tears the last frames of the
write-ahead log. INTERLOCK_CUTS and INTERLOCK_CUT_SEED as in test_vm_cuts.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY
from appliance.audit.verify import KeyText, Trust, verify
from appliance.storage.durable import write_file
from appliance.storage.keys import create_key, read_key_text, read_signing_key, read_verifier
from appliance.storage.log_reader import LogReader
from appliance.storage.log_store import LogStore
from appliance.upstream.mirror_store import MirrorStore, create_mirror_store
from appliance.upstream.witness_store import SqliteWitnessStore, create_witness_store
from tests.outside.judges import Verifier, build_sumdb
from tests.ports import free_ports
from tests.processes import ROOT
from tests.vm.log_in_guest import ORIGIN
from tests.vm.machine import MARKS, UNITS, WHERE_INSTALLED, Machine, fresh_machine

pytestmark = MARKS
CUTS = int(os.environ.get("INTERLOCK_CUTS", "3"))
SEED = int(os.environ.get("INTERLOCK_CUT_SEED") or random.SystemRandom().randrange(1 << 32))
PLACE = "/data/grown"
SCRIPT = "/run/log_in_guest.py"
PYTHON = f"{WHERE_INSTALLED}/bin/python"
ADDRESS = "10.0.2.100:443"
COLLECTOR = """
import asyncio, sys, time
from pathlib import Path
from appliance.upstream.collector import CollectorSettings, run
from appliance.upstream.policy import read_policy
place = Path(sys.argv[1])
asyncio.run(run(
    CollectorSettings(host="127.0.0.1", port=int(sys.argv[2]), directory=place / "store",
                      key_file=place / "keys/witness.key", mirror_key_file=place / "keys/mirror.key",
                      policy=read_policy(place / "policy")),
    lambda: int(time.time()),
    lambda host, port: print(port, flush=True),
))
"""


class Bench(NamedTuple):
    """A guest, the port of this machine it may reach, a folder for what is found, the outside verifier."""

    box: Machine
    port: int
    folder: Path
    outside: Verifier


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Booted without the appliance's units, an empty log made, and saved in this state."""
    folder = tmp_path_factory.mktemp("grown")
    outside = build_sumdb(folder)
    (port,) = free_ports(1)
    masked = " ".join(f"systemd.mask=interlock-{name}.service" for name in UNITS)
    with (
        tempfile.TemporaryDirectory(prefix="interlock-vm-") as where,
        fresh_machine(Path(where) / "run", guestfwd={ADDRESS: port}, append=masked) as box,
    ):
        print(f"\n  power on → all started: {box.boot():.0f} s")
        box.sh("umount /var/lib/interlock/venue /var/lib/interlock", check=False)
        box.rig.put(SCRIPT, (ROOT / "tests/vm/log_in_guest.py").read_bytes())
        box.sh(f"{PYTHON} {SCRIPT} make {PLACE} && sync", 120)
        (folder / "keys").mkdir()
        for name in ("log.key", "log.vkey"):
            write_file(folder / "keys" / name, box.rig.get(f"{PLACE}/keys/{name}"), 0o600)
        box.rig.snapshot(folder / "saved")
        yield Bench(box, port, folder, outside)


@pytest.fixture
def grown(bench: Bench) -> Bench:
    """The guest as it was saved, whatever the test before did to it."""
    bench.box.rig.close()
    bench.box.rig.restore(bench.folder / "saved")
    return bench


@contextmanager
def collector(bench: Bench, place: Path) -> Iterator[tuple[str, str]]:
    """A new one, which has seen nothing of this log; its two verifier keys."""
    place.mkdir()
    for name, known_as in (("witness", "witness.example/w1"), ("mirror", "mirror.example/m1")):
        create_key(place / "keys", name, known_as, COSIGNATURE_KEY)
    create_witness_store(place / "store")
    create_mirror_store(place / "store", ORIGIN)
    (place / "policy").write_text("log " + (bench.folder / "keys/log.vkey").read_text())
    command = [sys.executable, "-c", COLLECTOR, str(place), str(bench.port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"%d\n" % bench.port
        vkeys = [(place / f"keys/{name}.vkey").read_text().strip() for name in ("witness", "mirror")]
        yield vkeys[0], vkeys[1]
    finally:
        process.kill()
        process.communicate()


def start(box: Machine, vkeys: tuple[str, str]) -> None:
    """The log grows until something happens to it."""
    quoted = " ".join(f"'{word}'" for word in vkeys)
    box.sh("rm -f /run/acknowledged /run/ended")
    box.sh(f"nohup {PYTHON} {SCRIPT} grow {PLACE} {quoted} {ADDRESS} >/run/said 2>&1 </dev/null &")
    box.until(lambda: acknowledged(box) > 0, "the first acknowledgement", 90)


def acknowledged(box: Machine) -> int:
    """Entries said to be durable so far."""
    found = box.sh("cat /run/acknowledged", check=False)
    return int(found.out) if found.rc == 0 and found.out else 0


def ended(box: Machine) -> str:
    """How the log failed; empty while it grows."""
    found = box.sh("cat /run/ended", check=False)
    return str(found.out) if found.rc == 0 else ""


def taken_out(bench: Bench, place: Path) -> Path:
    """The log in the data disk's image: its file system made whole as at a boot, then read from outside."""
    image = place / "data.img"
    shutil.copyfile(bench.box.rig.data, image)
    checked = subprocess.run(["e2fsck", "-fy", str(image)], capture_output=True, text=True, check=False)
    assert checked.returncode in (0, 1), checked
    out = place / "found"
    out.mkdir()
    name = Path(PLACE).name
    subprocess.run(["debugfs", "-R", f"rdump /{name} {out}", str(image)], check=True, capture_output=True)
    image.unlink()
    return out / name / "log"


def judged(bench: Bench, place: Path, least: int, seen: bytes) -> int:
    """Every acknowledged entry is there; ours and theirs accept the log as it lies there, and as its writer
    goes on from there; what witness and mirror saw of it is in it. Its size. seen: an earlier checkpoint."""
    log = taken_out(bench, place)
    size = _whole(bench, place, log, least)
    vkey = bench.folder / "keys/log.vkey"
    (place / "seen").write_bytes(seen)
    accepted, said = bench.outside(log, vkey, place / "seen")
    assert accepted, said
    store = LogStore(log, read_signing_key(bench.folder / "keys/log.key"))
    for _ in store.publish():
        pass
    store.close()
    assert _whole(bench, place, log, size) == size
    _as_upstream_saw_it(place, log, size)
    for name in ("seen", "cosigned"):
        if name == "cosigned":
            (place / name).write_bytes(witnessed(place) or seen)
        accepted, said = bench.outside(log, vkey, place / name)
        assert accepted, said
        assert said.startswith(f"{size} entries")
    shutil.rmtree(log.parent)
    return size


def _whole(bench: Bench, place: Path, log: Path, least: int) -> int:
    witness = read_key_text(place / "keys/witness.vkey")
    reader = LogReader(log)
    try:
        size = reader.size()
        assert size >= least, f"{least} entries were acknowledged, {size} are there"
        keys = Trust(KeyText("log.vkey", (bench.folder / "keys/log.vkey").read_text()), witness)
        report = verify(reader, keys)
        assert report.ok, report
    finally:
        reader.close()
    return size


def witnessed(place: Path) -> bytes | None:
    """The checkpoint the witness co-signed last."""
    store = SqliteWitnessStore(place / "store")
    head = store.load(ORIGIN)
    store.close()
    return head.note if head else None


def _as_upstream_saw_it(place: Path, log: Path, size: int) -> None:
    """No second head of a size, and the mirror's entries are the log's."""
    reader, mirror = LogReader(log), MirrorStore(place / "store", ORIGIN)
    log_key = read_verifier(log.parent / "keys/log.vkey", NOTE_KEY)
    try:
        heads = [witnessed(place), head.note if (head := mirror.cosigned()) else None]
        for note in filter(None, heads):
            checkpoint = open_checkpoint(note, [log_key]).checkpoint
            assert checkpoint.size <= size, "something was published that was not durable"
            assert reader.root(checkpoint.size) == checkpoint.root, "a second head of one size"
        following = mirror.following()
        assert mirror.bodies(0, following) == list(reader.bodies(0, following))
        print(f", upstream had {following} entries", end="")
    finally:
        mirror.close()
        reader.close()


def test_power_cuts_while_the_log_grows(bench: Bench, tmp_path: Path) -> None:
    """At random moments, on a disk that keeps what was flushed, or also random sectors of what was not."""
    print(f"\n  {CUTS} cuts; INTERLOCK_CUT_SEED={SEED} gives their moments again")
    luck = random.Random(SEED)
    for cut in range(1, CUTS + 1):
        bench.box.rig.close()
        bench.box.rig.restore(bench.folder / "saved")
        place = tmp_path / str(cut)
        disk, wait_s = luck.choice(["flushed", "random"]), luck.uniform(0.5, 12)
        with collector(bench, place) as vkeys:
            start(bench.box, vkeys)
            end = time.monotonic() + wait_s
            seen = bench.box.rig.get(f"{PLACE}/log/checkpoint")
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, luck.uniform(0, 0.3)))
                seen = bench.box.rig.get(f"{PLACE}/log/checkpoint")
            least = int(bench.box.rig.get("/run/acknowledged"))
            bench.box.rig.power_cut(disk, seed=SEED + cut)
        published = int(seen.split(b"\n")[1])
        print(f"  cut {cut:2}, {wait_s:4.1f} s, {disk}: {least} acknowledged, {published} seen", end="")
        size = judged(bench, place, max(least, published), seen)
        print(f", {size} there", flush=True)


def test_a_disk_that_is_full_and_then_is_not(grown: Bench, tmp_path: Path) -> None:
    """To the end of the reserve; when there is room again the log goes on, and everything comes up."""
    with collector(grown, tmp_path / "up") as vkeys:
        start(grown.box, vkeys)
        grown.box.sh("fallocate -l $(($(stat -f -c '%a * %S' /data) - 300000)) /data/ballast", 60)
        grown.box.until(lambda: ended(grown.box), "the log's end", 240)
        why, least = ended(grown.box), acknowledged(grown.box)
        assert "full" in why or "space" in why, why
        seen = grown.box.rig.get(f"{PLACE}/log/checkpoint")
        grown.box.sh("rm /data/ballast")
        _goes_on(grown, vkeys, least)
        again = acknowledged(grown.box)
        grown.box.rig.power_cut("flushed")
    print(f"\n  {why.splitlines()[0]}: {least} acknowledged, then {again}", end="")
    print(f", {judged(grown, tmp_path / 'up', again, seen)} there")


def test_a_disk_remounted_read_only_and_back(grown: Bench, tmp_path: Path) -> None:
    """As the kernel does it in an emergency: the log fails, can be read, and goes on when it may write."""
    with collector(grown, tmp_path / "up") as vkeys:
        start(grown.box, vkeys)
        grown.box.sh("echo u > /proc/sysrq-trigger")
        grown.box.until(lambda: ended(grown.box), "the log's end", 120)
        why, least = ended(grown.box), acknowledged(grown.box)
        seen = grown.box.rig.get(f"{PLACE}/log/checkpoint")
        assert grown.box.sh(f"touch {PLACE}/log/x", check=False).rc != 0, "it is not read-only"
        grown.box.sh("mount -o remount,rw / && mount -o remount,rw /data", 60)
        _goes_on(grown, vkeys, least)
        again = acknowledged(grown.box)
        grown.box.rig.power_cut("flushed")
    print(f"\n  {why.splitlines()[0]}: {least} acknowledged, then {again}", end="")
    print(f", {judged(grown, tmp_path / 'up', again, seen)} there")


def _goes_on(bench: Bench, vkeys: tuple[str, str], least: int) -> None:
    start(bench.box, vkeys)
    bench.box.until(lambda: acknowledged(bench.box) > least, "more entries than before", 60)


ERROR_BELOW = """# Below a mounted file system, the sectors of FILE answer with errors: FILE SECTORS-IN-ALL
import fcntl, os, struct, subprocess, sys
path, sectors = sys.argv[1], int(sys.argv[2])
with open(path, "rb") as file:
    (size,) = struct.unpack("i", fcntl.ioctl(file, 2, struct.pack("i", 0)))  # FIGETBSZ
    count = os.fstat(file.fileno()).st_size // size
    ask = [struct.pack("i", number) for number in range(count)]
    blocks = [struct.unpack("i", fcntl.ioctl(file, 1, number))[0] for number in ask]  # FIBMAP
bad = sorted(block * (size // 512) for block in blocks if block)
table, at = [], 0
for sector in bad:
    if sector > at:
        table.append(f"{at} {sector - at} linear /dev/vdb {at}")
    table.append(f"{sector} {size // 512} error")
    at = sector + size // 512
table.append(f"{at} {sectors - at} linear /dev/vdb {at}")
subprocess.run(["dmsetup", "load", "data"], input="\\n".join(table), text=True, check=True)
subprocess.run(["dmsetup", "suspend", "--nolockfs", "data"], check=True)
subprocess.run(["dmsetup", "resume", "data"], check=True)
print(len(bad))
"""


def test_an_fsync_that_fails_once_and_then_a_power_cut(grown: Bench, tmp_path: Path) -> None:
    """The sectors of the write-ahead log answer with an error for a moment: the log fails, the next process
    goes on, and what it acknowledged is on the disk: it did not build on pages that never were."""
    box = grown.box
    sectors = int(box.sh("blockdev --getsz /dev/vdb").out)
    linear = f"0 {sectors} linear /dev/vdb 0"
    box.sh(f"umount /data && dmsetup create data --table '{linear}' && mount /dev/mapper/data /data")
    with collector(grown, tmp_path / "up") as vkeys:
        start(box, vkeys)
        wal = f"{PLACE}/log/log.db-wal"
        box.until(lambda: int(box.sh(f"stat -c %s {wal}").out) > 240_000, "all its length in use", 120)
        box.rig.put("/run/errors.py", ERROR_BELOW.encode())
        said = box.sh(f"python3 /run/errors.py {wal} {sectors}", 60)
        box.until(lambda: ended(box), "the log's end", 120)
        why, least = ended(box), acknowledged(box)
        box.sh(f"dmsetup load data --table '{linear}' && dmsetup suspend --nolockfs data")
        box.sh("dmsetup resume data")
        assert "ro," not in box.sh("grep /dev/mapper/data /proc/mounts").out, "the file system gave up too"
        seen = box.rig.get(f"{PLACE}/log/checkpoint")
        _goes_on(grown, vkeys, least)
        again = acknowledged(box)
        box.rig.power_cut("flushed")
    print(f"\n  errors under {said.out.strip()} blocks: {why.splitlines()[0]}", end="")
    print(f"; {least} acknowledged, then {again}", end="")
    print(f", {judged(grown, tmp_path / 'up', again, seen)} there")
