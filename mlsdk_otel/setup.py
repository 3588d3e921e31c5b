"""`configure()`: the OpenTelemetry road in one call, for code."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from mlsdk.delivery.buffer import Stats
from mlsdk.disabled import Nowhere
from mlsdk.waiting import Suspending, Wait
from mlsdk_otel.bridge import BridgeStats
from mlsdk_otel.instrumentation.patching import patches
from mlsdk_otel.processor import MindlyticsSpanProcessor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mlsdk_otel.road import RoadOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handle:
    """What `configure` has set up."""

    processor: MindlyticsSpanProcessor

    async def flush(self, timeout: float = 30.0) -> bool:
        """Waits until everything that spans have told so far is delivered; the loop goes on meanwhile.

        Returns:
            Whether it is; False when the time is over or the key is refused.
        """
        bridge = self.processor.bridge
        if bridge is None:
            return True
        bridge.release()
        wait: Wait = Suspending()
        return await wait(bridge.delivery.settled(), timeout) is True

    def shutdown(self, timeout: float = 30.0) -> bool:
        """The same for code without a loop."""
        return self.processor.force_flush(int(timeout * 1000))

    def stats(self) -> BridgeStats | Stats:
        """The ledger of what was delivered, and what could not be read."""
        bridge = self.processor.bridge
        return Nowhere().stats() if bridge is None else bridge.stats()


def configure(
    *,
    tracer_provider: TracerProvider | None = None,
    instrument: bool = True,
    **settings: Unpack[RoadOptions],
) -> Handle:
    """Delivers what spans tell of sessions and conversations, and has sessions of `mlsdk` become such spans.

    Adds a processor to the provider that is set, and sets one only where none is.

    Args:
        tracer_provider: The provider to add to; default the global one.
        instrument: Sessions of `mlsdk` become spans, and the spans deliver.
        settings: See `mlsdk_otel.road.RoadOptions`; what is not given comes from the environment.

    Raises:
        TypeError: The provider that is set takes no processors.
    """
    provider = tracer_provider or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    if not isinstance(provider, TracerProvider):
        raise TypeError(f"tracer_provider: {type(provider).__name__} takes no span processors")
    processor = MindlyticsSpanProcessor(**settings)
    provider.add_span_processor(processor)
    if instrument:
        patches.put_on(tracer_provider=provider, delivery="otel")
    return Handle(processor)
