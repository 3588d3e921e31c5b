"""A span processor of our own: it knows a session when it starts, and needs no batch processor before it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from mlsdk_otel import attributes as names
from mlsdk_otel.context import ids_in
from mlsdk_otel.road import EXPORT_TIMEOUT, Road, RoadOptions
from mlsdk_otel.translation.conventions import native
from mlsdk_otel.translation.spanview import Attributes, SpanView, of_span

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mlsdk_otel.bridge import Bridge

logger = logging.getLogger(__name__)

_MAX_OPEN: Final = 10_000
"""Open spans of which is remembered what their parents said; the oldest are forgotten first."""


class MindlyticsSpanProcessor(SpanProcessor):
    """Delivers sessions and conversations: their starts at once, the rest when their spans end.

    It reads spans that are not sampled too, as long as they are recorded. Its `force_flush` returns when the service
    has taken everything.
    """

    def __init__(self, **settings: Unpack[RoadOptions]) -> None:
        """Without arguments, takes its settings from the environment; see `RoadOptions`."""
        self._road = Road(type(self).__name__, settings, timeout=EXPORT_TIMEOUT)
        self._inherited: OrderedDict[int, Attributes] = OrderedDict()

    @property
    def bridge(self) -> Bridge | None:
        """The way to the sender; None where the settings do not do, or the SDK is disabled."""
        return self._road.bridge

    def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
        """Tells the start of a session or conversation."""
        bridge = self._road.bridge
        if bridge is None or span.name not in native.SPAN_NAMES:
            return
        try:
            view = self._with_inherited(of_span(span), self._inherit(span, parent_context))
            bridge.started(view)
        except Exception as problem:
            _failed(problem)

    def on_end(self, span: ReadableSpan) -> None:
        """Hands over what happened in a session or conversation."""
        bridge = self._road.bridge
        if bridge is None or span.name not in native.SPAN_NAMES:
            return
        try:
            view = of_span(span)
            bridge.ended([self._with_inherited(view, self._inherited.pop(view.span_id, {}))])
        except Exception as problem:
            _failed(problem)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Sends what waits for further spans, and waits for delivery; inside a running loop it does not wait."""
        return self._road.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Waits for delivery; the sender goes on with what is left."""
        self._road.flush(EXPORT_TIMEOUT)

    def _inherit(self, span: Span, parent_context: context.Context | None) -> Attributes:
        """What the live parent, or `using_session`, says of whose a span is."""
        inherited: dict[str, object] = dict(ids_in(parent_context))
        parent = trace.get_current_span(parent_context)
        if isinstance(parent, ReadableSpan) and parent.name in native.SPAN_NAMES:
            own = parent.attributes or {}
            said = {**self._inherited.get(parent.get_span_context().span_id, {}), **own}
            inherited.update({name: said[name] for name in names.INHERITED if name in said})
        if inherited:
            self._inherited[span.get_span_context().span_id] = inherited
            if len(self._inherited) > _MAX_OPEN:
                self._inherited.popitem(last=False)
        return inherited

    def _with_inherited(self, view: SpanView, inherited: Attributes) -> SpanView:
        return replace(view, attributes={**inherited, **view.attributes}) if inherited else view


def _failed(problem: Exception) -> None:
    logger.error("a span could not be read: %s", type(problem).__name__, exc_info=problem)
