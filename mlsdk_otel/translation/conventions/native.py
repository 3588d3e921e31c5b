"""This project's own spans, see `mlsdk_otel.attributes`: those of its instrumentor, and hand-written ones.

The instrumentor writes everything that an event of the SDK holds, so that the same event comes out. By hand, most may
be left out: a session without an id is its trace, a user who is not named is an anonymous one of the session, an event
belongs to the conversation of its span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from mlsdk import events
from mlsdk.errors import InvalidEventError
from mlsdk.events import Common, Event, Value
from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import reading
from mlsdk_otel.translation.facts import Loss, Role, SessionPart
from mlsdk_otel.translation.spanview import Attributes, EventView, SpanView

Readers = Mapping[str, Callable[[object], Value | None]]

_ROLES = {names.SESSION_SPAN: Role.SESSION, names.CONVERSATION_SPAN: Role.CONVERSATION}

SPAN_EVENTS: Final[Mapping[str, str]] = {
    events.CONVERSATION_STARTED: names.CONVERSATION_STARTED,
    events.CONVERSATION_ENDED: names.CONVERSATION_ENDED,
    events.CONVERSATION_TURN: names.TURN,
    events.CONVERSATION_USAGE: names.USAGE,
    events.CONVERSATION_FUNCTION: names.FUNCTION,
}
"""The span events of the service's own events."""
_USAGE_FIELDS: Final[Mapping[str, str]] = {
    "model": names.RESPONSE_MODEL,
    "prompt_tokens": names.INPUT_TOKENS,
    "completion_tokens": names.OUTPUT_TOKENS,
    "cost": names.COST,
}
FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    names.TURN: {
        "user": names.TURN_USER,
        "assistant": names.TURN_ASSISTANT,
        "assistant_id": names.TURN_ASSISTANT_ID,
        **_USAGE_FIELDS,
    },
    names.USAGE: _USAGE_FIELDS,
    names.FUNCTION: {
        "name": names.TOOL_NAME,
        "args": names.TOOL_ARGUMENTS,
        "result": names.TOOL_RESULT,
        "runtime": names.RUNTIME_MS,
    },
}
"""Which attributes hold the fields that the service gives a meaning to."""
READERS: Final[Readers] = {
    "user": reading.text,
    "assistant": reading.text,
    "assistant_id": reading.text,
    "model": reading.text,
    "prompt_tokens": reading.count,
    "completion_tokens": reading.count,
    "cost": reading.number,
    "name": reading.name,
    "args": reading.text,
    "result": reading.text,
    "runtime": reading.count,
}
"""How these fields are read; what comes out is what the service takes."""
_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "prompt_tokens": int,
    "completion_tokens": int,
    "cost": (int, float),
    "runtime": int,
}
"""What they are; text where nothing is said."""
_READING: Final[Mapping[str, tuple[tuple[str, str, bool, Callable[[object], Value | None]], ...]]] = {
    name: tuple((field, key, READERS[field] is reading.text, READERS[field]) for field, key in fields.items())
    for name, fields in FIELDS.items()
}
"""FIELDS and READERS side by side: field, attribute, whether it is any text, how it is read."""
_USUAL: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset({*fields.values(), names.SESSION_ID, names.USER_ID, names.DEVICE_ID, names.CONVERSATION_ID})
    for name, fields in FIELDS.items()
}
"""Attributes of an event that has no properties."""


def claims(view: SpanView) -> bool:
    """Whether a span is one of ours, and meant for a reader."""
    return view.name in _ROLES and reading.text(view.attributes.get(names.DELIVERY)) != names.DIRECT


def is_of_a_session(view: SpanView) -> bool:
    """Whether a span is one of ours, whoever is to read it."""
    return view.name in _ROLES


def is_meant_for(view: SpanView, project_id: str) -> bool:
    """Whether a span is for readers of this project, which it may leave open."""
    named = reading.text(view.attributes.get(names.PROJECT_ID))
    return not named or named == project_id


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
    return reading.identifier(attributes.get(names.SESSION_ID))


def is_joined(attributes: Attributes) -> bool:
    """Whether a span says that its session is not this process's to start or end."""
    return reading.flag(attributes.get(names.JOINED))


def names_all(view: SpanView, attributes: Attributes) -> bool:
    """Whether what a span says when it starts is enough to tell its start: nobody would be told of a wrong one."""
    if names.SESSION_START in attributes:
        return True
    whose = [reading.identifier(attributes.get(key)) for key in (names.USER_ID, names.DEVICE_ID)]
    needed = [session_id_of(attributes), whose[0] or whose[1]]
    if view.name == names.CONVERSATION_SPAN:
        needed.append(reading.identifier(attributes.get(names.CONVERSATION_ID)))
    return all(needed)


def begins_session(view: SpanView) -> bool:
    """Whether a span stands for a session, or says with which start one began."""
    return view.name == names.SESSION_SPAN or names.SESSION_START in view.attributes


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
        self._told = None if self._is_joined else self._told_start()
        self._who = self._common(attributes)
        self._last: tuple[tuple[object, object, bool, bool], Common] | None = None
        self._conversation_id = self._conversation()

    def part(self) -> SessionPart:
        attributes = self._attributes
        is_continued = reading.flag(attributes.get(names.CONTINUED))
        number = reading.count(attributes.get(names.PART)) or 0
        is_session = self._role is Role.SESSION
        is_first = not number or reading.flag(attributes.get(names.REOPENED))
        session_start, likely_start = self._starts()
        return SessionPart(
            role=self._role,
            session_id=self._session_id,
            conversation_id=None if is_session else self._conversation_id,
            number=number,
            is_continued=is_continued,
            is_joined=self._is_joined,
            session_start=session_start,
            likely_start=likely_start,
            opening=self._opening() if is_first and not is_session else None,
            inner=tuple(self._inner()),
            closing=None if is_continued or (self._is_joined and is_session) else self._closing(),
            conversations=reading.count(attributes.get(names.CONVERSATIONS)),
            loss=self._loss,
        )

    # -- ids ----------------------------------------------------------------------------------------------------------

    def _common(self, attributes: Attributes) -> Common:
        user_id = reading.identifier(attributes.get(names.USER_ID))
        device_id = reading.identifier(attributes.get(names.DEVICE_ID))
        # A span with the session's start says all that is known; nobody is made up for it.
        if user_id is None and device_id is None and self._told is None and not self._is_joined:
            device_id = anonymous_device(self._session_id)
        return events.common(session_id=self._session_id, user_id=user_id, device_id=device_id)

    def _conversation(self) -> str | None:
        named = reading.identifier(self._attributes.get(names.CONVERSATION_ID))
        if named is None and self._role is Role.CONVERSATION:
            return f"{self._view.trace_id:032x}-{self._view.span_id:016x}"
        return named

    # -- starts and ends ----------------------------------------------------------------------------------------------

    def _starts(self) -> tuple[Event | None, Event | None]:
        """The session's start, where this span tells it; and the one to send when no span of the session does."""
        if self._is_joined:
            return None, None
        if self._told is not None:
            return self._told, self._told
        likely = events.start_session(
            self._who, _micros(self._view.start), attributes=self._prefixed(self._attributes, names.SESSION_ATTRIBUTE)
        )
        if self._role is Role.SESSION or self._view.parent_id is None:
            return likely, likely
        # The session's own span knows better; if that is in another process, so is the start.
        return None, None if self._view.has_remote_parent else likely

    def _told_start(self) -> Event | None:
        raw = self._attributes.get(names.SESSION_START)
        if raw is None:
            return None
        told = reading.mapping(raw) or {}
        try:
            who = events.common(
                session_id=self._session_id,
                user_id=reading.identifier(told.get("id")),
                device_id=reading.identifier(told.get("device_id")),
            )
            moment = events.parse_timestamp(told.get("timestamp"))
            attributes = self._values(reading.mapping(told.get("attributes")) or {})
            return events.start_session(who, moment, attributes=attributes)
        except InvalidEventError:
            self._loss.values += 1  # what is left is told by the span itself
            return None

    def _opening(self) -> Event:
        return events.conversation_started(
            self._who,
            _micros(self._view.start),
            conversation_id=str(self._conversation_id),
            properties=self._prefixed(self._attributes, names.CONVERSATION_PROPERTY),
        )

    def _closing(self) -> Event:
        moment = self._end_moment()
        who = self._whose(self._attributes, names.END_USER_ID, names.END_DEVICE_ID)
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
            except InvalidEventError as problem:
                self._loss.events += 1
                self._loss.why = self._loss.why or f"{event.name}: {problem.message}"
        return found

    def _of(self, event: EventView) -> tuple[Common, int]:
        """Whose an event is, and when."""
        # On these two, `user.id` is who the user is from then on.
        user = names.KNOWN_USER_ID if event.name in (names.IDENTIFY, names.ALIAS) else names.USER_ID
        return self._whose(event.attributes, user, names.DEVICE_ID), events.clamp_moment(event.time // 1000)

    def _whose(self, own: Attributes, user: str, device: str) -> Common:
        """The ids in two attributes; what is not said stays as on the span, and what is said to be empty is nobody."""
        if user not in own and device not in own:
            return self._who
        # Most events of a span name the same.
        named = own.get(user), own.get(device), user in own, device in own
        if self._last is not None and self._last[0] == named:
            return self._last[1]
        said = {
            "user_id": own.get(user, self._who.get("user_id")),
            "device_id": own.get(device, self._who.get("device_id")),
        }
        ids = {name: reading.identifier(raw) for name, raw in said.items()}
        who = events.common(session_id=self._session_id, user_id=ids["user_id"], device_id=ids["device_id"])
        if all(raw is None or type(raw) is str for raw in named[:2]):
            self._last = named, who
        return who

    def _conversation_of(self, event: EventView) -> str | None:
        if names.CONVERSATION_ID not in event.attributes:
            return self._conversation_id
        return reading.identifier(event.attributes.get(names.CONVERSATION_ID)) or self._conversation_id

    def _needed_conversation(self, event: EventView) -> str:
        found = self._conversation_of(event)
        if found is None:
            raise InvalidEventError(names.CONVERSATION_ID, f"is missing, and the span is no {names.CONVERSATION_SPAN}")
        return found

    def turn(self, event: EventView) -> Event:
        who, moment = self._of(event)
        fields, properties = self._fields(event)
        return events.turn(
            who,
            moment,
            conversation_id=self._needed_conversation(event),
            user=_needed(names.TURN_USER, _text(fields.pop("user", None))),
            assistant=_needed(names.TURN_ASSISTANT, _text(fields.pop("assistant", None))),
            assistant_id=_text(fields.pop("assistant_id", None)),
            usage=fields,
            properties=properties,
        )

    def usage(self, event: EventView) -> Event:
        who, moment = self._of(event)
        fields, _ = self._fields(event)
        if "cost" in fields:
            fields = {"cost": fields["cost"]}
        elif "model" in fields:
            fields["model"] = _needed(names.RESPONSE_MODEL, reading.name(fields["model"]))
        usage = events.check_usage("usage", fields)
        return events.usage(who, moment, conversation_id=self._needed_conversation(event), usage=usage)

    def function(self, event: EventView) -> Event:
        who, moment = self._of(event)
        fields, properties = self._fields(event)
        return events.function_call(
            who,
            moment,
            conversation_id=self._needed_conversation(event),
            name=_needed(names.TOOL_NAME, _text(fields.pop("name", None))),
            # Its other fields as well: among the properties they may hold what the arguments of the call refuse.
            properties={**fields, **properties},
        )

    def custom(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        name = _needed(names.EVENT_NAME, reading.name(own.get(names.EVENT_NAME)))
        if name in SPAN_EVENTS:
            return self._reserved(event, SPAN_EVENTS[name])
        return events.custom(
            who,
            moment,
            event=name,
            conversation_id=self._conversation_of(event),
            properties=self._prefixed(own, names.PROPERTY),
        )

    def _reserved(self, event: EventView, name: str) -> Event:
        """A custom event with the name of one of the service's own, and so with its fields among the properties."""
        fields = FIELDS.get(name, {})
        own = {key: raw for key, raw in event.attributes.items() if not key.startswith(names.PROPERTY)}
        for key, raw in reading.under(event.attributes, names.PROPERTY, names.ALL).items():
            own[fields.get(key, names.PROPERTY + key)] = raw
        return _EVENTS[name](self, EventView(name, event.time, own))

    def identify(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        return events.identify(
            who,
            moment,
            id=reading.identifier(own.get(names.USER_ID)),
            device_id=reading.identifier(own.get(names.DEVICE_ID)),
            traits=self._prefixed(own, names.TRAIT),
        )

    def alias(self, event: EventView) -> Event:
        own = event.attributes
        who, moment = self._of(event)
        return events.alias(
            who,
            moment,
            id=_needed(names.USER_ID, reading.identifier(own.get(names.USER_ID))),
            previous_id=_needed(names.PREVIOUS_ID, reading.identifier(own.get(names.PREVIOUS_ID))),
        )

    def conversation_started(self, event: EventView) -> Event:
        who, moment = self._of(event)
        return events.conversation_started(
            who,
            moment,
            conversation_id=self._needed_conversation(event),
            properties=self._prefixed(event.attributes, names.PROPERTY),
        )

    def conversation_ended(self, event: EventView) -> Event:
        who, moment = self._of(event)
        return events.conversation_ended(
            who,
            moment,
            conversation_id=self._needed_conversation(event),
            properties=self._prefixed(event.attributes, names.PROPERTY),
        )

    def session_ended(self, event: EventView) -> Event:
        who, moment = self._of(event)
        return events.end_session(who, moment, attributes=self._prefixed(event.attributes, names.PROPERTY))

    # -- values -------------------------------------------------------------------------------------------------------

    def _fields(self, event: EventView) -> tuple[dict[str, Value], dict[str, Value]]:
        """What an event says in fields that the service knows, and its properties beside them."""
        own = event.attributes
        known: dict[str, Value] = {}
        for field, key, is_text, reader in _READING[event.name]:
            raw = own.get(key)
            if raw is None:
                continue
            read = raw if is_text and type(raw) is str else reader(raw)
            if read is not None:
                known[field] = read
            else:
                self._loss.values += 1
        beside: dict[str, Value] = {}
        if own.keys() <= _USUAL[event.name]:
            return known, beside
        for key, raw in (self._prefixed(own, names.PROPERTY) or {}).items():
            is_field = key in FIELDS[event.name]
            # The service would refuse the whole event for a field of the wrong kind, by whatever way it came there.
            fitting = READERS[key](raw) if is_field and not _fits(key, raw) else raw
            if fitting is None or key in known:
                self._loss.values += 1
            elif is_field:
                known[key] = fitting
            else:
                beside[key] = fitting
        return known, beside

    def _prefixed(self, attributes: Attributes, prefix: str) -> dict[str, Value] | None:
        found = reading.under(attributes, prefix, names.ALL)
        return self._values(found) if found else None

    def _values(self, raw: Mapping[str, object]) -> dict[str, Value]:
        held, lost = reading.values(raw)
        self._loss.values += lost
        return held


def _needed(name: str, found: str | None) -> str:
    if found is None:
        raise InvalidEventError(name, "is missing")
    return found


def _fits(field: str, found: Value) -> bool:
    return isinstance(found, _KINDS.get(field, str)) and not isinstance(found, bool)


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None


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
