"""Runs users' callbacks, plain or `async`; nothing that they raise, and no time that they take, reaches the SDK.

A callback runs on the event loop that was running when it was registered, as long as that loop runs; otherwise on one
daemon thread that serves all of them. Never on the sender's thread. One callback's calls run one after another, in
the order in which they were posted; at most `MAX_WAITING` wait, and more are dropped and counted.

A loop may stop at any moment, in the middle of a call too. What still waits then runs on the thread, from the next post
or barrier on; an `async` call that was under way stays where it is, and goes on if its loop does.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

from mlsdk import native
from mlsdk.logs import logger_for
from mlsdk.waiting import running_loop

logger = logger_for(__name__)

T = TypeVar("T")
Callback = Callable[[T], Awaitable[None] | None]

# The runners on whose behalf the current code runs.
_calling: contextvars.ContextVar[tuple[object, ...]] = contextvars.ContextVar("mlsdk-callbacks", default=())

MAX_WAITING: Final = 1_000
"""Calls of one callback that may wait for it, at most."""
_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at whether the loop that a barrier waits for still runs."""


class CallbackRunner(Generic[T]):
    """One user callback and the calls that wait for it."""

    def __init__(self, callback: Callback[T], *, name: str, on_thread: bool = False) -> None:
        """Remembers the running loop, if there is one, as the place to run.

        Args:
            callback: What to call, with one argument; plain or `async`.
            name: What the user calls it (`on_error`), for the log.
            on_thread: Runs on the callback thread even if a loop runs here: whoever waits will block that loop.
        """
        self._callback = callback
        self._name = name
        self._is_async = _is_async(callback)
        self._loop = None if on_thread else running_loop()
        self._context = contextvars.copy_context()
        self._context.run(lambda: _calling.set((*_calling.get(), self)))
        self.dropped = 0
        self._reset()

    def _reset(self) -> None:
        self._generation = _generation
        self._waiting: deque[T | Future[None]] = deque()
        self._worker: _Worker | None = None
        # Held for a few lines at a time, on the two threads that work off; never by post() or barrier(), which a
        # signal handler or a finalizer may call at any point.
        self._lock = native.new_lock()

    # -- from any thread ----------------------------------------------------------------------------------------------

    def post(self, argument: T) -> None:
        """Queues one call. From any thread; never waits, never raises."""
        self._forget_the_parent()
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("%s is too slow: more than %d calls wait, further ones are dropped", *self._about())
            return
        self._enqueue(argument)

    def barrier(self) -> Future[None]:
        """A future that is done when every call posted so far has run, or can never run."""
        self._forget_the_parent()
        reached: Future[None] = Future()
        reached.set_running_or_notify_cancel()  # so that a waiter who gives up cannot cancel it
        self._enqueue(reached)
        if self._is_loop_running() and running_loop() is not self._loop:
            # The loop may stop before it gets here. A waiter on that loop would stop with it; another one would not.
            self._look_after(reached)
        return reached

    def is_calling(self) -> bool:
        """Whether this very code runs on behalf of a call, which would wait for itself at a barrier."""
        return any(runner is self for runner in _calling.get())

    def _about(self) -> tuple[str, int]:
        return self._name, MAX_WAITING

    def _is_loop_running(self) -> bool:
        return self._loop is not None and self._loop.is_running()

    def _forget_the_parent(self) -> None:
        """In a forked child: the loop seems to run and does not, and what waited is the parent's to call."""
        if self._generation != _generation:
            self._loop = None
            self._reset()

    def _enqueue(self, item: T | Future[None]) -> None:
        self._waiting.append(item)
        if self._loop is not None and self._loop.is_running():
            try:
                # A copy each: one context cannot be entered by two threads at a time.
                self._loop.call_soon_threadsafe(self._begin, context=self._context.copy())
                return
            except RuntimeError:
                pass  # it was closed just now
        self._begin_on_thread()

    def _begin_on_thread(self) -> None:
        if not _thread.call_soon(self._begin, self._context.copy()):
            # No thread can be had, mostly because the interpreter is exiting. Nobody may wait for what cannot come.
            while self._waiting:
                item = self._waiting.popleft()
                if isinstance(item, Future):
                    item.set_result(None)
                else:
                    self.dropped += 1

    def _look_after(self, reached: Future[None]) -> None:
        """Has the thread begin if the loop stops before `reached` is."""

        def look() -> None:
            if reached.done():
                return
            if not self._is_loop_running():
                self._begin()
            else:
                self._look_after(reached)

        _thread.call_soon(look, self._context.copy(), after=_LOOK_AGAIN)

    # -- on the loop's own thread -------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Makes sure that one worker, on a loop that runs, works off what waits."""
        with self._lock:
            if self._worker is not None and self._worker.loop.is_running():
                return
            worker = self._worker = _Worker(asyncio.get_running_loop())
        self._step(worker)

    def _step(self, worker: _Worker) -> None:
        """Makes the next call and sees to it that the one after it is made.

        Not one coroutine for all of them: one that a loop leaves behind when it is closed would be reported to the user
        as a destroyed task, and between two calls the loop has a turn.
        """
        with self._lock:
            if self._worker is not worker:
                return  # the loop had stopped, and another worker took over
            if not self._waiting:
                self._worker = None
                return
            item = self._waiting.popleft()
            if isinstance(item, Future) and not self._waiting:
                # Before the waiter hears of it: what they post next finds no worker, and so the right loop.
                self._worker = None
        task: asyncio.Task[None] | None = None
        try:
            if isinstance(item, Future):
                item.set_result(None)
            else:
                task = self._call(worker, item)
        finally:  # also when a KeyboardInterrupt is on its way to the application
            if task is None:
                worker.loop.call_soon(self._step, worker, context=self._context.copy())
            else:
                task.add_done_callback(lambda done: self._go_on(worker, done), context=self._context.copy())

    def _call(self, worker: _Worker, argument: T) -> asyncio.Task[None] | None:
        """Makes one call; what is still to be awaited of it is a task."""
        if self._is_async:
            return worker.start(_Unmissed(lambda: self._finish(argument)))
        try:
            result = self._callback(argument)
        except (Exception, SystemExit, GeneratorExit, asyncio.CancelledError) as problem:
            self._failed(problem)
            return None
        return worker.start(self._await(result)) if inspect.isawaitable(result) else None

    async def _finish(self, argument: T) -> None:
        try:
            result = self._callback(argument)
        except (Exception, SystemExit) as problem:
            self._failed(problem)
        else:
            await self._await(cast("Awaitable[None]", result))

    async def _await(self, result: Awaitable[None]) -> None:
        try:
            await result
        except asyncio.CancelledError as problem:
            if _is_being_cancelled():
                raise
            self._failed(problem)  # something that the callback awaited was cancelled, not the callback
        except (Exception, SystemExit) as problem:
            self._failed(problem)

    def _go_on(self, worker: _Worker, done: asyncio.Task[None]) -> None:
        worker.task = None
        if not done.cancelled():
            done.exception()  # only a KeyboardInterrupt; it is seen to have been looked at
            self._step(worker)
            return
        # That is how a loop ends (`asyncio.run`). A new task on it would be left behind.
        with self._lock:
            if self._worker is worker:
                self._worker = None
        if self._waiting:
            self._begin_on_thread()

    def _failed(self, problem: BaseException) -> None:
        # The traceback is the user's own code, which is what they need to see.
        logger.warning("the %s callback failed with %s", self._name, type(problem).__name__, exc_info=problem)


class _Worker:
    """Who works off one callback's calls: the loop on which, and the `async` call that is under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts an `async` call; the loop itself holds its tasks but weakly."""
        self.task = self.loop.create_task(work)
        with suppress(AttributeError):
            # As asyncio does for tasks of its own: a call that comes while a loop is being closed is nobody's mistake.
            self.task._log_destroy_pending = False  # type: ignore[attr-defined]
        return self.task


class _Unmissed(Coroutine[Any, Any, None]):
    """A coroutine that is made when its task begins: if the loop is closed before, nothing is missed and reported."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._make = make
        self._made: Coroutine[Any, Any, None] | None = None

    def _inner(self) -> Coroutine[Any, Any, None]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def send(self, value: Any, /) -> Any:
        return self._inner().send(value)

    def throw(self, *problem: Any) -> Any:
        return self._inner().throw(*problem)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._inner().__await__()


def _is_async(callback: Callable[..., object]) -> bool:
    """Whether calling it makes a coroutine. A plain function may still return one; that is seen when it does."""
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)


def _is_being_cancelled() -> bool:
    """Whether the current task itself was told to end. Python 3.10 cannot tell: there, whatever it is, it ends."""
    cancelling: Callable[[], int] | None = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is None or cancelling() > 0


class _CallbackThread:
    """The one daemon thread, with a loop of its own, for callbacks whose loop does not run. Started when needed."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the thread: in a forked child it does not exist."""
        # Reentrant: a finalizer or a signal handler may get here while its own thread is inside.
        self._lock = native.new_reentrant_lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def call_soon(self, function: Callable[[], None], context: contextvars.Context, *, after: float = 0.0) -> bool:
        """Has a function called on the thread; False if there is none and none can be started any more."""
        with self._lock:
            if self._loop is None:
                self._loop = self._start()
            loop = self._loop
        if loop is None:
            return False
        if after:
            loop.call_soon_threadsafe(lambda: loop.call_later(after, function, context=context))
        else:
            loop.call_soon_threadsafe(function, context=context)
        return True

    def _start(self) -> asyncio.AbstractEventLoop | None:
        try:
            loop = native.new_loop()
        except OSError:  # no file descriptor is left
            return None
        try:
            native.start_thread(partial(_run_for_ever, loop), name="mlsdk-callbacks")
        except RuntimeError:  # the interpreter is exiting (3.12 and later), or no thread is left
            loop.close()
            return None
        return loop


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:  # run_forever() comes back if a callback stops the loop that it finds itself on
        try:
            loop.run_forever()
        except BaseException as problem:  # noqa: PERF203 - a SystemExit of a task that a callback left behind
            logger.warning("a callback's task ended with %s", type(problem).__name__)


_generation = 0
"""Forks between the process that imported this module and this one."""
_thread = _CallbackThread()
_inherited: list[object] = []
"""Loops of the parent: in a child they must be neither used nor closed nor collected."""


def after_fork_in_child() -> None:
    """Makes this module usable in a forked child."""
    global _generation  # noqa: PLW0603 - one process, one generation
    _generation += 1
    _inherited.append(_thread._loop)
    _thread.reset()
