"""Serves an aiohttp application on loopback until told to stop."""

from __future__ import annotations

import asyncio
import errno
import socket

from aiohttp import web

from appliance.domain.errors import BusyError, ConfigError


async def serve_app(app: web.Application, name: str, port: int, stop: asyncio.Event) -> None:
    """Raises BusyError if the port is taken; cleans up before it returns."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            why = f"{error.strerror or error} (127.0.0.1:{port})"
            if error.errno == errno.EADDRINUSE:
                do = "interlock status tells what runs; stop it or change the port"
                raise BusyError(f"the {name}'s port is in use", why, do) from error
            raise ConfigError(f"the {name} cannot listen", why) from error
        await stop.wait()
    finally:
        await runner.cleanup()


def need_free(name: str, host: str, port: int) -> None:
    """Raises BusyError if somebody listens there already: what answers would not be what was started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return  # whoever listens there says it better
            do = "stop what listens there (another appliance?), or change the port in interlock.toml"
            raise BusyError(f"the {name}'s port is in use", f"{host}:{port}", do) from error
