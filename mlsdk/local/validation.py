"""Judges bodies: a decoded JSON value in, nothing or the service's 400 text out.

Pure. The shapes themselves are in ``mlsdk.models``; here they are picked, applied strictly and turned into one line of
text as the service answers it.
"""

from typing import Any, Final

from pydantic import BaseModel, ValidationError

from mlsdk.models import AliasRequest, IdentifyRequest, wire_model

KINDS: Final[dict[str, tuple[str, str | None]]] = {
    "start-session": ("start_session", None),
    "end-session": ("end_session", None),
    "identify": ("identify", None),
    "alias": ("alias", None),
    "track": ("track", None),
    "start-conversation": ("track", "Conversation Started"),
    "end-conversation": ("track", "Conversation Ended"),
    "conversation-turn": ("track", "Conversation Turn"),
    "conversation-usage": ("track", "Conversation Usage"),
    "conversation-function": ("track", "Conversation Function"),
}
"""The endpoints that take one event of one kind: last part of the path -> ``type`` and, where fixed, ``event``."""


class InvalidBodyError(ValueError):
    """The body is refused; the text is the service's answer, its status 400."""


def check_event(event: object) -> dict[str, Any]:
    """Judge one wire event by the model of its type.

    Raises:
        InvalidBodyError: unknown type, a missing or wrong field, a null, or a nested value.
    """
    if not isinstance(event, dict):
        raise InvalidBodyError("Invalid wire type: undefined")
    model = wire_model(event)
    if model is None:
        wire_type = event.get("type", "undefined")
        raise InvalidBodyError(f"Invalid wire type: {'null' if wire_type is None else str(wire_type)[:100]}")
    _check(model, event, "event")
    return event


def unknown_fields(event: dict[str, Any]) -> set[str]:
    """The fields of a valid event that no description of the service names: kept, but likely a mistake."""
    model = wire_model(event)
    return event.keys() - model.model_fields.keys() if model is not None else set()


def check_kind(event: object, kind: str) -> dict[str, Any]:
    """Judge the one event of ``/bc/v1/events/event/<kind>``, which must be of that kind.

    Raises:
        InvalidBodyError: as `check_event`, or an event of another kind.
    """
    checked = check_event(event)
    wire_type, name = KINDS[kind]
    if checked["type"] != wire_type:
        raise InvalidBodyError(f"Invalid wire type: {checked['type']}")
    if name is not None and checked["event"] != name:
        raise InvalidBodyError(f"Invalid event: {checked['event'][:100]}")
    return checked


def check_batch(body: object) -> list[dict[str, Any]]:
    """Judge the body of the queue endpoint: an array of events, or one bare event.

    Raises:
        InvalidBodyError: one of the events is wrong. The service says which rule, not which event.
    """
    if not isinstance(body, list):
        return [check_event(body)]
    return [check_event(event) for event in body]


def check_identify(body: object) -> dict[str, Any]:
    """Judge the body of ``POST /bc/v1/user/identify``.

    Raises:
        InvalidBodyError: neither id nor device_id, or a wrong value.
    """
    return _check_request(IdentifyRequest, body)


def check_alias(body: object) -> dict[str, Any]:
    """Judge the body of ``POST /bc/v1/user/alias``.

    Raises:
        InvalidBodyError: id or previous_id is missing or wrong.
    """
    return _check_request(AliasRequest, body)


def _check_request(model: type[BaseModel], body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidBodyError("Invalid request: must be an object")
    _check(model, body, "request")
    return body


def _check(model: type[BaseModel], body: dict[str, Any], what: str) -> None:
    # The models allow None for "left out" because callers' objects need it; on the wire a null is an error.
    _refuse_nulls(body, what, "")
    try:
        model.model_validate(body, strict=True)
    except ValidationError as error:
        raise InvalidBodyError(f"Invalid {what}: {_first_line(error)}") from None


def _refuse_nulls(fields: dict[str, Any], what: str, prefix: str) -> None:
    for name, value in fields.items():
        if value is None:
            raise InvalidBodyError(f"Invalid {what}: {prefix}{name}: null is not allowed, leave the field out")
        if type(value) is dict and not prefix:
            _refuse_nulls(value, what, f"{name}.")


def _first_line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in _UNION_MEMBERS)
    return f"{where}: {first['msg']}" if where else str(first["msg"])


# pydantic names the member of a union it tried last in the location; a reader of the message has no use for it.
_UNION_MEMBERS: Final = frozenset({"str", "bool", "int", "float", "TokenBasedCost", "Cost"})
