"""Private keys as files of mode 0600 in the data directory, one purpose each."""

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from pathlib import Path

from nacl.utils import random

from ledger.errors import KeyFileError
from ledger.signing import Signer

SEED_BYTES = 32
_HEADER = "scrinia-ed25519-seed-v1"


def write_private(path: Path, text: str) -> None:
    """Write a new file only its owner can read; it must not exist yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def create_key(path: Path, purpose: str) -> Signer:
    """Make a key file and return its signer."""
    seed = random(SEED_BYTES)
    write_private(path, f"{_HEADER} {purpose} {b64encode(seed).decode()}\n")
    return Signer(seed)


def load_key(path: Path, purpose: str) -> Signer:
    """The signer in a key file; KeyFileError if missing, open to others or not for this."""
    try:
        mode = path.stat().st_mode
        words = path.read_text().split()
    except OSError as error:
        raise KeyFileError(f"Cannot read the {purpose} key {path}: {error.strerror}.") from None
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by others: run chmod 600 {path}.")
    if len(words) != 3 or words[:2] != [_HEADER, purpose]:
        raise KeyFileError(f"{path} is no {purpose} key file: restore it from your backup.")
    try:
        return Signer(b64decode(words[2], validate=True))
    except (Base64Error, ValueError):
        raise KeyFileError(f"{path} is damaged: restore it from your backup.") from None
