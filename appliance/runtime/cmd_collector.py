"""`interlock collector --enrol VKEY` and `--export DIR`: which logs it takes, and what it has of them."""

from __future__ import annotations

from pathlib import Path

from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY, VerifierKey, parse_vkey
from appliance.domain.errors import PeerError, UsageError
from appliance.runtime.paths import Paths, need_state
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import write_file
from appliance.storage.keys import read_verifier
from appliance.upstream.mirror_export import export_copies
from appliance.upstream.mirror_store import create_mirror_store, path_of
from appliance.upstream.policy import parse_policy, read_policy
from appliance.upstream.witness import origin_hash

POLICY = "collector.policy"


def enrol(paths: Paths, vkey: str, terminal: Terminal) -> int:
    """Adds a log, by its public key, with an empty copy; says what its box needs. Twice is once.

    A second key of a known origin is trusted beside the first (a change of keys).
    """
    need_state(paths)
    key = _log_key(vkey.strip())
    path = paths.trust / POLICY
    text = path.read_text("utf-8")
    if key not in parse_policy(text, str(path)).get(key.name, ()):
        changed = f"{text.rstrip()}\nlog {key.vkey}\n"
        parse_policy(changed, str(path))
        if not path_of(paths.collector, key.name).exists():
            create_mirror_store(paths.collector, key.name)
        write_file(path, changed.encode(), 0o600)  # last: a log that is listed has its copy
        terminal.say(f"enrolled {key.name}; it counts when the collector is started again")
    else:
        terminal.say(f"{key.name} is enrolled already; nothing was changed")
    terminal.say("its box needs these two lines in its state directory:")
    for name in ("witness", "mirror"):
        own = read_verifier(paths.keys / f"{name}.vkey", COSIGNATURE_KEY)
        print(f"trust/{name}.vkey  {own.vkey}")
    return 0


def _log_key(text: str) -> VerifierKey:
    do = "give the one line of trust/log.vkey in the state directory of the box"
    try:
        key = parse_vkey(text)
    except PeerError as error:
        raise UsageError("that is no log's public key", error.why, do) from error
    if key.kind != NOTE_KEY:
        raise UsageError("that is no log's public key", "it is a cosigner's", do)
    return key


def export(paths: Paths, out: Path, terminal: Terminal) -> int:
    """Everything that is stored, as static files; exit 1 if there is nothing."""

    def told(origin: str, done: int, of: int) -> None:
        if terminal.live and done % 256 == 0:
            terminal.say(f"  {origin}: {done} of {of} files")

    need_state(paths)
    exported = export_copies(paths.collector, read_policy(paths.trust / POLICY), out, told)
    for origin, size in exported.items():
        print(f"{origin}: {size} entries in {out / origin_hash(origin)}")
    if not exported:
        terminal.say("nothing is stored yet; nothing was written")
    return 0 if exported else 1
