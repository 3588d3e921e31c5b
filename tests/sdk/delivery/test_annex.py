"""The annex: what is not in the buffer, by session, and bounded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.spool import entry, start, turn, turns

from mlsdk.delivery.annex import Annex
from mlsdk.delivery.buffer import Entry
from mlsdk.errors import DeliveryError


class Observer:
    def report(self, error: DeliveryError) -> None: ...


@pytest.fixture
def annex() -> Annex:
    return Annex(max_bytes=1000)


def test_what_arrives_is_bounded_in_bytes(annex: Annex) -> None:
    taken = [each for each in turns("a", range(100)) if annex.take(each)]
    assert 0 < annex.arriving == len(taken) < 100
    assert annex.arriving_bytes <= 1000


def test_beyond_the_bound_there_is_room_for_essential_events_and_that_is_bounded_too(annex: Annex) -> None:
    while annex.take(entry(turn("a"))):
        pass
    assert annex.take(entry(start("b")))
    while annex.take(entry(start("b"))):
        pass
    assert 1000 < annex.arriving_bytes <= 1250


def test_who_wants_to_hear_of_an_event_is_known_when_it_comes_back(annex: Annex) -> None:
    observer, settled = Observer(), []
    (event,) = turns("a", [1])
    event.observer, event.on_settled = observer, settled.append
    annex.take(event)
    annex.leave_on_disk(annex.next_arriving())
    assert list(annex.observers()) == [observer]
    again = Entry(event.body, "a", is_essential=False)
    again.number = event.number
    annex.come_back(again, is_own=True)
    assert again.observer is observer
    assert again.on_settled is not None
    again.on_settled(True)
    assert settled == [True]
    assert not annex


def test_who_wants_to_hear_of_an_event_is_told_when_it_is_lost(annex: Annex) -> None:
    settled: list[bool] = []
    first, second = turns("a", [1, 2])
    first.on_settled = second.on_settled = settled.append
    first.observer = observer = Observer()
    for each in (first, second):
        annex.take(each)
        annex.leave_on_disk(annex.next_arriving())
    told, callback = annex.lose("a", first.number)
    assert told is observer
    assert callback is not None
    assert annex.lose("unknown", 7) == (None, None)
    assert len(annex.give_up()) == 1
    assert not annex
    assert annex.absent == 0


def test_an_event_that_was_given_up_is_not_counted_when_it_is_found_after_all(annex: Annex) -> None:
    (event,) = turns("a", [1])
    annex.find("a")
    annex.give_up()
    annex.come_back(event, is_own=True)
    assert annex.absent == 0


STEPS = st.lists(st.sampled_from(["take", "admit", "leave", "back", "find", "put back"]), max_size=40)


@given(STEPS, st.lists(st.sampled_from("ab"), min_size=40, max_size=40))
def test_a_session_is_known_for_as_long_as_it_has_events_and_none_is_older_than_its_oldest(
    steps: list[str], sessions: list[str]
) -> None:
    annex = Annex(max_bytes=1 << 20)
    arriving: list[Entry] = []
    absent: list[Entry] = []
    numbers: Iterator[int] = itertools.count(-100)
    for step, session_id in zip(steps, sessions, strict=False):
        if step == "take":
            arriving.append(entry(turn(session_id)))
            annex.take(arriving[-1])
        elif step == "find":
            found = entry(turn(session_id))
            found.number = next(numbers)
            absent.insert(0, found)
            annex.find(session_id)
        elif step == "put back":
            for _ in range(annex.arriving):
                annex.put_back(annex.next_arriving())
        elif arriving and step in ("admit", "leave"):
            assert annex.next_arriving() is arriving[0]
            if step == "leave":
                annex.leave_on_disk(arriving[0])
                absent.append(arriving[0])
            del arriving[0]
        elif absent and step == "back":
            # Those of other processes first, then in order.
            back = absent.pop(0)
            annex.come_back(back, is_own=back.number > 0)
        assert (annex.arriving, annex.absent) == (len(arriving), len(absent))
        for each in "ab":
            held = [max(one.number, 0) for one in arriving + absent if one.session_id == each]
            oldest = annex.oldest(each)
            assert (each in annex) == (oldest is not None) == bool(held)
            assert oldest is None or oldest <= min(held)
            assert annex.holds_absent(each) == any(one.session_id == each for one in absent)
        assert annex.arriving_bytes == sum(len(each.body) for each in arriving)
