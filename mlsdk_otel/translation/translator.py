"""Finished spans in, wire events out, in an order that the service can live with.

Of one session the start comes first and the end last, whatever the order in which its spans arrive within `WAIT`
seconds; within a conversation, and among the session's own events, the order is kept. A span is read once, even when
an exporter and a processor both bring it. What comes after the end of its session is sent all the same, and counted.

When things are sent:

- a span with the session's start in it (all of the instrumentor's): at once, unless an earlier part is missing;
- a conversation's span without, below a span of this process: when the session's own span has been seen;
- the session's end: with its own span, or when the conversations that it names have ended too;
- all of it after `WAIT` seconds, at `expire`; and at `close`.

Pure: times are passed in, in seconds of a clock that never goes backwards.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final, TypeVar

from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import native
from mlsdk_otel.translation.facts import Loss, Role, SessionPart
from mlsdk_otel.translation.spanview import Attributes, SpanView
from mlsdk_otel.translation.state import SessionState

WAIT: Final = 5.0
"""Seconds that anything waits for a span that should come."""
MAX_REMEMBERED: Final = 10_000
"""Sessions, and of ended ones and of spans their ids, that are remembered; the oldest are forgotten first."""

K = TypeVar("K")
V = TypeVar("V")


class Translator:
    """The state between spans."""

    def __init__(self, *, project_id: str) -> None:
        self._project_id = project_id
        self._sessions: OrderedDict[str, SessionState] = OrderedDict()
        # Those of which something waits, and until when.
        self._waiting: OrderedDict[str, float] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()
        # What the session's own span says that its conversations may leave out, by trace.
        self._traces: OrderedDict[int, Attributes] = OrderedDict()
        # Conversations' spans whose session's span is to come, by trace, and until when they wait.
        self._orphans: OrderedDict[int, tuple[float, list[SpanView]]] = OrderedDict()
        self.late = 0
        """Spans that came after the end of their session."""
        self.loss = Loss()

    def claims(self, view: SpanView) -> bool:
        """Whether a span is read here."""
        project_id = view.attributes.get(names.PROJECT_ID)
        return native.claims(view) and (project_id is None or project_id == self._project_id)

    def started(self, view: SpanView, now: float) -> list[Event]:
        """A span has started: its start can be told at once."""
        if not self.claims(view) or view.attributes.get(names.JOINED) is True:
            return []
        self._remember_trace(view)
        part = self._read(view)
        if part.is_joined or part.number or part.session_id in self._ended:
            return []
        return self._state(part.session_id).start(part)

    def feed(self, view: SpanView, now: float) -> list[Event]:
        """A span has ended."""
        place = (view.trace_id, view.span_id)
        if not self.claims(view) or place in self._seen:
            return []
        _remember(self._seen, place, None)
        if self._must_wait(view):
            self._orphans.setdefault(view.trace_id, (now + WAIT, []))[1].append(view)
            return self._keep_bounds(now)
        found = self._keep_bounds(now)
        if view.name == names.SESSION_SPAN:
            self._remember_trace(view)
            found += self._begin_with(view)
            for orphan in self._adopt(view.trace_id):
                found += self._take(orphan, now)
        return found + self._take(view, now)

    def logged(self, view: SpanView) -> list[Event]:
        """A log record of one of our events, seen as a span of a joined session: it needs no start and has no end."""
        part = self._read(view)
        self.loss.add(part.loss)
        return _at_once(part)

    def end_session(self, session_id: str, end: Event, now: float) -> list[Event]:
        """The application says that a session has ended: what waits of it goes, then its end, once."""
        if session_id in self._ended:
            return []
        state = self._sessions.pop(session_id, None)
        self._waiting.pop(session_id, None)
        found = [] if state is None else state.expire()
        _remember(self._ended, session_id, None)
        return found if state is not None and state.has_ended else [*found, end]

    def expire(self, now: float) -> list[Event]:
        """What has waited long enough."""
        found: list[Event] = []
        for trace_id in [trace_id for trace_id, (deadline, _) in self._orphans.items() if deadline <= now]:
            for orphan in self._adopt(trace_id):
                found += self._take(orphan, now - WAIT)
        while self._waiting and next(iter(self._waiting.values())) <= now:
            session_id, _ = self._waiting.popitem(last=False)
            found += self._sessions[session_id].expire()
            self._settle(session_id)
        return found

    def close(self, now: float) -> list[Event]:
        """Everything that waits: nothing more will come."""
        return self.expire(now + 2 * WAIT)

    def next_deadline(self) -> float | None:
        """When `expire` will have something to send, or None."""
        # Everything waits equally long, so the first of each to begin is the first to be due.
        orphans = (deadline for deadline, _ in self._orphans.values())
        return min((*islice(orphans, 1), *islice(self._waiting.values(), 1)), default=None)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, view: SpanView) -> SessionPart:
        inherited = self._traces.get(view.trace_id, {})
        session_id = native.session_id_of({**inherited, **view.attributes})
        return native.read(view, session_id=session_id or native.session_of_trace(view.trace_id), inherited=inherited)

    def _must_wait(self, view: SpanView) -> bool:
        """Whether a conversation's span says too little without its session's, which is still to come."""
        return (
            view.name == names.CONVERSATION_SPAN
            and view.parent_id is not None
            and not view.has_remote_parent
            and names.SESSION_START not in view.attributes
            and view.trace_id not in self._traces
        )

    def _remember_trace(self, view: SpanView) -> None:
        if view.name == names.SESSION_SPAN:
            inherited = {name: view.attributes[name] for name in names.INHERITED if name in view.attributes}
            _remember(self._traces, view.trace_id, inherited)

    def _adopt(self, trace_id: int) -> list[SpanView]:
        _, views = self._orphans.pop(trace_id, (0.0, []))
        return views

    # -- sending ------------------------------------------------------------------------------------------------------

    def _begin_with(self, view: SpanView) -> list[Event]:
        part = self._read(view)
        if part.is_joined or part.session_id in self._ended:
            return []
        return self._state(part.session_id).start(part)

    def _take(self, view: SpanView, now: float) -> list[Event]:
        part = self._read(view)
        self.loss.add(part.loss)
        if part.is_joined:
            return _at_once(part)
        if part.session_id in self._ended:
            self.late += 1
            return _at_once(part)
        state = self._state(part.session_id)
        found = state.take(part)
        if state.waits:
            self._waiting.setdefault(part.session_id, now + WAIT)
        self._settle(part.session_id)
        return found

    def _state(self, session_id: str) -> SessionState:
        state = self._sessions.get(session_id)
        if state is None:
            state = self._sessions[session_id] = SessionState()
        self._sessions.move_to_end(session_id)
        return state

    def _settle(self, session_id: str) -> None:
        state = self._sessions[session_id]
        if not state.waits:
            self._waiting.pop(session_id, None)
        if state.has_ended:
            del self._sessions[session_id]
            _remember(self._ended, session_id, None)

    def _keep_bounds(self, now: float) -> list[Event]:
        """Lets go of what has been there longest when there is too much; what it had to say is said."""
        found: list[Event] = []
        if len(self._orphans) > MAX_REMEMBERED:
            for orphan in self._adopt(next(iter(self._orphans))):
                found += self._take(orphan, now)
        if len(self._sessions) > MAX_REMEMBERED:
            session_id, state = self._sessions.popitem(last=False)
            self._waiting.pop(session_id, None)
            found += state.expire()
            if state.has_ended:
                _remember(self._ended, session_id, None)
        return found


def _at_once(part: SessionPart) -> list[Event]:
    """All events of a part for which nothing waits any more; a session that has ended does not end twice."""
    events = [*part.inner]
    if part.opening is not None:
        events.insert(0, part.opening)
    if part.closing is not None and part.role is Role.CONVERSATION:
        events.append(part.closing)
    return events


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
