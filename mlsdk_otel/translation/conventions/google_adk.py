"""Google's Agent Development Kit up to 1.x: the whole request and answer as JSON text on the span `call_llm`.

Later versions follow the GenAI conventions; so do the spans of its agents and functions from the start.
"""

from __future__ import annotations

from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import calls, messages, reading
from mlsdk_otel.translation.facts import Reading
from mlsdk_otel.translation.spanview import SpanView

_REQUEST: Final = "gcp.vertex.agent.llm_request"
_RESPONSE: Final = "gcp.vertex.agent.llm_response"
MARKERS: Final = frozenset({_REQUEST})


def claims(view: SpanView) -> bool:
    """Whether a span is a model call of the kit; those of its functions have these attributes too, but empty."""
    return _REQUEST in view.attributes and names.OPERATION not in view.attributes


def read(view: SpanView) -> Reading:
    """What a span says."""
    asked = reading.mapping(view.attributes.get(_REQUEST)) or {}
    came = reading.mapping(view.attributes.get(_RESPONSE)) or {}
    config = reading.mapping(asked.get("config")) or {}
    system = messages.system(config["system_instruction"]) if config.get("system_instruction") else ()
    answer = came.get("content")
    return calls.model_call(
        view,
        (*system, *messages.history(asked.get("contents"))),
        messages.history(answer, role="assistant"),
        request_model=asked.get("model"),
        response_model=came.get("model_version"),
    )
