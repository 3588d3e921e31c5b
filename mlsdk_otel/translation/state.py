"""One session whose spans have been seen: what was sent of it, what waits, what is still to come.

Spans end children first and may arrive in any order. A session's parts are sent in the order of their numbers, a
conversation's likewise, and nothing before the session's start; the session's end waits for as many conversations as
its own span names. Pure: who calls `expire` decides how long anything waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from mlsdk.events import Event
from mlsdk_otel.translation.facts import Role, SessionPart
from mlsdk_otel.translation.memory import remember

MAX_CONVERSATIONS: Final = 1_000
"""Conversations of a session of which is remembered what was sent; the oldest are forgotten first."""

Thread: TypeAlias = str | None
"""What is kept in order: the spans of a conversation, or those of the session itself, for which it is None."""


class SessionState:
    """A session from the first sight of it to its end.

    Attributes:
        trace_id: The trace of the session's own spans, or 0.
        held: How many parts wait.
        has_ended: The end was sent.
    """

    __slots__ = (
        "_closed",
        "_end",
        "_expected",
        "_has_started",
        "_next",
        "_open",
        "_start",
        "_waiting",
        "has_ended",
        "held",
        "trace_id",
    )

    def __init__(self, trace_id: int = 0) -> None:
        self.trace_id = trace_id
        self.held = 0
        self.has_ended = False
        self._has_started = False
        self._start: Event | None = None
        # The conversations that are open, by the event that said so.
        self._open: OrderedDict[str, Event] = OrderedDict()
        self._closed = 0
        # By thread: the number of the part to come, and by their numbers those that came too early.
        self._next: OrderedDict[Thread, int] = OrderedDict()
        self._waiting: dict[Thread, dict[int, list[SessionPart]]] = {}
        self._end: Event | None = None
        self._expected = 0

    @property
    def waits(self) -> bool:
        """Whether a part or the end waits for something that should come."""
        return bool(self._waiting) or self._end is not None

    @property
    def waits_to_end(self) -> bool:
        """Whether the session's own span has said the end, and conversations are missing."""
        return self._end is not None

    def start(self, part: SessionPart) -> list[Event]:
        """What can be sent when a span has only started, or of one before the others that wait for it."""
        found = self._begin(part.session_start)
        if self._has_started and part.number == self._next.get(part.conversation_id, 0):
            found += self._open_with(part)
        return found

    def take(self, part: SessionPart, *, expected: int = 0) -> list[Event]:
        """What can be sent when a span has ended.

        Args:
            part: What the span stands for.
            expected: Conversations that are known to be coming, for a session's own span.
        """
        thread = part.conversation_id
        if part.number < self._next.get(thread, 0):
            # Its number was used before: a span written by hand, or one that comes after its successor had waited
            # long enough. Nobody waits for it, and it waits for nobody.
            return self._send(part, expected) + self._finish()
        self._waiting.setdefault(thread, {}).setdefault(part.number, []).append(part)
        self.held += 1
        had_started = self._has_started
        found = self._advance(thread, expected)
        if self._has_started and not had_started:
            found += self._advance_all()
        return found + self._finish()

    def begin_anyhow(self) -> list[Event]:
        """Stops waiting for a span that tells the session's start: the best that is known has to do."""
        if self._has_started or not self._waiting:
            return []
        found = self._begin(self._earliest_start())
        self._has_started = True
        return found + self._advance_all() + self._finish()

    def expire(self) -> list[Event]:
        """Everything that waits, in the best order there is."""
        found = self.begin_anyhow()
        for thread in sorted(self._waiting, key=lambda thread: (thread is None, thread or "")):
            parts = self._waiting.pop(thread)
            for number in sorted(parts):
                for part in parts[number]:
                    found += self._send(part)
        self.held = 0
        self._expected = 0
        return found + self._finish()

    # -- parts in their order -----------------------------------------------------------------------------------------

    def _advance_all(self) -> list[Event]:
        found: list[Event] = []
        for thread in list(self._waiting):
            found += self._advance(thread)
        return found

    def _advance(self, thread: Thread, expected: int = 0) -> list[Event]:
        """The parts of a thread that have waited only for what is there now."""
        found: list[Event] = []
        waiting = self._waiting.get(thread, {})
        while (due := waiting.get(number := self._next.get(thread, 0))) is not None:
            starts = [part.session_start for part in due if part.session_start is not None]
            if not self._has_started and not starts and any(part.likely_start is not None for part in due):
                break  # another span will tell it
            found += self._begin(next(iter(starts), None))
            for part in waiting.pop(number):
                self.held -= 1
                found += self._send(part, expected)
        if not waiting:
            self._waiting.pop(thread, None)
        return found

    def _send(self, part: SessionPart, expected: int = 0) -> list[Event]:
        self._remember_next(part)
        found = [*self._begin(part.session_start), *self._open_with(part), *part.inner]
        if part.closing is None:
            return found
        if part.role is Role.SESSION:
            end = _completed(part.closing, "attributes", said=part.session_start, sent=self._start)
            self._end = end if self._end is None else _later(self._end, end)
            if expected:
                expected += self._closed + self._closings()
            self._expected = max(part.conversations or 0, expected)
        else:
            opening = self._open.pop(str(part.conversation_id), None)
            found.append(_completed(part.closing, "properties", said=part.opening, sent=opening))
            self._closed += 1
        return found

    def _closings(self) -> int:
        """How many ends of conversations wait here."""
        threads = (parts for thread, parts in self._waiting.items() if thread is not None)
        return sum(part.closing is not None for parts in threads for part in _all(parts))

    def _remember_next(self, part: SessionPart) -> None:
        thread = part.conversation_id
        remember(self._next, thread, max(part.number + 1, self._next.get(thread, 0)), MAX_CONVERSATIONS)

    # -- starts and ends ----------------------------------------------------------------------------------------------

    def _begin(self, start: Event | None) -> list[Event]:
        if self._has_started or start is None:
            return []
        self._has_started = True
        self._start = start
        return [start]

    def _earliest_start(self) -> Event | None:
        starts = [
            start
            for parts in self._waiting.values()
            for part in _all(parts)
            if (start := part.session_start or part.likely_start) is not None
        ]
        return min(starts, key=lambda start: str(start["timestamp"]), default=None)

    def _open_with(self, part: SessionPart) -> list[Event]:
        if part.opening is None or part.conversation_id is None or part.conversation_id in self._open:
            return []
        self._open[part.conversation_id] = part.opening
        if len(self._open) > MAX_CONVERSATIONS:
            self._open.popitem(last=False)
        return [part.opening]

    def _finish(self) -> list[Event]:
        if self._end is None or self._waiting or self._closed < self._expected:
            return []
        end, self._end = self._end, None
        self.has_ended = True
        return [end]


def _all(parts: Mapping[int, list[SessionPart]]) -> Iterable[SessionPart]:
    return (part for number in parts for part in parts[number])


def _completed(closing: Event, field: str, *, said: Event | None, sent: Event | None) -> Event:
    """An end with what its span says of the start, but the start that was sent did not: the service merges the two.

    A start is sent before its span has ended where a processor sees it, and from another span where its own is missing.
    """
    if said is None or sent is None or said is sent:
        return closing
    before, after = _values(sent, field), _values(said, field)
    missing = {name: value for name, value in after.items() if name not in before or before[name] != value}
    return {**closing, field: {**missing, **_values(closing, field)}} if missing else closing


def _later(one: Event, other: Event) -> Event:
    """One end for two spans that both say to be the session's."""
    first, last = sorted((one, other), key=lambda end: str(end["timestamp"]))
    attributes = {**_values(first, "attributes"), **_values(last, "attributes")}
    return {**last, "attributes": attributes} if attributes else last


def _values(event: Event, field: str) -> Mapping[str, str | int | float | bool]:
    values = event.get(field)
    return values if isinstance(values, Mapping) else {}
