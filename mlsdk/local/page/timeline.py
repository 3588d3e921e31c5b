"""A session as plain values: its events in the sections in which people read them. Pure.

A conversation is one section, at the place where it began, whatever else went on meanwhile. What belongs to no
conversation stands where it happened: in the section of the conversation that was open just then, else by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from mlsdk.local.index import Index, ModelUsage
from mlsdk.local.page.query import Reading
from mlsdk.local.records import Conversation, Received, Session, Values
from mlsdk.local.store import Store, instant_of
from mlsdk.local.views import CONVERSATION_EVENTS, UserView, user_view

PAGE_SIZE: Final = 100
"""Events on one page of a session."""

TEXT_SHOWN: Final = 20_000
"""Characters of one text that are shown. A page must stay a page; the JSON has the rest."""

TURN: Final = "turn"
FUNCTION: Final = "function"
USAGE: Final = "usage"
CUSTOM: Final = "custom"
MARK: Final = "mark"

_TURN_FIELDS: Final = frozenset(
    {"user", "assistant", "assistant_id", "model", "prompt_tokens", "completion_tokens", "cost"}
)
_FUNCTION_FIELDS: Final = frozenset({"name", "args", "result", "runtime"})
_KINDS: Final = {"Conversation Turn": TURN, "Conversation Function": FUNCTION, "Conversation Usage": USAGE}
_MARKS: Final = {
    "start_session": "Session started",
    "end_session": "Session ended",
    "Conversation Started": "Conversation started",
    "Conversation Ended": "Conversation ended",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text as far as it is shown. ``more``: characters that are left out."""

    shown: str
    more: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What was reported of usage; what was not is None."""

    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One event. What it has depends on ``kind``.

    ``title``: a function's or an app's event's name, or what happened. ``said`` and ``answer``: of a turn; arguments
    and result of a function. ``runtime``: milliseconds. ``values``: all else that came with it. ``error``: what went
    wrong.
    """

    number: int
    kind: str
    at: str
    title: str = ""
    said: Text | None = None
    answer: Text | None = None
    assistant_id: str | None = None
    runtime: int | None = None
    spent: Spent = field(default_factory=Spent)
    values: Values = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Events that are read together: of one conversation, or of none (``conversation_id`` is None).

    ``number``: of the conversation, from 1. ``is_continued``: its beginning is on an earlier page.
    """

    items: tuple[Item, ...]
    conversation_id: str | None = None
    number: int = 0
    is_open: bool = False
    is_continued: bool = False
    turns: int = 0
    functions: int = 0
    spent: Spent = field(default_factory=Spent)
    properties: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A session and the sections on one page of it; the sums are over all pages."""

    session_id: str
    project: str
    started_at: str
    ended_at: str | None
    seconds: float
    user: UserView | None
    attributes: Values
    sections: tuple[Section, ...]
    page: int
    pages: int
    events: int
    conversations: int
    turns: int
    functions: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    errors: int
    models: tuple[tuple[str, ModelUsage], ...]

    @property
    def is_open(self) -> bool:
        """Whether no end has arrived (or an event arrived after it)."""
        return self.ended_at is None


def session_page(store: Store, reading: Reading) -> SessionPage:
    """What to show of a session.

    Args:
        store: not to change meanwhile.
        reading: what is asked for; a page beyond the last one is the last one.

    Raises:
        LookupError: there is no such session.
    """
    session = store.session(reading.session_id, reading.project)
    entry = store.index.find(session.app_id, session.session_id)
    conversations = session.conversations.values()
    placed = _in_reading_order(session)
    pages = max(1, -(-len(placed) // PAGE_SIZE))
    page = _page(placed, reading, pages)
    first = (page - 1) * PAGE_SIZE
    return SessionPage(
        session_id=session.session_id,
        project=session.app_id,
        started_at=session.started_at,
        ended_at=session.ended_at,
        seconds=_seconds(session),
        user=user_view(session.user) if session.user is not None else None,
        attributes=dict(session.attributes),
        sections=tuple(_sections(session, placed, first, store.index)),
        page=page,
        pages=pages,
        events=len(session.received),
        conversations=len(conversations),
        turns=sum(each.turns for each in conversations),
        functions=sum(each.functions for each in conversations),
        prompt_tokens=sum(each.prompt_tokens for each in conversations),
        completion_tokens=sum(each.completion_tokens for each in conversations),
        cost=sum(each.cost for each in conversations),
        errors=entry.errors if entry is not None else 0,
        models=tuple(_models(session)),
    )


# --- the order in which a session is read ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Placed:
    received: Received
    group: int
    conversation: Conversation | None


def _in_reading_order(session: Session) -> list[_Placed]:
    """The events, group by group; a group is a conversation, or a run of events that belong to none."""
    groups: list[list[_Placed]] = []
    of_conversation: dict[str, int] = {}
    now_open: list[str] = []
    is_apart = False
    for received in session.received:
        event = received.event
        conversation_id = _belongs_to(session, event)
        if conversation_id is not None:
            if conversation_id not in of_conversation:
                of_conversation[conversation_id] = len(groups)
                groups.append([])
            group = of_conversation[conversation_id]
            _note_open(now_open, conversation_id, event)
            is_apart = False
        elif now_open and event["type"] not in ("start_session", "end_session"):
            group = of_conversation[now_open[-1]]
        else:
            if not is_apart:
                groups.append([])
            group, is_apart = len(groups) - 1, True
            now_open.clear()
        conversation = session.conversations.get(conversation_id) if conversation_id is not None else None
        groups[group].append(_Placed(received, group, conversation))
    return [placed for group_of_events in groups for placed in group_of_events]


def _belongs_to(session: Session, event: Values) -> str | None:
    """The conversation of an event, if the store has one of that id and the event is one that belongs to one."""
    conversation_id = event.get("conversation_id") if event["type"] == "track" else None
    return conversation_id if conversation_id in session.conversations else None


def _note_open(now_open: list[str], conversation_id: str, event: Values) -> None:
    if conversation_id in now_open:
        now_open.remove(conversation_id)
    if event["event"] != "Conversation Ended":
        now_open.append(conversation_id)


def _page(placed: Sequence[_Placed], reading: Reading, pages: int) -> int:
    if reading.event:
        for position, each in enumerate(placed):
            if each.received.number == reading.event:
                return position // PAGE_SIZE + 1
    return min(reading.page, pages)


def _sections(session: Session, placed: Sequence[_Placed], first: int, index: Index) -> Iterable[Section]:
    numbers = {name: number for number, name in enumerate(session.conversations, 1)}
    position = first
    end = min(first + PAGE_SIZE, len(placed))
    while position < end:
        group = placed[position].group
        start = position
        while position < end and placed[position].group == group:
            position += 1
        items = tuple(_item(each.received, index) for each in placed[start:position])
        conversation = next((each.conversation for each in placed[start:position] if each.conversation), None)
        is_continued = start > 0 and placed[start - 1].group == group
        if conversation is None:
            yield Section(items, is_continued=is_continued)
        else:
            yield _section(conversation, items, numbers[conversation.conversation_id], is_continued)


def _section(conversation: Conversation, items: tuple[Item, ...], number: int, is_continued: bool) -> Section:
    return Section(
        items,
        conversation_id=conversation.conversation_id,
        number=number,
        is_open=conversation.ended_at is None,
        is_continued=is_continued,
        turns=conversation.turns,
        functions=conversation.functions,
        spent=Spent(
            None,
            conversation.prompt_tokens or None,
            conversation.completion_tokens or None,
            conversation.cost or None,
        ),
        properties=dict(conversation.properties),
    )


# --- one event -------------------------------------------------------------------------------------------------------


def _item(received: Received, index: Index) -> Item:
    event = received.event
    at = str(event.get("timestamp", received.at))
    if event["type"] != "track":
        return _person_or_session(received.number, at, event, index.errors.get(received.number))
    kind = _KINDS.get(event["event"], MARK if event["event"] in CONVERSATION_EVENTS else CUSTOM)
    properties: Values = event.get("properties") or {}
    if kind == TURN:
        return Item(
            received.number,
            kind,
            at,
            said=_cut(properties["user"]),
            answer=_cut(properties["assistant"]),
            assistant_id=properties.get("assistant_id"),
            spent=_spent(properties),
            values=_without(properties, _TURN_FIELDS),
        )
    if kind == FUNCTION:
        return Item(
            received.number,
            kind,
            at,
            title=properties["name"],
            said=_json(properties.get("args")),
            answer=_json(properties.get("result")),
            runtime=properties.get("runtime"),
            values=_without(properties, _FUNCTION_FIELDS),
        )
    if kind == USAGE:
        return Item(received.number, kind, at, spent=_spent(properties), values=_without(properties, _TURN_FIELDS))
    title = _MARKS[event["event"]] if kind == MARK else event["event"]
    error = index.errors.get(received.number)
    return Item(received.number, kind, at, title=title, values=dict(properties), error=error)


def _person_or_session(number: int, at: str, event: Values, error: str | None) -> Item:
    if event["type"] == "identify":
        name = event.get("id") or event.get("device_id")
        return Item(number, MARK, at, title=f"User identified as {name}", values=dict(event.get("traits") or {}))
    if event["type"] == "alias":
        title = f"User {event['previous_id']} is called {event['id']} now"
        return Item(number, MARK, at, title=title if error is None else "User not renamed", error=error)
    return Item(number, MARK, at, title=_MARKS[event["type"]], values=dict(event.get("attributes") or {}))


def _spent(properties: Values) -> Spent:
    return Spent(
        properties.get("model"),
        properties.get("prompt_tokens"),
        properties.get("completion_tokens"),
        properties.get("cost"),
    )


def _without(values: Values, known: frozenset[str]) -> Values:
    return {name: value for name, value in values.items() if name not in known}


def _cut(text: str) -> Text:
    return Text(text[:TEXT_SHOWN], max(0, len(text) - TEXT_SHOWN))


def _json(text: str | None) -> Text | None:
    """Arguments or a result, laid out if it is JSON with something to lay out."""
    if text is None:
        return None
    if len(text) <= TEXT_SHOWN and text.lstrip()[:1] in ("{", "["):
        try:
            laid_out = orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return _cut(text)
        # Only if nothing but white space is different then: large numbers and doubled keys would not come through.
        if "".join(laid_out.split()) == "".join(text.split()):
            return _cut(laid_out)
    return _cut(text)


# --- sums ------------------------------------------------------------------------------------------------------------


def _models(session: Session) -> list[tuple[str, ModelUsage]]:
    used: dict[str, ModelUsage] = {}
    for received in session.received:
        event = received.event
        if event["type"] == "track" and event["event"] in ("Conversation Turn", "Conversation Usage"):
            properties = event["properties"]
            if "model" in properties:
                used.setdefault(properties["model"], ModelUsage()).add(properties)
    return sorted(used.items(), key=lambda each: (-each[1].tokens, each[0]))


def _seconds(session: Session) -> float:
    """From the session's start to its last event, by the app's own clock."""
    last = session.received[-1]
    ended = str(last.event.get("timestamp", last.at)) if session.ended_at is None else session.ended_at
    return max(0, instant_of(ended) - instant_of(session.started_at)) / 1_000_000
