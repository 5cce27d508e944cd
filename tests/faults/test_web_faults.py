"""What goes wrong around the page: slow readers, too many connections, a failing source, a taken port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

import aiohttp
import pytest
from msgspec.structs import replace

from appliance.domain.errors import BusyError, ConfigError, InterlockError
from appliance.domain.exit_codes import ExitCode
from appliance.domain.status import Part, Status
from appliance.web import server, stream
from appliance.web.access import LOOPBACK_HOSTS
from appliance.web.server import BROADCAST, listening, make_app, run
from tests.pictures.web_samples import NORMAL, PAUSED, SampleSource

WIDE = replace(NORMAL, parts=tuple(Part(f"part {at}", "ok", "x" * 380) for at in range(60)))


async def _silent_reader(port: int) -> socket.socket:
    """Asks for the events and never reads them."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection


def test_a_slow_reader_is_cut_off_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never blocks the others, never collects frames in memory, and loses its place."""
    monkeypatch.setattr(stream, "TICK_S", 0.001)
    monkeypatch.setattr(stream, "SLOW_S", 0.2)

    async def main() -> None:
        source = SampleSource(WIDE)
        app = make_app(source, allowed_hosts=LOOPBACK_HOSTS)
        async with asyncio.timeout(30), listening(app, port=0) as port:
            silent = await _silent_reader(port)
            try:
                async with (
                    aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
                    session.get("/events", read_bufsize=2**20) as answer,
                ):
                    while not app[BROADCAST].cut_off:
                        assert await answer.content.readline() != b""
                    while app[BROADCAST].streams > 1:
                        assert await answer.content.readline() != b""
                    source.set(replace(PAUSED, parts=()))
                    while b"PAUSED" not in await answer.content.readline():
                        pass
            finally:
                silent.close()

    asyncio.run(main())


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is closed before a byte of it is read; a free place is usable again."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)

    async def main() -> None:
        app = make_app(SampleSource(), allowed_hosts=LOOPBACK_HOSTS)
        async with asyncio.timeout(10), listening(app, port=0) as port:
            held = []
            for _ in range(4):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                held.append(writer)
            reader, extra = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            extra.close()
            held[0].close()
            with contextlib.suppress(ConnectionError):
                await held[0].wait_closed()
            async with aiohttp.ClientSession() as session:
                status = 0
                while status != 200:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                            status = answer.status
            for writer in held[1:]:
                writer.close()

    asyncio.run(main())


def test_half_a_request_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that dribbles header lines loses its connection after IDLE_S, however often it writes."""
    monkeypatch.setattr(server, "IDLE_S", 0.1)

    async def main() -> None:
        app = make_app(SampleSource(), allowed_hosts=LOOPBACK_HOSTS)
        async with asyncio.timeout(10), listening(app, port=0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


class _TimingOut(SampleSource):
    """Its wait fails with the very error that also ends a tick."""

    async def wait_change(self, seen: int) -> int:
        raise TimeoutError("the source's own")


def test_a_sources_own_timeout_is_not_taken_for_a_tick() -> None:
    """Otherwise a source that cannot tell changes any more would look alive for ever."""

    async def main() -> None:
        bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            run(_TimingOut(), allowed_hosts=LOOPBACK_HOSTS, port=0, ready=bound.set_result)
        )
        async with asyncio.timeout(10), aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{await bound}/events") as answer:
                await answer.read()
            with pytest.raises(TimeoutError, match="the source's own"):
                await task

    asyncio.run(main())


class _Failing(SampleSource):
    """Answers once, then fails."""

    def current(self) -> Status:
        if self.asked:
            raise InterlockError("the status cannot be built")
        return super().current()


def test_a_failing_source_ends_the_page_loudly(caplog: pytest.LogCaptureFixture) -> None:
    """`run` raises what the source raised, so that its supervisor knows; readers are disconnected."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)

    async def main() -> None:
        bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            run(_Failing(), allowed_hosts=LOOPBACK_HOSTS, port=0, ready=bound.set_result)
        )
        async with asyncio.timeout(10), aiohttp.ClientSession() as session:
            address = f"http://127.0.0.1:{await bound}"
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{address}/events") as answer:
                    assert await answer.read() == b""
            with pytest.raises(InterlockError, match="cannot be built"):
                await task

    asyncio.run(main())


def test_a_source_that_fails_an_answer_gives_500_without_details() -> None:
    """No traceback leaves the box."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)

    async def main() -> None:
        app = make_app(_Failing(), allowed_hosts=LOOPBACK_HOSTS)
        async with (
            asyncio.timeout(10),
            listening(app, port=0) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
            session.get("/status.json") as answer,
        ):
            body = await answer.text()
        assert answer.status == 500
        assert "cannot be built" not in body
        assert "Traceback" not in body

    asyncio.run(main())


def test_port_in_use_names_the_port_and_what_to_do() -> None:
    """Exit code 75, and the sentence a person can act on."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            serving = run(SampleSource(), allowed_hosts=LOOPBACK_HOSTS, port=port)
            with pytest.raises(BusyError) as raised:
                await serving
        assert str(raised.value) == (
            f"cannot serve the status page on 127.0.0.1 port {port}. port {port} is in use. DO: run "
            "`interlock status` to see what is up, or configure another port for the status page"
        )
        assert raised.value.exit_code is ExitCode.BUSY

    asyncio.run(main())


def test_an_address_this_machine_does_not_have_is_a_configuration_error() -> None:
    """TEST-NET-1 belongs to nobody."""

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
            await run(SampleSource(), allowed_hosts=LOOPBACK_HOSTS, host="192.0.2.1", port=0)

    asyncio.run(main())


def test_run_serves_until_it_is_cancelled() -> None:
    """And leaves the port free."""

    async def main() -> None:
        bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            run(SampleSource(), allowed_hosts=LOOPBACK_HOSTS, port=0, ready=bound.set_result)
        )
        async with asyncio.timeout(10), aiohttp.ClientSession() as session:
            port = await bound
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert answer.status == 200
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())
