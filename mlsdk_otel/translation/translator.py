"""Finished spans in, wire events out, in an order that the service can live with.

Of one session the start comes first and the end last, whatever the order in which its spans arrive within `WAIT`
seconds; within a conversation, and among the session's own events, the order is kept. A span is read once, even when
an exporter and a processor both bring it. What comes after the end of its session is sent all the same, and counted.

When things are sent:

- a span with the session's start in it (all of the instrumentor's): at once, unless an earlier part is missing;
- a conversation's span without, below a span of this process: when the session's own span has been seen;
- the session's end: with its own span, or when the conversations that it names have ended too;
- all of it after `WAIT` seconds, at `expire`; and at `release` and `close`.

Spans of other libraries are `foreign`'s, which says when theirs is sent.

Pure: times are passed in, in seconds of a clock that never goes backwards.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count, islice
from typing import Final

from mlsdk.events import END_SESSION, Event
from mlsdk_otel import attributes as names
from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.conventions import identity, native
from mlsdk_otel.translation.facts import Loss, Role, SessionPart
from mlsdk_otel.translation.foreign import Foreign
from mlsdk_otel.translation.lineage import Link
from mlsdk_otel.translation.memory import remember
from mlsdk_otel.translation.spanview import Attributes, SpanView
from mlsdk_otel.translation.state import SessionState

WAIT: Final = 5.0
"""Seconds that anything waits for a span that should come."""
MAX_REMEMBERED: Final = 10_000
"""Sessions, and of ended ones and of spans their ids, that are remembered; the oldest are forgotten first."""
_MAX_IN_TRACE: Final = 100
"""Sessions of one trace that are remembered, likewise."""


@dataclass(frozen=True, slots=True)
class _SessionSpan:
    """A session's own span, for the conversations below it that leave out what it says.

    Attributes:
        end: None while it lasts.
    """

    span_id: int
    start: int
    end: int | None
    inherited: Attributes

    def encloses(self, view: SpanView) -> bool:
        """Whether a span began while this one lasted."""
        return self.start <= view.start and (self.end is None or view.start <= self.end)


class Translator:
    """The state between spans."""

    def __init__(
        self, *, project_id: str, max_remembered: int = MAX_REMEMBERED, foreign: Foreign | None = None
    ) -> None:
        """Knows nothing yet.

        Args:
            project_id: Spans of other projects are left alone.
            max_remembered: The bound of each kind of thing that is remembered.
            foreign: What is known of other libraries' spans; default nothing yet.
        """
        self._project_id = project_id
        self.foreign = foreign or Foreign(max_remembered=max_remembered)
        self._max = max_remembered
        self._sessions: OrderedDict[str, SessionState] = OrderedDict()
        # Those of which something waits, and until when; in the order in which it began, as in `_orphans`.
        self._waiting: OrderedDict[str, float] = OrderedDict()
        # Those that have ended, by the trace of their own span.
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._traces: OrderedDict[int, OrderedDict[int, _SessionSpan]] = OrderedDict()
        # Conversations' spans that do not say enough without their session's, which is to come; and until when.
        self._orphans: OrderedDict[int, tuple[float, SpanView]] = OrderedDict()
        self._orphans_of: dict[int, dict[int, None]] = {}
        self._serial = count()
        self.late = 0
        """Spans that came after the end of their session."""
        self.loss = Loss()

    def claims(self, view: SpanView) -> bool:
        """Whether a span is read here."""
        return native.claims(view) and native.is_meant_for(view, self._project_id)

    def started(self, view: SpanView, now: float) -> list[Event]:
        """A span has started: its start can be told at once, if it says all of it."""
        if not self.claims(view):
            return []
        self._know(view, end=None)
        self.foreign.lineage.add([_link(view)._replace(is_root=False)])
        above = self._session_above(view)
        attributes = {**_inherited(view, above), **view.attributes}
        if native.is_joined(attributes) or not native.names_all(view, attributes):
            return []
        return self._begin(self._read(view, above), view) + self._keep_bounds(now)

    def feed(self, view: SpanView, now: float, *, is_last: bool = True) -> list[Event]:
        """A span has ended.

        Args:
            view: The span.
            now: The time.
            is_last: False if others follow at once that came with it.
        """
        place = (view.trace_id, view.span_id)
        if place in self._seen:
            return []
        if not self.claims(view):
            return self._foreign(view, now, is_last=is_last)
        if view.span_id:  # without ids, nobody can tell one span from another
            remember(self._seen, place, None, self._max)
        if view.name == names.SESSION_SPAN:
            self._know(view, end=view.end)
        above = self._session_above(view)
        if above is None and _needs_its_session(view):
            self._hold(view, now)
            return self._keep_bounds(now)
        found: list[Event] = self.foreign.passed([_link(view)], now, is_last=is_last)
        expected = 0
        part = self._read(view, above)
        if view.name == names.SESSION_SPAN and part is not None:
            found += self._begin(part, view)
            for orphan in self._adopt(view.trace_id):
                found += self._take(self._read(orphan, self._session_above(orphan)), orphan, now)
            expected = self._count_within(view)
        return found + self._take(part, view, now, expected) + self._keep_bounds(now)

    def _foreign(self, view: SpanView, now: float, *, is_last: bool) -> list[Event]:
        """A span that is not of this project's; another reader's may still stand above calls of models."""
        convention = None if native.is_of_a_session(view) else conventions.convention_of(view)
        if convention is None:
            return self.foreign.passed([_link(view)], now, is_last=is_last)
        if view.span_id:
            remember(self._seen, (view.trace_id, view.span_id), None, self._max)
        return self.foreign.feed(view, convention.read(view), now, is_last=is_last)

    def logged(self, view: SpanView) -> list[Event]:
        """A log record of one of our events, seen as a span of a joined session: it needs no start and has no end."""
        if not self.claims(view):
            return []
        known = self._traces.get(view.trace_id, OrderedDict())
        part = self._read(view, known.get(view.span_id) or next(reversed(known.values()), None))
        if part is None:
            return []
        self.loss.add(part.loss)
        return _at_once(part)

    def end_session(self, session_id: str, end: Event, now: float) -> list[Event]:
        """The application says that a session has ended: what waits of it goes, then its end, once."""
        found: list[Event] = []
        for serial, (_, view) in list(self._orphans.items()):
            part = self._read_late(view)
            if part is not None and part.session_id == session_id:
                self._drop_orphan(serial)
                found += self._take(part, view, now)
        if session_id in self._ended:
            return found
        if session_id not in self._sessions and self.foreign.lifetimes.knows(session_id):
            return found + self.foreign.end_session(session_id, end, now)
        found += self.foreign.end_conversations(session_id, now)
        state = self._sessions.pop(session_id, None)
        self._waiting.pop(session_id, None)
        if state is not None:
            found += state.expire()
        remember(self._ended, session_id, 0 if state is None else state.trace_id, self._max)
        return found if state is not None and state.has_ended else [*found, end]

    def expire(self, now: float) -> list[Event]:
        """What has waited long enough, and the ends of others' sessions that are idle."""
        return self._own(now) + self.foreign.expire(now)

    def _own(self, now: float) -> list[Event]:
        found: list[Event] = []
        alone: dict[str, None] = {}
        while self._orphans and self._first_orphan()[0] <= now:
            found += self._give_up(alone, now)
        for session_id in alone:
            found += self._begin_anyhow(session_id)
        while self._waiting and next(iter(self._waiting.values())) <= now:
            session_id, _ = self._waiting.popitem(last=False)
            found += self._after_others(self._sessions[session_id].expire(), now)
            self._settle(session_id)
        return found

    def release(self, now: float) -> list[Event]:
        """Everything that waits for spans: a flush waits for nothing. Sessions of others go on."""
        return self._own(now + 2 * WAIT) + self.foreign.release(now)

    def close(self, now: float) -> list[Event]:
        """Everything that waits, and the ends of others' sessions: nothing more will come."""
        return self._own(now + 2 * WAIT) + self.foreign.close(now)

    def next_deadline(self) -> float | None:
        """When `expire` will have something to send, or None."""
        # Everything waits equally long, so the first of each to begin is the first to be due.
        orphans = (deadline for deadline, _ in self._orphans.values())
        foreign = self.foreign.next_deadline()
        others = () if foreign is None else (foreign,)
        return min((*others, *islice(orphans, 1), *islice(self._waiting.values(), 1)), default=None)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, view: SpanView, above: _SessionSpan | None) -> SessionPart | None:
        """What a span stands for; None, and counted, for one of which nobody can say to what it belongs."""
        inherited = _inherited(view, above)
        session_id = native.session_id_of({**inherited, **view.attributes})
        if session_id is None and view.trace_id == 0:
            self.loss.events += max(1, len(view.events))
            return None
        return native.read(view, session_id=session_id or native.session_of_trace(view.trace_id), inherited=inherited)

    def _read_late(self, view: SpanView) -> SessionPart | None:
        """The same for a span whose session's is not coming: the nearest of its trace has to do."""
        known = self._traces.get(view.trace_id, OrderedDict())
        around = (span for span in reversed(known.values()) if span.encloses(view))
        return self._read(view, next(around, None) or next(reversed(known.values()), None))

    def _session_above(self, view: SpanView) -> _SessionSpan | None:
        """The session's span that a conversation's belongs to, as far as it is known for certain."""
        known = self._traces.get(view.trace_id)
        if view.name != names.CONVERSATION_SPAN or known is None:
            return None
        if view.parent_id is not None and view.parent_id in known:
            return known[view.parent_id]
        # There may be spans in between, and one trace may hold several sessions: only one that has not ended is sure.
        return next((span for span in reversed(known.values()) if span.end is None and span.encloses(view)), None)

    def _know(self, view: SpanView, *, end: int | None) -> None:
        if view.name != names.SESSION_SPAN:
            return
        inherited = {name: view.attributes[name] for name in names.INHERITED if name in view.attributes}
        known = self._traces.get(view.trace_id, OrderedDict())
        remember(self._traces, view.trace_id, known, self._max)
        known[view.span_id] = _SessionSpan(view.span_id, view.start, end, inherited)
        if len(known) > _MAX_IN_TRACE:
            known.popitem(last=False)

    # -- spans that wait for their session's --------------------------------------------------------------------------

    def _hold(self, view: SpanView, now: float) -> None:
        serial = next(self._serial)
        self._orphans[serial] = (now + WAIT, view)
        self._orphans_of.setdefault(view.trace_id, {})[serial] = None

    def _first_orphan(self) -> tuple[float, SpanView]:
        return next(iter(self._orphans.values()))

    def _drop_orphan(self, serial: int) -> SpanView:
        _, view = self._orphans.pop(serial)
        siblings = self._orphans_of[view.trace_id]
        del siblings[serial]
        if not siblings:
            del self._orphans_of[view.trace_id]
        return view

    def _adopt(self, trace_id: int) -> list[SpanView]:
        """Those that have found their session."""
        waiting = self._orphans_of.get(trace_id, {})
        return [
            self._drop_orphan(serial)
            for serial in list(waiting)
            if self._session_above(self._orphans[serial][1]) is not None
        ]

    def _count_within(self, view: SpanView) -> int:
        """How many still wait that may belong to a session: its end waits for them."""
        span = self._traces[view.trace_id][view.span_id]
        waiting = self._orphans_of.get(view.trace_id, {})
        return sum(span.encloses(self._orphans[serial][1]) for serial in waiting)

    def _give_up(self, alone: dict[str, None], now: float) -> list[Event]:
        """Takes the first that waits without its session's span; `alone` gets the session."""
        view = self._drop_orphan(next(iter(self._orphans)))
        part = self._read_late(view)
        if part is not None:
            alone[part.session_id] = None
        return self._take(part, view, now)

    def _begin_anyhow(self, session_id: str) -> list[Event]:
        state = self._sessions.get(session_id)
        if state is None:
            return []
        found = state.begin_anyhow()
        self._settle(session_id)
        return found

    # -- sending ------------------------------------------------------------------------------------------------------

    def _begin(self, part: SessionPart | None, view: SpanView) -> list[Event]:
        if part is None or part.is_joined or self._has_ended(part.session_id, view):
            return []
        found, state = self._state(part.session_id, view)
        return found + state.start(part)

    def _take(self, part: SessionPart | None, view: SpanView, now: float, expected: int = 0) -> list[Event]:
        if part is None:
            return []
        self.loss.add(part.loss)
        if part.is_joined:
            return _at_once(part)
        if self._has_ended(part.session_id, view):
            self.late += 1
            return _at_once(part)
        found, state = self._state(part.session_id, view)
        found += self._after_others(state.take(part, expected=expected), now)
        if state.held > self._max:
            found += self._after_others(state.expire(), now)
        if state.waits:
            self._waiting.setdefault(part.session_id, now + WAIT)
        self._settle(part.session_id)
        return found

    def _after_others(self, found: list[Event], now: float) -> list[Event]:
        """Has what libraries' spans tell of a session end before it does: what comes after an end begins it anew."""
        if not found or found[-1]["type"] != END_SESSION:
            return found
        *before, end = found
        return [*before, *self.foreign.end_conversations(str(end["session_id"]), now), end]

    def end_conversations(self, session_id: str, now: float) -> list[Event]:
        """What libraries' spans tell of a session that somebody else is about to end."""
        return self.foreign.end_conversations(session_id, now)

    def _has_ended(self, session_id: str, view: SpanView) -> bool:
        """Whether a span comes after the end of its session; one that begins it anew in another trace does not."""
        trace_id = self._ended.get(session_id)
        if trace_id is None:
            return False
        if native.begins_session(view) and view.trace_id not in (0, trace_id):
            del self._ended[session_id]
            return False
        return True

    def _state(self, session_id: str, view: SpanView) -> tuple[list[Event], SessionState]:
        """The session, and what is to be sent of it first when a span begins it anew that has only its end to say."""
        found: list[Event] = []
        state = self._sessions.get(session_id)
        begins = native.begins_session(view)
        if state is not None and state.waits_to_end and begins and view.trace_id not in (0, state.trace_id):
            found += state.expire()
            self._waiting.pop(session_id, None)
            state = None
        if state is None:
            state = self._sessions[session_id] = SessionState()
        if begins and not state.trace_id:
            state.trace_id = view.trace_id
        self._sessions.move_to_end(session_id)
        return found, state

    def _settle(self, session_id: str) -> None:
        state = self._sessions[session_id]
        if not state.waits:
            self._waiting.pop(session_id, None)
        if state.has_ended:
            del self._sessions[session_id]
            remember(self._ended, session_id, state.trace_id, self._max)

    # -- bounds -------------------------------------------------------------------------------------------------------

    def _keep_bounds(self, now: float) -> list[Event]:
        """Lets go of what has been there longest when there is too much; what it had to say is said."""
        found: list[Event] = []
        while len(self._orphans) > self._max:
            alone: dict[str, None] = {}
            found += self._give_up(alone, now)
            for session_id in alone:
                found += self._begin_anyhow(session_id)
        while len(self._sessions) > self._max:
            session_id, state = self._sessions.popitem(last=False)
            self._waiting.pop(session_id, None)
            found += state.expire()
            if state.has_ended:
                remember(self._ended, session_id, state.trace_id, self._max)
        return found


def _link(view: SpanView) -> Link:
    return Link(
        view.trace_id,
        view.span_id,
        view.parent_id,
        view.parent_id is None or view.has_remote_parent,
        None if identity.MARKERS.isdisjoint(view.attributes) else view.attributes,
        is_native=native.is_of_a_session(view),
    )


def _needs_its_session(view: SpanView) -> bool:
    """Whether a span says too little without its session's, which this process should bring."""
    return (
        view.name == names.CONVERSATION_SPAN
        and view.parent_id is not None
        and not view.has_remote_parent
        and names.SESSION_START not in view.attributes
    )


def _inherited(view: SpanView, above: _SessionSpan | None) -> Attributes:
    # The instrumentor's spans say everything themselves; what they do not say is not so.
    return {} if above is None or names.SESSION_START in view.attributes else above.inherited


def _at_once(part: SessionPart) -> list[Event]:
    """All events of a part for which nothing waits any more; a session that has ended does not end twice."""
    events = [*part.inner]
    if part.opening is not None:
        events.insert(0, part.opening)
    if part.closing is not None and part.role is Role.CONVERSATION:
        events.append(part.closing)
    return events
