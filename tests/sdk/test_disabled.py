"""Switched off, everything is there and nothing happens; calls check their arguments as ever."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from support import child

import mlsdk.sync
from mlsdk import Client, HTTPClient, InvalidEventError, SessionClosedError
from mlsdk.delivery.pipeline import Delivery
from mlsdk.disabled import Nowhere
from mlsdk.session import Door

NOTHING = {
    "accepted": 0,
    "recovered": 0,
    "delivered": 0,
    "queued": 0,
    "spooled": 0,
    "handed_over": 0,
    "dropped": {},
}


def test_a_whole_program_opens_no_socket_and_starts_no_thread() -> None:
    program = """
        import asyncio, sys, threading

        def watch(event, arguments):
            if event.startswith("socket.connect") or event == "_thread.start_new_thread":
                raise AssertionError(event)

        async def main():
            sys.addaudithook(watch)
            client = mlsdk.Client()
            await client.user_identify(id="jj", traits={"a": 1})
            await client.user_alias(id="kk", previous_id="jj")
            await client.start_listening(on_event=print, on_error=print)
            async with client.create_session(device_id="d", on_event=print, on_error=print) as session:
                await session.track_event(event="Seen")
                await session.track_conversation_turn(user="u", assistant="a")
                await session.user_identify(id="jj")
                await session.flush()
                assert not session.has_errors() and session.get_errors() == []
            await client.stop_listening()
            await client.flush()
            await client.close()
            with mlsdk.sync.Client() as other, other.create_session(device_id="d") as session:
                session.track_event(event="Seen")
            left = mlsdk.Client().create_session(device_id="d")
            await left.track_event(event="Seen")
            answer = await mlsdk.HTTPClient().send_request(url="/bc/v1/events/queue", data=[])
            assert answer["errored"] is False, answer

        import mlsdk.sync
        asyncio.run(main())
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        """
    result = child.run(program, flags=["-W", "error"], env={"MLSDK_DISABLED": "true"})

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.fixture
def client() -> Client:
    return Client(enabled=False)


def test_it_looks_as_ever(client: Client) -> None:
    async def main() -> None:
        session = client.create_session(device_id="d", on_error=print)
        session_id = await session.start_session()
        conversation_id = await session.start_conversation()
        assert (session.session_id, session.conversation_id) == (session_id, conversation_id)
        await session.end_session()
        with pytest.raises(SessionClosedError):
            await session.track_event(event="Seen")

    asyncio.run(main())

    assert not client.enabled
    assert client.stats() == NOTHING
    assert repr(client)


def test_a_wrong_argument_is_refused_as_ever(client: Client) -> None:
    async def main() -> None:
        session = client.create_session(device_id="d")
        with pytest.raises(InvalidEventError, match="nested"):
            await session.track_event(event="Seen", properties={"nested": {}})  # type: ignore[dict-item]
        with pytest.raises(InvalidEventError, match="device_id"):
            await client.create_session().start_session()
        with pytest.raises(InvalidEventError, match="device_id"):
            await client.user_identify()
        with pytest.raises(InvalidEventError, match="previous_id"):
            await client.user_alias(id="jj", previous_id="")

    asyncio.run(main())


def test_a_synchronous_client_can_be_disabled_too() -> None:
    with mlsdk.sync.Client(enabled=False) as client, client.create_session(device_id="d") as session:
        session.track_event(event="Seen")
        assert client.stats() == NOTHING


def test_raw_requests_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_DISABLED", "true")
    monkeypatch.setenv("MLSDK_SERVER_BASE", "http://127.0.0.1:1")
    client = HTTPClient()

    answer = asyncio.run(client.send_request(url="/bc/v1/events/queue", data=[]))

    assert (answer["errored"], answer["status"]) == (False, -1)
    assert "disabled" in answer["message"]
    with pytest.raises(InvalidEventError, match="url"):
        asyncio.run(client.send_request(url="queue"))


@pytest.mark.parametrize("name", [name for name in vars(Door) if not name.startswith("_")])
def test_the_door_to_nowhere_has_the_shape_of_the_door(name: str) -> None:
    def arguments(owner: type) -> dict[str, Any]:
        signature = inspect.signature(getattr(owner, name))
        return {argument.name: argument.kind for argument in signature.parameters.values()}

    assert arguments(Nowhere) == arguments(Door) == arguments(Delivery)
