"""Exporters for the OpenTelemetry SDK's own processors: spans, and log records, into Mindlytics events.

None of their methods raises: a constructor that did would take down all of zero-code instrumentation, and an `export`
that did would lose the batch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from mlsdk_otel import attributes as names
from mlsdk_otel.road import EXPORT_TIMEOUT, Road, RoadOptions
from mlsdk_otel.translation.conventions import native
from mlsdk_otel.translation.spanview import SpanView, of_log_record, of_span

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class MindlyticsSpanExporter(SpanExporter):
    """Delivers sessions and conversations from finished spans.

    Behind a `BatchSpanProcessor` its `export` waits until the service has taken the events, so that the provider's
    `force_flush` is honest. Where you add processors yourself, `MindlyticsSpanProcessor` is the better choice.
    """

    def __init__(self, *, export_timeout: float = EXPORT_TIMEOUT, **settings: Unpack[RoadOptions]) -> None:
        """Without arguments, takes its settings from the environment.

        Args:
            export_timeout: Seconds that `export` waits for delivery, at most.
            settings: See `RoadOptions`.
        """
        self._road = Road(type(self).__name__, settings, timeout=export_timeout)
        if self._road.bridge is not None:
            self._road.bridge.exporters.add(self)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Translates spans and hands their events to the sender; waits for delivery where that harms nobody."""
        bridge = self._road.bridge
        if bridge is None:
            return SpanExportResult.SUCCESS if self._road.is_disabled else SpanExportResult.FAILURE
        try:
            views = [of_span(span) for span in spans if span.name in native.SPAN_NAMES]
            if views:
                self._road.wait(bridge.ended(views))
        except Exception as problem:
            return _failed(problem, SpanExportResult.FAILURE)
        # Delivered, or the sender has it and tries on: either way nobody needs to export it again.
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Sends what waits for further spans, and waits for delivery."""
        return self._road.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """The same, within the time given; the sender goes on with what is left."""
        self._road.flush(timeout_millis / 1000)
        if self._road.bridge is not None:
            self._road.bridge.exporters.discard(self)


class MindlyticsLogRecordExporter(LogRecordExporter):
    """Delivers log-based events of the names in `mlsdk_otel.attributes`, with a `session.id` among their attributes."""

    def __init__(self, *, export_timeout: float = EXPORT_TIMEOUT, **settings: Unpack[RoadOptions]) -> None:
        """As `MindlyticsSpanExporter`."""
        self._road = Road(type(self).__name__, settings, timeout=export_timeout)

    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        """Translates log records and hands their events to the sender; waits as the span exporter does."""
        bridge = self._road.bridge
        if bridge is None:
            return LogRecordExportResult.SUCCESS if self._road.is_disabled else LogRecordExportResult.FAILURE
        try:
            views = [view for record in batch if (view := _view_of(record)) is not None]
            if views:
                self._road.wait(bridge.logged(views))
        except Exception as problem:
            return _failed(problem, LogRecordExportResult.FAILURE)
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Waits for delivery."""
        return self._road.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Waits for delivery; the sender goes on with what is left."""
        self._road.flush(EXPORT_TIMEOUT)


def _view_of(record: Any) -> SpanView | None:
    if record.log_record.event_name not in native.EVENT_NAMES:
        return None
    return of_log_record(record, name=names.SESSION_SPAN, attributes={names.JOINED: True})


def _failed(problem: Exception, result: Result) -> Result:
    logger.error("an export failed: %s", type(problem).__name__, exc_info=problem)
    return result
