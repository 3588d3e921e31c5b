"""Which clients are seen, and whether with their texts."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from mlsdk.doctor.findings import Finding, Level
from mlsdk_otel.doctor.clients import CLIENTS
from mlsdk_otel.doctor.facts import Conflict

Complaints = Callable[..., list[Finding]]
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
GENAI = {"openai": "2.1", "opentelemetry-instrumentation-genai-openai": "1.3b0"}
OLDER = {"openai": "2.1", "opentelemetry-instrumentation-openai-v2": "2.4b0"}


def only(found: list[Finding], level: Level, check: str) -> Finding:
    (finding,) = found
    assert (finding.level, finding.check) == (level, check), finding
    return finding


def test_the_table_names_distributions() -> None:
    names = [*CLIENTS, *(name for each in CLIENTS.values() for name in each)]
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_nobody_instruments(complaints: Complaints, client: str) -> None:
    finding = only(complaints(installed={client: "1.2.3"}), Level.WARNING, "instrumentation")
    assert f"{client} 1.2.3 is installed" in finding.text
    assert f"pip install {CLIENTS[client][0]}" in finding.cure


def test_a_client_below_an_instrumented_framework_is_seen(complaints: Complaints) -> None:
    assert (
        complaints(installed={"langchain-core": "1.0", "openai": "2.1", CLIENTS["langchain-core"][2]: "0.1.80"}) == []
    )


def test_two_instrumentations_of_one_client(complaints: Complaints) -> None:
    both = {
        "openai": "2.1",
        "opentelemetry-instrumentation-openai": "0.62",
        "openinference-instrumentation-openai": "1",
    }
    finding = only(complaints(installed=both), Level.WARNING, "instrumentation")
    assert finding.cure == "keep one: pip uninstall openinference-instrumentation-openai"


def test_an_instrumentation_for_another_version(complaints: Complaints) -> None:
    conflict = Conflict("opentelemetry-instrumentation-openai-v2", "openai>=1.26.0", "openai 0.28.1")
    finding = only(complaints(conflicts=(conflict,)), Level.PROBLEM, "instrumentation")
    assert finding.cure.startswith('pip install "openai>=1.26.0"')


def test_everything_switched_off(complaints: Complaints) -> None:
    finding = only(
        complaints(variables={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}), Level.WARNING, "instrumentation"
    )
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in finding.cure


@pytest.mark.parametrize(
    ("installed", "variables", "cure"),
    [
        (GENAI, {}, f"export {CAPTURE}=SPAN_ONLY"),
        (GENAI, {CAPTURE: "NO_CONTENT"}, f"export {CAPTURE}=SPAN_ONLY"),
        (GENAI, {CAPTURE: "true"}, f"export {CAPTURE}=SPAN_ONLY"),
        (GENAI, {CAPTURE: "SPAN_ONLY"}, None),
        (GENAI, {CAPTURE: "span_and_event"}, None),
        (GENAI, {CAPTURE: "EVENT_ONLY"}, "export OTEL_LOGS_EXPORTER=mindlytics"),
        (GENAI, {CAPTURE: "EVENT_ONLY", "OTEL_LOGS_EXPORTER": "console,mindlytics"}, None),
        (OLDER, {}, f"export {CAPTURE}=true"),
        (OLDER, {CAPTURE: "true"}, "export OTEL_LOGS_EXPORTER=mindlytics"),
        (OLDER, {CAPTURE: "true", "OTEL_LOGS_EXPORTER": "mindlytics"}, None),
        (
            OLDER,
            {CAPTURE: "true", "OTEL_SEMCONV_STABILITY_OPT_IN": "http,gen_ai_latest_experimental"},
            f"export {CAPTURE}=SPAN_ONLY",
        ),
        (
            {"anthropic": "2.12.0", "langchain-core": "1.0", CLIENTS["langchain-core"][1]: "1"},
            {},
            "export ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE=content",
        ),
        (
            {"openai": "2.1", "openinference-instrumentation-openai": "1"},
            {"OPENINFERENCE_HIDE_INPUTS": "true"},
            "unset OPENINFERENCE_HIDE_INPUTS",
        ),
        (
            {"openai": "2.1", "opentelemetry-instrumentation-openai": "0.62"},
            {"TRACELOOP_TRACE_CONTENT": "false"},
            "unset TRACELOOP_TRACE_CONTENT",
        ),
        ({}, {"MLSDK_CAPTURE_CONTENT": "false"}, "unset MLSDK_CAPTURE_CONTENT, or set it to true"),
    ],
)
def test_texts_that_are_not_captured(
    complaints: Complaints, installed: dict[str, str], variables: dict[str, str], cure: str | None
) -> None:
    found = complaints(
        installed=installed, variables={"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **variables},
        exporters={each: frozenset({"mindlytics", "console"}) for each in ("traces", "metrics", "logs")},
    )  # fmt: skip
    assert [finding.cure for finding in found] == ([] if cure is None else [cure])
    assert {finding.check for finding in found} <= {"content"}
