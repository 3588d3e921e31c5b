"""Google's API gives the calls of functions no ids; what was asked for and what it gave still belong together."""

from __future__ import annotations

from typing import Any

from support.spans import span

from mlsdk.events import Event
from mlsdk_otel.translation.spanview import SpanView
from mlsdk_otel.translation.translator import Translator

ASKED = {
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "Is it cold?",
}
REQUEST = {
    "message.role": "model",
    "message.tool_calls.0.tool_call.function.name": "get_weather",
    "message.tool_calls.0.tool_call.function.arguments": '{"city": "Oslo"}',
}
RESULT = {"message.role": "tool", "message.name": "get_weather", "message.content": '{"result": "snow"}'}
ANSWER = {"message.role": "model", "message.content": "It is."}


def call(trace: int, start: float, **attributes: Any) -> SpanView:
    common = {"openinference.span.kind": "LLM", "llm.provider": "google", "llm.model_name": "gemini"}
    tokens = {"llm.token_count.prompt": 10, "llm.token_count.completion": 2}
    return span("GenerateContent", trace=trace, start=start, end=start + 1, **common, **tokens, **attributes)


def under(prefix: str, fields: dict[str, str]) -> dict[str, str]:
    return {f"{prefix}.{key}": value for key, value in fields.items()}


def asking(trace: int, start: float, **attributes: Any) -> SpanView:
    return call(trace, start, **ASKED, **under("llm.output_messages.0", REQUEST), **attributes)


def answering(trace: int, start: float, **attributes: Any) -> SpanView:
    history = {**ASKED, **under("llm.input_messages.1", REQUEST), **under("llm.input_messages.2", RESULT)}
    return call(trace, start, **history, **under("llm.output_messages.0", ANSWER), **attributes)


def told(*views: SpanView) -> list[tuple[str, Any]]:
    translator = Translator(project_id="p")
    found: list[Event] = []
    for view in views:
        found += translator.feed(view, 0.0)
    found += translator.close(0.0)
    return [(str(event["event"]), event["properties"]) for event in found if "event" in event and "properties" in event]


def test_a_function_in_two_traces_is_one_turn() -> None:
    events = [event for event in told(asking(1, 0), answering(2, 2)) if len(event[1]) > 1]
    assert [name for name, _ in events] == ["Conversation Function", "Conversation Turn"]
    function, turn = (properties for _, properties in events)
    assert (function["name"], function["args"], function["result"]) == ("get_weather", '{"city": "Oslo"}', "snow")
    assert (turn["user"], turn["assistant"], turn["prompt_tokens"], turn["completion_tokens"]) == (
        "Is it cold?",
        "It is.",
        20,
        4,
    )


def test_another_session_is_left_alone() -> None:
    events = told(asking(1, 0, **{"session.id": "a"}), answering(2, 2, **{"session.id": "b"}))
    turns = [properties for name, properties in events if name == "Conversation Turn"]
    assert [turn["prompt_tokens"] for turn in turns] == [10]
