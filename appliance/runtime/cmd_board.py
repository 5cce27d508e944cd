"""`interlock board press|release|arm|tamper`: a hand on the simulated board."""

from __future__ import annotations

import argparse
import time

from appliance.runtime import board_socket
from appliance.runtime.guard_link import Glance
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal

_ARM_OUTCOMES = {
    0: "nothing yet",
    1: "counted as a step: the core decides whether a less safe mode may follow",
    2: "armed",
    3: "refused: press and release the kill button first (proof test)",
    4: "refused: the armed record could not be stored",
}


def run_board(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """One act on the board, and what came of it."""
    act = options.act
    if act == "arm":
        return _arm(paths, terminal)
    commands = {"press": "press", "release": "release", "tamper": "tamper open", "state": "state"}
    command = "tamper close" if act == "tamper" and options.close else commands[act]
    answer = board_socket.command_board(paths.runtime, command)
    if act == "state":
        print(answer)
    else:
        terminal.say(_said(act, options.close))
    return 0


def _said(act: str, close: bool) -> str:
    return {
        "press": "the kill button is pressed: gate shut, orders are cancelled, positions liquidated",
        "release": "the kill button is released; nothing restarts by that: interlock board arm",
        "tamper": "the case is closed" if close else "the case is open",
    }[act]


def _arm(paths: Paths, terminal: Terminal) -> int:
    """One arm press in real time; exit 1 if it was refused."""
    before = Glance(paths.runtime).guard_words()
    terminal.say("turning the arm key: open 1 s, closed 3 s, released …")
    board_socket.arm_press(paths.runtime, time.sleep)
    deadline = time.monotonic() + 3
    words = Glance(paths.runtime).guard_words()
    while words.get("ARM_PRESSES") == before.get("ARM_PRESSES") and time.monotonic() < deadline:
        time.sleep(0.02)
        words = Glance(paths.runtime).guard_words()
    outcome = words.get("ARM_OUTCOME", 0)
    terminal.say(_ARM_OUTCOMES.get(outcome, "unknown outcome"))
    return 0 if outcome in (1, 2) else 1
