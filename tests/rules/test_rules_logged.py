"""The table of what is logged against the code, the tests and the list of AUDIT.md."""

from __future__ import annotations

import re

from appliance.audit.records import KINDS
from tests.rules.logged import ITEMS, NOT_YET, TABLE, UNWRITTEN, tell
from tests.rules.source import ROOT
from tests.rules.test_rules_rows import known_tests

_NOTE = re.compile(r'\.note\(\s*"([a-z_]+)"')


def _writers() -> dict[str, set[str]]:
    """Kind → modules that note it."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "appliance").rglob("*.py")):
        for kind in _NOTE.findall(path.read_text()):
            found.setdefault(kind, set()).add(str(path.relative_to(ROOT / "appliance")))
    return found


def test_every_kind_is_in_the_table_or_has_no_writer() -> None:
    """None is forgotten, and none is promised that nobody writes."""
    assert set(TABLE) | set(UNWRITTEN) == set(KINDS)
    assert not set(TABLE) & set(UNWRITTEN)
    assert set(UNWRITTEN.values()) <= set(NOT_YET)


def test_every_kind_is_written_by_exactly_the_parts_it_names() -> None:
    """A part that writes it and is not named, or is named and does not, is found."""
    assert _writers() == {kind: set(each.parts) for kind, each in TABLE.items()}


def test_every_item_of_the_design_is_logged_or_says_why_not() -> None:
    """Fourteen items; a kind belongs to one of them."""
    assert {each.item for each in TABLE.values()} | set(NOT_YET) == set(ITEMS)
    assert not {each.item for each in TABLE.values()} & set(NOT_YET)
    assert all(len(why) > 20 for why in NOT_YET.values())


def test_every_test_it_names_exists() -> None:
    """`path::name` below tests/."""
    assert sorted({each.test for each in TABLE.values()} - known_tests()) == []


def test_causes_are_kinds() -> None:
    """What an entry follows from is an entry."""
    assert {kind for each in TABLE.values() for kind in each.follows} <= set(KINDS)


def test_the_table_can_be_read_by_people() -> None:
    """`python -m tests.rules.logged`."""
    assert all(kind in tell() for kind in TABLE)
