"""Live events over a real websocket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from mlsdk.local import LocalMindlytics
from mlsdk.models import MLEvent

HEADERS = {"Authorization": "Bearer test_key", "X-App-ID": "app"}
Turn = Callable[..., dict[str, Any]]


class Client:
    def __init__(self, service: LocalMindlytics, http: aiohttp.ClientSession) -> None:
        self.service = service
        self.http = http

    async def key(self, session_id: str | None = None, *, app_id: str = "app") -> str:
        query = {} if session_id is None else {"session_id": session_id}
        url = f"{self.service.url}/bc/v1/live-events/realtime"
        async with self.http.get(url, params=query, headers={**HEADERS, "X-App-ID": app_id}) as answer:
            assert answer.status == 200
            return str((await answer.json())["authorization_key"])

    @asynccontextmanager
    async def listening(
        self, session_id: str | None = None, *, app_id: str = "app"
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        key = await self.key(session_id, app_id=app_id)
        async with self.http.ws_connect(self.service.ws_url, headers={"Authorization": f"Bearer {key}"}) as websocket:
            yield websocket

    async def send(self, *events: dict[str, Any], app_id: str = "app") -> None:
        url = f"{self.service.url}/bc/v1/events/queue"
        async with self.http.post(url, json=events, headers={**HEADERS, "X-App-ID": app_id}) as answer:
            assert answer.status == 200


def run(test: Callable[[Client], Any], **options: Any) -> None:
    async def main() -> None:
        async with LocalMindlytics(**options) as service, aiohttp.ClientSession() as http:
            await asyncio.wait_for(test(Client(service, http)), 60)

    asyncio.run(main())


async def names(websocket: aiohttp.ClientWebSocketResponse, count: int) -> list[str]:
    return [MLEvent.model_validate(await websocket.receive_json()).event for _ in range(count)]


def end(session_id: str = "s") -> dict[str, Any]:
    return {"type": "end_session", "session_id": session_id}


def test_a_scoped_reader_hears_its_session_alone(turn: Turn) -> None:
    async def test(client: Client) -> None:
        async with client.listening("s") as mine, client.listening() as everything:
            await client.send(turn(session_id="other"), turn(), end("other"), end())

            assert await names(mine, 6) == [
                "Session Started",
                "Conversation Started",
                "Conversation Turn",
                "Conversation Summary",
                "Conversation Ended",
                "Session Ended",
            ]
            assert len(await names(everything, 12)) == 12
            assert client.service.readers == 2
        await client.service.wait_for_async(lambda service: service.readers == 0)

    run(test)


def test_a_reader_hears_its_project_alone(turn: Turn) -> None:
    async def test(client: Client) -> None:
        async with client.listening() as mine:
            await client.send(turn(), app_id="other")
            await client.send(turn())
            message = await mine.receive_json()

            assert message["app_id"] == "app"
            assert (message["event"], message["user_id"]) == ("Session Started", "jj")

    run(test)


@pytest.mark.parametrize(("authorization", "status"), [(None, 401), ("Bearer made_up", 403), ("Bearer test_key", 403)])
def test_a_reader_needs_a_key_that_was_given_out(authorization: str | None, status: int) -> None:
    async def test(client: Client) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.http.ws_connect(client.service.ws_url, headers=headers)
        assert refused.value.status == status

    run(test)


def test_a_slow_reader_is_cut_off_and_holds_up_nobody(turn: Turn) -> None:
    async def test(client: Client) -> None:
        key = await client.key()
        slow = await raw_websocket(client.service.port, key)
        async with client.listening("last") as quick:
            await client.service.wait_for_async(lambda service: service.readers == 2)
            for _ in range(20):  # more than its queue and the buffers of the connection hold
                await client.send(*[turn("x" * 20_000) for _ in range(20)])
            await client.send(end("last"))

            assert await names(quick, 2) == ["Session Started", "Session Ended"]
            await client.service.wait_for_async(lambda service: service.readers == 1)
        slow.close()

    run(test, reader_queue=50)


async def raw_websocket(port: int, key: str) -> asyncio.StreamWriter:
    """A reader that shakes hands and then reads nothing; what its own side can hold is kept small."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: local\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer " + key.encode() + b"\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return writer


def test_websockets_are_closed_properly_or_cut() -> None:
    async def test(client: Client) -> None:
        async with client.listening() as first:
            await asyncio.to_thread(client.service.close_websockets)
            message = await first.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        async with client.listening() as second:
            await asyncio.to_thread(client.service.cut_websockets)
            assert (await second.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    run(test)


def test_tests_can_send_any_message() -> None:
    async def test(client: Client) -> None:
        async with client.listening("s") as websocket:
            await client.service.wait_for_async(lambda service: service.readers == 1)
            client.service.send_live("no json")
            client.service.send_live({"event": "MLError", "new": [1]})

            assert (await websocket.receive()).data == "no json"
            assert await websocket.receive_json() == {"event": "MLError", "new": [1]}

    run(test)


def test_an_error_of_a_queued_event_is_told() -> None:
    async def test(client: Client) -> None:
        async with client.listening("s") as websocket:
            await client.send({"type": "alias", "session_id": "s", "id": "new", "previous_id": "nobody"})
            assert await names(websocket, 1) == ["Session Started"]
            error = MLEvent.model_validate(await websocket.receive_json())

            assert error.event == "MLError"
            assert error.properties == {"error_message": "No user found for previous_id: nobody"}

    run(test)


def test_leaving_the_service_closes_its_readers() -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as http:
            async with LocalMindlytics() as service:
                client = Client(service, http)
                key = await client.key()
                websocket = await http.ws_connect(service.ws_url, headers={"Authorization": f"Bearer {key}"})
            assert (await websocket.receive()).data == 1001
            await websocket.close()

    asyncio.run(main())
