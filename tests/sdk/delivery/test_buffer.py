"""The buffer against a model of its rules that is too simple to be wrong."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from mlsdk.delivery import buffer as module
from mlsdk.delivery.buffer import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MIN_BATCH_BYTES,
    QUEUE_FULL,
    Buffer,
    Entry,
    body_of,
    halve,
)

MAX_EVENTS = 12
MAX_BYTES = 300


def entry(session_id: str = "s", size: int = 10, *, is_essential: bool = False) -> Entry:
    return Entry(b"x" * size, session_id, is_essential=is_essential)


def buffer(*, max_events: int = 10_000, max_bytes: int = 32 * 1024 * 1024) -> Buffer:
    return Buffer(max_events=max_events, max_bytes=max_bytes)


def adds_up(of: Buffer) -> bool:
    stats = of.stats()
    left = stats["accepted"] + stats["recovered"]
    right = stats["delivered"] + stats["queued"] + stats["spooled"] + stats["handed_over"]
    return left == right + sum(stats["dropped"].values())


# -- the model --------------------------------------------------------------------------------------------------------


@dataclass
class Held:
    entry: Entry
    session_id: str
    size: int
    is_essential: bool
    is_flying: bool = False


class AgainstTheModel(RuleBasedStateMachine):
    """One list of what is held, in the order of arrival, and one of the sessions that are ready."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = buffer(max_events=MAX_EVENTS, max_bytes=MAX_BYTES)
        self.buffer.batch_bytes = 100
        self.model: list[Held] = []
        self.ready: list[str] = []
        self.on_hold: set[str] = set()
        self.accepted = self.delivered = 0
        self.dropped: dict[str, int] = {}
        self.numbers: list[int] = []

    batches = Bundle("batches")

    def waiting(self, session_id: str) -> list[Held]:
        return [each for each in self.model if each.session_id == session_id and not each.is_flying]

    def is_flying(self, session_id: str) -> bool:
        return any(each.is_flying for each in self.model if each.session_id == session_id)

    def sort_out_ready(self) -> None:
        held = {each.session_id: None for each in self.model}
        may = {
            session_id
            for session_id in held
            if self.waiting(session_id) and not self.is_flying(session_id) and session_id not in self.on_hold
        }
        self.ready = [each for each in self.ready if each in may]

    def becomes_ready(self, session_id: str) -> None:
        if session_id not in self.ready:
            self.ready.append(session_id)
        self.sort_out_ready()

    def fits(self, size: int) -> bool:
        return len(self.model) < MAX_EVENTS and sum(each.size for each in self.model) + size <= MAX_BYTES

    @rule(
        session_id=st.sampled_from("abcd"),
        size=st.one_of(st.integers(1, 40), st.integers(90, 320)),
        is_essential=st.booleans(),
    )
    def offer(self, session_id: str, size: int, is_essential: bool) -> None:
        new = entry(session_id, size, is_essential=is_essential)
        self.accepted += 1
        before = list(self.model)
        evicted: list[Entry] = []
        while is_essential and not self.fits(size):
            victims = [each for each in self.model if not (each.is_essential or each.is_flying)]
            if not victims:
                break
            self.model.remove(victims[-1])
            evicted.append(victims[-1].entry)
        if self.fits(size):
            expected = evicted
            self.sort_out_ready()  # a session that has lost all that was waiting lines up anew
            self.model.append(Held(new, session_id, size, is_essential))
        else:  # then nothing was evicted in vain
            expected = [new]
            self.model = before
        assert list(self.buffer.offer(new)) == expected
        if expected:
            self.dropped[QUEUE_FULL] = self.dropped.get(QUEUE_FULL, 0) + len(expected)
        self.sort_out_ready()
        if expected != [new]:
            self.numbers.append(new.number)
            self.becomes_ready(session_id)

    @rule(reason=st.sampled_from(["before_send", "before_send_failed"]))
    def refuse(self, reason: str) -> None:
        self.buffer.refuse(reason)
        self.accepted += 1
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    @rule(target=batches)
    def cut(self) -> list[Entry]:
        expected: list[Held] = []
        body = 1  # the brackets, less the comma that the first event does not need
        for session_id in self.ready:
            fitting = []
            for each in self.waiting(session_id):
                is_alone = not (expected or fitting)
                if body + each.size + 1 > self.buffer.batch_bytes and not is_alone:
                    break
                body += each.size + 1
                fitting.append(each)
            if not fitting:
                break
            expected += fitting
        for each in expected:
            each.is_flying = True
        batch = self.buffer.cut()
        assert batch == [each.entry for each in expected]
        assert len(batch) <= 1 or len(body_of(batch)) <= self.buffer.batch_bytes
        self.sort_out_ready()
        return batch

    @rule(batch=consumes(batches), count=st.integers(1, 5), reason=st.sampled_from([None, None, "refused"]))
    def settle_all_by_parts(self, batch: list[Entry], count: int, reason: str | None) -> None:
        while batch:
            part, batch = batch[:count], batch[count:]
            self.settle(part, reason)

    @rule(target=batches, batch=consumes(batches), count=st.integers(0, 5))
    def settle_the_first(self, batch: list[Entry], count: int) -> list[Entry]:
        self.settle(batch[:count], None)
        return batch[count:]

    def settle(self, part: list[Entry], reason: str | None) -> None:
        self.buffer.settle(part, reason=reason)
        for each in part:
            self.model = [held for held in self.model if held.entry is not each]
            if reason is None:
                self.delivered += 1
            else:
                self.dropped[reason] = self.dropped.get(reason, 0) + 1
            if not self.is_flying(each.session_id):
                self.becomes_ready(each.session_id)

    @rule(session_id=st.sampled_from("abcd"))
    def hold(self, session_id: str) -> None:
        self.buffer.hold(session_id)
        self.on_hold.add(session_id)
        self.sort_out_ready()

    @rule(session_id=st.sampled_from("abcd"))
    def let_go(self, session_id: str) -> None:
        self.buffer.let_go(session_id)
        if session_id in self.on_hold:
            self.on_hold.remove(session_id)
            self.becomes_ready(session_id)

    @precondition(lambda self: self.model)
    @rule()
    def order_is_checked_where_events_settle(self) -> None:
        flying = [each for each in self.model if each.is_flying]
        if len(flying) > 1 and flying[0].session_id == flying[1].session_id:
            with pytest.raises(RuntimeError):
                self.buffer.settle([flying[1].entry])

    @invariant()
    def bounds_hold(self) -> None:
        assert len(list(self.buffer.entries())) == self.buffer.queued == len(self.model) <= MAX_EVENTS
        assert sum(len(each.body) for each in self.buffer.entries()) <= MAX_BYTES

    @invariant()
    def the_ledger_adds_up(self) -> None:
        assert self.buffer.stats() == {
            "accepted": self.accepted,
            "recovered": 0,
            "delivered": self.delivered,
            "queued": len(self.model),
            "spooled": 0,
            "handed_over": 0,
            "dropped": self.dropped,
        }
        assert adds_up(self.buffer)

    @invariant()
    def questions_are_answered_as_by_the_model(self) -> None:
        assert self.buffer.has_ready == bool(self.ready)
        for session_id in "abcd":
            held = [each.entry.number for each in self.model if each.session_id == session_id]
            assert self.buffer.oldest(session_id) == (held[0] if held else None)
            assert self.buffer.is_ready(session_id) == (session_id in self.ready)
        assert sorted(self.buffer.unsettled_sessions()) == sorted({each.session_id for each in self.model})
        assert self.buffer.newest == (self.numbers[-1] if self.numbers else 0)
        assert all(before < after for before, after in pairwise(self.numbers))
        ready = [each.size for session_id in self.ready for each in self.waiting(session_id)]
        assert self.buffer.has_full_batch == (bool(ready) and sum(ready) + len(ready) + 1 >= self.buffer.batch_bytes)


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# -- single rules -----------------------------------------------------------------------------------------------------


def test_a_batch_has_500_events_at_most() -> None:
    held = buffer()
    for number in range(MAX_BATCH_EVENTS * 2 + 1):
        held.offer(entry(f"s{number % 3}", 1))
    assert held.has_full_batch
    assert [len(held.cut()) for _ in range(3)] == [500, 333, 0]  # the rest is of sessions in flight


def test_a_batch_has_512_kib_at_most_and_is_filled_to_the_last_byte() -> None:
    held = buffer()
    held.offer(entry("a", MAX_BATCH_BYTES - 200))
    assert not held.has_full_batch
    held.offer(entry("b", 200 - 3))
    assert held.has_full_batch
    held.offer(entry("c", 1))
    assert len(body_of(held.cut())) == MAX_BATCH_BYTES
    assert [each.session_id for each in held.cut()] == ["c"]


def test_an_event_larger_than_the_bound_goes_alone() -> None:
    held = buffer()
    for size in (10, MAX_BATCH_BYTES + 1, 10):
        held.offer(entry("a", size))
    sizes = []
    while batch := held.cut():
        sizes.append([len(each.body) for each in batch])
        held.settle(batch)
    assert sizes == [[10], [MAX_BATCH_BYTES + 1], [10]]


def test_the_sessions_that_wait_longest_go_first() -> None:
    held = buffer()
    held.batch_bytes = 30
    for session_id in ("a", "b", "a", "c", "a"):
        held.offer(entry(session_id, 13))
    first = held.cut()
    assert [each.session_id for each in first] == ["a", "a"]
    held.settle(first)
    assert [each.session_id for each in held.cut()] == ["b", "c"]


def test_a_session_may_be_cut_again_once_its_own_events_are_settled() -> None:
    """What becomes of the rest of a batch is no concern of it."""
    held = buffer()
    for session_id in ("a", "b"):
        held.offer(entry(session_id))
    batch = held.cut()
    for session_id in ("a", "b"):
        held.offer(entry(session_id))
    assert held.cut() == []
    held.settle(batch[1:])
    assert [each.session_id for each in held.cut()] == ["b"]


def test_all_holds_may_end_at_once() -> None:
    buffer = Buffer(max_events=10, max_bytes=10_000)
    for session_id in "abc":
        buffer.hold(session_id)
    for session_id in "aab":
        buffer.offer(Entry(b"{}", session_id, is_essential=False))
    assert buffer.cut() == []
    buffer.let_all_go()
    assert [entry.session_id for entry in buffer.cut()] == ["a", "a", "b"]


def test_of_a_full_queue_an_ordinary_event_is_dropped_and_an_essential_one_takes_the_newest_ones_place() -> None:
    held = buffer(max_events=4)
    start, turn, turn_2, end = (entry(is_essential=each) for each in (True, False, False, True))
    for each in (start, turn, turn_2, end):
        assert held.offer(each) == ()
    late = entry("other")
    assert held.offer(late) == (late,)
    ends = [entry("other", is_essential=True) for _ in range(3)]
    assert [list(held.offer(each)) for each in ends] == [[turn_2], [turn], [ends[2]]]
    assert held.cut() == [start, end, *ends[:2]]
    assert held.stats()["dropped"] == {QUEUE_FULL: 4}


def test_what_is_in_flight_is_not_evicted() -> None:
    held = buffer(max_events=2)
    held.offer(entry("a"))
    flying = held.cut()
    held.offer(waiting := entry("a"))
    assert list(held.offer(entry("b", is_essential=True))) == [waiting]
    assert list(held.offer(end := entry("b", is_essential=True))) == [end]
    held.settle(flying)


def test_nothing_is_evicted_in_vain() -> None:
    held = buffer(max_bytes=100)
    held.offer(entry(size=60, is_essential=True))
    held.offer(entry(size=30))
    assert list(held.offer(huge := entry(size=41, is_essential=True))) == [huge]
    assert held.queued == 2


def test_an_evicted_event_is_let_go_of() -> None:
    """While a session is kept from being sent, what was evicted of it must not pile up."""

    class Observer:
        def report(self, error: object) -> None:
            raise AssertionError

    held = buffer(max_events=100)
    held.hold("held")
    observers = []
    for _ in range(1000):
        observer = Observer()
        observers.append(weakref.ref(observer))
        held.offer(Entry(b"x", "held", is_essential=False, observer=observer))
        held.offer(Entry(b"x", "held", is_essential=False, observer=observer))
        while held.queued < 100:
            held.offer(entry("other", is_essential=True))
        held.offer(entry("other", is_essential=True))
        held.settle(held.cut())
    del observer
    gc.collect()
    assert sum(each() is not None for each in observers) < 200


def test_413_teaches_half_of_what_was_too_large_and_never_less_than_1_kib() -> None:
    held = buffer()
    assert held.batch_bytes == MAX_BATCH_BYTES
    held.learn_too_large(100_000)
    assert held.batch_bytes == 50_000
    held.learn_too_large(400_000)
    assert held.batch_bytes == 50_000
    held.learn_too_large(10)
    assert held.batch_bytes == MIN_BATCH_BYTES


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=30), st.booleans())
def test_halves_keep_order_and_neither_is_empty(sizes: list[int], by_size: bool) -> None:
    entries = [entry(size=size) for size in sizes]
    first, second = halve(entries, by_size=by_size)
    assert first
    assert second
    assert [*first, *second] == entries
    if not by_size:
        assert abs(len(first) - len(second)) <= 1
    else:  # no place to part them is more even by more than the event there
        assert abs(sum(sizes[: len(first)]) - sum(sizes) / 2) <= max(sizes)


# -- cost -------------------------------------------------------------------------------------------------------------


def steps_of(work: Callable[[], Any]) -> int:
    """How many lines of the buffer's module run, loops and comprehensions included."""
    lines = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != module.__file__:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def full(events: int, sessions: int) -> Buffer:
    held = buffer(max_events=events)
    for number in range(events):
        held.offer(entry(f"s{number % sessions}"))
    return held


OPERATIONS: dict[str, Callable[[Buffer], object]] = {
    "an offer to a full queue": lambda held: held.offer(entry("s1")),
    "an eviction": lambda held: held.offer(entry("s1", is_essential=True)),
    "a hold": lambda held: (held.hold("s1"), held.let_go("s1")),
    "a question": lambda held: (held.oldest("s1"), held.is_ready("s1"), held.has_full_batch, held.stats()),
    "a batch": lambda held: held.settle(held.cut()),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("sessions", [2, 1000])
def test_the_cost_of_an_operation_does_not_depend_on_how_much_is_held(name: str, sessions: int) -> None:
    costs = []
    for events in (2_000, 20_000):
        held = full(events, sessions)
        if name == "a batch":
            held.settle(held.cut())
        costs.append(steps_of(lambda held=held: [OPERATIONS[name](held) for _ in range(3)]))  # type: ignore[misc]
    assert costs[1] <= costs[0] * 1.1


def test_the_cost_of_evictions_does_not_depend_on_how_many_there_are() -> None:
    """On average: now and then a session's queue is cleared of what was evicted."""
    costs = {}
    for events in (1_000, 10_000):
        held = full(events, 1)

        def evict(held: Buffer = held, events: int = events) -> None:
            for _ in range(events):
                held.offer(entry("end", is_essential=True))

        costs[events] = steps_of(evict) / events
        assert held.stats()["dropped"] == {QUEUE_FULL: events}
    assert costs[10_000] <= costs[1_000] * 1.1
