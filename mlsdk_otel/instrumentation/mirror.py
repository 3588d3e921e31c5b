"""One session as spans: a root span, a child span for each conversation, an event for everything else.

The spans are held, never attached to the context: a session outlives the code that opens it. A span ends before it
reaches the provider's limit of events, marked as continued, and another goes on in the same trace: nothing is lost to
limits. A session that is not this process's to start or end has no span of its own; each event makes a short one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, Span, Tracer, set_span_in_context

from mlsdk import events
from mlsdk.delivery.host import host
from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.instrumentation import writing
from mlsdk_otel.instrumentation.writing import Written


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
    start: int
    """When the current span started, in nanoseconds since the epoch."""
    began: float
    """The same on the monotonic clock, in seconds, whatever timestamps the application gives."""
    number: int = 0
    events: int = 0
    latest: int = 0
    user_id: str | None = None


@dataclass(eq=False)
class Mirror:
    """The spans of one session object."""

    policy: Policy
    _session: _Thread | None = None
    _root: Span | None = None
    _start: str = ""
    _conversations: dict[str, _Thread] = field(default_factory=dict)
    _opened: int = 0
    _delivers: bool = False
    _generation: int = field(default_factory=lambda: host.generation)
    # Reentrant, because recording may run a finalizer or a signal handler in the same thread.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def record(self, event: Event) -> bool:
        """Mirrors an event; returns whether the spans deliver it, so that nobody else must."""
        with self._lock:
            if self._generation != host.generation:
                # A forked child: the spans are the parent's to end, and the session is one that it has joined.
                self._generation = host.generation
                self._forget()
            if event["type"] == events.START_SESSION:
                self._open_session(event)
            elif self._session is None:
                return self._record_joined(event)
            elif event["type"] == events.END_SESSION:
                self._close_session(self._session, event)
            elif event.get("event") == events.CONVERSATION_STARTED:
                self._open_conversation(event)
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
                if thread.events:
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
        self._root = span
        self._opened = 0
        self._conversations.clear()
        self._session = _thread(span, names.SESSION_SPAN, own, event)

    def _close_session(self, session: _Thread, event: Event) -> None:
        given = writing.prefixed(names.SESSION_END_ATTRIBUTE, writing.values(event, "attributes"))
        _end(session, event, {**given, names.CONVERSATIONS: self._opened})
        self._session = None

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

    def _open_conversation(self, event: Event) -> None:
        conversation_id = str(event["conversation_id"])
        own = {
            **self._common(event),
            names.CONVERSATION_ID: conversation_id,
            **writing.prefixed(names.CONVERSATION_PROPERTY, writing.values(event, "properties")),
        }
        if not self._delivers:
            own[names.DELIVERY] = names.DIRECT
        span = self._child(names.CONVERSATION_SPAN, own, writing.nanoseconds(event))
        self._opened += 1
        self._conversations[conversation_id] = _thread(span, names.CONVERSATION_SPAN, own, event)

    def _record_inside(self, session: _Thread, event: Event) -> None:
        conversation_id = writing.text(event, "conversation_id")
        conversation = None if conversation_id is None else self._conversations.get(conversation_id)
        if conversation is not None and event.get("event") == events.CONVERSATION_ENDED:
            given = writing.values(event, "properties")
            _end(conversation, event, writing.prefixed(names.CONVERSATION_END_PROPERTY, given))
            del self._conversations[str(conversation_id)]
            return
        self._add(conversation or session, event)

    # -- spans --------------------------------------------------------------------------------------------------------

    def _add(self, thread: _Thread, event: Event) -> None:
        limit = self.policy.max_seconds if self._delivers else None
        if thread.events >= self.policy.max_events or (limit is not None and monotonic() - thread.began >= limit):
            self._continue(thread, writing.nanoseconds(event))
        thread.span.add_event(
            writing.event_name(event), writing.event_attributes(event), timestamp=writing.nanoseconds(event)
        )
        thread.events += 1
        thread.latest = writing.nanoseconds(event)

    def _continue(self, thread: _Thread, moment: int) -> None:
        """Ends the thread's span and goes on in another one."""
        self._interrupt(thread, moment)
        thread.number += 1
        thread.start = moment
        thread.span = self._child(thread.name, {**thread.attributes, names.PART: thread.number}, moment)
        if not self._delivers:
            thread.span.set_attribute(names.DELIVERY, names.DIRECT)
        thread.events = 0
        thread.began = monotonic()

    def _interrupt(self, thread: _Thread, moment: int) -> None:
        thread.span.set_attribute(names.CONTINUED, True)
        thread.span.end(max(moment, thread.start))

    def _child(self, name: str, attributes: Written, moment: int) -> Span:
        parent = set_span_in_context(self._root or INVALID_SPAN)
        return self.policy.tracer.start_span(name, context=parent, attributes=attributes, start_time=moment)

    def _record_joined(self, event: Event) -> bool:
        own: Written = {**writing.ids(event), names.PROJECT_ID: self.policy.project_id, names.JOINED: True}
        if not self.policy.intends_otel:
            own[names.DELIVERY] = names.DIRECT
        moment = writing.nanoseconds(event)
        span = self.policy.tracer.start_span(
            names.SESSION_SPAN, context=set_span_in_context(INVALID_SPAN), attributes=own, start_time=moment
        )
        delivers = self._decide(span)
        span.add_event(writing.event_name(event), writing.event_attributes(event), timestamp=moment)
        span.end(moment)
        return delivers


def _thread(span: Span, name: str, attributes: Written, event: Event) -> _Thread:
    return _Thread(
        span, name, attributes, writing.nanoseconds(event), monotonic(), user_id=writing.text(event, "user_id")
    )


def _end(thread: _Thread, event: Event, attributes: Written) -> None:
    """Ends a session or conversation for good."""
    moment = writing.nanoseconds(event)
    ended: Written = {**attributes}
    user_id = writing.text(event, "user_id")
    if user_id is not None and user_id != thread.user_id:  # somebody was identified meanwhile
        ended[names.END_USER_ID] = user_id
    if moment < thread.start:
        ended[names.END_TIMESTAMP] = str(event["timestamp"])
    thread.span.set_attributes(ended)
    thread.span.end(max(moment, thread.start))
