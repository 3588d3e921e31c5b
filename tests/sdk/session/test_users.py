"""Whose events they are: each carries the user and the device as known at its moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.sdk import client_of, normal

from mlsdk import InvalidEventError, Session
from mlsdk.local import LocalMindlytics

Script = Callable[[Session], Awaitable[object]]


def recorded(service: LocalMindlytics, script: Script, **arguments: Any) -> list[dict[str, Any]]:
    async def main() -> list[dict[str, Any]]:
        async with client_of(service) as client:
            session = client.create_session(**arguments)
            await script(session)
            await session.flush()
            return service.events()

    return asyncio.run(main())


def owners(events: list[dict[str, Any]]) -> list[tuple[str | None, str | None]]:
    return [(event.get("user_id"), event.get("device_id")) for event in events]


def test_identify_changes_whose_the_later_events_are(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_session()
        await session.user_identify(id="jj", traits={"plan": "free"})
        assert session.id == "jj"
        await session.track_event(event="Seen")
        await session.user_identify(id="kk")
        await session.end_session()

    events = normal(recorded(service, script, device_id="d"))

    assert owners(events) == [(None, "d"), (None, "d"), ("jj", "d"), ("jj", "d"), ("kk", "d")]
    assert events[1] == {
        "type": "identify",
        "id": "jj",
        "session_id": "id-1",
        "device_id": "d",
        "timestamp": "now",
        "traits": {"plan": "free"},
    }


def test_the_device_of_an_identify_is_that_events_only(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_session()
        await session.user_identify(id="jj", device_id="e")
        assert session.device_id == "d"
        await session.track_event(event="Seen")

    assert owners(recorded(service, script, device_id="d")) == [(None, "d"), (None, "e"), ("jj", "d")]


def test_traits_alone_are_of_the_device(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.user_identify(traits={"plan": "free"})
        assert session.id is None
        await session.user_identify(traits={})

    _, full, bare = normal(recorded(service, script, device_id="d"))

    assert bare == {"type": "identify", "session_id": "id-1", "device_id": "d", "timestamp": "now"}
    assert full == {**bare, "traits": {"plan": "free"}}


def test_traits_alone_are_of_a_user_who_is_known(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.user_identify(traits={"plan": "free"})

    _, event = normal(recorded(service, script, id="jj"))

    expected = {"type": "identify", "id": "jj", "session_id": "id-1", "user_id": "jj", "timestamp": "now"}
    assert event == {**expected, "traits": {"plan": "free"}}


def test_identify_of_nobody_is_refused(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(InvalidEventError, match="device_id"):
            await session.user_identify(traits={"plan": "free"})

    assert recorded(service, script, session_id="s") == []


def test_identify_starts_the_session_of_the_one_whom_it_names(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.user_identify(id="jj", timestamp="2025-04-03T07:35:10Z")
        await session.track_event(event="Seen")

    at = "2025-04-03T07:35:10.000000Z"
    assert normal(recorded(service, script)) == [
        {"type": "start_session", "session_id": "id-1", "user_id": "jj", "id": "jj", "timestamp": at},
        {"type": "identify", "session_id": "id-1", "id": "jj", "timestamp": at},
        {"type": "track", "event": "Seen", "session_id": "id-1", "user_id": "jj", "timestamp": "now"},
    ]


def test_identify_by_device_starts_a_session_of_nobody(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.user_identify(device_id="e")
        await session.track_event(event="Seen")

    assert owners(recorded(service, script)) == [(None, "e"), (None, "e"), (None, None)]


def test_alias_changes_whose_the_later_events_are(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_session()
        await session.user_alias(id="jacob", previous_id="jj")
        assert session.id == "jacob"
        await session.track_event(event="Seen")

    events = normal(recorded(service, script, id="jj", device_id="d"))

    assert owners(events) == [("jj", "d"), ("jj", "d"), ("jacob", "d")]
    assert events[1] == {
        "type": "alias",
        "id": "jacob",
        "previous_id": "jj",
        "session_id": "id-1",
        "user_id": "jj",
        "device_id": "d",
        "timestamp": "now",
    }


def test_alias_starts_the_session_of_the_one_who_was_known(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.user_alias(id="jacob", previous_id="jj")
        await session.track_event(event="Seen")

    assert owners(recorded(service, script)) == [("jj", None), (None, None), ("jacob", None)]


def test_a_refused_identify_or_alias_changes_nobody(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        for refused in (
            session.user_identify(id="kk", traits={"nested": {}}),  # type: ignore[dict-item]
            session.user_identify(id="kk", timestamp="yesterday"),
            session.user_alias(id="kk", previous_id=""),
        ):
            with pytest.raises(InvalidEventError):
                await refused
        assert session.id == "jj"
        await session.track_event(event="Seen")

    assert owners(recorded(service, script, id="jj")) == [("jj", None), ("jj", None)]


def test_a_session_that_opens_again_is_of_the_user_known_last(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.user_identify(id="jj")
        await session.end_session()
        await session.start_session()

    assert owners(recorded(service, script, device_id="d")) == [(None, "d"), (None, "d"), ("jj", "d"), ("jj", "d")]


def test_an_id_that_is_assigned_is_known_from_then_on(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_session()
        session.id = "jj"
        await session.track_event(event="Seen")
        session.device_id = "e"
        await session.track_event(event="Seen")

    assert owners(recorded(service, script, device_id="d")) == [(None, "d"), ("jj", "d"), ("jj", "e")]
