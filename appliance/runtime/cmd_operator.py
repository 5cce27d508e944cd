"""`interlock operator keygen|sign|arm`: a signed command where there is no key switch (SAFETY 6).

One signed command counts as one turn of the arm key, with the same conditions. Made off the box: the key
(`keygen`), and preferably the signature (`sign`). On the box's console: `arm`.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import secrets
import sys
from pathlib import Path

from appliance.audit.notes import SigningKey
from appliance.domain.errors import UsageError
from appliance.runtime.operator_socket import ask_challenge, send_command
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import create_file
from appliance.storage.keys import read_signing_key

_CHALLENGE = re.compile(
    r"interlock-operator/1 purpose=([!-~]{1,32}) card=([!-~]{1,128}) boot=([0-9a-f]{32})"
    r" generation=([0-9]{1,20}) epoch=([0-9]{1,20}) nonce=[0-9a-f]{64}"
)
_SIGNATURE = re.compile("[0-9a-f]{128}")
_KEYGEN = "interlock operator keygen --out FILE"
_OUTCOMES = {
    "STEP": (0, "counted as a step: the core decides whether a less safe mode may follow (interlock status)"),
    "ARMED": (0, "armed: the gate is open"),
    "NO_PROOF": (1, "counted, without effect: press and release the kill button first (proof test)"),
    "NOT_STORED": (1, "counted, without effect: the armed record could not be stored"),
}


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
    """Signs one challenge, given as argument or on stdin; the signature is the only line on stdout."""
    line = options.challenge or sys.stdin.readline().rstrip("\r\n")
    print(_signed(options.key, line, terminal))
    return 0


def run_arm(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """One signed arm press. With --key all at once; without it, the signature is read from stdin."""
    line = ask_challenge(paths.runtime)
    if options.key is not None:
        signature = _signed(options.key, line, terminal)
    else:
        print(line, flush=True)
        terminal.say("sign this within 60 s where the key is (interlock operator sign --key FILE), then give")
        terminal.say("the signature here:")
        signature = sys.stdin.readline().strip()
        if not _SIGNATURE.fullmatch(signature):
            raise UsageError("that is not a signature", "128 hexadecimal digits are wanted (stdin)")
    outcome = send_command(paths.runtime, line, signature)
    code, sentence = _OUTCOMES.get(outcome, (1, f"the guard says {outcome}"))
    terminal.say(sentence)
    return code


def _signed(path: Path, line: str, terminal: Terminal) -> str:
    """Signs nothing but a challenge, and says to the person what it is about."""
    found = _CHALLENGE.fullmatch(line)
    if found is None or found[1] != "arm-step":
        raise UsageError(
            "that is not a challenge to arm one step",
            "a line beginning with interlock-operator/1 is wanted",
            "interlock operator arm, on the box's console",
        )
    key = read_signing_key(path, _KEYGEN)
    terminal.say(f"signing one arm step: card {found[2]}, trip epoch {found[5]}, boot {found[3]}")
    return key.sign(line).blob.hex()


def _fingerprint(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]
