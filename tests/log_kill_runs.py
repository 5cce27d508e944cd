"""Log writer, core and collector killed with SIGKILL at each of their steps, again and again on one log.

    python -m tests.log_kill_runs DIRECTORY SEED KILLS

Three real processes: a core's side of the log with the upstream client in it, its log writer, and a collector
with witness and mirror. One of them dies at a step that was chosen (tests.log_kill_steps) or at a random
moment, or all of them do; then they are started again. A killed collector is started while the others go on.
After every kill the log is held against what was told while they lived:

    every acknowledged entry is there, and every entry that was once found there has the same bytes
    one root for a size, over every head that was signed, published, heard, co-signed or mirrored; and it is
    the root of the entries
    `verify` accepts the log with the witness's key
    neither witness nor mirror has taken back what it said

At the end of a log everything comes up once more without a kill, and the mirror's copy is the log, byte for
byte. Exit code 1 and a line for each difference; the seed is in every line.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from appliance.audit.checkpoint import parse_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY, parse_note
from appliance.audit.records import encode_entry
from appliance.audit.tiles import new_tiles
from appliance.audit.verify import Trust, verify
from appliance.domain.errors import StoreError
from appliance.storage.keys import create_key, read_key_text
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.sqlite import open_store
from appliance.upstream.mirror_export import export_copies
from appliance.upstream.mirror_store import MirrorStore, create_mirror_store
from appliance.upstream.witness import origin_hash
from appliance.upstream.witness_store import DATABASE, VERSION, create_witness_store
from tests.audit_support import LOG, MIRROR, WITNESS, new_log
from tests.log_kill_box import Box, collect, entry_of
from tests.log_kill_steps import STEPS, Fuse
from tests.ports import free_ports

KILLS_A_LOG = 20
PATIENCE_S = 30.0
AT_RANDOM = "at a random moment"
OFTEN = {
    "writer": frozenset({"database write", "database sync", "file write", "file fsync", "file published"}),
    "collector": frozenset({"database write"}),
}
"""Steps a life passes dozens of times."""

ONCE = frozenset({"started", "store open", "stores open", "ready said", "log open"})


class Tree:
    """Roots of a growing list of entries, straight from RFC 6962; of nobody else's code."""

    def __init__(self) -> None:
        self.roots = [hashlib.sha256(b"").digest()]
        self.leaves: list[bytes] = []
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, body: bytes) -> None:
        """One entry more."""
        width, node = 1, hashlib.sha256(b"\0" + body).digest()
        self.leaves.append(node)
        while self._peaks and self._peaks[-1][0] == width:
            node = hashlib.sha256(b"\1" + self._peaks.pop()[1] + node).digest()
            width *= 2
        self._peaks.append((width, node))
        root = node
        for _, left in reversed(self._peaks[:-1]):
            root = hashlib.sha256(b"\1" + left + root).digest()
        self.roots.append(root)


class Found:
    """What is known of one log: whose entries it has, and every head anybody saw."""

    def __init__(self) -> None:
        self.lives: list[int] = []  # by index
        self.tree = Tree()
        self.heads: dict[int, bytes] = {}
        self.seen: Counter[str] = Counter()
        self.largest: Counter[str] = Counter()
        self.differences: list[str] = []

    def head(self, size: int, root: bytes, who: str) -> None:
        """Somebody's."""
        self.seen[who] += 1
        self.largest[who] = max(self.largest[who], size)
        if self.heads.setdefault(size, root) != root:
            self.differences.append(f"two heads of size {size}, the second one {who}")

    def note(self, data: bytes | None, who: str) -> None:
        """A checkpoint on a disk."""
        if data:
            head = parse_checkpoint(parse_note(data).text)
            self.head(head.size, head.root, who)

    def wrong(self, text: str) -> None:
        """Something is not as it must be."""
        self.differences.append(text)


class Outcome:
    """What one life told."""

    def __init__(self, size: int) -> None:
        self.acknowledged = self.numbered = size
        self.writer = 0
        self.killed = self.done = False
        self.problems: list[str] = []

    def take(self, words: list[str]) -> None:
        """One line."""
        match words:
            case ["ready", writer, size]:
                self.writer = int(writer)
                self.acknowledged = max(self.acknowledged, int(size))
                self.numbered = max(self.numbered, int(size))
            case ["numbered", size]:
                self.numbered = int(size)
            case ["durable", size]:
                self.acknowledged = max(self.acknowledged, int(size))
            case ["done", size]:
                self.done = True
                self.acknowledged = max(self.acknowledged, int(size))
            case ["alarm", *_]:
                self.problems.append(" ".join(words))
            case ["listening", _] | ["failed", *_]:
                pass
            case _:
                self.problems.append(f"unknown line {words}")


class Forked:
    """A process of this one, known by its id."""

    def __init__(self, body: Callable[[], object]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            code = 70
            try:
                body()
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        self.pidfd = os.pidfd_open(self.pid)

    def kill(self) -> None:
        """If it still runs."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait(self) -> int:
        """Exit code, or the signal's number below zero."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        return os.waitstatus_to_exitcode(status)


class Journey:
    """One log, and as many lives as it takes."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.luck = place, random.Random(seed)
        self.settings = prepare(place)
        self.fuses = {who: Fuse.create(place / f"{who}.fuse", who) for who in STEPS}
        os.mkfifo(place / "told")
        self.fifo = os.open(place / "told", os.O_RDWR | os.O_CLOEXEC)  # never without a reader
        (self.port,) = free_ports(1)
        self.found = Found()
        self.kills: Counter[str] = Counter()
        self.life = 0
        self._rest = b""
        self._collector_burned = False
        self._lines: list[list[str]] = []
        self.collector = self._collector()

    def close(self) -> None:
        """Nothing is left running."""
        self.collector.kill()
        self.collector.wait()
        os.close(self.fifo)

    def run(self, who: str, step: str) -> None:
        """One life, and what it was killed by. who: "all" for everybody, empty for nobody."""
        self.life += 1
        self._collector_burned = False
        for each in self.fuses.values():
            each.set()
        if step != AT_RANDOM and who:
            often = OFTEN.get(who, frozenset())
            times = 1 if step in ONCE else self.luck.randrange(1, 20 if step in often else 4)
            self.fuses[who].set(step, times)
            if who == "collector" and step in ONCE:
                self.collector.kill()  # the next one dies while it starts
        moment = self.luck.uniform(0, 0.25) if step == AT_RANDOM else None
        outcome = self._live(who, moment)
        self._writer_is_gone()
        self._listen(0)
        killed = outcome.killed or self._collector_burned or any(f.burned for f in self.fuses.values())
        if who and killed:
            self.kills[f"{who}: {step}"] += 1
        before = len(self.found.differences)
        self._judge(outcome, whole=not killed)
        for number in range(before, len(self.found.differences)):
            self.found.differences[number] += f" (life {self.life}, {who or 'nobody'} killed: {step})"

    def _live(self, who: str, moment: float | None) -> Outcome:
        outcome = Outcome(len(self.found.lives))
        luck = random.Random(self.luck.randrange(1 << 32))
        box = Forked(self._box(luck))
        end, at = time.monotonic() + PATIENCE_S, None
        while not select.select([box.pidfd], [], [], 0)[0]:
            now = time.monotonic()
            if now > end:
                outcome.problems.append(f"no end within {PATIENCE_S:.0f} s")
                box.kill()
                break
            wait = end - now if at is None else max(0.0, at - now)
            select.select([self.fifo, box.pidfd, self.collector.pidfd], [], [], wait)
            for words in self._listen(0):
                outcome.take(words)
                if words[0] == "ready" and moment is not None:
                    at = time.monotonic() + moment
            if select.select([self.collector.pidfd], [], [], 0)[0]:
                self._revive()
            if self.found.differences:
                box.kill()
            if at is not None and time.monotonic() >= at:
                outcome.killed = self._strike(who, box, outcome.writer)
                at = None
        code = box.wait()
        for words in self._listen(0):
            outcome.take(words)
        if select.select([self.collector.pidfd], [], [], 0)[0]:
            self._revive()
        if code not in (0, -signal.SIGKILL):
            outcome.problems.append(f"the core's process ended with {code}")
        return outcome

    def _box(self, luck: random.Random) -> Callable[[], None]:
        async def live() -> None:
            await Box(self.place, f"http://127.0.0.1:{self.port}", self.life, luck).live(self.settings)

        return lambda: asyncio.run(live())

    def _strike(self, who: str, box: Forked, writer: int) -> bool:
        """At this moment, whatever they do."""
        if who in ("box", "all"):
            box.kill()
        if who in ("writer", "all") and writer:
            with contextlib.suppress(ProcessLookupError):
                os.kill(writer, signal.SIGKILL)
        if who in ("collector", "all"):
            self.collector.kill()
        return True

    def _collector(self) -> Forked:
        collector = Forked(lambda: asyncio.run(collect(self.place, self.port)))
        end = time.monotonic() + PATIENCE_S
        while ["listening", str(self.port)] not in self._listen(0.2, keep=True):
            if select.select([collector.pidfd], [], [], 0)[0]:
                break  # killed while it started: whoever sees it starts the next
            if time.monotonic() > end:
                raise AssertionError("the collector does not listen")
        return collector

    def _revive(self) -> None:
        """The collector died; the next one must not."""
        code = self.collector.wait()
        if code != -signal.SIGKILL:
            self.found.wrong(f"the collector ended with {code}")
        if self.fuses["collector"].burned:
            self._collector_burned = True
            self.fuses["collector"].set()
        self.collector = self._collector()

    def _writer_is_gone(self) -> None:
        """A core that dies leaves a writer that commits what it received: its lock tells."""
        end = time.monotonic() + PATIENCE_S
        with (self.settings.directory / "lock").open("r+b") as lock:
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                select.select([], [], [], 0.002)
        self.found.wrong("the writer does not end")

    def _listen(self, wait_s: float, *, keep: bool = False) -> list[list[str]]:
        """Lines told since; keep: they are heard again by the next who listens."""
        while select.select([self.fifo], [], [], wait_s)[0]:
            wait_s = 0.0
            self._rest += os.read(self.fifo, 1 << 16)
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                words = line.decode().split(" ", 3)
                if words[0] == "head":
                    self.found.head(int(words[1]), bytes.fromhex(words[2]), words[3])
                else:
                    self._lines.append(words)
        lines_now = list(self._lines)
        if not keep:
            self._lines.clear()
        return lines_now

    def _judge(self, outcome: Outcome, *, whole: bool) -> None:
        """The log on disk against everything that was told. whole: nobody died, so everything came up."""
        found = self.found
        for problem in outcome.problems:
            found.wrong(problem)
        reader = LogReader(self.settings.directory)
        try:
            size = reader.size()
            if not outcome.acknowledged <= size <= outcome.numbered:
                found.wrong(f"{outcome.acknowledged} acknowledged, {outcome.numbered} numbered, {size} there")
            self._compare_entries(reader, size)
            for name in ("checkpoint", "cosigned"):
                found.note(reader.file(name), f"{name} on disk")
            mirrored = self.settings.directory / "mirrored"
            found.note(mirrored.read_bytes() if mirrored.exists() else None, "mirrored on disk")
            self._ask_upstream()
            for head, root in found.heads.items():
                if head > size or found.tree.roots[head] != root:
                    found.wrong(f"the head of {head} is not the root of what is there ({size} entries)")
            report = verify(reader, self._trust())
            if not report.ok:
                found.wrong(f"not verified: {report.findings[:2]}")
            if whole and (not outcome.done or report.witnessed != size or found.largest["mirror"] != size):
                found.wrong(f"{size} entries, {report.witnessed} witnessed, {dict(found.largest)} in the end")
        finally:
            reader.close()

    def _compare_entries(self, reader: LogReader, size: int) -> None:
        lives, tree = self.found.lives, self.found.tree
        lives += [self.life] * (size - len(lives))
        count = 0
        for index, body in enumerate(reader.bodies(0, size)):
            count += 1
            if index < len(tree.leaves):
                same = hashlib.sha256(b"\0" + body).digest() == tree.leaves[index]
            else:
                same = body == encode_entry(index, "core", index, entry_of(index, lives[index]))
                tree.add(body)
            if not same:
                self.found.wrong(f"entry {index} of life {lives[index]} is another one")
        if count != len(lives):
            self.found.wrong(f"{count} entries can be read, {len(lives)} were there")

    def _ask_upstream(self) -> None:
        """What witness and mirror have on their disks, beside the running collector."""
        found, directory = self.found, self.place / "witness"
        try:
            mirror = MirrorStore(directory, LOG.name, readonly=True)
        except StoreError as error:
            found.wrong(f"the mirror cannot go on: {error.sentence()}")
            return
        witness = open_store(directory / DATABASE, VERSION, do="", readonly=True)
        try:
            notes: dict[str, bytes | None] = {"witness": None, "mirror": None}
            for (note,) in witness.execute("SELECT note FROM heads"):
                notes["witness"] = bytes(note)
            if (vouched := mirror.cosigned()) is not None:
                notes["mirror"] = vouched.note
            for who, note in notes.items():
                size = parse_checkpoint(parse_note(note).text).size if note else 0
                if size < found.largest[who]:
                    found.wrong(f"the {who} said {found.largest[who]} and has {size}")
                found.note(note, f"{who} on disk")
            stored = mirror.following()
            if mirror.root(stored) != found.tree.roots[stored]:
                found.wrong(f"the mirror's {stored} entries are not the log's")
        finally:
            witness.close()
            mirror.close()

    def _trust(self) -> Trust:
        witness = read_key_text(self.place / "witness-keys/witness.vkey")
        return Trust(read_key_text(self.settings.key_file.with_suffix(".vkey")), witness)

    def export(self) -> None:
        """The mirror's copy is the log: every file, byte for byte."""
        out, size = self.place / "export", len(self.found.lives)
        if export_copies(self.place / "witness", [LOG.name], out, lambda *_: None) != {LOG.name: size}:
            self.found.wrong(f"the mirror does not have {size} entries")
            return
        for tile in new_tiles(0, size):
            ours, theirs = self.settings.directory / tile.path, out / origin_hash(LOG.name) / tile.path
            if ours.read_bytes() != theirs.read_bytes():
                self.found.wrong(f"{tile.path} of the mirror is not the log's")


def prepare(place: Path) -> LogSettings:
    """A new log, and a collector that knows it."""
    settings = new_log(place, publish_ms=1)
    create_key(place / "witness-keys", "witness", WITNESS.name, COSIGNATURE_KEY, bytes(range(32, 64)))
    create_key(place / "witness-keys", "mirror", MIRROR.name, COSIGNATURE_KEY, bytes(range(64, 96)))
    create_witness_store(place / "witness")
    create_mirror_store(place / "witness", LOG.name)
    (place / "policy").write_text("log " + settings.key_file.with_suffix(".vkey").read_text())
    return replace(settings, lock_wait_ms=30_000)


def schedule(luck: random.Random) -> Iterator[tuple[str, str]]:
    """Every step of everybody in turn, each time in another order, for ever."""
    steps = [(who, step) for who, names in STEPS.items() for step in (*names, AT_RANDOM)]
    steps += [("all", AT_RANDOM)] * 4
    while True:
        luck.shuffle(steps)
        yield from steps


def journey(place: Path, seed: int, kills: int, plan: Iterator[tuple[str, str]]) -> Journey:
    """Until so many kills on one log; then one life to the end."""
    made = Journey(place, seed)
    try:
        while sum(made.kills.values()) < kills and not made.found.differences and made.life < 5 * kills:
            made.run(*next(plan))
            if made.life == 1:
                shutil.copyfile(made.settings.directory / "checkpoint", place / "older")
        if not made.found.differences:
            made.run("", "")
            made.export()
    finally:
        made.close()
    return made


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    directory, seed, kills = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    plan, total = schedule(random.Random(seed)), Counter[str]()
    for number, first in enumerate(range(0, kills, KILLS_A_LOG)):
        began = time.monotonic()
        made = journey(directory / str(number), seed + number, min(KILLS_A_LOG, kills - first), plan)
        total += made.kills
        for each in made.found.differences:
            print(f"  DIFFERENCE {each}")
        word = "FAILED" if made.found.differences else "ok"
        print(
            f"{word} seed {seed + number}: {sum(made.kills.values())} kills in {made.life} lives, "
            f"{len(made.found.lives)} entries, {len(made.found.heads)} heads seen "
            f"{sum(made.found.seen.values())} times, {time.monotonic() - began:.1f} s ({made.place})",
            flush=True,
        )
        if made.found.differences:
            return 1
    for step, count in sorted(total.items()):
        print(f"  {count:4} {step}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
