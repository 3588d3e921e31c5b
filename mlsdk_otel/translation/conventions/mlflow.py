"""MLflow's tracing: `mlflow.spanType`, with inputs and outputs; each attribute is JSON text.

The session and user that `mlflow.update_current_trace` is given are MLflow's own: they are on no span.
"""

from __future__ import annotations

from typing import Final

from mlsdk_otel.translation.conventions import calls, messages, payloads, reading
from mlsdk_otel.translation.facts import Reading, Usage
from mlsdk_otel.translation.spanview import SpanView

_TYPE: Final = "mlflow.spanType"
_INPUTS: Final = "mlflow.spanInputs"
_OUTPUTS: Final = "mlflow.spanOutputs"
_MODEL: Final = "mlflow.llm.model"
_USAGE: Final = "mlflow.chat.tokenUsage"
_AROUND: Final = frozenset({"UNKNOWN", "AGENT", "CHAIN", "WORKFLOW", "TASK"})
MARKERS: Final = frozenset({_TYPE})


def claims(view: SpanView) -> bool:
    """Whether a span names its type as MLflow does."""
    return _TYPE in view.attributes


def read(view: SpanView) -> Reading | None:
    """What a span says; None for one that is no part of a conversation."""
    own = view.attributes
    kind = str(messages.loaded(own.get(_TYPE))).upper()
    given, made = own.get(_INPUTS), own.get(_OUTPUTS)
    if kind in ("CHAT_MODEL", "LLM"):
        asked = reading.mapping(given) or {}
        came = reading.mapping(made) or {}
        counted = reading.mapping(own.get(_USAGE)) or {}
        return calls.model_call(
            view,
            payloads.said(given, role="user"),
            payloads.said(made, role="assistant"),
            response_id=came.get("id"),
            previous=asked.get("previous_response_id"),
            request_model=messages.loaded(own.get(_MODEL)) or asked.get("model"),
            response_model=came.get("model"),
            tokens=Usage(reading.count(counted.get("input_tokens")), reading.count(counted.get("output_tokens"))),
        )
    if kind == "TOOL":
        result = messages.result(messages.loaded(made))
        return calls.tool_run(view, name=view.name, call_id=None, arguments=given, result=result)
    if kind in _AROUND:
        return calls.enclosure(view, agent=view.name if kind == "AGENT" else None)
    return None
