"""What the service knows, and how a received event changes it. Pure: no clock, no randomness, no I/O.

Rules, as the service is described to clients:

* An event of a session that is not known makes the session; a turn, a usage, a function call, a start or an end does
  the same for its conversation. Order of arrival is kept.
* ``end_session`` ends the session's open conversations first. An event after the end opens the session again; an end
  of what has ended already changes nothing, so a resent end is harmless.
* The end of a conversation makes a ``Conversation Summary`` before the ``Conversation Ended``.
* Nothing is taken for a duplicate: what comes twice is there twice.

Every method takes constant time for an event (`generated_between` and the counts aside).
"""

import heapq
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from mlsdk.local.index import Index
from mlsdk.local.records import Conversation, Generated, Received, Session, User, Values
from mlsdk.local.users import UnknownUserError, Users, known_as, user_record
from mlsdk.models import parse_timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)


def instant_of(timestamp: str) -> int:
    """An ISO 8601 time as microseconds since 1970.

    Raises:
        ValueError: it is not one.
    """
    return (parse_timestamp(timestamp) - _EPOCH) // _MICROSECOND


class Store:
    """Everything that one local service knows.

    Args:
        instance: part of every event id, so that ids differ between services; any short text.
        organization_id: what the service calls the organization that all keys belong to.
    """

    def __init__(self, *, instance: str, organization_id: str = "local") -> None:
        self.instance: Final = instance
        self.organization_id: Final = organization_id
        self.users = Users()
        self.sessions: dict[tuple[str, str], Session] = {}
        self.received: list[Received] = []
        self.generated: list[Generated] = []
        self.index: Final = Index()
        self._texts: dict[str, str] = {}

    # --- events -------------------------------------------------------------------------------------------------

    def receive(
        self, event: Values, *, app_id: str, at: str, request: int = 0, idempotency_key: str | None = None
    ) -> list[Generated]:
        """Take one valid wire event and return the live events that it causes, in order.

        Args:
            event: the decoded event; it is kept, not copied.
            app_id: the project, from the request's header.
            at: time of arrival, ISO 8601 UTC; stands in where the event has no timestamp.
            request: number of the HTTP request, for the record.
            idempotency_key: that request's header, for the record.
        """
        self._share_ids(event)
        received = Received(len(self.received) + 1, at, app_id, event, request, idempotency_key)
        self.received.append(received)
        timestamp = event.get("timestamp", at)
        change = _Change(self, received, timestamp)
        key = (app_id, event["session_id"])
        session = self.sessions.get(key)
        is_end = event["type"] == "end_session" or event.get("event") == "Conversation Ended"
        if session is None:
            session = Session(session_id=event["session_id"], app_id=app_id, started_at=timestamp)
            self.sessions[key] = session
            change.session = session
            change.take_user()
            change.make("Session Started", properties=event.get("attributes"))
        else:
            change.session = session
            change.take_user()
            if session.ended_at is not None and not is_end:
                session.ended_at = None
                change.make("Session Started", properties={"reopened": True})
        session.received.append(received)
        change.apply()
        self.generated.extend(change.generated)
        self.index.add(session, received, change.generated)
        return change.generated

    def _share_ids(self, event: Values) -> None:
        """Keep one copy of texts that come with every event of a session: a third of the memory of an import."""
        for name in ("session_id", "conversation_id", "user_id", "device_id"):
            value = event.get(name)
            if value is not None:
                event[name] = self._texts.setdefault(value, value)

    # --- users, outside of any session --------------------------------------------------------------------------

    def identify(self, body: Values, *, app_id: str, at: str) -> dict[str, Any]:
        """Do what ``POST /bc/v1/user/identify`` does and return the user record."""
        user = self.users.identify(
            app_id, id=body.get("id"), device_id=body.get("device_id"), traits=body.get("traits"), at=at
        )
        return user_record(user, organization_id=self.organization_id)

    def alias(self, body: Values, *, app_id: str) -> dict[str, Any]:
        """Do what ``POST /bc/v1/user/alias`` does and return the user record.

        Raises:
            UnknownUserError: nobody is known as ``previous_id``.
        """
        user = self.users.alias(app_id, id=body["id"], previous_id=body["previous_id"])
        return user_record(user, organization_id=self.organization_id)

    # --- questions ----------------------------------------------------------------------------------------------

    def session(self, session_id: str, app_id: str | None = None) -> Session:
        """The session with this id; without ``app_id`` that of the first project that has one.

        Raises:
            LookupError: there is none.
        """
        for entry in self.index.with_id(session_id):
            if app_id in (None, entry.session.app_id):
                return entry.session
        raise LookupError(f"no session {session_id!r}")

    def live_event(self, generated: Generated) -> dict[str, Any]:
        """The message that a websocket reader gets. What is not known is left out."""
        origin = generated.origin
        message: dict[str, Any] = {
            "organization_id": self.organization_id,
            "app_id": origin.app_id,
            "session_id": origin.event["session_id"],
            "event_id": f"live_{self.instance}_{generated.number}",
            "origin_event_id": f"event_{self.instance}_{origin.number}",
            "timestamp": generated.timestamp,
            "event": generated.name,
            "properties": generated.properties or {},
        }
        if generated.user_id is not None:
            message["user_id"] = generated.user_id
        if generated.conversation_id is not None:
            message["conversation_id"] = generated.conversation_id
        if generated.user_traits:
            message["user_traits"] = generated.user_traits
        return message

    def generated_between(self, start: int, end: int, *, limit: int, app_id: str) -> list[Generated]:
        """The project's newest live events with ``start <= instant <= end``, newest first.

        Args:
            start: microseconds since 1970, as `instant_of`.
            end: the same.
            limit: how many at most.
            app_id: the project.
        """
        inside: Iterable[Generated] = (
            made for made in self.generated if start <= made.instant <= end and made.origin.app_id == app_id
        )
        return heapq.nlargest(limit, inside, key=lambda made: (made.instant, made.number))


class _Change:
    """The work of one received event: changes the session and gathers the live events."""

    __slots__ = ("event", "generated", "received", "session", "store", "timestamp")

    session: Session

    def __init__(self, store: Store, received: Received, timestamp: str) -> None:
        self.store = store
        self.received = received
        self.event = received.event
        self.timestamp = timestamp
        self.generated: list[Generated] = []

    def make(self, name: str, *, properties: Values | None, conversation_id: str | None = None) -> None:
        user = self.session.user
        self.generated.append(
            Generated(
                number=len(self.store.generated) + len(self.generated) + 1,
                origin=self.received,
                name=name,
                timestamp=self.timestamp,
                instant=instant_of(self.timestamp),
                user_id=known_as(user) if user is not None else None,
                conversation_id=conversation_id,
                properties=properties,
                user_traits=user.traits if user is not None and user.traits else None,
            )
        )

    def take_user(self) -> None:
        """Learn from ``user_id``/``device_id`` (or ``id``, at a start) whose session this is, if that is not known."""
        event = self.event
        is_start = event["type"] == "start_session"
        if self.session.user is not None and not is_start:
            return
        user_id = event.get("id") if is_start else event.get("user_id")
        device_id = event.get("device_id")
        if user_id is not None or device_id is not None:
            self.session.user = self._identified(user_id, device_id)

    def _identified(self, user_id: str | None, device_id: str | None, traits: Values | None = None) -> User:
        return self.store.users.identify(
            self.received.app_id, id=user_id, device_id=device_id, traits=traits, at=self.received.at
        )

    def apply(self) -> None:
        _BY_TYPE[self.event["type"]](self)

    def start_session(self) -> None:
        self.session.attributes.update(self.event.get("attributes") or {})

    def end_session(self) -> None:
        session = self.session
        session.attributes.update(self.event.get("attributes") or {})
        if session.ended_at is not None:
            return
        for conversation in session.conversations.values():
            if conversation.ended_at is None:
                self._end(conversation)
        session.ended_at = self.timestamp
        self.make("Session Ended", properties=dict(session.attributes))

    def identify(self) -> None:
        event, before = self.event, self.session.user
        device_id = event.get("device_id")
        if device_id is None and before is not None and before.id is None and before.device_ids:
            device_id = before.device_ids[0]  # whoever used the session unnamed is the one who is named now
        self.session.user = self._identified(event.get("id"), device_id, event.get("traits"))

    def alias(self) -> None:
        event = self.event
        try:
            self.session.user = self.store.users.alias(
                self.received.app_id, id=event["id"], previous_id=event["previous_id"]
            )
        except UnknownUserError as error:
            self.make("MLError", properties={"error_message": str(error)})

    def track(self) -> None:
        handler = _BY_EVENT.get(self.event["event"])
        if handler is None:
            self._custom()
        else:
            handler(self)

    def _custom(self) -> None:
        # An app's own event may name a conversation; it belongs to it if there is one, but makes or reopens none.
        conversation_id = self.event.get("conversation_id")
        conversation = self.session.conversations.get(conversation_id) if conversation_id is not None else None
        if conversation is not None:
            conversation.received.append(self.received)
        self.make(self.event["event"], properties=self.event.get("properties"), conversation_id=conversation_id)

    def start_conversation(self) -> None:
        self._open_conversation().properties.update(self.event.get("properties") or {})

    def end_conversation(self) -> None:
        conversation = self.session.conversations.get(self.event["conversation_id"])
        if conversation is None:
            conversation = self._open_conversation()
        else:
            conversation.received.append(self.received)
        conversation.properties.update(self.event.get("properties") or {})
        if conversation.ended_at is None:
            self._end(conversation)

    def turn(self) -> None:
        conversation = self._open_conversation()
        conversation.turns += 1
        self._count_usage(conversation)

    def usage(self) -> None:
        self._count_usage(self._open_conversation())

    def function(self) -> None:
        conversation = self._open_conversation()
        conversation.functions += 1
        self._mirror(conversation)

    def _count_usage(self, conversation: Conversation) -> None:
        properties = self.event["properties"]
        conversation.prompt_tokens += properties.get("prompt_tokens", 0)
        conversation.completion_tokens += properties.get("completion_tokens", 0)
        conversation.cost += properties.get("cost", 0)
        self._mirror(conversation)

    def _mirror(self, conversation: Conversation) -> None:
        self.make(
            self.event["event"],
            properties=self.event.get("properties"),
            conversation_id=conversation.conversation_id,
        )

    def _open_conversation(self) -> Conversation:
        """The event's conversation, made or opened again if need be, with the event added to it."""
        conversation_id = self.event["conversation_id"]
        conversation = self.session.conversations.get(conversation_id)
        if conversation is None:
            conversation = Conversation(conversation_id=conversation_id, started_at=self.timestamp)
            self.session.conversations[conversation_id] = conversation
            is_start = self.event["event"] == "Conversation Started"
            self.make(
                "Conversation Started",
                properties=self.event.get("properties") if is_start else None,
                conversation_id=conversation_id,
            )
        elif conversation.ended_at is not None:
            conversation.ended_at = None
            self.make("Conversation Started", properties={"reopened": True}, conversation_id=conversation_id)
        conversation.received.append(self.received)
        return conversation

    def _end(self, conversation: Conversation) -> None:
        conversation.ended_at = self.timestamp
        name = conversation.conversation_id
        self.make("Conversation Summary", properties=_summary(conversation), conversation_id=name)
        self.make("Conversation Ended", properties=dict(conversation.properties), conversation_id=name)


def _summary(conversation: Conversation) -> Values:
    """What can be said of a conversation by counting; the real service's analysis says more."""
    turns, functions = conversation.turns, conversation.functions
    return {
        "summary": f"{turns} turn{'s' * (turns != 1)}, {functions} function call{'s' * (functions != 1)}",
        "turns": turns,
        "functions": functions,
        "prompt_tokens": conversation.prompt_tokens,
        "completion_tokens": conversation.completion_tokens,
        "cost": conversation.cost,
    }


_BY_TYPE: Final[dict[str, Callable[[_Change], None]]] = {
    "start_session": _Change.start_session,
    "end_session": _Change.end_session,
    "identify": _Change.identify,
    "alias": _Change.alias,
    "track": _Change.track,
}
_BY_EVENT: Final[dict[str, Callable[[_Change], None]]] = {
    "Conversation Started": _Change.start_conversation,
    "Conversation Ended": _Change.end_conversation,
    "Conversation Turn": _Change.turn,
    "Conversation Usage": _Change.usage,
    "Conversation Function": _Change.function,
}
