"""How the tests reach the outside verifiers, and how they change a log under them."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.outside.published import RefusedError

HERE = Path(__file__).parent
NAMES = ("sumdb", "pymerkle", "sigstore")
NPM, NPM_S = "@sigstore/verify@4.1.3", 180
X_MOD = Path("src/golang.org/x/mod")
DEBIAN = Path("/usr/share/gocode")
APT = "apt install golang-go golang-golang-x-mod-dev"

Verdict = tuple[bool, str]
Verifier = Callable[[Path, Path, Path | None], Verdict]
"""Directory of the log, verifier key's file, a checkpoint seen before → accepted?, and what it said."""


def build_sumdb(folder: Path) -> Verifier:
    """Our main.go around golang.org/x/mod/sumdb: Debian's package, else the copy in the toolchain."""
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"golang.org/x/mod/sumdb does not look at our log: there is no go here. DO: {APT}")
    root = subprocess.run([go, "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip()
    path, vendored = DEBIAN, Path(root, "src/cmd/vendor/golang.org/x/mod")
    if not (path / X_MOD / "sumdb/tlog").is_dir():
        path = folder / "path"
        if not (vendored / "sumdb/tlog").is_dir():
            pytest.skip(f"golang.org/x/mod/sumdb does not look at our log: no source of it. DO: {APT}")
        (path / X_MOD).parent.mkdir(parents=True)
        (path / X_MOD).symlink_to(vendored)
    away = {"GO111MODULE": "off", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    made_here = {"GOPATH": str(path), "GOCACHE": str(folder / "cache")}
    program = folder / "verify"
    command = [go, "build", "-o", str(program), str(HERE / "sumdb/main.go")]
    built = subprocess.run(
        command, env={**os.environ, **away, **made_here}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr

    def verify(log: Path, vkey: Path, seen: Path | None) -> Verdict:
        before = [] if seen is None else ["-seen", str(seen)]
        ran = subprocess.run([program, *before, log, vkey], capture_output=True, text=True, check=False)
        word = {0: "VERIFIED: ", 1: "REFUSED: "}[ran.returncode]
        assert ran.stdout.startswith(word), ran
        return ran.returncode == 0, ran.stdout.removeprefix(word).strip()

    return verify


def load_python(name: str) -> Verifier:
    """`with_<name>`, called as its command line calls it."""
    for needed in ("cryptography", name):
        reason = f"{name} does not look at our log: no {needed} here. DO: pip install '.[test]'"
        pytest.importorskip(needed, reason=reason)
    check = importlib.import_module(f"tests.outside.with_{name}").check

    def verify(log: Path, vkey: Path, seen: Path | None) -> Verdict:
        try:
            head = check(log, vkey.read_text().strip(), seen.read_text() if seen else None)
        except RefusedError as error:
            return False, str(error)
        return True, f"{head.size} entries of {head.origin}, root {head.root.hex()[:16]}"

    return verify


def load_npm() -> Verifier:
    """npm's @sigstore/verify behind our verify.js, in a cache outside the project; long lane only.

    Skips, saying why, where there is no node or no npm, or the package cannot be had.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"npm {NPM} does not look at our log: no node or no npm here. DO: apt install nodejs npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interlock-tests/npm"
    name, _, version = NPM.rpartition("@")
    installed = cache / "node_modules" / name / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != version:
        cache.mkdir(parents=True, exist_ok=True)
        plain = ("--no-save", "--no-package-lock", "--ignore-scripts")
        install = [npm, "install", *plain, "--prefix", str(cache), NPM]
        try:
            got = subprocess.run(install, capture_output=True, text=True, check=False, timeout=NPM_S)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm {NPM} does not look at our log: npm did not end within {NPM_S} s")
        if got.returncode != 0 or not installed.exists():
            pytest.skip(f"npm {NPM} does not look at our log: {got.stderr.strip()[-200:]}")

    def verify(log: Path, vkey: Path, seen: Path | None) -> Verdict:
        before = [] if seen is None else [str(seen)]
        command = [node, str(HERE / "npm/verify.js"), str(log), str(vkey), *before]
        env = {**os.environ, "NODE_PATH": str(cache / "node_modules")}
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        word = {0: "VERIFIED: ", 1: "REFUSED: "}[ran.returncode]
        assert ran.stdout.startswith(word), ran
        return ran.returncode == 0, ran.stdout.removeprefix(word).strip()

    return verify


def copy_of(log: Path, target: Path) -> Path:
    """Links to every published file; the database and its lock stay behind."""
    ignore = shutil.ignore_patterns("log.db*", "lock")
    return Path(shutil.copytree(log, target, copy_function=os.link, ignore=ignore))


def put(path: Path, data: bytes) -> None:
    """Other content, in a file of its own."""
    path.unlink()
    path.write_bytes(data)
