"""What the tests of the OpenTelemetry road share: providers, readers, sampling, and the log made comparable."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult

from mlsdk.local import LocalMindlytics
from mlsdk_otel import MindlyticsSpanExporter, MindlyticsSpanProcessor
from mlsdk_otel.instrumentation.patching import patches
from support.sdk import KEY, PROJECT

_numbers: Final = itertools.count()


def arguments(service: LocalMindlytics, **options: Any) -> dict[str, Any]:
    """The settings of an exporter or processor of the local service."""
    return {"api_key": KEY, "project_id": PROJECT, "server_endpoint": service.url, **options}


def new_id(prefix: str = "s") -> str:
    """An id that no other test uses: tests share the process-wide state of a service's address."""
    return f"{prefix}-{next(_numbers)}"


class Fixed(Sampler):
    """Decides the same for every span.

    Args:
        decision: What.
        forgets: The attributes with which a span starts are lost, as with any sampler that does not return them.
    """

    def __init__(self, decision: Decision, *, forgets: bool = False) -> None:
        self.decision = decision
        self.forgets = forgets

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> SamplingResult:
        return SamplingResult(self.decision, None if self.forgets else attributes)

    def get_description(self) -> str:
        return "fixed"


class Spans(SpanExporter):
    """Keeps the finished spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


def provider_with(
    service: LocalMindlytics | None,
    *readers: str,
    sampler: Sampler = ALWAYS_ON,
    limits: SpanLimits | None = None,
    **options: Any,
) -> TracerProvider:
    """A provider with an `exporter` (behind a batch processor that exports when asked only), a `processor`, or both."""
    provider = TracerProvider(sampler=sampler, span_limits=limits, shutdown_on_exit=False)
    for reader in readers:
        assert service is not None
        if reader == "exporter":
            exporter = MindlyticsSpanExporter(**arguments(service, **options))
            provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
        else:
            provider.add_span_processor(MindlyticsSpanProcessor(**arguments(service, **options)))
    return provider


@contextmanager
def instrumented(provider: TracerProvider | None, **options: Any) -> Iterator[None]:
    """Sessions become spans of the provider meanwhile; it is shut down afterwards."""
    patches.put_on(tracer_provider=provider, **options)
    try:
        yield
    finally:
        patches.take_off()
        if provider is not None:
            provider.shutdown()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged from a warning on."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
