"""The guard's own Ed25519 against RFC 8032's vectors, libsodium and the published edge cases."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp
from nacl.signing import SigningKey

from appliance.audit.notes import ed25519_verifies
from hardware.ed25519 import is_public_key, verifies

SHARED = Path(os.environ.get("INTERLOCK_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data"
EDGE_CASES = SHARED / "merkle" / "cctv-ed25519vectors.json.gz"
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493

RFC_8032 = {
    "1": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    "2": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    "3": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    "SHA(abc)": (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
            "454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
            "3dca179c138ac17ad9bef1177331a704"
        ),
    ),
}
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
"""All eight points of the torsion subgroup, in their canonical encodings."""

KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)
MESSAGE = b"one arm step"
SIGNATURE = KEY.sign(MESSAGE).signature


@pytest.mark.parametrize("name", RFC_8032)
def test_the_vectors_of_rfc_8032(name: str) -> None:
    """As printed in section 7.1; one byte more of message and it is another message."""
    public, message, signature = (bytes.fromhex(part) for part in RFC_8032[name])
    assert verifies(public, message, signature)
    assert not verifies(public, message + b"\0", signature)


@pytest.mark.skipif(not EDGE_CASES.exists(), reason="shared/data is not beside the checkout")
def test_all_published_edge_cases_are_decided_as_libsodium_does() -> None:
    """C2SP/CCTV: low order, mixed order, non-canonical; guard and core never disagree (AUDIT-FORMATS 12)."""
    cases = json.loads(gzip.decompress(EDGE_CASES.read_bytes()))
    assert len(cases) == 914
    accepted = 0
    for case in cases:
        key, message, signature = bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"])
        ours = verifies(key, message, signature)
        assert ours is ed25519_verifies(key, message, signature), case["number"]
        accepted += ours
    assert accepted == 43


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_keys_and_commitments_of_small_order_are_refused(encoded: str) -> None:
    """Under such a key one signature fits many messages; anybody could have made it."""
    point = bytes.fromhex(encoded)
    assert not is_public_key(point)
    for scalar in (0, 1):
        forged = point + scalar.to_bytes(32, "little")
        for public in (point, PUBLIC):
            assert not verifies(public, MESSAGE, forged)
            assert not ed25519_verifies(public, MESSAGE, forged)


def test_a_forgery_under_the_neutral_key_is_refused() -> None:
    """R = S·B solves the equation for every message, if the key is the neutral element."""
    scalar = (5).to_bytes(32, "little")
    forged = crypto_scalarmult_ed25519_base_noclamp(scalar) + scalar
    assert not verifies(bytes.fromhex(SMALL_ORDER[0]), MESSAGE, forged)


def test_a_commitment_to_nothing_is_refused() -> None:
    """With R the neutral element, S = h·a solves the equation: the key's owner could, libsodium says no."""
    neutral = bytes.fromhex(SMALL_ORDER[0])
    secret = bytearray(hashlib.sha512(bytes(range(32))).digest()[:32])
    secret[0], secret[31] = secret[0] & 248, secret[31] & 63 | 64
    digest = int.from_bytes(hashlib.sha512(neutral + PUBLIC + MESSAGE).digest(), "little")
    scalar = digest * int.from_bytes(secret, "little") % L
    signature = neutral + scalar.to_bytes(32, "little")
    assert not verifies(PUBLIC, MESSAGE, signature)
    assert not ed25519_verifies(PUBLIC, MESSAGE, signature)


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_other_encodings_of_a_point_are_refused(y: int, sign: int) -> None:
    """y is below p, or it is no encoding (RFC 8032, 5.1.3)."""
    encoded = (y | sign << 255).to_bytes(32, "little")
    assert not is_public_key(encoded)
    assert not verifies(encoded, MESSAGE, SIGNATURE)
    assert not verifies(PUBLIC, MESSAGE, encoded + SIGNATURE[32:])


def test_bytes_that_are_no_point_are_no_key() -> None:
    """Half of all y have no x; y = 2 is the smallest."""
    assert not is_public_key((2).to_bytes(32, "little"))
    assert not verifies((2).to_bytes(32, "little"), MESSAGE, SIGNATURE)


def test_the_scalar_is_below_the_group_order() -> None:
    """S + L satisfies the equation as well: without the check every signature would have a second form."""
    scalar = int.from_bytes(SIGNATURE[32:], "little")
    assert verifies(PUBLIC, MESSAGE, SIGNATURE)
    for other in (scalar + L, scalar + 2 * L, scalar | 1 << 255, L, 2**256 - 1):
        assert not verifies(PUBLIC, MESSAGE, SIGNATURE[:32] + other.to_bytes(32, "little"))


@pytest.mark.parametrize(("public", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_other_lengths_are_false_and_never_an_exception(public: int, signature: int) -> None:
    """Whatever arrives, the thread that asks goes on."""
    key, signed = PUBLIC.ljust(public, b"\0")[:public], SIGNATURE.ljust(signature, b"\0")[:signature]
    assert not verifies(key, MESSAGE, signed)
    assert not is_public_key(bytes(31))
