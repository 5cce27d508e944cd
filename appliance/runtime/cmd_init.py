"""`interlock init`: keys, log, stores and configuration. No daemon makes any of these (STYLE habit 5)."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY
from appliance.domain.errors import CannotCreateError
from appliance.memory import schema_store
from appliance.runtime.cmd_audit_export import make_export_key
from appliance.runtime.config import Config
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.create import create_log, create_log_key
from appliance.storage.durable import create_file
from appliance.storage.keys import create_key, read_verifier
from appliance.upstream.enrolment_store import create_enrolment_store
from appliance.upstream.mirror_store import create_mirror_store
from appliance.upstream.witness_store import create_witness_store

GUARD_EXAMPLE = Path(__file__).parents[2] / "hardware" / "guard.example.toml"
COSIGNERS = ("witness", "mirror")


def run_init(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Makes what is missing and touches nothing that exists; `--reset` first moves the whole state aside."""
    if options.reset:
        move_aside(paths, terminal)
    if paths.log.is_dir():
        terminal.say(f"there is an appliance in {paths.state} already; nothing was changed")
        return 0
    _make_folders(paths)
    config = _configuration(paths, options.config, options.board, terminal)
    _keys_and_stores(paths, config)
    terminal.say(f"made an appliance in {paths.state}: keys, audit log, memory, paper venue")
    terminal.say("next: interlock up")
    return 0


def move_aside(paths: Paths, terminal: Terminal) -> None:
    """Renames the state directory. A log is never deleted: what it proves may still be wanted."""
    if not paths.state.exists():
        return
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = paths.state.with_name(f"{paths.state.name}.{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = paths.state.with_name(f"{paths.state.name}.{stamp}-{number}")
    try:
        paths.state.rename(aside)
    except OSError as error:
        why = f"{error.strerror} ({paths.state})"
        raise CannotCreateError("the state cannot be moved aside", why) from error
    terminal.say(f"moved the old state, log included, to {aside}")


def _make_folders(paths: Paths) -> None:
    for directory in (
        paths.state,
        paths.latch,
        paths.keys,
        paths.trust,
        paths.memory.parent,
        paths.venue_journal.parent,
        paths.alerts.parent,
    ):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CannotCreateError(
                "the state directory cannot be made", f"{error.strerror} ({directory})", "use --state DIR"
            ) from error
    if not os.access(paths.state, os.W_OK):
        raise CannotCreateError("the state directory cannot be written", str(paths.state), "use --state DIR")


def _configuration(paths: Paths, given: Path | None, board: str, terminal: Terminal) -> Config:
    if given is not None:
        return load_config(given)
    if not paths.config.exists():
        create_file(paths.config, EXAMPLE.read_bytes())
        terminal.say(f"copied the demo configuration to {paths.config}")
    if not paths.guard_config.exists():
        text = GUARD_EXAMPLE.read_text("utf-8").replace('driver = "simulated"', f'driver = "{board}"', 1)
        create_file(paths.guard_config, text.encode())
    return load_config(paths.config)


def _keys_and_stores(paths: Paths, config: Config) -> None:
    """The log comes last: its directory is what says that an appliance is complete."""
    origin = config.audit.origin
    log_key = paths.keys / "log.key"
    if not log_key.exists():
        create_log_key(paths.keys, origin)
    make_export_key(paths, origin)
    log_vkey = read_verifier(paths.keys / "log.vkey", NOTE_KEY)
    _write_once(paths.trust / "log.vkey", f"{log_vkey.vkey}\n")
    for name in COSIGNERS:  # what each of them says is not the same, so each has a key of its own
        if not (paths.keys / f"{name}.key").exists():
            create_key(paths.keys, name, f"{origin}/{name}", COSIGNATURE_KEY)
        vkey = read_verifier(paths.keys / f"{name}.vkey", COSIGNATURE_KEY)
        _write_once(paths.trust / f"{name}.vkey", f"{vkey.vkey}\n")
    _write_once(paths.trust / "collector.policy", f"# logs this collector watches\nlog {log_vkey.vkey}\n")
    if not paths.collector.exists():
        create_witness_store(paths.collector)
        create_mirror_store(paths.collector, origin)
        create_enrolment_store(paths.collector)
    if not paths.memory.exists():
        schema_store.create(paths.memory)
    _write_once(paths.venue_journal, "")
    create_log(paths.log, log_key)


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        create_file(path, text.encode())

