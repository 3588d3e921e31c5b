"""The overview as plain values: which sessions a page of the list shows, the sums, and what the charts draw. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mlsdk.local.index import Entry, Index, Totals
from mlsdk.local.page.query import Listing
from mlsdk.local.records import Session
from mlsdk.local.search import find_sessions
from mlsdk.local.store import Store
from mlsdk.local.users import known_as
from mlsdk.models import parse_timestamp

PAGE_SIZE: Final = 50
"""Sessions on one page of the list."""

MINUTES: Final = 60
"""Minutes that the chart of turns shows."""

MODELS: Final = 6
"""Models that have a bar of their own; the rest share one."""

OTHER_MODELS: Final = "other models"
NO_MODEL: Final = "no model named"

_LOOKED_AT: Final = 50
"""Events at the beginning of a session among which its first words are looked for."""

_OPENING: Final = 160


@dataclass(frozen=True, slots=True)
class Row:
    """A session in the list. ``opening``: the first that its user said, or an empty text."""

    session_id: str
    project: str
    user: str | None
    opening: str
    started_at: str
    is_open: bool
    conversations: int
    turns: int
    functions: int
    tokens: int
    cost: float
    errors: int


@dataclass(frozen=True, slots=True)
class Bar:
    """Tokens of one model."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    cost: float

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page shows. ``found``: how many sessions fit; ``minutes``: turns by minute of arrival.

    ``cost``: all that was reported as cost, in the units in which it was.
    """

    listing: Listing
    found: int
    pages: int
    rows: tuple[Row, ...]
    projects: tuple[str, ...]
    totals: Totals
    cost: float
    refused: int
    minutes: tuple[int, ...]
    bars: tuple[Bar, ...]


def overview(store: Store, listing: Listing, *, now: str, refused: int = 0) -> Overview:
    """What to show.

    Args:
        store: not to change meanwhile.
        listing: what is asked for; a page beyond the last one is the last one.
        now: ISO 8601 UTC: where the chart ends.
        refused: requests that were not answered as asked.
    """
    found = find_sessions(store, text=listing.text, user=listing.user, session=listing.session, project=listing.project)
    pages = max(1, -(-len(found) // PAGE_SIZE))
    page = min(listing.page, pages)
    shown = Listing(listing.text, listing.user, listing.session, listing.project, page)
    return Overview(
        listing=shown,
        found=len(found),
        pages=pages,
        rows=tuple(_row(entry) for entry in _newest(found, page)),
        projects=tuple(sorted(store.index.projects)),
        totals=store.index.totals,
        cost=sum(usage.cost for usage in store.index.models.values()),
        refused=refused,
        minutes=turns_by_minute(store.index, now),
        bars=bars(store.index),
    )


def turns_by_minute(index: Index, now: str) -> tuple[int, ...]:
    """The turns that arrived in each of the last minutes, the present one last."""
    last = parse_timestamp(now)
    return tuple(index.turns_by_minute.get(_minute(last, MINUTES - 1 - number), 0) for number in range(MINUTES))


def bars(index: Index) -> tuple[Bar, ...]:
    """Tokens by model, most first. What only says a cost has no tokens to show and is left out."""
    used = [
        Bar(model or NO_MODEL, usage.prompt_tokens, usage.completion_tokens, usage.cost)
        for model, usage in index.models.items()
        if usage.tokens > 0
    ]
    used.sort(key=lambda bar: (-bar.tokens, bar.model))
    rest = used[MODELS:]
    if len(rest) < 2:
        return tuple(used)
    return (
        *used[:MODELS],
        Bar(
            OTHER_MODELS,
            sum(bar.prompt_tokens for bar in rest),
            sum(bar.completion_tokens for bar in rest),
            sum(bar.cost for bar in rest),
        ),
    )


def opening_of(session: Session) -> str:
    """The first words of the user, if they were said soon, on one line."""
    for received in session.received[:_LOOKED_AT]:
        event = received.event
        if event["type"] == "track" and event["event"] == "Conversation Turn":
            said = " ".join(event["properties"]["user"][: 4 * _OPENING].split())
            return said if len(said) <= _OPENING else f"{said[:_OPENING]}…"
    return ""


def _newest(found: Sequence[Entry], page: int) -> Sequence[Entry]:
    end = len(found) - (page - 1) * PAGE_SIZE
    return found[max(0, end - PAGE_SIZE) : end][::-1]


def _row(entry: Entry) -> Row:
    session = entry.session
    conversations = session.conversations.values()
    return Row(
        session_id=session.session_id,
        project=session.app_id,
        user=known_as(session.user) if session.user is not None else None,
        opening=opening_of(session),
        started_at=session.started_at,
        is_open=session.ended_at is None,
        conversations=len(conversations),
        turns=sum(each.turns for each in conversations),
        functions=sum(each.functions for each in conversations),
        tokens=sum(each.prompt_tokens + each.completion_tokens for each in conversations),
        cost=sum(each.cost for each in conversations),
        errors=entry.errors,
    )


def _minute(instant: datetime, before: int) -> str:
    return (instant - timedelta(minutes=before)).strftime("%Y-%m-%dT%H:%M")
