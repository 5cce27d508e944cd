"""guard.toml: the few things the guard must be told, refused whole if anything is unknown or missing.

A file of its own: a slip in the core's configuration must not keep the kill button from working.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from hardware.board import Pins

DRIVERS = ("simulated", "gpiozero")
REACTIONS = ("alert", "paused", "emergency")

EXAMPLE = Path(__file__).with_name("guard.example.toml")
"""A complete file for a simulated board; `interlock init` copies it."""


class GuardConfigError(Exception):
    """guard.toml cannot be used; the message names file and key."""


@dataclass(frozen=True)
class GuardConfig:
    """Values of guard.toml."""

    driver: str
    pin_factory: str
    tamper_reaction: str
    realtime_priority: int
    pins: Pins


def load(path: Path) -> GuardConfig:
    """Reads and checks the file. Raises GuardConfigError."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise GuardConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GuardConfigError(f"{path}: {error}") from error
    board = _table(path, document, "board", {"driver", "pin_factory", "tamper", "realtime_priority"})
    pins = _table(path, document, "pins", {field.name for field in fields(Pins)})
    if unknown := set(document) - {"board", "pins"}:
        raise GuardConfigError(f"{path}: unknown table [{min(unknown)}]")
    _choice(path, "board.driver", board["driver"], DRIVERS)
    _choice(path, "board.tamper", board["tamper"], REACTIONS)
    for name, number in pins.items():
        _number(path, f"pins.{name}", number, 2, 27)
    if len(set(pins.values())) != len(pins):
        raise GuardConfigError(f"{path}: two lines share a pin in [pins]")
    _number(path, "board.realtime_priority", board["realtime_priority"], 1, 99)
    return GuardConfig(
        driver=str(board["driver"]),
        pin_factory=str(board["pin_factory"]),
        tamper_reaction=str(board["tamper"]),
        realtime_priority=int(str(board["realtime_priority"])),
        pins=Pins(**{name: int(str(number)) for name, number in pins.items()}),
    )


def _table(path: Path, document: dict[str, object], name: str, keys: set[str]) -> dict[str, object]:
    table = document.get(name)
    if not isinstance(table, dict):
        raise GuardConfigError(f"{path}: table [{name}] is missing")
    if missing := keys - set(table):
        raise GuardConfigError(f"{path}: key {name}.{min(missing)} is missing")
    if unknown := set(table) - keys:
        raise GuardConfigError(f"{path}: unknown key {name}.{min(unknown)}")
    return table


def _choice(path: Path, key: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise GuardConfigError(f"{path}: {key} = {value!r} is not one of {', '.join(choices)}")


def _number(path: Path, key: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise GuardConfigError(f"{path}: {key} = {value!r} is not a whole number from {low} to {high}")
