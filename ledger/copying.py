"""A ledger from one store into another, byte for byte: `scrinia copy`, `backup` and `restore`.

Events, texts, checkpoints, remembered answers and credentials go over as they are, positions and
signatures included. What was interrupted goes on where it stopped.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import orjson

from domain.commitment import Content, refs_in
from ledger.errors import ForkedError, TamperedError
from ledger.mapper import SignedEvent
from ledger.recorder import LedgerRecorder, StoredCheckpoint
from ledger.store import AnswerRow, LedgerStore, RawLedger, Row

ANSWERS_AT_ONCE = 500
Progress = Callable[[int, int], None]


def copy_ledger(source: RawLedger, target: LedgerStore, progress: Progress) -> int:
    """Copy one moment of a ledger; how many events the target has then.

    The target holds nothing, or the beginning of this same ledger. Raises ForkedError where it
    holds anything else, TamperedError where the source does not state what it is.
    """
    identities = source.identities()
    if len(identities) != 1:
        raise TamperedError("The source does not state its id: run 'scrinia verify' on it.")
    with target.fill(str(identities[0][0])) as recorder:
        copied = _copy_events(source, recorder, progress)
        for size, note, frontier in source.checkpoints():
            kept = recorder.checkpoint_at(size)
            if kept is None:
                recorder.store_checkpoint(StoredCheckpoint(size, note, frontier))
            elif kept.note != note:
                raise ForkedError(f"The target has another checkpoint of {size} events.")
        for answers in _batches(source.answers()):
            recorder.take_answers(answers)
        recorder.take_credentials(list(source.credentials()))
    return copied


def _copy_events(source: RawLedger, recorder: LedgerRecorder, progress: Progress) -> int:
    total, held = source.count(), recorder.head()
    if held > total:
        raise ForkedError(f"The target is ahead: it has {held} events, the source {total}.")
    done = 0
    for rows in source.rows():
        _check_same(recorder, [row for row in rows if row.position <= held])
        fresh = [row for row in rows if row.position > held]
        if fresh:
            texts = source.texts({c for row in fresh for c in _commitments(row)})
            contents = [Content(c, *one) for c, found in texts.items() for one in found]
            recorder.take_rows([_signed(row) for row in fresh], contents)
        done += len(rows)
        progress(done, total)
    return recorder.head()


def _check_same(recorder: LedgerRecorder, rows: list[Row]) -> None:
    """ForkedError unless the target's events are these very ones."""
    if not rows:
        return
    held = recorder.select_after(rows[0].position - 1, len(rows))
    if [event.leaf_hash for event in held] != [row.leaf_hash for row in rows]:
        raise ForkedError(
            f"The target has other events from position {rows[0].position} on: it is no copy."
        )


def _signed(row: Row) -> SignedEvent:
    return SignedEvent(
        originator_id=row.stream,
        originator_version=row.stream_position,
        topic=row.type,
        state=row.payload,
        event_id=row.event_id,
        time=row.time,
        key_id=row.key_id,
        signature=row.signature,
        leaf_hash=row.leaf_hash,
    )


def _commitments(row: Row) -> Iterator[str]:
    return (ref["commitment"] for ref in refs_in(orjson.loads(row.payload)["data"]))


def _batches(answers: Iterator[AnswerRow]) -> Iterator[list[AnswerRow]]:
    while some := list(islice(answers, ANSWERS_AT_ONCE)):
        yield some
