"""The signed operator command (SAFETY 6): one arm press without a key switch, the account's peak reset, or a
source started again that its own limits had stopped (CONTROLS 7). No IO; the socket is elsewhere.

The guard issues a challenge, one line of text; the operator's key signs exactly that line:

    interlock-operator/1 purpose=arm-step card=… boot=… generation=… epoch=… nonce=…
    interlock-operator/1 purpose=reset-peak card=… …
    interlock-operator/1 purpose=start-source subject=NAME card=… …

The guard verifies them, because it owns the key and the nonces. What is no arm press arms nothing and proves
no button: the guard counts it on its page under an outcome of its own, with the fingerprint of the name it is
about, and the core, which owns peak and sources, decides.

| what                        | why a command about anything else is refused               |
|-----------------------------|------------------------------------------------------------|
| purpose, subject          | a signature for another act, or about another source       |
| card, boot, generation, epoch | a signature for another box, boot, guard or trip        |
| nonce, 32 random bytes      | good for one attempt: a command cannot be sent twice        |
| 60 s since the challenge    | nothing signed today arms tomorrow                          |
| no press since the challenge | any press restarts the arming                              |
| one attempt in 5 s          | a check costs milliseconds of the machine that reads the button |

One challenge stands at a time, the newest; a second one voids the first. Everything cheap is looked at
before the signature is, and the guard's loop looks at epoch, presses and age again when it takes the command.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hardware import ed25519
from hardware.pages import ArmOutcome, Refusal

VALID_NS = 60_000_000_000
APART_NS = 5_000_000_000
TAKEN_WITHIN_NS = 2_000_000_000  # a command the loop has not taken by then is void
ARM_STEP, RESET_PEAK, START_SOURCE = "arm-step", "reset-peak", "start-source"
PURPOSES = frozenset({ARM_STEP, RESET_PEAK, START_SOURCE})
OUTCOMES = {RESET_PEAK: ArmOutcome.PEAK_RESET, START_SOURCE: ArmOutcome.SOURCE_START}
"""Of signed acts that are no arm press."""

SUBJECT = "[a-z0-9][a-z0-9-]{0,31}"
"""Of START_SOURCE alone: the name of a strategy or bot."""

_NUMBER = "(0|[1-9][0-9]{0,19})"
_LINE = re.compile(
    rf"interlock-operator/1 purpose=([!-~]{{1,32}})(?: subject=({SUBJECT}))?"
    rf" card=([!-~]{{1,128}}) boot=([0-9a-f]{{32}}) generation={_NUMBER} epoch={_NUMBER}"
    r" nonce=([0-9a-f]{64})"
)
_SIGNATURE = re.compile("[0-9a-f]{128}")
"""Both have one spelling of each value: a line whose fields are those of the challenge is the challenge."""

AGAIN = "ask for a new challenge: interlock operator arm (or reset-peak, start-source)"
SENTENCES: dict[Refusal, tuple[str, str]] = {
    Refusal.MALFORMED: ("not the challenge as it was issued, with a signature of 128 hex digits", AGAIN),
    Refusal.OTHER_PURPOSE: ("it was signed for another purpose", AGAIN),
    Refusal.OTHER_BOX: ("it was signed for another box", "sign this box's own challenge"),
    Refusal.OTHER_BOOT: ("it was signed for another boot of this box", AGAIN),
    Refusal.OTHER_GENERATION: ("the guard has restarted since the challenge", AGAIN),
    Refusal.REPLAYED: ("its challenge has been used", AGAIN),
    Refusal.UNKNOWN_CHALLENGE: ("its challenge was not issued here, or a newer one has replaced it", AGAIN),
    Refusal.EXPIRED: ("its challenge is older than 60 s", AGAIN),
    Refusal.PRESSED: ("the kill button was pressed after the challenge", AGAIN),
    Refusal.OTHER_EPOCH: ("another trip came after the challenge", AGAIN),
    Refusal.TOO_SOON: ("the last attempt was less than 5 s ago", "wait 5 s, then ask for a new challenge"),
    Refusal.BAD_SIGNATURE: (
        "the signature is not that of the key in guard.toml",
        "see that [operator] key in guard.toml belongs to your key file",
    ),
    Refusal.BUSY: ("an arming is being stored", "interlock status"),
}
"""Why and what to do, for the person at the console."""


class Moment(NamedTuple):
    """What a challenge is bound to: trip epoch, and how often the kill button was pressed."""

    epoch: int
    presses: int


class ArmCommand(NamedTuple):
    """A verified command on its way to the loop. until_ns: CLOCK_MONOTONIC; void afterwards.

    purpose: of PURPOSES, as it was signed.  subject: fingerprint of the name it is about, 0: none.
    """

    moment: Moment
    until_ns: int
    operator: int
    nonce: str
    purpose: str = ARM_STEP
    subject: int = 0

    def refusal(self, now: Moment, now_ns: int) -> Refusal:
        """Whether it still holds when the loop takes it."""
        if now.presses != self.moment.presses:
            return Refusal.PRESSED
        if now.epoch != self.moment.epoch:
            return Refusal.OTHER_EPOCH
        return Refusal.EXPIRED if now_ns > self.until_ns else Refusal.NONE


class OperatorInbox:
    """Between the operator's thread and the loop: one command in, its fate out.

    No lock: deques append and pop atomically, so that the loop never waits for a thread of lower priority.
    """

    def __init__(self) -> None:
        self._commands: deque[ArmCommand] = deque(maxlen=1)
        self._fates: deque[tuple[str, str]] = deque(maxlen=4)

    def put(self, command: ArmCommand) -> None:
        """By the thread."""
        self._commands.append(command)

    def take(self) -> ArmCommand | None:
        """By the loop."""
        return self._commands.popleft() if self._commands else None

    def settle(self, nonce: str, fate: str) -> None:
        """By the loop: the name of an ArmOutcome or of a Refusal. The arm key has no nonce and no fate."""
        if nonce:
            self._fates.append((nonce, fate))

    def fate(self, nonce: str) -> str:
        """By the thread; empty while the loop has not decided."""
        return next((fate for known, fate in tuple(self._fates) if known == nonce), "")


@dataclass(frozen=True)
class Box:
    """Who is asked: card id, boot id as 32 hex digits, guard generation."""

    card: str
    boot: str
    generation: int


@dataclass(frozen=True)
class _Challenge:
    purpose: str
    subject: str
    nonce: str
    moment: Moment
    issued_ns: int


def fingerprint(named: bytes) -> int:
    """First eight bytes of the SHA-256 of a public key or a name: one word of the page."""
    return int.from_bytes(hashlib.sha256(named).digest()[:8], "big")


class OperatorDesk:
    """Issues challenges and judges commands, one at a time; owned by the operator's thread.

    public: the operator's key.  moment: `Guard.moment`.  random: n bytes nobody can foresee.
    """

    def __init__(
        self, public: bytes, box: Box, moment: Callable[[], Moment], random: Callable[[int], bytes]
    ) -> None:
        self._public = public
        self._operator = fingerprint(public)
        self._box = box
        self._moment = moment
        self._random = random
        self._standing: _Challenge | None = None
        self._used: deque[str] = deque(maxlen=64)
        self._looked_ns: int | None = None  # when a signature was last checked

    def challenge(self, now_ns: int, purpose: str = ARM_STEP, subject: str = "") -> str:
        """A fresh line to sign, bound to this moment and to one of PURPOSES; any earlier one is void."""
        moment, nonce, box = self._moment(), self._random(32).hex(), self._box
        about = f" subject={subject}" if subject else ""
        line = (
            f"interlock-operator/1 purpose={purpose}{about} card={box.card} boot={box.boot}"
            f" generation={box.generation} epoch={moment.epoch} nonce={nonce}"
        )
        self._standing = _Challenge(purpose, subject, nonce, moment, now_ns)
        return line

    def judge(self, line: str, signature: str, now_ns: int) -> ArmCommand | Refusal:
        """A command the loop may take, or why not. Whatever reaches the signature has used its challenge."""
        refusal = self._cheap(line, signature, now_ns)
        standing = self._standing
        if refusal is not Refusal.NONE or standing is None:
            return refusal
        self._looked_ns = now_ns
        self._standing = None
        self._used.append(standing.nonce)
        if not ed25519.verifies(self._public, line.encode("ascii"), bytes.fromhex(signature)):
            return Refusal.BAD_SIGNATURE
        until_ns = min(standing.issued_ns + VALID_NS, now_ns + TAKEN_WITHIN_NS)
        subject = fingerprint(standing.subject.encode("ascii")) if standing.subject else 0
        return ArmCommand(
            standing.moment, until_ns, self._operator, standing.nonce, standing.purpose, subject
        )

    def _cheap(self, line: str, signature: str, now_ns: int) -> Refusal:
        found = _LINE.fullmatch(line)
        if found is None or not _SIGNATURE.fullmatch(signature):
            return Refusal.MALFORMED
        purpose, subject, card, boot, generation, epoch, nonce = found.groups()
        if purpose not in PURPOSES:
            return Refusal.OTHER_PURPOSE
        if card != self._box.card:
            return Refusal.OTHER_BOX
        if boot != self._box.boot:
            return Refusal.OTHER_BOOT
        if int(generation) != self._box.generation:
            return Refusal.OTHER_GENERATION
        if nonce in self._used:
            return Refusal.REPLAYED
        return self._about_challenge((purpose, subject or ""), nonce, int(epoch), now_ns)

    def _about_challenge(self, act: tuple[str, str], nonce: str, epoch: int, now_ns: int) -> Refusal:
        standing = self._standing
        if standing is None or nonce != standing.nonce:
            return Refusal.UNKNOWN_CHALLENGE
        if act != (standing.purpose, standing.subject):  # signed by the right key, and not what was asked
            return Refusal.OTHER_PURPOSE
        if now_ns - standing.issued_ns > VALID_NS:
            return Refusal.EXPIRED
        now = self._moment()
        if now.presses != standing.moment.presses:
            return Refusal.PRESSED
        if not epoch == now.epoch == standing.moment.epoch:
            return Refusal.OTHER_EPOCH
        if self._looked_ns is not None and now_ns - self._looked_ns < APART_NS:
            return Refusal.TOO_SOON
        return Refusal.NONE
