"""The log on a disk that is really full: what the reserve is for, and what follows without it (SAFETY 8).

Nothing is pretended here: a small file system is filled to its last page.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.audit.records import decode_entry
from appliance.audit.verify import verify
from appliance.domain.disk import DiskReserve
from appliance.domain.errors import StoreError
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from tests.audit_support import entry, new_log, order, run, trust
from tests.small_disk import MIB, SmallDisk, small_disk

RESERVE = 4 * MIB


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """Empty, with room for several reserves; in memory unless the test asks for another kind."""
    with small_disk(tmp_path / "disk", 32 * MIB, getattr(request, "param", "tmpfs")) as made:
        yield made


BOTH = pytest.mark.parametrize("disk", ["tmpfs", "ext4"], indirect=True)
"""ext4 gives blocks back with the next commit of its journal."""


@pytest.fixture
def settings(disk: SmallDisk) -> LogSettings:
    """A log on it that publishes as fast as it can."""
    return replace(new_log(disk.path, publish_ms=1), reserve_bytes=RESERVE)


class Life:
    """One writer's life, and what its core was told in which order."""

    def __init__(self, client: LogClient) -> None:
        self.client = client
        self.told: list[DiskReserve] = []
        self.durable_when_told: list[int] = []
        self._changed = asyncio.Event()
        client.on_reserve = self._on_reserve

    def _on_reserve(self) -> None:
        self.told.append(self.client.reserve)
        self.durable_when_told.append(self.client.head.durable)
        self._changed.set()

    async def change(self) -> DiskReserve:
        """The next word about the reserve."""
        await self._changed.wait()
        self._changed.clear()
        return self.client.reserve

    async def exit_recorded(self, number: int) -> None:
        """Intent, verdict with its order row, answer, fill: durable."""
        name = f"exit-{number}"
        await self.client.append(
            [entry(number, kind, order_id=name) for kind in ("intent", "verdict", "order", "fill")],
            [order(name)],
        ).durable()

    async def exits_until_the_end(self) -> int:
        """Records exits until the log fails; how many it could."""
        for number in range(100_000):
            try:
                await self.exit_recorded(number)
            except StoreError:
                return number
        raise AssertionError("the disk was not full")

    async def exits_until_the_reserve_is_used(self) -> int:
        """Records exits one by one; how many it took."""
        for number in range(1_000):
            await self.exit_recorded(number)
            if self.told:
                return number + 1
        raise AssertionError("the disk was not full")


@contextlib.asynccontextmanager
async def living(settings: LogSettings, *, clean: bool = True) -> AsyncIterator[Life]:
    """From start to end. clean: a stop that publishes, which needs room; else the core is just gone."""
    client = await LogClient.start(settings)
    try:
        yield Life(client)
        if clean:
            await client.aclose()
    finally:
        await client._let_go()


def _found(settings: LogSettings) -> int:
    """Entries of a log that verifies and has every order its entries speak of."""
    reader = LogReader(settings.directory)
    try:
        report = verify(reader, trust(settings))
        assert report.ok, report
        names = {decode_entry(stored.body).data["order_id"] for stored in reader.entries_of_kind("verdict")}
        assert {stored.order.id for stored in reader.orders()} == names
        return reader.size()
    finally:
        reader.close()


@BOTH
@pytest.mark.safety("S8.6")
def test_freeing_the_reserve_lets_the_commit_pass_that_found_no_space(
    disk: SmallDisk, settings: LogSettings
) -> None:
    """Once, and for hundreds of exits; the core hears of it before anything written on it is durable."""

    async def work() -> int:
        async with living(settings, clean=False) as life:
            assert life.client.reserve == DiskReserve(RESERVE, RESERVE)
            await life.exit_recorded(0)
            disk.fill()
            needed = await life.exits_until_the_reserve_is_used()
            (told,) = life.told
            assert (told.held, told.given) == (0, True)
            assert life.durable_when_told == [4 * needed], "the group that found no space is not durable yet"
            for number in range(1_000, 1_500):
                await life.exit_recorded(number)
            assert life.client.failure is None
            assert len(life.told) == 1
            return life.client.head.durable

    assert run(work()) == _found(settings)


@pytest.mark.safety("S8.6")
def test_when_the_reserve_is_used_up_too_the_log_fails_as_it_always_did(
    disk: SmallDisk, settings: LogSettings
) -> None:
    """Nothing acknowledged is lost; it was want of space, not a bad disk; room brings the reserve back."""

    async def fill_it() -> int:
        async with living(settings) as life:
            disk.fill()
            assert await life.exits_until_the_end() > 500
            assert not life.client.disk_failed, "no reboot is needed for a full disk"
            return life.client.head.durable

    acknowledged = run(fill_it())
    disk.drain()
    assert acknowledged <= _found(settings) <= acknowledged + 4

    async def again() -> None:
        async with living(settings) as life:
            assert life.client.reserve == DiskReserve(RESERVE, RESERVE)
            await life.exit_recorded(10_000)

    run(again())
    _found(settings)


@BOTH
@pytest.mark.safety("S8.6")
def test_a_start_on_a_full_disk_uses_the_reserve_and_says_so(disk: SmallDisk, settings: LogSettings) -> None:
    """Opening the store needs room for its write-ahead log; the next core knows before it does anything."""

    async def first() -> None:
        async with living(settings) as life:
            await life.exit_recorded(0)

    async def second() -> None:
        async with living(settings, clean=False) as life:
            assert (life.client.reserve.held, life.client.reserve.given) == (0, True)
            await life.exit_recorded(1)

    run(first())
    assert not list(settings.directory.glob("*-wal")), "a clean end leaves no write-ahead log to write on"
    disk.fill()
    run(second())
    assert _found(settings) == 8


@pytest.mark.safety("S8.6")
def test_no_room_for_a_reserve_is_said_and_made_good(disk: SmallDisk, settings: LogSettings) -> None:
    """Neither at the start nor later does it end the log; asked again once there is room, it is whole."""

    async def work() -> None:
        disk.fill(leave=RESERVE)
        async with living(settings) as life:
            assert (life.client.reserve.held, life.client.reserve.given) == (0, False)
            assert "bytes are free" in life.client.reserve.why
            life.client.refill()
            assert (await life.change()).missing == RESERVE
            await life.exit_recorded(0)
            disk.drain()
            life.client.refill()
            assert await life.change() == DiskReserve(RESERVE, RESERVE)
            await life.exit_recorded(1)

    run(work())
    assert _found(settings) == 8


@BOTH
@pytest.mark.safety("S8.6")
def test_what_was_used_is_made_again_and_used_again(disk: SmallDisk, settings: LogSettings) -> None:
    """Full, room, full: each time the first commit without space brings it back."""

    async def work() -> None:
        async with living(settings) as life:
            for _ in range(3):
                disk.fill()
                await life.exits_until_the_reserve_is_used()
                assert (await life.change()).given
                disk.drain()
                life.client.refill()
                assert await life.change() == DiskReserve(RESERVE, RESERVE)
                life.told.clear()

    run(work())
    _found(settings)


def test_a_publication_neither_takes_the_reserve_nor_ends_the_log(
    disk: SmallDisk, settings: LogSettings
) -> None:
    """No exit needs it. Whoever asks for one in so many words hears that there is no room."""

    async def work() -> None:
        async with living(settings) as life:
            for number in range(40):
                await life.exit_recorded(number)
            await life.client.publish()
            signed = life.client.head.signed
            await _full_but_for_the_next_commits(life, disk)
            assert not any(told.given for told in life.told), "the commit found room"
            assert life.client.failure is None
            assert life.client.head.signed == signed
            with pytest.raises(StoreError, match=r"No space|full"):
                await life.client.publish()
            assert not life.client.disk_failed

    run(work())
    disk.drain()
    assert _found(settings) == 41 * 4


async def _full_but_for_the_next_commits(life: Life, disk: SmallDisk) -> None:
    """Leaves what one commit needs, and no more: a bundle of all entries does not fit."""
    disk.fill(leave=64 * 1024)
    await life.exit_recorded(1_000)
    for _ in range(30):  # a step of a publication lies between any two answers of the writer
        life.client.refill()
        assert (await life.change()).held == RESERVE


@pytest.mark.parametrize("seed", range(6))
def test_wherever_the_last_page_goes_nothing_acknowledged_is_lost(
    disk: SmallDisk, settings: LogSettings, seed: int
) -> None:
    """The disk fills at any moment, with any rest: commit, seal, tile, checkpoint of the write-ahead log."""
    luck = random.Random(seed)

    async def work() -> int:
        async with living(settings, clean=False) as life:
            number = 0
            for _ in range(luck.randrange(1, 400)):
                await life.exit_recorded(number)
                number += 1
            disk.fill(leave=luck.randrange(0, 300_000))
            for _ in range(400):
                await life.exit_recorded(number)
                number += 1
            assert life.client.failure is None
            assert [told.given for told in life.told] == [True]
            return life.client.head.durable

    assert run(work()) == _found(settings)
