"""Signed acts the guard tells of on its page: verified there, decided in the core (SAFETY 6)."""

from __future__ import annotations

from msgspec import Struct

from appliance.ports import GuardStatus

WITHIN_NS = 5_000_000_000
"""An act is decided by then or refused: nothing signed now happens much later."""


class Request(Struct, frozen=True):
    """A verified command as the page told of it. operator: the key's fingerprint.  press: the guard's count.

    epoch: the trip epoch of the look before it.  mono_ns: when it was found.  subject: fingerprint of the
    name it is about, 0: none.
    """

    operator: str
    press: int
    epoch: int
    mono_ns: int
    subject: int = 0

    def who(self) -> dict[str, object]:
        """For the log."""
        return {"operator": self.operator, "press": self.press, "epoch": self.epoch}


class SignedActs:
    """Acts of one outcome, each found once.

    What was counted before the first look is no command to this core.
    """

    def __init__(self, outcome: str, status: GuardStatus) -> None:
        self._outcome = outcome
        self._seen = (status.generation, status.arm_presses)
        self._epoch = status.page.state

    def take(self, status: GuardStatus, now_ns: int) -> Request | None:
        """The act that came since the last look.

        Bound to the epoch of the look before: a trip found together with it came after it.
        """
        if not status.page.present:
            return None
        before, self._seen = self._seen, (status.generation, status.arm_presses)
        epoch, self._epoch = self._epoch, status.page.state
        if status.arm_outcome != self._outcome or not status.arm_presses or self._seen == before:
            return None
        return Request(status.arm_operator, status.arm_presses, epoch, now_ns, status.arm_subject)
