"""How the store is shown: frozen snapshots, the same for tests, for the JSON pages and for whoever reads those.

Pure. A snapshot does not change when more events arrive; take another one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from mlsdk.local.records import Conversation, Received, Session, User, Values
from mlsdk.local.users import known_as

_TURN_FIELDS: Final = frozenset(
    {"user", "assistant", "assistant_id", "model", "prompt_tokens", "completion_tokens", "cost"}
)
_FUNCTION_FIELDS: Final = frozenset({"name", "args", "result", "runtime"})
CONVERSATION_EVENTS: Final = frozenset(
    {
        "Conversation Started",
        "Conversation Ended",
        "Conversation Turn",
        "Conversation Usage",
        "Conversation Function",
    }
)
"""The names of events that are the service's own; every other name is an app's."""


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn. ``properties`` are the app's own, beside the known ones; what was not sent is None."""

    conversation_id: str
    timestamp: str
    user: str
    assistant: str
    assistant_id: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    properties: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FunctionView:
    """One function call; ``runtime`` in milliseconds."""

    conversation_id: str
    timestamp: str
    name: str
    args: str | None = None
    result: str | None = None
    runtime: int | None = None
    properties: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageView:
    """One report of usage beyond the turns."""

    conversation_id: str
    timestamp: str
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class CustomEventView:
    """An event with the app's own name."""

    conversation_id: str | None
    timestamp: str
    event: str
    properties: Values


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation and what happened in it, each kind in order of arrival; the sums are over turns and usage."""

    conversation_id: str
    started_at: str
    ended_at: str | None
    properties: Values
    prompt_tokens: int
    completion_tokens: int
    cost: float
    turns: tuple[TurnView, ...]
    functions: tuple[FunctionView, ...]
    usages: tuple[UsageView, ...]
    events: tuple[CustomEventView, ...]

    @property
    def is_open(self) -> bool:
        """Whether no end has arrived."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class UserView:
    """The user of a session; ``id`` is None while only a device is known."""

    user_id: str
    id: str | None
    aliases: tuple[str, ...]
    device_ids: tuple[str, ...]
    traits: Values


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as the service sees it now. ``received`` are its wire events in order of arrival."""

    session_id: str
    app_id: str
    started_at: str
    ended_at: str | None
    user: UserView | None
    attributes: Values
    conversations: tuple[ConversationView, ...]
    events: tuple[CustomEventView, ...]
    received: tuple[Values, ...]

    @property
    def is_open(self) -> bool:
        """Whether no end has arrived (or an event arrived after it)."""
        return self.ended_at is None

    @property
    def turns(self) -> tuple[TurnView, ...]:
        """The turns of all conversations, conversation by conversation."""
        return tuple(turn for conversation in self.conversations for turn in conversation.turns)

    @property
    def functions(self) -> tuple[FunctionView, ...]:
        """The function calls of all conversations, conversation by conversation."""
        return tuple(call for conversation in self.conversations for call in conversation.functions)

    @property
    def usages(self) -> tuple[UsageView, ...]:
        """The usage reports of all conversations, conversation by conversation."""
        return tuple(usage for conversation in self.conversations for usage in conversation.usages)

    def conversation(self, conversation_id: str) -> ConversationView:
        """One conversation.

        Raises:
            LookupError: there is none with this id.
        """
        for conversation in self.conversations:
            if conversation.conversation_id == conversation_id:
                return conversation
        raise LookupError(f"no conversation {conversation_id!r} in session {self.session_id!r}")


def session_view(session: Session) -> SessionView:
    """A snapshot of the whole session."""
    return SessionView(
        session_id=session.session_id,
        app_id=session.app_id,
        started_at=session.started_at,
        ended_at=session.ended_at,
        user=user_view(session.user) if session.user is not None else None,
        attributes=dict(session.attributes),
        conversations=tuple(_conversation_view(each) for each in session.conversations.values()),
        events=tuple(_custom_events(session.received)),
        received=tuple(each.event for each in session.received),
    )


def session_summary(session: Session) -> dict[str, Any]:
    """One line of the list of sessions."""
    conversations = session.conversations.values()
    return {
        "session_id": session.session_id,
        "app_id": session.app_id,
        "user": known_as(session.user) if session.user is not None else None,
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "conversations": len(conversations),
        "turns": sum(each.turns for each in conversations),
        "functions": sum(each.functions for each in conversations),
        "events": len(session.received),
    }


def received_record(received: Received) -> dict[str, Any]:
    """One line of the list of everything received."""
    return {
        "number": received.number,
        "received_at": received.at,
        "app_id": received.app_id,
        "request": received.request,
        "idempotency_key": received.idempotency_key,
        "event": received.event,
    }


def user_view(user: User) -> UserView:
    """A snapshot of a user."""
    return UserView(user.user_id, user.id, tuple(user.aliases), tuple(user.device_ids), dict(user.traits))


def _conversation_view(conversation: Conversation) -> ConversationView:
    received = conversation.received
    return ConversationView(
        conversation_id=conversation.conversation_id,
        started_at=conversation.started_at,
        ended_at=conversation.ended_at,
        properties=dict(conversation.properties),
        prompt_tokens=conversation.prompt_tokens,
        completion_tokens=conversation.completion_tokens,
        cost=conversation.cost,
        turns=tuple(_turn_view(each) for each in received if each.event["event"] == "Conversation Turn"),
        functions=tuple(_function_view(each) for each in received if each.event["event"] == "Conversation Function"),
        usages=tuple(_usage_view(each) for each in received if each.event["event"] == "Conversation Usage"),
        events=tuple(_custom_events(received)),
    )


def _when(received: Received) -> str:
    return str(received.event.get("timestamp", received.at))


def _turn_view(received: Received) -> TurnView:
    known, own = _split(received.event["properties"], _TURN_FIELDS)
    return TurnView(received.event["conversation_id"], _when(received), **known, properties=own)


def _function_view(received: Received) -> FunctionView:
    known, own = _split(received.event["properties"], _FUNCTION_FIELDS)
    return FunctionView(received.event["conversation_id"], _when(received), **known, properties=own)


def _usage_view(received: Received) -> UsageView:
    known, _ = _split(received.event["properties"], _TURN_FIELDS - {"user", "assistant", "assistant_id"})
    return UsageView(received.event["conversation_id"], _when(received), **known)


def _custom_events(received: Iterable[Received]) -> Iterable[CustomEventView]:
    for each in received:
        event = each.event
        if event["type"] == "track" and event["event"] not in CONVERSATION_EVENTS:
            yield CustomEventView(
                event.get("conversation_id"), _when(each), event["event"], event.get("properties") or {}
            )


def _split(properties: Values, known: frozenset[str]) -> tuple[Values, Values]:
    return (
        {name: value for name, value in properties.items() if name in known},
        {name: value for name, value in properties.items() if name not in known},
    )
