"""Group commit: whatever commands arrived during the previous commit become one transaction.

One committer per process, one writer thread. There is no timer: an idle system has the latency of
one commit. The registry is handed in as `decide`; the committer forms batches, has them decided and
signed (`ledger/batch.py`), appends them, and answers.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from eventsourcing.persistence import PersistenceError

from domain.decision import Ids
from domain.errors import DomainError
from ledger.batch import Batch, Decide, Idempotency, Outcome, Submission, recall_outcome
from ledger.errors import (
    IdempotencyMismatchError,
    LedgerBusyError,
    LedgerClosedError,
    LedgerError,
    LedgerUnavailableError,
    StoreUnreachableError,
)
from ledger.ids import now
from ledger.mapper import RecordedEvent, SigningMapper
from ledger.recorder import LedgerRecorder, Recalled, Unit, Verdict
from ledger.repository import Repository
from ledger.signing import Signer

BATCH_COMMANDS_MAX = 256
BATCH_BYTES_MAX = 4 * 1024 * 1024
QUEUE_COMMANDS_MAX = 4096
DECISIONS_MAX = 6
ALONE_AFTER_DECISIONS = 2
APPEND_TRIES_MAX = 5
APPEND_RETRY_SECONDS = 0.2

log = logging.getLogger("scrinia.committer")


@dataclass
class Waiting:
    """A submission with the future its sender awaits."""

    submission: Submission
    future: asyncio.Future[Outcome]
    decisions: int = 0

    @property
    def alone(self) -> bool:
        """Whether it has lost so often that nobody else may write while it is decided."""
        return self.decisions >= ALONE_AFTER_DECISIONS


@dataclass(frozen=True)
class Settled:
    """What one batch came to: outcomes or refusals by waiting command, those to decide anew."""

    outcomes: list[tuple[Waiting, Outcome | Exception]]
    again: list[Waiting]
    own_leaves: dict[int, bytes]


class Committer:
    """The only way in. `submit` from the event loop; everything else happens in its task."""

    def __init__(
        self,
        recorder: LedgerRecorder,
        repository: Repository,
        mapper: SigningMapper,
        signer: Signer,
        ledger_id: str,
        decide: Decide,
        ids: Ids,
        on_commit: Callable[[dict[int, bytes]], None],
    ) -> None:
        self._recorder = recorder
        self._repository = repository
        self._mapper = mapper
        self._signer = signer
        self._ledger_id = ledger_id
        self._decide = decide
        self._ids = ids
        self._on_commit = on_commit
        self._queue: deque[Waiting] = deque()
        self._moved: deque[tuple[str, int]] = deque()
        self._wake = asyncio.Event()
        self._in_flight: dict[tuple[str, str], tuple[str, asyncio.Future[Outcome]]] = {}
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrinia-writer")
        self.batches = 0
        self.commands = 0

    async def submit(self, submission: Submission) -> Outcome:
        """Have a command decided and committed; its outcome once it is durable.

        Raises the DomainError that refuses it, IdempotencyMismatchError for a key used otherwise,
        LedgerBusyError or LedgerUnavailableError where it should be sent again later.
        """
        if self._closing:
            raise LedgerClosedError("The server is shutting down: send the command again soon.")
        if len(self._queue) >= QUEUE_COMMANDS_MAX:
            raise LedgerBusyError(f"{QUEUE_COMMANDS_MAX} commands are waiting: try again later.")
        idempotency = submission.idempotency
        if idempotency is None:
            return await self._enqueue(submission)
        return await self._submit_once(submission, idempotency)

    async def _submit_once(self, submission: Submission, idempotency: Idempotency) -> Outcome:
        slot = (submission.caller.principal_id, idempotency.key)
        joined = self._in_flight.get(slot)
        if joined is not None:
            request_hash, first = joined
            if request_hash != idempotency.request_hash:
                raise _mismatch(idempotency.key)
            return (await asyncio.shield(first)).replay()
        future = self._enqueue(submission)
        self._in_flight[slot] = (idempotency.request_hash, future)
        future.add_done_callback(lambda _: self._in_flight.pop(slot, None))
        return await asyncio.shield(future)

    def follow(self, batch: Sequence[RecordedEvent]) -> None:
        """Hear of what was committed: what this process holds of a stream may be out of date."""
        self._moved.extend((r.stream, r.payload["stream_position"]) for r in batch)

    def _enqueue(self, submission: Submission) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(submission, future))
        self._wake.set()
        return future

    async def run(self) -> None:
        """Commit batches until `close`, then what is still queued."""
        loop = asyncio.get_running_loop()
        while self._queue or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = self._drain()
                settled = await loop.run_in_executor(self._thread, self._work, batch)
                self._finish(settled)
        self._thread.shutdown()

    def close(self) -> None:
        """Take no more commands; `run` returns when those queued are answered."""
        self._closing = True
        self._wake.set()

    def _drain(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_COMMANDS_MAX:
            size += self._queue[0].submission.bytes
            if batch and (size > BATCH_BYTES_MAX or self._queue[0].alone != batch[0].alone):
                break
            batch.append(self._queue.popleft())
        return batch

    def _finish(self, settled: Settled) -> None:
        self.batches += 1
        self.commands += len(settled.outcomes)
        if settled.own_leaves:
            self._on_commit(settled.own_leaves)
        for waiting, outcome in settled.outcomes:
            if waiting.future.done():
                continue
            if isinstance(outcome, Outcome):
                waiting.future.set_result(outcome)
            else:
                waiting.future.set_exception(outcome)
                waiting.future.exception()
        self._queue.extendleft(reversed(settled.again))

    # In the writer thread

    def _work(self, waiting: Sequence[Waiting]) -> Settled:
        while self._moved:
            self._repository.outdated(*self._moved.popleft())
        try:
            if not waiting[0].alone:
                return self._commit(waiting)
            with self._recorder.alone():
                return self._commit(waiting)
        except Exception as error:
            self._repository.forget()
            if not isinstance(error, LedgerError):
                log.exception("batch failed")
            return Settled([(w, error) for w in waiting], [], {})

    def _commit(self, waiting: Sequence[Waiting]) -> Settled:
        outcomes: list[tuple[Waiting, Outcome | Exception]] = []
        recalled = self._recall(waiting)
        batch = Batch(self._repository, self._mapper, self._signer, self._ids, self._ledger_id)
        by_submission: dict[int, Waiting] = {}
        for one in waiting:
            answer = _replay(one, recalled) or self._try(batch, one)
            if answer is None:
                by_submission[id(one.submission)] = one
            else:
                outcomes.append((one, answer))
        # Also what makes no event was decided on something: it is checked under the same lock.
        units = [batch.unit(group) for group in batch.groups]
        grounds = [batch.standing(one.submission) for one, _ in outcomes]
        found = self._append([*units, *grounds])
        again: list[Waiting] = []
        leaves: dict[int, bytes] = {}
        undone = self._overtaken(grounds, found[len(units) :])
        for group, unit, verdict in zip(batch.groups, units, found, strict=False):
            members = [by_submission[id(member.submission)] for member in group.members]
            if verdict.accepted:
                outcomes += zip(members, batch.settle(group, unit, verdict), strict=True)
                leaves.update(
                    zip(verdict.positions, (e.leaf_hash for e in unit.events), strict=True)
                )
            else:
                self._repository.forget(tuple(unit.conditions))
                self._requeue(members, outcomes, again)
                undone |= group.writes
        outcomes = self._stand(outcomes, batch, undone, again)
        return Settled(outcomes, again, leaves)

    def _overtaken(self, grounds: Sequence[Unit], verdicts: Sequence[Verdict]) -> set[str]:
        """The streams that have moved under an answer without events."""
        moved: set[str] = set()
        for unit, verdict in zip(grounds, verdicts, strict=True):
            if not verdict.accepted:
                self._repository.forget(tuple(unit.conditions))
                moved.update(verdict.moved)
        return moved

    def _stand(
        self,
        outcomes: list[tuple[Waiting, Outcome | Exception]],
        batch: Batch,
        undone: set[str],
        again: list[Waiting],
    ) -> list[tuple[Waiting, Outcome | Exception]]:
        """The outcomes that stand; one that rests on what was undone is decided anew."""
        standing: list[tuple[Waiting, Outcome | Exception]] = []
        for one, outcome in outcomes:
            if undone.isdisjoint(batch.grounds.get(id(one.submission), ())):
                standing.append((one, outcome))
            else:
                self._requeue([one], standing, again)
        return standing

    def _try(self, batch: Batch, one: Waiting) -> Outcome | Exception | None:
        """None where it joined the batch; else what it is answered without one."""
        try:
            if one.submission.dry_run:
                return batch.try_out(one.submission, self._decide, now())
            batch.decide(one.submission, self._decide, now())
        except StoreUnreachableError:
            raise  # not this command's matter: the next one would only wait as long
        except (DomainError, LedgerError) as refusal:
            return refusal
        except Exception as error:
            log.exception("deciding %s failed", type(one.submission.command).__name__)
            return error
        return None

    def _recall(self, waiting: Sequence[Waiting]) -> dict[tuple[str, str], Recalled]:
        keys = [
            (w.submission.caller.principal_id, w.submission.idempotency.key)
            for w in waiting
            if w.submission.idempotency is not None
        ]
        return self._recorder.recall(keys) if keys else {}

    def _append(self, units: Sequence[Unit]) -> list[Verdict]:
        """Append; a batch of unknown outcome is submitted again byte for byte."""
        if not any(unit.conditions for unit in units):
            return [Verdict(True) for _ in units]
        for attempt in range(APPEND_TRIES_MAX):
            try:
                return self._recorder.append_units(units, again=attempt > 0)
            except PersistenceError as error:
                log.warning("append failed, try %d: %s", attempt + 1, error)
                time.sleep(APPEND_RETRY_SECONDS * attempt)
        raise LedgerUnavailableError(
            "The ledger cannot be written now and it is not known whether this command was:"
            " send it again with the same Idempotency-Key."
        )

    def _requeue(
        self,
        members: Sequence[Waiting],
        outcomes: list[tuple[Waiting, Outcome | Exception]],
        again: list[Waiting],
    ) -> None:
        for one in members:
            one.decisions += 1
            if one.decisions < DECISIONS_MAX:
                again.append(one)
            else:
                busy = LedgerBusyError("Other writers were faster too often: send it again.")
                outcomes.append((one, busy))


def _replay(one: Waiting, recalled: dict[tuple[str, str], Recalled]) -> Outcome | Exception | None:
    idempotency = one.submission.idempotency
    if idempotency is None:
        return None
    first = recalled.get((one.submission.caller.principal_id, idempotency.key))
    if first is None:
        return None
    if first.request_hash != idempotency.request_hash:
        return _mismatch(idempotency.key)
    return recall_outcome(first.answer, first.position)


def _mismatch(key: str) -> IdempotencyMismatchError:
    return IdempotencyMismatchError(
        f"Idempotency-Key {key!r} was used with another request: use a new key for a new command."
    )
