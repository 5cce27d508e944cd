"""Pictures of recent decisions for the status page: read from the log in a thread, nothing secret drawn."""

from __future__ import annotations

import asyncio
from pathlib import Path

from appliance.audit.chain_public import is_decision, public_story
from appliance.audit.chain_svg import svg
from appliance.audit.provenance import chain_of_entry
from appliance.audit.records import Record
from appliance.domain.errors import InterlockError
from appliance.runtime.audit_view import stamp
from appliance.runtime.cmd_audit_why import ChainReader
from appliance.storage.log_reader import LogReader


class ChainPictures:
    """Implements web.source.Pictures. log: its directory, opened anew for each picture, to be read."""

    def __init__(self, log: Path) -> None:
        self._log = log

    async def picture(self, index: int) -> str | None:
        """See web.source. In a thread: a cold read of the card must not keep the loop from the button."""
        return await asyncio.to_thread(self._draw, index)

    def _draw(self, index: int) -> str | None:
        try:
            reader = LogReader(self._log)
        except InterlockError:
            return None
        try:
            chains = ChainReader(reader)
            asked = chains.record(index)
            if not isinstance(asked, Record) or not is_decision(asked):
                return None
            chain = chain_of_entry(chains, index)
            if chain is None:
                return None
            times = {each.i: int(each.utc_ns) for each in chain.records.values()}
            return svg(public_story(chain, index, stamp), stamp, times)
        except InterlockError:
            return None  # a log that cannot be read is the core's to trip on, not the page's to explain
        finally:
            reader.close()
