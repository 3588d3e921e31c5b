"""The websocket of live events, against real servers: the local Mindlytics, and ones that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support import child
from support.live import PATIENCE, PATIENT, Heard, LiveServer, fresh_key, listening, served, stay

from mlsdk.config import Connection
from mlsdk.delivery.host import host
from mlsdk.errors import LiveError, MindlyticsError
from mlsdk.events import SESSION_ENDED
from mlsdk.live.decoder import MAX_TEXT, reconnect_wait
from mlsdk.live.listener import AUTHORIZATION_PATH, Listener, Timing
from mlsdk.local import Fault, LocalMindlytics
from mlsdk.models import MLEvent

QUICK = Timing(connect=0.3, heartbeat=0.2, close=0.1, lasting=0.0)
ALERT = Timing(connect=PATIENCE, heartbeat=0.2, close=0.1)
"""It soon asks a silent peer whether it lives."""


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics.in_thread(port=0) as running:
        yield running


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with served(LiveServer()) as running:
        yield running


def connection_to(service: LocalMindlytics, *, api_key: str = "secret-api-key") -> Connection:
    return Connection(api_key=api_key, project_id="p1", server_endpoint=service.url, wss_endpoint=service.ws_url)


def say(service: LocalMindlytics, *events: dict[str, Any]) -> None:
    """Sends events as any client of project p1 would."""

    async def post() -> None:
        headers = {"Authorization": "Bearer k", "X-App-ID": "p1"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{service.url}/bc/v1/events/queue", json=list(events), headers=headers) as answer,
        ):
            assert answer.status == 200, await answer.text()

    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(post())
    finally:
        loop.close()


def started(session_id: str = "s1") -> dict[str, Any]:
    return {"type": "start_session", "session_id": session_id, "device_id": "d1"}


def custom(name: str, session_id: str = "s1") -> dict[str, Any]:
    return {"type": "track", "session_id": session_id, "event": name}


def ended(session_id: str = "s1") -> dict[str, Any]:
    return {"type": "end_session", "session_id": session_id}


def live(name: str = "Hello", *, event_id: str | None = None, session_id: str = "s1", **fields: Any) -> str:
    event_id = event_id or uuid.uuid4().hex
    return json.dumps(
        {"session_id": session_id, "timestamp": "2025-01-01T00:00:00Z", "event": name, "event_id": event_id, **fields}
    )


def is_ready(listener: Listener) -> bool:
    return listener.ready.result(PATIENCE)


# -- events -----------------------------------------------------------------------------------------------------------


def test_a_sessions_events_arrive_and_its_end_is_the_last(service: LocalMindlytics) -> None:
    with listening(connection_to(service)) as (listener, heard):
        assert is_ready(listener)
        say(service, started(), custom("One"), custom("Two"), ended())
        assert listener.ended.result(PATIENCE) is True
        assert heard.names[0] == "Session Started"
        assert heard.names[-1] == SESSION_ENDED
        assert [name for name in heard.names if name in ("One", "Two")] == ["One", "Two"]
        assert heard.errors == []
        assert listener.error is None


def test_the_end_is_handed_on_before_it_is_announced(server: LiveServer) -> None:
    async def script(_: web.Request, websocket: web.WebSocketResponse, __: int) -> None:
        await websocket.send_str(live(SESSION_ENDED))
        await stay(_, websocket, __)

    server.script = script
    was_announced: list[bool] = []
    with listening(server.connection(), at_event=lambda it: was_announced.append(it.ended.done())) as (listener, _):
        assert listener.ended.result(PATIENCE) is True
        assert was_announced == [False]


def test_it_goes_on_after_the_end(service: LocalMindlytics) -> None:
    """An event after the end reopens the session."""
    with listening(connection_to(service)) as (listener, heard):
        assert is_ready(listener)
        say(service, started(), ended())
        assert listener.ended.result(PATIENCE) is True
        say(service, custom("Late"))
        heard.wait(lambda heard: "Late" in heard.names)


def test_another_sessions_events_do_not_arrive(service: LocalMindlytics) -> None:
    with listening(connection_to(service)) as (listener, heard):
        assert is_ready(listener)
        say(service, started("s2"), custom("Foreign", "s2"), ended("s2"), started(), custom("Own"))
        heard.wait(lambda heard: "Own" in heard.names)
        assert {event.session_id for event in heard.events} == {"s1"}
        assert not listener.ended.done()


def test_without_a_session_all_arrive_and_none_is_the_end(service: LocalMindlytics) -> None:
    with listening(connection_to(service), None) as (listener, heard):
        assert is_ready(listener)
        say(service, started("s1"), ended("s1"), started("s2"), ended("s2"))
        heard.wait(lambda heard: heard.names.count(SESSION_ENDED) == 2)
        assert {event.session_id for event in heard.events} == {"s1", "s2"}
        assert not listener.ended.done()
    assert listener.ended.result(0) is False


def test_an_ml_error_goes_to_on_error(service: LocalMindlytics) -> None:
    with listening(connection_to(service)) as (listener, heard):
        assert is_ready(listener)
        service.send_live(live("MLError", properties={"error_message": "No such model"}))
        heard.wait(lambda heard: bool(heard.errors))
        assert [(type(error), error.message, error.status) for error in heard.errors] == [
            (LiveError, "No such model", -1)
        ]
        assert heard.events == []


def test_what_cannot_be_read_is_one_error_each_and_the_stream_goes_on(service: LocalMindlytics) -> None:
    with listening(connection_to(service)) as (listener, heard):
        assert is_ready(listener)
        for message in ("{", "[]", live(properties={"a": None}), live("Fine", region="eu")):
            service.send_live(message)
        heard.wait(lambda heard: heard.names == ["Fine"])
        assert [error.message.startswith("a live event cannot be read") for error in heard.errors] == [True] * 3
        assert service.readers == 1, "the same connection"


def test_binary_messages_are_read_like_text(server: LiveServer) -> None:
    async def script(request: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        await websocket.send_bytes(live("Binary").encode())
        await websocket.send_bytes(b"\xff\x00")
        await stay(request, websocket, number)

    server.script = script
    with listening(server.connection()) as (_, heard):
        heard.wait(lambda heard: heard.names == ["Binary"] and len(heard.errors) == 1)


def raising(_: object) -> None:
    raise ValueError("the user's own words")


def test_handlers_that_raise_harm_nobody(service: LocalMindlytics, caplog: pytest.LogCaptureFixture) -> None:
    with listening(connection_to(service), on_event=raising, on_error=raising) as (listener, _):
        assert is_ready(listener)
        service.send_live("{")
        say(service, started(), ended())
        assert listener.ended.result(PATIENCE) is True
    assert "a handler of live events failed with ValueError" in caplog.text
    assert "own words" not in caplog.text


# -- credentials ------------------------------------------------------------------------------------------------------


def test_the_api_key_goes_to_the_http_endpoint_alone(server: LiveServer) -> None:
    with listening(server.connection(), "a session/ü&x=1") as (listener, _):
        assert is_ready(listener)
        (asked,), (opened,) = server.keys, server.sockets
        assert asked.headers["Authorization"] == "Bearer secret-api-key"
        assert asked.headers["X-App-ID"] == "the-project"
        assert asked.query == {"session_id": "a session/ü&x=1"}
        assert opened.headers["Authorization"] == "Bearer live-key-1"
        assert "X-App-ID" not in opened.headers
        assert "secret-api-key" not in str(opened)
        assert "Sec-WebSocket-Extensions" not in opened.headers, "no compression is offered"


def test_all_sessions_are_asked_for_without_an_id(server: LiveServer) -> None:
    with listening(server.connection(), None) as (listener, _):
        assert is_ready(listener)
        assert server.keys[0].query == {}


def redirect_to(other: LiveServer, status: int) -> Callable[[web.Request, int], Any]:
    async def redirect(request: web.Request, _: int) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": other.base + request.path_qs})

    return redirect


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ["answer", "handshake"])
def test_no_redirect_is_followed(server: LiveServer, what: str, status: int) -> None:
    with served(LiveServer()) as elsewhere:
        setattr(server, what, redirect_to(elsewhere, status))
        with listening(server.connection()) as (listener, heard):
            assert not is_ready(listener)
            server.wait(lambda server: len(server.keys) >= 2)
            assert [error.status for error in heard.errors] == [status]
            assert listener.error is heard.errors[0]
        assert elsewhere.keys == elsewhere.sockets == []


def test_a_redirect_to_itself_is_not_followed_either(server: LiveServer) -> None:
    server.handshake = redirect_to(server, 302)
    with listening(server.connection(), jitter=lambda: 1000.0) as (listener, _):
        assert not is_ready(listener)
        assert len(server.sockets) == 1


def test_neither_key_nor_payload_is_logged_or_told(server: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    async def script(_: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        await websocket.send_str(live("Words", properties={"user": "payload"}))
        await websocket.send_str('{"payload": "payload"}')
        if number > 2:
            await stay(_, websocket, number)

    async def handshake(_: web.Request, number: int) -> web.StreamResponse:
        server.handshake = None
        return web.Response(status=500, text="payload")

    server.script, server.handshake = script, handshake
    with caplog.at_level(logging.DEBUG), listening(server.connection()) as (_, heard):
        heard.wait(lambda heard: len(heard.events) == 2)
    assert heard.errors
    said = caplog.text + "".join(f"{error} {error!r}" for error in heard.errors) + repr(listener_of(server))
    for secret in ("secret-api-key", "live-key", "payload", "Bearer"):
        assert secret not in said


def listener_of(server: LiveServer) -> Listener:
    return Listener(server.connection(), session_id="s1", on_event=print, on_error=print)


class Gate:
    """Jitter of a listener that connects again at once, but not before the test lets it."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)

    def __call__(self) -> float:
        assert self._passes.acquire(timeout=PATIENCE)
        return 0.0

    def let(self, service: LocalMindlytics, *, times: int = 1) -> None:
        """Let it try so many times, after the service has noticed that it was dropped; wait until it is back."""
        service.wait_for(lambda service: service.readers == 0)
        for _ in range(times):
            self._passes.release()
        service.wait_for(lambda service: service.readers == 1)


# -- outages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [LocalMindlytics.cut_websockets, LocalMindlytics.close_websockets])
def test_after_a_drop_it_connects_again_with_a_fresh_key(
    service: LocalMindlytics, drop: Callable[[LocalMindlytics], None]
) -> None:
    gate = Gate()
    with listening(connection_to(service), jitter=gate) as (listener, heard):
        assert is_ready(listener)
        for time_ in range(1, 4):
            say(service, custom(f"Before {time_}"))
            heard.wait(lambda heard, time_=time_: f"Before {time_}" in heard.names)
            drop(service)
            heard.wait(lambda heard, time_=time_: len(heard.errors) == time_)
            gate.let(service)
        say(service, ended())
        assert listener.ended.result(PATIENCE) is True
        assert all(isinstance(error, LiveError) and error.status == -1 for error in heard.errors)
    keys = [request for request in service.requests if request.path == AUTHORIZATION_PATH]
    assert len(keys) == 4


def test_each_connection_has_a_key_of_its_own(server: LiveServer) -> None:
    async def script(request: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        if number == 3:
            await stay(request, websocket, number)

    server.script = script
    with listening(server.connection()):
        server.wait(lambda server: len(server.sockets) == 3)
        assert [seen.headers["Authorization"] for seen in server.sockets] == [f"Bearer live-key-{n}" for n in (1, 2, 3)]


def test_what_is_repeated_after_a_reconnect_is_not_given_twice(server: LiveServer) -> None:
    history = [live(f"Event {number}") for number in range(6)]

    async def script(request: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        for message in history[: 2 * number]:
            await websocket.send_str(message)
        if number == 3:
            await stay(request, websocket, number)

    server.script = script
    with listening(server.connection()) as (_, heard):
        heard.wait(lambda heard: "Event 5" in heard.names)
        assert heard.names == [f"Event {number}" for number in range(6)]


def test_an_outage_is_told_once(service: LocalMindlytics) -> None:
    attempts = threading.Semaphore(0)
    with listening(connection_to(service), jitter=lambda: attempts.release() or 0.0) as (listener, heard):
        assert is_ready(listener)
        for outages in (1, 2):
            service.close_port()
            heard.wait(lambda heard, outages=outages: len(heard.errors) == outages)
            while attempts.acquire(blocking=False):
                pass
            for _ in range(5):
                assert attempts.acquire(timeout=PATIENCE), "it keeps trying"
            service.reopen()
            service.wait_for(lambda service: service.readers == 1)
            say(service, custom(f"After {outages}"))
            heard.wait(lambda heard, outages=outages: f"After {outages}" in heard.names)
            assert len(heard.errors) == outages


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_first_attempt_that_fails_is_told_once_and_repeated(service: LocalMindlytics, status: int) -> None:
    service.fail_next(status, times=3, body="Sorry", path=AUTHORIZATION_PATH)
    with listening(connection_to(service)) as (listener, heard):
        assert not is_ready(listener)
        service.wait_for(lambda service: service.readers == 1)
        say(service, custom("Late"))
        heard.wait(lambda heard: "Late" in heard.names)
        assert [(error.status, error.message) for error in heard.errors] == [(status, "no live events: Sorry")]
        assert listener.error is heard.errors[0]
        assert not listener.ended.done()


def test_nobody_listens_there(service: LocalMindlytics) -> None:
    service.close_port()
    with listening(connection_to(service)) as (listener, heard):
        assert not is_ready(listener)
        assert listener.error is not None
        assert "cannot connect" in listener.error.message
        service.reopen()
        service.wait_for(lambda service: service.readers == 1)
        assert len(heard.errors) == 1


def test_a_wait_that_the_service_asks_for_is_kept(server: LiveServer) -> None:
    times: list[float] = []

    async def answer(request: web.Request, number: int) -> web.StreamResponse:
        times.append(time.monotonic())
        if number == 1:
            return web.Response(status=429, headers={"Retry-After": "0.5"})
        return await fresh_key(request, number)

    server.answer = answer
    with listening(server.connection()) as (listener, _):
        assert not is_ready(listener)
        server.wait(lambda server: len(server.sockets) == 1)
    refused, tried_again = times
    assert tried_again - refused >= 0.4


def test_a_service_that_accepts_and_drops_is_called_ever_more_slowly(server: LiveServer) -> None:
    times: list[float] = []
    enough = threading.Event()

    async def script(_: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        times.append(time.monotonic())
        if number == 4:
            enough.set()
        await websocket.send_str(live())

    server.script = script
    with listening(server.connection(), jitter=lambda: 0.3):
        assert enough.wait(PATIENCE)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] >= 0.15
    assert gaps[1] >= 0.3
    assert gaps[2] >= 0.6


@pytest.mark.parametrize(("lasting", "failures"), [(0.0, [0] * 5), (PATIENCE, [1, 2, 3, 4, 5])])
def test_a_connection_that_lasted_begins_the_schedule_anew(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, lasting: float, failures: list[int]
) -> None:
    async def script(*_: object) -> None:
        return

    counted: list[int] = []

    def wait(failures: int, **given: Any) -> float:
        counted.append(failures)
        return reconnect_wait(failures, **given)

    monkeypatch.setattr("mlsdk.live.listener.reconnect_wait", wait)
    server.script = script
    with listening(server.connection(), timing=Timing(connect=PATIENCE, lasting=lasting)):
        server.wait(lambda server: len(server.sockets) >= 6)
    assert counted[:5] == failures


# -- a refused key ----------------------------------------------------------------------------------------------------


def assert_it_ended_refused(listener: Listener, heard: Heard, status: int) -> None:
    assert not is_ready(listener)
    assert listener.ended.result(PATIENCE) is False
    listener.stopped.result(PATIENCE)
    assert [error.status for error in heard.errors] == [status]
    assert listener.error is heard.errors[0]


def test_a_refused_key_is_told_once_and_ends_it(service: LocalMindlytics) -> None:
    with listening(connection_to(service, api_key="bad_key")) as (listener, heard):
        assert_it_ended_refused(listener, heard, 403)
        assert "Unauthorized: No organization found for given apikey" in heard.errors[0].message
        assert len(service.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("what", ["answer", "handshake"])
def test_a_refusal_at_either_door_ends_it(server: LiveServer, what: str, status: int) -> None:
    async def refuse(_: web.Request, __: int) -> web.StreamResponse:
        return web.Response(status=status)

    setattr(server, what, refuse)
    with listening(server.connection()) as (listener, heard):
        assert_it_ended_refused(listener, heard, status)


def test_a_refusal_at_a_reconnect_is_told_once_and_tried_again(service: LocalMindlytics) -> None:
    gate = Gate()
    with listening(connection_to(service), jitter=gate) as (listener, heard):
        assert is_ready(listener)
        service.fail_next(403, times=4, body="Revoked", path=AUTHORIZATION_PATH)
        service.cut_websockets()
        gate.let(service, times=5)
        say(service, custom("Again"))
        heard.wait(lambda heard: "Again" in heard.names)
        assert [error.status for error in heard.errors] == [-1, 403], "the drop and the refusal"


# -- hostile and broken services --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"authorization_key": null}', b'{"authorization_key": "a\\r\\nX: 1"}'],
    ids=range(6),
)
def test_an_answer_without_a_key_is_told_and_tried_again(server: LiveServer, body: bytes) -> None:
    async def answer(request: web.Request, number: int) -> web.StreamResponse:
        return web.Response(body=body) if number == 1 else await fresh_key(request, number)

    server.answer = answer
    with listening(server.connection()) as (listener, heard):
        assert not is_ready(listener)
        server.wait(lambda server: len(server.sockets) == 1)
        assert [error.message for error in heard.errors] == [
            "no live events: the service's answer holds no authorization key"
        ]


async def endless(request: web.Request, _: int) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def dripping(request: web.Request, _: int) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def silent(_: web.Request, __: int) -> web.StreamResponse:
    return await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("behaviour", [endless, dripping, silent])
@pytest.mark.parametrize("what", ["answer", "handshake"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_attempt_is_bounded_whatever_the_service_does(server: LiveServer, what: str, behaviour: Any) -> None:
    setattr(server, what, behaviour)
    with listening(server.connection(), timing=QUICK) as (listener, heard):
        assert not is_ready(listener)
        server.wait(lambda server: len(server.keys) >= 3)
        assert len(heard.errors) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=["closes", "garbage", "short", "long-header", "no-challenge", "gzip"],
)
@pytest.mark.parametrize("door", ["server_endpoint", "wss_endpoint"])
def test_a_peer_that_breaks_the_protocol_is_tried_again(server: LiveServer, door: str, reply: bytes) -> None:
    with served(RawServer(reply)) as raw:
        address = raw.base if door == "server_endpoint" else raw.base.replace("http", "ws", 1)
        with listening(server.connection(**{door: address}), timing=QUICK) as (listener, heard):
            assert not is_ready(listener)
            assert raw.came.acquire(timeout=PATIENCE)
            assert raw.came.acquire(timeout=PATIENCE)
            assert len(heard.errors) == 1
            assert not listener.stopped.done()


class RawServer:
    """Answers every connection by the same bytes and closes it."""

    def __init__(self, reply: bytes) -> None:
        self.came = threading.Semaphore(0)
        self._reply = reply
        self._open: set[asyncio.StreamWriter] = set()
        self.base = ""

    def serving(self) -> Any:
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def serving() -> Any:
            listening_ = await asyncio.start_server(self._answer, "127.0.0.1", 0)
            self.base = f"http://127.0.0.1:{listening_.sockets[0].getsockname()[1]}"
            yield
            # A connection that asyncio has accepted when its server closes is never closed: first no more are accepted.
            for listening_socket in listening_.sockets:
                asyncio.get_running_loop().remove_reader(listening_socket.fileno())
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                for writer in self._open:
                    writer.transport.abort()
                await asyncio.wait(others, timeout=0.05)
            listening_.close()

        return serving()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._reply)
                await writer.drain()
            self.came.release()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        finally:
            self._open.remove(writer)


def frame(first: int, payload: bytes, *, size: int | None = None) -> bytes:
    """A websocket frame of the server; ``size`` is what its header claims."""
    return bytes((first, 127)) + (len(payload) if size is None else size).to_bytes(8, "big") + payload


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (frame(0xC1, b"compressed"), "WebSocketError"),
        (frame(0x81, b"\xff\xfe"), "WebSocketError"),
        (frame(0x83, b"unknown opcode"), "WebSocketError"),
        (frame(0x81, b"x" * (MAX_TEXT + 1)), "more than"),
        (frame(0x01, b"x" * (MAX_TEXT // 2)) + frame(0x00, b"x" * MAX_TEXT) * 2, "more than"),
    ],
    ids=["compressed", "not-utf-8", "opcode", "large", "endless"],
)
def test_a_connection_that_breaks_the_protocol_is_given_up_for_another(
    server: LiveServer, raw: bytes, why: str
) -> None:
    async def script(request: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        if number == 1:
            assert request.transport is not None
            request.transport.write(raw)
            await asyncio.sleep(PATIENCE)
        await websocket.send_str(live("Fine"))
        await stay(request, websocket, number)

    server.script = script
    with listening(server.connection()) as (_, heard):
        heard.wait(lambda heard: heard.names == ["Fine"])
        assert len(heard.errors) == 1
        assert why in heard.errors[0].message


def test_a_message_of_nearly_the_largest_size_arrives(server: LiveServer) -> None:
    async def script(request: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        await websocket.send_str(live("Large", properties={"text": "x" * (MAX_TEXT - 1000)}))
        await stay(request, websocket, number)

    server.script = script
    with listening(server.connection()) as (_, heard):
        heard.wait(lambda heard: heard.names == ["Large"])
        assert heard.errors == []


def test_a_dead_peer_is_noticed(server: LiveServer) -> None:
    async def script(request: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        if number == 1:
            await asyncio.sleep(PATIENCE)  # answers no ping: it does not read
        await stay(request, websocket, number)

    server.script = script
    with listening(server.connection(), timing=ALERT) as (_, heard):
        server.wait(lambda server: len(server.sockets) >= 2)
        assert "interrupted" in heard.errors[0].message


def test_a_silent_peer_that_lives_is_kept(server: LiveServer) -> None:
    """One that was not would hear two pings at most; a machine that stands still may cost this one a connection too."""
    kept = threading.Event()

    async def handshake(request: web.Request, _: int) -> web.StreamResponse:
        websocket = web.WebSocketResponse(autoping=False, timeout=0.1)
        await websocket.prepare(request)
        pings = 0
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.PING:
                pings += 1
                await websocket.pong(message.data)
                if pings == 5:
                    kept.set()
        return websocket

    server.handshake = handshake
    with listening(server.connection(), timing=ALERT):
        assert kept.wait(PATIENCE)


@pytest.mark.timed
def test_a_flood_does_not_starve_the_loop(server: LiveServer) -> None:
    async def script(_: web.Request, websocket: web.WebSocketResponse, __: int) -> None:
        while True:
            await websocket.send_str("{}")

    server.script = script
    with listening(server.connection()) as (listener, heard):
        assert is_ready(listener)
        heard.wait(lambda heard: len(heard.errors) > 1000)
        answered = threading.Event()
        host.call_soon(answered.set)
        assert answered.wait(PATIENCE)


# -- the way there ----------------------------------------------------------------------------------------------------


def test_both_connections_take_the_proxy(server: LiveServer) -> None:
    """The scripted server stands in for a proxy: it is asked for addresses that exist nowhere."""
    connection = server.connection(
        server_endpoint="http://mindlytics.invalid", wss_endpoint="ws://wss.mindlytics.invalid/live", proxy=server.base
    )
    with listening(connection) as (listener, _):
        assert is_ready(listener), listener.error
        assert server.keys[0].headers["Host"] == "mindlytics.invalid"
        assert server.sockets[0].headers["Host"] == "wss.mindlytics.invalid"


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("nothing")
    connection = Connection("k", "p", "https://localhost:1", "wss://localhost:1", ca_file=str(ca_file))
    with listening(connection) as (listener, heard):
        assert not is_ready(listener)
        listener.stopped.result(PATIENCE)
        assert [error.message for error in heard.errors] == [listener.error.message if listener.error else None]
        assert "ca_file" in heard.errors[0].message


# -- stopping ---------------------------------------------------------------------------------------------------------


def new_listener(connection: Connection, **options: Any) -> Listener:
    return Listener(connection, session_id="s1", on_event=lambda _: None, on_error=lambda _: None, **options)


def assert_stopped(listener: Listener) -> None:
    assert listener.stopped.result(PATIENCE) is None
    assert listener.ended.result(0) is False
    assert listener.ready.done()


def test_one_that_was_never_started_stops_at_once(server: LiveServer) -> None:
    listener = new_listener(server.connection())
    listener.stop()
    assert listener.stopped.done()
    assert_stopped(listener)
    host.spawn(listener.run)
    done = threading.Event()
    host.spawn(lambda: finished(done))
    assert done.wait(PATIENCE)
    assert server.keys == []


async def finished(done: threading.Event) -> None:
    await asyncio.sleep(0)
    done.set()


def test_stopping_closes_the_socket_properly(service: LocalMindlytics) -> None:
    with listening(connection_to(service)) as (listener, heard):
        assert is_ready(listener)
        listener.stop()
        listener.stop()
        assert_stopped(listener)
        service.wait_for(lambda service: service.readers == 0)
        assert heard.errors == []


@pytest.mark.parametrize("behaviour", [silent, dripping])
def test_stopping_ends_an_attempt(server: LiveServer, behaviour: Any) -> None:
    server.answer = behaviour
    with listening(server.connection(), timing=Timing(connect=10 * PATIENCE)) as (listener, heard):
        server.wait(lambda server: len(server.keys) == 1)
        listener.stop()
        assert listener.ready.result(0) is False, "nobody waits for the bound"
        assert_stopped(listener)
        assert heard.errors == []


def test_stopping_ends_a_wait(server: LiveServer) -> None:
    async def busy(_: web.Request, __: int) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "600"})

    server.answer = busy
    with listening(server.connection()) as (listener, _):
        assert not is_ready(listener)
        listener.stop()
        assert_stopped(listener)


@pytest.mark.timed
def test_stopping_does_not_wait_for_a_peer_that_does_not_answer(server: LiveServer) -> None:
    async def script(*_: object) -> None:
        await asyncio.sleep(PATIENCE)

    server.script = script
    with listening(server.connection()) as (listener, _):
        assert is_ready(listener)
        began = time.monotonic()
        listener.stop()
        assert_stopped(listener)
        assert time.monotonic() - began < 8, "aiohttp alone waits for 10 s"


def test_it_may_be_stopped_from_a_handler(server: LiveServer) -> None:
    async def script(request: web.Request, websocket: web.WebSocketResponse, number: int) -> None:
        for _ in range(100):
            await websocket.send_str(live())
        await stay(request, websocket, number)

    server.script = script
    with listening(server.connection(), at_event=Listener.stop) as (listener, _):
        assert listener.stopped.result(PATIENCE) is None


def test_many_threads_may_stop_it_at_any_time(server: LiveServer) -> None:
    for round_ in range(20):
        listener = new_listener(server.connection())
        threads = [threading.Thread(target=listener.stop) for _ in range(3)]
        starter = threading.Thread(target=host.spawn, args=(listener.run,))
        for thread in [*threads[: round_ % 4], starter, *threads[round_ % 4 :]]:
            thread.start()
        for thread in [*threads, starter]:
            thread.join(PATIENCE)
        assert_stopped(listener)


def test_a_waiter_cannot_cancel_for_others(server: LiveServer) -> None:
    listener = new_listener(server.connection())
    for future in (listener.ready, listener.ended, listener.stopped):
        assert not future.cancel()  # type: ignore[attr-defined]
    listener.stop()
    assert_stopped(listener)


def test_a_closed_loop_leaves_nobody_waiting(server: LiveServer) -> None:
    """Where a program ran it on a loop of its own, and that loop is gone."""
    listener = new_listener(server.connection())
    loop = asyncio.SelectorEventLoop()
    try:
        task = loop.create_task(listener.run())
        while not listener.ready.done():
            loop.run_until_complete(asyncio.sleep(0.01))
        task.cancel()
        loop.run_until_complete(asyncio.wait({task}))
    finally:
        loop.close()
    assert_stopped(listener)
    listener.stop()


def test_nobody_is_told_anything_after_the_stop(service: LocalMindlytics) -> None:
    with listening(connection_to(service)) as (listener, heard):
        assert is_ready(listener)
        listener.stop()
        service.close_port()
        assert_stopped(listener)
        assert heard.errors == []


@pytest.mark.lifecycle
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_child_stops_its_copy_without_touching_the_parents(service: LocalMindlytics) -> None:
    result = child.run(
        f"""
        import os, warnings
        from mlsdk.config import Connection
        from mlsdk.delivery.host import host
        from mlsdk.live.listener import Listener, Timing

        warnings.filterwarnings("ignore", message=".*fork.*")
        heard = []
        listener = Listener(
            Connection("k", "p", "{service.url}", "{service.ws_url}"),
            session_id="s1", on_event=lambda event: heard.append(event), on_error=print, timing=Timing(connect=50),
        )
        host.spawn(listener.run)
        assert listener.ready.result(50)
        pid = os.fork()
        if not pid:
            listener.stop()
            listener.stopped.result(50)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert not listener.stopped.done()
        listener.stop()
        listener.stopped.result(50)
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.lifecycle
@pytest.mark.parametrize("ending", ["listener.stop(); listener.stopped.result(50)", "listener.stop()", "pass"])
def test_a_process_ends_without_a_word(service: LocalMindlytics, ending: str) -> None:
    result = child.run(
        f"""
        from mlsdk.config import Connection
        from mlsdk.delivery.host import host
        from mlsdk.live.listener import Listener, Timing

        listener = Listener(
            Connection("k", "p", "{service.url}", "{service.ws_url}"),
            session_id="s1", on_event=print, on_error=print, timing=Timing(connect=50),
        )
        host.spawn(listener.run)
        assert listener.ready.result(50)
        {ending}
        """,
        flags=["-W", "error"],
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_hundred_sessions_are_not_mixed(service: LocalMindlytics) -> None:
    heard: dict[str, list[MLEvent]] = {f"s{number}": [] for number in range(100)}
    errors: list[MindlyticsError] = []
    listeners = [
        Listener(
            connection_to(service),
            session_id=session_id,
            on_event=events.append,
            on_error=errors.append,
            timing=PATIENT,
        )
        for session_id, events in heard.items()
    ]
    for listener in listeners:
        host.spawn(listener.run)
    try:
        assert all(is_ready(listener) for listener in listeners), errors
        for session_id in heard:
            say(service, started(session_id), custom(f"Of {session_id}", session_id), ended(session_id))
        assert all(listener.ended.result(PATIENCE) for listener in listeners)
    finally:
        for listener in listeners:
            listener.stop()
        for listener in listeners:
            listener.stopped.result(PATIENCE)
    assert errors == []
    for session_id, events in heard.items():
        assert {event.session_id for event in events} == {session_id}
        assert [event.event for event in events].count(f"Of {session_id}") == 1


def test_a_hanging_service_is_left_alone_after_the_bound(service: LocalMindlytics) -> None:
    service.plan(Fault.hang(), path=AUTHORIZATION_PATH)
    with listening(connection_to(service), timing=QUICK) as (listener, heard):
        assert not is_ready(listener)
        service.wait_for(lambda service: service.readers == 1)
        assert heard.errors[0].message == "no live events: no connection within 0.3 s"
