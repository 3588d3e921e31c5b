"""`MindlyticsInstrumentor`: the wrappers of `patching` behind OpenTelemetry's interface for instrumentations."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mlsdk.errors import ConfigurationError
from mlsdk.logs import logger_for

try:
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined,unused-ignore]
except ImportError as problem:
    raise ImportError(
        "MindlyticsInstrumentor needs opentelemetry-instrumentation: pip install 'mlsdk-otel[otel]'"
    ) from problem

from mlsdk_otel.bridge import log_mistake
from mlsdk_otel.instrumentation.patching import patches

logger = logger_for(__name__)


class MindlyticsInstrumentor(BaseInstrumentor):  # type: ignore[misc,unused-ignore]  # untyped where it is not installed
    """Makes sessions of `mlsdk` appear as spans in any OpenTelemetry backend, and deliver through it if asked to.

    `instrument(tracer_provider=None, delivery="direct", max_events_per_span=None, max_span_seconds=None)`: see
    `mlsdk_otel.instrumentation.patching.Patches.put_on`. Never raises: an instrumentation that does would stop those
    after it.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing beyond this distribution."""
        return []

    def _instrument(self, **kwargs: Any) -> None:
        known = ("tracer_provider", "delivery", "max_events_per_span", "max_span_seconds")
        try:
            patches.put_on(**{name: kwargs[name] for name in known if name in kwargs})
        except ConfigurationError as problem:
            logger.error("sessions do not become spans: %s", problem.message)
        except Exception as problem:
            log_mistake("sessions do not become spans", problem)

    def uninstrument(self, **kwargs: Any) -> None:
        """Leaves `mlsdk` as it was, also where `configure` put the wrappers on."""
        if self.is_instrumented_by_opentelemetry:
            super().uninstrument(**kwargs)
        else:
            self._uninstrument(**kwargs)

    def _uninstrument(self, **kwargs: Any) -> None:
        patches.take_off()
