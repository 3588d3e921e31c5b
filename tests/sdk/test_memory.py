"""Clients in memory behave as those of a service do, except that there is none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import child
from support.sdk import Told, client_of, names, normal

from mlsdk import Client, DeliveryError, InvalidEventError, LiveError, SessionClosedError
from mlsdk.local import LocalMindlytics
from mlsdk.memory import FakeClock, MemoryClient, MemoryDelivery, SyncMemoryClient


async def talk(client: Client) -> None:
    """A bit of everything."""
    async with client.create_session(device_id="d", attributes={"a": 1}) as session:
        await session.user_identify(id="ann", traits={"plan": "free"})
        await session.start_conversation(properties={"topic": "\u2603"})
        await session.track_conversation_turn(user="hi\ud800", assistant="hello", usage={"cost": 0.5})
        await session.track_function_call(name="f", args="{}", runtime=3)
        await session.track_event(event="Seen", properties={"n": 1})
        await session.user_alias(id="ann-2", previous_id="ann")


def test_the_same_events_as_at_a_service(service: LocalMindlytics) -> None:
    memory = MemoryClient()
    asyncio.run(talk(memory))
    asyncio.run(talk(client_of(service)))
    assert normal(memory.delivery.events) == normal(service.events())
    (kept,), (session_id,) = memory.delivery.session_ids, service.session_ids
    here, there = memory.delivery.session(kept), service.session(session_id)
    assert [turn.user for turn in here.turns] == [turn.user for turn in there.turns] == ["hi\ufffd"]
    assert here.user is not None
    assert there.user is not None
    assert (here.user.id, here.user.aliases, here.user.traits) == (there.user.id, there.user.aliases, there.user.traits)


def test_the_ledger_and_the_sessions_that_are_open() -> None:
    client = SyncMemoryClient()
    session = client.create_session(device_id="d")
    session.track_event(event="One")
    assert len(client.delivery.open) == 1
    session.end_session()
    assert client.delivery.open == set()
    assert client.stats() == {
        **dict.fromkeys(("recovered", "queued", "spooled", "handed_over"), 0),
        "accepted": 3,
        "delivered": 3,
        "dropped": {},
    }
    client.delivery.clear()
    assert client.delivery.session_ids == client.delivery.events == []
    with pytest.raises(LookupError):
        client.delivery.session("s")


def test_bad_calls_are_refused_as_ever() -> None:
    client = SyncMemoryClient()
    with client.create_session(device_id="d") as session, pytest.raises(InvalidEventError, match="user"):
        session.track_conversation_turn(user=1, assistant="a")  # type: ignore[arg-type]
    with pytest.raises(SessionClosedError):
        session.track_event(event="Late")
    assert names(client.delivery.events) == ["start_session", "end_session"]


def test_events_that_the_hook_drops_or_spoils() -> None:
    told = Told()

    def before_send(event: dict[str, Any]) -> Mapping[str, Any] | None:
        name = event.get("event")
        if name == "Drop":
            return None
        if name == "Raise":
            raise OSError("no disk")
        if name == "Spoil":
            event["event"] = ""
        return event

    client = SyncMemoryClient(before_send=before_send)
    with client.create_session(device_id="d", on_error=told) as session:
        for name in ("Drop", "Raise", "Spoil", "Keep"):
            session.track_event(event=name)
    assert names(client.delivery.events) == ["start_session", "Keep", "end_session"]
    stats = client.stats()
    assert (stats["accepted"], stats["delivered"]) == (6, 3)
    assert stats["dropped"] == {"before_send": 1, "before_send_failed": 1, "refused": 1}
    assert [error.status for error in told.errors] == [-1, 400]
    assert "no disk" not in str(told.errors)


def test_users_outside_of_sessions() -> None:
    client = SyncMemoryClient()
    client.user_identify(id="ann", traits={"plan": "free"})
    client.user_alias(id="ann-2", previous_id="ann")
    with client.create_session(session_id="s", id="ann-2"):
        pass
    user = client.delivery.session("s").user
    assert user is not None
    assert user.traits == {"plan": "free"}
    with pytest.raises(DeliveryError, match="nobody"):
        client.user_alias(id="x", previous_id="nobody")


def test_live_events_need_a_service() -> None:
    client = MemoryClient()
    with pytest.raises(InvalidEventError, match="on_event"):
        client.create_session(device_id="d", on_event=print)
    with pytest.raises(LiveError, match="fixture"):
        asyncio.run(client.start_listening(on_event=print))


@pytest.mark.lifecycle
def test_no_thread_is_started_and_nothing_is_said() -> None:
    result = child.run(
        """
        import threading
        from mlsdk.memory import SyncMemoryClient

        client = SyncMemoryClient()
        session = client.create_session(device_id="d")
        session.track_event(event="One")
        assert threading.active_count() == 1, threading.enumerate()
        """,
        flags=["-X", "dev", "-W", "error"],
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_pytest_is_not_needed() -> None:
    result = child.run("import sys; import mlsdk.memory; sys.exit('pytest' in sys.modules)")
    assert (result.returncode, result.stderr) == (0, "")
    assert "pytest" in sys.modules


# -- the clock --------------------------------------------------------------------------------------------------------


@given(steps=st.lists(st.floats(0, 1e6), max_size=10))
def test_the_clock_moves_when_it_is_told_and_never_back(steps: list[float]) -> None:
    clock = FakeClock(datetime(2025, 1, 1, tzinfo=timezone.utc))
    assert clock.timestamp == "2025-01-01T00:00:00.000000Z"
    for step in steps:
        before, elapsed = clock.now(), clock.monotonic()
        clock.advance(step)
        assert clock.now() - before == round(step * 1e6)
        assert clock.monotonic() == elapsed + step
        assert clock.now() == clock.now()
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


@pytest.mark.parametrize("start", ["2025-01-01", "2025-01-01T00:00:00", "now"])
def test_a_start_that_is_no_moment(start: str) -> None:
    with pytest.raises(InvalidEventError, match="start"):
        FakeClock(start)


def test_a_delivery_can_be_given_to_whoever_takes_one() -> None:
    delivery = MemoryDelivery(project_id="p")
    settled: list[bool] = []
    delivery.offer({"type": "end_session", "session_id": "s", "timestamp": "2025-01-01T00:00:00.000000Z"})
    delivery.offer({"type": "nonsense", "session_id": "s"}, on_settled=settled.append)
    assert settled == [False]
    assert delivery.session("s").app_id == "p"
