"""The snapshots that tests and JSON pages show."""

from __future__ import annotations

from typing import Any

import pytest

from mlsdk.local import views
from mlsdk.local.store import Store

AT = "2025-06-01T12:00:00Z"


def store_of(*events: dict[str, Any]) -> Store:
    store = Store(instance="test")
    for event in events:
        store.receive(event, app_id="app", at=AT, request=4, idempotency_key="key")
    return store


def track(event: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": event,
        "session_id": "s",
        "conversation_id": "c",
        "user_id": "jj",
        "properties": properties,
    }


def test_the_transcript_parts_known_from_own_properties() -> None:
    events = [
        track("Conversation Turn", user="u", assistant="a", model="m", prompt_tokens=1, completion_tokens=2, mood="ok"),
        track("Conversation Function", name="f", args="{}", result="r", runtime=5, retries=0),
        track("Conversation Usage", cost=0.5),
        track("Order Placed", total=7),
    ]

    view = views.session_view(store_of(*events).session("s"))

    assert view.turns == (views.TurnView("c", AT, "u", "a", None, "m", 1, 2, None, {"mood": "ok"}),)
    assert view.functions == (views.FunctionView("c", AT, "f", "{}", "r", 5, {"retries": 0}),)
    assert view.usages == (views.UsageView("c", AT, cost=0.5),)
    assert view.events == (views.CustomEventView("c", AT, "Order Placed", {"total": 7}),)
    conversation = view.conversation("c")
    assert (conversation.turns, conversation.functions) == (view.turns, view.functions)
    assert (conversation.usages, conversation.events) == (view.usages, view.events)
    assert (conversation.prompt_tokens, conversation.completion_tokens, conversation.cost) == (1, 2, 0.5)
    assert list(view.received) == events


def test_a_snapshot_does_not_change() -> None:
    store = store_of(track("Conversation Turn", user="u", assistant="a"))
    before = views.session_view(store.session("s"))

    store.receive({"type": "end_session", "session_id": "s", "attributes": {"a": 1}}, app_id="app", at=AT)

    assert before.is_open
    assert before.conversation("c").is_open
    assert before.attributes == {}
    assert len(before.received) == 1


def test_an_unknown_conversation_is_an_error() -> None:
    view = views.session_view(store_of(track("Own")).session("s"))

    with pytest.raises(LookupError, match="no conversation 'c' in session 's'"):
        view.conversation("c")


def test_lines_of_the_lists() -> None:
    event = track("Conversation Turn", user="u", assistant="a")
    store = store_of(event)

    assert views.session_summary(store.session("s")) == {
        "session_id": "s",
        "app_id": "app",
        "user": "jj",
        "started_at": AT,
        "ended_at": None,
        "conversations": 1,
        "turns": 1,
        "functions": 0,
        "events": 1,
    }
    assert views.received_record(store.received[0]) == {
        "number": 1,
        "received_at": AT,
        "app_id": "app",
        "request": 4,
        "idempotency_key": "key",
        "event": event,
    }


def test_a_session_of_nobody() -> None:
    view = views.session_view(store_of({"type": "track", "event": "Own", "session_id": "s"}).session("s"))

    assert view.user is None
