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
    "proof": (
        "cmd_audit_proof:run_proof",
        "a receipt for one entry, or that the log only grew since a checkpoint; or check one",
        "interlock audit proof 1234 --out 1234.tlog-proof",
    ),
    "export": (
        "cmd_audit_export:run_export",
        "a signed bundle of a range of time that an auditor checks offline; or check one",
        "interlock audit export --from 2026-11-01 --to 2026-12-01 --out november.zip",
    ),
    "tiles": (
        "cmd_audit_tiles:run_tiles",
        "write the whole published log again, with the bundles that were pruned, into a new directory",
        "interlock audit tiles --out whole-log",
    ),
    "verify": ("cmd_audit:run_verify", "check the whole log", "interlock audit verify"),
    "report": (
        "cmd_audit_report:run_report",
        "a day in sums: orders, denials, modes, acts, alerts, gaps; exit 1 if the log does not verify",
        "interlock audit report --day 2026-11-21",
    ),
    "gaps": (
        "cmd_audit:run_gaps",
        "what is missing: numbers, heartbeats, ends, acts never recorded; exit 1 for any",
        "interlock audit gaps",
    ),
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


def _add_proof(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", metavar="N", type=_number, nargs="?", help="number of the entry")
    parser.add_argument("--extends", metavar="OLD", help="a checkpoint kept earlier: prove it was extended")
    parser.add_argument("--out", metavar="FILE", help="write it there, where nothing is yet")
    parser.add_argument("--check", metavar="FILE", help="check this proof; needs no appliance with --trust")
    parser.add_argument("--entry", metavar="FILE", help="with --check: the entry, if it is not inside")
    _add_trust(parser)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="since", metavar="TIME", help=f"not before (default: all). {_TIMES}")
    parser.add_argument("--to", dest="until", metavar="TIME", help="before; default: now")
    parser.add_argument("--out", metavar="PLACE", help="new directory, or new file .zip or .tar")
    parser.add_argument("--check", metavar="PLACE", help="check this bundle; needs no appliance with --trust")
    parser.add_argument("--make-key", action="store_true", help="make the key that signs bundles, once")
    _add_trust(parser)


def _add_tiles(parser: argparse.ArgumentParser) -> None:
    text = "new directory, as C2SP tlog-tiles wants it"
    parser.add_argument("--out", metavar="DIR", required=True, help=text)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--day", metavar="DAY", help="UTC: 2026-11-21, or 1d for a day ago; default: today")


def add_verify(parser: argparse.ArgumentParser) -> None:
    """The options of `verify`, which stands at the top and below `audit`."""
    parser.add_argument("--complete", action="store_true", help="a gap is exit 1 too (interlock audit gaps)")
    parser.add_argument("--mirror", metavar="DIR", help="check this copy of it, as a collector exported it")
    _add_trust(parser)


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trust", metavar="DIR", help="public keys to believe; default: this appliance's")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is no entry number")
    return int(text)


def _nothing(_parser: argparse.ArgumentParser) -> None:
    pass


_ADDERS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "tail": _add_tail,
    "grep": _add_grep,
    "show": _add_show,
    "why": _add_why,
    "proof": _add_proof,
    "export": _add_export,
    "tiles": _add_tiles,
    "verify": add_verify,
    "report": _add_report,
}
