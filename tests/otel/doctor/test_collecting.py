"""Real providers, real packages, real processes under `opentelemetry-instrument`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from support import child

from mlsdk.local import LocalMindlytics
from mlsdk_otel import MindlyticsSpanExporter, MindlyticsSpanProcessor
from mlsdk_otel.doctor.collecting import gather, look_at
from mlsdk_otel.doctor.facts import Processor

SCRIPTS: Final = Path(sys.executable).parent


def test_a_provider_with_everything(service: LocalMindlytics) -> None:
    settings = {"api_key": "key", "project_id": "p", "server_endpoint": service.url}
    provider = TracerProvider(
        shutdown_on_exit=False,
        sampler=ALWAYS_OFF,
        span_limits=SpanLimits(
            max_events=7, max_span_attributes=8, max_event_attributes=SpanLimits.UNSET, max_attribute_length=9
        ),
    )
    for processor in (
        MindlyticsSpanProcessor(**settings),
        SimpleSpanProcessor(ConsoleSpanExporter()),
        BatchSpanProcessor(MindlyticsSpanExporter(**settings)),
    ):
        provider.add_span_processor(processor)
    try:
        found = look_at(provider)
    finally:
        provider.shutdown()
    assert (found.kind, found.is_set, found.is_sdk, found.sampler) == ("TracerProvider", True, True, "AlwaysOffSampler")
    assert (found.events, found.attributes, found.event_attributes) == (7, 8, None)
    assert found.cuts == "the provider's max_attribute_length"
    assert found.processors == (
        Processor("MindlyticsSpanProcessor", is_ours=True),
        Processor("SimpleSpanProcessor", "ConsoleSpanExporter", is_simple=True),
        Processor("BatchSpanProcessor", "MindlyticsSpanExporter", is_ours=True),
    )


def test_providers_that_cannot_be_looked_into() -> None:
    assert look_at(trace.ProxyTracerProvider()).is_set is False
    other = look_at(trace.NoOpTracerProvider())
    assert (other.kind, other.is_set, other.is_sdk, other.processors) == ("NoOpTracerProvider", True, False, None)


def test_what_is_installed_is_found_by_its_usual_name() -> None:
    facts = gather({})
    assert facts.installed["mlsdk-otel"] == metadata.version("mlsdk-otel")
    assert facts.installed["opentelemetry-semantic-conventions"]
    assert "mindlytics" in facts.exporters["traces"] & facts.exporters["logs"]
    assert facts.conflicts == ()
    assert not facts.is_zero_code


def run(env: Mapping[str, str], *arguments: str, launched: bool = False, cwd: Path | None = None) -> tuple[int, str]:
    """The command line as a user types it: its exit status and what it says."""
    command = [str(SCRIPTS / "mlsdk-otel"), "doctor", "--timeout", "30", *arguments]
    if launched:
        command = [str(SCRIPTS / "opentelemetry-instrument"), *command]
    done = subprocess.run(
        command,
        env=child.environment(env),
        cwd=cwd or sys.prefix,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


ZERO_CODE: Final = {
    "OTEL_TRACES_EXPORTER": "mindlytics",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


def test_zero_code_in_order(service: LocalMindlytics) -> None:
    code, told = run({**service.environment, **ZERO_CODE}, launched=True)
    assert (code, "PROBLEM" in told) == (0, False), told
    assert "ok       provider: TracerProvider with MindlyticsSpanExporter" in told
    assert "ok       batches: an empty batch was taken" in told
    assert "local_key" not in told
    assert service.session_ids == []


def test_zero_code_that_exports_elsewhere() -> None:
    code, told = run({**ZERO_CODE, "OTEL_TRACES_EXPORTER": "console"}, "--offline", launched=True)
    assert code == 1
    assert "PROBLEM  provider: the tracer provider has no processor or exporter of Mindlytics (it has Console" in told


def test_a_missing_exporter_breaks_zero_code_and_is_named() -> None:
    code, told = run({"OTEL_TRACES_EXPORTER": "mindlytics", "OTEL_METRICS_EXPORTER": "otlp"}, "--offline")
    assert code == 1
    assert "PROBLEM  exporters: OTEL_METRICS_EXPORTER names otlp, and otlp_proto_grpc is not installed" in told
    assert "-> export OTEL_METRICS_EXPORTER=none, or pip install opentelemetry-exporter-otlp-proto-grpc" in told


def test_a_module_that_sets_up_the_provider(service: LocalMindlytics, tmp_path: Path) -> None:
    (tmp_path / "telemetry.py").write_text("import mlsdk_otel\n\nmlsdk_otel.configure()\n", encoding="utf-8")
    code, told = run(service.environment, "--offline", "--import", "telemetry", cwd=tmp_path)
    assert code == 0
    assert "ok       provider: TracerProvider with MindlyticsSpanProcessor" in told


@pytest.mark.parametrize("source", ["raise OSError('no disk')", None])
def test_a_module_that_cannot_be_imported(tmp_path: Path, source: str | None) -> None:
    if source is not None:
        (tmp_path / "telemetry.py").write_text(source, encoding="utf-8")
    code, told = run({}, "--offline", "--import", "telemetry", cwd=tmp_path)
    assert code == 1
    assert "PROBLEM  provider: telemetry cannot be imported: " in told
    assert "-> run this where your program runs" in told
