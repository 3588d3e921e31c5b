"""One session whose spans have been seen: what was sent of it, what waits, what is still to come.

Spans end children first and may arrive in any order. A session's parts are sent in the order of their numbers, a
conversation's likewise, and nothing before the session's start; the session's end waits for as many conversations as
its own span names. Pure: who calls `expire` decides how long anything waits.
"""

from __future__ import annotations

from mlsdk.events import Event
from mlsdk_otel.translation.facts import Role, SessionPart


class SessionState:
    """A session from the first sight of it to its end."""

    __slots__ = ("_end", "_ended", "_expected", "_has_started", "_next", "_opened", "_waiting", "has_ended")

    def __init__(self) -> None:
        self._has_started = False
        self._opened: set[str] = set()
        self._ended: set[str] = set()
        # By thread: a conversation, or None for the session's own spans.
        self._next: dict[str | None, int] = {}
        self._waiting: dict[tuple[str | None, int], SessionPart] = {}
        self._end: Event | None = None
        self._expected = 0
        self.has_ended = False

    def start(self, part: SessionPart) -> list[Event]:
        """What can be sent when a span has only started."""
        return self._begin(part.session_start) + self._open(part)

    @property
    def waits(self) -> bool:
        """Whether a part or the end waits for something that should come."""
        return bool(self._waiting) or self._end is not None

    def take(self, part: SessionPart) -> list[Event]:
        """What can be sent when a span has ended."""
        if part.number < self._next.get(part.conversation_id, 0):
            # Its number was used before: a span written by hand, or one that comes after its successor had waited
            # long enough. Nobody waits for it, and it waits for nobody.
            return self._send(part) + self._finish()
        self._waiting[part.conversation_id, part.number] = part
        return self._send_what_is_due()

    def expire(self) -> list[Event]:
        """Everything that waits, in the best order there is."""
        found: list[Event] = []
        while self._waiting:
            thread, number = min(self._waiting, key=lambda place: (place[0] is None, place[0] or "", place[1]))
            if not self._has_started:
                found += self._begin(self._earliest_start())
                self._has_started = True
            self._next[thread] = number
            found += self._send_what_is_due()
        self._expected = 0
        return found + self._finish()

    def _send_what_is_due(self) -> list[Event]:
        found: list[Event] = []
        while (due := self._due()) is not None:
            found += self._send(self._waiting.pop((due.conversation_id, due.number)))
        return found + self._finish()

    def _due(self) -> SessionPart | None:
        for (thread, number), part in self._waiting.items():
            is_next = number == self._next.get(thread, 0)
            if is_next and (self._has_started or part.session_start is not None):
                return part
        return None

    def _send(self, part: SessionPart) -> list[Event]:
        self._next[part.conversation_id] = max(part.number + 1, self._next.get(part.conversation_id, 0))
        found = [*self._begin(part.session_start), *self._open(part), *part.inner]
        if part.role is Role.SESSION:
            if part.closing is not None:
                self._end = part.closing
                self._expected = part.conversations or 0
        elif part.closing is not None:
            self._ended.add(str(part.conversation_id))
            found.append(part.closing)
        return found

    def _begin(self, start: Event | None) -> list[Event]:
        if self._has_started or start is None:
            return []
        self._has_started = True
        return [start]

    def _earliest_start(self) -> Event | None:
        starts = [start for part in self._waiting.values() if (start := part.session_start or part.likely_start)]
        return min(starts, key=lambda start: str(start["timestamp"]), default=None)

    def _open(self, part: SessionPart) -> list[Event]:
        if part.opening is None or part.conversation_id is None or part.conversation_id in self._opened:
            return []
        self._opened.add(part.conversation_id)
        return [part.opening]

    def _finish(self) -> list[Event]:
        if self._end is None or self._waiting or len(self._ended) < self._expected:
            return []
        end, self._end = self._end, None
        self.has_ended = True
        return [end]
