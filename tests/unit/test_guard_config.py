"""guard.toml: what is optional is off when absent, everything else is refused with its key."""

from __future__ import annotations

from pathlib import Path

import pytest
from nacl.signing import SigningKey

from hardware.config import EXAMPLE, GuardConfigError, load

TEXT = EXAMPLE.read_text()
KEY = bytes(SigningKey(bytes(32)).verify_key)
FILTER, OPERATOR = 'glitch_filter = "0 ms"', 'key = ""'


def _load(tmp_path: Path, old: str = "", new: str = "") -> object:
    path = tmp_path / "guard.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    return load(path)


def test_filter_and_operator_are_off_by_default(tmp_path: Path) -> None:
    """As shipped, and also in a file from before they existed: an update must not stop the kill button."""
    config = load(EXAMPLE)
    assert (config.glitch_filter_ns, config.operator_key) == (0, b"")
    older = TEXT.replace(FILTER, "").split("[operator]")[0]
    (tmp_path / "guard.toml").write_text(older)
    assert load(tmp_path / "guard.toml") == config


@pytest.mark.parametrize(
    ("text", "filter_ns"),
    [("0 ms", 0), ("0.001 ms", 1_000), ("0.5 ms", 500_000), ("2 ms", 2_000_000), ("5 ms", 5_000_000)],
)
def test_the_filter_is_a_time_with_its_unit(tmp_path: Path, text: str, filter_ns: int) -> None:
    """Up to the last allowed value (C24)."""
    config = _load(tmp_path, FILTER, f'glitch_filter = "{text}"')
    assert getattr(config, "glitch_filter_ns", None) == filter_ns


@pytest.mark.parametrize(
    "value",
    ['"5.001 ms"', '"6 ms"', '"99 ms"', '"-1 ms"', '"2"', '"2ms"', '"02 ms"', '"1 s"', '"0.0001 ms"', "2"],
)
def test_anything_else_is_no_filter(tmp_path: Path, value: str) -> None:
    """A bare number has no unit, and more than 5 ms is no glitch."""
    with pytest.raises(GuardConfigError, match=r"guard\.toml: board\.glitch_filter = "):
        _load(tmp_path, FILTER, f"glitch_filter = {value}")


def test_an_operator_key_is_read(tmp_path: Path) -> None:
    """Hex, as `interlock operator keygen` prints it."""
    config = _load(tmp_path, OPERATOR, f'key = "{KEY.hex()}"')
    assert getattr(config, "operator_key", None) == KEY


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (f'"{KEY.hex()[:-1]}"', "not 64 lower-case hexadecimal digits"),
        (f'"{KEY.hex().upper()}"', "not 64 lower-case hexadecimal digits"),
        ("17", "not 64 lower-case hexadecimal digits"),
        (f'"{(2).to_bytes(32, "little").hex()}"', "no Ed25519 public key"),
        (f'"{(1).to_bytes(32, "little").hex()}"', "or one anybody can sign for"),
    ],
)
def test_a_key_that_is_none_is_refused_at_the_start(tmp_path: Path, value: str, sentence: str) -> None:
    """Not when somebody wants to arm with it."""
    with pytest.raises(GuardConfigError, match=sentence):
        _load(tmp_path, OPERATOR, f"key = {value}")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (OPERATOR, "", "key operator.key is missing"),
        (OPERATOR, OPERATOR + '\nname = "x"', "unknown key operator.name"),
        (FILTER, FILTER + "\nfilter = 1", "unknown key board.filter"),
    ],
)
def test_a_table_that_is_there_is_whole(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    """Optional is not careless."""
    with pytest.raises(GuardConfigError, match=sentence):
        _load(tmp_path, old, new)
