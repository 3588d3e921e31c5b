"""Homes for a delivery that end with the test: a thread of its own, or the running virtual-time loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from mlsdk.config import Config, Connection, Limits, Spooling
from mlsdk.delivery.host import Drainable
from mlsdk.delivery.pipeline import Delivery
from support.delivery import ScriptedTransport

PATIENCE: Final = 60.0
"""Seconds after which a test gives up waiting."""
KEY: Final = "the-secret-key"


def config(base: str = "http://127.0.0.1:9", *, spool: Spooling | None = None, **limits: Any) -> Config:
    """Settings for a delivery to that address."""
    connection = Connection(
        api_key=KEY, project_id="the-project", server_endpoint=base, wss_endpoint=base.replace("http", "ws", 1)
    )
    return Config(connection=connection, limits=Limits(**limits), spool=spool)


class Here:
    """Runs guests on the running loop, which has one thread for all."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.tasks: list[asyncio.Task[object]] = []
        self.wakes = 0

    def add(self, guest: Drainable) -> None:
        self.tasks.append(self._loop.create_task(guest.run()))

    def call_soon(self, function: Callable[[], object]) -> None:
        self.wakes += 1
        self._loop.call_soon(function)

    def is_own_thread(self) -> bool:
        return True

    def recorded(self) -> None: ...


@contextlib.asynccontextmanager
async def delivering(transport: ScriptedTransport, **limits: Any) -> AsyncIterator[Delivery]:
    """A delivery on the running loop whose requests a script answers."""
    home = Here()
    delivery = Delivery(config(**limits), home=home, connect=lambda _: transport)
    await asyncio.sleep(0)
    try:
        yield delivery
    finally:
        for task in home.tasks:
            task.cancel()
        await asyncio.wait(home.tasks)


class InThread:
    """Runs guests on a loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._tasks: set[asyncio.Task[object]] = set()
        self.thread = threading.Thread(target=self._loop.run_forever, name="test-delivery", daemon=True)
        self.thread.start()

    def add(self, guest: Drainable) -> None:
        self.call_soon(lambda: self._tasks.add(self._loop.create_task(guest.run())))

    def call_soon(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    def is_own_thread(self) -> bool:
        return threading.current_thread() is self.thread

    def recorded(self) -> None: ...

    def stop(self) -> None:
        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            for task in self._tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self._loop.close()


@contextlib.contextmanager
def delivering_to(base: str, **limits: Any) -> Iterator[Delivery]:
    """A delivery over real connections, on a thread of its own."""
    home = InThread()
    try:
        yield Delivery(config(base, **limits), home=home)
    finally:
        home.stop()
