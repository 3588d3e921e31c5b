from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.spans import span

from mlsdk_otel.translation.conventions import mlflow
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall, ToolRun, Usage


def fact(kind: str, *, name: str = "x", **attributes: Any) -> Any:
    said = {f"mlflow.{key}": orjson.dumps(held).decode() for key, held in {"spanType": kind, **attributes}.items()}
    view = span(name, **said)
    assert mlflow.claims(view)
    read = mlflow.read(view)
    return read and read.fact


def test_a_call_of_a_model() -> None:
    call = fact(
        "CHAT_MODEL",
        spanInputs={"model": "m", "messages": [{"role": "user", "content": "Hi"}], "previous_response_id": "resp_0"},
        spanOutputs={
            "id": "resp_1",
            "model": "m-1",
            "choices": [{"message": {"role": "assistant", "content": "Hello."}}],
        },
        **{"chat.tokenUsage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}, "llm.model": "m"},
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


def test_a_stream_is_told_as_its_text() -> None:
    call = fact("LLM", spanInputs={"messages": [{"role": "user", "content": "Hi"}]}, spanOutputs="Hello.")
    assert (call.output, call.usage) == ((Message("assistant", "Hello."),), Usage())


@pytest.mark.parametrize(("made", "result"), [("snow", "snow"), ({"temp": -3}, '{"temp":-3}'), (None, None)])
def test_a_function(made: Any, result: str | None) -> None:
    run = fact("TOOL", name="look", spanInputs={"city": "Oslo"}, spanOutputs=made)
    assert run == ToolRun("look", None, '{"city":"Oslo"}', result)


def test_what_is_around_calls() -> None:
    assert fact("AGENT", name="shop") == Enclosure("shop")
    chain = fact("UNKNOWN", spanInputs={"q": "Hi"}, spanOutputs="Hello.")
    assert (chain, chain.given, chain.made) == (Enclosure(), '{"q":"Hi"}', '"Hello."')


@pytest.mark.parametrize("kind", ["RETRIEVER", "EMBEDDING", "PARSER", ""])
def test_what_is_no_part_of_a_conversation(kind: str) -> None:
    assert fact(kind) is None
