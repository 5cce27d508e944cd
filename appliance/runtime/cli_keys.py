"""The options of `interlock keys …`. Nothing heavy is imported here: every command pays for it."""

from __future__ import annotations

import argparse
from pathlib import Path

_VERBS = {
    # verb: (module:function, help, example)
    "list": ("cmd_keys:run_list", "every key: purpose, id, file, since when, state", "interlock keys list"),
    "rotate": (
        "cmd_keys:run_rotate",
        "change the key that signs the log; the appliance must be stopped",
        "interlock keys rotate log",
    ),
    "revoke": (
        "cmd_keys:run_revoke",
        "say in the log from which entry on a key is not believed; the appliance must be stopped",
        "interlock keys revoke 90e354e2 --from 1234 --key operator.key",
    ),
    "sign": (
        "cmd_keys:run_sign",
        "sign a revocation with the operator's key, off the box",
        "interlock keys sign revocation.txt --key operator.key --out revocation.note",
    ),
    "chain": (
        "cmd_keys:run_chain",
        "print how the log's keys led from one to the next, for auditors and other witnesses",
        "interlock keys chain > rotations",
    ),
    "enrol": (
        "cmd_keys:run_enrol",
        "bring this log to the upstream with a one-time token, read from stdin",
        "interlock keys enrol < token",
    ),
}


def add_keys(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """The verbs below `keys`, each with the common options."""
    verbs = parser.add_subparsers(dest="keys_command", metavar="VERB", required=True)
    for verb, (target, text, example) in _VERBS.items():
        made = verbs.add_parser(
            verb, parents=[common], help=text, description=text, epilog=f"example: {example}"
        )
        made.set_defaults(target=target)
        if verb == "rotate":
            made.add_argument("what", choices=("log",), help="the others are replaced by hand")
        if verb == "revoke":
            _add_revoke(made)
        if verb == "sign":
            made.add_argument("text", type=Path, help="what `interlock keys revoke --prepare` wrote")
            made.add_argument("--key", type=Path, required=True, help="the operator's key file, mode 0600")
            made.add_argument("--out", type=Path, required=True, help="new file for the signed note")


def _add_revoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", help="key id as `interlock keys list` shows it")
    parser.add_argument(
        "--from",
        dest="since",
        type=int,
        metavar="N",
        help="first entry it is not believed for; default: where it was retired, else the end of the log",
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", type=Path, help="the operator's key file: sign and log it at once")
    how.add_argument("--prepare", type=Path, metavar="FILE", help="write what is to be signed off the box")
    how.add_argument("--note", type=Path, metavar="FILE", help="log what was signed off the box")
