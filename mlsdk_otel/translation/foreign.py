"""Spans of other libraries in, wire events out: they wait for one another here until a turn is known to be complete.

When things are sent, with a processor as with an exporter:

- what ran below a local root (a span without a parent in this process, or below a session of `mlsdk`): when that has
  ended;
- a span that ends after its root, of a stream say: after `LATE` seconds, with others of the kind;
- calls without texts, which another instrumentation may tell in another trace: after `LATE` seconds too;
- what waits for a root that does not come, or for a log record with its texts: after `hold` seconds;
- a call that goes on from something that was not seen (the result of a function that nobody has asked for, a history or
  an answer that nobody knows): when that has come, after `hold` seconds at most;
- a turn whose functions have not answered, or that has failed and may be tried again: with its answer, or, without one,
  what is known of it when its session is idle;
- everything at a flush; at the end of the process the ends of conversations too.

Pure: times are passed in, in seconds of a clock that never goes backwards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mlsdk.errors import InvalidEventError
from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.translation import conventions, history
from mlsdk_otel.translation.conventions import identity, reading
from mlsdk_otel.translation.conventions.native import session_of_trace
from mlsdk_otel.translation.duplicates import Fact, without_duplicates
from mlsdk_otel.translation.facts import Enclosure, Identity, Loss, Message, ModelCall, Reading, ToolRun
from mlsdk_otel.translation.history import History
from mlsdk_otel.translation.lifetime import Lifetimes
from mlsdk_otel.translation.lineage import Lineage, Link, filled
from mlsdk_otel.translation.spanview import EventView, SpanView
from mlsdk_otel.translation.telling import telling
from mlsdk_otel.translation.turn import Call, Owner, Run, Turn
from mlsdk_otel.translation.turns import MAX_REMEMBERED, Turns

HOLD: Final = 30.0
"""Seconds that anything waits for a span or log record that should come."""
LATE: Final = 1.0
"""Seconds that a span which ended after its root waits for others that did."""
MAX_BYTES: Final = 32 * 1024 * 1024
"""Text in the spans that wait, at most."""

Decided = Callable[[int, int, str], None]
"""Told what became of a span: its trace, its id, and a word or two."""


@dataclass(slots=True)
class Held:
    """A span that waits.

    Attributes:
        size: Characters of text in it.
        lacks: It has no texts, and a log record may bring them.
        past: The input of a call, in short.
    """

    view: SpanView
    reading: Reading
    size: int
    lacks: bool = False
    past: History | None = None

    def history_of(self, fact: ModelCall) -> History:
        """The input in short, read once; `fact` may be what several spans tell together."""
        if fact is not self.reading.fact:
            return history.read(fact.input)
        if self.past is None:
            self.past = history.read(fact.input)
        return self.past


@dataclass(slots=True)
class _Trace:
    deadline: float
    spans: list[Held] = field(default_factory=list)
    wants: str | int | None = None
    is_due: bool = False

    @property
    def start(self) -> int:
        """When the first of them began."""
        return min(held.view.start for held in self.spans)


class Foreign:
    """See the module."""

    def __init__(
        self,
        *,
        lifetimes: Lifetimes | None = None,
        hold: float = HOLD,
        ends_on_shutdown: bool = True,
        max_remembered: int = MAX_REMEMBERED,
        max_bytes: int = MAX_BYTES,
        decided: Decided | None = None,
    ) -> None:
        """Knows nothing yet.

        Args:
            lifetimes: The sessions.
            hold: Seconds that anything waits.
            ends_on_shutdown: False leaves conversations of joined sessions to another process.
            max_remembered: The bound of each kind of thing that is remembered.
            max_bytes: The bound of the text in spans that wait.
            decided: Told what becomes of each span.
        """
        self.lifetimes = lifetimes or Lifetimes(max_sessions=max_remembered)
        self.lineage = Lineage(max_remembered)
        self.turns = Turns(max_remembered)
        self.expects_logs = False
        """Somebody brings log records: a call without texts waits for them."""
        self.hints: dict[str, None] = {}
        """What to set so that texts are captured, for the libraries whose calls had none."""
        self.loss = Loss()
        self._hold = hold
        self._ends_on_shutdown = ends_on_shutdown
        self._max = max_remembered
        self._max_bytes = max_bytes
        self._decided = decided
        # In the order in which they began to wait.
        self.waiting: OrderedDict[int, _Trace] = OrderedDict()
        """Traces of which something waits."""
        self._held = 0
        self._bytes = 0
        self._due: OrderedDict[tuple[int, int], Link] = OrderedDict()
        self._late: OrderedDict[int, float] = OrderedDict()
        self._wanted: dict[str | int, dict[int, None]] = {}
        self._logs: OrderedDict[tuple[int, int], list[EventView]] = OrderedDict()
        self._covered: OrderedDict[int, None] = OrderedDict()
        self._owners: OrderedDict[int, Owner] = OrderedDict()
        self._numbers: dict[int, int] = {}

    # -- what comes in ------------------------------------------------------------------------------------------------

    def feed(self, view: SpanView, told: Reading | None, now: float, *, is_last: bool = True) -> list[Event]:
        """A span that a convention claims has ended.

        Args:
            view: The span.
            told: What it says; None where it is no part of a conversation.
            now: The time.
            is_last: False if others follow at once that came with it; nothing is sent before the last.
        """
        fact = None if told is None else told.fact
        link = Link(
            view.trace_id,
            view.span_id,
            view.parent_id,
            view.parent_id is None or view.has_remote_parent,
            None if identity.MARKERS.isdisjoint(view.attributes) else view.attributes,
            is_enclosure=isinstance(fact, Enclosure),
            is_call=isinstance(fact, ModelCall),
        )
        if told is None:
            self._say(view, "an AI span, but no part of a conversation")
            return self.passed([link], now, is_last=is_last)
        self.lineage.add([link])
        held = Held(view, told, _size(view))
        logs = self._logs.pop((view.trace_id, view.span_id), None)
        if logs is not None:
            held = self._with_logs(held, logs)
        held.lacks = self._lacks(held)
        trace = self.waiting.get(view.trace_id)
        if trace is None:
            trace = self.waiting[view.trace_id] = _Trace(now + self._hold)
        trace.spans.append(held)
        self._held += 1
        self._bytes += held.size
        if self._is_top(link):
            self._due[view.trace_id, view.span_id] = link
        elif not trace.is_due and self._is_below_an_ended_root(view):
            self._late.setdefault(view.trace_id, now + LATE)
        return self.settle(now) if is_last else []

    def passed(self, links: Iterable[Link], now: float, *, is_last: bool = True) -> list[Event]:
        """Spans of anybody else have ended: what waits below a local root of them is due."""
        links = list(links)
        self.lineage.add(links)
        for link in links:
            if link.trace_id in self.waiting and self._is_top(link):
                self._due[link.trace_id, link.span_id] = link
        return self.settle(now) if is_last else []

    def settle(self, now: float) -> list[Event]:
        """What can be sent of what was fed: `is_last` after the fact."""
        found: list[Event] = []
        due, self._due = self._due, OrderedDict()
        waiting = [root for root in due.values() if root.trace_id in self.waiting]
        # What began first goes first: spans that come together may come in any order.
        for root in sorted(waiting, key=lambda root: self.waiting[root.trace_id].start):
            if (trace := self.waiting.get(root.trace_id)) is not None:
                found += self._let_go(root.trace_id, trace, root, now)
        return found + self._keep_bounds(now)

    def _let_go(self, trace_id: int, trace: _Trace, root: Link, now: float) -> list[Event]:
        """What waited for a root; if that was called from this very process, what is below its caller stays."""
        below: list[Held] = []
        others: list[Held] = []
        for held in trace.spans:
            (below if root.parent_id is None or self._is_below(held.view, root) else others).append(held)
        if not below:
            return []
        if _may_be_told_elsewhere(below):
            self._late.setdefault(trace_id, now + LATE)
            return []
        trace.spans = below
        was_due, trace.is_due = trace.is_due, True
        found = self._try(trace_id, trace, now)
        if others and trace_id in self.waiting:
            trace.spans += others
            trace.is_due = was_due
        elif others:
            self.waiting[trace_id] = _Trace(now + self._hold, others)
        return found

    def _is_below(self, view: SpanView, root: Link) -> bool:
        above = self.lineage.above(view.trace_id, view.parent_id)
        return view.span_id == root.span_id or any(link.span_id == root.span_id for link in above)

    def logged(self, trace_id: int, span_id: int, event: EventView, now: float) -> list[Event]:
        """A log record that carries a span's ids."""
        trace = self.waiting.get(trace_id)
        for place, held in enumerate(trace.spans if trace is not None else ()):
            if held.view.span_id == span_id and trace is not None:
                trace.spans[place] = self._with_logs(held, [event])
                return self._try(trace_id, trace, now)
        self._logs.setdefault((trace_id, span_id), []).append(event)
        if len(self._logs) > self._max:
            self._logs.popitem(last=False)
        return []

    # -- what goes out ------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> list[Event]:
        """What has waited long enough, and the ends of sessions that are idle."""
        found: list[Event] = []
        while self.waiting and (first := next(iter(self.waiting))) is not None:
            if self.waiting[first].deadline > now:
                break
            found += self._release(first, now)
        while self._late and next(iter(self._late.values())) <= now:
            trace_id, _ = self._late.popitem(last=False)
            if (trace := self.waiting.get(trace_id)) is not None:
                trace.is_due = True
                found += self._try(trace_id, trace, now)
        for session_id in self.lifetimes.due(now):
            found += self._end(session_id, now)
        return found

    def release(self, now: float) -> list[Event]:
        """Everything that waits for spans that may come; sessions go on."""
        found: list[Event] = []
        for trace_id in sorted(
            self.waiting, key=lambda each: min(held.view.start for held in self.waiting[each].spans)
        ):
            if trace_id in self.waiting:  # else it went with one before
                found += self._release(trace_id, now)
        return found + self._told(self.turns.finish(self.turns.all_open(), is_last=True), now)

    def close(self, now: float) -> list[Event]:
        """Everything, and the ends: the process is about to end."""
        found = self.release(now)
        for session_id in self.lifetimes.going(owned_only=not self._ends_on_shutdown):
            found += self._end(session_id, now)
        return found

    def end_session(self, session_id: str, end: Event, now: float) -> list[Event]:
        """The application says that a session has ended."""
        found: list[Event] = []
        for trace_id in list(self.waiting):
            if trace_id in self.waiting and self._is_of(trace_id, session_id):
                found += self._release(trace_id, now)
        return found + self._end(session_id, now, end)

    def end_conversations(self, session_id: str, now: float) -> list[Event]:
        """The same where the session is not others', but conversations of it are."""
        return self._end(session_id, now) if self.lifetimes.knows(session_id) else []

    def next_deadline(self) -> float | None:
        """When `expire` will have something to do."""
        first = next(iter(self.waiting.values()), None)
        late = next(iter(self._late.values()), None)
        deadlines = (None if first is None else first.deadline, late, self.lifetimes.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def sizes(self) -> list[int]:
        """How many of each kind of thing are held; the first is the text of the spans that wait."""
        return [
            self._bytes,
            self._held,
            len(self.waiting),
            len(self.lineage),
            len(self._logs),
            len(self._covered),
            len(self._owners),
            len(self._wanted),
            *self.turns.sizes(),
            *self.lifetimes.sizes(),
        ]

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _is_top(self, link: Link) -> bool:
        """Whether nothing above a span of this process is waited for: a session of ours may last for days."""
        above = next(self.lineage.above(link.trace_id, link.parent_id), None)
        return link.is_root or (above is not None and above.is_native)

    def _is_below_an_ended_root(self, view: SpanView) -> bool:
        return any(link.is_root for link in self.lineage.above(view.trace_id, view.parent_id))

    def _lacks(self, held: Held) -> bool:
        if not self.expects_logs or not isinstance(held.reading.fact, ModelCall) or held.reading.fact.has_content:
            return False
        return not any(event.name in _ANSWERS for event in held.view.logs)

    def _with_logs(self, held: Held, logs: list[EventView]) -> Held:
        view = replace(held.view, logs=(*held.view.logs, *logs))
        made = Held(view, conventions.read(view) or held.reading, held.size)
        made.lacks = self._lacks(made)
        return made

    def _try(self, trace_id: int, trace: _Trace, now: float) -> list[Event]:
        """Sends what waits of a trace if it waits for nothing."""
        if not trace.is_due or any(held.lacks for held in trace.spans):
            return []
        wants = self._missing(trace)
        if wants is None or self._knows_itself(wants, trace):
            return self._release(trace_id, now)
        trace.wants = wants
        self._wanted.setdefault(wants, {})[trace_id] = None
        return []

    def _missing(self, trace: _Trace) -> str | int | None:
        """What the first call of a trace goes on from that was not seen."""
        first = min(
            (held for held in trace.spans if isinstance(held.reading.fact, ModelCall)),
            key=lambda held: held.view.start,
            default=None,
        )
        if first is None or not isinstance(first.reading.fact, ModelCall) or not first.reading.fact.has_content:
            return None
        past = first.history_of(first.reading.fact)
        who, above = self._identity(first)
        before = _goes_on_from(trace.spans)
        fact = _going_on(first.reading.fact, [before.get(link.span_id) for link in above])
        if past.is_alone and fact.previous_response_id is None:
            return None
        return self.turns.missing(self._call(first, fact, who, above))

    @staticmethod
    def _knows_itself(wants: str | int, trace: _Trace) -> bool:
        """Whether a call asked for what another in the same trace brings, as where several began at once."""
        return any(
            request.call_id == wants
            for held in trace.spans
            if isinstance(held.reading.fact, ModelCall)
            for message in held.reading.fact.output
            for request in message.requests
        )

    def _release(self, trace_id: int, now: float) -> list[Event]:
        """Makes turns of what waits of a trace."""
        trace = self.waiting.pop(trace_id)
        self._late.pop(trace_id, None)
        self._held -= len(trace.spans)
        self._bytes -= sum(held.size for held in trace.spans)
        if trace.wants is not None and (others := self._wanted.get(trace.wants)) is not None:
            others.pop(trace_id, None)
            if not others:
                del self._wanted[trace.wants]
        found = self._told(self._assemble(trace.spans, now), now)
        fresh, self.turns.fresh = self.turns.fresh, []
        if self._wanted:
            for key in fresh:
                for other in list(self._wanted.pop(key, ())):
                    if (waiting := self.waiting.get(other)) is not None:
                        waiting.wants = None
                        found += self._try(other, waiting, now)
        return found

    def _keep_bounds(self, now: float) -> list[Event]:
        found: list[Event] = []
        while self.waiting and (self._bytes > self._max_bytes or self._held > self._max):
            found += self._release(next(iter(self.waiting)), now)
        for session_id in self.lifetimes.too_many():
            found += self._end(session_id, now)
        return found

    def _is_of(self, trace_id: int, session_id: str) -> bool:
        return any(
            session_id in (said.session_id, said.conversation_id, session_of_trace(trace_id))
            for said in (self._identity(held)[0] for held in self.waiting[trace_id].spans)
        )

    # -- turns --------------------------------------------------------------------------------------------------------

    def _assemble(self, spans: list[Held], now: float) -> Iterable[Turn]:
        spans.sort(key=lambda held: (held.view.start, -held.view.end, held.view.span_id))
        placed = [(held, *self._identity(held)) for held in spans]
        said = {each.session_id or each.conversation_id for _, each, _ in placed} - {None}
        if len(said) == 1:  # some libraries name it on some spans only
            known = next(each for _, each, _ in placed if (each.session_id or each.conversation_id) in said)
            placed = [
                (held, each if each.session_id or each.conversation_id else filled(each, [known]), units)
                for held, each, units in placed
            ]
        kept = without_duplicates(
            [(held.view.span_id, held.reading.fact) for held, _, _ in placed],
            {held.view.span_id: [link.span_id for link in units] for held, _, units in placed},
        )
        kept.update(self._agents_alone(placed, kept))
        before = _goes_on_from(held for held, _, _ in placed)
        touched: dict[int, None] = {}
        around: list[tuple[int, tuple[int, int], tuple[int, int], Enclosure]] = []
        for held, who, units in placed:
            view, fact = held.view, kept.get(held.view.span_id)
            if any(link.is_native for link in units) and not self._is_passed(view, units):
                self._say(view, "inside a session of mlsdk, which tells its turns itself")
                continue
            if fact is None:
                self._say(view, "the same call as another span tells")
                continue
            place = (view.trace_id, view.span_id)
            if isinstance(fact, Enclosure):
                around.append((len(units), place, self._unit(view, units) or place, fact))
                self._say(view, "around model calls")
                continue
            if isinstance(fact, ModelCall):
                if view.span_id in self._covered:
                    self._say(view, "the same call as another span has told")
                    continue
                fact = _going_on(fact, [before.get(link.span_id) for link in units])
                turn = self.turns.add(self._call(held, fact, who, units))
                self._cover(view, units)
                if turn is None:
                    self._say(view, "the same call as another span has told")
                    continue
                if not fact.has_content and not fact.has_failed:
                    self._hint(view)
            else:
                turn = self.turns.run(self._run(view, fact, who, units))
            if turn is None:
                self._say(view, "a function that was told already")
                continue
            touched[turn.number] = None
            self.lifetimes.touch(turn.owner, now, _attributes_of(view))
            self._note(view, fact, turn)
        self._surround(around)
        yield from self.turns.overflow()
        yield from self.turns.finish(touched)

    def _surround(self, around: Sequence[tuple[int, tuple[int, int], tuple[int, int], Enclosure]]) -> None:
        """Agents and chains tell what was said and answered: each by how deep it is, its span, and its unit."""
        # What the outermost tells counts; of several beside one another, what the last does.
        for _, place, unit, fact in sorted(around, key=lambda each: -each[0]):
            if not fact.has_failed:
                self.turns.tell(unit, _answer_of(fact.output))
                if place == unit:
                    self.turns.frame(unit, fact.given, fact.made)

    def _agents_alone(
        self, placed: Iterable[tuple[Held, Identity, list[Link]]], kept: Mapping[int, Fact]
    ) -> dict[int, ModelCall]:
        """Agents that tell what was said to them and what they answered, and whose calls of models nobody tells: as
        the calls that they stand for."""
        busy: set[int] = set()
        agents: list[tuple[int, Enclosure, list[Link]]] = []
        for held, _, units in placed:
            fact = kept.get(held.view.span_id)
            if isinstance(fact, ModelCall) or held.view.span_id in self._covered:
                busy.update(link.span_id for link in units)
            elif isinstance(fact, Enclosure) and fact.input and fact.output and not fact.has_failed:
                agents.append((held.view.span_id, fact, units))
        found: dict[int, ModelCall] = {}
        for span_id, fact, units in agents:
            outer = [kept.get(link.span_id) for link in units]
            if span_id in busy or any(isinstance(each, Enclosure) and each.output for each in outer):
                continue
            if _answer_of(fact.output) is not None and history.read(fact.input).said:
                found[span_id] = ModelCall(
                    fact.input,
                    fact.output,
                    response_model=fact.model,
                    usage=fact.usage,
                    previous_response_id=fact.previous_response_id,
                )
        return found

    def _identity(self, held: Held) -> tuple[Identity, list[Link]]:
        """Whose a span is, and what stands above it."""
        view = held.view
        above = list(self.lineage.above(view.trace_id, view.parent_id))
        native = any(link.is_native for link in above)
        said = filled(
            held.reading.identity,
            (identity.of(link.attributes) for link in above if link.attributes is not None and not link.is_native),
        )
        if view.surroundings:
            said = filled(said, [identity.of(view.surroundings)])
        if native and said.user_id is None:
            said = filled(said, (identity.of(link.attributes) for link in above if link.attributes is not None))
        return said, above

    @staticmethod
    def _is_passed(view: SpanView, above: list[Link]) -> bool:
        """Whether the application has handed the session around a span to `using_session`."""
        given = identity.of(view.surroundings).session_id
        return given is not None and any(
            link.is_native and link.attributes is not None and identity.of(link.attributes).session_id == given
            for link in above
        )

    def _call(self, held: Held, fact: ModelCall, who: Identity, above: list[Link]) -> Call:
        view = held.view
        owner, alone = self._owners_of(view, who)
        place = (view.trace_id, view.span_id)
        return Call(
            span=place,
            unit=self._unit(view, above) or (place if isinstance(held.reading.fact, Enclosure) else None),
            owner=owner,
            alone=alone,
            start=view.start,
            end=view.end,
            history=held.history_of(fact),
            answer=history.answer(fact.output),
            request_model=fact.request_model,
            response_model=fact.response_model,
            usage=fact.usage,
            response_id=fact.response_id,
            previous_response_id=fact.previous_response_id,
            has_failed=fact.has_failed,
            is_partial=fact.is_partial,
            has_content=fact.has_content,
        )

    def _run(self, view: SpanView, fact: ToolRun, who: Identity, above: list[Link]) -> Run:
        owner, alone = self._owners_of(view, who)
        place = (view.trace_id, view.span_id)
        return Run(place, self._unit(view, above), owner, alone, view.start, view.end, fact)

    def _owners_of(self, view: SpanView, who: Identity) -> tuple[Owner | None, Owner]:
        """Whose a span is by ids, if they tell; and whose if nothing tells."""
        session_id = who.session_id or who.conversation_id
        if session_id is not None:
            owner = Owner(session_id, who.conversation_id or session_id, who.user_id, who.device_id, is_joined=True)
            return owner, owner
        trace = session_of_trace(view.trace_id)
        alone = self._owners.get(view.trace_id) or Owner(trace, trace)
        return None, replace(alone, user_id=who.user_id or alone.user_id, device_id=who.device_id or alone.device_id)

    @staticmethod
    def _unit(view: SpanView, above: list[Link]) -> tuple[int, int] | None:
        """The outermost agent or chain around a span."""
        outermost = next((link for link in reversed(above) if link.is_enclosure), None)
        return None if outermost is None else (view.trace_id, outermost.span_id)

    def _cover(self, view: SpanView, above: list[Link]) -> None:
        for span_id in (view.parent_id, *(link.span_id for link in above)):
            if span_id is not None:
                self._covered[span_id] = None
        while len(self._covered) > self._max:
            self._covered.popitem(last=False)

    # -- events -------------------------------------------------------------------------------------------------------

    def _end(self, session_id: str, now: float, end: Event | None = None) -> list[Event]:
        left = self.turns.finish(self.turns.of_session(session_id), is_last=True)
        return self._told(left, now, with_all=True) + self.lifetimes.end(session_id, end)

    def _told(self, turns: Iterable[Turn], now: float, *, with_all: bool = False) -> list[Event]:
        found: list[Event] = []
        for turn in turns:
            self._remember_owner(turn)
            try:
                found += self._events(turn, now, with_all=with_all)
            except InvalidEventError:
                self.loss.events += 1
        return found

    def _remember_owner(self, turn: Turn) -> None:
        """The other calls of a trace without ids belong to the session of the first."""
        for call in turn.calls:
            self._owners[call.span[0]] = turn.owner
            self._owners.move_to_end(call.span[0])
        while len(self._owners) > self._max:
            self._owners.popitem(last=False)

    def _events(self, turn: Turn, now: float, *, with_all: bool) -> list[Event]:
        told = telling(turn, with_all=with_all)
        if told.is_empty:
            return []
        who, found = self.lifetimes.begin(turn.owner, turn.start, turn.end, now)
        return found + told.events(who)

    # -- for whoever asks why -----------------------------------------------------------------------------------------

    def _say(self, view: SpanView, what: str) -> None:
        if self._decided is not None:
            self._decided(view.trace_id, view.span_id, what)

    def _hint(self, view: SpanView) -> None:
        if len(self.hints) < _MAX_HINTS and (hint := conventions.content_hint(view)):
            self.hints[hint] = None

    def _note(self, view: SpanView, fact: ModelCall | ToolRun, turn: Turn) -> None:
        if self._decided is None:
            return
        if isinstance(fact, ModelCall) and not fact.has_content:
            self._say(view, "no content: usage only")
            return
        number = self._numbers.setdefault(turn.number, len(self._numbers) + 1)
        kind = "function of" if isinstance(fact, ToolRun) else "failed call of" if fact.has_failed else "part of"
        self._say(view, f"{kind} turn {number} of session {turn.owner.session_id}")


_ANSWERS: Final = frozenset({"gen_ai.choice", "gen_ai.client.inference.operation.details"})
"""The log records that have a call's answer."""
_MAX_HINTS: Final = 20


def _may_be_told_elsewhere(spans: Iterable[Held]) -> bool:
    """Whether the calls have no texts, but answers with ids: an SDK that traces itself, inside another instrumentation
    whose span is in another trace and ends a moment later."""
    calls = [held.reading.fact for held in spans if isinstance(held.reading.fact, ModelCall)]
    return any(call.response_id for call in calls) and not any(call.has_content or call.has_failed for call in calls)


def _size(view: SpanView) -> int:
    return sum(len(value) for value in view.attributes.values() if isinstance(value, str | bytes)) + 100


def _goes_on_from(spans: Iterable[Held]) -> dict[int, str]:
    """The answers from which agents of a trace go on, by the span of the agent."""
    return {
        held.view.span_id: held.reading.fact.previous_response_id
        for held in spans
        if isinstance(held.reading.fact, Enclosure) and held.reading.fact.previous_response_id is not None
    }


def _going_on(call: ModelCall, before: list[str | None]) -> ModelCall:
    """The first call of an agent goes on from the answer that the agent names; the others go on from the first."""
    named = next((response_id for response_id in before if response_id is not None), None)
    if call.previous_response_id is not None or named is None or any(message.results for message in call.input):
        return call
    return replace(call, previous_response_id=named)


def _attributes_of(view: SpanView) -> dict[str, object] | None:
    """What `using_session` says of the session."""
    return reading.under(view.surroundings, names.SESSION_ATTRIBUTE, names.ALL) if view.surroundings else None


def _answer_of(output: tuple[Message, ...]) -> str | None:
    """The last thing that an agent said; None where it asks for functions instead."""
    for message in reversed(output):
        if message.role == "user" or message.requests:
            return None
        if message.role == "assistant" and message.text:
            return message.text
    return None
