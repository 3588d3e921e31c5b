"""Whose a span is, by the names that libraries and applications use; any span may say so, AI or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import reading
from mlsdk_otel.translation.facts import Identity

_SESSION: Final = (names.SESSION_ID, "langfuse.session.id", "gcp.vertex.agent.session_id", "session_id")
_CONVERSATION: Final = (names.CONVERSATION_ID, "thread_id", "conversation_id")
_USER: Final = (names.USER_ID, "enduser.id", "langfuse.user.id", "gen_ai.user.id", "gen_ai.user", "llm.user", "user_id")
_DEVICE: Final = (names.DEVICE_ID, "device.id", "device_id")

_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "session_id": ("session_id", "sessionId", "session.id", "session", "chat_id", "chatId"),
    "conversation_id": ("conversation_id", "conversationId", "thread_id", "threadId", "conversation.id"),
    "user_id": ("user_id", "userId", "user.id", "user", "enduser.id"),
    "device_id": ("device_id", "deviceId", "device.id"),
}
"""How applications call ids in the free-form properties of a library."""
_FREE_FORM: Final = (
    "traceloop.association.properties.",
    "ai.telemetry.metadata.",
    "langfuse.trace.metadata.",
    "langsmith.metadata.",
    "metadata.",
)
_METADATA: Final = "metadata"
"""OpenInference and LangChain put what the application said into one JSON object."""

MARKERS: Final = frozenset(
    [
        *(*_SESSION, *_CONVERSATION, *_USER, *_DEVICE, _METADATA),
        *(prefix + name for prefix in _FREE_FORM for spellings in _SPELLINGS.values() for name in spellings),
    ]
)
"""A span without any of these says nothing of it."""

_NAMES: Final[Mapping[str, Mapping[str, int]]] = {
    key: {
        name: rank
        for rank, name in enumerate((*direct, *(prefix + each for prefix in _FREE_FORM for each in _SPELLINGS[key])))
    }
    for key, direct in zip(_SPELLINGS, (_SESSION, _CONVERSATION, _USER, _DEVICE), strict=True)
}
"""The names of each id, those that count most first."""
NOBODY: Final = Identity()


def of(attributes: Mapping[str, object]) -> Identity:
    """The ids in the attributes of a span, or in baggage.

    A conversation's id alone (`gen_ai.conversation.id`, LangGraph's `thread_id`) does not become the session's here.
    """
    named = [name for name in attributes if name in MARKERS]
    if not named:
        return NOBODY
    found: dict[str, str | None] = dict.fromkeys(_SPELLINGS)
    for key, names_of_it in _NAMES.items():
        # There are dozens of names, of which a span has one or two.
        if held := [name for name in named if name in names_of_it]:
            found[key] = _first(attributes, sorted(held, key=names_of_it.__getitem__))
    if _METADATA in attributes and None in found.values() and (told := reading.mapping(attributes.get(_METADATA))):
        for key, spellings in _SPELLINGS.items():
            found[key] = found[key] or _first(told, spellings)
    if is_response_id(found["conversation_id"]):
        found["conversation_id"] = None
    return Identity(**found)


def is_response_id(conversation_id: str | None) -> bool:
    """Whether what is called a conversation's id is an answer's, which the next call goes on from.

    Microsoft's Agent Framework calls it so where the service keeps the history.
    """
    return conversation_id is not None and conversation_id.startswith("resp_")


def _first(attributes: Mapping[str, object], keys: tuple[str, ...] | list[str]) -> str | None:
    for key in keys:
        raw = attributes.get(key)
        if isinstance(raw, str | int) and not isinstance(raw, bool) and (read := reading.identifier(raw)):
            return read
    return None
