from __future__ import annotations

from typing import Any

import pytest
from support.spans import span

from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.facts import Enclosure, Identity, Message, ModelCall, ToolRequest, ToolRun, Usage


def fact(kind: str, *, name: str = "x", **attributes: Any) -> Any:
    given = {f"langfuse.observation.{key}": value for key, value in {"type": kind, **attributes}.items()}
    read = conventions.read(span(name, **given))
    return read and read.fact


def test_a_generation_is_a_call() -> None:
    call = fact(
        "generation",
        input='[{"role": "user", "content": "Hi"}]',
        output='{"role": "assistant", "content": "Hello."}',
        usage_details='{"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}',
        **{"model.name": "m"},
    )
    assert call == ModelCall(
        (Message("user", "Hi"),),
        (Message("assistant", "Hello."),),
        request_model="m",
        response_model="m",
        usage=Usage(3, 2),
    )


def test_messages_beside_definitions_of_functions_and_plain_answers() -> None:
    call = fact("generation", input='{"tools": [], "messages": [{"role": "user", "content": "Hi"}]}', output="Hello.")
    assert (call.input, call.output) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_a_request_of_a_function() -> None:
    requests = '{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}'
    assert fact("generation", output=requests).output == (
        Message("assistant", requests=(ToolRequest("f", "c", "{}"),)),
    )


def test_a_function_that_ran() -> None:
    run = fact("tool", name="f", input='{"args": [], "kwargs": {"a": 1}}', output='"snow"')
    assert run == ToolRun("f", None, '{"a":1}', "snow")


@pytest.mark.parametrize("kind", ["span", "chain"])
def test_spans_and_chains_are_around_calls(kind: str) -> None:
    assert fact(kind) == Enclosure()


def test_an_agent_has_a_name() -> None:
    assert fact("agent", name="shop") == Enclosure("shop")


@pytest.mark.parametrize("kind", ["embedding", "retriever", "evaluator", "guardrail", "event", ""])
def test_other_observations_are_no_part_of_a_conversation(kind: str) -> None:
    assert fact(kind, input="Hi") is None


def test_ids_of_the_trace_are_read() -> None:
    attributes = {"langfuse.observation.type": "span", "langfuse.session.id": "s", "langfuse.user.id": "u"}
    read = conventions.read(span("x", **attributes))
    assert read is not None
    assert read.identity == Identity(session_id="s", user_id="u")


def test_a_generation_of_the_level_of_an_error_has_failed() -> None:
    assert fact("generation", level="ERROR").has_failed
    assert not fact("generation", level="WARNING").has_failed
