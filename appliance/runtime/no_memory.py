"""Memory switched off in the configuration: signals go without precedents, and the page says so."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.domain.ids import InstrumentId
from appliance.domain.observation import Observation
from appliance.ports import Precedent


class NoMemory:
    """Implements ports.Memory."""

    def remember(self, observation: Observation) -> None:
        """Forgets it."""

    async def find_similar_conditions(
        self,
        instrument: InstrumentId,  # noqa: ARG002 - the port's signature
        k: int,  # noqa: ARG002
    ) -> Sequence[Precedent]:
        """Nothing is remembered."""
        return ()

    async def settle(self) -> bool:
        """Nothing to catch up with."""
        return True
