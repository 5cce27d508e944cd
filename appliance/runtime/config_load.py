"""Reads a configuration file: whole or not at all, and every error names file, line and the nearest key."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from appliance.domain.errors import ConfigError
from appliance.runtime.config import Config
from appliance.runtime.units import decode_hook

EXAMPLE = Path(__file__).with_name("interlock.example.toml")
_MAX_BYTES = 1_000_000
_SEE = "see interlock config --example"


def load_config(path: Path) -> Config:
    """The checked configuration. Raises ConfigError (exit 78); nothing is filled in."""
    return read_config(path)[0]


def read_config(path: Path) -> tuple[Config, str]:
    """As `load_config`, with the SHA-256 (hex) of the very bytes it was read from."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError("there is no configuration", str(path), "interlock init") from error
    except OSError as error:
        raise ConfigError("the configuration cannot be read", f"{error.strerror} ({path})") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError("the configuration is too long", f"{len(data)} bytes ({path})")
    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("the configuration is no TOML", f"{error} ({path})", "interlock config") from error
    return _Reader(path, text).convert(document), hashlib.sha256(data).hexdigest()


class _Reader:
    """Turns msgspec's refusals into sentences with a line number."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def convert(self, document: dict[str, Any]) -> Config:
        """Table by table, so that a refusal inside [instruments.SPX] can name SPX."""
        for key, kind in get_type_hints(Config).items():
            if key not in document or get_origin(kind) is not dict:
                continue
            if not isinstance(document[key], dict):
                raise self._error((key,), f"it needs tables, such as [{key}.NAME]")
            for name, table in document[key].items():
                self._one(table, get_args(kind)[1], (key, name))
        return self._one(document, Config, ())  # type: ignore[no-any-return]

    def _one(self, table: Any, kind: Any, path: tuple[str, ...]) -> Any:
        try:
            return msgspec.convert(table, kind, dec_hook=decode_hook)
        except msgspec.ValidationError as error:
            raise self._explain(str(error), kind, path) from error

    def _explain(self, message: str, kind: Any, path: tuple[str, ...]) -> ConfigError:
        what, _, where = message.partition(" - at `")
        inner = tuple(part for part in re.split(r"[.\[\]`$]+", where) if part and part != "...")
        full = path + inner
        if match := re.search(r"contains unknown field `([^`]+)`", what):
            known = _fields(kind, inner)
            near = difflib.get_close_matches(match[1], known, 1)
            hint = f"write {near[0]!r}" if near else f"remove it; known are {', '.join(sorted(known))}"
            return self._error((*full, match[1]), "there is no such key in this table", hint)
        if match := re.search(r"missing required field `([^`]+)`", what):
            key = ".".join((*full, match[1]))
            return ConfigError(
                f"the configuration lacks {key}",
                f"no key has a default ({self._place(full)})",
                _SEE,
            )
        if what.startswith("Invalid enum value") and (choices := _choices(kind, inner)):
            return self._error(full, what, f"write one of {', '.join(map(repr, choices))}")
        return self._error(full, what)

    def _error(self, path: tuple[str, ...], why: str, do: str = _SEE) -> ConfigError:
        what = f"the configuration cannot be used because of {'.'.join(path)}"
        return ConfigError(what, f"{why[:1].upper()}{why[1:]} ({self._place(path)})", do)

    def _place(self, path: tuple[str, ...]) -> str:
        """file:line of the key, or of the nearest table above it."""
        names = [part for part in path if not part.isdigit()]
        while names:
            if line := self._find(names):
                return f"{self._path}:{line}"
            names.pop()
        return str(self._path)

    def _find(self, names: list[str]) -> int:
        table: list[str] = []
        for number, line in enumerate(self._lines, 1):
            if match := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line):
                table = [part.strip().strip("\"'") for part in match[1].split(".")]
                if table == names:
                    return number
            match = re.match(r"\s*([A-Za-z0-9_\"'-]+)\s*=", line)
            if match and [*table, match[1].strip("\"'")] == names:
                return number
        return 0


def _fields(kind: Any, path: tuple[str, ...]) -> list[str]:
    """Names of the fields of the table at `path` inside `kind`."""
    kind = _type_at(kind, path)
    is_table = isinstance(kind, type) and issubclass(kind, Struct)
    return list(kind.__struct_fields__) if is_table else []


def _choices(kind: Any, path: tuple[str, ...]) -> list[Any]:
    """Values a key at `path` may have, if they are listed."""
    kind = _type_at(kind, path)
    return list(get_args(kind)) if get_origin(kind) is Literal else []


def _type_at(kind: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if get_origin(kind) is UnionType:
            kind = next(each for each in get_args(kind) if each is not type(None))
        if get_origin(kind) in (dict, tuple):
            kind = get_args(kind)[-1 if get_origin(kind) is dict else 0]
        if isinstance(kind, type) and issubclass(kind, Struct) and not part.isdigit():
            kind = get_type_hints(kind).get(part, kind)
    if get_origin(kind) is UnionType:
        kind = next(each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
    return kind
