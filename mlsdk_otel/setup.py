"""`configure()`: the OpenTelemetry road in one call, for code."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from mlsdk.delivery.buffer import Stats
from mlsdk.disabled import Nowhere
from mlsdk.errors import ConfigurationError
from mlsdk.logs import logger_for
from mlsdk.waiting import Suspending, Wait, clock_of
from mlsdk_otel.bridge import BridgeStats
from mlsdk_otel.instrumentation.patching import DeliveryMode, patches
from mlsdk_otel.processor import MindlyticsSpanProcessor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mlsdk_otel.road import RoadOptions

logger = logger_for(__name__)


@dataclass(frozen=True, slots=True)
class Handle:
    """What `configure` has set up."""

    processor: MindlyticsSpanProcessor
    _has_instrumented: bool = False

    async def flush(self, timeout: float = 30.0) -> bool:
        """Waits until everything recorded so far is delivered, in open sessions too; the loop goes on meanwhile.

        Returns:
            Whether it is; False when the time is over or the key is refused.
        """
        bridge = self.processor.bridge
        if bridge is None:
            return True
        wait: Wait = Suspending()
        left = clock_of(monotonic, timeout)
        await patches.flush(wait, left())
        if await wait(bridge.release(), left()) is None:
            return False
        return await wait(bridge.delivery.settled(), left()) is True

    def shutdown(self, timeout: float = 30.0) -> None:
        """Delivers what is left, for `timeout` seconds at most, and reads nothing that begins later.

        Sessions of `mlsdk` go on and send their events themselves. Inside a running loop it does not wait.
        """
        if self._has_instrumented:
            patches.take_off()
        self.processor.shutdown(timeout * 1000)

    def stats(self) -> BridgeStats | Stats:
        """The ledger of what was delivered, and what could not be read."""
        bridge = self.processor.bridge
        return Nowhere().stats() if bridge is None else bridge.stats()


def configure(
    *,
    tracer_provider: TracerProvider | None = None,
    instrument: bool = True,
    delivery: DeliveryMode = "otel",
    **settings: Unpack[RoadOptions],
) -> Handle:
    """Delivers what spans tell of sessions and conversations, and has sessions of `mlsdk` become such spans.

    Adds a processor to the provider that is set, and sets one only where none is. A second call with the same settings
    adds nothing. Settings that do not do are one line in the log, never an exception.

    Args:
        tracer_provider: The provider to add to; default the global one.
        instrument: Sessions of `mlsdk` become spans.
        delivery: `otel`: these spans deliver. `direct`: the SDK sends itself, and they are for other readers.
        settings: See `mlsdk_otel.road.RoadOptions`; what is not given comes from the environment.
    """
    provider = tracer_provider or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        trace.set_tracer_provider(TracerProvider())
        provider = trace.get_tracer_provider()
    processor = _processor_on(provider, MindlyticsSpanProcessor(**settings))
    has_instrumented = False
    if instrument:
        has_instrumented = not patches.is_on
        try:
            patches.put_on(tracer_provider=provider, delivery=delivery)
        except ConfigurationError as problem:
            logger.error("sessions do not become spans: %s", problem.message)
    return Handle(processor, has_instrumented)


_processors: Final[WeakKeyDictionary[object, list[MindlyticsSpanProcessor]]] = WeakKeyDictionary()
_lock: Final = threading.RLock()


def _processor_on(provider: object, processor: MindlyticsSpanProcessor) -> MindlyticsSpanProcessor:
    """The processor, or the one with the same bridge that an earlier call has added to the provider."""
    add = getattr(provider, "add_span_processor", None)
    if add is None:
        logger.error("spans deliver nothing: %s takes no span processors", type(provider).__name__)
        processor.shutdown(0)
        return processor
    with _lock:
        added = _processors.setdefault(provider, [])
        for earlier in added:
            if earlier.bridge is processor.bridge and not earlier.is_shut_down:
                if processor.bridge is not None:
                    processor.bridge.processors.discard(processor)
                return earlier
        add(processor)
        added.append(processor)
    return processor
