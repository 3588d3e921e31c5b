"""The table of what follows from an outcome, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.delivery.outcome import Outcome, Verdict
from mlsdk.delivery.retry import FIRST_WAIT, LONGEST_WAIT, Action, next_action, wait_seconds


def act(verdict: Verdict, **situation: object) -> Action:
    usual = {
        "size": 1,
        "is_bare": False,
        "server_errors": 0,
        "others_got_through": False,
        "key_is_good": False,
        "probe_passed": False,
    }
    return next_action(Outcome(verdict, 0, ""), **{**usual, **situation})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 500])
@pytest.mark.parametrize("errors", [0, 5, 1000])
def test_what_was_delivered_is_settled_and_what_may_come_later_waits(size: int, errors: int) -> None:
    for others in (False, True):
        situation = {"size": size, "server_errors": errors, "others_got_through": others}
        assert act(Verdict.DELIVERED, **situation) is Action.SETTLE
        assert act(Verdict.TRY_LATER, **situation) is Action.WAIT


def test_too_large_is_halved_and_one_event_is_refused() -> None:
    assert act(Verdict.TOO_LARGE, size=2) is Action.HALVE
    assert act(Verdict.TOO_LARGE, size=1) is Action.REFUSE
    assert act(Verdict.TOO_LARGE, size=1, is_bare=True) is Action.REFUSE


def test_refused_is_halved_down_to_the_bare_object() -> None:
    assert act(Verdict.REFUSED, size=2) is Action.HALVE
    assert act(Verdict.REFUSED, size=1) is Action.SEND_BARE
    assert act(Verdict.REFUSED, size=1, is_bare=True) is Action.REFUSE


@pytest.mark.parametrize(
    ("situation", "action"),
    [
        ({"size": 2}, Action.PROBE),
        ({"size": 1}, Action.PROBE),
        ({"size": 1, "is_bare": True}, Action.PROBE),
        # Right after a 2xx it is the text that displeases, but no event is given up without asking.
        ({"size": 2, "key_is_good": True}, Action.HALVE),
        ({"size": 1, "key_is_good": True}, Action.SEND_BARE),
        ({"size": 1, "is_bare": True, "key_is_good": True}, Action.PROBE),
        ({"size": 2, "key_is_good": True, "probe_passed": True}, Action.HALVE),
        ({"size": 1, "key_is_good": True, "probe_passed": True}, Action.SEND_BARE),
        ({"size": 1, "is_bare": True, "key_is_good": True, "probe_passed": True}, Action.REFUSE),
    ],
)
def test_not_allowed_asks_before_it_blames_an_event(situation: dict[str, object], action: Action) -> None:
    assert act(Verdict.NOT_ALLOWED, **situation) is action


@pytest.mark.parametrize(
    ("size", "errors", "others", "action"),
    [
        (2, 4, True, Action.WAIT),
        (2, 5, False, Action.HALVE),
        (2, 9, False, Action.HALVE),
        (1, 5, True, Action.WAIT),
        (1, 9, True, Action.WAIT),
        (1, 10, False, Action.WAIT),
        (1, 10_000, False, Action.WAIT),
        (1, 10, True, Action.REFUSE),
    ],
)
def test_server_errors_halve_after_5_and_refuse_after_10(size: int, errors: int, others: bool, action: Action) -> None:
    assert act(Verdict.SERVER_ERROR, size=size, server_errors=errors, others_got_through=others) is action


@pytest.mark.parametrize(
    ("failures", "bound"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 10.0), (7, 10.0), (10**9, 10.0)]
)
def test_the_wait_is_spread_over_all_of_a_bound_that_doubles(failures: int, bound: float) -> None:
    assert wait_seconds(failures, jitter=0.0) == 0.0
    assert wait_seconds(failures, jitter=0.5) == bound / 2
    assert wait_seconds(failures, jitter=1.0) == bound


@given(st.integers(1, 10**6), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 600)))
def test_the_wait_is_never_shorter_than_the_service_asked_for(
    failures: int, jitter: float, after: float | None
) -> None:
    wait = wait_seconds(failures, jitter=jitter, after=after)
    assert (after or 0.0) <= wait <= max(after or 0.0, LONGEST_WAIT)
    assert FIRST_WAIT <= LONGEST_WAIT
