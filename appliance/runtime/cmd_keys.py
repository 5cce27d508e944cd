"""`interlock keys list|rotate|revoke|sign|chain|enrol`: the keys of this appliance (U13).

What changes the log's keys writes to the log itself, under its lock: no core runs meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.audit.key_chain import KeyChain, may_revoke
from appliance.audit.key_notes import (
    MAX_KEY_NOTE,
    OPERATOR,
    REVOKED,
    Revocation,
    open_revocation,
)
from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY, Note, VerifierKey, parse_vkey
from appliance.domain.errors import ConfigError, PeerError, TransportError, UsageError
from appliance.runtime.audit_trust import read_given, read_trust
from appliance.runtime.audit_view import stamp
from appliance.runtime.config_load import load_config
from appliance.runtime.key_table import IN_USE, KeyRow, key_rows, named
from appliance.runtime.operator_key import operator_key
from appliance.runtime.paths import Paths, need_log, need_state
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import create_file
from appliance.storage.keys import read_signing_key
from appliance.storage.log_reader import LogReader
from appliance.storage.log_rotate import append, rotate, settle
from appliance.storage.log_store import LogStore
from appliance.storage.log_writer import only_writer
from appliance.upstream.enrolment import sign_enrolment
from appliance.upstream.exchange import Exchange

LOCK_WAIT_S = 1.0
_LIST = "interlock keys list"
_KEYGEN = "interlock operator keygen --out FILE"


def run_list(paths: Paths, options: argparse.Namespace, _terminal: Terminal) -> int:
    """Every key; exit 0. Reads only."""
    need_log(paths)
    rows = key_rows(paths)
    if options.json:
        print(json.dumps([_as_json(row) for row in rows]))
        return 0
    for row in rows:
        state = f"{row.state} ({row.detail})" if row.detail else row.state
        created = stamp(row.created_ns) if row.created_ns else "-"
        print(f"{row.name:<9} {row.key_id or '-':<17} {row.mode or '-':<5} {created:<25} {state}")
        print(f"          signs {row.purpose}" + (f"; {row.file}" if row.file else ""))
    return 0


def run_rotate(paths: Paths, _options: argparse.Namespace, terminal: Terminal) -> int:
    """The log's key is replaced; a power cut leaves the old or the new one in force."""
    need_state(paths)
    key_file = paths.keys / "log.key"
    with only_writer(paths.log, LOCK_WAIT_S):
        settle(key_file, paths.log)
        trusted, own = read_trust(paths, None).keys.current, read_signing_key(key_file).verifier()
        if trusted != own:
            why = f"nothing leads from {paths.trust / 'log.vkey'} to {named(own)} ({key_file})"
            raise ConfigError("the log's key is not the one in force", why, "interlock verify")
        made = rotate(key_file, paths.log, (time.time_ns(), time.monotonic_ns()))
    terminal.say(f"entry {made.size}: the log's key was {named(made.old)} and is {named(made.new)}")
    terminal.say(f"checkpoints up to {made.size + 1} entries verify with the old key, from there the new")
    terminal.say("the collector is told at the next start; tell other witnesses and auditors the new key,")
    terminal.say("or give them what leads to it: interlock keys chain")
    print(made.new.vkey)
    return 0


def run_revoke(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """One entry that says from where on a key is not believed."""
    need_state(paths)
    operator = operator_key(paths)
    if options.note is not None:
        note = read_given(str(options.note), "the revocation", MAX_KEY_NOTE)
        try:
            revocation = open_revocation(note)
        except PeerError as error:
            raise UsageError("that is no revocation", f"{error.why} ({options.note})", _LIST) from error
        return _log_revocation(paths, revocation, note, terminal)
    if options.what is None or operator is None:
        why = "which key" if operator is not None else f"no [operator] key ({paths.guard_config})"
        raise UsageError("it cannot be said who revokes what", why, f"{_LIST}; {_KEYGEN}")
    revocation = _statement(paths, options, operator)
    if options.prepare is not None:
        create_file(options.prepare, revocation.text.encode())
        terminal.say(f"sign it where the operator's key is: interlock keys sign {options.prepare}")
        return 0
    return _log_revocation(paths, revocation, _signed(options, revocation.text), terminal)


def run_sign(_paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Signs a revocation and nothing else, after saying what it is about."""
    text = read_given(str(options.text), "the revocation", MAX_KEY_NOTE).decode("utf-8", "replace")
    note = _signed(options, text)
    revocation = open_revocation(note)
    for line in _said(revocation):
        terminal.say(line)
    create_file(options.out, note)
    terminal.say(f"wrote {options.out}; on the box: interlock keys revoke --note {options.out.name}")
    return 0


def run_chain(paths: Paths, _options: argparse.Namespace, terminal: Terminal) -> int:
    """The notes of all rotations, oldest first; exit 1 if the log has had one key only."""
    need_log(paths)
    rotations = read_trust(paths, None).rotations
    sys.stdout.write(b"".join(rotations).decode())
    if not rotations:
        terminal.say("the log has had one key only: trust/log.vkey is all there is to know")
    return 0 if rotations else 1


def run_enrol(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Shows the token and the log's key to the configured upstream; exit 1 if it refuses them."""
    need_state(paths)
    config = load_config(options.config or paths.config)
    if sys.stdin.isatty():
        terminal.say("the token, as interlock collector --token printed it there:")
    token = sys.stdin.readline().strip()
    try:
        request = sign_enrolment(token, read_signing_key(paths.keys / "log.key"))
    except PeerError as error:
        do = "give the line that interlock collector --token printed"
        raise UsageError("that is no token", f"{error.why} (stdin)", do) from error

    async def ask() -> tuple[int, str, bytes]:
        async with Exchange(config.upstream.url, pin=config.upstream.pin) as exchange:
            answer = await exchange.enrol(request)
        return answer.status, answer.said, answer.body

    status, said, body = asyncio.run(ask())
    if status != 200:
        terminal.say(f"{config.upstream.url} says {said}")
        terminal.say("a token is good once: if an earlier try got no answer, it may have worked all the same")
        return 1
    terminal.say("enrolled; this box needs these lines, compared with what the collector printed:")
    for name, key in zip(("witness", "mirror"), _cosigners(body), strict=False):
        print(f"trust/{name}.vkey  {key.vkey}")
    return 0


def _cosigners(body: bytes) -> list[VerifierKey]:
    try:
        keys = [parse_vkey(line) for line in body.decode("ascii", "replace").splitlines()[:4]]
    except PeerError as error:
        raise TransportError("the upstream's answer cannot be read", error.why) from error
    return [key for key in keys if key.kind == COSIGNATURE_KEY]


def _statement(paths: Paths, options: argparse.Namespace, operator: VerifierKey) -> Revocation:
    rows = [row for row in key_rows(paths) if row.key_id == options.what]
    if not rows or rows[0].key is None:
        raise UsageError(f"there is no key {options.what} here", "an id of 8 or 16 digits is wanted", _LIST)
    row, key = rows[0], rows[0].key
    trust = read_trust(paths, None)
    if row.name == "log" and row.state == IN_USE:
        why = "nothing could be signed any more"
        raise UsageError("the log's key in force cannot be revoked", why, "interlock keys rotate log")
    size = _default_from(paths, trust.keys, row) if options.since is None else options.since
    if size < 0:
        raise UsageError(f"there is no entry {size}", "entries are counted from 0", _LIST)
    after = trust.keys.successor(key)
    vouched = after.key if after is not None and size < after.first else None
    return Revocation(trust.log.name, key, size, operator, vouched)


def _default_from(paths: Paths, chain: KeyChain, row: KeyRow) -> int:
    era = None if row.key is None else chain.era(row.key)
    if era is not None and era.last is not None:
        return era.last
    reader = LogReader(paths.log)
    try:
        return reader.size()
    finally:
        reader.close()


def _signed(options: argparse.Namespace, text: str) -> bytes:
    key = read_signing_key(options.key, _KEYGEN)
    note = Note(text, (key.sign(text),)).encode()
    try:
        revocation = open_revocation(note)
    except PeerError as error:
        raise UsageError("that is not signed", f"{error.what}: {error.why}", _LIST) from error
    if revocation.by.name != OPERATOR:
        raise UsageError("that is not signed", "it is not for an operator's key", _LIST)
    return note


def _log_revocation(paths: Paths, revocation: Revocation, note: bytes, terminal: Terminal) -> int:
    with _writing(paths) as store:
        try:
            _check_revocation(paths, revocation, store.size)
        except PeerError as error:
            raise UsageError("the revocation is not logged", error.why, _LIST) from error
        data: dict[str, object] = {"act": REVOKED, "by": named(revocation.by), "note": note.decode()}
        index = append(store, (time.time_ns(), time.monotonic_ns()), data)
        for _ in store.publish():
            pass
    for line in _said(revocation):
        terminal.say(line)
    terminal.say(f"it is entry {index} of the log; interlock verify goes by it from now on")
    return 0


def _check_revocation(paths: Paths, revocation: Revocation, size: int) -> None:
    """Raises PeerError for what `verify` would refuse, and for a log that could not go on behind it."""
    may_revoke(revocation, operator_key(paths), size)
    trust = read_trust(paths, None)
    if revocation.origin != trust.log.name:
        raise PeerError("revocation refused", f"it is about the log {revocation.origin}")
    if revocation.key == trust.keys.current:
        raise PeerError("revocation refused", "it is the key in force: rotate it first")
    if revocation.key.name == trust.log.name and revocation.key.kind == NOTE_KEY:
        trust.keys.revoked(revocation)


def _said(revocation: Revocation) -> list[str]:
    lines = [
        f"{revocation.key.name}: key {named(revocation.key)} is not believed from entry {revocation.size} on",
        "before that entry nothing is said: who had the key could write there what he liked, but for what",
        "a witness had co-signed: the entries below its last head are out of his reach",
    ]
    if revocation.next is not None:
        lines.append(f"the operator vouches for {named(revocation.next)}, which it was rotated to")
    return lines


@contextmanager
def _writing(paths: Paths) -> Iterator[LogStore]:
    """The log's store while no core has it."""
    with only_writer(paths.log, LOCK_WAIT_S):
        key_file = paths.keys / "log.key"
        settle(key_file, paths.log)
        store = LogStore(paths.log, read_signing_key(key_file))
        try:
            yield store
        finally:
            store.close()


def _as_json(row: KeyRow) -> dict[str, object]:
    return {
        "name": row.name,
        "purpose": row.purpose,
        "key_id": row.key_id,
        "vkey": "" if row.key is None else row.key.vkey,
        "file": row.file,
        "mode": row.mode,
        "created": stamp(row.created_ns) if row.created_ns else "",
        "state": row.state,
        "detail": row.detail,
    }
