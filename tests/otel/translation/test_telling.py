"""A turn as events."""

from __future__ import annotations

from functools import partial

from support import turns
from support.foreign import in_short
from support.spans import NOON, check_wire

from mlsdk.events import common
from mlsdk_otel.translation.facts import Usage
from mlsdk_otel.translation.functions import Function
from mlsdk_otel.translation.history import History
from mlsdk_otel.translation.telling import telling
from mlsdk_otel.translation.turn import Call, Owner, Turn

OWNER = Owner("s", "c", is_joined=True)
WHO = common(session_id="s", user_id="u")
a_call = partial(turns.a_call, owner=OWNER, alone=OWNER, start=NOON, end=NOON, usage=Usage(10, 5))


def told(*calls: Call, functions: tuple[Function, ...] = (), with_all: bool = False) -> list[str]:
    turn = Turn(0, OWNER, None, History(), ("hi",), NOON, NOON, list(calls), list(functions))
    found = telling(turn, with_all=with_all)
    events = found.events(WHO)
    check_wire(events)
    assert found.is_empty == (not events)
    return [in_short(event) for event in events]


def test_a_model_is_the_same_by_either_of_its_names() -> None:
    dated = a_call("hello", request_model="m", response_model="m-2024")
    assert told(a_call(), a_call(request_model="m-2024"), dated) == ["turn hi -> hello (m-2024 30+15)"]
    assert told(a_call(request_model="x", response_model="x-1"), dated) == [
        "turn hi -> hello (m-2024 10+5)",
        "usage x-1 10+5",
    ]


def test_without_an_answer_each_call_is_a_usage_if_all_of_it_is_known() -> None:
    assert told(a_call(), a_call(usage=Usage(3, None)), a_call(request_model=None)) == ["usage m 10+5"]
    assert told() == []


def test_a_call_that_names_no_model_is_of_the_model_that_is_named() -> None:
    unnamed = {"request_model": None}
    assert told(a_call(None, **unnamed), a_call("hello")) == ["turn hi -> hello (m 20+10)"]
    assert told(a_call(None), a_call("hello", **unnamed)) == ["turn hi -> hello (m 20+10)"]
    assert told(a_call(None, **unnamed), a_call("hello", **unnamed)) == ["turn hi -> hello (None 20+10)"]


def test_functions_come_first_those_that_ran() -> None:
    ran = Function("f", "1", "{}", NOON + 1, has_run=True)
    asked = Function("g", "2", "{}", NOON + 2)
    nameless = Function(None, "3", None, NOON, has_run=True)
    functions = (ran, asked, nameless)
    assert told(a_call("hello"), functions=functions, with_all=True)[0] == "f({}) = None"
    assert told(a_call(has_failed=True, usage=Usage()), functions=functions) == ["f({}) = None"]
    assert told(functions=functions, with_all=True) == ["f({}) = None", "g({}) = None"]


def test_a_function_for_which_the_answer_waited_has_run_whatever_it_gave() -> None:
    asked = Function("g", "2", "{}", NOON - 1)
    assert told(a_call("hello"), functions=(asked,)) == ["g({}) = None", "turn hi -> hello (m 10+5)"]


def test_an_answer_that_broke_off_says_so() -> None:
    turn = Turn(0, OWNER, None, History(), ("hi",), NOON, NOON, [a_call("hel", is_partial=True)])
    [event] = telling(turn).events(WHO)
    assert isinstance(event["properties"], dict)
    assert event["properties"]["partial"] is True
