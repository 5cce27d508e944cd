"""A log of ours with 100,000 entries before verifiers nobody here wrote: accepted whole, refused changed.

golang.org/x/mod/sumdb (needs `go`), PyPI's pymerkle with OpenSSL, PyPI's sigstore. Each change must be
refused for its own reason; the reasons are those of the verifiers. All entries are checked, every time.
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from appliance.audit.notes import SigningKey
from appliance.audit.records import encode_entry
from appliance.storage.keys import read_signing_key
from appliance.storage.log_client import LogSettings
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from tests.audit_support import LOG, entry, flip, new_log
from tests.outside.judges import HERE, NAMES, Verifier, copy_of, put
from tests.outside.published import main

SIZE = 100_000
OLDER = 60_000
FORKED = 99_900
GROUP = 1_000


@dataclass(frozen=True)
class Made:
    """What the tests share; nobody changes it. log: directory.  older, newest: checkpoints of it.

    fork: a log that leaves the other one at FORKED, under the same key, and is longer in the end.
    forked: its checkpoint of SIZE.
    """

    log: Path
    vkey: Path
    older: Path
    newest: Path
    fork: Path
    forked: Path


def grow(store: LogStore, size: int, mark: str) -> None:
    """Entries up to `size`, as the writer commits them, then a publication."""
    while store.size < size:
        first, end = store.size, min(store.size + GROUP, size)
        rows = [
            EntryRow("heartbeat", at, None, encode_entry(at, "core", at, entry(at, mark=mark)))
            for at in range(first, end)
        ]
        store.commit([Append(first, "core", end, tuple(rows), ())])
        store.grow()
        store.tidy()
    for _ in store.publish():
        pass


def opened(settings: LogSettings, directory: Path) -> LogStore:
    """The store as its writer opens it."""
    return LogStore(directory, read_signing_key(settings.key_file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Made once: some 5 seconds."""
    folder = tmp_path_factory.mktemp("outside")
    settings = new_log(folder)
    log, fork = settings.directory, folder / "fork"
    kept = Made(
        log=log,
        vkey=settings.key_file.with_suffix(".vkey"),
        older=folder / "older",
        newest=folder / "newest",
        fork=fork,
        forked=folder / "forked",
    )
    store = opened(settings, log)
    grow(store, OLDER, "one")
    shutil.copy(log / "checkpoint", kept.older)
    grow(store, FORKED, "one")
    store.close()
    shutil.copytree(log, fork)
    for directory, mark, keep in ((log, "one", kept.newest), (fork, "other", kept.forked)):
        store = opened(settings, directory)
        grow(store, SIZE, mark)
        shutil.copy(directory / "checkpoint", keep)
        if directory == fork:
            grow(store, SIZE + 100, mark)
        store.close()
    return kept


@pytest.fixture
def changed(made: Made, tmp_path: Path) -> Path:
    """The published files in a directory of one's own: `put` changes none but that one's."""
    return copy_of(made.log, tmp_path / "log")


def test_the_whole_log_is_accepted(made: Made, verifier: Verifier) -> None:
    """All entries and tiles, and as what a head seen before goes on to be."""
    accepted, said = verifier(made.log, made.vkey, made.older)
    assert accepted, said
    head = open_checkpoint(made.newest.read_bytes(), [LOG.verifier()]).checkpoint
    assert said.startswith(f"{SIZE} entries of {LOG.name}, root {head.root.hex()[:16]}")


def test_a_log_that_has_grown_meanwhile_is_accepted(made: Made, verifier: Verifier, changed: Path) -> None:
    """A head of before, over full tiles that were partial then: only who has seen a later one refuses it."""
    put(changed / "checkpoint", made.older.read_bytes())
    accepted, said = verifier(changed, made.vkey, None)
    assert accepted, said
    assert said.startswith(f"{OLDER} entries of ")


def _flip(name: str, at: int) -> Callable[[Path], None]:
    def change(log: Path) -> None:
        put(log / name, flip((log / name).read_bytes(), at))

    return change


def _cut(name: str, octets: int) -> Callable[[Path], None]:
    def change(log: Path) -> None:
        put(log / name, (log / name).read_bytes()[:-octets])

    return change


def _sign(size: int, key: SigningKey = LOG) -> Callable[[Path], None]:
    """A head of another size, or of another key, with the root of this log."""

    def change(log: Path) -> None:
        root = open_checkpoint((log / "checkpoint").read_bytes(), [LOG.verifier()]).checkpoint.root
        put(log / "checkpoint", sign_checkpoint(Checkpoint(LOG.name, size, root), key))

    return change


def _resize(log: Path) -> None:
    text = (log / "checkpoint").read_text()
    put(log / "checkpoint", text.replace("\n100000\n", "\n99999\n").encode())


def _missing(name: str) -> Callable[[Path], None]:
    return lambda log: (log / name).unlink()


NOT_ROOT = "the 100000 entries have another root"
NOT_TILE = "does not hold the hashes of"
NOT_LEAF = "does not have the hash in its tile"
NOT_PROOF = "inclusion proof contains invalid root hash"
NPM_NOT_PROOF = "calculated root hash does not match"
MISSING = "is missing|no such file"

TAMPERS: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    # what: how, and why sumdb, pymerkle with OpenSSL, and sigstore refuse it
    "entry": (_flip("tile/entries/048", 4_000), NOT_ROOT, f"12... {NOT_LEAF}", f"entry 12.*{NOT_PROOF}"),
    "last bundle's": (_flip("tile/entries/390.p/160", 4_000), NOT_ROOT, NOT_LEAF, f"entry 99.*{NOT_PROOF}"),
    "level-0 tile": (_flip("tile/0/048", 4_000), f"tile/0/048 {NOT_TILE}", f"level 1 {NOT_TILE}", NOT_PROOF),
    "level-0 partial": (_flip("tile/0/390.p/160", 0), f"0/390.* {NOT_TILE}", NOT_LEAF, NOT_PROOF),
    "level-1 tile": (_flip("tile/1/000", 1_280), f"tile/1/000 {NOT_TILE}", f"level 1 {NOT_TILE}", NOT_PROOF),
    "level-1 partial": (_flip("tile/1/001.p/134", -1), f"001.* {NOT_TILE}", f"level 1 {NOT_TILE}", NOT_PROOF),
    "level-2 tile": (_flip("tile/2/000.p/1", 31), f"2/000.* {NOT_TILE}", f"level 2 {NOT_TILE}", NOT_PROOF),
    "signature": (_flip("checkpoint", -10), "invalid signature", "signature does not", "invalid signature"),
    "another key": (
        _sign(SIZE, SigningKey(LOG.name, bytes(32))),
        "no verifiable signatures",
        "no signature by this key",
        "Signature not found",
    ),
    "size": (_resize, "invalid signature", "signature does not match", "invalid signature"),
    "smaller size, signed": (_sign(SIZE - 1), MISSING, MISSING, MISSING),
    "larger size, signed": (_sign(SIZE + 1), MISSING, MISSING, MISSING),
    "truncated bundle": (_cut("tile/entries/048", 1), "is cut", "is cut", "is cut"),
    "truncated tile": (_cut("tile/0/048", 32), f"tile/0/048 {NOT_TILE}", "8160 bytes", "8160 bytes"),
    "truncated log": (_cut("tile/entries/390.p/160", 100), "is cut", "is cut", "is cut"),
    "missing bundle": (_missing("tile/entries/048"), MISSING, MISSING, MISSING),
    "missing tile": (_missing("tile/0/048"), MISSING, MISSING, MISSING),
    "missing level-1 tile": (_missing("tile/1/001.p/134"), MISSING, MISSING, MISSING),
    "missing checkpoint": (_missing("checkpoint"), MISSING, "cannot be read", "cannot be read"),
}


@pytest.mark.parametrize("kind", TAMPERS)
def test_every_tampering_is_refused_for_its_reason(
    made: Made, verifier: Verifier, changed: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """One bit, one byte, one file: the rest of the 100,000 entries does not outweigh it."""
    change, *reasons = TAMPERS[kind]
    change(changed)
    accepted, said = verifier(changed, made.vkey, None)
    assert not accepted
    name = request.node.callspec.params["verifier"]
    reason = _in_npm_s_words(reasons[-1]) if name == "npm" else reasons[NAMES.index(name)]
    assert re.search(reason, said), said


def _in_npm_s_words(reason: str) -> str:
    """The same reason as sigstore of PyPI gives, in the other's sentences."""
    said = reason.replace(NOT_PROOF, NPM_NOT_PROOF)
    return re.sub("invalid signature|Signature not found", "invalid checkpoint signature", said)


def test_a_size_signed_over_files_of_that_size_is_refused(
    made: Made, verifier: Verifier, changed: Path
) -> None:
    """The log's own key signs a smaller size with the larger one's root: the files do not bear it out."""
    size = SIZE - SIZE % 256
    _sign(size)(changed)
    accepted, said = verifier(changed, made.vkey, None)
    assert not accepted
    assert re.search(f"the {size} entries have another root|{NOT_PROOF}|{NPM_NOT_PROOF}", said), said


def test_an_old_head_is_refused_by_who_has_seen_a_newer_one(
    made: Made, verifier: Verifier, changed: Path
) -> None:
    """A genuine checkpoint with all its files: the log was rolled back."""
    put(changed / "checkpoint", made.older.read_bytes())
    accepted, said = verifier(changed, made.vkey, made.newest)
    assert (accepted, said) == (False, f"the head of {OLDER} is older than one seen before, of {SIZE}")


def test_a_second_head_of_one_size_is_refused(made: Made, verifier: Verifier, tmp_path: Path) -> None:
    """Signed by the log's own key: who has its key can write another history, but not unseen."""
    fork = copy_of(made.fork, tmp_path / "fork")
    put(fork / "checkpoint", made.forked.read_bytes())
    accepted, said = verifier(fork, made.vkey, made.newest)
    assert (accepted, said) == (False, f"two heads of one size, {SIZE}")


@pytest.mark.parametrize("verifier", ["sumdb", "pymerkle"], indirect=True)
def test_another_history_is_refused_by_who_has_seen_this_one(made: Made, verifier: Verifier) -> None:
    """Longer, whole, signed, and what was seen before is no beginning of it. sigstore has no such proof."""
    accepted, said = verifier(made.fork, made.vkey, made.newest)
    assert not accepted
    assert said.startswith(f"the head of {SIZE} seen before is no beginning of this log")
    accepted, said = verifier(made.fork, made.vkey, made.older)
    assert accepted, said


def test_the_verifiers_use_nothing_of_ours() -> None:
    """Else a fault of ours could hide itself."""
    for path in HERE.glob("*.py"):
        if path.name.startswith("test_"):  # judges and conftest are asked too
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = [name for name in names if name.split(".")[0] in ("appliance", "hardware", "tests")]
            assert all(name.startswith("tests.outside.") for name in ours), path
    assert "interlock" not in (HERE / "sumdb/main.go").read_text().split("package main")[1].lower()
    wanted = set(re.findall(r'require\("([^"]+)"\)', (HERE / "npm/verify.js").read_text()))
    assert all(name.startswith(("node:", "@sigstore/verify/")) for name in wanted)


def test_two_of_them_come_with_the_test_lock() -> None:
    """So they look at the log wherever the tests are set up as `tests/run.sh` does it, go or no go."""
    lock = (HERE.parents[1] / "provisioning/requirements-test.lock").read_text()
    for name in ("pymerkle", "cryptography", "sigstore"):
        assert re.search(rf"^{name}==", lock, re.MULTILINE), name


def test_they_can_be_used_from_the_command_line(
    made: Made, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the README says; exit 0 or 1."""
    for needed in ("cryptography", "pymerkle"):
        pytest.importorskip(needed, reason=f"no {needed} here. DO: pip install '.[test]'")
    check = importlib.import_module("tests.outside.with_pymerkle").check
    given = [str(changed), str(made.vkey), "--seen", str(made.older)]
    assert main(check, "a tool", given) == 0
    assert re.fullmatch(rf"VERIFIED: {SIZE} entries of .*\(a tool\)\n", capsys.readouterr().out)
    put(changed / "checkpoint", b"nothing")
    assert main(check, "a tool", given) == 1
    assert capsys.readouterr().out == "REFUSED: no signature by this key\n"
