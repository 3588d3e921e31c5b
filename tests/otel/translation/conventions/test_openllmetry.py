from __future__ import annotations

from typing import Any

import pytest
from support.spans import span

from mlsdk_otel.translation.conventions import openllmetry
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall, ToolRun, Usage


def fact(**attributes: Any) -> Any:
    view = span("openai.chat", **attributes)
    assert openllmetry.claims(view)
    read = openllmetry.read(view)
    return read and read.fact


def test_indexed_prompts_and_completions() -> None:
    call = fact(
        **{
            "llm.request.type": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": '[{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {}}]',
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "Hello.",
            "gen_ai.usage.prompt_tokens": 3,
        }
    )
    assert call == ModelCall(
        (Message("user", "Look:\n[image]"),), (Message("assistant", "Hello."),), request_model="m", usage=Usage(3)
    )


@pytest.mark.parametrize("kind", ["embedding", "rerank"])
def test_requests_of_other_kinds_are_no_calls(kind: str) -> None:
    assert fact(**{"llm.request.type": kind}) is None


def test_a_decorated_function() -> None:
    run = fact(
        **{
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "f",
            "traceloop.entity.input": '{"args": [], "kwargs": {"city": "Oslo"}}',
            "traceloop.entity.output": '"snow"',
        }
    )
    assert run == ToolRun("f", None, '{"city":"Oslo"}', "snow")


@pytest.mark.parametrize("kind", ["workflow", "task"])
def test_decorated_workflows_are_around_calls(kind: str) -> None:
    around = fact(**{"traceloop.span.kind": kind, "traceloop.entity.input": '{"args": ["Hi"], "kwargs": {}}'})
    assert around == Enclosure(None, (Message("user", "Hi"),))


def test_a_decorated_agent_has_a_name() -> None:
    assert fact(**{"traceloop.span.kind": "agent", "traceloop.entity.name": "shop"}) == Enclosure("shop")


def test_a_function_of_langchain() -> None:
    given = '{"input_str": "{}", "inputs": {"city": "Oslo"}, "kwargs": {"color": "green", "tool_call_id": "c"}}'
    came = '{"output": {"lc": 1, "kwargs": {"content": "rain", "tool_call_id": "c"}}, "kwargs": {"color": "green"}}'
    own = {"traceloop.entity.name": "look", "traceloop.entity.input": given, "traceloop.entity.output": came}
    assert fact(**{"traceloop.span.kind": "tool", **own}) == ToolRun("look", "c", '{"city":"Oslo"}', "rain")
