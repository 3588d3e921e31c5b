"""The service's wire events: their names, their shapes, and the rules that a value must obey to be in one.

This is the only module that knows a wire shape (source: the service's API description, version 1.0.0). Each
constructor checks what it is given and returns a finished event, or raises `InvalidEventError` naming the argument.
An event is a plain mapping in the order in which it is encoded. Nothing changes one after its constructor returned;
whoever must (a `before_send`) gets a copy.

Pure: no I/O, clock or randomness. Timestamps are integers here, microseconds since the Unix epoch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from math import isfinite
from typing import Final, TypeAlias

import orjson

from mlsdk.errors import InvalidEventError

START_SESSION: Final = "start_session"
END_SESSION: Final = "end_session"
IDENTIFY: Final = "identify"
ALIAS: Final = "alias"
TRACK: Final = "track"

CONVERSATION_STARTED: Final = "Conversation Started"
CONVERSATION_ENDED: Final = "Conversation Ended"
CONVERSATION_TURN: Final = "Conversation Turn"
CONVERSATION_USAGE: Final = "Conversation Usage"
CONVERSATION_FUNCTION: Final = "Conversation Function"

SESSION_ENDED: Final = "Session Ended"
"""The live event by which the service says that it has seen all of a session."""
ML_ERROR: Final = "MLError"
"""The live event by which the service reports an error; the text is in `properties.error_message`."""

Value: TypeAlias = str | int | float | bool
"""What properties, attributes and traits may hold: nothing nested, integers of 64 bits, finite numbers."""
Event: TypeAlias = Mapping[str, str | Mapping[str, Value]]
"""One wire event; read-only."""
Common: TypeAlias = Mapping[str, str]
"""What all events of a session have in common at a moment; made by `common()`."""
Timestamp: TypeAlias = str | datetime
"""A moment as a caller may give it: ISO 8601 text with an offset, or an aware `datetime`."""

MAX_NAME: Final = 100
"""Characters in an id, an event's name or a model's name, at most (the API description)."""
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_MOMENT = (datetime(1, 1, 1, tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND
_LAST_MOMENT = (datetime(9999, 12, 31, 23, 59, 59, 999999, timezone.utc) - _EPOCH) // _MICROSECOND
_ISO_8601 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)


# -- moments ----------------------------------------------------------------------------------------------------------


def parse_timestamp(value: object, argument: str = "timestamp") -> int:
    """Reads a moment: ISO 8601 text with `Z` or an offset, or an aware `datetime`.

    Returns:
        Microseconds since the Unix epoch; digits beyond the sixth are cut.

    Raises:
        InvalidEventError: It is neither, or has no time zone, which would make it a guess.
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = _parse_iso(value, argument)
    else:
        raise InvalidEventError(argument, f"must be ISO 8601 text or a datetime, not {type(value).__name__}")
    if moment.utcoffset() is None:
        raise InvalidEventError(argument, "has no time zone; add one, such as 'Z' or tzinfo=timezone.utc")
    micros = (moment - _EPOCH) // _MICROSECOND
    if not _FIRST_MOMENT <= micros <= _LAST_MOMENT:  # an offset can carry a time over the calendar's edge
        raise InvalidEventError(argument, "is outside the years 1 to 9999 in UTC")
    return micros


def _parse_iso(text: str, argument: str) -> datetime:
    # datetime.fromisoformat refuses 'Z' and most fractions on Python 3.10.
    match = _ISO_8601.fullmatch(text.strip())
    if match is None:
        raise InvalidEventError(argument, "is not an ISO 8601 time such as 2025-04-03T07:35:10.000000Z")
    year, month, day, hour, minute, second, fraction, zulu, sign, offset_hours, offset_minutes = match.groups()
    zone: timezone | None = timezone.utc if zulu else None
    try:
        if sign:
            offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes or 0))
            zone = timezone(-offset if sign == "-" else offset)
        micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
        return datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), micros, zone)
    except ValueError as problem:
        raise InvalidEventError(argument, f"is not a time that exists ({problem})") from None


def clamp_moment(moment: int) -> int:
    """The nearest moment that the wire can hold: the years 1 to 9999."""
    if _FIRST_MOMENT <= moment <= _LAST_MOMENT:
        return moment
    return _FIRST_MOMENT if moment < _FIRST_MOMENT else _LAST_MOMENT


def format_timestamp(moment: int) -> str:
    """Writes a moment as the wire has it: UTC, six digits, `Z`."""
    seconds = moment // 1_000_000
    micros = moment - seconds * 1_000_000
    return f"{_format_second(seconds)}.{_THREE_DIGITS[micros // 1000]}{_THREE_DIGITS[micros % 1000]}Z"


# Looked up: to write a number with leading zeros takes three times as long.
_THREE_DIGITS: Final = tuple(f"{number:03d}" for number in range(1000))


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    # Most events of a burst share their second, and those of imported history their day.
    day, second = divmod(seconds, 86_400)
    minute, second = divmod(second, 60)
    return f"{_format_day(day)}T{minute // 60:02d}:{minute % 60:02d}:{second:02d}"


@lru_cache(maxsize=512)
def _format_day(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


# -- values -----------------------------------------------------------------------------------------------------------


def check_name(argument: str, value: object) -> str:
    """An id or a name: text of 1 to 100 characters.

    Raises:
        InvalidEventError: It is something else.
    """
    if not isinstance(value, str):
        raise InvalidEventError(argument, f"must be text, not {type(value).__name__}")
    if not 0 < len(value) <= MAX_NAME:
        raise InvalidEventError(argument, f"must have 1 to {MAX_NAME} characters, not {len(value)}")
    return value


def check_text(argument: str, value: object) -> str:
    """Text of any length.

    Raises:
        InvalidEventError: It is something else.
    """
    if not isinstance(value, str):
        raise InvalidEventError(argument, f"must be text, not {type(value).__name__}")
    return value


def check_values(argument: str, values: object) -> dict[str, Value]:
    """A copy of the properties, attributes or traits, which may be None.

    Raises:
        InvalidEventError: It is no mapping, a key is no text, or a value is none of str, int (64 bits), float
            (finite), bool; the error names the key.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidEventError(argument, f"must be a mapping of text to values, not {type(values).__name__}")
    checked: dict[str, Value] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise InvalidEventError(argument, f"the key {key!r} must be text, not {type(key).__name__}")
        checked[key] = value if type(value) is str else _check_value(argument, key, value)
    return checked


def _check_value(argument: str, key: str, value: object) -> Value:
    # Subclasses (enums, numpy's float64) become the plain value, which is what they are on the wire.
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        if _MIN_INT <= value <= _MAX_INT:
            return int(value)
        problem = "is an integer of more than 64 bits"
    elif isinstance(value, float):
        if isfinite(value):
            return float(value)
        problem = "is not a finite number"
    else:
        problem = f"must be str, int, float or bool, not {type(value).__name__}"
    raise InvalidEventError(key, f"{problem} (in {argument})")


def check_usage(argument: str, usage: object) -> dict[str, Value]:
    """What a model call cost: `model`, `prompt_tokens` and `completion_tokens`, or `cost`.

    Args:
        argument: The name to report.
        usage: A `TokenBasedCost`, a `Cost`, or a mapping with the fields of either.

    Raises:
        InvalidEventError: It is neither, or a field is missing or wrong; the error names the field.
    """
    # What nearly every call gives, first and without a call: a TokenBasedCost.
    own = getattr(usage, "__dict__", None)
    if own is not None and own.keys() == _TOKEN_FIELD_SET:
        model, prompt, completion = own["model"], own["prompt_tokens"], own["completion_tokens"]
        is_plain = type(model) is str and type(prompt) is int and type(completion) is int
        # The sign of either is that of both combined, and so are bits beyond the 63rd.
        if is_plain and 0 < len(model) <= MAX_NAME and 0 <= prompt | completion <= _MAX_INT:
            return {"model": model, "prompt_tokens": prompt, "completion_tokens": completion}
    fields = _usage_fields(argument, usage)
    if "cost" in fields:
        cost = fields["cost"]
        if isinstance(cost, bool) or not isinstance(cost, (int, float)):
            raise InvalidEventError("cost", f"must be a number, not {type(cost).__name__} (in {argument})")
        return {"cost": _check_value(argument, "cost", cost)}
    name = check_name("model", fields["model"])
    tokens = {name: _check_count(name, fields[name], f" (in {argument})") for name in _TOKEN_FIELDS[1:]}
    return {"model": name, **tokens}


_TOKEN_FIELDS: Final = ("model", "prompt_tokens", "completion_tokens")
_TOKEN_FIELD_SET: Final = frozenset(_TOKEN_FIELDS)
_USAGE_FIELDS: Final = (*_TOKEN_FIELDS, "cost")


def _usage_fields(argument: str, usage: object) -> Mapping[str, object]:
    """The fields of exactly one of the two kinds of usage, whatever object they came in."""
    if isinstance(usage, Mapping):
        given: Mapping[str, object] = usage
    else:
        # First among its own attributes: asking a pydantic model for a field that it has not is slow.
        own = getattr(usage, "__dict__", {})
        given = {name: own[name] for name in _USAGE_FIELDS if name in own} or {
            name: getattr(usage, name) for name in _USAGE_FIELDS if hasattr(usage, name)
        }
    if set(given) in ({"cost"}, set(_TOKEN_FIELDS)):
        return given
    raise InvalidEventError(argument, "must be TokenBasedCost(model, prompt_tokens, completion_tokens) or Cost(cost)")


def _check_count(argument: str, value: object, where: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidEventError(argument, f"must be an integer, not {type(value).__name__}{where}")
    if not 0 <= value <= _MAX_INT:
        raise InvalidEventError(argument, f"must be an integer from 0 to 2**63-1{where}")
    return int(value)


# -- constructors -----------------------------------------------------------------------------------------------------


def common(*, session_id: str, user_id: str | None = None, device_id: str | None = None) -> Common:
    """What every event of a session carries at a moment: the session and who it belongs to.

    Raises:
        InvalidEventError: An id is not 1 to 100 characters of text.
    """
    fields = {"session_id": check_name("session_id", session_id)}
    if user_id is not None:
        fields["user_id"] = check_name("id", user_id)
    if device_id is not None:
        fields["device_id"] = check_name("device_id", device_id)
    return fields


def start_session(who: Common, moment: int, *, attributes: object = None) -> Event:
    """A session begins for the user or device in `who`; one of the two is required."""
    if "user_id" not in who and "device_id" not in who:
        raise InvalidEventError("device_id", "a session needs a device_id where the user's id is not known")
    event: dict[str, str | Mapping[str, Value]] = {"type": START_SESSION, **who, "timestamp": format_timestamp(moment)}
    if "user_id" in who:
        event["id"] = who["user_id"]
    return _with_values(event, "attributes", check_values("attributes", attributes))


def end_session(who: Common, moment: int, *, attributes: object = None) -> Event:
    """A session ends; `attributes` are merged into those of its start."""
    event: dict[str, str | Mapping[str, Value]] = {"type": END_SESSION, **who, "timestamp": format_timestamp(moment)}
    return _with_values(event, "attributes", check_values("attributes", attributes))


def identify(
    who: Common, moment: int, *, id: str | None = None, device_id: str | None = None, traits: object = None
) -> Event:
    """The user is `id` from here on, or has new traits; one of `id` and `device_id` is required."""
    event: dict[str, str | Mapping[str, Value]] = {"type": IDENTIFY, **who, "timestamp": format_timestamp(moment)}
    event.update(identity(id=id, device_id=who.get("device_id") if device_id is None else device_id))
    return _with_values(event, "traits", check_values("traits", traits))


def identity(*, id: str | None, device_id: str | None) -> dict[str, str]:
    """The ids of an identify: one is required.

    Raises:
        InvalidEventError: None is given, or one is not 1 to 100 characters of text.
    """
    if id is None and device_id is None:
        raise InvalidEventError("device_id", "an identify needs a device_id where the user's id is not known")
    ids = {} if id is None else {"id": check_name("id", id)}
    if device_id is not None:
        ids["device_id"] = check_name("device_id", device_id)
    return ids


def alias(who: Common, moment: int, *, id: str, previous_id: str) -> Event:
    """The user known as `previous_id` is `id` from here on."""
    return {"type": ALIAS, **who, "timestamp": format_timestamp(moment), **alias_ids(id=id, previous_id=previous_id)}


def alias_ids(*, id: str, previous_id: str) -> dict[str, str]:
    """The two ids of an alias, checked."""
    return {"id": check_name("id", id), "previous_id": check_name("previous_id", previous_id)}


def custom(
    who: Common, moment: int, *, event: str, conversation_id: str | None = None, properties: object = None
) -> Event:
    """An event of the application's own, of the session or of one of its conversations."""
    return _track(who, moment, check_name("event", event), conversation_id, check_values("properties", properties))


def conversation_started(who: Common, moment: int, *, conversation_id: str, properties: object = None) -> Event:
    """A conversation begins."""
    return _track(who, moment, CONVERSATION_STARTED, conversation_id, check_values("properties", properties))


def conversation_ended(who: Common, moment: int, *, conversation_id: str, properties: object = None) -> Event:
    """A conversation ends; `properties` are merged into those of its start."""
    return _track(who, moment, CONVERSATION_ENDED, conversation_id, check_values("properties", properties))


def turn(
    who: Common,
    moment: int,
    *,
    conversation_id: str,
    user: str,
    assistant: str,
    assistant_id: str | None = None,
    usage: Mapping[str, Value] | None = None,
    properties: object = None,
) -> Event:
    """One user utterance and the answer to it; `usage` as `check_usage` returns it."""
    if not (type(user) is str and type(assistant) is str):
        check_text("user", user)
        check_text("assistant", assistant)
    fields: dict[str, Value] = {"user": user, "assistant": assistant}
    if assistant_id is not None:
        fields["assistant_id"] = check_text("assistant_id", assistant_id)
    if usage is not None:
        fields |= usage
    if properties is not None:
        _add_properties(fields, properties, _TURN_FIELDS)
    return _track(who, moment, CONVERSATION_TURN, conversation_id, fields)


def usage(who: Common, moment: int, *, conversation_id: str, usage: Mapping[str, Value]) -> Event:
    """A cost to add to a conversation; `usage` as `check_usage` returns it."""
    return _track(who, moment, CONVERSATION_USAGE, conversation_id, usage)


def function_call(
    who: Common,
    moment: int,
    *,
    conversation_id: str,
    name: str,
    args: str | None = None,
    result: str | None = None,
    runtime: int | None = None,
    properties: object = None,
) -> Event:
    """A tool call: arguments as JSON text, the result as text, `runtime` in milliseconds."""
    fields: dict[str, Value] = {"name": check_name("name", name)}
    if args is not None:
        fields["args"] = check_text("args", args)
    if result is not None:
        fields["result"] = check_text("result", result)
    if runtime is not None:
        fields["runtime"] = _check_count("runtime", runtime)
    if properties is not None:
        _add_properties(fields, properties, _FUNCTION_FIELDS)
    return _track(who, moment, CONVERSATION_FUNCTION, conversation_id, fields)


def _track(who: Common, moment: int, name: str, conversation_id: str | None, properties: Mapping[str, Value]) -> Event:
    event: dict[str, str | Mapping[str, Value]] = {
        "type": TRACK,
        **who,
        "timestamp": format_timestamp(moment),
        "event": name,
    }
    if conversation_id is not None:
        if not (type(conversation_id) is str and 0 < len(conversation_id) <= MAX_NAME):
            check_name("conversation_id", conversation_id)
        event["conversation_id"] = conversation_id
    if properties:
        event["properties"] = properties
    return event


def _with_values(
    event: dict[str, str | Mapping[str, Value]], field: str, values: Mapping[str, Value]
) -> dict[str, str | Mapping[str, Value]]:
    if values:
        event[field] = values
    return event


_Kind: TypeAlias = tuple[type | tuple[type, ...], str]
_TEXT: Final[_Kind] = (str, "text")
_INTEGER: Final[_Kind] = (int, "an integer")
_TURN_FIELDS: Final[Mapping[str, _Kind]] = {
    "assistant_id": _TEXT,
    "model": _TEXT,
    "prompt_tokens": _INTEGER,
    "completion_tokens": _INTEGER,
    "cost": ((int, float), "a number"),
}
_FUNCTION_FIELDS: Final[Mapping[str, _Kind]] = {"args": _TEXT, "result": _TEXT, "runtime": _INTEGER}


def _add_properties(fields: dict[str, Value], properties: object, known: Mapping[str, _Kind]) -> None:
    for key, value in check_values("properties", properties).items():
        if key in fields:
            raise InvalidEventError(key, "is an argument of this call; it cannot also be one of its properties")
        if key in known:  # to the service they are those fields; it refuses the whole event for one of another kind
            kind, words = known[key]
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InvalidEventError(key, f"must be {words}, not {type(value).__name__} (in properties)")
        fields[key] = value


# -- reading and encoding ---------------------------------------------------------------------------------------------


def is_essential(event: Event) -> bool:
    """Whether an event starts, ends or names something: without these the service never analyses a conversation."""
    return event["type"] != TRACK or event["event"] in (CONVERSATION_STARTED, CONVERSATION_ENDED)


def encode(event: Event) -> bytes:
    """One event as JSON text in UTF-8. Lone surrogates, which no UTF-8 text can hold, become U+FFFD."""
    # The slice is a copy as long as the text. What orjson returns keeps the room that it wrote into, of which an event
    # in the queue would hold eight times its size; and that room, never used before, costs more than the copy.
    try:
        return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)[:-1]
    except orjson.JSONEncodeError:
        return orjson.dumps(without_surrogates(event), option=orjson.OPT_APPEND_NEWLINE)[:-1]


def without_surrogates(value: object) -> object:
    """The same mappings, lists and texts, with U+FFFD for what no UTF-8 text can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {without_surrogates(key): without_surrogates(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_surrogates(inner) for inner in value]
    return value
