from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from mlsdk_otel.translation.conventions import messages
from mlsdk_otel.translation.facts import Message, ToolRequest, ToolResult

HELLO = Message("user", "Hello")
ASKED = Message("assistant", requests=(ToolRequest("get_weather", "call_1", '{"city":"Oslo"}'),))
TOLD = Message("tool", results=(ToolResult("call_1", None, "snow"),))
ARGUMENTS = {"city": "Oslo"}


@pytest.mark.parametrize(
    "raw",
    [
        {"role": "user", "content": "Hello"},
        {"role": "user", "parts": [{"type": "text", "content": "Hello"}]},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"role": "user", "content": [{"text": "Hello"}]},
        {"role": "user", "content": '[{"text": "Hello"}]'},
        {"role": "user", "parts": [{"text": "Hello"}]},
        {"role": "human", "content": "Hello"},
        {"type": "human", "data": {"content": "Hello", "type": "human"}},
        {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "Hello"}},
        {"role": "MessageRole.USER", "content": "Hello"},
        {"content": {"role": "user", "parts": [{"text": "Hello"}]}},
    ],
)
def test_a_text_is_read_in_each_shape(raw: Any) -> None:
    assert messages.history([raw]) == (HELLO,)
    assert messages.history(orjson.dumps([raw]).decode()) == (HELLO,)
    assert messages.history(raw) == (HELLO,)


@pytest.mark.parametrize(
    "raw",
    [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": ARGUMENTS}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
                }
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "call_1", "name": "get_weather", "input": ARGUMENTS}],
        },
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": ARGUMENTS}}],
        },
        {"role": "model", "parts": [{"function_call": {"id": "call_1", "name": "get_weather", "args": ARGUMENTS}}]},
        {
            "type": "function_call",
            "id": "fc_9",
            "call_id": "call_1",
            "name": "get_weather",
            "arguments": '{"city":"Oslo"}',
        },
        {
            "role": "assistant",
            "content": [{"type": "tool-call", "toolCallId": "call_1", "toolName": "get_weather", "input": ARGUMENTS}],
        },
        {
            "type": "ai",
            "data": {"content": "", "tool_calls": [{"id": "call_1", "name": "get_weather", "args": ARGUMENTS}]},
        },
        {
            "finish_reason": "tool_calls",
            "message": {"content": None},
            "tool_calls": [{"id": "call_1", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}],
        },
    ],
)
def test_the_request_of_a_function_is_read_in_each_shape(raw: Any) -> None:
    assert messages.history([raw], role="assistant") == (ASKED,)


@pytest.mark.parametrize(
    "raw",
    [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "snow"}]},
        {"role": "user", "parts": [{"type": "tool_call_response", "id": "call_1", "result": "snow"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "snow"},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "snow"}]},
        {"role": "tool", "tool_call_id": "call_1", "parts": [{"type": "text", "content": "snow"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "snow"}]},
        {"role": "user", "content": '[{"type": "tool_result", "tool_use_id": "call_1", "content": "snow"}]'},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "snow"}]}}]},
        {"role": "user", "parts": [{"function_response": {"id": "call_1", "response": {"result": "snow"}}}]},
        {"type": "function_call_output", "call_id": "call_1", "output": "snow"},
        {
            "role": "tool",
            "content": [{"type": "tool-result", "toolCallId": "call_1", "output": {"type": "text", "value": "snow"}}],
        },
        {"type": "tool", "data": {"content": "snow", "tool_call_id": "call_1"}},
    ],
)
def test_a_result_belongs_to_a_message_of_the_tool_whoever_is_said_to_have_sent_it(raw: Any) -> None:
    assert messages.history([raw]) == (TOLD,)


def test_a_structure_that_a_function_gave_becomes_json() -> None:
    raw = {"role": "tool", "tool_call_id": "c", "content": {"city": "Oslo", "temp": -3}}
    assert messages.history([raw])[0].results[0].result == '{"city":"Oslo","temp":-3}'


def test_a_result_that_is_json_text_stays_as_it_is() -> None:
    raw = {"role": "tool", "tool_call_id": "c", "content": '[{"city": "Oslo"}]'}
    assert messages.history([raw])[0].results[0].result == '[{"city": "Oslo"}]'


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "[image]"),
        ({"type": "input_image", "image_url": "https://x"}, "[image]"),
        ({"type": "blob", "mime_type": "audio/wav", "content": "AAAA"}, "[audio]"),
        ({"type": "uri", "modality": "video", "uri": "gs://x"}, "[video]"),
        ({"inline_data": {"mime_type": "image/png", "data": "AAAA"}}, "[image]"),
        ({"type": "document", "source": {"media_type": "application/pdf"}}, "[file]"),
        ({"image": {"format": "png"}}, "[image]"),
        ({"type": "hologram"}, "[hologram]"),
    ],
)
def test_parts_that_are_no_text_are_named_beside_the_text(part: Any, named: str) -> None:
    raw = [{"role": "user", "content": [{"type": "text", "text": "Look:"}, part]}]
    assert messages.history(raw) == (Message("user", f"Look:\n{named}"),)


def test_thoughts_are_not_said() -> None:
    thought = {"type": "thinking", "thinking": "hm", "content": "hm"}
    said = {"type": "text", "text": "Yes."}
    assert messages.history([{"role": "assistant", "content": [thought, said]}]) == (Message("assistant", "Yes."),)
    assert messages.history([{"type": "reasoning", "summary": []}]) == ()
    assert messages.history([{"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "Yes."}]}]) == (
        Message("assistant", "Yes."),
    )


def test_the_blocks_of_one_answer_are_one_text() -> None:
    raw = {"role": "assistant", "content": [{"type": "text", "text": "It is "}, {"type": "text", "text": "cold."}]}
    assert messages.history([raw]) == (Message("assistant", "It is cold."),)


def test_a_text_beside_a_request_is_kept() -> None:
    raw = {"role": "assistant", "content": "Let me see.", "tool_calls": [{"id": "c", "name": "f", "arguments": "{}"}]}
    assert messages.history([raw]) == (Message("assistant", "Let me see.", (ToolRequest("f", "c", "{}"),)),)


def test_quotes_around_the_name_of_a_function_are_no_part_of_it() -> None:
    raw = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "'f'", "arguments": "{}"}}]}
    assert messages.history([raw]) == (Message("assistant", requests=(ToolRequest("f", "c", "{}"),)),)


def test_calls_that_are_listed_one_by_one_are_one_message() -> None:
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"} for n in (1, 2)]
    [message] = messages.history(calls, role="assistant")
    assert [request.call_id for request in message.requests] == ["c1", "c2"]


@pytest.mark.parametrize("typed", ['[{"a": 1}]', '{"role": "user"', "[1, 2]", "21", "true", "[{}]", '[{"type": "x"}]'])
def test_json_that_a_user_typed_is_what_he_said(typed: str) -> None:
    assert messages.history([{"role": "user", "content": typed}]) == (Message("user", typed),)


def test_roles_and_names_without_content_are_no_text() -> None:
    raw = [
        {"role": "user", "parts": [{"type": "text"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "name": "f"}]},
    ]
    read = messages.history(raw)
    assert read == (Message("user"), Message("assistant", requests=(ToolRequest("f"),)))
    assert not messages.says_anything(read)


@pytest.mark.parametrize("raw", [None, 5, True, b"\xff", [], {}, [[]], [None, 7], "", object(), [[[[]]]]])
def test_what_is_no_message_says_nothing(raw: Any) -> None:
    assert not messages.says_anything(messages.history(raw)) or isinstance(raw, bytes)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Be brief.", "Be brief."),
        ('[{"type": "text", "content": "Be brief."}]', "Be brief."),
        ([{"type": "text", "content": "Be brief."}], "Be brief."),
        ({"parts": [{"text": "Be brief."}]}, "Be brief."),
        ("21", "21"),
    ],
)
def test_instructions_are_parts_or_plain_text(raw: Any, text: str) -> None:
    assert messages.system(raw) == (Message("system", text),)


def test_a_result_of_a_function_whose_role_was_not_known() -> None:
    assert messages.one({"role": "unknown", "content": "rain"}) == Message(
        "tool", results=(ToolResult(None, None, "rain"),)
    )


def test_objects_that_are_shown_as_python_does() -> None:
    answer = "{'annotations': [], 'text': \"It's wet.\", 'type': 'output_text', 'logprobs': []}"
    call = "ResponseFunctionToolCall(arguments='{\"city\": \"Oslo\"}', call_id='c', name='look', type='function_call')"
    listed = [{"role": "assistant", "parts": [{"type": "text", "content": each}]} for each in (answer, call)]
    request = ToolRequest("look", "c", '{"city": "Oslo"}')
    assert messages.history(listed) == (Message("assistant", "It's wet."), Message("assistant", None, (request,)))
    for typed in ("{'annotations': [}", "{'annotations': 1}", "ResponseFunctionToolCall(?"):
        assert messages.history([{"role": "user", "parts": [{"type": "text", "content": typed}]}]) == (
            Message("user", typed),
        )


def test_a_result_that_is_json_of_blocks_of_text_is_the_text() -> None:
    content = '[{"type": "text", "text": "rain"}, {"type": "text", "text": "and snow"}]'
    message = messages.one({"role": "tool", "tool_call_id": "c", "content": content})
    assert message == Message("tool", results=(ToolResult("c", None, "rain\nand snow"),))


@pytest.mark.parametrize("cut", ['[{"type": "tool_result", "tool_use_id": "c", "con', '[{"text": "Tell me a jo'])
def test_parts_that_a_limit_has_cut_are_no_text(cut: str) -> None:
    assert messages.one({"role": "user", "content": cut}) == Message("user")
    typed = '[{"type": "question"}] is what I typed'
    assert messages.one({"role": "user", "content": typed[1:]}) == Message("user", typed[1:])


def test_half_an_emoji_and_a_number_that_is_none_cost_no_message() -> None:
    """As Python's `json` writes them, and JavaScript the first; the grammar of JSON has neither."""
    asked = {"role": "user", "parts": [{"type": "text", "content": "cut \ud83d"}]}
    call = {"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": float("nan"), "y": 1}}
    found = messages.history(json.dumps([asked, {"role": "assistant", "parts": [call]}]))
    assert found == (
        Message("user", "cut \ud83d"),
        Message("assistant", requests=(ToolRequest("f", "1", '{"x":null,"y":1}'),)),
    )


def test_json_that_a_limit_has_cut_is_no_text() -> None:
    whole = orjson.dumps([{"role": "user", "content": "Hello"}]).decode()
    for length in range(5, len(whole)):
        assert messages.history(whole[:length]) == ()
