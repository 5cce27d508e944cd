"""`interlock config` and `interlock doctor`: what is in force, and what is wrong with this machine."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

import msgspec

from appliance.domain.errors import InterlockError
from appliance.runtime.alert_files import FRESH_NS, board_age_ns, read_board
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.guard_link import Glance, boot_text
from appliance.runtime.kernel_clock import read_synchronisation
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal

LOW_DISK_BYTES = 200_000_000


def run_config(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """The effective configuration after every check, or with --example a commented file that loads."""
    if options.example:
        print(EXAMPLE.read_text("utf-8"), end="")
        return 0
    path = options.config or paths.config
    config = load_config(path)
    from appliance.runtime.tables import make_correlation, make_instruments, make_limits, make_strategies

    instruments = make_instruments(config)
    make_limits(config, instruments)
    make_correlation(config)
    make_strategies(config, instruments)
    if options.json:
        print(msgspec.json.encode(config, enc_hook=int).decode())
    else:
        print(msgspec.json.format(msgspec.json.encode(config, enc_hook=int), indent=2).decode())
    terminal.say(f"{path} can be used; it is unsealed: whoever may write the file may change a limit")
    return 0


def run_doctor(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Looks at everything a start needs; exit 1 if something is missing."""
    checks = [
        ("Python 3.11 or newer", sys.version_info >= (3, 11), sys.version.split()[0]),
        ("systemd-python", _has("systemd.daemon"), "readiness and watchdog of the core"),
        ("sqlite-vec and apsw", _has("sqlite_vec") and _has("apsw"), "long-term memory"),
        ("state directory", paths.log.is_dir(), f"{paths.state} (interlock init)"),
        ("state is writable", os.access(paths.state, os.W_OK), str(paths.state)),
        ("configuration", *_config(paths, options)),
        ("free disk", *_disk(paths)),
        ("guard", *_age(Glance(paths.runtime).guard_age_ns(), "interlock up, or interlock guard")),
        ("core", *_age(Glance(paths.runtime).core_age_ns(), "interlock up, or interlock run")),
        ("alerts", *_alerts(paths)),
        ("alert hook", *_hook(paths, options)),
        ("real-time priority", *_realtime()),
        ("clock", *_clock(paths, options)),
    ]
    for name, good, detail in checks:
        mark = terminal.style("ok  ", "green") if good else terminal.style("MISS", "red")
        print(f"{mark} {name:<22} {detail}")
    return 0 if all(good for _, good, _ in checks) else 1


def _has(module: str) -> bool:
    import importlib

    try:
        found = importlib.import_module(module)
    except ImportError:
        return False
    return getattr(found, "__file__", None) is not None


def _config(paths: Paths, options: argparse.Namespace) -> tuple[bool, str]:
    path = options.config or paths.config
    try:
        load_config(path)
    except InterlockError as error:
        return False, error.sentence()
    return True, str(path)


def _disk(paths: Paths) -> tuple[bool, str]:
    where = paths.state if paths.state.exists() else paths.state.parent
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free
    return free > LOW_DISK_BYTES, f"{free // 1_000_000} MB at {where}"


def _age(age_ns: int | None, do: str) -> tuple[bool, str]:
    if age_ns is None or age_ns > 2_000_000_000:
        return False, f"no heartbeat ({do})"
    return True, f"heartbeat {age_ns // 1_000_000} ms old"


def _alerts(paths: Paths) -> tuple[bool, str]:
    age_ns = board_age_ns(read_board(paths.alert_board), boot_text())
    if age_ns is None or age_ns > FRESH_NS:
        return False, "no heartbeat (interlock up, or interlock alerts)"
    return True, f"heartbeat {age_ns // 1_000_000} ms old"


def _hook(paths: Paths, options: argparse.Namespace) -> tuple[bool, str]:
    try:
        hook = load_config(options.config or paths.config).alerts.hook
    except InterlockError:
        return False, "the configuration cannot be used"
    if not hook:
        return True, "none: alerts are on the page, in log lines and in /metrics only"
    good = os.path.isfile(hook[0]) and os.access(hook[0], os.X_OK)  # noqa: PTH113 - a string of the file
    return good, f"{hook[0]} (try it: interlock alerts --test)"


def _clock(paths: Paths, options: argparse.Namespace) -> tuple[bool, str]:
    from appliance.runtime.clock_loop import counts_real_time

    synchronised, said = read_synchronisation()
    try:
        needed = counts_real_time(load_config(options.config or paths.config))
    except InterlockError:
        return synchronised, said
    return synchronised or not needed, said if needed else f"{said}; a replay brings its own clock"


def _realtime() -> tuple[bool, str]:
    try:
        policy = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError as error:
        return False, f"{error.strerror}: the unit's LimitRTPRIO, CAP_SYS_NICE or root gives it"
    return True, "SCHED_FIFO can be had"
