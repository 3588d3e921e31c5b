"""Exporters for the OpenTelemetry SDK's own processors: spans, and log records, into Mindlytics events.

None of their methods raises: a constructor that did would take down all of zero-code instrumentation, and an `export`
that did would lose the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import opentelemetry.sdk._logs.export as logs
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from mlsdk_otel import attributes as names
from mlsdk_otel.bridge import log_mistake
from mlsdk_otel.road import EXPORT_TIMEOUT, Road, RoadOptions
from mlsdk_otel.translation.conventions import native
from mlsdk_otel.translation.spanview import EventView, SpanView, event_of_log_record, of_log_record

if TYPE_CHECKING:
    from typing_extensions import Unpack

# These names are of 1.39; before, they had no "Record" in them.
_LogExporter: Any = getattr(logs, "LogRecordExporter", None) or logs.LogExporter
_LogResult: Any = getattr(logs, "LogRecordExportResult", None) or logs.LogExportResult


_GENAI: Final = "gen_ai."


class MindlyticsSpanExporter(SpanExporter):
    """Delivers sessions and conversations from finished spans.

    Behind a `BatchSpanProcessor` its `export` waits until the service has taken the events, so that the provider's
    `force_flush` is honest. Where you add processors yourself, `MindlyticsSpanProcessor` is the better choice.
    """

    def __init__(self, *, export_timeout: float = EXPORT_TIMEOUT, **settings: Unpack[RoadOptions]) -> None:
        """Without arguments, takes its settings from the environment. Never raises.

        Args:
            export_timeout: Seconds that `export` waits for delivery, at most.
            settings: See `RoadOptions`.
        """
        self._road = Road("mindlytics_span_exporter", settings, timeout=export_timeout)
        if self._road.bridge is not None:
            self._road.bridge.exporters.add(self)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Translates spans and hands their events to the sender; waits for delivery where that harms nobody."""
        if self._road.bridge is None:
            return SpanExportResult.SUCCESS if self._road.is_disabled else SpanExportResult.FAILURE
        try:
            offered = self._road.carry(spans)
            if offered is not None:
                self._road.wait(offered)
        except Exception as problem:
            log_mistake("an export failed", problem)
            return SpanExportResult.FAILURE
        # Delivered, or the sender has it and tries on: either way nobody needs to export it again.
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Sends what waits for further spans, and waits for delivery."""
        return self._road.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """The same, within the time given; the sender goes on with what is left."""
        if self._road.bridge is not None:
            self._road.bridge.exporters.discard(self)  # first: what starts meanwhile must not count on it
        self._road.flush(timeout_millis / 1000, is_last=True)


class MindlyticsLogRecordExporter(_LogExporter):  # type: ignore[misc]  # either of two names
    """Delivers log-based events of the names in `mlsdk_otel.attributes`, with a `session.id` among their attributes.

    Some AI libraries put the texts of their spans into log records (`gen_ai.*`); where this exporter is, the spans wait
    for them.
    """

    def __init__(self, *, export_timeout: float = EXPORT_TIMEOUT, **settings: Unpack[RoadOptions]) -> None:
        """As `MindlyticsSpanExporter`."""
        self._road = Road("mindlytics_log_exporter", settings, timeout=export_timeout)
        if self._road.bridge is not None:
            self._road.bridge.expect_logs()

    def export(self, batch: Sequence[Any]) -> Any:
        """Translates log records and hands their events to the sender; waits as the span exporter does."""
        bridge = self._road.bridge
        if bridge is None:
            return _LogResult.SUCCESS if self._road.is_disabled else _LogResult.FAILURE
        try:
            views = [view for record in batch if (view := _view_of(record)) is not None]
            others = [event for record in batch if (event := _event_of(record)) is not None]
            if views or others:
                self._road.wait(bridge.logged(views, others))
        except Exception as problem:
            log_mistake("an export failed", problem)
            return _LogResult.FAILURE
        return _LogResult.SUCCESS

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Waits for delivery."""
        return self._road.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Waits for delivery; the sender goes on with what is left."""
        self._road.flush(timeout_millis / 1000)


def _view_of(record: Any) -> SpanView | None:
    try:
        log = record.log_record
        # Older versions have no name for events but this attribute.
        name = getattr(log, "event_name", None) or (log.attributes or {}).get("event.name")
        if name not in native.EVENT_NAMES:
            return None
        view = of_log_record(record, name=names.SESSION_SPAN, attributes={names.JOINED: True})
    except Exception as problem:
        log_mistake("a log record could not be read", problem)
        return None
    return replace(view, events=tuple(event._replace(name=name) for event in view.events))


def _event_of(record: Any) -> tuple[int, int, EventView] | None:
    """The trace and span that a record of an AI library belongs to, and what it says."""
    try:
        log = record.log_record
        name = getattr(log, "event_name", None) or (log.attributes or {}).get("event.name")
        if not isinstance(name, str) or not name.startswith(_GENAI) or not log.span_id or not log.trace_id:
            return None
        return log.trace_id, log.span_id, event_of_log_record(record)
    except Exception as problem:
        log_mistake("a log record could not be read", problem)
        return None
