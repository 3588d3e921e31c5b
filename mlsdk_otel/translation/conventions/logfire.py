"""Logfire's own instrumentation of model clients: `request_data`, beside the GenAI conventions since version 4.

A stream is two spans: the request, which knows nothing of the answer, and a later one of no length with everything. The
first is left out where nothing failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import calls, genai, messages, reading
from mlsdk_otel.translation.facts import Message, ModelCall, Reading, Usage
from mlsdk_otel.translation.spanview import SpanView

_REQUEST: Final = "request_data"
_RESPONSE: Final = "response_data"
_OWN: Final = ("logfire.span_type", "logfire.msg")
MARKERS: Final = frozenset({_REQUEST})


def claims(view: SpanView) -> bool:
    """Whether a span is one of Logfire's around a request to a model."""
    return _REQUEST in view.attributes and any(key in view.attributes for key in _OWN)


def read(view: SpanView) -> Reading | None:
    """What a span says; None for one that is no call of a chat model, or only the first half of a stream."""
    own = view.attributes
    asked = reading.mapping(own.get(_REQUEST)) or {}
    came = reading.mapping(own.get(_RESPONSE)) or {}
    if names.OPERATION in own:
        found = genai.read(view)
    elif any(key in asked for key in ("messages", "contents")) or isinstance(asked.get("input"), list):
        found = _before_the_conventions(view, asked, came)
    else:
        return None
    if found is None or not isinstance(found.fact, ModelCall):
        return found
    call = found.fact
    is_half = not (call.output or call.has_failed or call.response_id) and call.usage == Usage()
    return None if is_half else found


def _before_the_conventions(view: SpanView, asked: Mapping[str, object], came: Mapping[str, object]) -> Reading:
    sent: tuple[Message, ...] = ()
    for key in ("messages", "input", "contents"):
        sent = sent or messages.history(asked.get(key))
    system = messages.system(asked.get("system") or asked.get("instructions"))
    said = came.get("combined_chunk_content")
    answer = messages.history(came.get("message") or said, role="assistant")
    tokens = reading.mapping(came.get("usage")) or {}
    usage = Usage(
        reading.count(messages.first(tokens, ("prompt_tokens", "input_tokens"))),
        reading.count(messages.first(tokens, ("completion_tokens", "output_tokens"))),
    )
    return calls.model_call(
        view,
        (*system, *sent),
        answer,
        request_model=asked.get("model"),
        previous=asked.get("previous_response_id"),
        tokens=usage if usage != Usage() else None,
    )
