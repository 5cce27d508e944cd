"""When the mirror is uploaded to: after every co-signature, at once again while it takes more, and after a
failure with a back-off of its own, so that it never delays an offer and needs no next checkpoint to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from appliance.domain.errors import NoSpaceError, PeerError, TransportError
from appliance.storage.durable import read_file
from appliance.upstream.exchange import Exchange
from appliance.upstream.mirror_client import MirrorClient, MirrorRefusedError


class MirrorTurns:
    """cosigned: the file with the checkpoint to upload up to.  again: asks for a round, now.
    back_off_s: how long to wait after so many failures in a row.  more: it takes more, at once."""

    def __init__(
        self,
        mirror: MirrorClient,
        cosigned: Path,
        again: Callable[[], object],
        back_off_s: Callable[[int], float],
    ) -> None:
        self.mirror = mirror
        self.more = False
        self._cosigned = cosigned
        self._again = again
        self._back_off_s = back_off_s
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, exchange: Exchange) -> str:
        """One turn. Returns why it failed, or "". Raises MirrorRefusedError (alarm) and StoreError."""
        self.more = False
        self.end()
        try:
            cosigned = await asyncio.to_thread(read_file, self._cosigned)
            if cosigned is not None:
                self.more = not await self.mirror.bring_up(exchange, cosigned)
        except MirrorRefusedError:
            raise
        except (TransportError, PeerError, NoSpaceError) as error:
            self._failures += 1
            later_s = self._back_off_s(self._failures)
            self._timer = asyncio.get_running_loop().call_later(later_s, self._again)
            return error.sentence()
        self._failures = 0
        return ""

    def end(self) -> None:
        """No turn waits for its time: one is taken now, or nobody asks any more."""
        if self._timer is not None:
            self._timer.cancel()
