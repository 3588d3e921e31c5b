"""The public SDK against the local Mindlytics: sessions, turns, users, live events. Nobody here wrote that SDK.

Written for 1.0.5; where 1.0.3 differs (it starts sessions and conversations by itself) the test says so.
"""

from __future__ import annotations

import asyncio
from importlib import metadata
from typing import Any, Final

import pytest

from mlsdk import Client
from mlsdk.types import Cost, MLEvent, TokenBasedCost

IS_OLD: Final = metadata.version("mlsdk-python") == "1.0.3"

LIVE_NAMES: Final = [
    "Session Started",
    "Conversation Started",
    "Conversation Turn",
    "Conversation Usage",
    "Conversation Function",
    "Order Placed",
    "Conversation Summary",
    "Conversation Ended",
    "Session Ended",
]


class Heard:
    """Callbacks as that SDK wants them, and what they were given."""

    def __init__(self) -> None:
        self.events: list[MLEvent] = []
        self.errors: list[str] = []
        self._changed = asyncio.Condition()

    async def on_event(self, event: MLEvent) -> None:
        async with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    async def on_error(self, error: Exception) -> None:
        async with self._changed:
            self.errors.append(str(error))
            self._changed.notify_all()

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]

    async def wait_for(self, *, events: int = 0, errors: int = 0) -> None:
        async with self._changed:
            await asyncio.wait_for(
                self._changed.wait_for(lambda: len(self.events) >= events and len(self.errors) >= errors), 60
            )


async def open_session(client: Client, *, session_id: str, device_id: str, **callbacks: Any) -> Any:
    if not IS_OLD:
        return client.create_session(
            session_id=session_id, conversation_id=f"{session_id}-c", device_id=device_id, **callbacks
        )
    session = client.create_session(device_id=device_id, **callbacks)
    await session.start_session(session_id=session_id, attributes={"plan": "free"})
    await session.start_conversation(conversation_id=f"{session_id}-c")
    return session


async def close_session(session: Any) -> None:
    if not IS_OLD:  # 1.0.3 ends its conversations, and waits, by itself
        await session.end_conversation()
    await session.end_session(attributes={"rating": 5})
    if not IS_OLD:
        await session.flush()


async def track_everything(session: Any) -> None:
    await session.track_conversation_turn(
        timestamp="2025-05-01T10:00:00.123456+00:00",
        user="Where is my order?",
        assistant="It arrives tomorrow. 📦",
        assistant_id="support",
        usage=TokenBasedCost(model="gpt-4o", prompt_tokens=12, completion_tokens=5),
        properties={"language": "en"},
    )
    await session.track_conversation_usage(usage=Cost(cost=0.25))
    await session.track_function_call(name="find_order", args='{"id": 7}', result="found", runtime=31)
    await session.track_event(event="Order Placed", properties={"items": 2, "gift": True, "total": 9.5})


def test_a_session_arrives_whole(service: Any) -> None:
    async def run() -> Any:
        session = await open_session(Client(**service.client_arguments), session_id="whole", device_id="phone")
        await track_everything(session)
        await close_session(session)
        return session

    session = asyncio.run(run())

    assert session.get_errors() == []
    held = service.session("whole")
    assert held["app_id"] == "upstream_project"
    assert held["ended_at"] is not None
    assert held["attributes"] == ({"plan": "free", "rating": 5} if IS_OLD else {"rating": 5})
    assert held["user"]["device_ids"] == ["phone"]
    (conversation,) = held["conversations"]
    assert conversation["conversation_id"] == "whole-c"
    assert conversation["ended_at"] is not None
    assert conversation["turns"] == [
        {
            "conversation_id": "whole-c",
            "timestamp": "2025-05-01T10:00:00.123456+00:00",
            "user": "Where is my order?",
            "assistant": "It arrives tomorrow. 📦",
            "assistant_id": "support",
            "model": "gpt-4o",
            "prompt_tokens": 12,
            "completion_tokens": 5,
            "cost": None,
            "properties": {"language": "en"},
        }
    ]
    assert [call["name"] for call in conversation["functions"]] == ["find_order"]
    assert [(call["args"], call["result"], call["runtime"]) for call in conversation["functions"]] == [
        ('{"id": 7}', "found", 31)
    ]
    assert [usage["cost"] for usage in conversation["usages"]] == [0.25]
    assert (conversation["prompt_tokens"], conversation["completion_tokens"], conversation["cost"]) == (12, 5, 0.25)
    assert [(event["event"], event["properties"]) for event in held["events"]] == [
        ("Order Placed", {"items": 2, "gift": True, "total": 9.5})
    ]
    assert service.get("/local/stats")["unknown_fields"] == {}


def test_live_events_of_the_session_come_back(service: Any) -> None:
    heard = Heard()

    async def run() -> None:
        client = Client(**service.client_arguments)
        session = await open_session(
            client, session_id="live", device_id="phone", on_event=heard.on_event, on_error=heard.on_error
        )
        other = await open_session(client, session_id="other", device_id="tablet")
        await track_everything(other)
        await close_session(other)
        await track_everything(session)
        await close_session(session)

    asyncio.run(run())

    assert heard.errors == []
    assert heard.names == LIVE_NAMES
    assert {event.session_id for event in heard.events} == {"live"}
    turn = heard.events[2]
    assert turn.properties is not None
    assert turn.properties["prompt_tokens"] == 12
    assert turn.properties["assistant"] == "It arrives tomorrow. 📦"
    assert turn.user_id == "phone"
    assert turn.timestamp == "2025-05-01T10:00:00.123456+00:00"
    assert len({event.event_id for event in heard.events}) == len(LIVE_NAMES)
    summary = heard.events[6].properties
    assert summary is not None
    assert (summary["turns"], summary["functions"], summary["prompt_tokens"], summary["cost"]) == (1, 1, 12, 0.25)


def test_a_client_hears_every_session(service: Any) -> None:
    heard = Heard()

    async def run() -> None:
        client = Client(**service.client_arguments)
        await client.start_listening(on_event=heard.on_event, on_error=heard.on_error)
        for session_id in ("first", "second"):
            session = await open_session(client, session_id=session_id, device_id="phone")
            await track_everything(session)
            await close_session(session)
        await heard.wait_for(events=2 * len(LIVE_NAMES))
        await client.stop_listening()

    asyncio.run(run())

    assert heard.errors == []
    assert heard.names == 2 * LIVE_NAMES
    assert [event.session_id for event in heard.events] == ["first"] * len(LIVE_NAMES) + ["second"] * len(LIVE_NAMES)


def test_users_are_identified_and_renamed(service: Any) -> None:
    async def run() -> Any:
        client = Client(**service.client_arguments)
        session = await open_session(client, session_id="who", device_id="phone")
        await session.user_identify(id="jj@mail.example", traits={"name": "JJ", "age": 41})
        await session.user_alias(id="jjacob", previous_id="jj@mail.example")
        await session.track_event(event="Renamed", properties={})
        await close_session(session)
        return session

    session = asyncio.run(run())

    assert session.get_errors() == []
    user = service.session("who")["user"]
    assert (user["id"], user["aliases"], user["device_ids"]) == ("jjacob", ["jj@mail.example"], ["phone"])
    assert user["traits"] == {"name": "JJ", "age": 41}


def test_users_are_identified_and_renamed_without_a_session(service: Any) -> None:
    async def run() -> None:
        client = Client(**service.client_arguments)
        await client.user_identify(id="kim", traits={"vip": True})
        await client.user_alias(id="kim@mail.example", previous_id="kim")
        with pytest.raises(Exception, match="No user found for previous_id: nobody"):
            await client.user_alias(id="somebody", previous_id="nobody")

    asyncio.run(run())

    record = service.post("/bc/v1/user/identify", {"id": "kim"})
    assert (record["id"], record["aliases"], record["traits"]) == ("kim@mail.example", ["kim"], {"vip": True})


def test_an_alias_of_nobody_is_told_over_the_websocket(service: Any) -> None:
    heard = Heard()

    async def run() -> None:
        session = await open_session(
            Client(**service.client_arguments),
            session_id="alias",
            device_id="phone",
            on_event=heard.on_event,
            on_error=heard.on_error,
        )
        await session.user_alias(id="somebody", previous_id="nobody")
        await heard.wait_for(errors=1)
        await close_session(session)

    asyncio.run(run())

    assert heard.errors == ["No user found for previous_id: nobody"]


def test_a_refused_key_is_reported_with_the_services_text(service: Any) -> None:
    async def run() -> Any:
        client = Client(**{**service.client_arguments, "api_key": "bad_key"})
        session = await open_session(client, session_id="refused", device_id="phone")
        await session.track_event(event="Lost", properties={})
        await close_session(session)
        return session

    errors = asyncio.run(run()).get_errors()

    assert {(error.status, error.message) for error in errors} == {
        (403, "Error: 403 - Unauthorized: No organization found for given apikey")
    }
    assert service.get("/local/stats")["events"] == 0
