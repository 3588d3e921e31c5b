from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support import corpus
from support.spans import span

from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.facts import ModelCall

GENAI = {"gen_ai.operation.name": "chat"}


@pytest.mark.parametrize(
    ("scope", "attributes", "setting"),
    [
        (
            "opentelemetry.instrumentation.genai.openai",
            GENAI,
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY",
        ),
        (
            "opentelemetry.instrumentation.openai_v2",
            GENAI,
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true and OTEL_LOGS_EXPORTER=mindlytics",
        ),
        ("com.anthropic.sdk.python", GENAI, "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE=content"),
        ("pydantic-ai", GENAI, "InstrumentationSettings(include_content=True)"),
        ("opentelemetry.instrumentation.openai.v1", GENAI, "TRACELOOP_TRACE_CONTENT=true"),
        (None, GENAI, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY"),
        ("mine", {"llm.request.type": "chat"}, "TRACELOOP_TRACE_CONTENT=true"),
        ("x", {"gcp.vertex.agent.llm_request": "{}"}, "ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS=true"),
        ("x", {"http.route": "/"}, None),
    ],
)
def test_the_switch_of_a_library_is_named(scope: str | None, attributes: dict[str, Any], setting: str | None) -> None:
    assert conventions.content_hint(replace(span("x", **attributes), scope=scope)) == setting


SILENT = [
    one
    for one in corpus.recorded()
    if not one.expected["content_captured"] and one.scenario != "tool_agents_only"  # no model spans at all
]


@pytest.mark.parametrize("recording", SILENT, ids=str)
def test_each_recording_without_texts_has_a_switch(recording: corpus.Recording) -> None:
    silent = [
        view
        for view in recording.views
        if (found := conventions.read(view)) and isinstance(found.fact, ModelCall) and not found.fact.has_content
    ]
    assert silent
    assert all(conventions.content_hint(view) for view in silent)
