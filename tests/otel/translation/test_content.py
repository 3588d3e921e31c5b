from __future__ import annotations

from typing import Any

import pytest
from support.spans import check_wire

from mlsdk import events
from mlsdk_otel.translation.content import without_content

WHO = events.common(session_id="s", device_id="d")
TOKENS = {"model": "m", "prompt_tokens": 1, "completion_tokens": 2}


def turn(**fields: Any) -> events.Event:
    return events.turn(WHO, 0, conversation_id="c", user="secret", assistant="secret", **fields)


@pytest.mark.parametrize("usage", [TOKENS, {"cost": 1.5}])
def test_a_turn_becomes_its_usage(usage: dict[str, Any]) -> None:
    left = without_content(turn(usage=usage, assistant_id="x", properties={"k": "secret"}))
    assert left == events.usage(WHO, 0, conversation_id="c", usage=usage)


@pytest.mark.parametrize("properties", [None, {"k": 1}, {"model": "m"}, {"prompt_tokens": 1, "completion_tokens": 2}])
def test_a_turn_without_a_whole_usage_is_gone(properties: dict[str, Any] | None) -> None:
    """Part of one is not a usage event that the service takes."""
    assert without_content(turn(properties=properties)) is None


def test_a_cost_is_enough() -> None:
    left = without_content(turn(usage={"cost": 2}, properties={"model": "m"}))
    assert left == events.usage(WHO, 0, conversation_id="c", usage={"cost": 2})


def test_a_function_call_loses_arguments_and_result() -> None:
    whole = events.function_call(WHO, 0, conversation_id="c", name="f", args="secret", result="secret", runtime=4)
    left = without_content(whole)
    assert left == events.function_call(WHO, 0, conversation_id="c", name="f", runtime=4)
    check_wire([left] if left else [])


@pytest.mark.parametrize(
    "event",
    [
        events.start_session(WHO, 0, attributes={"args": 1}),
        events.identify(WHO, 0, id="u", traits={"user": "U"}),
        events.custom(WHO, 0, event="e", properties={"user": "u"}),
        events.custom(WHO, 0, event="e"),
        events.conversation_started(WHO, 0, conversation_id="c", properties={"k": 1}),
    ],
)
def test_others_stay(event: events.Event) -> None:
    assert without_content(event) is event
