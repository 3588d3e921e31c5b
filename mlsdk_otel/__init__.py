"""Mindlytics through OpenTelemetry: sessions and conversations as spans, and spans as events of the service.

    import mlsdk_otel

    mlsdk_otel.configure()

Names are loaded when they are first used, so that nobody pays for what they do not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlsdk_otel.asgi import MindlyticsASGIMiddleware
    from mlsdk_otel.context import using_session
    from mlsdk_otel.ending import end_session
    from mlsdk_otel.exporter import MindlyticsLogRecordExporter, MindlyticsSpanExporter
    from mlsdk_otel.instrumentation.instrumentor import MindlyticsInstrumentor
    from mlsdk_otel.processor import MindlyticsSpanProcessor
    from mlsdk_otel.setup import configure

__all__ = [
    "MindlyticsASGIMiddleware",
    "MindlyticsInstrumentor",
    "MindlyticsLogRecordExporter",
    "MindlyticsSpanExporter",
    "MindlyticsSpanProcessor",
    "configure",
    "end_session",
    "using_session",
]

_HOMES = {
    "MindlyticsASGIMiddleware": "mlsdk_otel.asgi",
    "MindlyticsInstrumentor": "mlsdk_otel.instrumentation.instrumentor",
    "MindlyticsLogRecordExporter": "mlsdk_otel.exporter",
    "MindlyticsSpanExporter": "mlsdk_otel.exporter",
    "MindlyticsSpanProcessor": "mlsdk_otel.processor",
    "configure": "mlsdk_otel.setup",
    "end_session": "mlsdk_otel.ending",
    "using_session": "mlsdk_otel.context",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mlsdk_otel' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
