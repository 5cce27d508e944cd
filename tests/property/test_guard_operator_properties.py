"""Signed operator commands under random change: the guard's verifier, its desk and its loop."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from appliance.audit.notes import ed25519_verifies
from hardware.ed25519 import verifies
from hardware.operator_command import (
    APART_NS,
    ARM_STEP,
    RESET_PEAK,
    ArmCommand,
    Box,
    Moment,
    OperatorDesk,
)
from hardware.pages import GuardWord, Reason, Refusal
from tests.unit.test_guard_operator_machine import Console

KEY = SigningKey(bytes(range(32)))
seeds = st.binary(min_size=32, max_size=32)
acts_of_people = st.sampled_from(
    ["ask", "reset", "send", "again", "wait", "press", "trip", "permit", "store"]
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seeds, st.binary(max_size=300))
def test_what_libsodium_signs_is_accepted(seed: bytes, message: bytes) -> None:
    """Any key, any message."""
    key = SigningKey(seed)
    assert verifies(bytes(key.verify_key), message, key.sign(message).signature)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    seeds,
    st.binary(min_size=1, max_size=60),
    st.integers(0, 2**20),
    st.sampled_from(["key", "text", "signed"]),
)
def test_one_changed_bit_is_decided_as_libsodium_does(
    seed: bytes, message: bytes, bit: int, part: str
) -> None:
    """In the key, the message or the signature: refused, by both."""
    key = SigningKey(seed)
    parts = {"key": bytes(key.verify_key), "text": message, "signed": key.sign(message).signature}
    changed = bytearray(parts[part])
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    parts[part] = bytes(changed)
    ours = verifies(parts["key"], parts["text"], parts["signed"])
    assert ours is ed25519_verifies(parts["key"], parts["text"], parts["signed"]) is False


@settings(deadline=None, derandomize=True, max_examples=150)
@given(seeds, st.binary(max_size=40), st.binary(min_size=64, max_size=64))
def test_random_bytes_are_decided_as_libsodium_does(public: bytes, message: bytes, signature: bytes) -> None:
    """Half of these keys are points of the curve, most of mixed order."""
    for made in (signature, signature[:63] + bytes([signature[63] & 15])):
        assert verifies(public, message, made) is ed25519_verifies(public, message, made)


def _desk() -> tuple[OperatorDesk, str, str]:
    numbers = iter(range(1, 10**6))
    box = Box("cid-0123", "b" * 32, 4)
    desk = OperatorDesk(
        bytes(KEY.verify_key), box, lambda: Moment(17, 2), lambda size: next(numbers).to_bytes(size, "big")
    )
    line = desk.challenge(0)
    return desk, line, KEY.sign(line.encode()).signature.hex()


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(0, 10**6), st.characters(codec="utf-8"), st.sampled_from(["change", "insert", "drop"]))
def test_any_change_of_a_command_is_refused(at: int, character: str, how: str) -> None:
    """One character of the challenge or of the signature, changed, added or left out."""
    desk, line, signature = _desk()
    whole = f"{line}\n{signature}"
    at %= len(whole)
    put = {"change": character, "insert": character + whole[at], "drop": ""}[how]
    changed = whole[:at] + put + whole[at + 1 :]
    first, _, rest = changed.partition("\n")
    verdict = desk.judge(first, rest, 0)
    assert isinstance(verdict, ArmCommand) is (changed == whole)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(acts_of_people, max_size=40))
def test_never_two_steps_for_one_command(acts: list[str]) -> None:
    """Whatever is done in whatever order, presses counted are at most commands that were taken; each
    command is taken at most once, and whatever arms was an arm step, proven and permitted."""
    box = Console()
    box.press()
    numbers = iter(range(1, 10**6))
    desk = OperatorDesk(
        bytes(KEY.verify_key),
        Box("cid", "b" * 32, 1),
        box.guard.moment,
        lambda size: next(numbers).to_bytes(size, "big"),
    )
    line, taken, arming, sent = "", 0, 0, set[str]()
    for act in acts:
        if act in ("ask", "reset"):
            line = desk.challenge(box.now_ns, ARM_STEP if act == "ask" else RESET_PEAK)
        elif act in ("send", "again"):
            verdict = desk.judge(line, KEY.sign(line.encode()).signature.hex(), box.now_ns)
            if not isinstance(verdict, Refusal):
                taken += 1
                arming += verdict.purpose == ARM_STEP
                assert verdict.nonce not in sent
                sent.add(verdict.nonce)
                box.guard.inbox.put(verdict)
        elif act == "wait":
            box.now_ns += APART_NS
        elif act == "press":
            box.press()
        elif act == "trip":
            box.guard.trip_once(Reason.DRAWDOWN, box.now_ns)
        elif act == "permit":
            box.permit()
        elif act == "store":
            box.keeper.finish()
        box.read()
        assert box.word(GuardWord.ARM_PRESSES) <= taken
        if box.guard.is_open():
            assert box.word(GuardWord.PROVEN) == box.word(GuardWord.STATE)
            assert arming, "a reset of the peak opens nothing"
