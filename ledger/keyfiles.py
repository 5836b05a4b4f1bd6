"""Private keys as files of mode 0600 in the data directory, one purpose each."""

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from pathlib import Path

from nacl.utils import random

from ledger.errors import KeyFileError
from ledger.signing import Signer

SEED_BYTES = 32
_SEED_HEADER = "scrinia-ed25519-seed-v1"
_SECRET_HEADER = "scrinia-secret-v1"  # noqa: S105  # the name of a form


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
    _write(path, _SEED_HEADER, purpose, seed)
    return Signer(seed)


def create_secret(path: Path, purpose: str) -> bytes:
    """Make a file with a key that has no public side; the key, SEED_BYTES long."""
    secret = random(SEED_BYTES)
    _write(path, _SECRET_HEADER, purpose, secret)
    return secret


def _write(path: Path, header: str, purpose: str, key: bytes) -> None:
    write_private(path, f"{header} {purpose} {b64encode(key).decode()}\n")


def load_key(path: Path, purpose: str) -> Signer:
    """The signer in a key file; KeyFileError if missing, open to others or not for this."""
    return Signer(_read(path, _SEED_HEADER, purpose))


def load_secret(path: Path, purpose: str) -> bytes:
    """The key that `create_secret` wrote; KeyFileError as `load_key`."""
    return _read(path, _SECRET_HEADER, purpose)


def _read(path: Path, header: str, purpose: str) -> bytes:
    try:
        mode = path.stat().st_mode
        words = path.read_text().split()
    except OSError as error:
        raise KeyFileError(f"Cannot read the {purpose} key {path}: {error.strerror}.") from None
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by others: run chmod 600 {path}.")
    if len(words) != 3 or words[:2] != [header, purpose]:
        raise KeyFileError(f"{path} is no {purpose} key file: restore it from your backup.")
    try:
        key = b64decode(words[2], validate=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != SEED_BYTES:
        raise KeyFileError(f"{path} is damaged: restore it from your backup.")
    return key
