"""guard.toml: the few things the guard must be told, refused whole if anything is unknown or missing.

A file of its own: a slip in the core's configuration must not keep the kill button from working.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from hardware.board import Pins
from hardware.ed25519 import is_public_key
from hardware.glitch_filter import MAX_NS as GLITCH_MAX_NS

DRIVERS = ("simulated", "gpiozero")
REACTIONS = ("alert", "paused", "emergency")

EXAMPLE = Path(__file__).with_name("guard.example.toml")
"""A complete file for a simulated board; `interlock init` copies it."""


_MS = re.compile(r"(0|[1-9][0-9]?)(?:\.([0-9]{1,3}))? ms")
_KEY = re.compile("[0-9a-f]{64}")


class GuardConfigError(Exception):
    """guard.toml cannot be used; the message names file and key."""


@dataclass(frozen=True)
class GuardConfig:
    """Values of guard.toml. glitch_filter_ns 0: off.  operator_key empty: no operator command is taken."""

    driver: str
    pin_factory: str
    tamper_reaction: str
    realtime_priority: int
    pins: Pins
    glitch_filter_ns: int = 0
    operator_key: bytes = b""


def load(path: Path) -> GuardConfig:
    """Reads and checks the file. Raises GuardConfigError.

    What is optional is off when it is absent: a box with an older file keeps its kill button over an update.
    """
    document = _document(path)
    needed = {"driver", "pin_factory", "tamper", "realtime_priority"}
    board = _table(path, document, "board", needed, frozenset({"glitch_filter"}))
    pins = _pins(path, document)
    operator = _table(path, document, "operator", {"key"}) if "operator" in document else {"key": ""}
    if unknown := set(document) - {"board", "pins", "operator"}:
        raise GuardConfigError(f"{path}: unknown table [{min(unknown)}]")
    _choice(path, "board.driver", board["driver"], DRIVERS)
    _choice(path, "board.tamper", board["tamper"], REACTIONS)
    _number(path, "board.realtime_priority", board["realtime_priority"], 1, 99)
    return GuardConfig(
        driver=str(board["driver"]),
        pin_factory=str(board["pin_factory"]),
        tamper_reaction=str(board["tamper"]),
        realtime_priority=int(str(board["realtime_priority"])),
        pins=pins,
        glitch_filter_ns=_glitch_filter(path, board.get("glitch_filter", "0 ms")),
        operator_key=_operator_key(path, operator["key"]),
    )


def load_wiring(path: Path) -> tuple[str, str, Pins]:
    """Driver, pin factory and pins alone: the fault lights are due above all where `load` refuses the rest.

    Raises GuardConfigError if these are not certain either: a pin is never driven on a guess.
    """
    document = _document(path)
    board = document.get("board")
    if not isinstance(board, dict) or not isinstance(board.get("pin_factory"), str):
        raise GuardConfigError(f"{path}: key board.pin_factory is missing")
    _choice(path, "board.driver", board.get("driver"), DRIVERS)
    return str(board["driver"]), board["pin_factory"], _pins(path, document)


def _document(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise GuardConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GuardConfigError(f"{path}: {error}") from error


def _pins(path: Path, document: dict[str, object]) -> Pins:
    pins = _table(path, document, "pins", {field.name for field in fields(Pins)})
    for name, number in pins.items():
        _number(path, f"pins.{name}", number, 2, 27)
    if len(set(pins.values())) != len(pins):
        raise GuardConfigError(f"{path}: two lines share a pin in [pins]")
    return Pins(**{name: int(str(number)) for name, number in pins.items()})


def _table(
    path: Path,
    document: dict[str, object],
    name: str,
    keys: set[str],
    optional: frozenset[str] = frozenset(),
) -> dict[str, object]:
    table = document.get(name)
    if not isinstance(table, dict):
        raise GuardConfigError(f"{path}: table [{name}] is missing")
    if missing := keys - set(table):
        raise GuardConfigError(f"{path}: key {name}.{min(missing)} is missing")
    if unknown := set(table) - keys - optional:
        raise GuardConfigError(f"{path}: unknown key {name}.{min(unknown)}")
    return table


def _choice(path: Path, key: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise GuardConfigError(f"{path}: {key} = {value!r} is not one of {', '.join(choices)}")


def _number(path: Path, key: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise GuardConfigError(f"{path}: {key} = {value!r} is not a whole number from {low} to {high}")


def _glitch_filter(path: Path, value: object) -> int:
    found = _MS.fullmatch(value) if isinstance(value, str) else None
    filter_ns = int(found[1]) * 1_000_000 + int((found[2] or "0").ljust(3, "0")) * 1_000 if found else -1
    if not 0 <= filter_ns <= GLITCH_MAX_NS:
        most = f'"{GLITCH_MAX_NS // 10**6} ms"'
        raise GuardConfigError(f'{path}: board.glitch_filter = {value!r} is not a time from "0 ms" to {most}')
    return filter_ns


def _operator_key(path: Path, value: object) -> bytes:
    if value == "":
        return b""
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise GuardConfigError(f"{path}: operator.key is not 64 lower-case hexadecimal digits")
    if not is_public_key(bytes.fromhex(value)):
        raise GuardConfigError(f"{path}: operator.key is no Ed25519 public key, or one anybody can sign for")
    return bytes.fromhex(value)
