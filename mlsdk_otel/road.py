"""What exporters and processor have in common: a bridge if the settings allow one, and ways to wait for it."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

from mlsdk.delivery.host import host, silence_within
from mlsdk.errors import ConfigurationError
from mlsdk.logs import logger_for
from mlsdk.waiting import running_loop
from mlsdk_otel import attributes as names
from mlsdk_otel import config
from mlsdk_otel.bridge import Bridge, bridge_for, bridges, log_mistake
from mlsdk_otel.config import Settings
from mlsdk_otel.metrics import Component, instruments
from mlsdk_otel.translation.conventions import claims_attributes, identity, native
from mlsdk_otel.translation.lineage import Link
from mlsdk_otel.translation.spanview import SpanView, of_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from mlsdk.delivery.masking import BeforeSend

logger = logger_for(__name__)

T = TypeVar("T")

OUR_SCOPE: Final = "mlsdk_otel"
"""The instrumentation scope of the spans that sessions of `mlsdk` become."""
SPAN_NAMES: Final = tuple(native.SPAN_NAMES)
"""Not a set: nobody checks that a span's name can be hashed."""
HELD: Final = "_attributes"
"""Where the SDK's spans hold their attributes: `attributes` makes a new mapping at each access, which takes more time
than everything else that is asked of a span of no interest. One without it is asked the long way."""
EXPORT_TIMEOUT: Final = 10.0
"""Seconds that an export waits for delivery, at most."""
_GLANCE: Final = 0.05
"""Seconds between two looks at whether waiting still makes sense."""


class RoadOptions(TypedDict, total=False):
    """The settings that exporters and processor take; what is not given comes from the environment."""

    api_key: str | None
    """`MLSDK_API_KEY`."""
    project_id: str | None
    """`MLSDK_PROJECT_ID`."""
    server_endpoint: str | None
    """`MLSDK_SERVER_BASE`."""
    proxy: str | None
    """`MLSDK_PROXY`."""
    ca_file: str | None
    """`MLSDK_CA_FILE`."""
    before_send: BeforeSend | None
    """As in `mlsdk.Client`. `MLSDK_BEFORE_SEND`, as `package.module:function`."""
    capture_content: bool | None
    """False drops texts and keeps usage; `MLSDK_CAPTURE_CONTENT`."""
    spool_dir: str | os.PathLike[str] | None
    """As in `mlsdk.Client`; `MLSDK_SPOOL_DIR`."""
    spool_mode: str | None
    """`MLSDK_SPOOL_MODE`."""
    spool_bytes: int | None
    """`MLSDK_SPOOL_BYTES`."""
    spool_window: float | None
    """`MLSDK_SPOOL_WINDOW`."""


class Road:
    """Spans go in at the bridge; whoever flushes waits here until their events are delivered."""

    def __init__(self, kind: str, settings: RoadOptions, *, timeout: object = EXPORT_TIMEOUT) -> None:
        """Opens the bridge. Never raises: settings that do not do are one line in the log.

        Args:
            kind: What the thing is, for the log and for metrics: `mindlytics_span_exporter`, say.
            settings: What to open it with.
            timeout: Seconds that `wait` takes, at most.
        """
        self.bridge: Bridge | None = None
        self.is_disabled = False
        self._component: Component | None = None
        self._timeout = EXPORT_TIMEOUT
        try:
            resolved = _resolved(settings)
            self.is_disabled = not resolved.config.enabled
            if resolved.config.enabled:
                self._timeout = _seconds("export_timeout", timeout)
                self.bridge = bridge_for(resolved)
                self._component = Component(instruments(), kind, resolved.config.connection)
        except ConfigurationError as problem:
            self.bridge = None
            logger.error("%s sends nothing: %s", kind, problem.message)
        except Exception as problem:
            # A constructor that raised would take every other instrumentation down with it.
            self.bridge = None
            log_mistake(f"{kind} sends nothing", problem)

    def carry(self, spans: Iterable[ReadableSpan]) -> Future[list[str]] | None:
        """Translates finished spans and offers their events; None if none of them says anything.

        Args:
            spans: Finished spans of the SDK, anybody's.
        """
        bridge = self.bridge
        if bridge is None:
            return None
        views: list[SpanView] = []
        passed: list[Link] = []
        traces: set[int] = set()
        for span in spans:
            try:
                is_bare = not getattr(span, HELD, True)
                if (not is_bare or span.name in SPAN_NAMES) and is_readable(span):
                    views.append(of_span(span))
                    traces.add(views[-1].trace_id)
                elif (
                    (not is_bare and tells_ids(span))
                    or (traces and span.context.trace_id in traces)
                    or ((bridge.waiting or bridge.inbox) and bridge.awaits(span.context.trace_id))
                ):
                    passed.append(link_of(span))
                elif (parent := span.parent) is None or parent.is_remote:
                    bridge.ended_roots.append(span.context)
            except Exception as problem:  # noqa: PERF203 - one that cannot be read must not cost the others
                log_mistake("a span could not be read", problem)
        return self.offer(views, passed)

    def offer(self, views: list[SpanView], passed: Sequence[Link] = ()) -> Future[list[str]] | None:
        """The same for spans that were read already."""
        if self.bridge is None:
            return None
        if not views:
            for link in passed:
                self.bridge.passed(link)
            return None
        component = self._component
        if component is not None:
            for _ in views:
                component.begin()
        return self.bridge.ended(views, None if component is None else component.end, passed)

    def wait(self, offered: Future[list[str]]) -> bool:
        """Waits until the events of what was offered are settled, unless that could block an event loop.

        Returns:
            Whether they are. False when the time is over, while the service cannot be reached, and inside a running
            loop unless they are settled already; in all these cases delivery goes on.
        """
        if self.bridge is None:
            return True
        end = time.monotonic() + self._budget(self._timeout)
        sessions = _result(offered, end)
        if sessions is None:
            return False
        delivery = self.bridge.delivery
        return self._settle(delivery.settled(sessions), end, gives_up=lambda: delivery.is_in_trouble)

    def flush(self, seconds: float, *, is_last: bool = False) -> bool:
        """Sends what waits for spans that have not come, and waits until everything is settled.

        Args:
            seconds: Waits as long at most.
            is_last: Nothing is read any more: unless somebody else reads, sessions of others' spans end.

        Returns:
            Whether it is. Does not wait inside a running loop, nor long at exit when the service is silent.
        """
        if self.bridge is None:
            return True
        began = time.monotonic()
        end = began + self._budget(seconds)
        if _result(self.bridge.release(is_last=is_last and not self.bridge.is_read), end) is None:
            return False
        delivery = self.bridge.delivery
        silence = silence_within(self.bridge.settings.config.limits.exit_timeout)

        def is_silent() -> bool:
            return _is_exiting() and time.monotonic() - max(began, delivery.last_answer()) >= silence

        is_settled = self._settle(delivery.settled(), end, gives_up=is_silent)
        if not is_settled and _is_exiting():
            host.last_word()
        return is_settled

    def _budget(self, seconds: float) -> float:
        if running_loop() is not None or host.is_own_thread():
            return 0.0
        if self.bridge is not None and _is_exiting():
            return min(seconds, self.bridge.settings.config.limits.exit_timeout)
        return max(0.0, seconds)

    def _settle(self, settled: Future[bool], end: float, *, gives_up: Callable[[], bool]) -> bool:
        while True:
            found = _result(settled, min(end, time.monotonic() + _GLANCE))
            if found is not None:
                return found
            if time.monotonic() >= end or gives_up():
                return False


def _is_exiting() -> bool:
    return not threading.main_thread().is_alive()


def _result(future: Future[T], end: float) -> T | None:
    """The result, or None when it is not there by the moment `end`."""
    try:
        return future.result(timeout=max(0.0, min(end - time.monotonic(), threading.TIMEOUT_MAX)))
    except FutureTimeoutError:
        return None


def _resolved(settings: RoadOptions) -> Settings:
    known = RoadOptions.__annotations__
    unknown = ", ".join(sorted(set(settings) - set(known)))
    if unknown:
        raise ConfigurationError(f"{unknown}: no such setting; there are {', '.join(known)} and export_timeout")
    return config.resolve(**settings)


def _seconds(argument: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
        raise ConfigurationError(f"{argument}: must be a number of seconds, 0 or more, not {given!r}")
    return float(given)


def is_ours(span: ReadableSpan) -> bool:
    """Whether a span is one of this project's by its name, and worth reading."""
    if not isinstance(span.name, str) or span.name not in native.SPAN_NAMES:  # the SDK checks no name
        return False
    # A session of `mlsdk` whose span has lost its attributes, to a sampler that does not return them, sends itself.
    return not is_made_here(span) or names.SESSION_ID in (span.attributes or {})


def is_readable(span: ReadableSpan) -> bool:
    """Whether a span says something: it is one of ours, or of an AI library."""
    attributes = span.attributes
    if attributes and claims_attributes(attributes):
        return True
    return span.name in SPAN_NAMES and is_ours(span)


def tells_ids(span: ReadableSpan) -> bool:
    """Whether those below a span need to know it even if nothing of theirs has been seen."""
    attributes = span.attributes
    if attributes and not identity.MARKERS.isdisjoint(attributes):
        return True
    return span.name in SPAN_NAMES


def link_of(span: ReadableSpan, *, has_ended: bool = True) -> Link:
    """What is kept of a span for those below it."""
    own, parent, attributes = span.context, span.parent, span.attributes
    return Link(
        own.trace_id,
        own.span_id,
        None if parent is None else parent.span_id,
        has_ended and (parent is None or parent.is_remote),
        dict(attributes) if attributes and not identity.MARKERS.isdisjoint(attributes) else None,
        span.name in SPAN_NAMES,
    )


def in_use(span: ReadableSpan) -> None:
    """A session's span is about to stand above whatever starts: exporters see it only when it has ended."""
    for bridge in bridges():
        bridge.passed(link_of(span, has_ended=False))


def is_made_here(span: ReadableSpan) -> bool:
    """Whether it is a session of `mlsdk` that has become this span."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name == OUR_SCOPE
