"""What waits for the hook: most urgent first, one place per kind and subject, so that it cannot grow.

An alert that meets an older one of its kind and subject is merged into it by MERGED: nobody reads that
something ended without having read that it began, and counts are added up, never dropped. A delivery that
failed is tried again, TRIES times in all.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from appliance.domain.alert import Alert, AlertKind, Phase
from appliance.safety.alerts import urgency

ROOM = 128
"""Places; beyond it, alerts of one kind share the place without a subject, of which each kind has one."""

TRIES = 3
RETRY_NS = 10_000_000_000

MERGED: dict[tuple[Phase, Phase], Phase] = {
    # (what waits, what comes) → what is told
    (Phase.BEGAN, Phase.BEGAN): Phase.BEGAN,
    (Phase.BEGAN, Phase.AGAIN): Phase.BEGAN,
    (Phase.BEGAN, Phase.ENDED): Phase.BEGAN,  # with standing = false
    (Phase.AGAIN, Phase.BEGAN): Phase.AGAIN,
    (Phase.AGAIN, Phase.AGAIN): Phase.AGAIN,
    (Phase.AGAIN, Phase.ENDED): Phase.AGAIN,  # with standing = false
    (Phase.ENDED, Phase.BEGAN): Phase.AGAIN,
    (Phase.ENDED, Phase.AGAIN): Phase.AGAIN,
    (Phase.ENDED, Phase.ENDED): Phase.ENDED,
}


class Waiting(Struct, frozen=True, kw_only=True):
    """An alert on its way. tries: deliveries that failed.  due_ns: CLOCK_MONOTONIC of the next one."""

    alert: Alert
    tries: int = 0
    due_ns: int = 0


class AlertQueue:
    """Not safe for threads: its owner locks."""

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        """waiting: what an earlier life did not deliver; due at once, its clock may have been another."""
        self._places: dict[tuple[AlertKind, str], Waiting] = {}
        for each in waiting:
            self._put(msgspec.structs.replace(each, due_ns=0))

    def add(self, alert: Alert) -> None:
        """Never refuses and never drops."""
        self._put(Waiting(alert=alert))

    def take(self, now_ns: int) -> Waiting | None:
        """The most urgent alert that is due, removed; None if there is none."""
        due = [key for key, each in self._places.items() if each.due_ns <= now_ns]
        if not due:
            return None
        return self._places.pop(min(due, key=lambda key: urgency(self._places[key].alert)))

    def failed(self, waiting: Waiting, now_ns: int) -> bool:
        """Takes back an alert that was not delivered; False if it was tried often enough and is given up."""
        tries = waiting.tries + 1
        if tries >= TRIES:
            return False
        again = Waiting(alert=waiting.alert, tries=tries, due_ns=now_ns + RETRY_NS)
        key = self._key(again.alert)
        newer = self._places.pop(key, None)
        self._places[key] = again
        if newer is not None:
            self._put(newer)
        return True

    def next_due_ns(self) -> int | None:
        """When `take` has something to give; None while nothing waits."""
        return min((each.due_ns for each in self._places.values()), default=None)

    def waiting(self) -> tuple[Waiting, ...]:
        """All of it, oldest first."""
        return tuple(self._places.values())

    def __len__(self) -> int:
        return len(self._places)

    def _put(self, waiting: Waiting) -> None:
        key = self._key(waiting.alert)
        older = self._places.get(key)
        if older is None:
            self._places[key] = waiting
            return
        # A fresh alert is due at once, also where an older one waits for its next try.
        self._places[key] = Waiting(
            alert=merged(older.alert, waiting.alert), tries=0, due_ns=min(older.due_ns, waiting.due_ns)
        )

    def _key(self, alert: Alert) -> tuple[AlertKind, str]:
        key = (alert.kind, alert.subject)
        return key if key in self._places or len(self._places) < ROOM else (alert.kind, "")


def merged(older: Alert, newer: Alert) -> Alert:
    """One alert that says both: the newer one's words, since the older one's event, all occurrences."""
    phase = MERGED[older.phase, newer.phase]
    occurred = sum(1 + alert.more for alert in (older, newer) if alert.phase is not Phase.ENDED)
    event_ns = newer.event_ns if older.phase is Phase.ENDED else older.event_ns
    return msgspec.structs.replace(
        newer,
        phase=phase,
        more=max(0, occurred - 1),
        event_ns=event_ns,
        delay_ns=max(0, newer.alert_ns - event_ns),
        log_index=newer.log_index if older.log_index is None else older.log_index,
        subject=newer.subject if newer.subject == older.subject else "",
    )
