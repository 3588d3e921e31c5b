"""Live events: who may listen to what, and handing each event to every reader without waiting for any.

Runs on the server's loop only. A reader that does not keep up is cut off when its queue is full: it notices, and can
connect again, where silently left-out events would go unnoticed.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

READER_QUEUE: Final = 10_000
"""How many messages may wait for one reader: more than one request can cause."""

_CLOSE_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 30.0
_GOING_AWAY: Final = 1001


def bearer(header: str) -> str:
    """The key in an Authorization header, which some clients send with ``Bearer`` and some without."""
    scheme, _, rest = header.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else header.strip()


@dataclass(frozen=True, slots=True)
class Scope:
    """What an authorization key lets its holder hear: one project, and one session of it if ``session_id`` is set."""

    app_id: str
    session_id: str | None

    def covers(self, message: dict[str, Any]) -> bool:
        """Whether the holder may hear this live event."""
        return message.get("app_id") == self.app_id and self.session_id in (None, message.get("session_id"))


class _Reader:
    """One open websocket: its scope and the texts that wait for it. None is the request to close."""

    def __init__(self, scope: Scope, request: web.Request, *, size: int) -> None:
        self.scope = scope
        self.queue: asyncio.Queue[str | None] = asyncio.Queue(size)
        self._request = request

    def put(self, text: str | None) -> None:
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.cut()

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


class Hub:
    """The authorization keys given out and the readers connected now.

    Args:
        count: told +1 and -1 as readers come and go.
        reader_queue: see `READER_QUEUE`.
    """

    def __init__(self, *, count: Callable[[int], None], reader_queue: int = READER_QUEUE) -> None:
        self._scopes: dict[str, Scope] = {}
        self._readers: set[_Reader] = set()
        self._count = count
        self._reader_queue = reader_queue

    def authorize(self, app_id: str, session_id: str | None) -> str:
        """A new authorization key."""
        key = secrets.token_urlsafe(24)
        self._scopes[key] = Scope(app_id, session_id)
        return key

    def publish(self, messages: Iterable[Callable[[], dict[str, Any]]]) -> None:
        """Queue live events for the readers that may hear them; without readers none is even put together."""
        if not self._readers:
            return
        for make in messages:
            message = make()
            listening = [reader for reader in self._readers if reader.scope.covers(message)]
            if listening:
                text = orjson.dumps(message).decode()
                for reader in listening:
                    reader.put(text)

    def send_text(self, text: str) -> None:
        """Queue any text for every reader, whatever its scope."""
        for reader in self._readers:
            reader.put(text)

    def close(self) -> None:
        """Ask every reader to go, properly."""
        for reader in self._readers:
            reader.put(None)

    def cut(self) -> None:
        """Cut every reader's connection."""
        for reader in list(self._readers):
            reader.cut()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Handle one websocket from handshake to end."""
        header = request.headers.get("Authorization")
        if header is None:
            return web.Response(status=401, text="Unauthorized: No authorization key given")
        scope = self._scopes.get(bearer(header))
        if scope is None:
            return web.Response(status=403, text="Unauthorized: Unknown authorization key")
        websocket = web.WebSocketResponse(timeout=_CLOSE_SECONDS, heartbeat=_HEARTBEAT_SECONDS)
        # Joined before the handshake is answered: what is sent right after it must not be missed.
        reader = _Reader(scope, request, size=self._reader_queue)
        self._readers.add(reader)
        self._count(1)
        try:
            with contextlib.suppress(ConnectionResetError):  # the client went away during the handshake
                await self._serve(websocket, request, reader)
        finally:
            self._readers.discard(reader)
            self._count(-1)
        return websocket

    async def _serve(self, websocket: web.WebSocketResponse, request: web.Request, reader: _Reader) -> None:
        await websocket.prepare(request)
        tasks = [asyncio.create_task(_read(websocket)), asyncio.create_task(_write(websocket, reader))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # Not while `_read` waits: aiohttp 3.10 then answers the close itself, by another code.
        await websocket.close(code=_GOING_AWAY)


async def _read(websocket: web.WebSocketResponse) -> None:
    async for _ in websocket:
        pass  # clients have nothing to say; reading answers their pings and sees them go


async def _write(websocket: web.WebSocketResponse, reader: _Reader) -> None:
    with contextlib.suppress(ConnectionError):
        while (text := await reader.queue.get()) is not None:
            await websocket.send_str(text)
