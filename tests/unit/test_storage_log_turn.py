"""One write for what one turn of the loop brings; an acknowledgement wakes those it is for."""

from __future__ import annotations

import asyncio

from appliance.storage.log_turn import TURN_BYTES, Outbox, Waits


class Wire(asyncio.WriteTransport):
    """Remembers what was written, and that it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes | None] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """One piece."""
        self.pieces.append(bytes(data))

    def close(self) -> None:
        """The end of it."""
        self.pieces.append(None)


def test_a_turn_leaves_in_one_piece_and_in_order() -> None:
    """Nothing before the turn ends, then everything as it was written; the next turn is another piece."""

    async def work() -> None:
        wire = Wire()
        outbox = Outbox(asyncio.get_running_loop(), wire)
        outbox.write(b"one ")
        outbox.write(b"two")
        assert wire.pieces == []
        await asyncio.sleep(0)
        assert wire.pieces == [b"one two"]
        outbox.write(b"three")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.pieces == [b"one two", b"three"]

    asyncio.run(work())


def test_much_does_not_wait_for_the_turn_to_end() -> None:
    """At TURN_BYTES it leaves at once, one byte less waits; what follows in the turn is not lost."""

    async def work() -> None:
        wire = Wire()
        outbox = Outbox(asyncio.get_running_loop(), wire)
        outbox.write(b"x" * (TURN_BYTES - 1))
        assert wire.pieces == []
        outbox.write(b"y")
        assert wire.pieces == [b"x" * (TURN_BYTES - 1) + b"y"]
        outbox.write(b"rest")
        await asyncio.sleep(0)
        assert wire.pieces[1:] == [b"rest"]

    asyncio.run(work())


def test_closing_writes_what_is_left_first() -> None:
    """What was handed over is still written; the end of the turn then finds nothing."""

    async def work() -> None:
        wire = Wire()
        outbox = Outbox(asyncio.get_running_loop(), wire)
        outbox.write(b"last")
        outbox.close()
        await asyncio.sleep(0)
        assert wire.pieces == [b"last", None]

    asyncio.run(work())


def test_reaching_a_size_wakes_those_it_covers() -> None:
    """The size itself is covered, one more is not; first come, first woken; a cancelled one is skipped."""

    async def work() -> None:
        waits, woken = Waits(asyncio.get_running_loop()), []

        async def wait(size: int, name: str) -> None:
            await waits.until(size)
            woken.append(name)

        wanted = ((5, "a"), (3, "b"), (5, "c"), (6, "d"), (4, "gone"))
        tasks = [asyncio.create_task(wait(size, name)) for size, name in wanted]
        await asyncio.sleep(0)
        tasks[-1].cancel()
        await asyncio.sleep(0)
        waits.reach(2)
        await asyncio.sleep(0)
        assert woken == []
        waits.reach(5)
        await asyncio.sleep(0)
        assert woken == ["b", "a", "c"]
        waits.reach(6)
        await asyncio.gather(*tasks[:-1])
        assert woken == ["b", "a", "c", "d"]
        assert tasks[-1].cancelled()

    asyncio.run(work())
