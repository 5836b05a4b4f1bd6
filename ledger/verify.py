"""`scrinia verify`: everything in a ledger checked again from its bytes; all faults, not the first.

Trusts nothing but the public side of the keys (`trust.json`, best kept elsewhere) and, where given,
a checkpoint kept elsewhere. Reads rows as they are, whatever constraints the tables still have.
What lies after the last checkpoint is covered by signatures and stream chains only: a tail cut off
there is seen as far as the newest checkpoint reaches, the exported one included.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import rfc8785

from domain.commitment import commit, refs_in
from domain.keys import EVENT_PURPOSE, KeyRing
from ledger import payload
from ledger.authority import Authority
from ledger.datadir import DataDirectory, Trust
from ledger.epochs import Epoch, epoch_of, is_recorded_loss, lost_checkpoint
from ledger.errors import ClosedError, LedgerError, NoLedgerError, NoteError
from ledger.mapper import RecordedEvent, SigningMapper
from ledger.merkle import CompactRange
from ledger.note import Checkpoint, VerifierKey, claimed_size, open_note
from ledger.signing import is_signed
from ledger.store import FORMAT, LedgerStore, RawLedger, Row
from ledger.trust import TrustedKeys

Progress = Callable[[int, int], None]

CODES = {
    "E_AUTHZ": "The grants in force did not allow the event, or it names others.",
    "E_BEHIND": "The ledger has fewer events than a checkpoint seals.",
    "E_CANON": "The payload is not canonical JSON of the documented form.",
    "E_CHECKPOINT": "A checkpoint is missing, older than the newest, or has another tree by it.",
    "E_COLUMN": "A column does not repeat what the payload says.",
    "E_COMMIT": "A text is not what its event committed to.",
    "E_CONTENT_MISSING": "A text that an event committed to is not there.",
    "E_CONTENT_ORPHAN": "A text is there that no event committed to.",
    "E_DUP": "An event id, position, text or checkpoint is there twice.",
    "E_EPOCH": "An epoch does not follow from what it says was lost, or a checkpoint shows more.",
    "E_GAP": "A position is missing.",
    "E_KEY": "The signing key is unknown, of another purpose or not in force there.",
    "E_LEAF": "The stored leaf hash is not that of the entry.",
    "E_LEDGER": "The event, or the database, belongs to another ledger.",
    "E_NOTE": "A checkpoint note is malformed or not signed by this ledger's key.",
    "E_PREV": "The event does not continue its stream.",
    "E_ROOT": "The events are not those a checkpoint sealed.",
    "E_SIG": "The signature does not verify.",
    "E_STREAM_GAP": "A stream position is missing or repeated.",
    "E_TRUST": "The first event is not by the key that is trusted.",
    "E_TYPE": "The event type is unknown or its data cannot be read.",
}


@dataclass(frozen=True)
class VerifyFault:
    """Something wrong: where (None: nowhere in particular), a code of CODES, and what."""

    position: int | None
    code: str
    detail: str


@dataclass
class Report:
    """What a verification found."""

    events: int = 0
    contents: int = 0
    checkpoints: int = 0
    sealed: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    faults: list[VerifyFault] = field(default_factory=list)

    def add(self, position: int | None, code: str, detail: str) -> None:
        """Note a fault."""
        self.faults.append(VerifyFault(position, code, detail))

    def summary(self) -> str:
        """One sentence."""
        state = f"{len(self.faults)} fault(s)" if self.faults else "no fault"
        lost = "".join(
            f"\nEpoch {epoch.number} begins at position {epoch.start}: what followed before, to"
            f" {epoch.lost_to}, was lost."
            for epoch in self.epochs[1:]
        )
        return (
            f"{self.events} events, {self.contents} texts, {self.checkpoints} checkpoints"
            f" (sealed to {self.sealed}): {state}.{lost}"
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "events": self.events,
            "contents": self.contents,
            "checkpoints": self.checkpoints,
            "sealed": self.sealed,
            "epochs": [vars(epoch) for epoch in self.epochs],
            "faults": [vars(fault) for fault in self.faults],
        }


def verify_ledger(
    store: LedgerStore,
    directory: DataDirectory,
    trust_file: Path | None = None,
    kept_checkpoint: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> Report:
    """Verify a store's ledger with a data directory's trust; NoLedgerError where there is none."""
    with suppress(ClosedError):  # what was moved away can still be verified
        if not store.exists():
            raise NoLedgerError(f"There is no ledger in {store.place}: run 'scrinia init' first.")
    trust = Trust.read(trust_file or directory.trust)
    notes = [directory.checkpoint] + ([kept_checkpoint] if kept_checkpoint else [])
    with store.reading() as ledger:
        return Verification(ledger, trust, notes, progress).run()


class Verification:
    """One pass over a ledger."""

    def __init__(
        self, ledger: RawLedger, trust: Trust, notes: list[Path], progress: Progress
    ) -> None:
        self._ledger = ledger
        self._trust = trust
        self._notes = {path: _read(path) for path in notes}
        self._progress = progress
        self._mapper = SigningMapper(trust.ledger_id, None)
        self._keys = TrustedKeys()
        self._authority = Authority()
        self._tree = CompactRange()
        self._roots: dict[int, bytes] = {}
        self._lost_roots: dict[tuple[int, int], bytes] = {}
        self._streams: dict[str, tuple[int, str]] = {}
        self._event_ids: set[str] = set()
        self._commitments: set[str] = set()
        self._running_time = ""
        self._head = 0
        self._frontiers: dict[int, bytes] = {}
        self._stored_checkpoints: list[tuple[int, bytes, bytes]] = []
        self.report = Report()

    def run(self) -> Report:
        """Check everything."""
        total = self._ledger.count()
        self._stored_checkpoints = self._ledger.checkpoints()
        sealed_sizes = {size for size, _, _ in self._stored_checkpoints}
        self._check_identity()
        for rows in self._ledger.rows():
            texts = self._texts(rows)
            for row in rows:
                self._check_row(row, texts)
                if self._tree.size in sealed_sizes:
                    self._roots[self._tree.size] = self._tree.root()
                    self._frontiers[self._tree.size] = self._tree.to_bytes()
            self._progress(self.report.events, total)
        if self._authority.unfinished is not None:
            detail = f"ends with a move of {self._authority.unfinished}, which was not applied"
            self.report.add(self._head, "E_AUTHZ", detail)
        if self._authority.agreed is not None:
            detail = "ends with an access request that was applied, and with nothing done by it"
            self.report.add(self._head, "E_AUTHZ", detail)
        self._check_orphans()
        self._check_checkpoints()
        self.report.faults.sort(key=_by_position)
        return self.report

    def _check_identity(self) -> None:
        stated = self._ledger.identities()
        if stated != [(self._trust.ledger_id, FORMAT)]:
            detail = f"the database states {stated!r:.120}, not {self._trust.ledger_id}"
            self.report.add(None, "E_LEDGER", detail)

    # One event

    def _check_row(self, row: Row, texts: dict[str, list[tuple[bytes, bytes]]]) -> None:
        self.report.events += 1
        self._check_position(row)
        key_id = _key_id(row)
        leaf = payload.leaf_hash(row.payload, key_id, row.signature)
        if leaf != row.leaf_hash:
            self._fault(row, "E_LEAF", "the stored leaf hash differs")
        self._tree.append(leaf)
        fields = self._parse(row)
        if fields is None:
            self._check_signature(row, key_id)
            return
        self._check_columns(row, fields)
        self._check_stream(row, fields)
        self._check_contents(row, fields["data"], texts)
        recorded = self._recorded(row, fields, leaf)
        if recorded is not None:
            self._begin(row, recorded)
        self._check_signature(row, key_id)
        if recorded is not None:
            self._replay(row, recorded)

    def _fault(self, row: Row, code: str, detail: str) -> None:
        position = row.position if isinstance(row.position, int) else None
        self.report.add(position, code, detail)

    def _check_position(self, row: Row) -> None:
        if not isinstance(row.position, int):
            self._fault(row, "E_GAP", f"{row.position!r} is no position")
        elif row.position == self._head:
            self._fault(row, "E_DUP", f"position {row.position} occurs twice")
        else:
            self._check_gap(self._head + 1, row.position - 1)
            self._head = row.position

    def _check_gap(self, first: int, last: int) -> None:
        if first == last:
            self.report.add(first, "E_GAP", "no event at this position")
        elif first < last:
            self.report.add(first, "E_GAP", f"no events at positions {first} to {last}")

    def _parse(self, row: Row) -> dict[str, Any] | None:
        try:
            fields = orjson.loads(row.payload)
            if rfc8785.dumps(fields) != row.payload:
                raise ValueError("not canonical")
            shape = {name: type(fields[name]) for name in payload.FIELDS}
            if fields.keys() != set(payload.FIELDS) or shape != _SHAPE:
                raise ValueError("not the fields of an event")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._fault(row, "E_CANON", f"payload: {error}")
            return None
        parsed: dict[str, Any] = fields
        return parsed

    def _check_columns(self, row: Row, fields: dict[str, Any]) -> None:
        repeated = {
            "stream": row.stream,
            "stream_position": row.stream_position,
            "type": row.type,
            "id": row.event_id,
            "time": row.time,
        }
        for name, value in repeated.items():
            if fields[name] != value:
                self._fault(row, "E_COLUMN", f"column for {name} holds {value!r:.80}")
        self._running_time = max(self._running_time, fields["time"])
        if row.running_time != self._running_time:
            self._fault(row, "E_COLUMN", "running_time is not the latest time so far")
        if fields["ledger"] != self._trust.ledger_id:
            self._fault(row, "E_LEDGER", f"names ledger {fields['ledger']!r:.80}")
        if fields["id"] in self._event_ids:
            self._fault(row, "E_DUP", f"event id {fields['id']} occurs twice")
        self._event_ids.add(fields["id"])

    def _check_stream(self, row: Row, fields: dict[str, Any]) -> None:
        stream, position = fields["stream"], fields["stream_position"]
        last, prev = self._streams.get(stream, (0, payload.NO_PREVIOUS))
        if position != last + 1:
            self._fault(row, "E_STREAM_GAP", f"{stream} goes from {last} to {position}")
        if fields["prev"] != prev:
            self._fault(row, "E_PREV", f"does not continue {stream}")
        self._streams[stream] = (position, payload.previous_hash(row.payload))

    def _check_signature(self, row: Row, key_id: str) -> None:
        position = row.position if isinstance(row.position, int) else 0
        key = self._keys.at(key_id, EVENT_PURPOSE, position)
        if key is None:
            self._fault(row, "E_KEY", f"key {key_id!r:.80} does not count here")
            return
        signed = payload.pre_authentication_encoding(row.payload)
        if not is_signed(key.public_key, signed, row.signature):
            self._fault(row, "E_SIG", "the signature does not verify")

    def _recorded(self, row: Row, fields: dict[str, Any], leaf: bytes) -> RecordedEvent | None:
        try:
            event = self._mapper.domain_event(fields)
        except (LedgerError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._fault(row, "E_TYPE", f"{error}")
            return None
        return RecordedEvent(row.position, fields, event, leaf)

    def _begin(self, row: Row, recorded: RecordedEvent) -> None:
        """The first event brings the key it is signed with; the trust file says which that is."""
        if not isinstance(recorded.event, KeyRing.Created):
            return
        if row.position != 1 or recorded.event.key_id != self._trust.event_key_id:
            self._fault(row, "E_TRUST", "begins a ledger by a key that is not the trusted one")
        else:
            self._keys.apply(recorded)

    def _replay(self, row: Row, recorded: RecordedEvent) -> None:
        try:
            refusal = self._authority.fault(recorded)
            if refusal is not None:
                self._fault(row, "E_AUTHZ", refusal)
            if isinstance(recorded.event, KeyRing.EpochBegun):
                self._check_epoch(row, recorded.event)
            if not isinstance(recorded.event, KeyRing.Created):
                self._keys.apply(recorded)
            self._authority.apply(recorded)
        except Exception as error:
            self._fault(row, "E_TYPE", f"cannot be applied: {error!r:.120}")

    def _check_epoch(self, row: Row, event: KeyRing.EpochBegun) -> None:
        """What an epoch says was lost is what its checkpoint shows, and nothing else is missing."""
        last = self._keys.epochs[-1]
        if (event.epoch, event.recovered + 1) != (last.number + 1, row.position):
            self._fault(row, "E_EPOCH", f"epoch {event.epoch} does not begin after {last.number}")
        try:
            keys = self._keys.verifier_keys(self._trust.ledger_id)
            lost = lost_checkpoint(event, self._trust.ledger_id, keys)
            self._lost_roots[last.number, lost.size] = lost.root
        except NoteError as error:
            self._fault(row, "E_EPOCH", f"does not show what was lost: {error.detail}")

    # Texts

    def _texts(self, rows: list[Row]) -> dict[str, list[tuple[bytes, bytes]]]:
        wanted = {
            ref["commitment"] for row in rows for ref in refs_in(_loads(row.payload).get("data"))
        }
        return self._ledger.texts(wanted)

    def _check_contents(
        self, row: Row, data: Any, texts: dict[str, list[tuple[bytes, bytes]]]
    ) -> None:
        for ref in refs_in(data):
            commitment = ref["commitment"]
            self._commitments.add(commitment)
            held = texts.get(commitment, [])
            if not held:
                self._fault(row, "E_CONTENT_MISSING", f"text {commitment} is not there")
            elif len(held) > 1:
                self._fault(row, "E_DUP", f"text {commitment} is there {len(held)} times")
            if any(commit(*one) != commitment or len(one[1]) != ref["size"] for one in held):
                self._fault(row, "E_COMMIT", f"text {commitment} was changed")

    def _check_orphans(self) -> None:
        for commitment in self._ledger.commitments():
            self.report.contents += 1
            if commitment not in self._commitments:
                self.report.add(None, "E_CONTENT_ORPHAN", f"text {commitment!r:.80}")

    # Checkpoints

    def _check_checkpoints(self) -> None:
        newest = 0
        good = 0
        for size, signed, frontier in self._stored_checkpoints:
            self.report.checkpoints += 1
            if size == newest:
                self.report.add(size, "E_DUP", f"checkpoint {size} is there twice")
            elif frontier != self._frontiers.get(size, frontier):
                self.report.add(size, "E_CHECKPOINT", f"checkpoint {size} has another tree by it")
            newest = max(newest, size)
            if self._check_note(signed, f"checkpoint {size}", good, size):
                good = size
        self.report.sealed = newest
        self.report.epochs = list(self._keys.epochs)
        if newest == 0:
            self.report.add(None, "E_CHECKPOINT", "the database holds no checkpoint")
        for path, kept in self._notes.items():
            if kept is None:
                self.report.add(None, "E_CHECKPOINT", f"{path.name} cannot be read")
            else:
                self._check_note(kept, path.name, good, None)
                self._check_kept(path, kept, newest)
        self._check_age(next(iter(self._notes)), newest)

    def _check_kept(self, path: Path, kept: bytes, newest: int) -> None:
        """A checkpoint is stored before it is exported, so the database has it or lost it."""
        size = claimed_size(kept)
        if size > newest and not self._shows_loss(kept):
            detail = f"the database lacks the checkpoint of {size} events that {path.name} shows"
            self.report.add(size, "E_CHECKPOINT", detail)

    def _check_age(self, exported: Path, newest: int) -> None:
        """Read afresh: a running server exports a moment after it has stored."""
        size = claimed_size(_read(exported) or b"")
        if 0 <= size < newest:
            detail = f"{exported.name} is older than the newest, {newest}"
            self.report.add(size, "E_CHECKPOINT", detail)

    def _check_note(self, signed: bytes, name: str, good: int, stored_size: int | None) -> bool:
        try:
            checkpoint = self._open(signed)
        except NoteError as error:
            self.report.add(stored_size, "E_NOTE", f"{name}: {error.detail}")
            return False
        number = self._keys.epoch_named(self._trust.ledger_id, checkpoint.origin)
        if number is None or stored_size not in (None, checkpoint.size):
            self.report.add(stored_size, "E_CHECKPOINT", f"{name} is not of this ledger and size")
            return False
        if stored_size is None and is_recorded_loss(self._keys.epochs, number, checkpoint.size):
            return self._check_lost(checkpoint, number, name)
        if epoch_of(self._keys.epochs, checkpoint.size).number != number:
            detail = f"{name} shows {checkpoint.size} events of epoch {number}"
            self.report.add(stored_size, "E_EPOCH", detail)
            return False
        return self._check_root(checkpoint, name, good)

    def _open(self, signed: bytes) -> Checkpoint:
        keys = self._keys.verifier_keys(self._trust.ledger_id, claimed_size(signed))
        trusted = VerifierKey.parse(self._trust.checkpoint_key)
        if trusted.public_key not in {key.public_key for key in self._keys.all()}:
            keys.append(trusted)  # else the ledger says for which sizes it counts
        return Checkpoint.parse(open_note(signed, keys))

    def _shows_loss(self, signed: bytes) -> bool:
        """Whether a checkpoint shows events of which an epoch says that they were lost."""
        try:
            checkpoint = self._open(signed)
        except NoteError:
            return False
        number = self._keys.epoch_named(self._trust.ledger_id, checkpoint.origin)
        return number is not None and is_recorded_loss(self._keys.epochs, number, checkpoint.size)

    def _check_lost(self, checkpoint: Checkpoint, number: int, name: str) -> bool:
        """What is gone cannot be compared, but for the tree that the epoch's event carries."""
        recorded = self._lost_roots.get((number, checkpoint.size), checkpoint.root)
        if recorded != checkpoint.root:
            self.report.add(checkpoint.size, "E_ROOT", f"{name} sealed another tree than was lost")
        return recorded == checkpoint.root

    def _check_root(self, checkpoint: Checkpoint, name: str, good: int) -> bool:
        size = checkpoint.size
        if size > self._tree.size:
            self.report.add(size, "E_BEHIND", f"{name} seals {size}, there are {self._tree.size}")
            return False
        root = self._roots.get(size)
        if root is None:
            root = self._root_at(size)
        if root != checkpoint.root:
            detail = f"events {good + 1} to {size} are not those {name} sealed"
            self.report.add(good + 1, "E_ROOT", detail)
            return False
        return True

    def _root_at(self, size: int) -> bytes:
        tree = CompactRange()
        for rows in self._ledger.rows():
            for row in rows[: size - tree.size]:
                key_id = _key_id(row)
                tree.append(payload.leaf_hash(row.payload, key_id, row.signature))
            if tree.size == size:
                break
        return tree.root()


_SHAPE: dict[str, type] = {
    "actor": dict,
    "authz": dict,
    "data": dict,
    "id": str,
    "ledger": str,
    "prev": str,
    "request": dict,
    "spec": str,
    "stream": str,
    "stream_position": int,
    "time": str,
    "type": str,
}


def _by_position(fault: VerifyFault) -> tuple[bool, bool, int]:
    """By position; what seals many events comes after what names one."""
    return fault.code == "E_ROOT", fault.position is None, fault.position or 0


def _key_id(row: Row) -> str:
    stored = row.key_id
    raw = stored if isinstance(stored, bytes) else str(stored).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "replace")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _loads(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
