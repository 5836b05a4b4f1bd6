"""The Merkle tree over the log: RFC 6962, section 2.1, SHA-256.

Leaf i is the hash of the entry at position i + 1; a node is SHA-256(0x01 || left || right); the
empty tree's root is SHA-256(""). A compact range keeps only the roots of the largest complete
subtrees, at most one per bit of the size, which is all that appending and the root need.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two adjacent subtrees."""
    return sha256(b"\x01" + left + right).digest()


@dataclass
class CompactRange:
    """A tree of `size` leaves; `hashes` are its complete subtrees' roots, largest first."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> None:
        """Add the next leaf hash."""
        node = leaf
        size = self.size
        while size & 1:
            node = node_hash(self.hashes.pop(), node)
            size >>= 1
        self.hashes.append(node)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in order."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """The tree's root."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """The hashes as stored beside a checkpoint."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, stored: bytes) -> "CompactRange":
        """The range `to_bytes` wrote; ValueError where the number of hashes does not fit `size`."""
        hashes = [stored[i : i + HASH_BYTES] for i in range(0, len(stored), HASH_BYTES)]
        if len(hashes) != size.bit_count() or len(stored) % HASH_BYTES:
            raise ValueError(f"{len(stored)} bytes are no compact range of {size} leaves")
        return cls(size, hashes)
