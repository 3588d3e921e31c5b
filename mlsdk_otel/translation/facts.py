"""What a span says, free of the convention in which it says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mlsdk.events import Event


class Role(Enum):
    """What a span is to its session."""

    SESSION = "session"
    CONVERSATION = "conversation"


@dataclass(slots=True)
class Loss:
    """What could not be translated, in pieces."""

    events: int = 0
    """Events that make no sense: a turn without texts, say."""
    values: int = 0
    """Values that the wire cannot hold."""
    dropped_events: int = 0
    """Events that the span's own limits dropped before they could be read."""
    dropped_attributes: int = 0

    def add(self, other: Loss) -> None:
        """Adds another's pieces to these."""
        self.events += other.events
        self.values += other.values
        self.dropped_events += other.dropped_events
        self.dropped_attributes += other.dropped_attributes


@dataclass(frozen=True, slots=True)
class SessionPart:
    """One finished span of a session, as the events that it stands for.

    Attributes:
        role: Whether it is the session's own span or a conversation's.
        session_id: The session.
        conversation_id: The conversation, for a conversation's span.
        number: Which part of its session or conversation it is, from 0.
        is_continued: Another part follows.
        is_joined: The session is not this process's to start or end.
        session_start: The session's start, where the span tells it.
        likely_start: The start to send when no span of the session has told one in time.
        opening: The start of the conversation; None for the session's own span.
        inner: What happened in between, in order.
        closing: The end of the conversation or session; None for a part that is continued.
        conversations: How many conversations the session had, where the span tells it.
    """

    role: Role
    session_id: str
    conversation_id: str | None
    number: int
    is_continued: bool
    is_joined: bool
    session_start: Event | None
    likely_start: Event | None
    opening: Event | None
    inner: tuple[Event, ...]
    closing: Event | None
    conversations: int | None = None
    loss: Loss = field(default_factory=Loss)
