"""Sizes in the configuration, and what quota and reserve may be (CONVENTIONS, SAFETY 8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.units import parse_size
from appliance.safety.disk import DiskLevel
from appliance.web.words import DISK_LEVELS

QUOTA, RESERVE = 'quota = "4 GB"', 'reserve = "16 MB"'


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0 B", 0),
        ("1 B", 1),
        ("1 kB", 1_000),
        ("16 MB", 16_000_000),
        ("4 GB", 4_000_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1 KiB", 1_024),
        ("16MiB", 16 * 1024**2),
        ("0.5 GiB", 512 * 1024**2),
        ("1.024 kB", 1_024),
    ],
)
def test_sizes_are_exact(text: str, size: int) -> None:
    """Powers of a thousand, or of 1,024 where they say so."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", [4_000_000_000, "4", "4 gb", "4 TB", "-1 MB", "1.0001 kB", "", "MB", None, 1.5]
)
def test_what_is_no_size_is_refused(text: object) -> None:
    """A bare number too: nobody guesses its unit."""
    with pytest.raises(ValueError, match=r"unit|quantity|byte"):
        parse_size(text)


def _with(tmp_path: Path, quota: str, reserve: str) -> Path:
    text = EXAMPLE.read_text()
    assert QUOTA in text
    assert RESERVE in text
    path = tmp_path / "interlock.toml"
    path.write_text(text.replace(QUOTA, f'quota = "{quota}"').replace(RESERVE, f'reserve = "{reserve}"'))
    return path


@pytest.mark.parametrize(("quota", "reserve"), [("4 MB", "1 MB"), ("64 MB", "16 MB"), ("32 GB", "1 GB")])
def test_a_reserve_up_to_a_quarter_of_the_quota_is_taken(tmp_path: Path, quota: str, reserve: str) -> None:
    """The last allowed value passes."""
    storage = load_config(_with(tmp_path, quota, reserve)).storage
    assert (storage.quota, storage.reserve) == (parse_size(quota), parse_size(reserve))


@pytest.mark.parametrize(
    ("quota", "reserve", "word"),
    [
        ("4 GB", "999999 B", "below 1000000 bytes"),
        ("4 GB", "0 B", "below 1000000 bytes"),
        ("63999999 B", "16 MB", "more than a quarter"),
        ("4", "16 MB", "quota"),
        ("4 TB", "16 MB", "quota"),
    ],
)
def test_no_box_starts_with_a_reserve_that_promises_nothing(
    tmp_path: Path, quota: str, reserve: str, word: str
) -> None:
    """Exit 78, with key and line; a reserve of its own size would hold the box for ever."""
    with pytest.raises(ConfigError, match=word) as caught:
        load_config(_with(tmp_path, quota, reserve))
    assert "interlock.toml:" in caught.value.why


@pytest.mark.parametrize("key", ["quota", "reserve"])
def test_neither_has_a_default(tmp_path: Path, key: str) -> None:
    """As every limit."""
    path = _with(tmp_path, "4 GB", "16 MB")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith(key)))
    with pytest.raises(ConfigError, match=f"storage.{key}"):
        load_config(path)


def test_the_page_knows_every_level() -> None:
    """The words of domain and page are the same."""
    assert tuple(level.value for level in DiskLevel) == DISK_LEVELS
