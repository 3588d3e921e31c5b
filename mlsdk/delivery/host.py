"""The process's one daemon thread with its own event loop: started when needed, renewed after a fork, drained at exit.

Everything that waits for the network runs here, never on an application's loop: a call works from any loop, from any
thread and with no loop at all, and an application that blocks its loop does not block delivery.

What exit demands (CPython 3.10 to 3.14):

- The thread is a daemon and goes on working while `atexit` handlers run; a non-daemon thread would be joined before
  them and hang the process. A thread cannot be started that late on 3.12 and later, so it starts with the first user.
- `atexit` does not run in `multiprocessing` children; `multiprocessing.util.Finalize`, made in the child, does.
- The handler drains and stops nothing: handlers that were registered earlier run later and may still send events.
- The loop is always a `SelectorEventLoop`, whatever policy the application set.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from mlsdk import callbacks

logger = logging.getLogger(__name__)

SILENCE: Final = 2.0
"""Seconds without any answer of the service after which a process that exits gives up."""
_POLL: Final = 0.02
"""Seconds between two looks at what is left, at exit."""


class Drainable(Protocol):
    """Something that has to finish before the process may end."""

    @property
    def exit_timeout(self) -> float:
        """Seconds that the process may take at its end for this."""

    def finish(self) -> None:
        """Offers what is still to be said (the ends of open sessions), and hurries from now on."""

    def is_drained(self) -> bool:
        """Whether nothing is left, or nothing can be done about what is left."""

    def last_answer(self) -> float:
        """When the service last answered, or asked to be left alone until; in `time.monotonic()` seconds."""

    def left_over(self) -> int:
        """Events that would be lost if the process ended now."""

    def after_fork_in_child(self) -> None:
        """Starts anew, empty: what was queued belongs to the parent."""

    async def run(self) -> None:
        """The work, on the host's loop, for as long as the process lives."""


class Host:
    """See the module. `generation` counts the forks between the process that imported this module and this one."""

    def __init__(self) -> None:
        self.generation = 0
        self._guests: list[Drainable] = []
        self._contexts: list[Callable[[], object]] = []
        # Loops, sockets and selectors of the parent: in a child they must be neither used nor closed nor collected.
        self._inherited: list[object] = []
        self._reset()
        if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
            os.register_at_fork(after_in_child=self._after_fork_in_child)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._context: contextvars.Context | None = None

    # -- the thread ---------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether the thread was started in this process."""
        return self._loop is not None

    def enter_with(self, attach: Callable[[], object]) -> None:
        """Has `attach` run inside the context of all work here, present and future; for tracing to be kept off."""
        self._contexts.append(attach)
        if self._context is not None:
            self._context.run(attach)

    def add(self, guest: Drainable) -> None:
        """Runs a guest's work here, in this process and in forked children that use it."""
        with self._lock:
            self._guests.append(guest)
        if self.is_running:
            self.spawn(guest.run)
        self.start()

    def start(self) -> None:
        """Starts the thread unless it runs. Cheap when it does."""
        if self._loop is not None:
            return
        with self._lock:
            if self.is_running:  # another thread was faster
                return
            loop = asyncio.SelectorEventLoop()
            loop.set_debug(False)  # python -X dev is for the application's loop; it would report ours as slow
            context = contextvars.Context()  # empty: no request's span, no user's variables
            for attach in self._contexts:
                context.run(attach)
            thread = threading.Thread(target=_run, args=(loop,), name="mlsdk-delivery", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:
                # Too late for a thread (exit on 3.12 and later): whoever waits runs the loop.
                self._thread = None
            self._context = context
            self._loop = loop
            self._drain_at_exit()
        for guest in self._guests:
            self.spawn(guest.run)

    def call_soon(self, function: Callable[[], object]) -> None:
        """Has a function called on the loop. From any thread; does not wait."""
        if self._loop is None:
            self.start()
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(function, context=self._context)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Has a coroutine run on the loop as a task of its own. From any thread; does not wait."""

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(work())
            _tasks.add(task)
            task.add_done_callback(_forget)

        self.call_soon(begin)

    def is_own_thread(self) -> bool:
        """Whether the caller runs on the host's thread, and so must not wait for it."""
        return self._thread is threading.current_thread()

    # -- exit ---------------------------------------------------------------------------------------------------------

    def _drain_at_exit(self) -> None:
        atexit.unregister(self._exit)
        atexit.register(self._exit)
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            from multiprocessing.util import Finalize

            Finalize(None, self._exit, exitpriority=10)

    def _exit(self) -> None:
        """Waits until everything is delivered, the budget is spent, or the service stays silent."""
        if self._loop is None:
            return
        began = time.monotonic()
        guests = list(self._guests)
        for guest in guests:
            guest.finish()
        try:
            while any(not guest.is_drained() for guest in guests) and not self._is_over(guests, began):
                self._let_work(_POLL)
        finally:
            left_over = sum(guest.left_over() for guest in guests)
            if left_over:
                _say_lost(left_over)

    def _is_over(self, guests: list[Drainable], began: float) -> bool:
        now = time.monotonic()
        budget = max(guest.exit_timeout for guest in guests)
        resumes = max(guest.last_answer() for guest in guests)
        if now - began >= budget or resumes - began >= budget:
            return True
        return now - max(began, resumes) >= SILENCE

    def _let_work(self, seconds: float) -> None:
        if self._thread is not None or self._loop is None:
            time.sleep(seconds)
        else:
            self._loop.run_until_complete(asyncio.sleep(seconds))

    # -- fork ---------------------------------------------------------------------------------------------------------

    def _after_fork_in_child(self) -> None:
        self.generation += 1
        self._inherited.append((self._loop, self._thread, self._context))
        self._reset()
        callbacks.after_fork_in_child()
        for guest in self._guests:
            guest.after_fork_in_child()


_tasks: set[asyncio.Task[object]] = set()


def _forget(task: asyncio.Task[object]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and task.exception() is not None:
        logger.error("background work ended with %s", type(task.exception()).__name__, exc_info=task.exception())


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _say_lost(events: int) -> None:
    # Logging may be shut down by now, and nobody may have configured it; a loss has to be seen.
    print(  # noqa: T201
        f"mlsdk: {events} events lost: the service did not take them before the process ended",
        file=sys.stderr,
    )


host = Host()
"""The one of this process."""
