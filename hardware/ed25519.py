"""Ed25519 verification in plain Python (RFC 8032): the guard may depend on nothing but its pin driver.

Strict, and with libsodium's accept set, so that guard and core never disagree about a signature: the scalar
is below the group order, key and commitment have their one canonical encoding, neither has small order, and
the equation is checked without the cofactor. Only public data passes through here: timing gives nothing
away. It computes for milliseconds and must never run on the loop that writes the heartbeat.
"""

from __future__ import annotations

import hashlib

KEY_BYTES = 32
SIGNATURE_BYTES = 64

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_2D = 2 * _D % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1
_SIGN = 1 << 255

_Point = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T) of a point: x = X/Z, y = Y/Z, x·y = T/Z."""

_IDENTITY: _Point = (0, 1, 1, 0)


def is_public_key(public: bytes) -> bool:
    """32 bytes that encode, canonically, a point whose order is not small."""
    point = _decode(public)
    return point is not None and not _has_small_order(point)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is that of `message` under `public` (32 bytes). Never raises."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    commitment, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    key = _decode(public)
    if scalar >= _L or key is None or _has_small_order(key):
        return False
    digest = hashlib.sha512(commitment + public + message).digest()
    challenge = int.from_bytes(digest, "little") % _L
    expected = _two_products(scalar, _BASE, challenge, _negated(key))
    # The comparison of bytes refuses every other encoding of the same point.
    return _encode(expected) == commitment and not _has_small_order(expected)


def _decode(data: bytes) -> _Point | None:
    """RFC 8032, 5.1.3; None for other lengths, y ≥ p, and bytes that are no point."""
    if len(data) != KEY_BYTES:
        return None
    number = int.from_bytes(data, "little")
    y, negative = number & (_SIGN - 1), number >> 255
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _ROOT % _P
    if v * x * x % _P != u or (x == 0 and negative):
        return None
    if x & 1 != negative:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    return (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(KEY_BYTES, "little")


def _add(a: _Point, b: _Point) -> _Point:
    """RFC 8032, 5.1.4. Complete: it holds for equal points and for the identity too."""
    p = (a[1] - a[0]) * (b[1] - b[0]) % _P
    q = (a[1] + a[0]) * (b[1] + b[0]) % _P
    r = a[3] * _2D * b[3] % _P
    s = 2 * a[2] * b[2] % _P
    e, f, g, h = q - p, s - r, s + r, q + p
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _double(a: _Point) -> _Point:
    xx, yy = a[0] * a[0] % _P, a[1] * a[1] % _P
    h = xx + yy
    e = h - (a[0] + a[1]) * (a[0] + a[1])
    g = xx - yy
    f = 2 * a[2] * a[2] + g
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _negated(a: _Point) -> _Point:
    return (_P - a[0], a[1], a[2], _P - a[3])


def _two_products(m: int, a: _Point, n: int, b: _Point) -> _Point:
    """m·a + n·b, both scalars walked together."""
    table = (_IDENTITY, a, b, _add(a, b))
    total = _IDENTITY
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        total = _double(total)
        chosen = m >> bit & 1 | (n >> bit & 1) << 1
        if chosen:
            total = _add(total, table[chosen])
    return total


def _has_small_order(point: _Point) -> bool:
    """Whether eight times the point is the identity."""
    x, y, z, _ = _double(_double(_double(point)))
    return x % _P == 0 and (y - z) % _P == 0


def _base() -> _Point:
    point = _decode((4 * pow(5, -1, _P) % _P).to_bytes(KEY_BYTES, "little"))
    if point is None:
        raise ValueError("the base point of RFC 8032 is a point")
    return point


_BASE = _base()
