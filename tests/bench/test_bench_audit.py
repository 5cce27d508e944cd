"""The audit benchmark measures what it says; no assertion about speed."""

from __future__ import annotations

import asyncio

from appliance.audit.records import encode_entry
from tests.bench import bench_audit, bench_retention
from tests.bench.measure import Case


def _names(cases: list[Case]) -> list[str]:
    for case in cases:
        assert case.p50 is not None, case
        assert case.p50 > 0, case
        assert case.n > 0, case
    return [case.case for case in cases]


def test_sustained_commits_have_their_floor() -> None:
    """The raw database first, then store and writer compared with it."""
    floor, store, through = bench_audit._sustained(256)
    assert _names([floor, store, through])[0].startswith("floor: ")
    assert store.peer == through.peer == floor.case
    assert store.peer_p50 == floor.p50
    assert (floor.n, store.n, through.n) == (4, 4, 16)


def test_a_whole_log_is_verified_and_proven() -> None:
    """Time, memory and proofs of one log."""
    names = _names(bench_audit._whole_log(600))
    assert [name.split(" ")[0] for name in names] == ["verify", "memory", "inclusion", "consistency"]


def test_a_cosignature_and_an_outage_are_timed() -> None:
    """Through a collector in a process of its own."""
    names = _names(asyncio.run(bench_audit._witnessed(2)) + asyncio.run(bench_audit._resumed(33)))
    assert len(names) == 4
    assert names[2].startswith("resume after an outage of 33 entries")


def test_an_entry_has_the_size_it_is_said_to_have() -> None:
    """Within a tenth of BODY, wherever it stands in the log."""
    for at in (0, 999_999):
        body = encode_entry(at, "core", at, bench_audit.sized(at))
        assert abs(len(body) - bench_audit.BODY) < bench_audit.BODY / 10


def test_segments_are_read_compressed_and_counted() -> None:
    """Small ones; an append beside sealing, and bytes for each byte."""
    names = _names(bench_retention._cold(1, 3))
    assert all(name.startswith("cold read of one entry") for name in names)
    bodies = [encode_entry(at, "core", at, bench_audit.sized(at)) for at in range(600)]
    ratio, took = bench_retention._compressed(bodies)
    assert _names([ratio, took])[0] == "compression of 600 real entries in bundles"
    assert ratio.n == 2
    assert ratio.p50 is not None
    assert ratio.p50 > 2
