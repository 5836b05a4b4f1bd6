"""Signed notes and checkpoints, byte for byte as C2SP specifies them.

https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint. A checkpoint's text is three
lines: origin, tree size, base64 root. A note is its text, a blank line, and signature lines
`— name base64(key id[4] || signature)`.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hashlib import sha256

from ledger.errors import NoteError
from ledger.merkle import HASH_BYTES
from ledger.signing import Signer, is_signed

SIGNATURE_LINES_MAX = 100
NOTE_BYTES_MAX = 64 * 1024
_ED25519 = b"\x01"
_DASH = "\u2014"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class VerifierKey:
    """A name and the Ed25519 public key that signs under it."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || LF || 0x01 || public key)."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        encoded = b64encode(_ED25519 + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read `name+hex id+base64 key`; NoteError where malformed or of another algorithm."""
        name, _, rest = text.strip().partition("+")
        claimed, _, encoded = rest.partition("+")
        key = _decode(encoded)
        if not _is_name(name) or len(key) != 33 or key[:1] != _ED25519:
            raise NoteError(f"{text[:80]!r} is no Ed25519 verifier key.")
        parsed = cls(name, key[1:])
        if parsed.key_id.hex() != claimed:
            raise NoteError(f"The verifier key of {name} does not match its key id.")
        return parsed


@dataclass(frozen=True)
class Checkpoint:
    """A head of the log's tree."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note's text."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a checkpoint's text; extension lines are read over. NoteError where malformed."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:
            raise NoteError("A checkpoint has at least three lines, none of them empty.")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size):
            raise NoteError("A checkpoint's size is a decimal number without leading zeros.")
        decoded = _decode(root)
        if len(decoded) != HASH_BYTES:
            raise NoteError("A checkpoint's root is 32 bytes of base64.")
        return cls(origin, int(size), decoded)


def sign(text: str, name: str, signer: Signer) -> bytes:
    """A note with one signature."""
    key = VerifierKey(name, signer.public_key)
    signature = b64encode(key.key_id + signer.sign(text.encode())).decode()
    return f"{text}\n{_DASH} {name} {signature}\n".encode()


def open_note(note: bytes, trusted: list[VerifierKey]) -> str:
    """The text of a note that at least one trusted key signed.

    Unknown keys are ignored; a signature by a trusted key that does not verify condemns the whole
    note. Raises NoteError.
    """
    text, lines = _split(note)
    verified = 0
    for line in lines:
        name, key_id, signature = _signature_line(line)
        for key in trusted:
            if key.name != name or key.key_id != key_id:
                continue
            if not is_signed(key.public_key, text.encode(), signature):
                raise NoteError(f"The signature of {name} does not verify.")
            verified += 1
    if not verified:
        raise NoteError("The note is signed by no trusted key.")
    return text


def _split(note: bytes) -> tuple[str, list[str]]:
    if len(note) > NOTE_BYTES_MAX:
        raise NoteError(f"The note has more than {NOTE_BYTES_MAX} bytes.")
    try:
        decoded = note.decode()
    except UnicodeDecodeError:
        raise NoteError("The note is not UTF-8.") from None
    if any(ord(char) < 0x20 and char != "\n" for char in decoded):
        raise NoteError("The note holds control characters.")
    text, blank, signatures = decoded.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NoteError("The note has no signatures.")
    lines = signatures[:-1].split("\n")
    if len(lines) > SIGNATURE_LINES_MAX:
        raise NoteError(f"The note has more than {SIGNATURE_LINES_MAX} signatures.")
    return text + "\n", lines


def _signature_line(line: str) -> tuple[str, bytes, bytes]:
    words = line.split(" ")
    if len(words) != 3 or words[0] != _DASH or not _is_name(words[1]):
        raise NoteError("A signature line is malformed.")
    decoded = _decode(words[2])
    if len(decoded) < 5:
        raise NoteError("A signature is too short.")
    return words[1], decoded[:4], decoded[4:]


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(char.isspace() for char in name)


def _decode(encoded: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except (Base64Error, ValueError):
        raise NoteError("The note holds malformed base64.") from None


def claimed_size(note: bytes) -> int:
    """The size a checkpoint's note states, unchecked; -1 where it states none."""
    lines = note.split(b"\n")
    return int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else -1
