"""Judges what model clients are installed, who instruments them, and whether texts are captured. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mlsdk.doctor.findings import Finding, fine, problem, warning
from mlsdk_otel.doctor.facts import Facts

_OTEL: Final = "opentelemetry-instrumentation"
_OPENINFERENCE: Final = "openinference-instrumentation"

CLIENTS: Final = {
    "openai": (
        f"{_OTEL}-genai-openai",
        f"{_OTEL}-openai-v2",
        f"{_OTEL}-openai",
        f"{_OPENINFERENCE}-openai",
    ),
    "anthropic": (f"{_OTEL}-genai-anthropic", f"{_OTEL}-anthropic", f"{_OPENINFERENCE}-anthropic"),
    "langchain-core": (f"{_OTEL}-genai-langchain", f"{_OTEL}-langchain", f"{_OPENINFERENCE}-langchain"),
    "openai-agents": (
        f"{_OTEL}-genai-openai-agents",
        f"{_OTEL}-openai-agents-v2",
        f"{_OTEL}-openai-agents",
        f"{_OPENINFERENCE}-openai-agents",
    ),
    "google-genai": (f"{_OTEL}-google-genai", f"{_OPENINFERENCE}-google-genai"),
    "google-cloud-aiplatform": (f"{_OTEL}-vertexai", f"{_OPENINFERENCE}-vertexai"),
    "litellm": (f"{_OTEL}-litellm", f"{_OPENINFERENCE}-litellm"),
    "llama-index-core": (f"{_OTEL}-genai-llama-index", f"{_OTEL}-llamaindex", f"{_OPENINFERENCE}-llama-index"),
    "mistralai": (f"{_OTEL}-mistralai", f"{_OPENINFERENCE}-mistralai"),
    "cohere": (f"{_OTEL}-cohere", f"{_OPENINFERENCE}-cohere"),
    "groq": (f"{_OTEL}-groq", f"{_OPENINFERENCE}-groq"),
    "ollama": (f"{_OTEL}-ollama", f"{_OPENINFERENCE}-ollama"),
    "together": (f"{_OTEL}-together", f"{_OPENINFERENCE}-together"),
    "crewai": (f"{_OTEL}-crewai", f"{_OPENINFERENCE}-crewai"),
    "dspy": (f"{_OTEL}-genai-dspy", f"{_OPENINFERENCE}-dspy"),
}
"""Model clients and frameworks, and the instrumentations that make spans of their calls, by distribution.

The first one is what is recommended. Those that make spans by themselves (pydantic-ai, Strands) are not listed.
"""
# A framework makes its own spans of the calls of these, so that nothing of theirs is missing.
_FRAMEWORKS: Final = ("langchain-core", "openai-agents", "litellm", "llama-index-core", "crewai", "dspy")
_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ANTHROPIC_CAPTURE: Final = "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"
_MODES: Final = ("SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT")
_HIDING: Final = (
    "OPENINFERENCE_HIDE_INPUTS",
    "OPENINFERENCE_HIDE_OUTPUTS",
    "OPENINFERENCE_HIDE_INPUT_MESSAGES",
    "OPENINFERENCE_HIDE_OUTPUT_MESSAGES",
    "OPENINFERENCE_HIDE_INPUT_TEXT",
    "OPENINFERENCE_HIDE_OUTPUT_TEXT",
)


def instrumentations(facts: Facts) -> Iterator[Finding]:
    """Clients that nobody instruments, or two do."""
    seen = {client: [each for each in CLIENTS[client] if each in facts.installed] for client in CLIENTS}
    has_framework = any(seen[framework] for framework in _FRAMEWORKS)
    for client, found in seen.items():
        if client not in facts.installed:
            continue
        if len(found) > 1:
            yield warning(
                "instrumentation",
                f"{client} is instrumented by {len(found)}: {', '.join(found)}",
                f"keep one: pip uninstall {' '.join(found[1:])}",
            )
        elif found:
            yield fine("instrumentation", f"{client} {facts.installed[client]}, by {found[0]}")
        elif not has_framework or client in _FRAMEWORKS:
            yield warning(
                "instrumentation",
                f"{client} {facts.installed[client]} is installed, and nothing that makes spans of its calls",
                f"pip install {CLIENTS[client][0]}, or record its turns by mlsdk",
            )


def conflicts(facts: Facts) -> Iterator[Finding]:
    """Instrumentations that are skipped because of a version."""
    for each in facts.conflicts:
        yield problem(
            "instrumentation",
            f"{each.instrumentation} wants {each.wanted}, and {each.found} is installed: it is skipped",
            f'pip install "{each.wanted}", or another version of {each.instrumentation}',
        )


def switched_off(facts: Facts) -> Iterator[Finding]:
    """Instrumentations that are turned off by name."""
    if "*" in facts.names("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"):
        yield warning(
            "instrumentation",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS is *: no model call becomes a span",
            "list only what you do not want in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        )


def content(facts: Facts) -> Iterator[Finding]:
    """Whether the texts are captured, which are off by default with some."""
    if facts.text("MLSDK_CAPTURE_CONTENT") and not facts.is_true("MLSDK_CAPTURE_CONTENT"):
        yield warning(
            "content",
            "MLSDK_CAPTURE_CONTENT is false: usage is sent, and no turns",
            "unset MLSDK_CAPTURE_CONTENT, or set it to true",
        )
    for each in (_genai(facts), _anthropic(facts), _openinference(facts), _openllmetry(facts)):
        yield from each


def _genai(facts: Facts) -> Iterator[Finding]:
    """OpenTelemetry's own: off unless a variable says otherwise, and that has other words in each generation."""
    modern = sorted(name for name in facts.installed if name.startswith(f"{_OTEL}-genai-"))
    is_latest = "gen_ai_latest_experimental" in facts.names("OTEL_SEMCONV_STABILITY_OPT_IN")
    older = f"{_OTEL}-openai-v2"
    has_older = older in facts.installed
    if not modern and not has_older:
        return
    told = ", ".join([*modern, *([older] if has_older else [])])
    value = facts.text(_CAPTURE)
    if value.upper() in ("", "FALSE", "NO_CONTENT"):
        cure = "SPAN_ONLY" if modern or is_latest else "true"
        yield warning("content", f"{told}: no texts are captured, so there are no turns", f"export {_CAPTURE}={cure}")
    elif (modern or is_latest) and value.upper() not in _MODES:
        yield warning(
            "content",
            f"{_CAPTURE} is {value!r}, which {told} does not know: no texts are captured",
            f"export {_CAPTURE}=SPAN_ONLY",
        )
    elif _goes_by_log(value, is_latest=bool(modern) or is_latest) and "mindlytics" not in facts.names(
        "OTEL_LOGS_EXPORTER"
    ):
        yield warning(
            "content",
            f"{told}: texts travel in log records, and these are not exported to Mindlytics",
            "export OTEL_LOGS_EXPORTER=mindlytics",
        )
    else:
        yield fine("content", f"{told}: texts are captured")


def _goes_by_log(value: str, *, is_latest: bool) -> bool:
    return value.upper() == "EVENT_ONLY" if is_latest else True


def _anthropic(facts: Facts) -> Iterator[Finding]:
    """The client of Anthropic makes spans by itself from version 2 on."""
    version = facts.installed.get("anthropic", "")
    if any(name in facts.installed for name in CLIENTS["anthropic"]) or not _is_at_least(version, 2):
        return
    if facts.text("ANTHROPIC_OPEN_TELEMETRY").lower() != "false" and facts.text(_ANTHROPIC_CAPTURE) != "content":
        yield warning(
            "content",
            f"anthropic {version} makes spans itself, without texts",
            f"export {_ANTHROPIC_CAPTURE}=content",
        )


def _openinference(facts: Facts) -> Iterator[Finding]:
    if not any(name.startswith(f"{_OPENINFERENCE}-") for name in facts.installed):
        return
    for variable in _HIDING:
        if facts.is_true(variable):
            yield warning("content", f"{variable} hides texts, so there are no turns", f"unset {variable}")


def _openllmetry(facts: Facts) -> Iterator[Finding]:
    if facts.text("TRACELOOP_TRACE_CONTENT").lower() == "false":
        yield warning(
            "content", "TRACELOOP_TRACE_CONTENT is false: no texts are captured", "unset TRACELOOP_TRACE_CONTENT"
        )


def _is_at_least(version: str, major: int) -> bool:
    first = version.partition(".")[0]
    return first.isdecimal() and int(first) >= major
