"""What `opentelemetry-instrument` calls, beside the exporters and the instrumentor that it loads by their classes."""

from __future__ import annotations

import logging
import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from mlsdk import config
from mlsdk.errors import ConfigurationError

logger = logging.getLogger(__name__)


def add_processor() -> None:
    """Post-instrument hook: adds our span processor where `MLSDK_OTEL_PROCESSOR` is true. Never raises."""
    try:
        if not config.flag(os.environ, "MLSDK_OTEL_PROCESSOR", default=False):
            return
    except ConfigurationError as problem:
        logger.error("no processor was added: %s", problem.message)
        return
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        logger.error("no processor was added: the tracer provider is none of the OpenTelemetry SDK's")
        return
    from mlsdk_otel.processor import MindlyticsSpanProcessor

    provider.add_span_processor(MindlyticsSpanProcessor())
