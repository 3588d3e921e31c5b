from __future__ import annotations

from typing import Any

from support.spans import span

from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.conventions import logfire
from mlsdk_otel.translation.facts import Message, ModelCall, Reading, Usage
from mlsdk_otel.translation.spanview import SpanView

SENT = '[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]'
ANSWER = '[{"role": "assistant", "parts": [{"type": "text", "content": "Hello."}]}]'


def view(**attributes: Any) -> SpanView:
    return span("Chat Completion", **{"logfire.span_type": "span", **attributes})


def request(**attributes: Any) -> SpanView:
    given = {"request_data": '{"model": "m"}', "gen_ai.operation.name": "chat", "gen_ai.input.messages": SENT}
    return view(**given, **attributes)


def test_the_first_half_of_a_stream_is_left_out() -> None:
    assert logfire.claims(request())
    assert conventions.read(request(**{"gen_ai.response.model": "m"})) is None


def test_the_second_half_has_everything() -> None:
    read = logfire.read(request(**{"gen_ai.output.messages": ANSWER, "gen_ai.response.id": "r"}))
    assert isinstance(read, Reading)
    assert isinstance(read.fact, ModelCall)
    assert (read.fact.input, read.fact.output) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_a_request_that_failed_is_a_failed_call() -> None:
    read = logfire.read(request(**{"error.type": "E"}))
    assert read is not None
    assert isinstance(read.fact, ModelCall)
    assert read.fact.has_failed


def test_before_the_conventions_request_and_answer_were_json() -> None:
    asked = '{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
    came = (
        '{"message": {"role": "assistant", "content": "Hello."}, "usage": {"prompt_tokens": 3, "completion_tokens": 2}}'
    )
    read = logfire.read(view(request_data=asked, response_data=came))
    assert read is not None
    assert read.fact == ModelCall(
        (Message("user", "Hi"),), (Message("assistant", "Hello."),), request_model="m", usage=Usage(3, 2)
    )
    stream = logfire.read(
        view(request_data=asked, response_data='{"combined_chunk_content": "Hello.", "chunk_count": 2}')
    )
    assert stream is not None
    assert isinstance(stream.fact, ModelCall)
    assert stream.fact.output == (Message("assistant", "Hello."),)


def test_requests_of_other_kinds_are_no_calls() -> None:
    assert logfire.read(view(request_data='{"model": "e", "input": "text", "encoding_format": "float"}')) is None
    assert not logfire.claims(span("POST", request_data="{}"))
