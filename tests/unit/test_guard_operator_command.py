"""The operator's desk: what a signed command is about, and each way in which it is refused (SAFETY 6)."""

from __future__ import annotations

import itertools

import pytest
from nacl.signing import SigningKey

from hardware.operator_command import (
    APART_NS,
    ARM_STEP,
    PURPOSES,
    RESET_PEAK,
    SENTENCES,
    START_SOURCE,
    TAKEN_WITHIN_NS,
    VALID_NS,
    ArmCommand,
    Box,
    Moment,
    OperatorDesk,
    OperatorInbox,
    fingerprint,
)
from hardware.pages import Refusal

KEY = SigningKey(bytes(range(32)))
BOX = Box("cid-0123", "b" * 32, 4)
START_NS = 1_000_000_000_000


class Console:
    """A desk, the guard's state behind it, and an operator with the key."""

    def __init__(self, box: Box = BOX) -> None:
        self.moment = Moment(17, 2)
        counter = itertools.count(1)
        self.desk = OperatorDesk(
            bytes(KEY.verify_key), box, lambda: self.moment, lambda size: next(counter).to_bytes(size, "big")
        )
        self.now_ns = START_NS

    def challenge(self, purpose: str = ARM_STEP) -> str:
        """A fresh line."""
        return self.desk.challenge(self.now_ns, purpose)

    def send(self, line: str, signature: str | None = None) -> ArmCommand | Refusal:
        """Delivers the line, signed unless a signature is given."""
        made = KEY.sign(line.encode()).signature.hex() if signature is None else signature
        return self.desk.judge(line, made, self.now_ns)


def test_a_signed_challenge_is_taken_once() -> None:
    """What the loop gets names the moment, the key and the time after which it is void."""
    console = Console()
    line = console.challenge()
    assert line == (
        f"interlock-operator/1 purpose=arm-step card=cid-0123 boot={'b' * 32} generation=4 epoch=17"
        f" nonce={1:064x}"
    )
    command = console.send(line)
    until_ns = START_NS + TAKEN_WITHIN_NS
    assert command == ArmCommand(Moment(17, 2), until_ns, fingerprint(bytes(KEY.verify_key)), f"{1:064x}")
    console.now_ns += APART_NS
    assert console.send(line) is Refusal.REPLAYED


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        ("purpose=arm-step", "purpose=disarm", Refusal.OTHER_PURPOSE),
        ("card=cid-0123", "card=cid-0124", Refusal.OTHER_BOX),
        ("boot=b", "boot=a", Refusal.OTHER_BOOT),
        ("generation=4", "generation=5", Refusal.OTHER_GENERATION),
        ("epoch=17", "epoch=18", Refusal.OTHER_EPOCH),
        (f"nonce={1:064x}", f"nonce={2:064x}", Refusal.UNKNOWN_CHALLENGE),
        ("interlock-operator/1", "interlock-operator/2", Refusal.MALFORMED),
        ("epoch=17", "epoch=017", Refusal.MALFORMED),
        (" nonce", "  nonce", Refusal.MALFORMED),
        ("nonce=0", "nonce=G", Refusal.MALFORMED),
    ],
)
def test_a_signature_over_something_else_has_its_own_reason(old: str, new: str, refusal: Refusal) -> None:
    """The operator's key signed it, and still it says something else than this box asked."""
    console = Console()
    line = console.challenge().replace(old, new)
    assert console.send(line) is refusal
    assert isinstance(console.send(console.challenge()), ArmCommand), "a wrong line costs no attempt"


@pytest.mark.safety("S6.8")
@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_a_command_is_for_the_purpose_of_its_challenge_and_no_other(purpose: str) -> None:
    """What was issued to arm cannot reset, nor the reverse, though the operator's key signed it; and it is
    used once like any other."""
    console = Console()
    other = min(PURPOSES - {purpose})
    line = console.challenge(purpose)
    assert f" purpose={purpose} " in line
    assert console.send(line.replace(purpose, other)) is Refusal.OTHER_PURPOSE
    command = console.send(line)
    assert isinstance(command, ArmCommand)
    assert command.purpose == purpose
    console.now_ns += APART_NS
    assert console.send(line) is Refusal.REPLAYED
    console.challenge(other)
    assert console.send(line) is Refusal.REPLAYED


@pytest.mark.safety("S6.8")
@pytest.mark.parametrize(
    ("moment", "age_ns", "refusal"),
    [
        (Moment(18, 3), 0, Refusal.PRESSED),
        (Moment(18, 2), 0, Refusal.OTHER_EPOCH),
        (Moment(17, 2), VALID_NS + 1, Refusal.EXPIRED),
    ],
)
def test_a_reset_is_bound_to_its_moment_as_an_arming_is(
    moment: Moment, age_ns: int, refusal: Refusal
) -> None:
    """Press, trip and time void it."""
    console = Console()
    line = console.challenge(RESET_PEAK)
    console.moment, console.now_ns = moment, console.now_ns + age_ns
    assert console.send(line) is refusal


@pytest.mark.safety("S6.8")
def test_a_start_is_for_the_source_it_was_signed_for() -> None:
    """Another name, none, or a name where none belongs: the operator's key signed it, and it is refused."""
    console = Console()
    line = console.desk.challenge(console.now_ns, START_SOURCE, "trend-spx")
    assert line.startswith("interlock-operator/1 purpose=start-source subject=trend-spx card=cid-0123 ")
    for about in ("subject=trend-ndx ", "subject=trend-sp ", ""):
        assert console.send(line.replace("subject=trend-spx ", about)) is Refusal.OTHER_PURPOSE
    assert console.send(line.replace("trend-spx", "Trend")) is Refusal.MALFORMED
    command = console.send(line)
    assert isinstance(command, ArmCommand)
    assert (command.purpose, command.subject) == (START_SOURCE, fingerprint(b"trend-spx"))
    plain = console.challenge()
    assert console.send(plain.replace("arm-step", "arm-step subject=a")) is Refusal.OTHER_PURPOSE
    console.now_ns += APART_NS
    command = console.send(plain)
    assert isinstance(command, ArmCommand)
    assert command.subject == 0


@pytest.mark.parametrize("signature", ["", "0" * 127, "0" * 129, "G" * 128, "A" * 128, "0" * 128 + "\n"])
def test_a_signature_is_128_lower_case_digits(signature: str) -> None:
    """One spelling, no whitespace."""
    console = Console()
    assert console.send(console.challenge(), signature) is Refusal.MALFORMED


def test_a_bad_signature_uses_the_challenge_up() -> None:
    """One attempt for each challenge."""
    console = Console()
    line = console.challenge()
    other = SigningKey(bytes(32)).sign(line.encode()).signature.hex()
    assert console.send(line, other) is Refusal.BAD_SIGNATURE
    console.now_ns += APART_NS
    assert console.send(line) is Refusal.REPLAYED


@pytest.mark.parametrize(("age_ns", "taken"), [(VALID_NS, True), (VALID_NS + 1, False)])
def test_a_challenge_is_good_for_sixty_seconds(age_ns: int, taken: bool) -> None:
    """The limit is the last allowed value (C24); the loop's time to take it ends there too."""
    console = Console()
    line = console.challenge()
    console.now_ns += age_ns
    verdict = console.send(line)
    assert isinstance(verdict, ArmCommand) is taken
    assert verdict is Refusal.EXPIRED or verdict == verdict._replace(until_ns=START_NS + VALID_NS)  # type: ignore[union-attr]


def test_a_press_after_the_challenge_voids_it() -> None:
    """SAFETY 6: any press restarts it, and the reason says that it was the button."""
    console = Console()
    line = console.challenge()
    console.moment = Moment(18, 3)
    assert console.send(line) is Refusal.PRESSED


def test_any_other_trip_after_the_challenge_voids_it() -> None:
    """The epoch has moved."""
    console = Console()
    line = console.challenge()
    console.moment = Moment(18, 2)
    assert console.send(line) is Refusal.OTHER_EPOCH


def test_only_the_newest_challenge_stands() -> None:
    """One at a time."""
    console = Console()
    first, second = console.challenge(), console.challenge()
    assert console.send(first) is Refusal.UNKNOWN_CHALLENGE
    assert isinstance(console.send(second), ArmCommand)


@pytest.mark.parametrize(("apart_ns", "taken"), [(APART_NS - 1, False), (APART_NS, True)])
def test_signatures_are_looked_at_five_seconds_apart(apart_ns: int, taken: bool) -> None:
    """Whether the one before was good or bad; too early costs no challenge."""
    console = Console()
    console.send(console.challenge(), "0" * 128)
    console.now_ns += apart_ns
    line = console.challenge()
    assert isinstance(console.send(line), ArmCommand) is taken
    console.now_ns += APART_NS
    assert isinstance(console.send(line), ArmCommand) is not taken


def test_without_a_challenge_nothing_is_taken() -> None:
    """Also not a line with all the right names."""
    asked, other = Console(), Console()
    assert other.send(asked.challenge()) is Refusal.UNKNOWN_CHALLENGE


@pytest.mark.parametrize(
    ("now", "after_ns", "refusal"),
    [
        (Moment(17, 2), TAKEN_WITHIN_NS, Refusal.NONE),
        (Moment(17, 2), TAKEN_WITHIN_NS + 1, Refusal.EXPIRED),
        (Moment(18, 3), 0, Refusal.PRESSED),
        (Moment(18, 2), 0, Refusal.OTHER_EPOCH),
    ],
)
def test_the_loop_looks_again_when_it_takes_the_command(now: Moment, after_ns: int, refusal: Refusal) -> None:
    """Milliseconds pass between the signature and the loop, and a driver may hang for longer."""
    console = Console()
    command = console.send(console.challenge())
    assert isinstance(command, ArmCommand)
    assert command.refusal(now, START_NS + after_ns) is refusal


def test_every_refusal_says_why_and_what_to_do() -> None:
    """All but NONE, each with a sentence of its own, on one line without tabs."""
    assert set(SENTENCES) == set(Refusal) - {Refusal.NONE}
    assert len({why for why, _ in SENTENCES.values()}) == len(SENTENCES)
    assert all(text.isascii() and "\t" not in text for pair in SENTENCES.values() for text in pair)


def test_the_inbox_hands_one_command_over() -> None:
    """A second one replaces the first; fates are found by nonce; the arm key has none."""
    inbox, command = OperatorInbox(), ArmCommand(Moment(1, 0), 0, 0, "n1")
    assert inbox.take() is None
    inbox.put(command)
    inbox.put(command._replace(nonce="n2"))
    taken = inbox.take()
    assert taken is not None
    assert taken.nonce == "n2"
    assert inbox.take() is None
    assert inbox.fate("n2") == ""
    inbox.settle("n2", "STEP")
    inbox.settle("", "ARMED")
    assert (inbox.fate("n2"), inbox.fate("")) == ("STEP", "")
