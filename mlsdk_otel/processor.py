"""A span processor of our own: it knows a session when it starts, and needs no batch processor before it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from mlsdk_otel import attributes as names
from mlsdk_otel.bridge import log_mistake
from mlsdk_otel.config import what_cuts_texts
from mlsdk_otel.context import KEYS, ids_in
from mlsdk_otel.road import (
    EXPORT_TIMEOUT,
    HELD,
    SPAN_NAMES,
    Road,
    RoadOptions,
    is_made_here,
    is_ours,
    is_readable,
    link_of,
    tells_ids,
)
from mlsdk_otel.translation.conventions import identity
from mlsdk_otel.translation.spanview import Attributes, SpanView, of_span

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mlsdk_otel.bridge import Bridge

_MAX_OPEN: Final = 10_000
"""Open spans of which is remembered what their parents said; the oldest are forgotten first."""


class MindlyticsSpanProcessor(SpanProcessor):
    """Delivers sessions and conversations: their starts at once, the rest when their spans end.

    It reads spans that are not sampled too, as long as they are recorded. Its `force_flush` returns when the service
    has taken everything.
    """

    def __init__(self, **settings: Unpack[RoadOptions]) -> None:
        """Without arguments, takes its settings from the environment; see `RoadOptions`. Never raises."""
        self._road = Road("mindlytics_span_processor", settings)
        self._inherited: OrderedDict[int, Attributes] = OrderedDict()
        # Of open spans of anybody: the ids that spans above them, and they themselves, started with; and those that
        # were set around them.
        self._said: OrderedDict[int, Attributes] = OrderedDict()
        self._surroundings: OrderedDict[int, Attributes] = OrderedDict()
        self._is_shut_down = False
        self._bridge = self._road.bridge
        if self._road.bridge is not None:
            self._road.bridge.processors.add(self)

    @property
    def bridge(self) -> Bridge | None:
        """The way to the sender; None where the settings do not do, or the SDK is disabled."""
        return self._road.bridge

    @property
    def is_shut_down(self) -> bool:
        """Whether it reads no span that starts from now on."""
        return self._is_shut_down

    def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
        """Tells the start of a session or conversation; remembers whose any other span is."""
        bridge = self._bridge
        if bridge is None or self._is_shut_down:
            return
        try:
            if span.name not in SPAN_NAMES or not is_ours(span):
                # As in `on_end`: next to nothing for nearly all of them.
                surroundings = context.get_current() if parent_context is None else parent_context
                if self._said or not KEYS.isdisjoint(surroundings) or getattr(span, HELD, True):
                    self._remember(span, ids_in(surroundings))
                return
            view = of_span(span)
            if view.attributes.get(names.DELIVERY) == names.DIRECT:
                bridge.passed(link_of(span, has_ended=False))
                return
            bridge.warn_of_cuts(what_cuts_texts(getattr(span, "_limits", None), {}))
            bridge.started(_with(view, self._inherit(span, parent_context)))
        except Exception as problem:
            log_mistake("a span could not be read", problem)

    def on_end(self, span: ReadableSpan) -> None:
        """Hands over what happened in a session or conversation, or in a call of a model."""
        bridge = self._bridge
        if bridge is None:
            return
        try:
            # Nearly all spans of an application are of no interest, and must cost next to nothing.
            is_bare = not getattr(span, HELD, True)
            if (is_bare and span.name not in SPAN_NAMES) or not is_readable(span):
                if self._said or self._surroundings:
                    self._recall(span.context.span_id)
                is_awaited = (bridge.waiting or bridge.inbox) and bridge.awaits(span.context.trace_id)
                if is_awaited or (not is_bare and tells_ids(span)):
                    bridge.passed(link_of(span))
                elif (parent := span.parent) is None or parent.is_remote:
                    bridge.ended_roots.append(span.context)
            elif is_ours(span):
                view = of_span(span)
                self._road.offer([_with(view, self._inherited.pop(view.span_id, {}))])
            else:
                view = of_span(span)
                around = self._recall(view.span_id)
                self._road.offer([replace(view, surroundings=around) if around else view])
        except Exception as problem:
            log_mistake("a span could not be read", problem)

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Sends what waits for further spans, and waits for delivery; inside a running loop it does not wait."""
        return self._road.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 1000 * EXPORT_TIMEOUT) -> None:
        """Waits for delivery; the sender goes on with what is left.

        Spans that start later are not read. Those that are open are, when they end: at exit that is how the sessions
        end which the application left open.
        """
        self._is_shut_down = True
        if self._road.bridge is not None:
            self._road.bridge.processors.discard(self)
        self._road.flush(timeout_millis / 1000, is_last=True)

    def _remember(self, span: Span, around: Attributes) -> None:
        """Keeps the ids that are set where a span starts, and those that the spans above it say so far."""
        said = None
        if self._said and (parent := span.parent) is not None:
            said = self._said.get(parent.span_id)
        own = span.attributes
        if own and not identity.MARKERS.isdisjoint(own):
            told = {name: value for name, value in own.items() if name in identity.MARKERS}
            said = told if said is None else {**said, **told}
        if said is not None:
            self._said[span.context.span_id] = said
            if len(self._said) > _MAX_OPEN:
                self._said.popitem(last=False)
        if around:
            self._surroundings[span.context.span_id] = around
            if len(self._surroundings) > _MAX_OPEN:
                self._surroundings.popitem(last=False)

    def _recall(self, span_id: int) -> Attributes:
        """What was remembered of a span's surroundings; what spans above it said counts more than the context."""
        said = self._said.pop(span_id, None) if self._said else None
        around = self._surroundings.pop(span_id, None) if self._surroundings else None
        if said is None or around is None:
            return said or around or {}
        named = said.get(names.SESSION_ID)
        if named is not None and named != around.get(names.SESSION_ID, named):
            return said  # another session: whose that is says nothing about this one
        return {**around, **said}

    def _inherit(self, span: Span, parent_context: context.Context | None) -> Attributes:
        """What the live parent, or `using_session`, says of whose a span is."""
        if is_made_here(span):
            return {}  # says all of it itself; what it leaves out is not known
        inherited: dict[str, object] = dict(ids_in(parent_context))
        parent = trace.get_current_span(parent_context)
        if isinstance(parent, ReadableSpan) and is_ours(parent):
            own = parent.attributes or {}
            said = {**self._inherited.get(parent.get_span_context().span_id, {}), **own}
            inherited.update({name: said[name] for name in names.INHERITED if name in said})
        named = (span.attributes or {}).get(names.SESSION_ID)
        if named is not None and named != inherited.get(names.SESSION_ID, named):
            return {}  # another session: whose that is says nothing about this one
        if inherited:
            self._inherited[span.get_span_context().span_id] = inherited
            if len(self._inherited) > _MAX_OPEN:
                self._inherited.popitem(last=False)
        return inherited


def _with(view: SpanView, inherited: Attributes) -> SpanView:
    return replace(view, attributes={**inherited, **view.attributes}) if inherited else view
