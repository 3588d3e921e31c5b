"""Which setting makes a library put texts on its spans, for those that have none.

Only here is the library's name asked, its scope: one convention has many libraries, and each has a switch of its own.
"""

from __future__ import annotations

from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.spanview import SpanView

_GENAI: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental"
_LOGS: Final = "OTEL_LOGS_EXPORTER=mindlytics"
_BY_SCOPE: Final = (
    ("opentelemetry.instrumentation.genai.", f"{_GENAI}=SPAN_ONLY"),
    ("opentelemetry.util.genai", f"{_GENAI}=SPAN_ONLY"),
    ("opentelemetry.instrumentation.openai_v2", f"{_GENAI}=true and {_LOGS}"),
    ("opentelemetry.instrumentation.google_genai", f"{_GENAI}=SPAN_ONLY"),
    ("opentelemetry.instrumentation.vertexai", f"{_GENAI}=true and {_LOGS}"),
    ("opentelemetry.instrumentation.botocore", f"{_GENAI}=true and {_LOGS}"),
    ("com.anthropic.sdk", "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE=content"),
    ("openinference.", "OPENINFERENCE_HIDE_INPUTS=false and OPENINFERENCE_HIDE_OUTPUTS=false"),
    ("pydantic-ai", "InstrumentationSettings(include_content=True)"),
    ("gcp.vertex.agent", f"{_OPT_IN} and {_GENAI}=SPAN_ONLY"),
    ("agent_framework", "ENABLE_SENSITIVE_DATA=true"),
    ("semantic_kernel", "SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS_SENSITIVE=true"),
    ("azure.ai", "AZURE_TRACING_GEN_AI_CONTENT_RECORDING_ENABLED=true"),
    ("litellm", "litellm.turn_off_message_logging = False"),
    ("strands.", f"{_GENAI}=SPAN_ONLY"),
    ("traceloop", "TRACELOOP_TRACE_CONTENT=true"),
    ("opentelemetry.instrumentation.", "TRACELOOP_TRACE_CONTENT=true"),  # all others of that name are OpenLLMetry's
)
_BY_ATTRIBUTE: Final = (
    ("openinference.span.kind", "OPENINFERENCE_HIDE_INPUTS=false and OPENINFERENCE_HIDE_OUTPUTS=false"),
    ("llm.request.type", "TRACELOOP_TRACE_CONTENT=true"),
    ("traceloop.span.kind", "TRACELOOP_TRACE_CONTENT=true"),
    ("ai.operationId", "experimental_telemetry: { recordInputs: true, recordOutputs: true }"),
    ("gcp.vertex.agent.llm_request", "ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS=true"),
    (names.OPERATION, f"{_GENAI}=SPAN_ONLY"),
    (names.SYSTEM, f"{_GENAI}=true and {_LOGS}"),
)


def content(view: SpanView) -> str | None:
    """What to set so that spans like this one carry texts; None where nobody knows.

    OpenLLMetry writes them to log records on request (`use_legacy_attributes=False`); its switch is named all the same.
    """
    own = view.attributes
    if "gcp.vertex.agent.llm_request" in own and names.OPERATION not in own:
        return "ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS=true"
    scope = view.scope or ""
    for prefix, setting in _BY_SCOPE:
        if scope.startswith(prefix):
            return setting
    return next((setting for key, setting in _BY_ATTRIBUTE if key in own), None)
