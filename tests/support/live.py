"""A live-event service that does what a test tells it, and a listener's handlers that remember what they were given."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from mlsdk.config import Connection
from mlsdk.delivery.host import host
from mlsdk.errors import MindlyticsError
from mlsdk.live.listener import Listener, Timing
from mlsdk.local import ports
from mlsdk.models import MLEvent

PATIENCE: Final = 60.0
"""Seconds after which a test gives up waiting."""

PATIENT: Final = Timing(connect=PATIENCE, heartbeat=2 * PATIENCE)
"""For a listener that must not take a machine that stands still for a service that does."""

Script = Callable[[web.Request, web.WebSocketResponse, int], Awaitable[None]]
Answer = Callable[[web.Request, int], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the server saw it."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


async def stay(_request: web.Request, websocket: web.WebSocketResponse, _number: int) -> None:
    """The script of a service that has nothing to say: it answers pings until the client goes."""
    async for _ in websocket:
        pass


async def fresh_key(_request: web.Request, number: int) -> web.StreamResponse:
    """The answer of a service in order: a new key each time."""
    return web.json_response({"authorization_key": f"live-key-{number}"})


@dataclass(slots=True)
class LiveServer:
    """Two endpoints, scripted: the one that gives keys and the websocket; numbers count from 1.

    ``answer`` and ``handshake`` make whole answers; ``handshake`` None upgrades and runs ``script``.
    """

    answer: Answer = fresh_key
    handshake: Answer | None = None
    script: Script = stay
    base: str = ""
    keys: list[Seen] = field(default_factory=list)
    sockets: list[Seen] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def connection(self, **changes: str) -> Connection:
        """Where it is."""
        given = {"server_endpoint": self.base, "wss_endpoint": self.base.replace("http", "ws", 1), **changes}
        return Connection(api_key="secret-api-key", project_id="the-project", **given)

    def wait(self, holds: Callable[[LiveServer], bool]) -> None:
        """Wait until a request made it true."""
        with self.changed:
            assert self.changed.wait_for(lambda: holds(self), PATIENCE), (self.keys, self.sockets)

    def _see(self, seen: list[Seen], request: web.Request) -> int:
        with self.changed:
            seen.append(Seen(request.path, dict(request.query), dict(request.headers)))
            self.changed.notify_all()
            return len(seen)

    async def _key(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, self._see(self.keys, request))

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        number = self._see(self.sockets, request)
        if self.handshake is not None:
            return await self.handshake(request, number)
        websocket = web.WebSocketResponse(timeout=0.1)
        await websocket.prepare(request)
        with contextlib.suppress(ConnectionError):
            await self.script(request, websocket, number)
        return websocket

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """On the running loop."""
        application = web.Application()
        application.router.add_get("/bc/v1/live-events/realtime", self._key)
        application.router.add_get("/", self._socket)
        application.router.add_get("/live", self._socket)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        assert runner.server is not None
        listening = ports.listening("127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = await asyncio.get_running_loop().create_server(runner.server, sock=listening)
        try:
            yield
        finally:
            await ports.end([server])
            for connection in runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()


@contextlib.contextmanager
def served(server: Any) -> Iterator[Any]:
    """Run something that has ``serving()`` in a thread with a loop of its own."""
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.SelectorEventLoop()

    async def main() -> None:
        async with server.serving():
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(main())
            loop.run_until_complete(_quiet(loop))
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="live-server", daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()


async def _quiet(loop: asyncio.SelectorEventLoop) -> None:
    """Let connections that are about to close do so; one that the loop leaves open is complained of."""
    for _ in range(500):
        if len(loop._selector.get_map()) <= 1:  # type: ignore[attr-defined]  # the loop's own pipe
            return
        await asyncio.sleep(0.01)


@dataclass(slots=True)
class Heard:
    """What a listener told its handlers, in order."""

    events: list[MLEvent] = field(default_factory=list)
    errors: list[MindlyticsError] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    listener: Listener | None = None

    def on_event(self, event: MLEvent) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def on_error(self, error: MindlyticsError) -> None:
        with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]

    def wait(self, holds: Callable[[Heard], bool]) -> None:
        """Wait until what was heard makes it true."""
        with self.changed:
            assert self.changed.wait_for(lambda: holds(self), PATIENCE), (self.names, self.errors)


@contextlib.contextmanager
def listening(
    connection: Connection,
    session_id: str | None = "s1",
    *,
    at_event: Callable[[Listener], object] | None = None,
    **options: Any,
) -> Iterator[tuple[Listener, Heard]]:
    """A listener on the SDK's own loop that connects again at once; it is stopped when the block is left.

    `at_event` is given the listener at every event: one may come before the block has a name for it.
    """
    heard = Heard()
    given = {
        "jitter": lambda: 0.0,
        "timing": PATIENT,
        "on_event": heard.on_event,
        "on_error": heard.on_error,
        **options,
    }
    if at_event is not None:
        given["on_event"] = lambda _: at_event(listener)
    listener = Listener(connection, session_id=session_id, **given)
    host.spawn(listener.run)
    try:
        yield listener, heard
    finally:
        listener.stop()
        listener.stopped.result(PATIENCE)
