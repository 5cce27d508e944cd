"""The processes with an event loop: `run`, `replay`, `paper-venue`, `collector`; and `guard`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from appliance.domain.errors import PeerMissingError
from appliance.domain.status import Status
from appliance.runtime.config import Config
from appliance.runtime.config_load import read_config
from appliance.runtime.guard_link import Glance, prepare_pages
from appliance.runtime.logs import Log
from appliance.runtime.paths import Paths, ensure_runtime, need_state
from appliance.runtime.terminal import Terminal

GUARD_FRESH_NS = 2_000_000_000


def run_guard(paths: Paths, _options: argparse.Namespace, _terminal: Terminal) -> NoReturn:
    """Becomes the guard's process: nothing of the core stays in it."""
    need_state(paths)
    ensure_runtime(paths)
    prepare_pages(paths.runtime)
    where = ["--state", str(paths.state), "--runtime", str(paths.runtime)]
    os.execv(sys.executable, [sys.executable, "-m", "hardware.main", *where])  # noqa: S606 - the point


def run_core_command(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """`interlock run` and `interlock replay`: the core, in the foreground."""
    from appliance.runtime.build import Options
    from appliance.runtime.core import Hooks, run_core

    config, digest = _prepare(paths, options)
    base = (options.config or paths.config).parent
    if not options.unattended and not os.environ.get("NOTIFY_SOCKET"):
        _need_guard(paths)  # a service starts without it: the gate is shut, what must be cancelled still is
    if options.command == "replay":
        config = _as_replay(config)
    log = Log(config.log.format, quiet=options.quiet, debug=options.debug)
    shown = terminal.progress if options.progress else _ignore
    hooks = Hooks(
        lambda port: log.info("web", "ready", url=f"http://{config.web.host}:{port}"),
        shown,
        options.command == "replay" or options.exit_when_finished,
    )
    core_options = Options(
        unattended=options.unattended,
        wait_for_arm=options.wait_for_arm,
        speed=options.speed or "",
        config_sha256=digest,
    )
    return _serve(lambda stop: run_core(config, paths, base, core_options, log, stop, hooks))


def run_paper_venue(paths: Paths, options: argparse.Namespace, _terminal: Terminal) -> int:
    """The paper venue on its loopback port."""
    from appliance.runtime.clock import WallClock
    from appliance.runtime.hosting import serve_app
    from appliance.runtime.tables import make_instruments, make_terms
    from appliance.venues.paper_server import PaperServer

    config, _ = _prepare(paths, options)
    instruments = make_instruments(config)

    async def work(stop: asyncio.Event) -> None:
        server = PaperServer(instruments.values(), make_terms(config), paths.venue_journal, WallClock())
        await serve_app(server.app(), "paper venue", config.venue.port, stop)

    return _serve(work)


def run_collector(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """The collector: co-signs the checkpoints of the logs its policy names, and stores their entries."""
    from appliance.upstream import collector
    from appliance.upstream.policy import read_policy

    if options.export is not None or options.enrol is not None or options.token:
        from appliance.runtime import cmd_collector

        if options.token:
            return cmd_collector.make_token(paths, options.hours, terminal)
        if options.enrol is not None:
            return cmd_collector.enrol(paths, options.enrol, terminal)
        return cmd_collector.export(paths, options.export, terminal)
    config, _ = _prepare(paths, options)
    settings = collector.CollectorSettings(
        host="127.0.0.1",
        port=config.upstream.collector_port,
        directory=paths.collector,
        key_file=paths.keys / "witness.key",
        mirror_key_file=paths.keys / "mirror.key",
        policy=read_policy(paths.trust / "collector.policy"),
    )

    async def work(stop: asyncio.Event) -> None:
        serving = asyncio.create_task(collector.run(settings, lambda: int(time.time())))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if serving.done():
            await serving
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    return _serve(work)


def _prepare(paths: Paths, options: argparse.Namespace) -> tuple[Config, str]:
    """The configuration, and the SHA-256 of its file."""
    need_state(paths)
    read = read_config(options.config or paths.config)
    ensure_runtime(paths)
    prepare_pages(paths.runtime)
    return read


def _as_replay(config: Config) -> Config:
    """`interlock replay` needs no other process but the guard: the venue runs inside the core."""
    import msgspec

    return msgspec.structs.replace(
        config, venue=msgspec.structs.replace(config.venue, transport="in-process")
    )


def _need_guard(paths: Paths) -> None:
    age_ns = Glance(paths.runtime).guard_age_ns()
    if age_ns is None or age_ns > GUARD_FRESH_NS:
        raise PeerMissingError(
            "the guard does not run",
            "without it the gate stays shut (its page has no fresh heartbeat)",
            "interlock guard, or interlock up; to count denials anyway: --unattended",
        )


def _serve(work: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Runs until done, SIGTERM or Ctrl-C. Returns 0, or 130 after Ctrl-C."""
    interrupted = False

    async def main() -> None:
        nonlocal interrupted
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            stop.set()

        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, on_interrupt)
        gc.freeze()
        await work(stop)

    asyncio.run(main())
    return 130 if interrupted else 0


def _ignore(_status: Status) -> None:
    pass

