"""The ring in memory: records survive their writer, torn ones are counted and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.errors import BusyError, InvariantError, StoreError
from appliance.storage.ring import Ring, read_ring


def test_what_was_written_is_read_after_the_writer_is_gone(tmp_path: Path) -> None:
    """And the next writer goes on counting."""
    path = tmp_path / "a.ring"
    ring = Ring(path, slots=4, slot_bytes=64)
    assert [ring.append(b"one"), ring.append(b"two")] == [1, 2]
    ring.close()
    again = Ring(path)
    assert again.append(b"three") == 3
    found = read_ring(path)
    assert found.records == ((1, b"one"), (2, b"two"), (3, b"three"))
    assert read_ring(path, found.ring, 2).records == ((3, b"three"),)
    assert read_ring(path, "another", 2).records == found.records
    again.close()


def test_an_absent_ring_is_empty_and_anything_else_is_refused(tmp_path: Path) -> None:
    """Short, long, or of another kind."""
    assert read_ring(tmp_path / "none").records == ()
    path = tmp_path / "a.ring"
    Ring(path, slots=2, slot_bytes=64).close()
    whole = path.read_bytes()
    for bad in (b"", whole[:-1], whole + b"\0", b"X" + whole[1:]):
        path.write_bytes(bad)
        with pytest.raises(StoreError):
            read_ring(path)
        with pytest.raises(StoreError):
            Ring(path)


def test_one_writer(tmp_path: Path) -> None:
    """The second is refused and leaves the first alone."""
    first = Ring(tmp_path / "a.ring", slots=2, slot_bytes=64)
    with pytest.raises(BusyError):
        Ring(tmp_path / "a.ring")
    first.append(b"x")
    first.close()


@pytest.mark.parametrize(("length", "fits"), [(48, True), (49, False)])
def test_a_record_must_fit_its_slot(tmp_path: Path, length: int, fits: bool) -> None:
    """64 bytes less the slot's header of 16."""
    ring = Ring(tmp_path / "a.ring", slots=2, slot_bytes=64)
    if fits:
        ring.append(b"x" * length)
        assert read_ring(ring.path).records == ((1, b"x" * length),)
    else:
        with pytest.raises(InvariantError):
            ring.append(b"x" * length)
        assert read_ring(ring.path).records == ()
    ring.close()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(count=st.integers(0, 20), seen=st.integers(0, 20))
def test_overwritten_records_are_counted(
    tmp_path_factory: pytest.TempPathFactory, count: int, seen: int
) -> None:
    """Every record after `seen` is either returned or counted as lost."""
    path = tmp_path_factory.mktemp("ring") / "a.ring"
    ring = Ring(path, slots=5, slot_bytes=64)
    for number in range(count):
        ring.append(b"%d" % number)
    name = read_ring(path).ring
    found = read_ring(path, name, seen)
    assert found.lost + len(found.records) == max(0, count - seen)
    assert [number for number, _ in found.records] == list(range(max(seen, count - 5) + 1, count + 1))
    ring.close()


def test_a_torn_record_is_not_shown(tmp_path: Path) -> None:
    """Any single changed byte of a slot in use; the others stay readable."""
    path = tmp_path / "a.ring"
    ring = Ring(path, slots=3, slot_bytes=40)
    for body in (b"alpha", b"beta", b"gamma"):
        ring.append(body)
    ring.close()
    whole = path.read_bytes()
    at = whole.index(b"beta") - 16
    for offset in range(16 + len(b"beta")):
        torn = bytearray(whole)
        torn[at + offset] ^= 1
        path.write_bytes(torn)
        found = read_ring(path)
        assert found.records == ((1, b"alpha"), (3, b"gamma"))
        assert found.lost == 1
