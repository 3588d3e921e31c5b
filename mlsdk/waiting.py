"""Two ways to wait for the background: one lets its loop run, the other blocks its thread.

`Session` and `Client` are written once, as coroutines; `mlsdk.sync` drives the same coroutines with the blocking way,
so that they never suspend.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from mlsdk import native

T = TypeVar("T")

IN_A_HURRY: Final = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
"""Whoever leaves a context because of one of these wants to be gone, and is not kept waiting."""

block: Callable[[Future[Any], float], None] = native.wait
"""How the calling thread stands still until a future is done, or for so many seconds. The sender's host sets it."""


class Wait(Protocol):
    """A way to wait."""

    blocks: bool
    """Whether the thread, and with it a loop that runs in it, stands still meanwhile."""

    async def __call__(self, future: Future[T], timeout: float) -> T | None:
        """The future's result, or None when `timeout` seconds were not enough."""


class Suspending:
    """Lets the running loop go on meanwhile; blocks where no loop runs that could."""

    blocks = False

    async def __call__(self, future: Future[T], timeout: float) -> T | None:
        """See `Wait`."""
        if future.done():
            return future.result()
        if running_loop() is None:
            return await Blocking()(future, timeout)
        wrapped = asyncio.wrap_future(future)
        try:
            await asyncio.wait({wrapped}, timeout=timeout)
            return wrapped.result() if wrapped.done() else None
        finally:
            # Otherwise the future would call into this loop when it is done, by when the loop may be closed.
            wrapped.cancel()


class Blocking:
    """Blocks the thread; never suspends."""

    blocks = True

    async def __call__(self, future: Future[T], timeout: float) -> T | None:
        """See `Wait`."""
        block(future, min(timeout, threading.TIMEOUT_MAX))
        return future.result() if future.done() else None


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that only waits in the blocking way, without a loop.

    Raises:
        Exception: Whatever the coroutine raises.
    """
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a coroutine of the synchronous API tried to wait on an event loop")


def clock_of(now: Callable[[], float], seconds: float) -> Callable[[], float]:
    """A countdown: the seconds that are left of a span that begins now, never below 0."""
    end = now() + seconds
    return lambda: max(0.0, end - now())


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
