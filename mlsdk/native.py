"""Threads, locks and event loops of the operating system, also where gevent has patched the standard library.

After `gevent.monkey.patch_all()` a thread is a greenlet, a lock lets other greenlets run, and a selector waits in
gevent's own loop. None of that will do for the background work: a greenlet runs only while the application's greenlets
wait, and `asyncio` marks the whole operating system's thread as running a loop. So the background runs on a real thread
with a real selector, made from what gevent put aside (`gevent.monkey.get_original`), and never waits by anything that
gevent patched. Sockets need no such care: `asyncio` uses them without blocking, which gevent's do as well.

Nothing is decided at import: gevent patches late in some programs (a `gunicorn` worker does it after its fork).
"""

from __future__ import annotations

import _thread
import asyncio
import os
import select
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar
from weakref import WeakSet

T = TypeVar("T")

_LOOKED_UP: Final = (select, selectors, socket, threading, time)
"""Loaded, so that `original` finds them."""
_SELECTORS: Final = ("EpollSelector", "KqueueSelector")
"""Those that gevent takes away rather than rewrites."""
_FORK_WAIT: Final = 0.5
"""Seconds that a fork waits for look-ups of host names that are under way, at most."""
_GRAIN: Final = 0.001


def original(module: str, name: str) -> Any:
    """What the standard library has under this name, or had before gevent patched it.

    The module is looked up, not imported: this runs in the midst of calls that a signal may break off, and an import
    that is broken off can leave its lock behind.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(sys.modules[module], name)
    return monkey.get_original(module, name)


def is_patched(module: str = "threading") -> bool:
    """Whether gevent patched a module of the standard library."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched(module))


def may_be_interrupted() -> bool:
    """Whether signal handlers may run in this thread: between any two steps, and raise, or wait for something."""
    # Under gevent in each greenlet of the main thread; those on other threads are not told apart.
    return _thread.get_ident() == _main_ident or ("gevent.monkey" in sys.modules and is_patched())


_main_ident = threading.main_thread().ident


def _note_main_thread() -> None:
    global _main_ident  # noqa: PLW0603 - the thread that forks is the child's main one
    _main_ident = threading.main_thread().ident


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    # After the hook of `threading`, which was loaded before.
    os.register_at_fork(after_in_child=_note_main_thread)


def get_ident() -> int:
    """The operating system's thread, not the greenlet."""
    if "gevent.monkey" not in sys.modules:
        return _thread.get_ident()
    ident: int = original("_thread", "get_ident")()
    return ident


def new_lock() -> threading.Lock:
    """A lock between threads. Among greenlets of one thread it protects only what does not wait."""
    lock: threading.Lock = original("_thread", "allocate_lock")()
    return lock


def new_reentrant_lock() -> threading.RLock:
    """The same, for threads that may come back while they hold it."""
    lock: threading.RLock = original("_thread", "RLock")()
    return lock


def members(of: WeakSet[T]) -> list[T]:
    """All of a set to which threads, finalizers and signal handlers may be adding, who must not wait for a lock."""
    while True:
        try:
            return list(of)
        except RuntimeError:  # noqa: PERF203  (it changed while it was read)
            continue


def start_thread(work: Callable[[], object], *, name: str) -> None:
    """Starts a daemon thread.

    Raises:
        RuntimeError: None can be had, mostly because the interpreter is exiting.
    """
    if is_patched():
        original("_thread", "start_new_thread")(work, ())
    else:
        threading.Thread(target=work, name=name, daemon=True).start()


def new_loop() -> Loop:
    """An event loop for a background thread; always of the selector kind, whatever policy the application set."""
    # Looking a host name up imports this at the first time; on a thread, a fork then leaves the child an import's lock.
    import encodings.idna  # noqa: F401

    if not is_patched("select"):
        return Loop()
    for name in _SELECTORS:
        with suppress(AttributeError, OSError):
            return Loop(original("selectors", name)())
    return Loop(_SelectSelector())


class _SelectSelector(selectors.SelectSelector):
    """The one for all systems, on the original `select.select`."""

    def _select(
        self, readers: Any, writers: Any, _: Any, timeout: float | None = None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        # Windows counts a connection that failed among the exceptional ones; nothing else is.
        ready, writable, failed = original("select", "select")(readers, writers, writers, timeout)
        return ready, writable + failed, []


class _Names:
    """Lets no host name be looked up while the process forks.

    The C library holds a lock meanwhile, which in the child nobody would ever release: every look-up there would hang.
    """

    def __init__(self) -> None:
        self._busy: set[int] = set()
        self._is_forking = False
        if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._in_parent, after_in_child=self._in_child
            )

    @contextmanager
    def being_looked_up(self) -> Iterator[None]:
        """For the thread that looks a name up, around that."""
        me = get_ident()
        self._busy.add(me)
        while self._is_forking:
            self._busy.discard(me)
            original("time", "sleep")(_GRAIN)
            self._busy.add(me)
        try:
            yield
        finally:
            self._busy.discard(me)

    def _before_fork(self) -> None:
        self._is_forking = True
        end = time.monotonic() + _FORK_WAIT
        while self._busy and time.monotonic() < end:
            original("time", "sleep")(_GRAIN)

    def _in_parent(self) -> None:
        self._is_forking = False

    def _in_child(self) -> None:
        self._busy.clear()
        self._is_forking = False


_names: Final = _Names()


class Loop(asyncio.SelectorEventLoop):
    """An event loop that looks host names up on daemon threads.

    The executor that asyncio takes for it is of no use here: it is gone when the interpreter exits; before, its threads
    are joined, however long a name server takes to answer; and under gevent they are greenlets, which would wait
    for a hub that never runs.
    """

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        """Raises OSError when no file descriptor is left."""
        try:
            super().__init__(selector)
        except OSError:
            self._closed = True  # else asyncio complains at its end of the half that was not made
            raise

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """The addresses of a host, see `socket.getaddrinfo`."""
        answer: asyncio.Future[list[Any]] = self.create_future()

        def look_up() -> None:
            try:
                with _names.being_looked_up():
                    found = original("socket", "getaddrinfo")(host, port, family, type, proto, flags)
            except Exception as problem:
                settle(answer.set_exception, problem)
            else:
                settle(answer.set_result, found)

        def settle(how: Callable[[Any], None], what: object) -> None:
            with suppress(RuntimeError):  # the loop was closed
                self.call_soon_threadsafe(lambda: None if answer.done() else how(what))

        try:
            start_thread(look_up, name="mlsdk-names")
        except RuntimeError:
            look_up()
        return await answer


def wait(future: Future[Any], timeout: float) -> None:
    """Blocks until a future is done, `timeout` seconds at most; under gevent only the greenlet, not its thread."""
    if future.done() or timeout <= 0:
        return
    if not is_patched():
        with suppress(Exception):
            future.exception(timeout)
        return
    from gevent import get_hub
    from gevent.event import Event

    done = Event()
    loop = get_hub().loop
    # The only way into a hub from another thread.
    future.add_done_callback(lambda _: loop.run_callback_threadsafe(done.set))
    done.wait(timeout)
