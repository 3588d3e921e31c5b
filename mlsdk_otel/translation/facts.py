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
    why: str = field(default="", compare=False)
    """What is wrong with the first of them; no text of it."""
    values: int = 0
    """Values that the wire cannot hold."""
    dropped_events: int = 0
    """Events that the span's own limits dropped before they could be read."""
    dropped_attributes: int = 0

    def add(self, other: Loss) -> None:
        """Adds another's pieces to these."""
        self.events += other.events
        self.why = self.why or other.why
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


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a span is, as far as it says so itself."""

    session_id: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A model asks for a function to be called.

    Attributes:
        call_id: Names the call; its result carries the same one.
        arguments: JSON text.
    """

    name: str | None
    call_id: str | None = None
    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a function gave back, as it is told to the model."""

    call_id: str | None = None
    name: str | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a model call's history or answer.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`; a message that holds only results of functions is `tool`,
            whatever role the library gave it.
        text: What it says; parts that are no text are named in brackets. None where content was not captured.
    """

    role: str
    text: str | None = None
    requests: tuple[ToolRequest, ...] = ()
    results: tuple[ToolResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What one model call cost; None is unknown."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A span of one call of a model.

    Attributes:
        input: The history that was sent, oldest first; the system prompt among it.
        output: The answer.
        request_model: What was asked for.
        response_model: What answered.
        previous_response_id: The answer that this call goes on from, where the service keeps the history.
        has_failed: The call raised; it has no answer.
        is_partial: The stream was left before its end.
        has_content: Texts were captured.
    """

    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()
    request_model: str | None = None
    response_model: str | None = None
    usage: Usage = Usage()
    response_id: str | None = None
    previous_response_id: str | None = None
    has_failed: bool = False
    is_partial: bool = False
    has_content: bool = True


@dataclass(frozen=True, slots=True)
class ToolRun:
    """A span of one function that ran."""

    name: str | None
    call_id: str | None = None
    arguments: str | None = None
    result: str | None = None
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A span around model calls: an agent, a chain, a workflow.

    Attributes:
        agent: The agent's name, for an agent.
        input: The utterance or history that it was given, where it tells it.
        output: What came out, likewise.
        previous_response_id: The answer that its first call goes on from, where the service keeps the history.
        model: What it asks, if it says so.
        usage: What it cost. It repeats what the calls inside cost, and counts only where nobody tells these.
        given: What it was given, as the library wrote it: text, a structure, or the JSON text of one.
        made: What came out of it, likewise.
    """

    agent: str | None = None
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()
    has_failed: bool = False
    previous_response_id: str | None = None
    model: str | None = None
    usage: Usage = Usage()
    given: object = field(default=None, compare=False)
    made: object = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one span of somebody else's says."""

    fact: ModelCall | ToolRun | Enclosure
    identity: Identity = Identity()
