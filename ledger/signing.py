"""Ed25519 (RFC 8032) by libsodium, strict: low-order keys and signature points are refused.

Verifiers disagree only about low-order points; with these 14 encodings barred, as key and as R
(the first half of a signature), every library gives one verdict.
"""

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from domain.keys import key_id_of

_LOW_ORDER_Y = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def _both_signs(y: bytes) -> tuple[bytes, bytes]:
    return y, y[:31] + bytes([y[31] | 0x80])


LOW_ORDER_POINTS = frozenset(
    encoding for y in _LOW_ORDER_Y for encoding in _both_signs(bytes.fromhex(y))
)


class Signer:
    """A private key of one purpose."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)
        self.key_id = key_id_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """A 64-byte signature."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is `public_key`'s over `message`, strictly."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    if public_key in LOW_ORDER_POINTS or signature[:32] in LOW_ORDER_POINTS:
        return False
    try:
        VerifyKey(public_key).verify(message, signature)
    except BadSignatureError:
        return False
    return True
