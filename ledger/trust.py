"""Which public key counts at which position, and whether an event is what it claims to be."""

from dataclasses import dataclass

from domain.keys import CHECKPOINT_PURPOSE, EVENT_PURPOSE, KeyRing, key_id_of
from ledger import payload
from ledger.epochs import FIRST, Epoch, origin_of
from ledger.errors import TamperedError
from ledger.mapper import RecordedEvent, SignedNotification
from ledger.note import VerifierKey
from ledger.recorder import LedgerRecorder
from ledger.signing import LOW_ORDER_POINTS, is_signed

READ_EVENTS_MAX = 500


@dataclass
class TrustedKey:
    """A key of the ledger and the positions for which it counts (`until` None: open)."""

    key_id: str
    purpose: str
    public_key: bytes
    since: int
    until: int | None = None


class TrustedKeys:
    """The ledger's keys as a fold of the key stream, by position."""

    def __init__(self) -> None:
        self._keys: dict[str, TrustedKey] = {}
        self.epochs: list[Epoch] = [FIRST]

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in a key event; every other event is none of its business."""
        event = recorded.event
        if isinstance(event, KeyRing.Created | KeyRing.KeyRegistered):
            public_key = bytes.fromhex(event.public_key)
            honest = key_id_of(public_key) == event.key_id
            if not honest or public_key in LOW_ORDER_POINTS or event.key_id in self._keys:
                raise TamperedError(f"Position {recorded.position} registers an unusable key.")
            self._keys[event.key_id] = TrustedKey(
                event.key_id, event.purpose, public_key, recorded.position
            )
        elif isinstance(event, KeyRing.KeyRetired):
            self._keys[event.key_id].until = recorded.position
        elif isinstance(event, KeyRing.EpochBegun):
            self.epochs.append(Epoch(event.epoch, recorded.position, event.lost_to))

    def at(self, key_id: str, purpose: str, position: int) -> TrustedKey | None:
        """The key, if it counts for this purpose at this position.

        A key counts from its registration to its retirement, that event included.
        """
        key = self._keys.get(key_id)
        if key is None or key.purpose != purpose or position < key.since:
            return None
        return key if key.until is None or position <= key.until else None

    def all(self) -> list[TrustedKey]:
        """Every key there ever was, in the order of their registration."""
        return list(self._keys.values())

    def verifier_keys(self, ledger_id: str, size: int | None = None) -> list[VerifierKey]:
        """Checkpoint keys under the name of every epoch: those that count for a tree of this size.

        None: all there ever were.
        """
        keys = [key for key in self._keys.values() if key.purpose == CHECKPOINT_PURPOSE]
        return [
            VerifierKey(origin_of(ledger_id, epoch.number), key.public_key)
            for epoch in self.epochs
            for key in keys
            if size is None or self._seals(key, epoch, size)
        ]

    def _seals(self, key: TrustedKey, epoch: Epoch, size: int) -> bool:
        """One that was retired after an epoch had ended counts for all of that epoch."""
        if key.until is None or size <= key.until:
            return key.since <= size
        ended = [later.start for later in self.epochs if later.number == epoch.number + 1]
        return key.since <= size and bool(ended) and key.until >= ended[0]

    def epoch_named(self, ledger_id: str, origin: str) -> int | None:
        """The number of the epoch that seals under this origin."""
        for epoch in self.epochs:
            if origin_of(ledger_id, epoch.number) == origin:
                return epoch.number
        return None


def possession_text(ledger_id: str, purpose: str) -> bytes:
    """What a key that is to be registered signs, so that nobody registers what nobody holds."""
    return f"scrinia key registration\n{ledger_id}\n{purpose}\n".encode()


def is_possessed(public_key: bytes, ledger_id: str, purpose: str, proof: bytes) -> bool:
    """Whether `proof` shows that somebody holds the key; never for one that is unusable."""
    return is_signed(public_key, possession_text(ledger_id, purpose), proof)


def is_authentic(notification: SignedNotification, keys: TrustedKeys) -> bool:
    """Whether an event carries a valid signature of a key that counts at its position."""
    key = keys.at(notification.key_id, EVENT_PURPOSE, notification.id)
    if key is None:
        return False
    signed = payload.pre_authentication_encoding(notification.state)
    return is_signed(key.public_key, signed, notification.signature)


def check_authentic(notification: SignedNotification, keys: TrustedKeys) -> None:
    """TamperedError unless `is_authentic`."""
    if not is_authentic(notification, keys):
        raise TamperedError(f"Position {notification.id} is forged: run 'scrinia verify'.")


def check_stream(events: list[SignedNotification]) -> None:
    """TamperedError where the `prev` chain of a whole stream breaks."""
    previous = payload.NO_PREVIOUS
    for event in events:
        if payload.decode(event.state)["prev"] != previous:
            raise TamperedError(
                f"Position {event.id}: the chain of {event.originator_id} is broken."
                " Run 'scrinia verify'."
            )
        previous = payload.previous_hash(event.state)


def check_unsealed(recorder: LedgerRecorder, keys: TrustedKeys, sealed: int, head: int) -> None:
    """TamperedError where an event up to `head` that no checkpoint seals yet is not authentic.

    Those are the events that a server which was killed may not have followed: its views and its
    next checkpoint will rest on them.
    """
    position = sealed
    while position < head:
        stored = recorder.select_after(position, min(READ_EVENTS_MAX, head - position))
        for event in stored:
            leaf = payload.leaf_hash(event.state, event.key_id, event.signature)
            if leaf != event.leaf_hash or not is_authentic(event, keys):
                raise TamperedError(f"Position {event.id} is forged: run 'scrinia verify'.")
        position = stored[-1].id
