"""Answers that were not heard to their end: known by what libraries leave out, or call an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlsdk_otel.translation.conventions import streams

STREAM = {"gen_ai.request.stream": True}


@pytest.mark.parametrize("kind", ["_OTHER", "GeneratorExit", "asyncio.exceptions.CancelledError"])
def test_a_reader_that_goes_away_is_no_failure(kind: str) -> None:
    assert streams.is_left({"error.type": kind})


@pytest.mark.parametrize("kind", ["openai.APIConnectionError", "500", None, 3])
def test_any_other_error_is_one(kind: object) -> None:
    assert not streams.is_left({"error.type": kind})


@pytest.mark.parametrize(
    "attributes",
    [
        {**STREAM},
        {**STREAM, "gen_ai.response.finish_reasons": ("error",)},
        {**STREAM, "gen_ai.response.finish_reasons": ()},
        {"gen_ai.response.finish_reasons": '["error"]'},
        {"gen_ai.is_streaming": True, "gen_ai.output.messages": '[{"role": "assistant", "finish_reason": ""}]'},
        {
            "llm.invocation_parameters": '{"model": "m", "stream": true}',
            "output.value": json.dumps({"choices": [{"message": {"content": "one"}, "index": 0}]}),
        },
    ],
)
def test_a_stream_without_an_end_is_cut(attributes: dict[str, Any]) -> None:
    assert streams.is_cut(attributes, is_counted=False)


@pytest.mark.parametrize(
    "attributes",
    [
        {},  # no stream
        {**STREAM, "gen_ai.response.finish_reasons": ("stop",)},
        {**STREAM, "gen_ai.response.finish_reasons": "stop"},
        {"llm.is_streaming": True, "gen_ai.completion.0.finish_reason": "stop"},
        {"gen_ai.is_streaming": True, "gen_ai.output.messages": '[{"finish_reason": "stop"}]'},
        {
            "llm.invocation_parameters": '{"stream": true}',
            "output.value": json.dumps({"generations": [[{"generation_info": {"finish_reason": "stop"}}]]}),
        },
        {**STREAM, "output.value": "no JSON", "gen_ai.response.finish_reasons": ["tool_calls"]},
    ],
)
def test_a_stream_that_says_why_it_ended_is_whole(attributes: dict[str, Any]) -> None:
    assert not streams.is_cut(attributes, is_counted=False)


def test_a_stream_whose_tokens_are_counted_is_whole() -> None:
    assert not streams.is_cut(STREAM, is_counted=True)
