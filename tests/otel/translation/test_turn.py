"""One turn: which of its calls answered, and whether a call may belong to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.turns import ALONE, HI, a_call

from mlsdk_otel.translation import history
from mlsdk_otel.translation.facts import Usage
from mlsdk_otel.translation.functions import Function
from mlsdk_otel.translation.history import History
from mlsdk_otel.translation.turn import (
    Call,
    Owner,
    Turn,
    goes_beyond,
    has_nothing_to_wait_for,
    is_beside,
    is_same_moment,
    may_be,
)

JOINED = Owner("s", "s", is_joined=True)


def a_turn(*calls: Call, said: tuple[str, ...] = ("hi",), owner: Owner = ALONE, **fields: Any) -> Turn:
    return Turn(1, owner, None, HI, said, 10, 20, list(calls), **fields)


def test_the_last_call_about_the_users_words_answers_unless_it_failed() -> None:
    hello, guard = a_call("hello"), a_call("safe", history=History(said=("Is this safe: hi",)))
    assert a_turn(hello, guard).answering is hello
    assert a_turn(hello, a_call("never", has_failed=True)).answer == "hello"
    assert a_turn(a_call(None)).answering is None


def test_what_the_agent_tells_decides() -> None:
    first, second = a_call("one"), a_call("two")
    assert a_turn(first, second, text=" one\n").answering is first
    assert a_turn(a_call(None), text="of its own").answer == "of its own"


def test_words_in_a_frame_are_told_without_it() -> None:
    turn = a_turn(a_call("Answer: hello"), framed=("hi", "hello"))
    assert (turn.utterance, turn.answer) == ("hi", "hello")
    assert a_turn(said=("one ", "two")).utterance == "one\n\ntwo"
    assert a_turn(said=()).utterance is None


def test_it_is_answered_when_something_was_said_and_answered() -> None:
    assert a_turn(a_call("hello")).is_answered
    assert not a_turn(a_call("hello"), said=()).is_answered
    assert not a_turn(a_call(None)).is_answered


@pytest.mark.parametrize(
    ("turns", "calls", "may"),
    [(JOINED, None, True), (JOINED, JOINED, True), (ALONE, JOINED, True), (JOINED, Owner("other", "other"), False)],
)
def test_only_another_session_from_outside_speaks_against_it(turns: Owner, calls: Owner | None, may: bool) -> None:
    assert may_be(a_turn(owner=turns), a_call(owner=calls)) is may


def test_the_user_has_spoken_again_where_the_answer_is_in_the_history() -> None:
    turn = a_turn(a_call("hello", response_id="r"))
    done = history.exchange("hi", "hello")
    after = History(place=history.after(HI.place, done), last=done, said=("bye",))
    assert goes_beyond(turn, a_call(history=after, start=30))
    assert not goes_beyond(turn, a_call(history=after, start=15)), "it cannot know an answer that was not there"
    assert not goes_beyond(turn, a_call(history=replace(after, place=7, last=8), start=30))
    assert goes_beyond(turn, a_call(history=History(said=("bye",)), start=30, previous_response_id="r"))
    assert not goes_beyond(a_turn(a_call(None)), a_call(history=after, start=30))


def test_the_same_words_at_the_same_place_are_another_try_until_they_are_answered() -> None:
    assert is_same_moment(a_turn(a_call(None)), a_call("hello"))
    assert not is_same_moment(a_turn(a_call("hello")), a_call("hello again"))
    assert not is_same_moment(a_turn(a_call(None)), a_call(history=History(said=("bye",))))
    assert not is_same_moment(a_turn(a_call(None)), a_call(previous_response_id="r"))
    assert is_same_moment(a_turn(), a_call(history=History(), has_content=False)), "only functions have been seen"


def test_a_call_with_another_prompt_and_no_past_is_beside() -> None:
    guard = a_call("safe", history=replace(HI, system=5))
    assert is_beside(a_turn(a_call("hello")), guard)
    assert not is_beside(a_turn(a_call("hello")), a_call("hello again"))
    assert not is_beside(a_turn(a_call("hello")), a_call("x", history=History(said=("bye",), system=5)))


def test_what_only_failed_or_shows_nothing_waits_for_nobody() -> None:
    waits = Function("look", "1", None, 0)
    assert has_nothing_to_wait_for(a_turn(a_call(usage=Usage(), has_failed=True)))
    assert not has_nothing_to_wait_for(a_turn(a_call(None)))
    assert has_nothing_to_wait_for(a_turn(a_call(None, has_content=False)))
    assert not has_nothing_to_wait_for(a_turn(a_call(None, has_content=False), functions=[waits]))
