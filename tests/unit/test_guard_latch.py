"""The armed record: anything but this box's own valid record means tripped (SAFETY 5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.latch import (
    RECORD,
    ArmedRecord,
    card_id,
    decode_record,
    judge,
    read_record,
    store_armed,
    store_tripped,
)
from hardware.pages import Reason

GOOD = ArmedRecord(7, "b" * 32, "serial-1", "cid-1")


@pytest.mark.safety("S5.1")
def test_a_record_survives_its_encoding() -> None:
    """What is stored is what was armed."""
    assert decode_record(GOOD.encode()) == GOOD


@pytest.mark.safety("S5.2", "S5.3", "S5.4")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, Reason.NEVER_ARMED),
        (b"", Reason.NEVER_ARMED),
        (GOOD.encode()[:-1], Reason.NEVER_ARMED),
        (GOOD.encode() + b"\n", Reason.NEVER_ARMED),
        (b"\xff" + GOOD.encode(), Reason.NEVER_ARMED),
        (GOOD.encode(), Reason.NOT_ARMED),
        (ArmedRecord(7, "b" * 32, "serial-2", "cid-1").encode(), Reason.FOREIGN_CARD),
        (ArmedRecord(7, "b" * 32, "serial-1", "cid-2").encode(), Reason.FOREIGN_CARD),
    ],
)
def test_what_a_start_makes_of_a_record(data: bytes | None, reason: Reason) -> None:
    """A valid record of this box is shut but not tripped; nothing at all is tripped."""
    assert judge(data, "serial-1", "cid-1") is reason


@pytest.mark.safety("S5.1")
@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(0, len(GOOD.encode()) * 8 - 1))
def test_one_flipped_bit_never_leaves_a_valid_record(bit: int) -> None:
    """The digest covers every field."""
    data = bytearray(GOOD.encode())
    data[bit // 8] ^= 1 << bit % 8
    assert decode_record(bytes(data)) is None


@pytest.mark.safety("S5.1")
def test_store_and_remove(tmp_path: Path) -> None:
    """Armed is a file, tripped is its absence; removing twice is no error."""
    store_armed(tmp_path, GOOD)
    assert decode_record(read_record(tmp_path) or b"") == GOOD
    assert [entry.name for entry in tmp_path.iterdir()] == [RECORD]
    store_tripped(tmp_path)
    store_tripped(tmp_path)
    assert read_record(tmp_path) is None


@pytest.mark.safety("S5.3")
def test_a_crash_before_the_rename_leaves_the_box_tripped(tmp_path: Path) -> None:
    """A half-made record lies beside, not in place; a trip sweeps it away."""
    (tmp_path / (RECORD + ".new")).write_bytes(GOOD.encode())
    assert judge(read_record(tmp_path), "serial-1", "cid-1") is Reason.NEVER_ARMED
    store_tripped(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_card_has_an_identity(tmp_path: Path) -> None:
    """Stable between two calls and never empty."""
    assert card_id(tmp_path) == card_id(tmp_path) != ""
