from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.spans import span

from mlsdk_otel.translation.conventions import openinference
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall, ToolRequest, ToolRun, Usage


def fact(kind: str, *, name: str = "x", **attributes: Any) -> Any:
    read = openinference.read(span(name, **{"openinference.span.kind": kind, **attributes}))
    return read and read.fact


def test_a_call_of_a_model() -> None:
    call = fact(
        "LLM",
        **{
            "llm.model_name": "m-1",
            "llm.invocation_parameters": '{"model": "m"}',
            "llm.token_count.prompt": 3,
            "llm.token_count.completion": 2,
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "Hi",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.contents.0.message_content.type": "text",
            "llm.output_messages.0.message.contents.0.message_content.text": "Hello.",
            "output.value": '{"id": "resp_1"}',
            "input.value": '{"previous_response_id": "resp_0"}',
        },
    )
    assert call == ModelCall(
        input=(Message("user", "Hi"),),
        output=(Message("assistant", "Hello."),),
        request_model="m",
        response_model="m-1",
        usage=Usage(3, 2),
        response_id="resp_1",
        previous_response_id="resp_0",
    )


def test_text_that_stands_in_two_places_is_read_once() -> None:
    stem = "llm.output_messages.0.message"
    call = fact(
        "LLM",
        **{
            f"{stem}.role": "assistant",
            f"{stem}.content": "Hello.",
            f"{stem}.contents.0.message_content.type": "text",
            f"{stem}.contents.0.message_content.text": "Hello.",
        },
    )
    assert call.output == (Message("assistant", "Hello."),)


def test_a_request_that_stands_in_two_places_is_read_once() -> None:
    inner = {"id": "c", "function.name": "f", "function.arguments": "{}"}
    stem = "llm.output_messages.0.message"
    call = fact(
        "LLM",
        **{f"{stem}.role": "assistant", f"{stem}.contents.0.message_content.type": "tool_use"},
        **{f"{stem}.contents.0.tool_call.{key}": held for key, held in inner.items()},
        **{f"{stem}.tool_calls.0.tool_call.{key}": held for key, held in inner.items()},
    )
    assert call.output == (Message("assistant", requests=(ToolRequest("f", "c", "{}"),)),)


@pytest.mark.parametrize(
    "shown", ["<groq.Stream object at 0x7f44fc427e10>", "<async_generator object Llm.ask at 0x7f>"]
)
def test_an_object_that_nobody_has_read_is_no_answer(shown: str) -> None:
    sent = {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Hi"}
    call = fact("LLM", **{**sent, "llm.model_name": "m", "output.value": shown})
    assert (call.input, call.output) == ((Message("user", "Hi"),), ())


def test_an_agent_that_hands_on_to_another_runs_no_function_for_it() -> None:
    said = {"input.value": "Triage", "output.value": "Billing"}
    assert fact("TOOL", name="handoff to Billing", **said) is None
    assert fact("TOOL", name="handoff to Billing", **{**said, "tool.name": "hand_on"}).name == "hand_on"


def test_an_image_is_named() -> None:
    stem = "llm.input_messages.0.message"
    call = fact(
        "LLM",
        **{
            f"{stem}.role": "user",
            f"{stem}.contents.0.message_content.type": "text",
            f"{stem}.contents.0.message_content.text": "Look:",
            f"{stem}.contents.1.message_content.type": "image",
            f"{stem}.contents.1.message_content.image.image.url": "data:image/png;base64,AA",
        },
    )
    assert call.input == (Message("user", "Look:\n[image]"),)


@pytest.mark.parametrize(
    ("given", "came"),
    [
        ('{"messages": [{"role": "user", "content": "Hi"}]}', '{"choices": [{"message": {"content": "Hello."}}]}'),
        ("Hi", "Hello."),
        (
            '{"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}',
            '{"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello."}]}}]}',
        ),
        (
            '{"input": "Hi"}',
            '{"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello."}]}]}',
        ),
    ],
)
def test_without_messages_the_whole_request_and_answer_are_read(given: str, came: str) -> None:
    call = fact("LLM", **{"input.value": given, "output.value": came})
    assert (call.input, call.output) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_hidden_content_says_nothing() -> None:
    call = fact("LLM", **{"input.value": "__REDACTED__", "output.value": "__REDACTED__", "llm.token_count.prompt": 3})
    assert (call.input, call.output, call.has_content, call.usage) == ((), (), False, Usage(3))


def test_the_one_bare_argument_of_langchain_is_left_to_the_request() -> None:
    message = {"type": "tool", "data": {"content": "snow", "tool_call_id": "c", "name": "f"}}
    run = fact("TOOL", **{"tool.name": "f", "input.value": "Oslo", "output.value": orjson.dumps(message).decode()})
    assert run == ToolRun("f", "c", None, "snow")


def test_a_function_that_was_given_json() -> None:
    schema = '{"properties": {"city": {}}, "type": "object"}'
    attributes = {"input.value": '{"city": "Oslo"}', "output.value": '{"temp": -3}', "tool.parameters": schema}
    assert fact("TOOL", name="f", **attributes) == ToolRun("f", None, '{"city": "Oslo"}', '{"temp": -3}')
    assert fact("TOOL", name="f", **{"tool.parameters": schema}) == ToolRun("f")
    assert fact("TOOL", name="f", **{"tool.parameters": '{"city": "Oslo"}'}) == ToolRun("f", None, '{"city": "Oslo"}')


def test_agents_and_chains_are_around_calls() -> None:
    agent = fact("AGENT", name="shop", **{"input.value": '{"messages": [{"role": "user", "content": "Hi"}]}'})
    assert agent == Enclosure("shop", (Message("user", "Hi"),))
    assert fact("CHAIN") == Enclosure()


@pytest.mark.parametrize("kind", ["EMBEDDING", "RETRIEVER", "RERANKER", "GUARDRAIL", "EVALUATOR", "", "?"])
def test_other_kinds_are_no_part_of_a_conversation(kind: str) -> None:
    assert fact(kind, **{"llm.token_count.prompt": 5, "input.value": "Hi"}) is None


def test_objects_as_python_shows_them_are_no_texts() -> None:
    """LlamaIndex makes an LLM span for the making of a request, too."""
    shown = '{"messages": ["ChatMessage(role=<MessageRole.USER>)"]}'
    assert fact("LLM", **{"input.value": shown, "output.value": shown, "llm.model_name": "m"}) is None
    call = fact("LLM", **{"input.value": shown, "output.value": "assistant: Hello.", "llm.token_count.prompt": 3})
    assert call.input == ()


def test_arguments_of_a_python_call_are_unwrapped() -> None:
    assert fact("TOOL", name="f", **{"input.value": '{"args": [], "kwargs": {"a": 1}}'}).arguments == '{"a":1}'


def test_what_the_steps_of_a_chain_hand_on_is_not_read() -> None:
    assert fact("CHAIN", **{"input.value": "Hi", "output.value": "AgentOutput()"}) == Enclosure()
