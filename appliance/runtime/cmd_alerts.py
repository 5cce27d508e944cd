"""`interlock alerts`: tells people what happens to the box; with --test, tries the hook."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from appliance.domain.exit_codes import ExitCode
from appliance.runtime.alert_files import dump
from appliance.runtime.alert_hook import run_hook
from appliance.runtime.alert_sources import LOOK_S
from appliance.runtime.alerts import Alerter, hook_config, only_one
from appliance.runtime.config import Config
from appliance.runtime.config_load import load_config
from appliance.runtime.logs import Log
from appliance.runtime.notify import SystemdNotifier
from appliance.runtime.paths import Paths, ensure_runtime
from appliance.runtime.terminal import Terminal
from appliance.safety.alerts import trial_alert

NOTIFY_S = 1.0


def run_alerts(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs until SIGTERM or Ctrl-C. It needs its configuration only: no guard, no core and no log."""
    config = load_config(options.config or paths.config)
    if options.test:
        return try_hook(config, terminal)
    stop = threading.Event()
    interrupted = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = interrupted or number == signal.SIGINT
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    ensure_runtime(paths)
    with only_one(paths):
        _work(Alerter(config, paths, Log(config.log.format, quiet=options.quiet, debug=options.debug)), stop)
    return int(ExitCode.INTERRUPTED) if interrupted else 0


def _work(alerter: Alerter, stop: threading.Event) -> None:
    """Looks every LOOK_S. The watchdog is fed by looks that went through, so a stuck one is started again."""
    notifier = SystemdNotifier()
    looks, fed = 0, time.monotonic()
    alerter.prepare()
    notifier.tell("READY=1")
    try:
        while not stop.wait(LOOK_S):
            alerter.look()
            looks += 1
            if time.monotonic() - fed >= NOTIFY_S:
                fed = time.monotonic()
                notifier.feed(looks)
    finally:
        notifier.tell("STOPPING=1")
        alerter.close()


def try_hook(config: Config, terminal: Terminal) -> int:
    """One test alert through the hook, which may print. Exit 1 unless it was delivered."""
    if not config.alerts.hook:
        terminal.say("no hook is configured: alerts are shown on the page, in log lines and in /metrics only")
        terminal.say("next: set alerts.hook in the configuration")
        return int(ExitCode.SAID_NO)
    alert = trial_alert(config.box.name, time.time_ns())
    print(dump(alert).decode(), flush=True)
    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        outcome = run_hook(hook_config(config, Path(folder)), alert, shown=True)
    took_ms = int(outcome.took_s * 1000)
    print(f"{config.alerts.hook[0]}: {outcome.word}, {outcome.detail}, {took_ms} ms", flush=True)
    return 0 if outcome.good else int(ExitCode.SAID_NO)
