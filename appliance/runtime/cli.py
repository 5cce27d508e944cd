"""The command line: verbs, common flags, and how an error reaches the person (CONVENTIONS)."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.domain.errors import InterlockError
from appliance.domain.exit_codes import ExitCode
from appliance.runtime.cli_audit import add_audit, add_verify
from appliance.runtime.cli_keys import add_keys

_VERBS: dict[str, tuple[str, str, str]] = {
    # verb: (module:function, help, example)
    "init": ("cmd_init:run_init", "make keys, log, stores and the demo configuration", "interlock init"),
    "up": ("cmd_up:run_up", "start the whole appliance here", "interlock up --speed 10d/s"),
    "guard": ("cmd_run:run_guard", "the guard alone", "interlock guard"),
    "run": ("cmd_run:run_core_command", "the core, with the feed of the configuration", "interlock run"),
    "replay": ("cmd_run:run_core_command", "the core, venue inside", "interlock replay --speed max"),
    "paper-venue": ("cmd_run:run_paper_venue", "the paper venue alone", "interlock paper-venue"),
    "cancel-only": ("cancel_only:run_cancel_only", "cancel when the core cannot", "interlock cancel-only"),
    "collector": ("cmd_run:run_collector", "the witness and mirror of logs", "interlock collector"),
    "status": ("cmd_status:run_status", "mode, trip, holds, lights", "interlock status --json"),
    "alerts": ("cmd_alerts:run_alerts", "tell people what happens", "interlock alerts --test"),
    "verify": ("cmd_audit:run_verify", "check the whole audit log", "interlock verify"),
    "audit": ("", "read and check the audit log", "interlock audit tail -n 50"),
    "keys": ("", "the keys: which there are, rotate, revoke, enrol", "interlock keys list"),
    "board": ("cmd_board:run_board", "move the contacts of the simulated board", "interlock board press"),
    "operator": ("", "signed commands: arm without a key switch, reset the peak", "interlock operator arm"),
    "config": ("cmd_config:run_config", "show the configuration in force", "interlock config --example"),
    "doctor": ("cmd_config:run_doctor", "look for what is missing on this machine", "interlock doctor"),
}
_OPERATOR = {
    "keygen": (
        "cmd_operator:run_keygen",
        "make the operator's key, off the box",
        "interlock operator keygen --out operator.key",
    ),
    "sign": (
        "cmd_operator:run_sign",
        "sign a challenge of the box, off the box",
        "interlock operator sign --key operator.key",
    ),
    "arm": (
        "cmd_operator:run_arm",
        "one arm press by signed command, on the box's console",
        "interlock operator arm",
    ),
    "reset-peak": (
        "cmd_operator:run_reset_peak",
        "after a drawdown trip: the account's peak becomes its present value (loosens; signed, in the log)",
        "interlock operator reset-peak",
    ),
    "start-source": (
        "cmd_operator:run_start_source",
        "a source that its own limits stopped may trade again (loosens; signed, in the log)",
        "interlock operator start-source trend",
    ),
}
_NESTED = frozenset({"audit", "keys", "operator"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. A traceback is shown with --debug only."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given or ["status"])
    try:
        return _run(options)
    except InterlockError as error:
        if options.debug:
            raise
        _say(error.sentence())
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except PermissionError as error:
        if options.debug:
            raise
        _say(f"no permission. {error.strerror} ({error.filename}). DO: run it as the user who owns the state")
        return int(ExitCode.NO_PERMISSION)
    except Exception as error:
        if options.debug:
            raise
        _say(f"a bug. {type(error).__name__}: {error}. DO: run it again with --debug and report it")
        return int(ExitCode.INVARIANT)


def _run(options: argparse.Namespace) -> int:
    from appliance.runtime.paths import find_paths
    from appliance.runtime.terminal import Terminal

    module, _, function = str(options.target).partition(":")
    command: Any = getattr(importlib.import_module(f"appliance.runtime.{module}"), function)
    paths = find_paths(options.state, options.runtime)
    terminal = Terminal(color=not options.no_color, quiet=options.quiet)
    return int(command(paths, options, terminal))


def _say(sentence: str) -> None:
    sys.stderr.write(f"interlock: {sentence}\n")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="default: interlock.toml in the state")
    common.add_argument("--state", type=Path, help="state directory (default: ~/.local/state/interlock)")
    common.add_argument("--runtime", type=Path, help="run-time directory")
    common.add_argument("--json", action="store_true", help="print JSON")
    common.add_argument("--quiet", action="store_true", help="say only what went wrong")
    common.add_argument("--no-color", action="store_true", help="no colour (also: NO_COLOR)")
    common.add_argument("--debug", action="store_true", help="more log lines; a traceback with an error")
    parser = argparse.ArgumentParser(
        prog="interlock",
        description="Stands between trading bots and the exchange. Without a verb: status and the next step.",
        epilog="example: interlock init && interlock up",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="version, commit and Python")
    verbs = parser.add_subparsers(dest="command", metavar="VERB", required=True)
    for verb, (target, text, example) in _VERBS.items():
        parents = [] if verb in _NESTED else [common]
        epilog = f"example: {example}"
        made = verbs.add_parser(verb, parents=parents, help=text, description=text, epilog=epilog)
        made.set_defaults(target=target)
        _ADDERS.get(verb, _nothing)(made)
        if verb == "audit":
            add_audit(made, common)
        if verb == "keys":
            add_keys(made, common)
        if verb == "operator":
            _add_operator(made, common)
    return parser


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reset", action="store_true", help="move the old state aside; never deletes a log")
    boards = ("simulated", "gpiozero")
    parser.add_argument("--board", choices=boards, default="simulated", help="what the guard's lines are")


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unattended", action="store_true", help="a trip does not stop the replay clock")
    parser.add_argument("--speed", help='"max", "20x" or "30 d/s", instead of the configured one')
    parser.add_argument("--no-arm", dest="arm", action="store_false", help="do not perform the arm presses")
    parser.add_argument("--exit-when-finished", action="store_true", help="end with the replay")


def _add_core(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unattended", action="store_true", help="a trip does not stop the replay clock")
    parser.add_argument("--speed", help='"max", "20x" or "30 d/s", instead of the configured one')
    parser.add_argument("--wait-for-arm", action="store_true", help="begin when somebody has armed")
    parser.add_argument("--progress", action="store_true", help="show a progress bar")
    parser.add_argument("--exit-when-finished", action="store_true", help="end with the replay")


def _add_board(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("act", choices=("press", "release", "arm", "tamper", "state"), help="what to do")
    parser.add_argument("--close", action="store_true", help="tamper: close the case again")


def _add_alerts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--test", action="store_true", help="send one test alert through the hook, and end")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--example", action="store_true", help="print a commented configuration that loads")


def _add_operator(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="operator_command", metavar="VERB", required=True)
    for verb, (target, text, example) in _OPERATOR.items():
        epilog = f"example: {example}"
        made = verbs.add_parser(verb, parents=[common], help=text, description=text, epilog=epilog)
        made.set_defaults(target=target)
        if verb == "keygen":
            made.add_argument("--out", type=Path, required=True, help="key file to make; nothing is replaced")
        else:
            made.add_argument(
                "--key", type=Path, required=verb == "sign", help="the operator's key file, mode 0600"
            )
        if verb == "sign":
            made.add_argument("challenge", nargs="?", help="the box's challenge; default: one line of stdin")
            what = made.add_mutually_exclusive_group()
            what.add_argument("--reset-peak", action="store_true", help="sign a reset of the account's peak")
            what.add_argument("--start-source", metavar="NAME", help="sign that this source may trade again")
        if verb == "start-source":
            made.add_argument("source", metavar="NAME", help="of the configuration: strategies.NAME")


def _add_collector(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--export", type=Path, metavar="DIR", help="write what is stored as static files")
    what.add_argument("--enrol", metavar="VKEY", help="take another box's log, by its trust/log.vkey")
    what.add_argument("--token", action="store_true", help="make a token that one log is taken with")
    text = "how long the token is good: 1 to 720, default 24"
    parser.add_argument("--hours", type=int, default=24, metavar="N", help=text)


def _nothing(_parser: argparse.ArgumentParser) -> None:
    pass


_ADDERS = {
    "init": _add_init,
    "up": _add_up,
    "run": _add_core,
    "replay": _add_core,
    "collector": _add_collector,
    "board": _add_board,
    "alerts": _add_alerts,
    "config": _add_config,
    "verify": add_verify,
}


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from appliance.runtime.version import version_line

        print(version_line())
        parser.exit()
