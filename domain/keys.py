"""The registry's own public keys: registered, then retired, each valid for a range of positions.

One purpose each. Position 1 of the ledger registers the key that signs position 1.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from eventsourcing.domain import Aggregate, event

from domain.commitment import ContentRef
from domain.errors import ConflictError, NotFoundError

EVENT_PURPOSE = "event"
CHECKPOINT_PURPOSE = "checkpoint"
WEBHOOK_PURPOSE = "webhook"
SIGN_IN_PURPOSE = "sign-in"
PURPOSES = (EVENT_PURPOSE, CHECKPOINT_PURPOSE)


def key_id_of(public_key: bytes) -> str:
    """How a key is named: `sha256:` and the hex SHA-256 of its 32 bytes."""
    return "sha256:" + sha256(public_key).hexdigest()


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key (32 bytes, hex). Its id is `sha256:` and the hex SHA-256 of them."""

    key_id: str
    purpose: str
    public_key: str
    retired: bool = False


class KeyRing(Aggregate):
    """All keys of one ledger; the stream's id is the ledger's."""

    TOPIC = "io.scrinia.keys"

    class Created(Aggregate.Created):
        """The ledger begins, with the key that signs this very event."""

        TOPIC = "io.scrinia.ledger.created.v1"
        key_id: str
        purpose: str
        public_key: str

    class KeyRegistered(Aggregate.Event):
        """Another key counts from here on."""

        TOPIC = "io.scrinia.key.registered.v1"
        key_id: str
        purpose: str
        public_key: str

    class KeyRetired(Aggregate.Event):
        """A key signs nothing any more from here on."""

        TOPIC = "io.scrinia.key.retired.v1"
        key_id: str

    class EpochBegun(Aggregate.Event):
        """The ledger goes on after `recovered` events; those to `lost_to` were lost.

        `checkpoint` is the signed note that shows them.
        """

        TOPIC = "io.scrinia.epoch.begun.v1"
        epoch: int
        recovered: int
        lost_to: int
        checkpoint: str
        reason: ContentRef | None

    def __init__(self, key_id: str, purpose: str, public_key: str) -> None:
        self.keys = {key_id: PublicKey(key_id, purpose, public_key)}
        self.epoch = 1

    @classmethod
    def open(cls, ledger_id: UUID, key: PublicKey, at: datetime) -> "KeyRing":
        """A key ring with the key that signs its own registration."""
        return cls._create(
            cls.Created,
            id=ledger_id,
            timestamp=at,
            key_id=key.key_id,
            purpose=key.purpose,
            public_key=key.public_key,
        )

    def register(self, key: PublicKey, at: datetime) -> None:
        """Add a key; ConflictError where it is known, whatever its purpose."""
        if any(known.public_key == key.public_key for known in self.keys.values()):
            raise ConflictError(f"Key {key.key_id} is registered already; make a new one.")
        self.trigger_event(
            self.KeyRegistered,
            timestamp=at,
            key_id=key.key_id,
            purpose=key.purpose,
            public_key=key.public_key,
        )

    def retire(self, key_id: str, at: datetime) -> None:
        """End a key; ConflictError where it is the last of its purpose."""
        key = self.keys.get(key_id)
        if key is None or key.retired:
            raise NotFoundError(f"There is no key {key_id} in use.")
        others = [k for k in self.keys.values() if k.purpose == key.purpose and not k.retired]
        if len(others) < 2:
            raise ConflictError(
                f"Key {key_id} is the last one for {key.purpose}: register another."
            )
        self.trigger_event(self.KeyRetired, timestamp=at, key_id=key_id)

    def begin_epoch(
        self,
        recovered: int,
        lost_to: int,
        checkpoint: str,
        reason: ContentRef | None,
        at: datetime,
    ) -> None:
        """Go on in a new epoch; ConflictError where nothing was lost."""
        if lost_to <= recovered:
            raise ConflictError("Nothing is known to be lost: restore without a new epoch.")
        self.trigger_event(
            self.EpochBegun,
            timestamp=at,
            epoch=self.epoch + 1,
            recovered=recovered,
            lost_to=lost_to,
            checkpoint=checkpoint,
            reason=reason,
        )

    @event(EpochBegun)
    def _apply_epoch_begun(self, epoch: int) -> None:
        self.epoch = epoch

    @event(KeyRegistered)
    def _apply_key_registered(self, key_id: str, purpose: str, public_key: str) -> None:
        self.keys[key_id] = PublicKey(key_id, purpose, public_key)

    @event(KeyRetired)
    def _apply_key_retired(self, key_id: str) -> None:
        key = self.keys[key_id]
        self.keys[key_id] = PublicKey(key_id, key.purpose, key.public_key, retired=True)
