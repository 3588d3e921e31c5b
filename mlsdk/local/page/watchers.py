"""Tells open pages, as server-sent events, that what they show has changed. It does not say what: they ask again.

Runs on the server's loop only.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from aiohttp import web

_HEARTBEAT_SECONDS: Final = 15.0
"""A page that has gone is noticed only by writing to it."""

_PAUSE_SECONDS: Final = 0.2
"""What happens within so short a time is told once: an import is a thousand changes a second."""

_RETRY: Final = b"retry: 1000\n\n"


class Watchers:
    """The pages that are open now."""

    def __init__(self) -> None:
        self._wakes: set[asyncio.Event] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._wakes)

    def wake(self) -> None:
        """Have every page's version looked at again."""
        for wake in self._wakes:
            wake.set()

    def close(self) -> None:
        """Let every page go; each asks again until there is a service."""
        self._is_closed = True
        self.wake()

    async def serve(self, request: web.Request, version: Callable[[], str]) -> web.StreamResponse:
        """Send the version at once, and whenever it is another one, for as long as the page is open."""
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        stream = web.StreamResponse(headers=headers)
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            with contextlib.suppress(ConnectionError):  # the page was closed
                await stream.prepare(request)
                await stream.write(_RETRY)
                await self._send(stream, wake, version)
        finally:
            self._wakes.discard(wake)
        return stream

    async def _send(self, stream: web.StreamResponse, wake: asyncio.Event, version: Callable[[], str]) -> None:
        sent = None
        while not self._is_closed:
            wake.clear()
            found = version()
            await stream.write(f"data: {found}\n\n".encode() if found != sent else b":\n\n")
            sent = found
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(wake.wait(), _HEARTBEAT_SECONDS)
            if not self._is_closed:
                await asyncio.sleep(_PAUSE_SECONDS)
