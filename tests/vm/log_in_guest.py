"""Runs in the guest, under the appliance's own Python: a log, its writer and the upstream client, as fast as
they go. `make DIRECTORY` or `grow DIRECTORY WITNESS_VKEY MIRROR_VKEY HOST:PORT`.

What is acknowledged is said in /run/acknowledged (16 digits, overwritten in place), how it ended in
/run/ended. The collector is reached through a relay on loopback: in plain text nothing leaves a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from pathlib import Path

from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY, parse_vkey
from appliance.domain.errors import InterlockError
from appliance.domain.ids import RunId
from appliance.ports import Entry
from appliance.storage.create import create_log, create_log_key
from appliance.storage.keys import read_verifier
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.upstream.client import UpstreamClient, UpstreamSettings
from appliance.upstream.exchange import Exchange

ORIGIN = "audit.example/in-the-guest"
TEXT = "x" * 300
BURST = 100
WRITER = "from appliance.storage import log_writer; log_writer.WAL_PAGES = 60; log_writer.main()"
"""The write-ahead log is emptied every few commits: a cut, or an error, often meets that too."""


def entry(index: int, life: str) -> Entry:
    """Of some 400 bytes; another process would write another one under this index."""
    data = {"number": index, "life": life, "text": TEXT}
    return Entry(kind="heartbeat", utc_ns=10**18 + index, mono_ns=index, data=data)


async def relay(address: str) -> asyncio.Server:
    """Loopback → the host's collector."""
    host, _, port = address.partition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back), pump(there, writer))

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def grow(directory: Path, witness: str, mirror: str, address: str) -> None:
    """Until the power goes or the log fails."""
    settings = LogSettings(
        directory=directory / "log", key_file=directory / "keys/log.key", source="core", run=RunId("run-1"),
        publish_ms=100, reserve_bytes=1_000_000,
        command=(sys.executable, "-c", WRITER),
    )  # fmt: skip
    said = os.open("/run/acknowledged", os.O_WRONLY | os.O_CREAT)
    log = await LogClient.start(settings)
    server = await relay(address)
    upstream = UpstreamClient(
        UpstreamSettings(
            directory=settings.directory,
            log_key=read_verifier(settings.key_file.with_suffix(".vkey"), NOTE_KEY),
            witness_key=parse_vkey(witness),
            every_s=0.1,
            mirror_key=parse_vkey(mirror),
            bytes_per_s=10**9,
        ),
        LogReader(settings.directory),
        Exchange(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"),
        now_ns=time.time_ns,
        uniform=random.uniform,
    )
    assert upstream._settings.witness_key.kind == COSIGNATURE_KEY
    log.on_signed = lambda _head: upstream.notify()
    task = asyncio.create_task(upstream.run())
    life = os.urandom(8).hex()
    while True:
        first = log.head.size
        await log.append([entry(index, life) for index in range(first, first + BURST)]).durable()
        os.pwrite(said, b"%016d" % (first + BURST), 0)
        if task.done():
            raise InterlockError(upstream.state.alarm)


def main() -> None:
    """See the module."""
    directory = Path(sys.argv[2])
    if sys.argv[1] == "make":
        directory.mkdir()
        create_log(directory / "log", create_log_key(directory / "keys", ORIGIN))
        return
    try:
        asyncio.run(grow(directory, *sys.argv[3:6]))
    except InterlockError as error:
        Path("/run/ended").write_text(error.sentence() or "alarm")


if __name__ == "__main__":
    main()
