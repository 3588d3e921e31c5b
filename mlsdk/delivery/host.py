"""The process's one daemon thread with its own event loop: started when needed, renewed after a fork, drained at exit.

Everything that waits for the network runs here, never on an application's loop: a call works from any loop, from any
thread and with no loop at all, and an application that blocks its loop does not block delivery.

What exit demands (CPython 3.10 to 3.14):

- The thread is a daemon and goes on working while `atexit` handlers run; a non-daemon thread would be joined before
  them and hang the process. It starts with the first user: a thread cannot be started while the interpreter exits on
  some versions (3.12.0 to 3.12.2). Should it be too late for that, whoever waits runs the loop.
- `atexit` does not run in `multiprocessing` children; `multiprocessing.util.Finalize`, made in the child, does.
- The handler drains and stops nothing: handlers that were registered earlier run later and may still record. What they
  record is waited for at once, since nothing comes after them that could.
- Nothing is waited for without a bound, and whoever interrupts the wait ends it.

Signal handlers and finalizers may call in here at any point, also from within a call in here; so no call waits for a
lock, and whoever finds one taken leaves the rest to its owner.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from mlsdk import callbacks, native, waiting
from mlsdk.logs import logger_for

logger = logger_for(__name__)

SILENCE: Final = 2.0
"""Seconds without any answer of the service after which a process that exits gives up, with the usual budget."""
_POLL: Final = 0.02
"""Seconds between two looks at what is left, at exit, at most."""


_STORING: Final = 2.0
"""Seconds that writing to the disk may take at exit, at most, once delivery is given up."""


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

    def is_storing(self) -> bool:
        """Whether what is left over is about to be safe on disk."""

    def after_fork_in_child(self) -> None:
        """Starts anew, empty: what was queued belongs to the parent."""

    async def run(self) -> None:
        """The work, on the host's loop, for as long as the process lives."""


class Host:
    """See the module. `generation` counts the forks between the process that imported this module and this one."""

    def __init__(self) -> None:
        self.generation = 0
        self._guests: list[Drainable] = []
        # Loops, sockets and selectors of the parent: in a child they must be neither used nor closed nor collected.
        self._inherited: list[object] = []
        self._reset()
        if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
            os.register_at_fork(after_in_child=self._after_fork_in_child)

    def _reset(self) -> None:
        self._starting = native.new_lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ident: int | None = None  # of the thread that runs the loop
        self._is_threaded = True
        # What all work here runs in. Empty at first: no request's span, no user's variables.
        self._context = contextvars.Context()
        # What was asked for while the loop was being made.
        self._early: deque[Callable[[], object]] = deque()
        self._tasks: set[asyncio.Task[object]] = set()
        self._begun: list[Drainable] = []
        # Seconds spent waiting at exit so far; whether anything recorded from now on has to be waited for at once;
        # whether the wait was in vain.
        self._waited = 0.0
        self._is_late = False
        self._has_given_up = False
        self._lost = 0  # events of which was said that they are lost
        waiting.block = native.wait

    # -- the thread ---------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether the thread was started in this process."""
        return self._loop is not None

    def add(self, guest: Drainable) -> None:
        """Runs a guest's work here, in this process and in forked children that use it."""
        self._guests.append(guest)
        self.call_soon(self._begin)

    def start(self) -> None:
        """Starts the thread unless it runs. Cheap when it does."""
        if self._loop is not None or not self._starting.acquire(blocking=False):
            return
        try:
            if self._loop is None:  # else another thread was faster
                self._start()
        finally:
            self._starting.release()

    def _start(self) -> None:
        try:
            loop = native.new_loop()
        except OSError:  # no file descriptor is left: whoever records next tries again
            return
        loop.set_debug(False)  # python -X dev is for the application's loop; it would report ours as slow
        loop.call_soon(self._begin, context=self._context)
        try:
            native.start_thread(partial(self._run, loop), name="mlsdk-delivery")
        except RuntimeError:
            self._is_threaded = False
            waiting.block = self._work_until
        self._is_late = not threading.main_thread().is_alive()
        self._drain_at_exit()
        self._loop = loop
        self._catch_up(loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ident = native.get_ident()
        while True:  # a SystemExit stops a loop; it can be run again
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as problem:  # noqa: PERF203  (they have no business here)
                logger.error("background work ended with %s; the rest goes on", type(problem).__name__)

    def _begin(self) -> None:
        """On the loop: starts the work of guests that have come since the last time."""
        for guest in self._guests:
            if not any(guest is other for other in self._begun):
                self._begun.append(guest)
                self._create_task(guest.run)

    def call_soon(self, function: Callable[[], object]) -> None:
        """Has a function called on the loop. From any thread; does not wait."""
        loop = self._loop
        if loop is None:
            self._early.append(function)
            self.start()
            loop = self._loop
            if loop is not None:  # else another thread starts it now, and will find the function
                self._catch_up(loop)
            return
        loop.call_soon_threadsafe(function, context=self._context)

    def _catch_up(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(IndexError):
            while True:
                loop.call_soon_threadsafe(self._early.popleft(), context=self._context)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Has a coroutine run on the loop as a task of its own. From any thread; does not wait."""
        self.call_soon(partial(self._create_task, work))

    def _create_task(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)  # the loop itself holds tasks but weakly
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            logger.error("background work ended with %s", type(problem).__name__, exc_info=problem)

    def is_own_thread(self) -> bool:
        """Whether the caller runs on the host's thread, and so must not wait for it."""
        return self._ident is not None and self._ident == native.get_ident()

    # -- exit ---------------------------------------------------------------------------------------------------------

    def _drain_at_exit(self) -> None:
        atexit.unregister(self.drain)
        atexit.register(self.drain)
        if "multiprocessing.util" in sys.modules:
            from multiprocessing.process import parent_process
            from multiprocessing.util import register_after_fork

            if parent_process() is not None:
                self._finalize_in_child()
            # A child that a fork server begets loads the application before it forgets all finalizers.
            register_after_fork(self, Host._finalize_in_child)

    def _finalize_in_child(self) -> None:
        from multiprocessing.util import Finalize

        Finalize(None, self.drain, exitpriority=10)

    def drain(self) -> None:
        """Ends what is open, and waits until everything is delivered or nothing more can be expected."""
        if self._loop is None:
            return
        for guest in list(self._guests):
            guest.finish()
        self._drain()
        # Not in a child of `multiprocessing`, whose main thread lives on: nothing runs in it after this.
        self._is_late = not threading.main_thread().is_alive()

    def recorded(self) -> None:
        """To be called after something was offered, so that it is delivered even if it came very early or very late."""
        if self._loop is None:  # a forked child: the thread stayed with the parent
            self.start()
        if self._is_late and not (self._has_given_up or sys.is_finalizing()) and _is_main_thread():
            # Who records on another thread (an exporter's) waits there, for a batch at a time.
            self._drain()

    def _drain(self) -> None:
        """Waits until everything is delivered, the budget is spent, or the service stays silent."""
        began = time.monotonic()
        pause = 0.001
        try:
            while not self._is_over(began):
                self._let_work(pause)
                pause = min(2 * pause, _POLL)
        except (KeyboardInterrupt, SystemExit):
            pass  # whoever interrupts this wants to be gone; a traceback would tell them nothing
        finally:
            self._waited += time.monotonic() - began
            self._let_store()
            self._count_losses()

    def _let_store(self) -> None:
        """Waits a little for what goes to the disk; it is not what the service is given time for."""
        end = time.monotonic() + _STORING
        with suppress(KeyboardInterrupt, SystemExit):
            while time.monotonic() < end and any(guest.is_storing() for guest in self._guests):
                self._let_work(_POLL)

    def last_word(self) -> None:
        """To be called by who handed something over while the process ends, and waited for it: counts what is lost."""
        if self._is_late:
            self._count_losses()

    def _count_losses(self) -> None:
        left_over = sum(guest.left_over() for guest in self._guests)
        if left_over > self._lost:
            _say_lost(left_over - self._lost, is_first=not self._lost)
            self._lost = left_over
            self._has_given_up = True

    def _is_over(self, began: float) -> bool:
        guests = [guest for guest in self._guests if not guest.is_drained()]
        if not guests:
            return True
        now = time.monotonic()
        end = began + max(guest.exit_timeout for guest in guests) - self._waited
        resumes = max(guest.last_answer() for guest in guests)
        silence = max(silence_within(guest.exit_timeout) for guest in guests)
        return now >= end or resumes >= end or now - max(began, resumes) >= silence

    def _let_work(self, seconds: float) -> None:
        if self._is_threaded or self._loop is None or waiting.running_loop() is not None:
            time.sleep(seconds)
            return
        self._ident = native.get_ident()
        try:
            self._loop.run_until_complete(asyncio.sleep(seconds))
        finally:
            self._ident = None

    def _work_until(self, future: Future[Any], timeout: float) -> None:
        """How to wait where no thread could be had: by doing the work."""
        end = time.monotonic() + timeout
        while not future.done() and time.monotonic() < end:
            self._let_work(min(_POLL, timeout))

    # -- fork ---------------------------------------------------------------------------------------------------------

    def _after_fork_in_child(self) -> None:
        self.generation += 1
        self._inherited.append((self._loop, self._context, self._tasks, self._begun))
        self._reset()
        callbacks.after_fork_in_child()
        for guest in self._guests:
            guest.after_fork_in_child()


def silence_within(budget: float) -> float:
    """How many seconds without any answer end the wait of a process that has so many to exit.

    Who gives it more time than usual has a service that takes longer to answer.
    """
    return max(SILENCE, budget / 5)


def _is_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def _say_lost(events: int, *, is_first: bool) -> None:
    # Logging may be shut down by now, and nobody may have configured it; a loss has to be seen.
    if sys.stderr is None:  # a program without a console
        return
    count = str(events) if is_first else f"{events} more"
    what = f"{count} event" if events == 1 else f"{count} events"
    with suppress(OSError, ValueError):  # it may be closed
        # In one piece: other threads and processes may write too.
        sys.stderr.write(f"mlsdk: {what} lost: the service did not take them before the process ended\n")
        sys.stderr.flush()


host = Host()
"""The one of this process."""
