"""What a type checker makes of a user's program. Never run: `tox -e types` checks it.

A line with an ignore is one that must be refused: strict mode complains about an ignore that nothing needs.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import mlsdk
import mlsdk.sync
from mlsdk import (
    APIResponse,
    Client,
    ConfigurationError,
    Cost,
    DeliveryError,
    HTTPClient,
    InvalidEventError,
    LiveError,
    MindlyticsError,
    MLEvent,
    Session,
    SessionClosedError,
    TokenBasedCost,
)

NOW = datetime.datetime.now(datetime.timezone.utc)


def on_event(event: MLEvent) -> None:
    assert_type(event.session_id, str)
    assert_type(event.conversation_id, str | None)


async def on_event_async(event: MLEvent) -> None: ...


def on_error(error: MindlyticsError) -> None:
    assert_type(error.message, str)


async def on_error_async(error: Exception) -> None: ...


def mask(event: dict[str, Any]) -> dict[str, Any] | None:
    return event if event["type"] == "track" else None


async def record() -> None:
    async with Client(
        api_key="key",
        project_id="project",
        before_send=mask,
        flush_timeout=5,
        spool_dir=Path("spool"),
        spool_mode="spill",
    ) as client:
        session = client.create_session(device_id="device", on_event=on_event, on_error=on_error_async)
        assert_type(session, Session)
        client.create_session(session_id="s", conversation_id="c", on_event=on_event_async, on_error=on_error)
        async with session as entered:
            assert_type(entered, Session)
            await entered.user_identify(id="user", traits={"age": 7, "score": 0.5, "plan": "free", "new": True})
            await entered.track_event(event="Clicked", properties={"button": "save"}, timestamp=NOW)
            await entered.track_conversation_turn(
                user="Hello",
                assistant="Hi",
                timestamp="2026-01-01T00:00:00Z",
                usage=TokenBasedCost(model="m", prompt_tokens=1, completion_tokens=2),
            )
            await entered.track_conversation_usage(cost=Cost(cost=0.01))
            await entered.track_conversation_usage(cost={"cost": 0.01})
            assert_type(entered.session_id, str | None)
        assert_type(session.get_errors(), list[APIResponse])
        assert_type(client.stats()["delivered"], int)
        assert_type(client.stats()["dropped"], dict[str, int])
        await client.flush(timeout=1.5)
        # Misuse that a type checker finds before the service does.
        await session.track_conversation_turn(user="Hello")  # type: ignore[call-arg]
        await session.track_conversation_turn("Hello", "Hi")  # type: ignore[call-arg]
        await session.track_event(event="Clicked", properties={"nested": {"a": 1}})  # type: ignore[dict-item]
        await session.track_event(event="Clicked", timestamp=1.5)  # type: ignore[arg-type]
        client.create_session(on_event=on_error)  # type: ignore[arg-type]


async def control() -> None:
    """Everything by hand, as an import of history does it."""
    client = Client("key", "project", "http://localhost:3000", debug=True)
    await client.user_identify(id="user", device_id="device", traits={"age": 7})
    await client.user_alias(id="user", previous_id="before")
    await client.start_listening(on_event=on_event, on_error=on_error_async)
    await client.stop_listening()
    session = client.create_session(session_id="s", id="user", attributes={"store": "135"}, join=True)
    assert_type(await session.start_session(session_id="s", timestamp=NOW, attributes={"new": True}), str)
    assert_type(await session.start_conversation(conversation_id="c", properties={"timezone": "UTC"}), str)
    assert_type(session.conversation_id, str | None)
    await session.user_identify(traits={"plan": "free"}, timestamp=NOW)
    await session.user_alias(id="user", previous_id="before", timestamp="2026-01-01T00:00:00Z")
    await session.track_conversation_turn(
        user="Hello",
        assistant="Hi",
        assistant_id="router",
        conversation_id="c",
        cost={"model": "m", "prompt_tokens": 1, "completion_tokens": 2},
        properties={"mood": "fine"},
    )
    await session.track_function_call(name="f", args="{}", result="17", runtime=4093, properties={"tries": 2})
    await session.end_conversation(conversation_id="c", properties={"device": "browser"})
    await session.flush(timeout=1)
    await session.flush_and_continue()
    await session.end_session(timestamp=NOW, attributes={"resolved": True})
    assert_type(session.has_errors(), bool)
    assert_type(session.errors, int)
    for error in session.get_errors():
        assert_type((error.errored, error.status, error.message), tuple[bool, int, str])
    session.id = "another"
    await client.close(timeout=1)
    # Misuse.
    session.session_id = "t"  # type: ignore[misc]
    await session.start_session("s")  # type: ignore[call-arg]
    await session.track_function_call(name="f", runtime="4093")  # type: ignore[arg-type]
    await client.user_alias(id="user")  # type: ignore[call-arg]
    Client(before_send=on_error_async)  # type: ignore[arg-type]


def record_without_await() -> None:
    with mlsdk.sync.Client() as client, client.create_session(device_id="device") as session:
        assert_type(client, mlsdk.sync.Client)
        assert_type(session, mlsdk.sync.Session)
        session.track_conversation_turn(user="Hello", assistant="Hi")
        session.track_conversation_turn(user="Hello")  # type: ignore[call-arg]
        assert_type(session.start_session(id="user"), str)
        assert_type(session.start_conversation(), str)
        session.track_event(event="Clicked", properties={"button": "save"}, timestamp=NOW)
        session.track_conversation_usage(cost=TokenBasedCost(model="m", prompt_tokens=1, completion_tokens=2))
        session.end_conversation()
        session.end_session(attributes={"resolved": True})
        assert_type(session.get_errors(), list[APIResponse])
        client.flush(timeout=1.5)


async def request() -> None:
    answer = await HTTPClient(api_key="key", project_id="project").send_request(
        url="/path", method="GET", data={"a": 1}
    )
    assert_type(answer["status"], Any)


def errors(error: MindlyticsError) -> None:
    if isinstance(error, ConfigurationError | InvalidEventError):
        as_value_error: ValueError = error
        del as_value_error
    elif isinstance(error, SessionClosedError):
        as_runtime_error: RuntimeError = error
        del as_runtime_error
    elif isinstance(error, DeliveryError):
        assert_type(error.retryable, bool)
        assert_type(error.status, int)
    elif isinstance(error, LiveError):
        assert_type(error.status, int)


assert_type(mlsdk.__version__, str)
