from __future__ import annotations

from typing import Any

import pytest
from support.spans import span

from mlsdk_otel.translation.conventions import vercel
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall, ToolRequest, ToolRun, Usage

PROMPT = (
    '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Cold?"}]}]'
)


def fact(operation: str, **attributes: Any) -> Any:
    read = vercel.read(span(operation, **{"ai.operationId": operation, **attributes}))
    return read and read.fact


@pytest.mark.parametrize(
    ("tokens", "argument"), [(("promptTokens", "completionTokens"), "args"), (("inputTokens", "outputTokens"), "input")]
)
@pytest.mark.parametrize("operation", ["ai.generateText.doGenerate", "ai.streamText.doStream"])
def test_the_inner_span_is_the_call(operation: str, tokens: tuple[str, str], argument: str) -> None:
    call = fact(
        operation,
        **{
            "ai.prompt.messages": PROMPT,
            "ai.response.text": "",
            "ai.response.toolCalls": f'[{{"toolCallId": "c", "toolName": "f", "{argument}": {{"a": 1}}}}]',
            "ai.model.id": "m",
            "ai.response.model": "m-1",
            "ai.response.id": "r",
            f"ai.usage.{tokens[0]}": 3,
            f"ai.usage.{tokens[1]}": 2,
        },
    )
    assert call == ModelCall(
        input=(Message("system", "Be brief."), Message("user", "Cold?")),
        output=(Message("assistant", requests=(ToolRequest("f", "c", '{"a":1}'),)),),
        request_model="m",
        response_model="m-1",
        usage=Usage(3, 2),
        response_id="r",
    )


def test_the_outer_span_is_around_it() -> None:
    around = fact(
        "ai.streamText", **{"ai.prompt": '{"prompt": "Hi"}', "ai.response.text": "Hello.", "ai.usage.promptTokens": 3}
    )
    assert around == Enclosure(None, (Message("user", "Hi"),), (Message("assistant", "Hello."),), usage=Usage(3))


def test_a_function() -> None:
    run = fact(
        "ai.toolCall",
        **{
            "ai.toolCall.name": "f",
            "ai.toolCall.id": "c",
            "ai.toolCall.args": '{"a":1}',
            "ai.toolCall.result": '"snow"',
        },
    )
    assert run == ToolRun("f", "c", '{"a":1}', "snow")


@pytest.mark.parametrize("operation", ["ai.embed", "ai.embedMany.doEmbed"])
def test_embeddings_are_no_calls(operation: str) -> None:
    assert fact(operation, **{"ai.usage.tokens": 3}) is None
