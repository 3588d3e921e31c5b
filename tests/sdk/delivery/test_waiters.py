from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlsdk.delivery.waiters import Waiter, Waiters


def test_who_waits_for_two_sessions_is_done_when_both_are_settled() -> None:
    waiters = Waiters()
    waiter = Waiter()
    waiters.add(waiter, ["a", "b"], newest=5)
    assert waiters.settle("a", oldest=None) == []
    assert "a" not in waiters
    assert waiters.settle("b", oldest=6) == [waiter]
    assert "b" not in waiters


def test_what_is_recorded_later_is_not_waited_for() -> None:
    waiters = Waiters()
    early, late = Waiter(), Waiter()
    waiters.add(early, ["a"], newest=1)
    waiters.add(late, ["a"], newest=2)
    assert waiters.settle("a", oldest=2) == [early]
    assert waiters.settle("a", oldest=2) == []
    assert waiters.settle("a", oldest=3) == [late]


def test_a_session_that_nobody_waits_for_is_nobodys() -> None:
    assert Waiters().settle("a", oldest=None) == []


def test_all_are_dismissed_once() -> None:
    waiters = Waiters()
    one, other = Waiter(), Waiter()
    waiters.add(one, ["a", "b"], newest=1)
    waiters.add(other, ["b"], newest=1)
    assert waiters.dismiss() == [one, other]
    assert waiters.dismiss() == []
    assert "a" not in waiters


def test_who_gives_up_waiting_does_not_cancel_the_wait() -> None:
    assert not Waiter().future.cancel()


@given(
    waits=st.lists(st.tuples(st.sets(st.sampled_from("abc"), min_size=1), st.integers(0, 9)), max_size=8),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 11)), max_size=30),
)
def test_each_is_done_once_and_only_when_all_that_it_waited_for_is_settled(
    waits: list[tuple[set[str], int]], steps: list[tuple[str, int | None]]
) -> None:
    waiters = Waiters()
    left: dict[Waiter, dict[str, int]] = {}
    for sessions, newest in waits:
        waiter = Waiter()
        waiters.add(waiter, sorted(sessions), newest=newest)
        left[waiter] = dict.fromkeys(sessions, newest)
    for session_id, oldest in [*steps, *((each, None) for each in "abc")]:
        expected = []
        for waiter, of in left.items():
            if session_id in of and (oldest is None or oldest > of[session_id]):
                del of[session_id]
                if not of:
                    expected.append(waiter)
        assert waiters.settle(session_id, oldest=oldest) == expected
    assert waiters.dismiss() == []
