"""What a process has to end if it dies: its open sessions, told from the events that it recorded.

A session is owned by the process that sent its `start_session`, a conversation by the one that sent its start; only
these are ended for it, at the session's last activity. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from mlsdk import events
from mlsdk.errors import InvalidEventError
from mlsdk.events import Event

_NAMING: Final = (events.IDENTIFY, events.ALIAS)
_WIRE_TIMESTAMP: Final = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII)


@dataclass(slots=True)
class OpenSession:
    """A session that was started here and has not ended.

    Attributes:
        session_id: Its id.
        user_id: The user's, as of its last event.
        device_id: The device's, likewise.
        conversations: The conversations that were started here and have not ended; in their order.
        latest: Its last activity, as the wire has it. Such texts compare as their moments do, and need not be read.
    """

    session_id: str
    user_id: str | None = None
    device_id: str | None = None
    conversations: dict[str, None] = field(default_factory=dict)
    latest: str = ""

    def ends(self) -> list[Event]:
        """The events that end it, and the conversations before it, at its last activity."""
        who = events.common(session_id=self.session_id, user_id=self.user_id, device_id=self.device_id)
        moment = _moment_of(self.latest)
        conversations = [
            events.conversation_ended(who, moment, conversation_id=conversation_id)
            for conversation_id in self.conversations
        ]
        return [*conversations, events.end_session(who, moment)]


class OpenSessions:
    """Follows the events of a process, in their order."""

    def __init__(self) -> None:
        self._open: dict[str, OpenSession] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenSession]:
        return iter(self._open.values())

    def note(self, event: Mapping[str, Any]) -> str | None:
        """Sees an event.

        Returns:
            The id of its session if that is, or was until now, an open one of this process.
        """
        session_id, kind, timestamp = event.get("session_id"), event.get("type"), event.get("timestamp")
        if not (isinstance(session_id, str) and isinstance(timestamp, str)):
            return None
        if kind == events.START_SESSION:
            if not (_is_name(session_id) and _is_timestamp(timestamp)):
                return None
            session = self._open[session_id] = OpenSession(session_id)
        elif (known := self._open.get(session_id)) is not None:
            session = known
        else:
            return None
        if kind == events.END_SESSION:
            del self._open[session_id]
            return session_id
        _note_identity(session, event)
        if timestamp > session.latest and _is_timestamp(timestamp):
            session.latest = timestamp
        conversation_id = event.get("conversation_id")
        if isinstance(conversation_id, str):
            if event.get("event") == events.CONVERSATION_STARTED:
                session.conversations[conversation_id] = None
            elif event.get("event") == events.CONVERSATION_ENDED:
                session.conversations.pop(conversation_id, None)
        return session_id

    def mark(self, session_id: str) -> bytes:
        """What is known of a session, to be written down; that it is not open, if it is not."""
        session = self._open.get(session_id)
        if session is None:
            return orjson.dumps({"session_id": session_id})
        return orjson.dumps(
            {
                "session_id": session_id,
                "user_id": session.user_id,
                "device_id": session.device_id,
                "conversations": list(session.conversations),
                "latest": session.latest,
            }
        )

    def read(self, marks: Iterable[bytes]) -> int:
        """Takes over what was written down; later marks replace earlier ones.

        Returns:
            How many of them could not be read.
        """
        return sum(not self._read(mark) for mark in marks)

    def _read(self, mark: bytes) -> bool:
        try:
            found = orjson.loads(mark)
            session_id = events.check_name("session_id", found["session_id"])
            self._open.pop(session_id, None)
            if "latest" in found:
                session = OpenSession(
                    session_id,
                    user_id=_name_or_none(found["user_id"]),
                    device_id=_name_or_none(found["device_id"]),
                    conversations=dict.fromkeys(events.check_name("", each) for each in found["conversations"]),
                    latest=events.format_timestamp(events.parse_timestamp(found["latest"])),
                )
                self._open[session_id] = session
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            return False
        return True


def _note_identity(session: OpenSession, event: Mapping[str, Any]) -> None:
    user_id, device_id = event.get("user_id"), event.get("device_id")
    if user_id != session.user_id and _is_name(user_id):
        session.user_id = user_id
    if device_id != session.device_id and _is_name(device_id):
        session.device_id = device_id
    # What these two say holds for the events after them.
    if event.get("type") in _NAMING and _is_name(new_id := event.get("id")):
        session.user_id = new_id


def _is_timestamp(text: str) -> bool:
    return _WIRE_TIMESTAMP.fullmatch(text) is not None


def _moment_of(timestamp: str) -> int:
    try:
        return events.parse_timestamp(timestamp)
    except InvalidEventError:  # a 31st of February, which nothing of ours has written
        return 0


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= events.MAX_NAME


def _name_or_none(value: object) -> str | None:
    return None if value is None else events.check_name("", value)
