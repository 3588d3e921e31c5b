"""`before_send`: what it may do to an event, and that nothing gets out which it should have masked."""

from __future__ import annotations

import asyncio
import threading
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
from support.sdk import Told, client_of, names, normal, sync_client_of

from mlsdk import InvalidEventError, events
from mlsdk.delivery.masking import SpoiltEventError, mask, why_not_sent
from mlsdk.local import LocalMindlytics

WHO = events.common(session_id="s", user_id="jj", device_id="d")
TURN = events.turn(WHO, 0, conversation_id="c", user="my number is 123", assistant="Hi", properties={"mood": "fine"})
START = events.start_session(WHO, 0, attributes={"a": 1})

Change = Callable[[dict[str, Any]], Any]


def changed(**fields: Any) -> Change:
    return lambda event: {**event, **fields}


def without(field: str) -> Change:
    return lambda event: {name: value for name, value in event.items() if name != field}


# -- one event --------------------------------------------------------------------------------------------------------


def test_an_event_may_be_masked_in_place_or_anew_and_the_original_stays() -> None:
    def in_place(event: dict[str, Any]) -> dict[str, Any]:
        event["properties"]["user"] = "***"
        return event

    before = {**TURN, "properties": {**TURN["properties"]}}  # type: ignore[dict-item]
    masked = mask(TURN, in_place)

    assert masked == {**TURN, "properties": {"user": "***", "assistant": "Hi", "mood": "fine"}}
    assert before == TURN
    assert mask(TURN, UserDict) == TURN


def test_an_event_may_be_dropped() -> None:
    assert mask(TURN, lambda event: None) is None


@pytest.mark.parametrize(
    ("event", "change", "expected"),
    [
        (TURN, changed(user_id="***"), {**TURN, "user_id": "***"}),
        (TURN, without("device_id"), without("device_id")(dict(TURN))),
        (
            TURN,
            changed(properties={"user": "", "assistant": ""}),
            {**TURN, "properties": {"user": "", "assistant": ""}},
        ),
        (START, changed(id="***"), {**START, "id": "***"}),
        (START, without("attributes"), without("attributes")(dict(START))),
        (START, changed(attributes={}), without("attributes")(dict(START))),
        (START, changed(attributes=None), without("attributes")(dict(START))),
        (events.custom(WHO, 0, event="Seen"), changed(event="***"), events.custom(WHO, 0, event="***")),
        (
            events.custom(WHO, 0, event="Seen"),
            changed(properties={"a": 1}),
            {**events.custom(WHO, 0, event="Seen"), "properties": {"a": 1}},
        ),
    ],
)
def test_what_may_be_changed(event: events.Event, change: Change, expected: dict[str, Any]) -> None:
    assert mask(event, change) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        *[(changed(**{field: "other"}), field) for field in ("type", "session_id", "conversation_id", "timestamp")],
        *[(without(field), field) for field in ("type", "session_id", "conversation_id", "timestamp", "event")],
        (changed(user_id=5), "user_id"),
        (changed(user_id=None), "user_id"),
        (changed(extra={"nested": True}), "extra"),
        (changed(properties={"a": {}}), "a: "),
        (changed(properties={1: "a"}), "properties"),
        (changed(properties=[1]), "properties"),
        (lambda event: {**event, 5: "x"}, "5"),
        (lambda event: "masked", "str"),
        (lambda event: True, "bool"),
        (lambda event: [event], "list"),
    ],
)
def test_what_may_not_be_changed_or_returned(change: Change, named: str) -> None:
    with pytest.raises(InvalidEventError, match=named):
        mask(TURN, change)


def test_what_is_wrong_with_a_hook_is_said_without_what_the_hook_says() -> None:
    with pytest.raises(SpoiltEventError) as spoilt:
        mask(TURN, changed(session_id="other"))
    assert why_not_sent(spoilt.value) == (
        "before_send returned what cannot be sent (before_send: must not change session_id)"
    )
    assert why_not_sent(InvalidEventError("user", "private text")) == "before_send failed with InvalidEventError"


def test_what_the_hook_raises_gets_out_to_be_counted() -> None:
    def broken(event: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("no such field")

    with pytest.raises(KeyError):
        mask(TURN, broken)


# -- at the door ------------------------------------------------------------------------------------------------------


def test_what_is_masked_never_reaches_the_service(service: LocalMindlytics) -> None:
    threads: set[threading.Thread] = set()

    def hook(event: dict[str, Any]) -> dict[str, Any] | None:
        threads.add(threading.current_thread())
        if event.get("event") == "Secret":
            return None
        if event.get("event") == "Conversation Turn":
            event["properties"]["user"] = "***"
        return event

    with sync_client_of(service, before_send=hook) as client:
        with client.create_session(device_id="d", on_error=(told := Told())) as session:
            session.track_event(event="Secret")
            session.track_conversation_turn(user="my number is 123", assistant="Hi")
        stats = client.stats()
        assert stats["dropped"] == {"before_send": 1}
        assert (stats["accepted"], stats["delivered"]) == (6, 5)
        assert told.errors == []

    assert threads == {threading.current_thread()}
    assert names(service.events()) == [
        *("start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"),
    ]
    assert service.events()[2]["properties"]["user"] == "***"
    assert not any("my number is" in str(event) for event in service.events())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: 1 / 0,
        lambda event: "masked",
        lambda event: {**event, "session_id": "other"},
        lambda event: {"type": event["type"], "session_id": event["session_id"], "timestamp": event["timestamp"]},
        lambda event: {**event, "properties": {"a": None}},
    ],
    ids=["raises", "no mapping", "changes a fixed field", "forgets what the event is", "returns what cannot be sent"],
)
def test_a_hook_that_fails_stops_the_event_and_nothing_else(service: LocalMindlytics, spoil: Change) -> None:
    def hook(event: dict[str, Any]) -> Any:
        return spoil(event) if event.get("event") == "Spoilt" else event

    async def main() -> None:
        client = client_of(service, before_send=hook)
        told = Told()
        async with client.create_session(device_id="d", on_error=told) as session:
            await session.track_event(event="Good")
            await session.track_event(event="Spoilt", properties={"text": "my number is 123"})
            await session.track_event(event="Good")
        assert [error.status for error in told.errors] == [-1]
        assert "before_send" in told.errors[0].message
        assert "123" not in told.errors[0].message
        assert client.stats()["dropped"] == {"before_send_failed": 1}

    asyncio.run(main())

    assert names(service.events()) == ["start_session", "Good", "Good", "end_session"]


def test_starts_and_ends_pass_the_hook_too(service: LocalMindlytics) -> None:
    def hook(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "device_id": "***"}

    async def main() -> None:
        async with client_of(service, before_send=hook).create_session(device_id="d") as session:
            await session.track_conversation_turn(user="u", assistant="a")

    asyncio.run(main())

    assert {event["device_id"] for event in normal(service.events())} == {"***"}
