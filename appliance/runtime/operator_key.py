"""The operator's public key as the guard believes it: `[operator] key` of guard.toml, and nowhere else."""

from __future__ import annotations

import tomllib

from appliance.audit.key_notes import OPERATOR
from appliance.audit.notes import NOTE_KEY, VerifierKey
from appliance.domain.errors import ConfigError, StoreError
from appliance.runtime.paths import Paths
from appliance.storage.durable import read_file

_DIGITS = 64
_DO = "put the line there that interlock operator keygen printed"


def operator_key(paths: Paths) -> VerifierKey | None:
    """None if no operator is configured. Raises ConfigError for a file the guard would refuse too."""
    path = paths.guard_config
    try:
        data = read_file(path)
        document = tomllib.loads("" if data is None else data.decode("utf-8"))
    except (StoreError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("the guard's configuration cannot be read", f"{error} ({path})", _DO) from error
    table = document.get("operator", {})
    text = table.get("key", "") if isinstance(table, dict) else None
    if text == "":
        return None
    if not isinstance(text, str) or len(text) != _DIGITS or not set(text) <= set("0123456789abcdef"):
        raise ConfigError("the operator's key cannot be used", f"not 64 hexadecimal digits ({path})", _DO)
    return VerifierKey(OPERATOR, NOTE_KEY, bytes.fromhex(text))
