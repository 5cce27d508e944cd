"""What is owed to the audit log: acts that could not wait for it, kept in rings and repaid as GAP entries.

Two rings, one writer each: the core's own exits that left before their record was durable, and the cancels
of the cancel-only process. The log says how far each ring was repaid: nothing is repaid twice (SAFETY 8).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.audit.records import decode_entry
from appliance.domain.errors import PeerError, StoreError
from appliance.domain.intent import Action
from appliance.domain.order import Order
from appliance.domain.verdict import Approved
from appliance.ports import Scribe, Ticket
from appliance.runtime.paths import Paths
from appliance.storage.log_reader import LogReader
from appliance.storage.ring import Ring, read_ring

EXITS, CANCELS = "exits", "cancels"
"""Names of the two rings, in the entries."""


class Act(Struct, frozen=True, kw_only=True):
    """One act. owed: log index its own entry would have, -1 for none.  order: the row to file with it."""

    who: str
    act: str
    order_id: str
    instrument: str
    why: str
    utc_ns: int
    mono_ns: int
    owed: int = -1
    order: Order | None = None


_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[Act] = msgspec.json.Decoder(Act)


def record(ring: Ring, act: Act) -> None:
    """Writes an act; too long a reason is cut, an act never fails for its text."""
    body = _encode(act)
    if len(body) > 2000:
        body = _encode(msgspec.structs.replace(act, why=act.why[:200], order=None))
    ring.append(body)


def exits_into(ring: Ring) -> Callable[[int, Approved, Order | None], None]:
    """For the desk: an exit leaves before its entry at this index is durable."""

    def owe(index: int, approved: Approved, order: Order | None) -> None:
        act = Act(
            who="core",
            act="CANCEL" if approved.action is Action.CANCEL else "NEW",
            order_id=approved.order_id,
            instrument=approved.instrument,
            why="it could not wait for the log",
            utc_ns=time.time_ns(),
            mono_ns=time.monotonic_ns(),
            owed=index,
            order=order,
        )
        record(ring, act)

    return owe


class Repayment:
    """Notes what a ring holds and the log has not heard of. Owned by the event loop."""

    def __init__(self, path: Path, name: str, log: Path) -> None:
        """name: of the ring, in the entries.  log: its directory, to see how far it was repaid."""
        self._path = path
        self._name = name
        self._log = log
        self._ring, self._after = _repaid(log, name)

    def repay(self, scribe: Scribe) -> Ticket | None:
        """One GAP entry for each act that is owed; the last one's ticket. Raises StoreError for no ring."""
        found = read_ring(self._path, self._ring, self._after)
        if not found.records:
            return None
        ticket = None
        if found.lost:
            ticket = self._note(scribe, found.ring, found.records[0][0] - 1, {"lost": found.lost})
        for number, body in found.records:
            ticket = self._one(scribe, found.ring, number, body) or ticket
            self._ring, self._after = found.ring, number
        return ticket

    def _one(self, scribe: Scribe, ring: str, number: int, body: bytes) -> Ticket | None:
        try:
            act = _decode.decode(body)
        except msgspec.MsgspecError as error:
            return self._note(scribe, ring, number, {"why": f"a record that cannot be read: {error}"})
        if act.owed >= 0 and _in_log(self._log, act):
            return None
        data: dict[str, object] = {
            "who": act.who,
            "act": act.act,
            "order_id": act.order_id,
            "instrument": act.instrument,
            "why": act.why,
            "at_ns": str(act.utc_ns),
            "mono_ns": str(act.mono_ns),
        }
        return self._note(scribe, ring, number, data, act.order)

    def _note(
        self, scribe: Scribe, ring: str, number: int, data: dict[str, object], order: Order | None = None
    ) -> Ticket:
        place: dict[str, object] = {"from": self._name, "ring": ring, "number": number}
        return scribe.note("gap", place | data, orders=(order,) if order is not None else ())


def unrecorded(paths: Paths) -> tuple[str, ...]:
    """Acts that stand in a ring and in no entry: a core that runs or starts records them. One line each."""
    found: list[str] = []
    for path, name in ((paths.exits_ring, EXITS), (paths.cancels_ring, CANCELS)):
        owed = read_ring(path, *_repaid(paths.log, name))
        found += [f"{owed.lost} acts of the ring {name} are lost"] if owed.lost else []
        for number, body in owed.records:
            try:
                act = _decode.decode(body)
            except msgspec.MsgspecError:
                found.append(f"act {number} of the ring {name} cannot be read")
                continue
            if act.owed < 0 or not _in_log(paths.log, act):
                found.append(f"act {number} of the ring {name}: {act.act} {act.order_id}: {act.why}")
    return tuple(found)


def _repaid(log: Path, name: str) -> tuple[str, int]:
    """(ring, number) of the last GAP entry about this ring."""
    reader = LogReader(log)
    try:
        last = ("", 0)
        for entry in reader.entries_of_kind("gap"):
            data = decode_entry(entry.body).data
            number = data.get("number")
            if data.get("from") == name and isinstance(number, int):
                last = (str(data.get("ring")), number)
        return last
    finally:
        reader.close()


def _in_log(log: Path, act: Act) -> bool:
    """The entry it was afraid for did become durable."""
    reader = LogReader(log)
    try:
        bodies = list(reader.bodies(act.owed, min(act.owed + 1, reader.size())))
        if not bodies:
            return False
        found = decode_entry(bodies[0])
        return found.kind == "verdict" and found.data.get("order_id") == act.order_id
    except PeerError as error:
        raise StoreError("an entry of the audit log cannot be read", error.why) from error
    finally:
        reader.close()
