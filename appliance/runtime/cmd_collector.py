"""`interlock collector --enrol VKEY`, `--token` and `--export DIR`: which logs it takes, what it has of them.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY, VerifierKey, parse_vkey
from appliance.domain.errors import PeerError, UsageError
from appliance.runtime.paths import Paths, need_state
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import write_file
from appliance.storage.keys import read_verifier
from appliance.upstream.enrolment import TOKEN_BYTES, hash_token
from appliance.upstream.enrolment_store import EnrolmentStore, create_enrolment_store, has_enrolment_store
from appliance.upstream.mirror_export import export_copies
from appliance.upstream.mirror_store import create_mirror_store, path_of
from appliance.upstream.policy import parse_policy, read_policy
from appliance.upstream.witness import origin_hash

POLICY = "collector.policy"
MAX_HOURS = 720


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
    _print_own(paths, terminal)
    return 0


def make_token(paths: Paths, hours: int, terminal: Terminal) -> int:
    """A token on stdout that one log can be enrolled with, by who has it; only its hash is kept.

    The collector may run meanwhile, and takes it at once.
    """
    need_state(paths)
    if not 1 <= hours <= MAX_HOURS:
        raise UsageError(f"{hours} hours cannot be had", f"1 to {MAX_HOURS} (--hours)")
    if not has_enrolment_store(paths.collector):
        create_enrolment_store(paths.collector)
        terminal.say("a collector that runs already takes tokens after its next start")
    token, now_s = secrets.token_hex(TOKEN_BYTES), int(time.time())
    store = EnrolmentStore(paths.collector)
    try:
        store.add_token(hash_token(token), now_s, now_s + hours * 3600)
    finally:
        store.close()
    terminal.say(f"good once, for {hours} h, for whichever log brings it: interlock keys enrol, on its box")
    _print_own(paths, terminal)
    print(token)
    return 0


def _print_own(paths: Paths, terminal: Terminal) -> None:
    terminal.say("its box needs these two lines in its state directory:")
    for name in ("witness", "mirror"):
        own = read_verifier(paths.keys / f"{name}.vkey", COSIGNATURE_KEY)
        print(f"trust/{name}.vkey  {own.vkey}")


def _log_key(text: str) -> VerifierKey:
    do = "give the one line of trust/log.vkey in the state directory of the box"
    try:
        key = parse_vkey(text)
    except PeerError as error:
        raise UsageError("that is no log's public key", error.why, do) from error
    if key.kind != NOTE_KEY:
        raise UsageError("that is no log's public key", "it is a cosigner's", do)
    return key


def _watched(paths: Paths) -> list[str]:
    """Origins of the policy, and of the logs that tokens brought."""
    origins = dict.fromkeys(read_policy(paths.trust / POLICY))
    if has_enrolment_store(paths.collector):
        store = EnrolmentStore(paths.collector)
        try:
            origins |= dict.fromkeys(key.name for key in store.logs())
        finally:
            store.close()
    return list(origins)


def export(paths: Paths, out: Path, terminal: Terminal) -> int:
    """Everything that is stored, as static files; exit 1 if there is nothing."""

    def told(origin: str, done: int, of: int) -> None:
        if terminal.live and done % 256 == 0:
            terminal.say(f"  {origin}: {done} of {of} files")

    need_state(paths)
    exported = export_copies(paths.collector, _watched(paths), out, told)
    for origin, size in exported.items():
        print(f"{origin}: {size} entries in {out / origin_hash(origin)}")
    if not exported:
        terminal.say("nothing is stored yet; nothing was written")
    return 0 if exported else 1
