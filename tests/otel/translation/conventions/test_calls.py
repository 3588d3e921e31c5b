from __future__ import annotations

from typing import Any

import pytest
from support.spans import span

from mlsdk_otel.translation.conventions import calls
from mlsdk_otel.translation.facts import Enclosure, Identity, Message, ModelCall, ToolRequest, ToolResult, Usage


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 0}, Usage(5, 0)),
        ({"gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.completion_tokens": 2}, Usage(5, 2)),
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.prompt_tokens": 9}, Usage(5, None)),
        ({"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}, Usage()),
        ({"gen_ai.usage.input_tokens": "7", "gen_ai.usage.output_tokens": -1}, Usage(7, None)),
        ({}, Usage()),
    ],
)
def test_tokens_are_counted_once_and_unknown_ones_are_absent(attributes: dict[str, Any], found: Usage) -> None:
    assert calls.usage(attributes) == found


def test_a_failed_call_has_no_answer() -> None:
    view = span("chat", **{"error.type": "RateLimitError", "gen_ai.request.model": "m"})
    fact = calls.model_call(view, (Message("user", "Hi"),), (Message("assistant"),)).fact
    assert fact == ModelCall(input=(Message("user", "Hi"),), request_model="m", has_failed=True)


def test_indexed_messages_are_put_together() -> None:
    attributes = {
        "p.0.role": "user",
        "p.0.content": "Hi",
        "p.1.role": "assistant",
        "p.1.tool_calls.0.id": "c",
        "p.1.tool_calls.0.name": "f",
        "p.1.tool_calls.0.arguments": "{}",
    }
    assert calls.indexed(attributes, "p.", role="user") == (
        Message("user", "Hi"),
        Message("assistant", requests=(ToolRequest("f", "c", "{}"),)),
    )


def test_a_structure_that_stands_under_an_indexed_name_is_kept() -> None:
    (message,) = calls.indexed(
        {"p.0.role": "tool", "p.0.tool_call_id": "c", "p.0.content": {"temp": 21}}, "p.", role="user"
    )
    assert message == Message("tool", results=(ToolResult("c", None, '{"temp":21}'),))


def test_the_id_of_an_answer_is_no_conversation() -> None:
    """Microsoft's Agent Framework calls it so."""
    reading = calls.model_call(span("chat", **{"gen_ai.conversation.id": "resp_1"}), (), ())
    assert isinstance(reading.fact, ModelCall)
    assert (reading.fact.previous_response_id, reading.identity) == ("resp_1", Identity())
    around = calls.enclosure(span("invoke_agent", **{"gen_ai.conversation.id": "resp_1"})).fact
    assert around == Enclosure(previous_response_id="resp_1")


@pytest.mark.parametrize(
    ("provider", "result", "told"),
    [
        ("gcp.gemini", '{"result": "snow"}', "snow"),
        ("gcp.gemini", '{"result": 3}', '{"result": 3}'),
        ("gcp.gemini", '{"result": "snow", "more": 1}', '{"result": "snow", "more": 1}'),
        ("openai", '{"result": "snow"}', '{"result": "snow"}'),
    ],
)
def test_what_google_wraps_is_unwrapped(provider: str, result: str, told: str) -> None:
    sent = (Message("tool", results=(ToolResult("c", "f", result),)),)
    fact = calls.model_call(span("chat", **{"gen_ai.provider.name": provider}), sent, ()).fact
    assert isinstance(fact, ModelCall)
    assert fact.input[0].results == (ToolResult("c", "f", told),)
