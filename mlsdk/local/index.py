"""What the page asks for again and again, kept up to date as events arrive, so that no view goes through everything.

Pure, and constant time for an event. It says nothing that could not be found in the store by a long look.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mlsdk.local.records import Generated, Received, Session, User, Values

ERROR_EVENT: Final = "MLError"
MINUTES_KEPT: Final = 24 * 60
"""How many minutes with turns are remembered, at least."""

_NO_MODEL: Final = ""
_NAMES: Final = ("user_id", "device_id")
_MORE_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "start_session": ("id",),
    "identify": ("id",),
    "alias": ("id", "previous_id"),
}
_MINUTE: Final = len("2025-06-01T12:00")


@dataclass(slots=True, eq=False)
class ModelUsage:
    """What was reported for one model, over turns and usage; ``cost`` in the unit in which it was reported."""

    reports: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def add(self, properties: Values) -> None:
        """Count one report."""
        self.reports += 1
        self.prompt_tokens += properties.get("prompt_tokens", 0)
        self.completion_tokens += properties.get("completion_tokens", 0)
        self.cost += properties.get("cost", 0)

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(slots=True, eq=False)
class Totals:
    """Running sums over everything that was received."""

    sessions: int = 0
    open_sessions: int = 0
    conversations: int = 0
    turns: int = 0
    functions: int = 0
    errors: int = 0


@dataclass(slots=True, eq=False)
class Entry:
    """A session in the index. ``number`` counts from 0 in order of arrival; ``errors``: events that went wrong."""

    number: int
    session: Session
    conversations: int = 0
    is_open: bool = False
    errors: int = 0
    text: str = ""
    text_of: int = 0
    """`text` is made of so many of the session's events; `mlsdk.local.search` writes it when somebody searches."""


@dataclass(slots=True, eq=False)
class Index:
    """Sessions by number, id, project and by who used them; sums; turns by minute of arrival; usage by model.

    ``models`` has the usage that names no model under an empty text. ``errors`` is by number of the received event.
    """

    entries: list[Entry] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    turns_by_minute: dict[str, int] = field(default_factory=dict)
    models: dict[str, ModelUsage] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    _by_key: dict[tuple[str, str], Entry] = field(default_factory=dict)
    _by_id: dict[str, list[Entry]] = field(default_factory=dict)
    _by_project: dict[str, list[Entry]] = field(default_factory=dict)
    _by_name: dict[str, dict[int, Entry]] = field(default_factory=dict)

    # --- keeping it ---------------------------------------------------------------------------------------------

    def add(self, session: Session, received: Received, generated: Iterable[Generated]) -> None:
        """Take note of an event that the store has just applied to its session."""
        entry = self._by_key.get((session.app_id, session.session_id)) or self._new(session)
        self._note_state(entry)
        self._note_names(entry, received.event)
        self._note_usage(received)
        for made in generated:
            if made.name == ERROR_EVENT:
                text = (made.properties or {}).get("error_message", "")
                self.errors[received.number] = str(text)
                self.totals.errors += 1
                entry.errors += 1

    def _new(self, session: Session) -> Entry:
        entry = Entry(len(self.entries), session)
        self.entries.append(entry)
        self._by_key[session.app_id, session.session_id] = entry
        self._by_id.setdefault(session.session_id, []).append(entry)
        self._by_project.setdefault(session.app_id, []).append(entry)
        self.totals.sessions += 1
        return entry

    def _note_state(self, entry: Entry) -> None:
        is_open, conversations = entry.session.ended_at is None, len(entry.session.conversations)
        self.totals.open_sessions += is_open - entry.is_open
        self.totals.conversations += conversations - entry.conversations
        entry.is_open, entry.conversations = is_open, conversations

    def _note_names(self, entry: Entry, event: Values) -> None:
        for field_name in _NAMES + _MORE_NAMES.get(event["type"], ()):
            name = event.get(field_name)
            if name is not None:
                self._by_name.setdefault(name, {})[entry.number] = entry

    def _note_usage(self, received: Received) -> None:
        event = received.event
        name = event.get("event") if event["type"] == "track" else None
        if name == "Conversation Turn":
            self.totals.turns += 1
            self._note_minute(received.at[:_MINUTE])
        elif name == "Conversation Function":
            self.totals.functions += 1
            return
        elif name != "Conversation Usage":
            return
        properties = event["properties"]
        if "model" in properties or "cost" in properties:
            self.models.setdefault(properties.get("model", _NO_MODEL), ModelUsage()).add(properties)

    def _note_minute(self, minute: str) -> None:
        minutes = self.turns_by_minute
        if minute in minutes:
            minutes[minute] += 1
            return
        minutes[minute] = 1
        if len(minutes) > 2 * MINUTES_KEPT:
            for old in list(minutes)[:MINUTES_KEPT]:
                del minutes[old]

    # --- asking it ----------------------------------------------------------------------------------------------

    @property
    def projects(self) -> dict[str, int]:
        """How many sessions each project has."""
        return {project: len(entries) for project, entries in self._by_project.items()}

    def find(self, app_id: str, session_id: str) -> Entry | None:
        """The session, if there is one."""
        return self._by_key.get((app_id, session_id))

    def with_id(self, session_id: str) -> list[Entry]:
        """The sessions of this very id: one a project."""
        return self._by_id.get(session_id, [])

    def in_project(self, app_id: str) -> list[Entry]:
        """The sessions of a project, in order of arrival."""
        return self._by_project.get(app_id, [])

    def used_by(self, names: Iterable[str]) -> list[Entry]:
        """The sessions in which one of these ids of users or devices was seen, in order of arrival."""
        found: dict[int, Entry] = {}
        for name in names:
            found.update(self._by_name.get(name, {}))
        return [found[number] for number in sorted(found)]

    def names_with(self, text: str) -> list[str]:
        """The ids of users and devices that contain this, whatever the case. Looks at each name once."""
        wanted = text.casefold()
        return [name for name in self._by_name if wanted in name.casefold()]


def names_of(user: User) -> list[str]:
    """All that a user is known by."""
    return [*([user.id] if user.id is not None else []), *user.aliases, *user.device_ids]
