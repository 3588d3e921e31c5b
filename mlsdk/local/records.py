"""What the local service keeps: plain mutable records, no behaviour.

Only the store writes them. They refer to each other (a turn is the received event itself) so that a whole data set
fits in memory: nothing is held twice.
"""

from dataclasses import dataclass, field
from typing import Any

Values = dict[str, Any]
"""Attributes, properties or traits: name -> text, number or boolean."""


@dataclass(slots=True, eq=False)
class Received:
    """One wire event as it came in.

    ``number`` counts from 1 in order of arrival over the whole service; ``request`` is the number of the HTTP request
    that brought it; ``idempotency_key`` is that request's header, recorded and not obeyed.
    """

    number: int
    at: str
    app_id: str
    event: Values
    request: int
    idempotency_key: str | None


@dataclass(slots=True, eq=False)
class Generated:
    """One live event that the service made, in parts; the store puts the message together when somebody asks.

    ``instant`` is the timestamp in microseconds since 1970, for ranges.
    """

    number: int
    origin: Received
    name: str
    timestamp: str
    instant: int
    user_id: str | None
    conversation_id: str | None
    properties: Values | None
    user_traits: Values | None


@dataclass(slots=True, eq=False)
class User:
    """A person or a device that nobody has named yet (``id`` is None).

    ``traits`` is replaced, never changed in place: live events keep the traits of their moment.
    """

    user_id: str
    app_id: str
    created_at: str
    id: str | None = None
    aliases: list[str] = field(default_factory=list)
    device_ids: list[str] = field(default_factory=list)
    traits: Values = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Conversation:
    """A conversation: its received events in order of arrival, and running totals."""

    conversation_id: str
    started_at: str
    ended_at: str | None = None
    properties: Values = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    turns: int = 0
    functions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


@dataclass(slots=True, eq=False)
class Session:
    """A session: who, its conversations by id in order of appearance, and every received event of it."""

    session_id: str
    app_id: str
    started_at: str
    ended_at: str | None = None
    user: User | None = None
    attributes: Values = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
