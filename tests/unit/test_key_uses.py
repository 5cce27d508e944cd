"""A key used outside the core becomes an entry of the log: once, whatever is found in the directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.domain.errors import StoreError
from appliance.runtime.key_uses import MOST, KeyUses, record_use
from tests.audit_support import LOG, run


class Told:
    """A scribe that remembers; durable only if it may be."""

    def __init__(self, *, fails: bool = False) -> None:
        self.entries: list[tuple[str, dict[str, object]]] = []
        self._fails = fails

    def note(self, kind: str, data: dict[str, object], *_: object, **__: object) -> Any:
        self.entries.append((kind, data))
        return self

    async def durable(self) -> None:
        if self._fails:
            raise StoreError("not durable")


def test_a_use_is_told_once_and_removed(tmp_path: Path) -> None:
    """With purpose, key, time and range; a directory that is not there has none."""
    place, told = tmp_path / "uses", Told()
    uses = KeyUses(place)
    assert run(uses.look(told)) == 0  # type: ignore[arg-type]
    record_use(place, "export", LOG.verifier(), 7, {"first": 1, "stop": 3})
    assert (next(place.iterdir()).stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o600, 0o700)
    assert run(uses.look(told)) == 1  # type: ignore[arg-type]
    assert run(uses.look(told)) == 0  # type: ignore[arg-type]
    expected = {"act": "used", "purpose": "export", "key": LOG.verifier().vkey, "used_ns": "7"}
    assert told.entries == [("key", expected | {"first": 1, "stop": 3})]


def test_what_is_not_in_the_log_stays(tmp_path: Path) -> None:
    """The entry did not become durable: it is told again."""
    record_use(tmp_path, "export", LOG.verifier(), 7, {})
    with pytest.raises(StoreError):
        run(KeyUses(tmp_path).look(Told(fails=True)))  # type: ignore[arg-type]
    assert run(KeyUses(tmp_path).look(Told())) == 1  # type: ignore[arg-type]


def test_a_file_that_cannot_be_removed_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this process: an entry a second would fill the disk that refuses to let go of it."""

    def refuse(_path: Path) -> None:
        raise StoreError("not removed")

    record_use(tmp_path, "export", LOG.verifier(), 7, {})
    monkeypatch.setattr("appliance.runtime.key_uses.remove_file", refuse)
    uses, told = KeyUses(tmp_path), Told()
    with pytest.raises(StoreError):
        run(uses.look(told))  # type: ignore[arg-type]
    assert run(uses.look(told)) == 0  # type: ignore[arg-type]
    assert len(told.entries) == 1


def test_rubbish_is_told_by_its_name_and_floods_are_taken_in_parts(tmp_path: Path) -> None:
    """Not JSON, no mapping, nested, too long; MOST at a time; other files are left alone."""
    bad = [b"", b"{", b"[]", b'{"a": {}}', b'{"a": 1.5}', b"\xff", b'"' + b"a" * 5000 + b'"']
    for number, data in enumerate(bad):
        (tmp_path / f"{number}.json").write_bytes(data)
    (tmp_path / "other.json").write_bytes(b"")
    told = Told()
    assert run(KeyUses(tmp_path).look(told)) == len(bad)  # type: ignore[arg-type]
    assert [data for _, data in told.entries] == [
        {"act": "used", "unreadable": f"{number}.json"} for number in range(len(bad))
    ]
    for number in range(MOST + 1):
        record_use(tmp_path, "export", LOG.verifier(), number, {})
    assert [run(KeyUses(tmp_path).look(told)) for _ in range(3)] == [MOST, 1, 0]  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]
