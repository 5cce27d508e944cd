"""Sealing and pruning with a witness that is a process, and what outside verifiers make of the result."""

from __future__ import annotations

import asyncio
import filecmp
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.audit.segment import SEGMENT
from appliance.audit.tiles import ENTRIES, Tile, new_tiles
from appliance.runtime.cli import main
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_wire import Retained
from appliance.upstream.mirror_export import export_copies
from appliance.upstream.witness import origin_hash
from tests.audit_support import LOG, entry, new_log, run
from tests.flow.test_upstream_end_to_end import Box, box, collector, prepare, report_of
from tests.outside.judges import NAMES, Verifier, build_sumdb, load_python
from tests.retention_kit import LATE_NS, WITNESS_KEY, fill, opened, prune, row

SIZE = 2 * SEGMENT + 300
Capture = pytest.CaptureFixture[str]


async def pruned(made: Box, size: int, before_ns: int = LATE_NS) -> Retained:
    """Gives leave and waits for the pass."""
    told: asyncio.Queue[Retained] = asyncio.Queue()
    made.log.on_retained = told.put_nowait
    made.log.retain(before_ns, hurry=True)
    while (found := await told.get()).pruned < size:
        assert found.problem == ""
    return found


def test_nothing_goes_before_the_witness_s_co_signature_and_the_mirror_gets_all(tmp_path: Path) -> None:
    """Without an answer of the witness a pass does nothing; with it, both segments go; the mirror gets every
    entry, and what it has is what was published."""
    settings = replace(prepare(tmp_path), witness_key=tmp_path / "witness-keys/witness.vkey")
    store = opened(settings)
    fill(store, SIZE)
    store.close()

    async def work() -> None:
        async with box(tmp_path, settings, 9) as alone:  # nobody listens there
            alone.log.retain(LATE_NS, hurry=True)
            for number in range(200):  # time for a pass between the commits
                await alone.log.append([entry(number)]).durable()
            assert alone.reader.pruned() == 0
            assert not (settings.directory / "segments").exists()
        async with collector(tmp_path) as port, box(tmp_path, settings, port) as made:
            await made.until_witnessed(SIZE + 200)
            told = await pruned(made, 2 * SEGMENT)
            assert (told.sealed, told.pruned, told.problem) == (2, 2 * SEGMENT, "")
            await made.until_mirrored(SIZE + 200)

    run(work())
    report = report_of(tmp_path, settings)
    assert report.ok, report
    size = SIZE + 200
    assert (report.entries, report.sealed, report.witnessed) == (size, 2 * SEGMENT, size)
    out = tmp_path / "export"
    assert export_copies(tmp_path / "witness", [LOG.name], out, lambda *_: None) == {LOG.name: size}
    for tile in new_tiles(0, size):
        ours, theirs = settings.directory / tile.path, out / origin_hash(LOG.name) / tile.path
        assert theirs.exists()
        assert not ours.exists() or filecmp.cmp(ours, theirs, shallow=False)


@pytest.fixture(scope="module")
def sumdb(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    """Built once."""
    return build_sumdb(tmp_path_factory.mktemp("sumdb"))


@pytest.fixture
def verifier(request: pytest.FixtureRequest) -> Verifier:
    """One of them, if it is here."""
    if request.param != "sumdb":
        return load_python(request.param)
    found: Verifier = request.getfixturevalue("sumdb")
    return found


def appliance(place: Path, settings: LogSettings) -> list[str]:
    """Command line options by which the log is one of an appliance's state directory."""
    (place / "trust").mkdir()
    vkey = settings.key_file.with_suffix(".vkey").read_bytes()
    (place / "trust/log.vkey").write_bytes(vkey)
    (place / "trust/witness.vkey").write_text(f"{WITNESS_KEY.vkey}\n")
    return ["--state", str(place), "--runtime", str(place / "run")]


@pytest.mark.parametrize("verifier", NAMES, indirect=True)
def test_outside_verifiers_read_the_whole_log_again(tmp_path: Path, verifier: Verifier) -> None:
    """They miss the pruned bundles in the published directory and say so; what `audit tiles` wrote they
    accept, and it is, byte for byte, what was published before."""
    settings = new_log(tmp_path)
    where = appliance(tmp_path, settings)
    vkey = settings.key_file.with_suffix(".vkey")
    prune(settings, SIZE, before_ns=0)
    before = {tile.path: (settings.directory / tile.path).read_bytes() for tile in new_tiles(0, SIZE)}
    prune(settings, SIZE)
    accepted, said = verifier(settings.directory, vkey, None)
    assert not accepted
    assert "tile/entries/000" in said
    out = tmp_path / "whole-log"
    assert main(["audit", "tiles", "--out", str(out), *where, "--quiet"]) == 0
    accepted, said = verifier(out, vkey, settings.directory / "checkpoint")
    assert accepted, said
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for name in ("checkpoint", "cosigned"):
        assert found.pop(name) == (settings.directory / name).read_bytes()
    assert found == before


def test_the_command_refuses_to_mix_and_to_write_what_was_not_signed(tmp_path: Path, capfd: Capture) -> None:
    """A directory with anything in it; a segment that is damaged: then no checkpoint is there."""
    settings = new_log(tmp_path)
    where = appliance(tmp_path, settings)
    prune(settings, SIZE)
    full = tmp_path / "full"
    full.mkdir()
    (full / "a").touch()
    assert main(["audit", "tiles", "--out", str(full), *where]) == 73
    assert [path.name for path in full.iterdir()] == ["a"]
    path = settings.directory / "segments/00000001.zst"
    data = path.read_bytes()
    path.write_bytes(data[:9000] + b"x" + data[9001:])
    capfd.readouterr()
    assert main(["audit", "tiles", "--out", str(tmp_path / "out"), *where]) == 74
    assert "sealed segment 00000001.zst is damaged" in capfd.readouterr().err
    assert not (tmp_path / "out/checkpoint").exists()
    path.write_bytes(data)
    assert main(["audit", "tiles", "--out", str(tmp_path / "again"), "--json", *where]) == 0
    files = len(list(new_tiles(0, SIZE)))
    assert json.loads(capfd.readouterr().out) == {"ok": True, "entries": SIZE, "files": files}


def test_commands_read_pruned_entries(tmp_path: Path, capfd: Capture) -> None:
    """show, grep, why, proof: as if nothing had been pruned; verify says what is sealed."""
    settings = new_log(tmp_path)
    where = appliance(tmp_path, settings)
    prune(settings, SIZE)
    index = next(at for at in range(1000, SEGMENT) if row(at).kind == "verdict")
    order = row(index).ref or ""
    for verb, wanted in (
        (f"show {index}", f'"i": {index}'),
        (f"show {order}", str(index)),
        (f"grep --order {order} --json", row(index).body.decode()),
        (f"grep --kind verdict --reason NO_LIMIT {order}", str(index)),
        (f"why {index} --json", f'"focus": [{index}]'),
        (f"proof {index}", f"index {index}"),
        ("verify", f"sealed     {2 * SEGMENT} entries in 2 segments"),
    ):
        code = main(["audit", *verb.split(), *where])
        printed = capfd.readouterr()
        assert wanted in printed.out, (verb, printed)
        assert code == 0, (verb, code, printed)
    with LogFile(settings) as reader:
        assert reader.file(Tile(ENTRIES, 0).path) is None


class LogFile:
    """A reader for a `with`."""

    def __init__(self, settings: LogSettings) -> None:
        self._reader = LogReader(settings.directory)

    def __enter__(self) -> LogReader:
        return self._reader

    def __exit__(self, *_: object) -> None:
        self._reader.close()
