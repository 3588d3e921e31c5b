from __future__ import annotations

from typing import Any

import orjson
from support.spans import event, span

from mlsdk_otel.translation.conventions import genai_events
from mlsdk_otel.translation.facts import Message, ToolRequest, ToolResult, ToolRun
from mlsdk_otel.translation.spanview import EventView, SpanView


def log(name: str, body: Any) -> EventView:
    return EventView(name, 0, {"gen_ai.system": "openai"}, body=body)


def logged(*records: EventView) -> SpanView:
    made = span("chat")
    return SpanView(**{name: getattr(made, name) for name in made.__slots__ if name != "logs"}, logs=records)


def test_log_records_hold_one_message_each() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    sent, answer = genai_events.exchange(
        logged(
            log("gen_ai.system.message", {"content": "Be brief."}),
            log("gen_ai.user.message", {"content": "Hi"}),
            log("gen_ai.assistant.message", {"tool_calls": [call]}),
            log("gen_ai.tool.message", {"id": "c", "content": "snow"}),
            log(
                "gen_ai.choice",
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Cold."}},
            ),
        )
    )
    assert sent == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", requests=(ToolRequest("f", "c", "{}"),)),
        Message("tool", results=(ToolResult("c", None, "snow"),)),
    )
    assert answer == (Message("assistant", "Cold."),)


def test_the_body_of_a_record_is_json_text() -> None:
    sent, answer = genai_events.exchange(
        logged(
            log("gen_ai.user.message", '{"role": "user", "content": "Hi"}'),
            log("gen_ai.choice", '{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}'),
        )
    )
    assert (sent, answer) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_records_without_content_say_nothing() -> None:
    sent, answer = genai_events.exchange(
        logged(log("gen_ai.user.message", None), log("gen_ai.choice", {"message": {"role": "assistant"}}))
    )
    assert (sent, answer) == ((Message("user"),), (Message("assistant"),))


def test_events_of_the_span_hold_json_of_blocks() -> None:
    sent, answer = genai_events.exchange(
        span(
            "chat",
            event("gen_ai.user.message", content='[{"text": "Hi"}]'),
            event("gen_ai.assistant.message", content='[{"toolUse": {"toolUseId": "c", "name": "f", "input": {}}}]'),
            event("gen_ai.tool.message", content='[{"toolResult": {"toolUseId": "c", "content": [{"text": "snow"}]}}]'),
            event("gen_ai.choice", message='[{"text": "Cold."}]', finish_reason="end_turn"),
            event("exception"),
        )
    )
    assert [message.role for message in sent] == ["user", "assistant", "tool"]
    assert sent[2].results == (ToolResult("c", None, "snow"),)
    assert answer == (Message("assistant", "Cold."),)


def test_the_fields_are_json_in_one_attribute() -> None:
    sent, answer = genai_events.exchange(
        span(
            "chat",
            event("gen_ai.user.message", **{"gen_ai.event.content": '{"role": "user", "content": "Hi"}'}),
            event(
                "gen_ai.choice", **{"gen_ai.event.content": '{"message": {"role": "assistant", "content": "Hello."}}'}
            ),
        )
    )
    assert (sent, answer) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_a_user_who_types_json_said_that() -> None:
    for typed in ("42", '{"a": 1}', "[1]", '"quoted"'):
        sent, _ = genai_events.exchange(logged(log("gen_ai.user.message", {"content": typed})))
        assert sent == (Message("user", typed),)


def test_the_answer_of_an_agent_is_plain_text() -> None:
    _, answer = genai_events.exchange(span("agent", event("gen_ai.choice", message="Cold.\n", finish_reason="stop")))
    assert answer == (Message("assistant", "Cold.\n"),)


def test_a_function_tells_what_it_was_given_and_what_it_gave() -> None:
    run = genai_events.tool(
        span(
            "execute_tool f",
            event("gen_ai.tool.message", role="tool", content='{"city": "Oslo"}', id="c"),
            event("gen_ai.choice", message='[{"text": "snow"}]', id="c"),
        )
    )
    assert run == ToolRun(None, "c", '{"city": "Oslo"}', "snow")


def test_all_events_are_json_in_one_attribute_of_the_span() -> None:
    """So pydantic-ai had it in its first format."""
    listed = [
        {"event.name": "gen_ai.system.message", "content": "Be brief.", "role": "system"},
        {"event.name": "gen_ai.user.message", "content": "Hi", "role": "user"},
        {"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": "Hello."}},
        {"content": "without a name"},
        "no event",
    ]
    sent, answer = genai_events.exchange(span("chat", events=orjson.dumps(listed).decode()))
    assert sent == (Message("system", "Be brief."), Message("user", "Hi"))
    assert answer == (Message("assistant", "Hello."),)
