"""Runs users' callbacks, plain or `async`; nothing that they raise, and no time that they take, reaches the SDK.

A callback runs on the event loop that was running when it was registered, as long as that loop runs; otherwise on one
daemon thread that serves all of them. Never on the sender's thread. One callback's calls run one after another, in
the order in which they were posted; at most `MAX_WAITING` wait, and more are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
Callback = Callable[[T], Awaitable[None] | None]

MAX_WAITING: Final = 1_000
"""Calls of one callback that may wait for it, at most."""


class CallbackRunner(Generic[T]):
    """One user callback and the calls that wait for it."""

    def __init__(self, callback: Callback[T], *, name: str) -> None:
        """Remembers the running loop, if there is one, as the place to run.

        Args:
            callback: What to call, with one argument; plain or `async`.
            name: What the user calls it (`on_error`), for the log.
        """
        self._callback = callback
        self._name = name
        self._loop = running_loop()
        self._context = contextvars.copy_context()
        self._waiting: deque[T | Future[None]] = deque()
        self._is_running = False
        self.dropped = 0

    def post(self, argument: T) -> None:
        """Queues one call. From any thread; never waits, never raises."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("%s is too slow: more than %d calls wait, further ones are dropped", *self._about())
            return
        self._enqueue(argument)

    def barrier(self) -> Future[None]:
        """A future that is done when every call posted so far has run."""
        reached: Future[None] = Future()
        reached.set_running_or_notify_cancel()  # so that a waiter who gives up cannot cancel it
        self._enqueue(reached)
        return reached

    def runs_on(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether the calls run on this loop, so that blocking it would block them."""
        return loop is not None and self._loop is loop

    def _about(self) -> tuple[str, int]:
        return self._name, MAX_WAITING

    def _enqueue(self, item: T | Future[None]) -> None:
        self._waiting.append(item)
        if self._loop is not None and self._loop.is_running():
            try:
                self._loop.call_soon_threadsafe(self._start, context=self._context)
                return
            except RuntimeError:
                pass  # it was closed just now
        _thread.call_soon(self._start, self._context)

    def _start(self) -> None:
        """On the loop's own thread: makes sure that one task works off what waits."""
        if not self._is_running:
            self._is_running = True
            # The task is kept by the loop until done; the loop keeps only weak references, hence the attribute.
            self._task = asyncio.get_running_loop().create_task(self._work_off())

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                item = self._waiting.popleft()
                if isinstance(item, Future):
                    item.set_result(None)
                else:
                    await self._call(item)
        finally:
            self._is_running = False

    async def _call(self, argument: T) -> None:
        try:
            result = self._callback(argument)
            if inspect.isawaitable(result):
                await result
        except (Exception, SystemExit) as problem:
            # The traceback is the user's own code, which is what they need to see.
            logger.warning("the %s callback failed with %s", self._name, type(problem).__name__, exc_info=True)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _CallbackThread:
    """The one daemon thread, with a loop of its own, for callbacks whose loop does not run. Started when needed."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the thread: in a forked child it does not exist."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def call_soon(self, function: Callable[[], None], context: contextvars.Context) -> None:
        with self._lock:
            if self._loop is None:
                loop = asyncio.SelectorEventLoop()
                threading.Thread(target=loop.run_forever, name="mlsdk-callbacks", daemon=True).start()
                self._loop = loop
            self._loop.call_soon_threadsafe(function, context=context)


_thread = _CallbackThread()


def after_fork_in_child() -> None:
    """Makes this module usable in a forked child."""
    _thread.reset()
