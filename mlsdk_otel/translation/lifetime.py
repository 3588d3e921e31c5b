"""When sessions that spans of others belong to begin and end.

A session whose id came from outside is joined: neither started nor ended here, but its conversations are, when it has
been idle for long, or at the end of the process. One that has only its trace's id is this process's own: it starts with
its first event and always ends. What comes after an end has the same ids, and ends again.

Pure: moments of events are nanoseconds since 1970; `now` and deadlines are seconds of a clock that never goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mlsdk import events
from mlsdk.events import Common, Event, Value
from mlsdk_otel.translation.conventions.native import anonymous_device
from mlsdk_otel.translation.conventions.reading import values
from mlsdk_otel.translation.memory import remember
from mlsdk_otel.translation.turn import Owner

JOINED_IDLE: Final = 1800.0
"""Seconds after which the conversations of a joined session end."""
OWN_IDLE: Final = 300.0
"""Seconds after which a session ends that is its trace."""
_MAX_CONVERSATIONS: Final = 1_000
"""Conversations of one session that are open, or known to have been; the oldest are ended first."""
MAX_SESSIONS: Final = 10_000
"""Sessions that are open, and that have ended and may go on; the oldest are ended, and forgotten, first."""


@dataclass(slots=True)
class _Life:
    """A session.

    Attributes:
        last: The moment of its last event, nanoseconds since 1970.
        open: Its conversations that have begun and not ended.
        has_news: Something was sent of it since its conversations ended.
        has_ended: Its own end was sent.
        known: Conversations that have been started once.
        attributes: What the application says of it; of a joined session, which is not started here, its conversations
            have them.
    """

    is_joined: bool
    deadline: float
    user_id: str | None = None
    device_id: str | None = None
    attributes: dict[str, Value] = field(default_factory=dict)
    has_started: bool = False
    has_news: bool = False
    has_ended: bool = False
    last: int = 0
    open: dict[str, None] = field(default_factory=dict)
    known: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Lifetimes:
    """The sessions that are going on."""

    def __init__(
        self,
        *,
        joined_idle: float = JOINED_IDLE,
        own_idle: float = OWN_IDLE,
        device_id: str | None = None,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        """Knows none.

        Args:
            joined_idle: Seconds after which conversations of joined sessions end.
            own_idle: Seconds after which sessions of this process's own end.
            device_id: The device of all sessions that name none, for programs with a single user.
            max_sessions: The bound of those that go on, and of those that have ended.
        """
        self._idle = {True: joined_idle, False: own_idle}
        self._device_id = device_id
        self._max = max_sessions
        # By kind, in the order of their deadlines.
        self._going: dict[bool, OrderedDict[str, _Life]] = {True: OrderedDict(), False: OrderedDict()}
        self._ended: OrderedDict[str, _Life] = OrderedDict()

    def knows(self, session_id: str) -> bool:
        """Whether a session goes on, or has and is remembered."""
        return any(session_id in lives for lives in (*self._going.values(), self._ended))

    def touch(self, owner: Owner, now: float, attributes: Mapping[str, object] | None = None) -> None:
        """Something happens in a session, which may become events only later.

        Args:
            owner: Whose it is.
            now: The time.
            attributes: What the application says of the session.
        """
        life = self._life(owner, now)
        if attributes:
            life.attributes = {**life.attributes, **values(attributes)[0]}

    def begin(self, owner: Owner, moment: int, last: int, now: float) -> tuple[Common, list[Event]]:
        """Who an event belongs to, and the starts to send before it."""
        life = self._life(owner, now)
        life.last = max(life.last, last)
        life.has_news = True
        who = self._who(owner.session_id, life)
        found: list[Event] = []
        if not life.is_joined and not life.has_started:
            found.append(events.start_session(who, moment // 1000, attributes=life.attributes))
        life.has_started = True
        if owner.conversation_id not in life.known:
            life.known[owner.conversation_id] = None
            if len(life.known) > _MAX_CONVERSATIONS:
                life.known.popitem(last=False)
            found.append(
                events.conversation_started(
                    who,
                    moment // 1000,
                    conversation_id=owner.conversation_id,
                    properties=life.attributes if life.is_joined else None,
                )
            )
        life.open[owner.conversation_id] = None
        if len(life.open) > _MAX_CONVERSATIONS:
            oldest = next(iter(life.open))
            del life.open[oldest]
            found.append(events.conversation_ended(who, moment // 1000, conversation_id=oldest))
        return who, found

    def due(self, now: float) -> list[str]:
        """The sessions that have been idle for long enough."""
        found: list[str] = []
        for lives in self._going.values():
            for session_id, life in lives.items():
                if life.deadline > now:
                    break
                found.append(session_id)
        return found

    def too_many(self) -> list[str]:
        """The sessions to end because there are more than are kept."""
        return [next(iter(lives)) for lives in self._going.values() if len(lives) > self._max]

    def going(self, *, owned_only: bool = False) -> list[str]:
        """All that go on."""
        kinds = (False,) if owned_only else (False, True)
        return [session_id for kind in kinds for session_id in self._going[kind]]

    def next_deadline(self) -> float | None:
        """When the next one will have been idle for long enough."""
        firsts = (next(iter(lives.values()), None) for lives in self._going.values())
        return min((life.deadline for life in firsts if life is not None), default=None)

    def end(self, session_id: str, end: Event | None = None) -> list[Event]:
        """The ends of a session's conversations, and its own if it is this process's or `end` is given.

        Args:
            session_id: The session.
            end: What the application says of its end.
        """
        life = self._pop(session_id)
        if life is None:
            return [] if end is None else [end]
        remember(self._ended, session_id, life, self._max)
        if not life.has_news and (end is None or life.has_ended):
            return []
        life.has_ended = end is not None or not life.is_joined
        who = self._who(session_id, life)
        moment = life.last // 1000
        found: list[Event] = [
            events.conversation_ended(who, moment, conversation_id=conversation_id) for conversation_id in life.open
        ]
        if end is not None:
            found.append({**end, **who})
        elif not life.is_joined:
            found.append(events.end_session(who, moment))
        life.open = {}
        life.has_news = False
        return found

    def sizes(self) -> list[int]:
        """How many of each kind are held."""
        return [len(self._going[True]), len(self._going[False]), len(self._ended)]

    def _pop(self, session_id: str) -> _Life | None:
        for lives in self._going.values():
            if (life := lives.pop(session_id, None)) is not None:
                return life
        return self._ended.pop(session_id, None)

    def _life(self, owner: Owner, now: float) -> _Life:
        life = self._pop(owner.session_id)
        if life is None:
            life = _Life(owner.is_joined, 0.0)
        life.deadline = now + self._idle[life.is_joined]
        life.user_id = owner.user_id or life.user_id
        life.device_id = owner.device_id or life.device_id
        self._going[life.is_joined][owner.session_id] = life
        return life

    def _who(self, session_id: str, life: _Life) -> Common:
        device_id = life.device_id or self._device_id
        if device_id is None and life.user_id is None:
            device_id = anonymous_device(session_id)
        return events.common(session_id=session_id, user_id=life.user_id, device_id=device_id)
