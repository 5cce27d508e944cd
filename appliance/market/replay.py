"""Several sources as one stream in the order in which the box would have learned of them (DAT-01, P13).

Order: by seen_ns, and at the same seen_ns as the sources were declared; inside a source as in its file. A
source whose recorder's clock stepped back keeps its file order: the observation is delivered, unchanged, and
`quality` counts and refuses it. Every observation of every source is delivered exactly once.

Resuming. What was seen before `resume_ns` is delivered again, flagged as warm-up: quality, bars, strategies
and memory read it so that they arrive at the same state, and no signal of it may become an order. A consumer
notes as `resume_ns` one more than the last instant of which it has finished *every* observation. If it stops
between two observations of one instant both come again; intent ids make that harmless (DUPLICATE_ID).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from appliance.domain.errors import PeerError
from appliance.domain.observation import Observation
from appliance.domain.status import Progress
from appliance.market.pace import Pacer, RateMeter
from appliance.market.source import Source, Survey, survey


class Step(Struct, frozen=True, gc=False):
    """One observation of the stream. warm_up: it is older than the point to resume from."""

    observation: Observation
    warm_up: bool


class Replay:
    """Reads every source once on construction (`surveys`), and streams them as often as asked."""

    def __init__(self, sources: Sequence[Source], *, resume_ns: int = 0) -> None:
        """sources: in the order that decides between equal times.  resume_ns: UTC; 0 means no warm-up.

        Raises PeerError if a source is wrong anywhere or empty: nothing of it has been delivered then.
        """
        self._sources = tuple(sources)
        self._resume_ns = resume_ns
        self.surveys: tuple[Survey, ...] = tuple(_survey(source) for source in self._sources)
        self.total = sum(each.observations for each in self.surveys)
        self.last_ns = max((each.last_seen_ns for each in self.surveys), default=0)
        self.done = 0
        self.market_ns = 0

    def __iter__(self) -> Iterator[Step]:
        """Streams from the beginning. Raises PeerError if a file is no longer what it was when surveyed."""
        self.done = self.market_ns = 0
        streams = [self._stream(index) for index in range(len(self._sources))]
        for order_ns, _, observation in heapq.merge(*streams):
            self.market_ns = order_ns
            self.done += 1
            yield Step(observation, order_ns < self._resume_ns)

    def _stream(self, index: int) -> Iterator[tuple[int, int, Observation]]:
        """(order, source, observation); no comparison ever reaches the observation."""
        expected = self.surveys[index]
        tally: Counter[str] = Counter()
        order_ns = count = 0
        for observation in self._sources[index].read(tally):
            order_ns = max(order_ns, observation.seen_ns)
            count += 1
            yield order_ns, index, observation
        if count != expected.observations or tally != expected.not_delivered:
            raise PeerError(
                f"{expected.path.name} changed while it was replayed",
                f"{count} observations where {expected.observations} were counted ({expected.path})",
                "replay a file that nobody writes to",
            )


def _survey(source: Source) -> Survey:
    """A source with nothing in it would end a replay before it began, and look like success."""
    found = survey(source)
    if found.observations == 0:
        others = ", ".join(f"{count} {kind}" for kind, count in sorted(found.not_delivered.items()))
        raise PeerError(
            f"{found.path.name} holds no observation",
            f"found: {others or 'no rows'} ({found.path})",
            "check that file and configured symbol belong together",
        )
    return found


class ProgressMeter:
    """Progress as the page and the terminal show it, in integers."""

    def __init__(self, label: str, replay: Replay, pacer: Pacer) -> None:
        self._label = label
        self._replay = replay
        self._pacer = pacer
        self._rate = RateMeter()

    def read(self, mono_ns: int) -> Progress:
        """Call it as often as shown; at least every few seconds for a rate that follows the truth."""
        replay, pacer = self._replay, self._pacer
        finished = replay.done == replay.total
        rate = 0
        if pacer.stopped:
            self._rate.restart()
        else:
            self._rate.note(replay.done, mono_ns)
            rate = self._rate.rate(replay.done, mono_ns)
        return Progress(
            label=self._label,
            state="finished" if finished else "stopped" if pacer.stopped else "running",
            done=replay.done,
            total=replay.total,
            rate=rate,
            eta_s=self._eta_s(finished, rate),
            market_ns=str(replay.market_ns),
        )

    def _eta_s(self, finished: bool, rate: int) -> int:
        """Paced, a replay ends when its market time has passed; at `max`, when its rows are through."""
        replay, pacer = self._replay, self._pacer
        if finished:
            return 0
        if pacer.stopped or replay.done == 0:
            return -1
        if pacer.speed != "max":
            return pacer.left_s(replay.market_ns, replay.last_ns)
        return -(-(replay.total - replay.done) // rate) if rate else -1
