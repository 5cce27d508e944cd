"""`interlock operator keygen|sign|arm|reset-peak|start-source`: signed commands on the console (SAFETY 6).

`arm`: one signed command counts as one turn of the arm key, with the same conditions. `reset-peak`: the
account's peak becomes its present value, after a drawdown trip. `start-source`: a source that its own limits
stopped may trade again. Both loosen, arm nothing and are decided by the core, whose answer is read from the
log. Made off the box: the key (`keygen`), and preferably the signature (`sign`).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import secrets
import sys
import time
from pathlib import Path
from typing import NamedTuple

from appliance.audit.notes import SigningKey
from appliance.audit.records import Record, decode_entry
from appliance.domain.errors import PeerMissingError, UsageError
from appliance.runtime.operator_socket import (
    ARM_STEP,
    RESET_PEAK,
    START_SOURCE,
    ask_challenge,
    send_command,
)
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import create_file
from appliance.storage.keys import read_signing_key
from appliance.storage.log_reader import LogReader

_CHALLENGE = re.compile(
    r"interlock-operator/1 purpose=([!-~]{1,32})(?: subject=([a-z0-9][a-z0-9-]{0,31}))?"
    r" card=([!-~]{1,128}) boot=([0-9a-f]{32})"
    r" generation=([0-9]{1,20}) epoch=([0-9]{1,20}) nonce=[0-9a-f]{64}"
)
_SIGNATURE = re.compile("[0-9a-f]{128}")
_KEYGEN = "interlock operator keygen --out FILE"
_OUTCOMES = {
    "STEP": (0, "counted as a step: the core decides whether a less safe mode may follow (interlock status)"),
    "ARMED": (0, "armed: the gate is open"),
    "NO_PROOF": (1, "counted, without effect: press and release the kill button first (proof test)"),
    "NOT_STORED": (1, "counted, without effect: the armed record could not be stored"),
    "PEAK_RESET": (0, "verified: the core decides, and the log will say what"),
    "SOURCE_START": (0, "verified: the core decides, and the log will say what"),
}
_ABOUT = {
    ARM_STEP: "one arm step",
    RESET_PEAK: "A RESET OF THE ACCOUNT'S PEAK, which loosens its drawdown limit",
    START_SOURCE: "A START OF A SOURCE THAT ITS OWN LIMITS STOPPED, which loosens them",
}
_LOOSENS = {
    RESET_PEAK: "it is to reset the account's peak, which loosens: give --reset-peak if you want that",
    START_SOURCE: "it is to start {subject} again, which loosens: give --start-source {subject} for that",
}
_NAME = re.compile("[a-z0-9][a-z0-9-]{0,31}")
DECIDED_WITHIN_S = 8.0
"""The core gives a command up after 5 s (`signed_act.WITHIN_NS`); the rest is the log's."""
_LOOK_S = 0.1


class Act(NamedTuple):
    """What is signed. subject: the source it is about, empty for the others."""

    purpose: str
    subject: str = ""


def run_keygen(_paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Makes an operator key in a file of mode 0600, and prints what guard.toml needs of it."""
    key = SigningKey("interlock-operator", secrets.token_bytes(32))
    create_file(options.out, f"{key.private_text()}\n".encode(), 0o600)
    terminal.say(f"made {options.out}: keep it off the box, and a copy of it in a safe place")
    terminal.say(f"the log names this key {_fingerprint(key.public)}")
    terminal.say("in the box's guard.toml, then restart the guard (it starts shut):")
    print(f'[operator]\nkey = "{key.public.hex()}"')
    return 0


def run_sign(_paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Signs one challenge, given as argument or on stdin; the signature is the only line on stdout.

    What loosens is signed only by whoever asked for it in so many words: --reset-peak, --start-source NAME.
    """
    line = options.challenge or sys.stdin.readline().rstrip("\r\n")
    act = Act(ARM_STEP)
    if options.reset_peak:
        act = Act(RESET_PEAK)
    elif options.start_source:
        act = Act(START_SOURCE, options.start_source)
    print(_signed(options.key, line, act, terminal))
    return 0


def run_arm(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """One signed arm press. With --key all at once; without it, the signature is read from stdin."""
    return _deliver(paths, options, terminal, Act(ARM_STEP))


def run_reset_peak(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """A signed reset of the account's peak; exit 0 once it is in the log, 1 if the core refused it."""
    return _loosen(paths, options, terminal, Act(RESET_PEAK))


def run_start_source(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """A signed start of a source that its own limits stopped; exit 0 once it is in the log, 1 if refused."""
    if not _NAME.fullmatch(options.source):
        raise UsageError(f"{options.source} is no name of a source", "1 to 32 of a-z, 0-9 and -")
    return _loosen(paths, options, terminal, Act(START_SOURCE, options.source))


def _loosen(paths: Paths, options: argparse.Namespace, terminal: Terminal, act: Act) -> int:
    before = _newest_loosening(paths)
    code = _deliver(paths, options, terminal, act)
    if code:
        return code
    deadline = time.monotonic() + DECIDED_WITHIN_S
    while time.monotonic() < deadline:
        answer = _newest_loosening(paths)
        if answer is not None and (before is None or answer.i > before.i):
            return _tell(answer, terminal)
        time.sleep(_LOOK_S)
    raise PeerMissingError(
        "the core has not answered",
        "the guard has verified the command, and no entry of the log tells what became of it",
        "interlock status; interlock audit show loosening",
    )


def _newest_loosening(paths: Paths) -> Record | None:
    reader = LogReader(paths.log)
    try:
        entry = reader.last_of_kind("loosening")
    finally:
        reader.close()
    return None if entry is None else decode_entry(entry.body)


def _tell(answer: Record, terminal: Terminal) -> int:
    data = answer.data
    if data.get("outcome") == "done":
        if data.get("act") == "source_start":
            terminal.say(f"{data.get('source')} may trade again; it had been stopped: {data.get('why')}")
        else:
            terminal.say(f"the account's peak is reset from {data.get('before')} to {data.get('after')}")
        terminal.say(f"it is entry {answer.i} of the log; nothing is armed by it: interlock status")
        return 0
    missing = data.get("missing")
    lacking = ", ".join(map(str, missing)) if isinstance(missing, list) else "?"
    terminal.say(f"the core refused it, see entry {answer.i} of the log; what is missing: {lacking}")
    return 1


def _deliver(paths: Paths, options: argparse.Namespace, terminal: Terminal, act: Act) -> int:
    line = ask_challenge(paths.runtime, act.purpose, act.subject)
    if options.key is not None:
        signature = _signed(options.key, line, act, terminal)
    else:
        print(line, flush=True)
        flags = {RESET_PEAK: " --reset-peak", START_SOURCE: f" --start-source {act.subject}"}
        flag = flags.get(act.purpose, "")
        terminal.say(f"sign this within 60 s where the key is: interlock operator sign{flag} --key FILE")
        terminal.say("then give the signature here:")
        signature = sys.stdin.readline().strip()
        if not _SIGNATURE.fullmatch(signature):
            raise UsageError("that is not a signature", "128 hexadecimal digits are wanted (stdin)")
    outcome = send_command(paths.runtime, line, signature)
    code, sentence = _OUTCOMES.get(outcome, (1, f"the guard says {outcome}"))
    terminal.say(sentence)
    return code


def _signed(path: Path, line: str, act: Act, terminal: Terminal) -> str:
    """Signs nothing but a challenge for this act, and says to the person what it is about."""
    found = _CHALLENGE.fullmatch(line)
    asked = None if found is None else Act(found[1], found[2] or "")
    if found is None or asked != act:
        about = f"{act.purpose} subject={act.subject}" if act.subject else act.purpose
        why = f"a line beginning with interlock-operator/1 purpose={about} is wanted"
        if asked is not None and asked.purpose in _LOOSENS:
            why = _LOOSENS[asked.purpose].format(subject=asked.subject)
        verb = "arm" if act.purpose == ARM_STEP else f"{act.purpose} {act.subject}".rstrip()
        do = f"interlock operator {verb}, on the box's console"
        raise UsageError(f"that is not a challenge for {_ABOUT[act.purpose]}", why, do)
    key = read_signing_key(path, _KEYGEN)
    whom = f" ({act.subject})" if act.subject else ""
    about = f"{_ABOUT[act.purpose]}{whom}"
    terminal.say(f"signing {about}: card {found[3]}, trip epoch {found[6]}, boot {found[4]}")
    return key.sign(line).blob.hex()


def _fingerprint(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]
