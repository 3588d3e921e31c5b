"""Ends a session by its id."""

from __future__ import annotations

from mlsdk.events import check_name
from mlsdk_otel.bridge import bridges


def end_session(session_id: str) -> None:
    """Says that a session which spans have told of has ended; wanted where no span of ours will.

    What waits of the session is sent, then its end, once. Does not wait.

    Args:
        session_id: The session's id.

    Raises:
        InvalidEventError: It is not 1 to 100 characters of text.
    """
    check_name("session_id", session_id)
    for bridge in bridges():
        bridge.end_session(session_id)
