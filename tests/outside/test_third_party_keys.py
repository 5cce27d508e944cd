"""A log that changed its key, before verifiers nobody here wrote: each key checks its own time."""

from __future__ import annotations

from pathlib import Path

from appliance.storage.log_rotate import rotate
from tests.audit_support import LOG, new_log, write
from tests.outside.judges import Verifier


def test_each_key_is_good_for_its_own_time(verifier: Verifier, tmp_path: Path) -> None:
    """Old up to the head over the rotation, new from that head on; that head grows into the next one."""
    settings = new_log(tmp_path)
    old, new = tmp_path / "old.vkey", settings.key_file.with_suffix(".vkey")
    old.write_text(f"{LOG.verifier().vkey}\n")
    write(settings, 300)

    def accepts(vkey: Path, seen: Path | None = None) -> bool:
        return verifier(settings.directory, vkey, seen)[0]

    before = tmp_path / "before"
    before.write_bytes((settings.directory / "checkpoint").read_bytes())
    rotate(settings.key_file, settings.directory, (1, 1), seed=bytes([5]) * 32)
    seam = tmp_path / "seam"
    seam.write_bytes((settings.directory / "checkpoint").read_bytes())
    assert accepts(old, before)
    assert [accepts(key) for key in (old, new)] == [True, True]
    write(settings, 1)
    assert [accepts(key) for key in (old, new)] == [False, True]
    assert accepts(new, seam)
    swapped = seam.read_bytes().splitlines(keepends=True)
    seam.write_bytes(b"".join((*swapped[:-2], swapped[-1], swapped[-2])))
    assert accepts(new, seam), "the order of the two signatures means nothing"
