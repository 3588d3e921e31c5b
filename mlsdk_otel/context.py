"""Whose a piece of work is: ids that an application sets for all that it calls, carried by OpenTelemetry's context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import context

from mlsdk.events import check_name
from mlsdk_otel import attributes as names

if TYPE_CHECKING:
    from mlsdk.session import Session

_KEY: Final = context.create_key("mindlytics-ids")


@contextmanager
def using_session(
    session_id: str | Session | None = None,
    *,
    user_id: str | None = None,
    device_id: str | None = None,
    conversation_id: str | None = None,
) -> Iterator[None]:
    """Spans that start inside belong to this session, user, device and conversation, as far as they do not say so.

    As a context manager or a decorator. Ids that are left out stay those of the surroundings. It takes effect where a
    `MindlyticsSpanProcessor` sees spans start.

    Args:
        session_id: A session's id, or a session of `mlsdk`.
        user_id: The user's id.
        device_id: The device's id.
        conversation_id: The conversation's id.

    Raises:
        InvalidEventError: An id is not 1 to 100 characters of text.
    """
    given: dict[str, str | None] = {
        names.SESSION_ID: session_id if session_id is None or isinstance(session_id, str) else session_id.session_id,
        names.USER_ID: user_id,
        names.DEVICE_ID: device_id,
        names.CONVERSATION_ID: conversation_id,
    }
    if session_id is not None and not isinstance(session_id, str):
        given[names.USER_ID] = given[names.USER_ID] or session_id.id
        given[names.DEVICE_ID] = given[names.DEVICE_ID] or session_id.device_id
    ids = {name: check_name(name, value) for name, value in given.items() if value is not None}
    token = context.attach(context.set_value(_KEY, {**ids_in(), **ids}))
    try:
        yield
    finally:
        context.detach(token)


def ids_in(surroundings: context.Context | None = None) -> Mapping[str, str]:
    """The ids set in a context, by attribute name; default the current context."""
    ids = context.get_value(_KEY, surroundings)
    return ids if isinstance(ids, Mapping) else {}
