"""Which logs a collector watches: the `log` lines of a C2SP tlog-policy file (AUDIT-FORMATS 9)."""

from __future__ import annotations

from pathlib import Path

from appliance.audit.notes import NOTE_KEY, VerifierKey, parse_vkey
from appliance.domain.errors import ConfigError, PeerError
from appliance.storage.durable import read_file

Policy = dict[str, tuple[VerifierKey, ...]]
"""origin → keys trusted to sign its checkpoints."""


def read_policy(path: Path) -> Policy:
    """Reads a policy file. Raises ConfigError naming file and line, or if there is none."""
    data = read_file(path)
    if data is None:
        raise ConfigError("the collector has no policy", f"no such file ({path})")
    return parse_policy(data.decode("utf-8", "replace"), str(path))


def parse_policy(text: str, place: str) -> Policy:
    """`log <vkey> [url]` lines, comments, and `quorum none`; anything else is refused.

    Two keys of one origin are both trusted (key change); one key for two logs is refused.
    """
    policy: Policy = {}
    seen: set[bytes] = set()
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#") or words == ["quorum", "none"]:
            continue
        key = _log_line(words, f"{place}:{number}")
        if key.public in seen:
            raise ConfigError("a key is listed twice", f"({place}:{number})")
        seen.add(key.public)
        policy[key.name] = (*policy.get(key.name, ()), key)
    return policy


def _log_line(words: list[str], where: str) -> VerifierKey:
    if words[0] != "log" or not 2 <= len(words) <= 3:
        raise ConfigError("the collector's policy is wrong", f"not `log <vkey> [url]` ({where})")
    try:
        key = parse_vkey(words[1])
    except PeerError as error:
        raise ConfigError("the collector's policy is wrong", f"{error.why} ({where})") from error
    if key.kind != NOTE_KEY:
        raise ConfigError("the collector's policy is wrong", f"not a log's key ({where})")
    return key
