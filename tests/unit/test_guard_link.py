"""The core's end of the pages on real files: boots, re-created files, one writer each (SAFETY 3, 8)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.domain.errors import PeerMissingError
from appliance.domain.mode import Mode, TripReason
from appliance.domain.reasons import Reason
from appliance.runtime.guard_link import REMAP_NS, PageLink
from appliance.safety.latch import refusal
from hardware import pages
from hardware.pages import CORE_LAYOUT, GUARD_LAYOUT, PAGE_SIZE, WORD_MASK, CoreWord, GuardWord, PageFile
from tests.kit import FakeClock
from tests.rules.source import ROOT, product


class Run:
    """A run-time directory with both pages; the guard's is in the test's hand, open in epoch 5."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        pages.create_pages(directory)
        self.guard = PageFile(directory / pages.GUARD_PAGE, writable=True)
        self.clock = FakeClock()
        self.arm(self.guard.words)

    def arm(self, words: memoryview[int]) -> None:
        """As a guard that has armed epoch 5 and beats."""
        pages.start_page(words, GUARD_LAYOUT, pages.boot_id())
        words[GuardWord.STATE] = words[GuardWord.ARMED] = 5
        words[GuardWord.COMPLEMENT] = 5 ^ WORD_MASK
        words[GuardWord.HEARTBEAT_NS] = self.clock.mono

    def link(self) -> PageLink:
        """A core's."""
        return PageLink(self.directory)

    def refusal(self, link: PageLink) -> Reason | None:
        """What the gate would say."""
        return refusal(link.read(), self.clock.mono)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Both pages."""
    return Run(tmp_path)


def test_an_armed_page_of_this_boot_is_open(run: Run) -> None:
    """The reference for everything below."""
    assert run.refusal(run.link()) is None


@pytest.mark.parametrize("word", list(GuardWord)[GuardWord.GENERATION :])
def test_a_glance_moves_with_every_word_but_the_heartbeat(run: Run, word: GuardWord) -> None:
    """An idle core does a whole round only when it does: a word left out would be seen late."""
    link = run.link()
    before = link.glance()
    run.guard.words[word] = run.guard.words[word] + 1
    assert (link.glance() != before) is (word is not GuardWord.HEARTBEAT_NS)


@pytest.mark.safety("S3.3")
@pytest.mark.parametrize(
    "change",
    [
        lambda words: words.__setitem__(GuardWord.BOOT_HIGH, words[GuardWord.BOOT_HIGH] ^ 1),
        lambda words: words.__setitem__(GuardWord.BOOT_LOW, words[GuardWord.BOOT_LOW] ^ 1),
        lambda words: words.__setitem__(GuardWord.LAYOUT, CORE_LAYOUT),
        lambda words: words.__setitem__(GuardWord.LAYOUT, 0),
    ],
)
def test_a_page_of_another_boot_or_layout_is_absent(
    run: Run, change: Callable[[memoryview[int]], None]
) -> None:
    """At the start and at the next look."""
    link = run.link()
    change(run.guard.words)
    link.remap()
    for each in (link, run.link()):
        assert not each.read().present
        assert each.status().boot == ""
        assert run.refusal(each) is Reason.GUARD_MISSING


def _look_again(link: PageLink) -> None:
    """As after 100 ms."""
    link._looked_ns -= REMAP_NS
    link.status()


@pytest.mark.safety("S3.4")
def test_a_re_created_page_is_mapped_at_the_next_look(run: Run) -> None:
    """The old mapping would go on showing a guard that is no longer there: open, and never late."""
    link = run.link()
    path = run.directory / pages.GUARD_PAGE
    path.unlink()
    _look_again(link)
    assert run.refusal(link) is Reason.GUARD_MISSING
    pages.create_pages(run.directory)
    _look_again(link)
    assert run.refusal(link) is Reason.GUARD_MISSING, "a blank page is nobody's"
    again = PageFile(path, writable=True)
    run.arm(again.words)
    again.words[GuardWord.STATE] = 6
    _look_again(link)
    assert run.refusal(link) is Reason.TRIPPED
    again.words[GuardWord.ARMED], again.words[GuardWord.COMPLEMENT] = 6, 6 ^ WORD_MASK
    assert run.refusal(link) is None


@pytest.mark.safety("S3.4")
def test_a_page_replaced_in_one_step_is_noticed(run: Run) -> None:
    """Another file under the same name: the mapping of the first is dropped, whatever it shows."""
    link, path = run.link(), run.directory / pages.GUARD_PAGE
    other = run.directory / "other"
    other.write_bytes(bytes(PAGE_SIZE))
    other.rename(path)
    _look_again(link)
    assert run.refusal(link) is Reason.GUARD_MISSING


@pytest.mark.safety("S3.4")
def test_the_file_is_looked_at_every_100_ms_and_not_more_often(run: Run) -> None:
    """A system call per order would be too dear; per tick it is not."""
    link = run.link()
    (run.directory / pages.GUARD_PAGE).unlink()
    link._looked_ns += 10**12
    link.status()
    assert link.read().present
    link._looked_ns -= 10**12 + REMAP_NS
    link.status()
    assert not link.read().present


@pytest.mark.safety("S3.4")
@pytest.mark.parametrize("size", [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 1])
def test_a_page_of_another_size_is_never_mapped(run: Run, size: int) -> None:
    """Reading behind its end would kill the reader."""
    path = run.directory / pages.GUARD_PAGE
    path.unlink()
    path.write_bytes(b"\0" * size)
    assert not run.link().read().present
    with pytest.raises(OSError, match="bytes long"):
        PageFile(path, writable=False)


@pytest.mark.safety("S3.2")
def test_existing_pages_are_opened_in_place(run: Run) -> None:
    """Creating again changes neither file nor content; starting again counts the generation only."""
    before = [(run.directory / name).stat().st_ino for name in (pages.GUARD_PAGE, pages.CORE_PAGE)]
    content = bytes(run.guard.words)
    pages.create_pages(run.directory)
    assert bytes(run.guard.words) == content
    assert [(run.directory / n).stat().st_ino for n in (pages.GUARD_PAGE, pages.CORE_PAGE)] == before
    generation = run.guard.words[GuardWord.GENERATION]
    assert pages.start_page(run.guard.words, GUARD_LAYOUT, pages.boot_id())
    assert run.guard.words[GuardWord.GENERATION] == generation + 1
    assert run.guard.words[GuardWord.STATE] == 5
    assert not pages.start_page(run.guard.words, GUARD_LAYOUT, (1, 2))
    assert not any(run.guard.words[4:])


@pytest.mark.safety("S3.2")
def test_nothing_in_the_project_truncates_unlinks_or_renames_a_page() -> None:
    """SAFETY 3: re-opening with truncation kills the mapped peer with SIGBUS. By inspection."""
    names = re.compile(r"GUARD_PAGE|CORE_PAGE|guard\.page|core\.page")
    for module in product():
        if not names.search(module.text):
            continue
        calls = {
            getattr(node.func, "attr", getattr(node.func, "id", ""))
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call)
        }
        assert not calls & {"truncate", "rename", "rmtree", "write_bytes", "write_text"}, module.path
        if str(module.path) != "hardware/pages.py":
            assert not calls & {"ftruncate", "unlink"}, module.path
        assert "O_TRUNC" not in module.text
    text = (ROOT / "hardware" / "pages.py").read_text()
    assert text.count("ftruncate") == 1
    assert "O_EXCL" in text
    assert "unlink(" not in text


@pytest.mark.safety("S3.2")
def test_the_pages_outlive_their_writers() -> None:
    """tmpfiles.d makes the directory; no unit owns it, so no stop of a unit removes the pages."""
    for unit in (ROOT / "systemd").glob("*.service"):
        assert not re.search(r"(?m)^RuntimeDirectory=", unit.read_text()), unit.name
    assert re.search(r"(?m)^d /run/interlock 0700 ", (ROOT / "systemd/interlock.tmpfiles.conf").read_text())


@pytest.mark.safety("S3.1")
def test_the_core_cannot_write_the_guards_page(run: Run) -> None:
    """Mapped read-only: one writer each."""
    link = run.link()
    assert link._words is not None
    with pytest.raises(TypeError):
        link._words[GuardWord.STATE] = 1


def test_pages_are_private(run: Run) -> None:
    """Nobody but the appliance's user may write a word of them."""
    for name in (pages.GUARD_PAGE, pages.CORE_PAGE):
        assert (run.directory / name).stat().st_mode & 0o777 == 0o600


def test_without_pages_there_is_no_core(tmp_path: Path) -> None:
    """The daemon does not make them up."""
    with pytest.raises(PeerMissingError):
        PageLink(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.safety("S3.5")
def test_words_are_aligned_and_read_as_one() -> None:
    """8-byte words through memoryview.cast('Q'): every index is a multiple of 8 within one page."""
    for words in (GuardWord, CoreWord):
        assert len({word.value for word in words}) == len(words)
        assert all(0 <= word * 8 <= PAGE_SIZE - 8 for word in words)
    assert [w.value for w in GuardWord][:4] == [w.value for w in CoreWord][:4] == [0, 1, 2, 3]


def test_a_new_core_withdraws_the_permit_of_the_one_before(run: Run) -> None:
    """It has looked at nothing yet."""
    run.link().permit(5)
    core = PageFile(run.directory / pages.CORE_PAGE, writable=False)
    assert core.words[CoreWord.PERMIT] == 5
    run.link()
    assert core.words[CoreWord.PERMIT] == 0


def _adopt(run: Run, core: memoryview[int]) -> int:
    """What a guard's loop does with a request; the reason it takes over, 0 if there is none."""
    if core[CoreWord.REQUEST] == run.guard.words[GuardWord.ADOPTED]:
        return 0
    run.guard.words[GuardWord.ADOPTED] = core[CoreWord.REQUEST]
    return core[CoreWord.REQUEST_REASON]


@pytest.mark.safety("S3.9")
def test_every_request_reaches_the_guard_in_its_order(run: Run) -> None:
    """Two trips within one loop of the guard: the second waits for the first to be adopted."""
    link = run.link()
    core = PageFile(run.directory / pages.CORE_PAGE, writable=False).words
    for reason in (TripReason.DRAWDOWN, TripReason.DAILY_LOSS, TripReason.INVARIANT):
        link.request_trip(reason)
    taken = []
    for _ in range(5):
        taken.append(_adopt(run, core))
        link.beat(0, 0, 0)
    assert taken == [TripReason.DRAWDOWN, TripReason.DAILY_LOSS, TripReason.INVARIANT, 0, 0]


@pytest.mark.safety("S3.11")
def test_a_request_without_a_guard_waits_on_the_page(run: Run) -> None:
    """The first reason stands there for whoever comes; the second follows once it was taken."""
    (run.directory / pages.GUARD_PAGE).unlink()
    link = run.link()
    core = PageFile(run.directory / pages.CORE_PAGE, writable=False).words
    link.request_trip(TripReason.POSITION_DISAGREEMENT)
    link.request_trip(TripReason.DRAWDOWN)
    link.beat(0, 0, 0)
    assert core[CoreWord.REQUEST_REASON] == TripReason.POSITION_DISAGREEMENT
    pages.create_pages(run.directory)
    run.guard = PageFile(run.directory / pages.GUARD_PAGE, writable=True)
    run.arm(run.guard.words)
    _look_again(link)
    taken = []
    for _ in range(3):
        taken.append(_adopt(run, core))
        link.beat(0, 0, 0)
    assert taken == [TripReason.POSITION_DISAGREEMENT, TripReason.DRAWDOWN, 0]


def test_a_request_of_a_core_that_died_is_still_there(run: Run) -> None:
    """Its successor does not take it back."""
    run.link().request_trip(TripReason.DRAWDOWN)
    run.link()
    core = PageFile(run.directory / pages.CORE_PAGE, writable=False).words
    assert _adopt(run, core) == TripReason.DRAWDOWN


@pytest.mark.safety("S8.5")
def test_a_failed_store_is_remembered_until_the_machine_restarts(run: Run) -> None:
    """SAFETY 8: over every restart of the core, not over a boot."""
    link = run.link()
    assert not link.store_failed()
    link.mark_store_failed()
    assert run.link().store_failed()
    core = PageFile(run.directory / pages.CORE_PAGE, writable=True)
    pages.start_page(core.words, CORE_LAYOUT, (1, 2))
    assert not core.words[CoreWord.STORE_FAILED]


def test_the_mode_is_published_for_the_lights(run: Run) -> None:
    """By its number, with the heartbeat of the loop that never waits."""
    link = run.link()
    link.publish_mode(Mode.EMERGENCY)
    link.beat(3, 2, 1)
    core = PageFile(run.directory / pages.CORE_PAGE, writable=False).words
    assert (core[CoreWord.MODE], core[CoreWord.OPEN_ORDERS], core[CoreWord.HOLDS]) == (4, 3, 2)
    assert core[CoreWord.HEARTBEAT_NS]
