"""Ends a session by its id."""

from __future__ import annotations

from mlsdk.events import check_name
from mlsdk.logs import logger_for
from mlsdk_otel.bridge import bridges

logger = logger_for(__name__)


def end_session(session_id: str, *, project_id: str | None = None) -> None:
    """Says that a session which spans have told of has ended; wanted where no span of ours will.

    What waits of the session is sent, then its end, once. Does not wait.

    Args:
        session_id: The session's id.
        project_id: Its project; needed where this process sends to several and has sent nothing of the session yet.

    Raises:
        InvalidEventError: The id is not 1 to 100 characters of text.
    """
    check_name("session_id", session_id)
    able = [bridge for bridge in bridges() if project_id in (None, bridge.settings.config.connection.project_id)]
    known = [bridge for bridge in able if bridge.knows(session_id)]
    projects = {bridge.settings.config.connection.project_id for bridge in able}
    if not known and len(projects) > 1:
        logger.error("a session was not ended: several projects are sent to and none has seen it; pass project_id")
        return
    for bridge in known or able[-1:]:
        bridge.end_session(session_id)
