"""What is missing from a log that verifies: numbers, heartbeats, ends, and acts that were never recorded. R1.

A tree proves that nothing in it was changed, never that everything was put into it. So every source counts
its entries, says that it lives, and says that it ends (AUDIT, completeness); and an exit that could not wait
for its record owes it (SAFETY 8). What does not add up is a gap:

    sequence   a source's numbers jump, or one comes twice: an entry was never appended
    heartbeat  a source that runs said nothing of its life for more than LATE of its own periods
    stop       a source began again without having ended: what it did last may be missing
    owed       an exit left before its record was durable, and the entry that was owed is another one
    lost       acts that could not wait were lost before they were recorded, cannot be read, or are told twice

What a process writes before its `start` (a trip that stood, acts it repays) is its own from `first` on.
The last entry of a source is missed by nothing in here: only a head seen before tells that a log was cut.
A period is what the source's own `start` entry says; without one no heartbeat is judged (`unjudged`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping

from msgspec import Struct

from appliance.audit.records import Record

LATE = 3
"""Periods of a heartbeat after which it counts as missing."""

MAX_GAPS = 64
MAX_SOURCES = 1024
REMEMBERED = 4096
"""Approvals an owed record is looked for in: its GAP entry follows within a second or so."""

WORDS = 64
"""Latest entries of a source of which the time is kept: a process notes less before its own `start`."""

SEQUENCE, HEARTBEAT, STOP, OWED, LOST = "sequence", "heartbeat", "stop", "owed", "lost"


class Gap(Struct, frozen=True, kw_only=True):
    """index: the entry that shows it.  first, last: what is missing, both inclusive – numbers of the source
    (sequence), UTC nanoseconds of its last and next sign of life (heartbeat, stop), an entry (owed), numbers
    of a ring (lost).  text: the same for people."""

    what: str
    index: int
    source: str
    first: int
    last: int
    text: str


class Completeness(Struct, frozen=True, kw_only=True):
    """Every gap, oldest first. more: gaps beyond MAX_GAPS, counted only.

    running: (source, its last entry, that entry's UTC ns) of sources that have not said that they end.
    beats: heartbeats judged.  longest_ns: longest silence between two of them while running.
    unjudged: starts that do not tell their period, so that their heartbeats were not judged.
    repaid: acts that left before their record and were recorded afterwards.
    """

    gaps: tuple[Gap, ...] = ()
    more: int = 0
    running: tuple[tuple[str, int, int], ...] = ()
    beats: int = 0
    longest_ns: int = 0
    unjudged: int = 0
    repaid: int = 0

    @property
    def ok(self) -> bool:
        """True if nothing is missing as far as a log can tell."""
        return not self.gaps


class _Life:
    """What is known of one source. period_ns: 0 if it never said.  beat_*: its last sign of life.

    words: (entry, UTC ns) of its latest.  late: a silence that counts unless its next process broke it.
    """

    __slots__ = ("beat_ns", "beat_utc_ns", "late", "next", "period_ns", "running", "words")

    def __init__(self) -> None:
        self.next = 0
        self.running = False
        self.period_ns = self.beat_ns = self.beat_utc_ns = 0
        self.words: deque[tuple[int, int]] = deque(maxlen=WORDS)
        self.late: Gap | None = None


class Completing:
    """Looks at every entry once, in order. Memory does not grow with the log."""

    def __init__(self) -> None:
        self._lives: dict[str, _Life] = {}
        self._approved: OrderedDict[int, None] = OrderedDict()
        self._rings: dict[str, tuple[str, int]] = {}
        self._gaps: list[Gap] = []
        self._more = self._beats = self._longest_ns = self._unjudged = self._repaid = 0

    def add(self, record: Record) -> None:
        """The next entry. Raises nothing: an entry of any form was decoded by then."""
        life = self._lives.get(record.src)
        if life is None:
            if len(self._lives) >= MAX_SOURCES:
                return  # `verify` refuses such a log
            life = self._lives[record.src] = _Life()
        if record.n != life.next:
            self._jump(record, life.next)
        life.next = record.n + 1
        kind = record.kind
        if kind == "start":
            self._start(record, life)
        elif life.running:
            self._alive(record, life)
        life.words.append((record.i, int(record.utc_ns)))
        if kind == "verdict":
            self._remember(record)
        elif kind == "gap":
            self._owing(record)

    def result(self) -> Completeness:
        """So far."""
        running = ((source, *life.words[-1]) for source, life in self._lives.items() if life.running)
        late = [life.late for life in self._lives.values() if life.late is not None]
        gaps = sorted([*self._gaps, *late], key=lambda gap: gap.index)
        return Completeness(
            gaps=tuple(gaps[:MAX_GAPS]),
            more=self._more + max(0, len(gaps) - MAX_GAPS),
            running=tuple(sorted(running)),
            beats=self._beats,
            longest_ns=self._longest_ns,
            unjudged=self._unjudged,
            repaid=self._repaid,
        )

    def _jump(self, record: Record, due: int) -> None:
        src, n = record.src, record.n
        if n > due:
            one = n == due + 1
            missing = f"number {due} of {src} is" if one else f"numbers {due} to {n - 1} of {src} are"
            self._gap(SEQUENCE, record, due, n - 1, f"{missing} not in the log")
        else:
            self._gap(SEQUENCE, record, n, due - 1, f"{src} counts {n} again where {due} is due")

    def _start(self, record: Record, life: _Life) -> None:
        if life.running:
            begun = _number(record.data.get("first")) or record.i
            words = reversed(life.words)
            last, last_utc_ns = next((word for word in words if word[0] < begun), life.words[0])
            text = f"{record.src} began again without a stop; entry {last} is its last word before"
            if life.late is not None and life.late.index < begun:
                self._keep(life.late)
            life.late = None
            self._gap(STOP, record, last_utc_ns, int(record.utc_ns), text)
        period_ns = _number(record.data.get("heartbeat_ns"))
        life.running, life.period_ns = True, period_ns
        life.beat_ns, life.beat_utc_ns = int(record.mono_ns), int(record.utc_ns)
        self._unjudged += period_ns == 0

    def _alive(self, record: Record, life: _Life) -> None:
        """Any entry shows that a heartbeat is overdue; only one of life ends the silence."""
        kind = record.kind
        sign = kind in ("heartbeat", "stop")
        silent_ns = int(record.mono_ns) - life.beat_ns
        if life.period_ns and sign:
            self._beats += 1
            self._longest_ns = max(self._longest_ns, silent_ns)
        if life.late is None and life.period_ns and not 0 <= silent_ns <= LATE * life.period_ns:
            life.late = _late(record, life, silent_ns)
        if sign:
            life.beat_ns, life.beat_utc_ns = int(record.mono_ns), int(record.utc_ns)
            if life.late is not None:
                self._keep(life.late)
                life.late = None
        if kind == "stop":
            life.running = False

    def _remember(self, record: Record) -> None:
        if record.data.get("verdict") != "approved":
            return
        self._approved[record.i] = None
        if len(self._approved) > REMEMBERED:
            self._approved.popitem(last=False)

    def _owing(self, record: Record) -> None:
        data = record.data
        owed = data.get("owed")
        if type(owed) is int:
            if owed in self._approved:
                self._repaid += 1
            else:
                text = f"the record of an exit was owed as entry {owed}, which approves nothing"
                self._gap(OWED, record, owed, owed, text)
        if "from" in data:
            self._ring(record, data)

    def _ring(self, record: Record, data: Mapping[str, object]) -> None:
        name, ring, number = str(data["from"])[:64], str(data.get("ring"))[:64], _number(data.get("number"))
        known, after = self._rings.get(name, ("", 0))
        lost = _number(data.get("lost"))
        if lost:
            text = f"{lost} acts of the ring {name} were overwritten before they were recorded"
            self._gap(LOST, record, max(1, number - lost + 1), number, text)
        elif ring == known and number <= after:
            text = f"act {number} of the ring {name} is told a second time"
            self._gap(LOST, record, number, number, text)
        elif "act" not in data:
            text = f"act {number} of the ring {name} cannot be read: {str(data.get('why', ''))[:80]}"
            self._gap(LOST, record, number, number, text)
        else:
            self._repaid += 1
        if name in self._rings or len(self._rings) < MAX_SOURCES:
            self._rings[name] = (ring, number)

    def _gap(self, what: str, record: Record, first: int, last: int, text: str) -> None:
        self._keep(Gap(what=what, index=record.i, source=record.src, first=first, last=last, text=text))

    def _keep(self, gap: Gap) -> None:
        if len(self._gaps) < MAX_GAPS:
            self._gaps.append(gap)
        else:
            self._more += 1


def _late(record: Record, life: _Life, silent_ns: int) -> Gap:
    every = _seconds(life.period_ns)
    text = f"no heartbeat of {record.src} for {_seconds(silent_ns)} s, where one is due every {every} s"
    if silent_ns < 0:
        text = f"by its own steady clock {record.src} wrote this before its last sign of life"
    return Gap(
        what=HEARTBEAT, index=record.i, source=record.src,
        first=life.beat_utc_ns, last=int(record.utc_ns), text=text,
    )  # fmt: skip


def _number(value: object) -> int:
    """A count or a time of an entry, which may be a decimal string; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _seconds(duration_ns: int) -> str:
    tenths = duration_ns // 100_000_000
    return f"{tenths // 10}.{tenths % 10}"
