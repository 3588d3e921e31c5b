"""This project's own spans, see `mlsdk_otel.attributes`: those of its instrumentor, and hand-written ones.

The instrumentor writes everything that an event of the SDK holds, so that the same event comes out. By hand, most may
be left out: a session without an id is its trace, a user who is not named is an anonymous one of the session, an event
belongs to the conversation of its span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

from mlsdk import events
from mlsdk.errors import InvalidEventError
from mlsdk.events import Common, Event, Value
from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import reading
from mlsdk_otel.translation.facts import Loss, Role, SessionPart
from mlsdk_otel.translation.spanview import Attributes, EventView, SpanView

_ROLES = {names.SESSION_SPAN: Role.SESSION, names.CONVERSATION_SPAN: Role.CONVERSATION}


def claims(view: SpanView) -> bool:
    """Whether a span is one of ours, and meant for a reader."""
    return view.name in _ROLES and view.attributes.get(names.DELIVERY) != names.DIRECT


def read(view: SpanView, *, session_id: str, inherited: Attributes) -> SessionPart:
    """The events that a span stands for.

    Args:
        view: A span that `claims` has said yes to.
        session_id: The session that it belongs to.
        inherited: What its parent says of the user and device, for a span that does not.
    """
    return _Reader(view, session_id, {**inherited, **view.attributes}).part()


def session_id_of(attributes: Attributes) -> str | None:
    """The session that a span names, if it names one."""
    return reading.name(attributes.get(names.SESSION_ID))


def session_of_trace(trace_id: int) -> str:
    """The id of a session that nobody named: its trace's."""
    return f"{trace_id:032x}"


def anonymous_device(session_id: str) -> str:
    """A device for a session of which neither user nor device is known: never one for a whole server."""
    return f"anon-{sha256(session_id.encode('utf-8', 'replace')).hexdigest()[:32]}"


class _Reader:
    """Reads one span."""

    def __init__(self, view: SpanView, session_id: str, attributes: Attributes) -> None:
        self._view = view
        self._attributes = attributes
        self._role = _ROLES[view.name]
        self._session_id = session_id
        self._is_joined = reading.flag(attributes.get(names.JOINED))
        self._loss = Loss(dropped_events=view.dropped_events, dropped_attributes=view.dropped_attributes)
        self._who = self._common(attributes)
        self._conversation_id = self._conversation()

    def part(self) -> SessionPart:
        attributes = self._attributes
        is_continued = reading.flag(attributes.get(names.CONTINUED))
        number = reading.count(attributes.get(names.PART)) or 0
        is_session = self._role is Role.SESSION
        return SessionPart(
            role=self._role,
            session_id=self._session_id,
            conversation_id=None if is_session else self._conversation_id,
            number=number,
            is_continued=is_continued,
            is_joined=self._is_joined,
            session_start=None if self._is_joined else self._session_start(),
            likely_start=None if self._is_joined or self._view.has_remote_parent else self._likely_start(),
            opening=None if is_session or number else self._opening(),
            inner=tuple(self._inner()),
            closing=None if is_continued or (self._is_joined and is_session) else self._closing(),
            conversations=reading.count(attributes.get(names.CONVERSATIONS)),
            loss=self._loss,
        )

    # -- ids ----------------------------------------------------------------------------------------------------------

    def _common(self, attributes: Attributes) -> Common:
        user_id = reading.name(attributes.get(names.USER_ID))
        device_id = reading.name(attributes.get(names.DEVICE_ID))
        if user_id is None and device_id is None and not self._is_joined:
            device_id = anonymous_device(self._session_id)
        return events.common(session_id=self._session_id, user_id=user_id, device_id=device_id)

    def _conversation(self) -> str | None:
        named = reading.name(self._attributes.get(names.CONVERSATION_ID))
        if named is None and self._role is Role.CONVERSATION:
            return f"{self._view.trace_id:032x}-{self._view.span_id:016x}"
        return named

    # -- starts and ends ----------------------------------------------------------------------------------------------

    def _session_start(self) -> Event | None:
        told = reading.mapping(self._attributes.get(names.SESSION_START))
        if told:
            who = events.common(
                session_id=self._session_id,
                user_id=reading.name(told.get("id")),
                device_id=reading.name(told.get("device_id")),
            )
            try:
                moment = events.parse_timestamp(told.get("timestamp"))
                return events.start_session(
                    who, moment, attributes=self._values(reading.mapping(told.get("attributes")))
                )
            except InvalidEventError:
                self._loss.values += 1  # what is left is told by the span itself
        if self._role is Role.CONVERSATION and self._view.parent_id is not None:
            return None  # the session's own span knows better
        return self._likely_start()

    def _likely_start(self) -> Event | None:
        if self._is_joined:
            return None
        return events.start_session(
            self._who, _micros(self._view.start), attributes=self._prefixed(self._attributes, names.SESSION_ATTRIBUTE)
        )

    def _opening(self) -> Event:
        return events.conversation_started(
            self._who,
            _micros(self._view.start),
            conversation_id=str(self._conversation_id),
            properties=self._prefixed(self._attributes, names.CONVERSATION_PROPERTY),
        )

    def _closing(self) -> Event:
        moment = self._end_moment()
        who = self._who
        if (user_id := reading.name(self._attributes.get(names.END_USER_ID))) is not None:
            who = {**who, "user_id": user_id}
        if self._role is Role.SESSION:
            ended = self._prefixed(self._attributes, names.SESSION_END_ATTRIBUTE)
            return events.end_session(who, moment, attributes=ended)
        return events.conversation_ended(
            who,
            moment,
            conversation_id=str(self._conversation_id),
            properties=self._prefixed(self._attributes, names.CONVERSATION_END_PROPERTY),
        )

    def _end_moment(self) -> int:
        told = self._attributes.get(names.END_TIMESTAMP)
        if told is not None:
            try:
                return events.parse_timestamp(told)
            except InvalidEventError:
                self._loss.values += 1
        return _micros(self._view.end)

    # -- events -------------------------------------------------------------------------------------------------------

    def _inner(self) -> list[Event]:
        found: list[Event] = []
        for event in self._view.events:
            reader = _EVENTS.get(event.name)
            if reader is None:
                continue  # an exception, or somebody else's
            self._loss.dropped_attributes += event.dropped_attributes
            try:
                found.append(reader(self, event))
            except InvalidEventError:
                self._loss.events += 1
        return found

    def _of(self, event: EventView) -> tuple[Common, int]:
        """Whose an event is, and when."""
        own = event.attributes
        # On these two, `user.id` is who the user is from then on.
        key = names.KNOWN_USER_ID if event.name in (names.IDENTIFY, names.ALIAS) else names.USER_ID
        user_id, device_id = reading.name(own.get(key)), reading.name(own.get(names.DEVICE_ID))
        if user_id is None and device_id is None:
            return self._who, _micros(event.time)
        who = events.common(
            session_id=self._session_id,
            user_id=user_id or self._who.get("user_id"),
            device_id=device_id or self._who.get("device_id"),
        )
        return who, _micros(event.time)

    def _conversation_of(self, event: EventView) -> str | None:
        return reading.name(event.attributes.get(names.CONVERSATION_ID)) or self._conversation_id

    def turn(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        return events.turn(
            who,
            moment,
            conversation_id=self._needed(self._conversation_of(event)),
            user=self._needed(reading.text(own.get(names.TURN_USER))),
            assistant=self._needed(reading.text(own.get(names.TURN_ASSISTANT))),
            assistant_id=reading.text(own.get(names.TURN_ASSISTANT_ID)),
            usage=self._usage(own),
            properties=self._prefixed(own, names.PROPERTY),
        )

    def usage(self, event: EventView) -> Event:
        who, moment = self._of(event)
        spent = self._usage(event.attributes)
        if spent is None:
            raise InvalidEventError("usage", "is missing")
        return events.usage(who, moment, conversation_id=self._needed(self._conversation_of(event)), usage=spent)

    def function(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        return events.function_call(
            who,
            moment,
            conversation_id=self._needed(self._conversation_of(event)),
            name=self._needed(reading.name(own.get(names.TOOL_NAME))),
            args=reading.text(own.get(names.TOOL_ARGUMENTS)),
            result=reading.text(own.get(names.TOOL_RESULT)),
            runtime=reading.count(own.get(names.RUNTIME_MS)),
            properties=self._prefixed(own, names.PROPERTY),
        )

    def custom(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        return events.custom(
            who,
            moment,
            event=self._needed(reading.name(own.get(names.EVENT_NAME))),
            conversation_id=self._conversation_of(event),
            properties=self._prefixed(own, names.PROPERTY),
        )

    def identify(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        return events.identify(
            who,
            moment,
            id=reading.name(own.get(names.USER_ID)),
            device_id=reading.name(own.get(names.DEVICE_ID)),
            traits=self._prefixed(own, names.TRAIT),
        )

    def alias(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        return events.alias(
            who,
            moment,
            id=self._needed(reading.name(own.get(names.USER_ID))),
            previous_id=self._needed(reading.name(own.get(names.PREVIOUS_ID))),
        )

    def conversation_started(self, event: EventView) -> Event:
        who, moment = self._of(event)
        return events.conversation_started(
            who,
            moment,
            conversation_id=self._needed(self._conversation_of(event)),
            properties=self._prefixed(event.attributes, names.PROPERTY),
        )

    def conversation_ended(self, event: EventView) -> Event:
        who, moment = self._of(event)
        return events.conversation_ended(
            who,
            moment,
            conversation_id=self._needed(self._conversation_of(event)),
            properties=self._prefixed(event.attributes, names.PROPERTY),
        )

    def session_ended(self, event: EventView) -> Event:
        who, moment = self._of(event)
        return events.end_session(who, moment, attributes=self._prefixed(event.attributes, names.PROPERTY))

    # -- values -------------------------------------------------------------------------------------------------------

    def _needed(self, found: str | None) -> str:
        if found is None:
            raise InvalidEventError("attribute", "is missing")
        return found

    def _usage(self, own: Attributes) -> Mapping[str, Value] | None:
        cost = reading.number(own.get(names.COST))
        if cost is not None:
            return {"cost": cost}
        model = reading.name(own.get(names.RESPONSE_MODEL))
        prompt, completion = (reading.count(own.get(key)) for key in (names.INPUT_TOKENS, names.OUTPUT_TOKENS))
        if model is None or prompt is None or completion is None:
            return None
        return {"model": model, "prompt_tokens": prompt, "completion_tokens": completion}

    def _prefixed(self, attributes: Attributes, prefix: str) -> dict[str, Value] | None:
        found = reading.under(attributes, prefix, names.ALL)
        return self._values(found) if found else None

    def _values(self, raw: Mapping[str, object]) -> dict[str, Value]:
        held, lost = reading.values(raw)
        self._loss.values += lost
        return held


def _micros(nanoseconds: int) -> int:
    return events.clamp_moment(nanoseconds // 1000)


SPAN_NAMES = frozenset(_ROLES)
_EVENTS: dict[str, Callable[[_Reader, EventView], Event]] = {
    names.TURN: _Reader.turn,
    names.USAGE: _Reader.usage,
    names.FUNCTION: _Reader.function,
    names.CUSTOM: _Reader.custom,
    names.IDENTIFY: _Reader.identify,
    names.ALIAS: _Reader.alias,
    names.CONVERSATION_STARTED: _Reader.conversation_started,
    names.CONVERSATION_ENDED: _Reader.conversation_ended,
    names.SESSION_ENDED: _Reader.session_ended,
}
EVENT_NAMES = frozenset(_EVENTS)
