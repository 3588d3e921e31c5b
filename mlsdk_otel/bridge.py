"""The way from spans to the sender: one translator and one delivery for each set of settings, whoever brings the spans.

Callers never wait for a lock, as in `mlsdk.delivery.pipeline` and for the same reason: a span may end in a signal
handler or a finalizer, in the very thread that is at work here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from mlsdk import events
from mlsdk.config import Connection
from mlsdk.delivery.buffer import Observer, Stats
from mlsdk.delivery.host import host
from mlsdk.delivery.masking import BeforeSend
from mlsdk.delivery.pipeline import delivery_for
from mlsdk.events import Event
from mlsdk_otel import metrics
from mlsdk_otel.config import Settings, what_cuts_texts
from mlsdk_otel.metrics import Tally
from mlsdk_otel.translation.content import without_content
from mlsdk_otel.translation.foreign import Foreign
from mlsdk_otel.translation.lifetime import Lifetimes
from mlsdk_otel.translation.lineage import Link
from mlsdk_otel.translation.memory import remember
from mlsdk_otel.translation.spanview import EventView, SpanView
from mlsdk_otel.translation.translator import MAX_REMEMBERED, Translator

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

logger = logging.getLogger(__name__)

T = TypeVar("T")


_NO_CONTENT: Final = "model calls come without texts, so there is their usage but no turns; for turns, set "


class BridgeStats(Stats):
    """The ledger of the delivery, and what could not be read of spans."""

    late: int
    """Spans that came after the end of their session; their events were sent."""
    unreadable_spans: int
    """Spans that could not be translated at all: a mistake of this package."""
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
        masked_by: The hook that the session's events have been through already, before they were in a span.
    """

    observer: Observer
    on_end_settled: Callable[[bool], None] | None = None
    masked_by: BeforeSend | None = None


class Bridge:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.delivery = delivery_for(settings.config)
        self.exporters: WeakSet[object] = WeakSet()
        """The exporters in use, for whoever has to know whether a span will be read."""
        self.processors: WeakSet[object] = WeakSet()
        """Likewise."""
        self._hooks: tuple[BeforeSend, ...] = ()
        self._captures_content = True
        self._has_agreed = False
        self._reads_logs = False
        self._said: set[str] = set()
        self._reset()
        metrics.instruments().watch(settings.config.connection, self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self.inbox: deque[Callable[[], None]] = deque()
        """What is still to be read."""
        self._translator = Translator(
            project_id=self.settings.config.connection.project_id, foreign=_foreign(self.settings)
        )
        self._translator.foreign.expects_logs = self._reads_logs
        self._passed: deque[Link] = deque(maxlen=MAX_REMEMBERED)
        self.ended_roots: deque[SpanContext] = deque(maxlen=MAX_REMEMBERED)
        """Roots below which nothing waits that have ended: what ends below them after all need not wait for them."""
        self.waiting = self._translator.foreign.waiting
        """The traces of which spans wait for those above them."""
        self._recipients: OrderedDict[str, Recipient] = OrderedDict()
        self._started: OrderedDict[int, None] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._unreadable = 0
        self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def after_fork_in_child(self) -> None:
        """Starts anew: what the parent has seen is the parent's to send, and its lock may be held for ever."""
        _inherited.append((self._lock, self.inbox, self._translator))
        self._reset()

    def agree(self, settings: Settings) -> None:
        """Another reader shares this bridge: what either of them keeps back is kept back."""
        is_new = settings.before_send is not None and settings.before_send not in self._hooks
        differs = self._has_agreed and (is_new or settings.captures_content != self._captures_content)
        if differs or settings.config.connection != self.settings.config.connection:
            self._say_once(
                logging.WARNING,
                "readers of project %r differ in their settings: the address and key of the first are used, and what "
                "the before_send or capture_content of any of them keeps back is kept back",
                self.settings.config.connection.project_id,
            )
        if is_new and settings.before_send is not None:
            self._hooks += (settings.before_send,)
        self._captures_content = self._captures_content and settings.captures_content
        self._has_agreed = True

    @property
    def is_read(self) -> bool:
        """Whether an exporter or processor uses it."""
        return bool(self.exporters or self.processors)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def started(self, view: SpanView) -> None:
        """A span has started, seen by a processor."""
        self._started[view.span_id] = None  # at once: whoever made the span asks next

        def work() -> None:
            while len(self._started) > MAX_REMEMBERED:
                self._started.popitem(last=False)
            self._offer(self._translator.started(view, time.monotonic()))
            self._set_timer()

        self._do(work)

    def saw_start(self, span_id: int) -> bool:
        """Whether a processor brought the start of this span."""
        return span_id in self._started

    def expect_logs(self) -> None:
        """Somebody brings log records: model calls without texts wait for theirs."""
        self._reads_logs = self._translator.foreign.expects_logs = True

    def awaits(self, trace_id: int) -> bool:
        """Whether spans of a trace may wait for those above them."""
        return trace_id in self.waiting or bool(self.inbox)

    def passed(self, link: Link) -> None:
        """A span of no interest has started or ended; it may stand above some that are."""
        self._passed.append(link)
        if self.awaits(link.trace_id):
            self.ended(())

    def ended(
        self, views: Sequence[SpanView], on_settled: Callable[[bool], None] | None = None, passed: Sequence[Link] = ()
    ) -> Future[list[str]]:
        """Spans have ended.

        Args:
            views: Those that say something.
            passed: Those that may only stand above them.
            on_settled: Called once for each of them: whether everything that was sent when it was read was delivered.

        Returns:
            A future that gives the sessions of which something was offered for delivery.
        """

        def work() -> list[str]:
            now = time.monotonic()
            foreign = self._translator.foreign
            sessions = self._offer(self._translator.expire(now))
            for view in views:
                sessions |= self._read(partial(self._translator.feed, view, now, is_last=False), on_settled)
            # After what they stand above: a root lets go of what waits below it.
            sessions |= self._read(partial(foreign.passed, self._links(passed), now), None)
            self._look_back(sessions)
            return list(sessions)

        return self._answer(work)

    def _links(self, passed: Sequence[Link]) -> list[Link]:
        roots = [Link(each.trace_id, each.span_id, None, is_root=True) for each in _taken(self.ended_roots)]
        return [*roots, *_taken(self._passed), *passed]

    def logged(self, views: Sequence[SpanView], events: Sequence[tuple[int, int, EventView]] = ()) -> Future[list[str]]:
        """Log records have come: of our events, and of others' with the trace and span that they belong to."""

        def work() -> list[str]:
            sessions: dict[str, None] = {}
            now = time.monotonic()
            for trace_id, span_id, event in events:
                read = partial(self._translator.foreign.logged, trace_id, span_id, event, now)
                sessions |= self._read(read, None)
            for view in views:
                sessions |= self._read(partial(self._translator.logged, view), None)
            self._look_back({})
            return list(sessions)

        return self._answer(work)

    def release(self, *, is_last: bool = False) -> Future[list[str]]:
        """Sends what waits for spans that have not come: a flush or a shutdown waits for nothing.

        Args:
            is_last: The process ends, or stops reading: sessions of others' spans end.
        """

        def work() -> list[str]:
            self._translator.foreign.lineage.add(self._links(()))
            send = self._translator.close if is_last else self._translator.release
            sessions = self._read(partial(send, time.monotonic()), None)
            self._look_back(sessions)
            return list(sessions)

        return self._answer(work)

    def knows(self, session_id: str) -> bool:
        """Whether something of the session was offered for delivery here, as far as is remembered."""
        return session_id in self._known

    def end_session(self, session_id: str) -> None:
        """The application says that a session has ended."""
        end = events.end_session(events.common(session_id=session_id), time.time_ns() // 1000)
        self._do(lambda: self._offer(self._translator.end_session(session_id, end, time.monotonic())))

    def end_conversations(self, session_id: str) -> None:
        """The SDK is about to send the end of a session itself: what libraries' spans tell of it has to end before."""
        self._do(lambda: self._offer(self._translator.end_conversations(session_id, time.monotonic())))

    def tell(self, session_id: str, recipient: Recipient) -> None:
        """Names who is told what becomes of a session's events."""

        def work() -> None:
            remember(self._recipients, session_id, recipient, MAX_REMEMBERED)

        self._do(work)

    def warn_of_cuts(self, cuts: str) -> None:
        """Says once that texts of spans are shortened, which OpenTelemetry does not count."""
        if cuts:
            self._say_once(logging.ERROR, "%s shortens the texts of spans: turns arrive cut", cuts)

    def stats(self) -> BridgeStats:
        """The ledger of the delivery, and what could not be read."""
        loss = self._translator.loss
        return BridgeStats(
            **self.delivery.stats(),
            late=self._translator.late,
            unreadable_spans=self._unreadable,
            unreadable_events=loss.events + self._translator.foreign.loss.events,
            unreadable_values=loss.values,
            span_dropped_events=loss.dropped_events,
            span_dropped_attributes=loss.dropped_attributes,
        )

    # -- under the lock -----------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[], object]) -> None:
        self.inbox.append(partial(_quietly, work))
        while self.inbox and self._lock.acquire(blocking=False):
            try:
                while self.inbox:
                    self.inbox.popleft()()
            finally:
                self._lock.release()

    def _answer(self, work: Callable[[], list[str]]) -> Future[list[str]]:
        answer: Future[list[str]] = Future()
        answer.set_running_or_notify_cancel()

        def run() -> None:
            found: list[str] = []
            try:
                found = work()
            finally:
                answer.set_result(found)

        self._do(run)
        return answer

    def _read(self, read: Callable[[], list[Event]], on_settled: Callable[[bool], None] | None) -> dict[str, None]:
        """One span; what cannot be read must not cost the others."""
        try:
            found = read()
        except Exception as problem:
            self._unreadable += 1
            log_mistake("a span could not be translated", problem)
            if on_settled is not None:
                on_settled(False)
            return {}
        return self._offer(found, on_settled)

    def _offer(self, found: Iterable[Event], on_settled: Callable[[bool], None] | None = None) -> dict[str, None]:
        made = [event if self._captures_content else without_content(event) for event in found]
        kept = [event for event in made if event is not None]
        tally = None if on_settled is None else Tally(len(kept), on_settled)
        sessions: dict[str, None] = {}
        for event in kept:
            session_id = str(event["session_id"])
            is_end = event["type"] == events.END_SESSION
            recipient = self._recipients.pop(session_id, None) if is_end else self._recipients.get(session_id)
            sessions[session_id] = None
            hooks = [hook for hook in self._hooks if recipient is None or hook is not recipient.masked_by]
            self.delivery.offer(
                event,
                observer=None if recipient is None else recipient.observer,
                before_send=_chained(hooks) if hooks else None,
                on_settled=_both(tally, recipient.on_end_settled if recipient is not None and is_end else None),
            )
        for session_id in sessions:
            remember(self._known, session_id, None, MAX_REMEMBERED)
        return sessions

    def _look_back(self, sessions: dict[str, None]) -> None:
        """After spans were read."""
        self._set_timer()
        loss = self._translator.loss
        if loss.dropped_events or loss.dropped_attributes:
            self._say_once(
                logging.ERROR,
                "limits of the OpenTelemetry SDK dropped %d events and %d attributes of Mindlytics spans before they "
                "could be read; raise OTEL_SPAN_EVENT_COUNT_LIMIT and OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
                loss.dropped_events,
                loss.dropped_attributes,
            )
        if loss.why:
            self._say_once(logging.WARNING, "events of Mindlytics spans that make no sense are left out: %s", loss.why)
        if sessions:
            self.warn_of_cuts(what_cuts_texts())
        for hint in self._translator.foreign.hints:
            self._say_once(logging.WARNING, _NO_CONTENT + hint)

    def _say_once(self, level: int, text: str, *arguments: object) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.log(level, text, *arguments)

    def _set_timer(self) -> None:
        deadline = self._translator.next_deadline()
        if deadline is None or deadline >= self._timer_at:
            return
        self._timer_at = deadline

        def set_it() -> None:
            if self._timer is not None:
                self._timer.cancel()
            wait = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._expire)

        host.call_soon(set_it)

    def _expire(self) -> None:
        def work() -> None:
            self._timer_at = math.inf
            self._offer(self._translator.expire(time.monotonic()))
            self._look_back({})

        self._do(work)


def _taken(things: deque[T]) -> list[T]:
    found: list[T] = []
    try:
        while True:
            found.append(things.popleft())
    except IndexError:
        return found


def _foreign(settings: Settings) -> Foreign:
    return Foreign(
        lifetimes=Lifetimes(joined_idle=settings.session_idle, device_id=settings.device_id),
        hold=settings.hold,
        ends_on_shutdown=settings.ends_on_shutdown,
    )


def log_mistake(what: str, problem: BaseException) -> None:
    """Says in one line where something went wrong that never should; the problem's own text may be private."""
    place = problem.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" ({os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno})"
    logger.error("%s: %s%s", what, type(problem).__name__, where)


def _quietly(work: Callable[[], object]) -> None:
    """Nothing that a span holds may raise into the application, or stop the spans after it."""
    try:
        work()
    except Exception as problem:
        log_mistake("spans could not be translated", problem)


def _chained(hooks: Sequence[BeforeSend]) -> BeforeSend:
    if len(hooks) == 1:
        return hooks[0]

    def mask(event: dict[str, Any]) -> dict[str, Any] | None:
        for hook in hooks:
            masked = hook(event)
            if masked is None:
                return None
            event = dict(masked)
        return event

    return mask


def _both(
    tally: Callable[[bool], None] | None, recipient: Callable[[bool], None] | None
) -> Callable[[bool], None] | None:
    if tally is None or recipient is None:
        return tally or recipient

    def tell(delivered: bool) -> None:
        tally(delivered)
        recipient(delivered)

    return tell


_bridges: Final[dict[Connection, Bridge]] = {}
_inherited: Final[list[object]] = []
"""Of the parent process: a lock that a thread which does not exist here may hold, and what it guarded."""
# Reentrant, for a signal handler that makes an exporter while one is made.
_registry_lock = threading.RLock()


def bridge_for(settings: Settings) -> Bridge:
    """The one bridge of this process for a project at an address.

    A bridge that is in use serves whoever asks for the same project, whatever the key: with two, each event would be
    delivered twice. When all its readers are shut down, another key gets a bridge of its own.

    Raises:
        ConfigurationError: The file of certificate authorities cannot be read.
    """
    connection = settings.config.connection
    with _registry_lock:
        bridge = _bridges.get(connection)
        for other in list(_bridges.values()):
            theirs = other.settings.config.connection
            if other.is_read and _place(theirs) == _place(connection) and (bridge is None or not bridge.is_read):
                bridge = other
        if bridge is None:
            bridge = _bridges[connection] = Bridge(settings)
        bridge.agree(settings)
        return bridge


def _place(connection: Connection) -> tuple[str, str]:
    return connection.server_endpoint, connection.project_id


def bridges() -> list[Bridge]:
    """All of this process."""
    return list(_bridges.values())


def _after_fork_in_child() -> None:
    global _registry_lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _registry_lock = threading.RLock()
    for bridge in bridges():
        bridge.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
