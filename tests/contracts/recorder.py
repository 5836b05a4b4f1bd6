"""The contract every ledger store keeps. A store's test class inherits it and makes recorders."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from eventsourcing.persistence import IntegrityError

from domain.commitment import Content, commit
from ledger import payload
from ledger.errors import AlreadySealedError
from ledger.ids import now
from ledger.mapper import SignedEvent
from ledger.recorder import LedgerRecorder, Remembered, StoredCheckpoint, Unit


def event(stream: str, position: int, time: str | None = None) -> SignedEvent:
    state = b'{"stream":"%s"}' % stream.encode()
    return SignedEvent(
        stream,
        position,
        "io.scrinia.test.done.v1",
        state,
        str(uuid4()),
        time or payload.format_time(now()),
        "key",
        b"s" * 64,
        b"l" * 32,
    )


def unit(*events: SignedEvent, seen: dict[str, int] | None = None, **rest: object) -> Unit:
    conditions = {e.originator_id: e.originator_version - 1 for e in reversed(events)}
    return Unit(events, conditions | (seen or {}), **rest)


class LedgerRecorderContract:
    """Inherit and define `recorder`, a fresh store, and `another`, a second handle on it."""

    @contextmanager
    def another(self, recorder: LedgerRecorder) -> Iterator[LedgerRecorder]:
        raise NotImplementedError

    def test_positions_are_gapless_whatever_is_refused(self, recorder: LedgerRecorder) -> None:
        assert recorder.append_units([unit(event("a/1", 1), event("a/1", 2))])[0].accepted
        verdicts = recorder.append_units(
            [unit(event("b/1", 1)), unit(event("a/1", 2)), unit(event("c/1", 1))]
        )
        assert [v.accepted for v in verdicts] == [True, False, True]
        assert [v.positions for v in verdicts] == [(3,), (), (4,)]
        assert [n.id for n in recorder.select_after(0, 10)] == [1, 2, 3, 4]
        assert recorder.head() == 4

    def test_a_moved_stream_that_was_only_read_refuses_the_unit(
        self, recorder: LedgerRecorder
    ) -> None:
        recorder.append_units([unit(event("grant/1", 1))])
        stale = unit(event("a/1", 1), seen={"grant/1": 0})
        fresh = unit(event("a/1", 1), seen={"grant/1": 1, "absent/1": 0})
        assert recorder.append_units([stale])[0].moved == ("grant/1",)
        assert recorder.head() == 1
        assert recorder.append_units([fresh])[0].accepted

    def test_a_refused_unit_leaves_no_text_and_no_answer(self, recorder: LedgerRecorder) -> None:
        recorder.append_units([unit(event("a/1", 1))])
        text = Content(commit(b"salt", b"body"), b"salt", b"body")
        kept = Remembered("p", "k", "hash", b"{}", 0, None)
        refused = unit(event("a/1", 1), contents=(text,), remembered=(kept,))
        assert not recorder.append_units([refused])[0].accepted
        assert recorder.contents([text.commitment]) == {}
        assert recorder.recall([("p", "k")]) == {}

    def test_texts_and_answers_come_with_their_unit(self, recorder: LedgerRecorder) -> None:
        text = Content(commit(b"salt", b"body"), b"salt", b"body")
        made = Remembered("p", "k", "hash", b"{}", 0, None)
        none = Remembered("p", "k2", "hash", b"{}", None, 7)
        recorder.append_units([unit(event("a/1", 1), contents=(text,), remembered=(made, none))])
        assert recorder.contents([text.commitment, "missing"]) == {text.commitment: text}
        recalled = recorder.recall([("p", "k"), ("p", "k2"), ("q", "k")])
        assert {key: value.position for key, value in recalled.items()} == {
            ("p", "k"): 1,
            ("p", "k2"): 7,
        }

    def test_a_batch_of_unknown_outcome_can_be_submitted_again(
        self, recorder: LedgerRecorder
    ) -> None:
        batch = [unit(event("a/1", 1), event("b/1", 1)), unit(event("c/1", 1))]
        first = recorder.append_units(batch)
        again = recorder.append_units(batch, again=True)
        assert [v.positions for v in again] == [v.positions for v in first]
        assert recorder.head() == 3

    def test_so_can_one_that_holds_an_answer_without_events(self, recorder: LedgerRecorder) -> None:
        kept = Remembered("p", "k", "hash", b"{}", None, 7)
        batch = [Unit((), {}, remembered=(kept,)), unit(event("a/1", 1))]
        assert all(v.accepted for v in recorder.append_units(batch))
        again = recorder.append_units(batch, again=True)
        assert [(v.accepted, v.positions) for v in again] == [(True, ()), (True, (1,))]
        assert recorder.recall([("p", "k")])["p", "k"].position == 7

    def test_a_key_that_another_writer_answered_refuses_its_unit_alone(
        self, recorder: LedgerRecorder
    ) -> None:
        kept = Remembered("p", "k", "hash", b"{}", 0, None)
        recorder.append_units([unit(event("a/1", 1), remembered=(kept,))])
        batch = [unit(event("b/1", 1), remembered=(kept,)), unit(event("c/1", 1))]
        assert [v.accepted for v in recorder.append_units(batch)] == [False, True]

    def test_an_event_far_off_the_clock_is_refused(self, recorder: LedgerRecorder) -> None:
        assert not recorder.append_units([unit(event("a/1", 1, "2020-01-01T00:00:00.000000Z"))])[
            0
        ].accepted
        assert recorder.head() == 0

    def test_position_at_goes_by_the_running_maximum_of_time(
        self, recorder: LedgerRecorder
    ) -> None:
        base = now()
        times = [payload.format_time(base.replace(microsecond=us)) for us in (3000, 1000, 5000)]
        recorder.append_units([unit(event(f"a/{i}", 1, time)) for i, time in enumerate(times)])
        assert recorder.position_at(times[0]) == 2
        assert recorder.position_at(times[1]) == 0
        assert recorder.position_at(times[2]) == 3

    def test_streams_can_be_read_as_of_a_position(self, recorder: LedgerRecorder) -> None:
        for number in (1, 2, 3):
            recorder.append_units([unit(event("a/1", number)), unit(event("b/1", number))])
        assert [e.originator_version for e in recorder.select_stream("a/1")] == [1, 2, 3]
        assert [e.id for e in recorder.select_stream("a/1", until_position=4)] == [1, 3]
        assert [e.id for e in recorder.select_stream("a/1", after=1)] == [3, 5]

    def test_a_kind_of_streams_can_be_read_in_order(self, recorder: LedgerRecorder) -> None:
        for name in ("b/2", "a/1", "b/1", "bb/1"):
            recorder.append_units([unit(event(name, 1))])
        assert [e.id for e in recorder.select_kind("b", 4)] == [1, 3]
        assert [e.id for e in recorder.select_kind("b", 2)] == [1]

    def test_the_library_append_is_all_or_nothing(self, recorder: LedgerRecorder) -> None:
        assert recorder.insert_events([event("a/1", 1), event("a/1", 2)]) == [1, 2]
        with pytest.raises(IntegrityError):
            recorder.insert_events([event("b/1", 1), event("a/1", 2)])
        assert recorder.head() == 2

    def test_checkpoints_only_grow(self, recorder: LedgerRecorder) -> None:
        assert recorder.last_checkpoint() is None
        recorder.store_checkpoint(StoredCheckpoint(5, b"note", b"f"))
        recorder.store_checkpoint(StoredCheckpoint(9, b"note9", b"f"))
        for size in (4, 9):
            with pytest.raises(AlreadySealedError):
                recorder.store_checkpoint(StoredCheckpoint(size, b"other", b"f"))
        assert recorder.last_checkpoint().note == b"note9"
        assert recorder.checkpoint_at(5).note == b"note"
        assert recorder.checkpoint_at(6) is None

    def test_a_tailing_reader_misses_nothing_under_mixed_batch_sizes(
        self, recorder: LedgerRecorder
    ) -> None:
        done = threading.Event()
        seen: list[int] = []

        def tail() -> None:
            while True:
                ended = done.is_set()
                found = recorder.select_after(seen[-1] if seen else 0, 50)
                seen.extend(n.id for n in found)
                if ended and not found:
                    return

        def write(writer: int, size: int) -> None:
            with self.another(recorder) as own:
                for number in range(40):
                    stream = f"w/{writer}-{number}"
                    events = [event(stream, i + 1) for i in range(size)]
                    assert own.append_units([unit(*events)])[0].accepted

        reader = threading.Thread(target=tail)
        writers = [threading.Thread(target=write, args=(i, s)) for i, s in enumerate((1, 7, 30))]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        reader.join()
        assert seen == list(range(1, 40 * 38 + 1))

    def test_two_writers_never_both_take_a_stream_position(self, recorder: LedgerRecorder) -> None:
        wins: list[int] = []

        def write() -> None:
            with self.another(recorder) as own:
                for number in range(1, 60):
                    if own.append_units([unit(event("hot/1", number))])[0].accepted:
                        wins.append(number)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(wins) == list(range(1, len(wins) + 1))
        assert recorder.head() == len(wins)
