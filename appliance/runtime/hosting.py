"""Serves an aiohttp application on loopback until told to stop."""

from __future__ import annotations

import asyncio
import errno

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
