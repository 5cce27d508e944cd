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
    """Acts of one outcome, each found once; the newest waits until it is decided or lapses.

    What was counted before the first look is no command to this core.  waits_for: names of what it waits
    for, first those a new one begins with; whoever decides it says what it waits for since.
    """

    def __init__(self, outcome: str, status: GuardStatus, *waits_for: str) -> None:
        self.waiting: Request | None = None
        self.waits_for = self._first = waits_for
        self._outcome = outcome
        self._seen = (status.generation, status.arm_presses)
        self._epoch = status.page.state

    def follow(self, status: GuardStatus, now_ns: int) -> tuple[Request, tuple[str, ...]] | None:
        """After every poll of the guard's page: takes a command off it. Returns the waiting one once it has
        lapsed and must be refused, with the names of what it lacks: another trip, or too late."""
        if (found := self._take(status, now_ns)) is not None:
            self.waiting, self.waits_for = found, self._first
        request = self.waiting
        if request is None:
            return None
        if status.page.state != request.epoch:
            return request, ("no trip after it",)
        if now_ns - request.mono_ns > WITHIN_NS:
            return request, ("confirmation in time", *self.waits_for)
        return None

    def end(self) -> None:
        """The waiting command is decided."""
        self.waiting = None

    def _take(self, status: GuardStatus, now_ns: int) -> Request | None:
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
