"""What a message of the live-event websocket means; no more than that.

A text becomes the event in it, or the error that it is or that it causes. Also here, because they are as pure: which
events were given already, what an answer with an authorization key holds, and how long to wait before connecting again.
The text comes from outside: whatever it holds, nothing is raised, and no error quotes it (but for `MLError`, whose text
is for the user).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

import orjson
from pydantic import ValidationError

from mlsdk.delivery.retry import wait_seconds
from mlsdk.errors import LiveError
from mlsdk.events import MAX_NAME, ML_ERROR
from mlsdk.models import MLEvent

MAX_TEXT: Final = 4 * 1024 * 1024
"""Bytes (characters, of a text) in one message, at most."""
MAX_ERROR_MESSAGE: Final = 2_000
"""Characters of a service's error message that are kept: errors are stored, a hundred to a session."""
REMEMBERED: Final = 10_000
"""Event ids that are remembered. A service repeats what it sent lately, if it repeats at all."""
MAX_KEY: Final = 4_096
"""Characters in an authorization key, at most: more fits into no server's header."""

Message = str | bytes


class SeenIds:
    """The ids of the latest events, bounded in number and size; asking takes the same time however many there are."""

    def __init__(self, size: int = REMEMBERED) -> None:
        """Remembers `size` ids, at least 1."""
        self._size = size
        self._seen: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, event_id: str) -> bool:
        """Whether this id is not among the last ones that this was asked about. It is from now on."""
        if len(event_id) > MAX_NAME:
            # Not an id that a sane service makes; kept as it is, ten thousand of them could fill the memory.
            event_id = hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()
        is_new = event_id not in self._seen
        self._seen[event_id] = None
        self._seen.move_to_end(event_id)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return is_new


class Decoder:
    """Reads the messages of one listener, over all its connections."""

    def __init__(self, session_id: str | None = None, *, remembered: int = REMEMBERED) -> None:
        """Listens for one session, or for all where `session_id` is None."""
        self._session_id = session_id
        self._seen = SeenIds(remembered)

    def feed(self, text: Message) -> MLEvent | LiveError | None:
        """What a message means; None if it was given before, or is of another session."""
        fields = _fields(text)
        if isinstance(fields, LiveError):
            return fields
        session_id, event_id = fields.get("session_id"), fields.get("event_id")
        if self._session_id is not None and isinstance(session_id, str) and session_id != self._session_id:
            return None
        decoded = _decoded(fields)
        # Asked last: what could not be read was not given to anybody.
        if isinstance(event_id, str) and event_id and not self._seen.is_new(event_id):
            return None
        return decoded


def decode(text: Message) -> MLEvent | LiveError:
    """The event in a message. An `MLError`, and what is no event, is a `LiveError`."""
    fields = _fields(text)
    return fields if isinstance(fields, LiveError) else _decoded(fields)


def _fields(text: Message) -> dict[str, object] | LiveError:
    if len(text) > MAX_TEXT:
        return _unreadable(f"it has more than {MAX_TEXT} bytes")
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _unreadable("it is not JSON")
    return fields if isinstance(fields, dict) else _unreadable("it is not a JSON object")


def _decoded(fields: dict[str, object]) -> MLEvent | LiveError:
    if fields.get("event") == ML_ERROR:
        return LiveError(_error_message(fields))
    for name, many in (("properties", True), ("user_traits", False)):
        # Before pydantic: it would list each wrong value, and a hostile message has room for a million.
        if not _holds_plain_values(fields.get(name), lists_too=many):
            return _unreadable(f"its {name} hold something else than text, numbers and booleans")
    try:
        return MLEvent.model_validate(fields)
    except ValidationError as problem:
        wrong = sorted({str(error["loc"][0]) for error in problem.errors(include_url=False) if error["loc"]})
        return _unreadable(f"missing or of a wrong type: {', '.join(wrong)}")


def _holds_plain_values(values: object, *, lists_too: bool) -> bool:
    if values is None:
        return True
    if not isinstance(values, dict):
        return False
    for value in values.values():
        if isinstance(value, list):
            if not lists_too or not all(isinstance(inner, (str, int, float)) for inner in value):
                return False
        elif not isinstance(value, (str, int, float)):
            return False
    return True


def _error_message(fields: dict[str, object]) -> str:
    properties = fields.get("properties")
    message = properties.get("error_message") if isinstance(properties, dict) else None
    if not isinstance(message, str) or not message.strip():
        return "the service reported an error and did not say which"
    return message if len(message) <= MAX_ERROR_MESSAGE else message[: MAX_ERROR_MESSAGE - 1] + "…"


def _unreadable(why: str) -> LiveError:
    return LiveError(f"a live event cannot be read: {why}")


def authorization_key(body: bytes) -> str | None:
    """The key in the service's answer, or None if there is none that an HTTP header can carry."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    key = answer.get("authorization_key") if isinstance(answer, dict) else None
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        return None
    return key


def reconnect_wait(failures: int, *, jitter: float, after: float | None = None) -> float:
    """Seconds to wait before connecting again: the schedule of delivery, for the same reasons.

    Args:
        failures: Connections in a row that were not made or did not last. 0 after one that lasted, which is treated
            like 1: the listeners of a whole fleet must not come back at once.
        jitter: A random number from 0 to 1.
        after: Seconds that the service asked for.
    """
    return wait_seconds(max(failures, 1), jitter=jitter, after=after)
