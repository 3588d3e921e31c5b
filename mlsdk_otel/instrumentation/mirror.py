"""One session as spans: a root span, a child span for each conversation, an event for everything else.

The spans are held, never attached to the context: a session outlives the code that opens it. A span ends before it
reaches the provider's limit of events, marked as continued, and another goes on in the same trace: nothing is lost to
limits. A session that is not this process's to start or end has no span of its own; each event makes a short one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, Span, Tracer, set_span_in_context

from mlsdk import events
from mlsdk.delivery.host import host
from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.instrumentation import writing
from mlsdk_otel.instrumentation.writing import Written

MAX_ENDED: Final = 1_000
"""Conversations that have ended of which is remembered how many spans they had; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How sessions become spans.

    Attributes:
        tracer: What makes the spans.
        max_events: Events after which a span is continued.
        max_seconds: Seconds after which it is, when the spans deliver; None for never.
        will_be_read: Whether a reader of ours will see what a span of this project holds.
        intends_otel: The spans deliver, if they will be read.
        project_id: Only for readers of this project.
    """

    tracer: Tracer
    max_events: int
    max_seconds: float | None
    will_be_read: Callable[[Span], bool]
    intends_otel: bool
    project_id: str


@dataclass(slots=True)
class _Thread:
    """The span that a session or conversation has at present, and what its continuation needs to know."""

    span: Span
    name: str
    attributes: Written
    """Those that each of its spans has from the start."""
    start: int
    """When the current span started, in nanoseconds since the epoch."""
    latest: int
    """When the last event was, likewise."""
    began: float
    """When the current span started on the monotonic clock, in seconds, whatever timestamps the application gives."""
    said: int = 0
    """How many attributes or properties its start had."""
    number: int = 0
    events: int = 0
    is_told: bool = False
    """A span of it has ended, and so what it says of the start can be read."""


@dataclass(eq=False)
class Mirror:
    """The spans of one session object."""

    policy: Policy
    _session: _Thread | None = None
    _root: Span | None = None
    _start: str = ""
    _conversations: dict[str, _Thread] = field(default_factory=dict)
    _ended: int = 0
    # The conversations that have ended, by the number of the span to come if one is opened again.
    _numbers: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _delivers: bool = False
    _generation: int = field(default_factory=lambda: host.generation)
    # Reentrant, because recording may run a finalizer or a signal handler in the same thread.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def record(self, event: Event) -> bool:
        """Mirrors an event; returns whether the spans deliver it, so that nobody else must."""
        if self._generation != host.generation:
            # A forked child: the spans are the parent's to end, and the session is one that it has joined. A thread of
            # the parent may have had the lock.
            self._generation = host.generation
            self._lock = threading.RLock()
            self._forget()
        with self._lock:
            if event["type"] == events.START_SESSION:
                self._open_session(event)
            elif self._session is None:
                self._record_joined(event)
            elif event["type"] == events.END_SESSION:
                self._close_session(self._session, event)
            else:
                self._record_inside(self._session, event)
            return self._delivers

    def span_of(self, conversation_id: str | None) -> Span | None:
        """The span to work under: of the conversation, else of the only one, else of the session."""
        thread = self._conversations.get(conversation_id or "")
        if thread is None and conversation_id is None and len(self._conversations) == 1:
            thread = next(iter(self._conversations.values()))
        thread = thread or self._session
        return None if thread is None else thread.span

    def failed(self, problem: BaseException) -> None:
        """The application left the session because of an error of its own."""
        with self._lock:
            if self._session is not None:
                self._session.span.record_exception(problem)
                self._session.span.set_status(trace.StatusCode.ERROR, type(problem).__name__)

    def hand_out(self) -> None:
        """Has what was recorded so far read now: spans with events in them end, and others go on."""
        with self._lock:
            for thread in self._threads() if self._delivers else ():
                if thread.events or not thread.is_told:
                    self._continue(thread, thread.latest)

    def let_go(self) -> None:
        """Ends the spans without ending what they stand for: nobody mirrors this session any more."""
        with self._lock:
            for thread in self._threads():
                self._interrupt(thread, thread.latest)
            self._forget()

    @property
    def delivers(self) -> bool:
        """Whether the spans deliver the session's events."""
        return self._delivers

    def _threads(self) -> list[_Thread]:
        # Conversations first: children end before their parents.
        return [*self._conversations.values(), *([self._session] if self._session is not None else [])]

    def _forget(self) -> None:
        self._session = None
        self._conversations.clear()
        self._numbers.clear()

    # -- the session --------------------------------------------------------------------------------------------------

    def _open_session(self, event: Event) -> None:
        self._start = writing.session_start(event)
        given = writing.values(event, "attributes")
        own = {**self._common(event), **writing.prefixed(names.SESSION_ATTRIBUTE, given)}
        # A root of its own: it outlives a request, and must not be dropped with an unsampled one.
        active = trace.get_current_span().get_span_context()
        span = self.policy.tracer.start_span(
            names.SESSION_SPAN,
            context=set_span_in_context(INVALID_SPAN),
            links=[Link(active)] if active.is_valid else [],
            attributes=own,
            start_time=writing.nanoseconds(event),
        )
        self._delivers = self._decide(span)
        if not self._delivers:
            own[names.DELIVERY] = names.DIRECT
        self._forget()
        self._root = span
        self._ended = 0
        self._session = _thread(span, names.SESSION_SPAN, own, event, said=len(given))

    def _close_session(self, session: _Thread, event: Event) -> None:
        moment = writing.nanoseconds(event)
        for thread in self._conversations.values():  # of events that only look like a conversation's start
            self._interrupt(thread, moment)
        given = writing.values(event, "attributes")
        ended = writing.prefixed(names.SESSION_END_ATTRIBUTE, given, beside=session.said)
        _end(session, event, {**ended, names.CONVERSATIONS: self._ended})
        self._forget()

    def _decide(self, span: Span) -> bool:
        """Whether the spans deliver; says so on the span if they do not."""
        if self.policy.intends_otel and self.policy.will_be_read(span):
            return True
        span.set_attribute(names.DELIVERY, names.DIRECT)
        return False

    def _common(self, event: Event) -> Written:
        written = {
            **writing.ids(event),
            names.PROJECT_ID: self.policy.project_id,
            names.SESSION_START: self._start,
        }
        if not self.policy.intends_otel:
            written[names.DELIVERY] = names.DIRECT
        return written

    # -- conversations ------------------------------------------------------------------------------------------------

    def _record_inside(self, session: _Thread, event: Event) -> None:
        conversation_id = writing.text(event, "conversation_id")
        conversation = None if conversation_id is None else self._conversations.get(conversation_id)
        name = writing.event_name(event)
        if name == names.CONVERSATION_STARTED and conversation is None:
            conversation = self._open_conversation(str(conversation_id), event)
            if conversation is not None:
                return
        elif name == names.CONVERSATION_ENDED and conversation is not None:
            self._close_conversation(str(conversation_id), conversation, event)
            return
        self._add(conversation or session, event)

    def _open_conversation(self, conversation_id: str, event: Event) -> _Thread | None:
        given = writing.values(event, "properties")
        own = {
            **self._common(event),
            names.CONVERSATION_ID: conversation_id,
            **writing.prefixed(names.CONVERSATION_PROPERTY, given),
        }
        if not self._delivers:
            own[names.DELIVERY] = names.DIRECT
        number = self._numbers.pop(conversation_id, 0)
        again: Written = {names.PART: number, names.REOPENED: True} if number else {}
        span = self._child(names.CONVERSATION_SPAN, {**own, **again}, writing.nanoseconds(event))
        if span is None:
            return None
        thread = _thread(span, names.CONVERSATION_SPAN, own, event, said=len(given))
        thread.number = number
        self._conversations[conversation_id] = thread
        return thread

    def _close_conversation(self, conversation_id: str, conversation: _Thread, event: Event) -> None:
        given = writing.values(event, "properties")
        _end(conversation, event, writing.prefixed(names.CONVERSATION_END_PROPERTY, given, beside=conversation.said))
        del self._conversations[conversation_id]
        self._ended += 1
        self._numbers[conversation_id] = conversation.number + 1
        if len(self._numbers) > MAX_ENDED:
            self._numbers.popitem(last=False)

    # -- spans --------------------------------------------------------------------------------------------------------

    def _add(self, thread: _Thread, event: Event) -> None:
        limit = self.policy.max_seconds if self._delivers else None
        if thread.events >= self.policy.max_events or (limit is not None and monotonic() - thread.began >= limit):
            self._continue(thread, writing.nanoseconds(event))
        attributes = writing.event_attributes(event, thread.attributes)
        thread.span.add_event(writing.event_name(event), attributes, timestamp=writing.nanoseconds(event))
        thread.events += 1
        thread.latest = writing.nanoseconds(event)

    def _continue(self, thread: _Thread, moment: int) -> None:
        """Ends the thread's span and goes on in another one."""
        number = thread.number + 1
        span = self._child(thread.name, {**thread.attributes, names.PART: number}, moment)
        if span is None:
            return
        self._interrupt(thread, moment)
        thread.span = span
        thread.number = number
        thread.start = moment
        thread.events = 0
        thread.began = monotonic()

    def _interrupt(self, thread: _Thread, moment: int) -> None:
        thread.span.set_attribute(names.CONTINUED, True)
        thread.span.end(max(moment, thread.start))
        thread.is_told = True

    def _child(self, name: str, attributes: Written, moment: int) -> Span | None:
        """A span below the session's; None if the provider's sampler does not want it as it wanted the session's."""
        root = self._root or INVALID_SPAN
        parent = set_span_in_context(root)
        span = self.policy.tracer.start_span(name, context=parent, attributes=attributes, start_time=moment)
        is_as_wanted = span.is_recording() and (
            span.get_span_context().trace_flags.sampled or not root.get_span_context().trace_flags.sampled
        )
        return span if is_as_wanted or not self._delivers else None

    def _record_joined(self, event: Event) -> None:
        own: Written = {**writing.ids(event), names.PROJECT_ID: self.policy.project_id, names.JOINED: True}
        if not self.policy.intends_otel:
            own[names.DELIVERY] = names.DIRECT
        moment = writing.nanoseconds(event)
        span = self.policy.tracer.start_span(
            names.SESSION_SPAN, context=set_span_in_context(INVALID_SPAN), attributes=own, start_time=moment
        )
        self._delivers = self._decide(span)
        span.add_event(writing.event_name(event), writing.event_attributes(event, own), timestamp=moment)
        span.end(moment)


def _thread(span: Span, name: str, attributes: Written, event: Event, *, said: int) -> _Thread:
    moment = writing.nanoseconds(event)
    return _Thread(span, name, attributes, start=moment, latest=moment, began=monotonic(), said=said)


def _end(thread: _Thread, event: Event, attributes: Written) -> None:
    """Ends a session or conversation for good."""
    moment = writing.nanoseconds(event)
    ended: Written = {**attributes, **writing.end_ids(event, thread.attributes)}
    if moment < thread.start:
        ended[names.END_TIMESTAMP] = str(event["timestamp"])
    thread.span.set_attributes(ended)
    thread.span.end(max(moment, thread.start))
