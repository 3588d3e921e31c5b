"""The user's `before_send` hook: what it may do to an event, and what becomes of one that it spoils."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from mlsdk.errors import InvalidEventError
from mlsdk.events import Event, check_values

BeforeSend: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any] | None]
"""Takes a copy of a wire event, which it may change; returns what to send, or None to send nothing."""

_FIXED: Final = ("type", "session_id", "conversation_id", "timestamp")
_VALUES: Final = ("properties", "attributes", "traits")


class SpoiltEventError(InvalidEventError):
    """What a hook returned is no event that can be sent in the place of the one that it was given."""


def mask(event: Event, before_send: BeforeSend) -> Event | None:
    """The event as the hook wants it sent.

    Args:
        event: The event; it is not changed.
        before_send: May change anything but type, session_id, conversation_id and timestamp.

    Returns:
        The event to send, or None when the hook drops it.

    Raises:
        SpoiltEventError: The hook returned something that is no such event.
        Exception: Whatever the hook raises.
    """
    copy = {name: dict(field) if isinstance(field, Mapping) else field for name, field in event.items()}
    masked = before_send(copy)
    if masked is None:
        return None
    try:
        return _checked(event, masked)
    except InvalidEventError as problem:
        raise SpoiltEventError(problem.argument, problem.message.removeprefix(f"{problem.argument}: ")) from None


def why_not_sent(problem: Exception) -> str:
    """What is wrong with a hook because of which `mask` has raised; nothing that the hook itself says."""
    if isinstance(problem, SpoiltEventError):
        return f"before_send returned what cannot be sent ({problem.message})"
    return f"before_send failed with {type(problem).__name__}"


def _checked(event: Event, masked: object) -> Event:
    if not isinstance(masked, Mapping):
        raise InvalidEventError("before_send", f"must return an event or None, not {type(masked).__name__}")
    for name in _FIXED:
        if masked.get(name) != event.get(name):
            raise InvalidEventError("before_send", f"must not change {name}")
    if "event" in event and "event" not in masked:
        raise InvalidEventError("before_send", "must leave the name of the event")
    checked: MutableMapping[str, Any] = {}
    for name, field in masked.items():
        if name in _VALUES:
            if values := check_values(name, field):
                checked[name] = values
        elif isinstance(name, str) and isinstance(field, str):
            checked[name] = field
        else:
            raise InvalidEventError("before_send", f"must leave {name!r} as text")
    return checked
