"""What the tests of the SDK's surface share: clients of a local service, and events made comparable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import mlsdk.sync
from mlsdk import Client, Session, config
from mlsdk.clock import SystemClock
from mlsdk.errors import DeliveryError
from mlsdk.events import format_timestamp
from mlsdk.local import LocalMindlytics
from mlsdk.memory import FakeClock, MemoryDelivery
from mlsdk.session import Surroundings
from mlsdk.waiting import Suspending

PATIENCE: Final = 60.0
"""Seconds after which a test gives up waiting."""

KEY: Final = "secret-api-key"
PROJECT: Final = "p1"

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RECENT: Final = timedelta(minutes=5)


def client_of(service: LocalMindlytics, **options: Any) -> Client:
    """A client of the local service."""
    return Client(**_arguments(service, options))


def sync_client_of(service: LocalMindlytics, **options: Any) -> mlsdk.sync.Client:
    """The same without `await`."""
    return mlsdk.sync.Client(**_arguments(service, options))


def _arguments(service: LocalMindlytics, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "api_key": KEY,
        "project_id": PROJECT,
        "server_endpoint": service.url,
        "wss_endpoint": service.ws_url,
        **options,
    }


def normal(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The events with generated ids as `id-1`, `id-2`, ... in order of appearance, and timestamps of now as `now`."""
    ids: dict[str, str] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(field) for name, field in value.items()}
        if isinstance(value, str) and _UUID.fullmatch(value):
            return ids.setdefault(value, f"id-{len(ids) + 1}")
        return value

    made = []
    for event in map(plain, events):
        is_recent = abs(moment_of(event) - datetime.now(timezone.utc)) < _RECENT
        made.append({**event, "timestamp": "now"} if is_recent else event)
    return made


def moment_of(event: Mapping[str, Any]) -> datetime:
    """An event's timestamp."""
    return datetime.strptime(event["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def names(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """What kind of event each is: its own name, else its type."""
    return [event.get("event", event["type"]) for event in events]


class MemoryDoor(MemoryDelivery):
    """A door (see `mlsdk.session.Door`) that keeps what is offered; everything is settled at once."""


class HandClock(FakeClock):
    """A clock that stands still until it is moved; made with microseconds since 1970."""

    def __init__(self, now: int = 1_750_000_000_000_000) -> None:
        super().__init__(format_timestamp(now))

    def pass_by(self, seconds: float) -> None:
        self.advance(seconds)


def session_at(door: MemoryDoor, *, clock: HandClock | None = None, **arguments: Any) -> Session:
    """A session whose events end in `door`."""
    settings = config.resolve(api_key=KEY, project_id=PROJECT, environ={})
    surroundings = Surroundings(config=settings, door=door, clock=clock or SystemClock(), wait=Suspending())
    return Session(surroundings, **arguments)


class Told:
    """An `on_error` that remembers what it was told."""

    def __init__(self) -> None:
        self.errors: list[DeliveryError] = []

    def __call__(self, error: Any) -> None:
        self.errors.append(error)


def stream_problems(events: Iterable[Mapping[str, Any]], *, unknown: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the events of one owned session, none of whose ends was given a time by the caller.

    Args:
        events: In order.
        unknown: Conversations that the caller named without opening them: their events may come at any time.
    """
    problems: list[str] = []
    is_open, conversations, latest = False, set[str](), ""
    for number, event in enumerate(events):
        kind, conversation = names([event])[0], event.get("conversation_id")
        if kind == "start_session":
            if is_open:
                problems.append(f"{number}: started twice")
            is_open, latest = True, ""
            continue
        if not is_open:
            problems.append(f"{number}: {kind} outside of a session")
        if kind in ("Conversation Ended", "end_session") and event["timestamp"] < latest:
            problems.append(f"{number}: {kind} at {event['timestamp']}, before {latest}")
        latest = max(latest, event["timestamp"])
        if kind == "end_session":
            if conversations:
                problems.append(f"{number}: {sorted(conversations)} not ended")
            is_open, conversations = False, set()
        elif kind == "Conversation Started":
            if conversation in conversations:
                problems.append(f"{number}: {conversation} started twice")
            conversations.add(str(conversation))
        elif conversation is not None:
            if conversation not in conversations | unknown:
                problems.append(f"{number}: {kind} in {conversation}, which is not open")
            if kind == "Conversation Ended":
                conversations.discard(conversation)
    if is_open:
        problems.append("not ended")
    return problems
