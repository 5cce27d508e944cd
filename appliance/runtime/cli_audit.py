"""The options of `interlock audit …`. Nothing heavy is imported here: every command pays for it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

_TIMES = "Times are UTC: 2026-11-21, 2026-11-21T14:30:00Z, or 30m, 2h, 7d, which is so long ago."

_VERBS = {
    # verb: (module:function, help, example)
    "tail": ("cmd_audit_read:run_tail", "the newest entries", "interlock audit tail --kind fill --follow"),
    "show": (
        "cmd_audit_read:run_show",
        "one entry in full, an order's entries, or all of one kind",
        "interlock audit show trip",
    ),
    "grep": (
        "cmd_audit_read:run_grep",
        "every entry that matches a regular expression or a filter; exit 1 if none does",
        "interlock audit grep il-2a61 --since 2h --reason NO_LIMIT",
    ),
    "why": (
        "cmd_audit_why:run_why",
        "the chain of a decision: who, from what, under which limits, and what came of it",
        "interlock audit why il-2a6129f460e327565618aeabc234bc --svg why.svg",
    ),
    "verify": ("cmd_audit:run_verify", "check the whole log", "interlock audit verify"),
}


def add_audit(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """The verbs below `audit`, each with the common options."""
    verbs = parser.add_subparsers(dest="audit_command", metavar="VERB", required=True)
    for verb, (target, text, example) in _VERBS.items():
        made = verbs.add_parser(
            verb, parents=[common], help=text, description=text, epilog=f"example: {example}"
        )
        made.set_defaults(target=target)
        _ADDERS.get(verb, _nothing)(made)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters", f"All that are given must hold. {_TIMES}")
    group.add_argument("--order", metavar="ID", help="about this order or one of its legs")
    group.add_argument(
        "--kind", action="append", metavar="KIND", help="such as trip, verdict, fill; may be given again"
    )
    group.add_argument("--reason", metavar="CODE", help="a denial code, or why an order or mode changed")
    group.add_argument("--source", metavar="NAME", help="the strategy or bot that asked, or the writer")
    group.add_argument("--mode", metavar="MODE", help="written while the box was in this mode")
    group.add_argument("--since", metavar="TIME", help="not before")
    group.add_argument("--until", metavar="TIME", help="before")


def _add_tail(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--count", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("-f", "--follow", action="store_true", help="then every new one, until interrupted")
    _add_filters(parser)


def _add_grep(parser: argparse.ArgumentParser) -> None:
    text = "regular expression, looked for in the stored bytes"
    parser.add_argument("pattern", nargs="?", help=text)
    parser.add_argument("-i", "--ignore-case", action="store_true", help="of the pattern")
    _add_filters(parser)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", help="entry number, order id, or kind such as trip, fill, verdict")


def _add_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="ORDER|N", help="order id, or number of any entry")
    parser.add_argument("--svg", metavar="FILE", help="draw it into this new file instead")
    parser.add_argument("--deep", action="store_true", help="look to the end of the log for what it led to")


def _nothing(_parser: argparse.ArgumentParser) -> None:
    pass


_ADDERS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "tail": _add_tail,
    "grep": _add_grep,
    "show": _add_show,
    "why": _add_why,
}
