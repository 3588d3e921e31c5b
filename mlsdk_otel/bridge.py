"""The way from spans to the sender: one translator and one delivery for each set of settings, whoever brings the spans.

Callers never wait for a lock, as in `mlsdk.delivery.pipeline` and for the same reason: a span may end in a signal
handler or a finalizer, in the very thread that is at work here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final
from weakref import WeakSet

from mlsdk import events
from mlsdk.config import Connection
from mlsdk.delivery.buffer import Observer, Stats
from mlsdk.delivery.host import host
from mlsdk.delivery.pipeline import delivery_for
from mlsdk.events import Event
from mlsdk_otel.config import Settings
from mlsdk_otel.translation.content import without_content
from mlsdk_otel.translation.spanview import SpanView
from mlsdk_otel.translation.translator import MAX_REMEMBERED, Translator

logger = logging.getLogger(__name__)


class BridgeStats(Stats):
    """The ledger of the delivery, and what could not be read of spans."""

    late: int
    """Spans that came after the end of their session; their events were sent."""
    unreadable_events: int
    """Events of spans that make no sense, such as a turn without texts."""
    unreadable_values: int
    """Values that the wire cannot hold."""
    span_dropped_events: int
    """Events that limits of the OpenTelemetry SDK dropped before they could be read."""
    span_dropped_attributes: int
    """Likewise attributes."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is told what became of a session's events.

    Attributes:
        observer: Told of trouble.
        on_end_settled: Told whether the session's end was delivered.
    """

    observer: Observer
    on_end_settled: Callable[[bool], None] | None = None


class Bridge:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.delivery = delivery_for(settings.config)
        self.exporters: WeakSet[object] = WeakSet()
        """The exporters in use, for whoever has to know whether a span will be read."""
        self._reset()

    def _reset(self) -> None:
        self._generation = host.generation
        self._lock = threading.Lock()
        self._inbox: deque[Callable[[], None]] = deque()
        self._translator = Translator(project_id=self.settings.config.connection.project_id)
        self._recipients: OrderedDict[str, Recipient] = OrderedDict()
        self._started: OrderedDict[int, None] = OrderedDict()
        self._timer_is_set = False
        self._reported_loss = False

    # -- what comes in ------------------------------------------------------------------------------------------------

    def started(self, view: SpanView) -> None:
        """A span has started, seen by a processor."""
        self._started[view.span_id] = None  # at once: whoever made the span asks next

        def work() -> None:
            if len(self._started) > MAX_REMEMBERED:
                self._started.popitem(last=False)
            self._offer(self._translator.started(view, time.monotonic()))

        self._do(work)

    def saw_start(self, span_id: int) -> bool:
        """Whether a processor brought the start of this span."""
        return span_id in self._started

    def ended(self, views: Sequence[SpanView]) -> Future[list[str]]:
        """Spans have ended; the future gives the sessions of which something was offered for delivery."""

        def work() -> list[str]:
            now = time.monotonic()
            offered: list[Event] = self._translator.expire(now)
            for view in views:
                offered += self._translator.feed(view, now)
            return self._offer(offered)

        return self._answer(work)

    def logged(self, views: Sequence[SpanView]) -> Future[list[str]]:
        """Log records of our events have come."""
        return self._answer(lambda: self._offer([event for view in views for event in self._translator.logged(view)]))

    def release(self) -> Future[list[str]]:
        """Sends what waits for spans that have not come: a flush or a shutdown waits for nothing."""
        return self._answer(lambda: self._offer(self._translator.close(time.monotonic())))

    def end_session(self, session_id: str) -> None:
        """The application says that a session has ended."""
        end = events.end_session(events.common(session_id=session_id), time.time_ns() // 1000)
        self._do(lambda: self._offer(self._translator.end_session(session_id, end, time.monotonic())))

    def tell(self, session_id: str, recipient: Recipient) -> None:
        """Names who is told what becomes of a session's events."""

        def work() -> None:
            self._recipients[session_id] = recipient
            if len(self._recipients) > MAX_REMEMBERED:
                self._recipients.popitem(last=False)

        self._do(work)

    def stats(self) -> BridgeStats:
        """The ledger of the delivery, and what could not be read."""
        loss = self._translator.loss
        return BridgeStats(
            **self.delivery.stats(),
            late=self._translator.late,
            unreadable_events=loss.events,
            unreadable_values=loss.values,
            span_dropped_events=loss.dropped_events,
            span_dropped_attributes=loss.dropped_attributes,
        )

    # -- under the lock -----------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[], object]) -> None:
        if self._generation != host.generation:
            self._reset()  # a forked child: what the parent has seen is the parent's to send
        self._inbox.append(partial(_quietly, work))
        while self._inbox and self._lock.acquire(blocking=False):
            try:
                while self._inbox:
                    self._inbox.popleft()()
            finally:
                self._lock.release()

    def _answer(self, work: Callable[[], list[str]]) -> Future[list[str]]:
        answer: Future[list[str]] = Future()
        answer.set_running_or_notify_cancel()

        def run() -> None:
            try:
                answer.set_result(work())
            except Exception as problem:
                answer.set_result([])
                raise problem from None

        self._do(run)
        return answer

    def _offer(self, found: Iterable[Event]) -> list[str]:
        sessions: dict[str, None] = {}
        for event in found:
            made = event if self.settings.captures_content else without_content(event)
            session_id = str(event["session_id"])
            recipient = self._recipients.get(session_id)
            is_end = event["type"] == events.END_SESSION
            if is_end:
                self._recipients.pop(session_id, None)
            if made is None:
                continue
            sessions[session_id] = None
            self.delivery.offer(
                made,
                observer=None if recipient is None else recipient.observer,
                before_send=self.settings.before_send,
                on_settled=recipient.on_end_settled if recipient is not None and is_end else None,
            )
        self._set_timer()
        self._report_loss()
        return list(sessions)

    def _set_timer(self) -> None:
        deadline = self._translator.next_deadline()
        if deadline is not None and not self._timer_is_set:
            self._timer_is_set = True
            host.call_soon(
                lambda: asyncio.get_running_loop().call_later(max(0.0, deadline - time.monotonic()), self._expire)
            )

    def _expire(self) -> None:
        def work() -> None:
            self._timer_is_set = False
            self._offer(self._translator.expire(time.monotonic()))

        self._do(work)

    def _report_loss(self) -> None:
        loss = self._translator.loss
        if not self._reported_loss and (loss.dropped_events or loss.dropped_attributes):
            self._reported_loss = True
            logger.error(
                "limits of the OpenTelemetry SDK dropped %d events and %d attributes of Mindlytics spans before they "
                "could be read; raise OTEL_SPAN_EVENT_COUNT_LIMIT and OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
                loss.dropped_events,
                loss.dropped_attributes,
            )


def _quietly(work: Callable[[], object]) -> None:
    """Nothing that a span holds may raise into the application, or stop the spans after it."""
    try:
        work()
    except Exception as problem:
        logger.error("a span could not be translated: %s", type(problem).__name__, exc_info=problem)


_bridges: Final[dict[Connection, Bridge]] = {}
_registry_lock: Final = threading.Lock()


def bridge_for(settings: Settings) -> Bridge:
    """The one bridge of this process for a connection; the first to ask sets the rest of its settings."""
    with _registry_lock:
        bridge = _bridges.get(settings.config.connection)
        if bridge is None:
            bridge = _bridges[settings.config.connection] = Bridge(settings)
            host.enter_with(_suppress_tracing)
        return bridge


def bridges() -> list[Bridge]:
    """All of this process."""
    return list(_bridges.values())


def _suppress_tracing() -> None:
    """Keeps what the sender's thread does from being traced: its requests are no business of the application's.

    The key has no public name; it is the one that every instrumentation asks for (`suppress_instrumentation`).
    """
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

    attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
