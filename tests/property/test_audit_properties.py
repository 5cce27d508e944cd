"""Properties of entries, proofs, tiles and notes over generated input."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from_hashes,
    verify_consistency,
    verify_inclusion,
)
from appliance.audit.notes import SigningKey, parse_note, parse_vkey, verify_note
from appliance.audit.records import decode_entry, encode_entry
from appliance.audit.tiles import decode_bundle, encode_bundle, new_tiles
from appliance.audit.verify import verify
from appliance.domain.errors import PeerError
from appliance.ports import Entry
from tests.audit_support import TRUST, MemoryLog, flip

quick = settings(deadline=None, derandomize=True, max_examples=150)

KEYS = st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=12)
INTEGERS = st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
DATA = st.dictionaries(KEYS, VALUES, max_size=6)


@pytest.mark.safety("S8.11")
@quick
@given(DATA, st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1), st.integers(-(2**62), 2**62))
def test_entries_are_what_rfc_8785_writes(
    data: dict[str, object], index: int, number: int, at_ns: int
) -> None:
    """The outside implementation gives the same bytes for whatever we accept, and we read them back."""
    causes = (0, index - 1) if index > 1 else ()
    entry = Entry(kind="order", utc_ns=at_ns, mono_ns=abs(at_ns), causes=causes, data=data)
    written = encode_entry(index, "core", number, entry)
    assert written == rfc8785.dumps(json.loads(written))
    record = decode_entry(written)
    assert (record.i, record.n, record.utc_ns, record.causes) == (index, number, str(at_ns), causes)
    assert encode_entry(record.i, record.src, record.n, entry) == written


@quick
@given(DATA, st.data())
def test_no_changed_byte_leaves_the_same_entry(data: dict[str, object], draw: st.DataObject) -> None:
    """Either it is refused, or it is another entry: nothing has two spellings."""
    written = encode_entry(1, "core", 0, Entry(kind="order", utc_ns=1, mono_ns=1, causes=(0,), data=data))
    changed = flip(written, draw.draw(st.integers(0, len(written) - 1)), draw.draw(st.integers(0, 7)))
    try:
        record = decode_entry(changed)
    except PeerError:
        return
    assert record != decode_entry(written)


def leaves_of(size: int, salt: int) -> list[bytes]:
    return [leaf_hash(bytes([salt]) + index.to_bytes(4, "big")) for index in range(size)]


def subtrees(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    return lambda start, stop: root_from_hashes(leaves[start:stop])


@quick
@given(st.integers(1, 200), st.integers(0, 255), st.data())
def test_every_inclusion_proof_verifies_and_no_changed_one_does(
    size: int, salt: int, draw: st.DataObject
) -> None:
    """Changed hash, dropped hash, added hash, another leaf, index, root."""
    index = draw.draw(st.integers(0, size - 1))
    leaves = leaves_of(size, salt)
    root = root_from_hashes(leaves)
    proof = inclusion_proof(index, size, subtrees(leaves))
    verify_inclusion(index, size, leaves[index], proof, root)
    bad = [
        (index, size, flip(leaves[index], 3), proof, root),
        (index, size, leaves[index], proof, flip(root, 31)),
        (index, size, leaves[index], [*proof, root], root),
        (index, size, leaves[index], [root, *proof], root),
        (size, size, leaves[index], proof, root),
        (index, 0, leaves[index], proof, root),
    ]
    if proof:
        at = draw.draw(st.integers(0, len(proof) - 1))
        bad.append((index, size, leaves[index], [*proof[:at], flip(proof[at], 0), *proof[at + 1 :]], root))
        bad.append((index, size, leaves[index], [*proof[:at], *proof[at + 1 :]], root))
        bad.append((index, size, leaves[index], [*proof[:at], proof[at][:-1], *proof[at + 1 :]], root))
        bad.append((index ^ 1, size, leaves[index], proof, root))
    for case in bad:
        with pytest.raises(PeerError):
            verify_inclusion(*case)


@quick
@given(st.integers(1, 200), st.integers(0, 255), st.data())
def test_every_consistency_proof_verifies_and_no_changed_one_does(
    size: int, salt: int, draw: st.DataObject
) -> None:
    """Changed hash, dropped hash, added hash, another root at either end, another history."""
    old = draw.draw(st.integers(1, size))
    leaves = leaves_of(size, salt)
    before, now = root_from_hashes(leaves[:old]), root_from_hashes(leaves)
    proof = consistency_proof(old, size, subtrees(leaves))
    assert bool(proof) == (old != size)
    verify_consistency(old, size, before, now, proof)
    bad = [
        (old, size, flip(before, 1), now, proof),
        (old, size, before, flip(now, 1), proof),
        (old, size, before, now, [*proof, now]),
        (0, size, before, now, proof),
        (size + 1, size, before, now, proof),
    ]
    if proof:
        at = draw.draw(st.integers(0, len(proof) - 1))
        bad.append((old, size, before, now, [*proof[:at], flip(proof[at], 9), *proof[at + 1 :]]))
        bad.append((old, size, before, now, [*proof[:at], *proof[at + 1 :]]))
        bad.append((old, size, before, now, []))
        rewritten = [flip(leaves[0], 0), *leaves[1:]]
        bad.append((old, size, before, root_from_hashes(rewritten),
                    consistency_proof(old, size, subtrees(rewritten))))  # fmt: skip
    for case in bad:
        with pytest.raises(PeerError):
            verify_consistency(*case)


@quick
@given(st.lists(st.binary(max_size=40), max_size=20))
def test_bundles_hold_what_was_put_in(entries: list[bytes]) -> None:
    """Entries of any bytes, empty ones as well; one more or fewer is refused."""
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    with pytest.raises(PeerError):
        decode_bundle(data, len(entries) + 1)
    if entries:
        with pytest.raises(PeerError):
            decode_bundle(data, len(entries) - 1)


@quick
@given(st.lists(st.integers(0, 3000), max_size=8))
def test_files_of_all_published_sizes_exist_until_a_full_tile_replaces_them(sizes: list[int]) -> None:
    """Whatever steps a log grows in, each size it published finds each of its tiles, in part or whole."""
    present = set()
    last = 0
    for size in sorted(sizes):
        present |= set(new_tiles(last, size))
        last = size
    full = {(tile.level, tile.index) for tile in present if tile.width == 256}
    for size in sizes:
        for tile in new_tiles(0, size):
            assert tile in present or (tile.level, tile.index) in full


@quick
@given(st.text(min_size=1, max_size=60), st.binary(min_size=32, max_size=32))
def test_notes_of_any_text_survive(text: str, seed: bytes) -> None:
    """What may be a note's text is signed and read back; what may not is refused on reading."""
    key = SigningKey("log.example/x", seed)
    plain = "".join(letter for letter in text if letter >= " " or letter == "\n")
    plain = plain.encode("utf-8", "replace").decode() + "\n"
    signature = key.sign(plain)
    data = (plain + "\n" + signature.line).encode()
    note = parse_note(data)
    assert note.text == plain
    verifier = parse_vkey(key.verifier().vkey)
    assert verify_note(note, [verifier]) == [(verifier, signature)]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 520), st.data())
def test_no_flipped_bit_of_a_log_goes_unnoticed(size: int, draw: st.DataObject) -> None:
    """Entries, bundles, tiles, checkpoint, co-signed checkpoint: wherever the bit is, the place is named."""
    log = MemoryLog(size, sorted({draw.draw(st.integers(1, size)), size}))
    log.cosign(draw.draw(st.integers(1, size)))
    assert verify(log, TRUST).ok
    bit = draw.draw(st.integers(0, 7))
    if draw.draw(st.booleans()):
        index = draw.draw(st.integers(0, size - 1))
        old = log.stored[index]
        log.stored[index] = flip(old, draw.draw(st.integers(0, len(old) - 1)), bit)
        assert f"entry {index}" in [finding.place for finding in verify(log, TRUST).findings]
    else:
        place = draw.draw(st.sampled_from(sorted(log.files)))
        data = log.files[place]
        log.files[place] = flip(data, draw.draw(st.integers(0, len(data) - 1)), bit)
        assert place in [finding.place.split(" ")[0] for finding in verify(log, TRUST).findings]
