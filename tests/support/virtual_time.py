"""An event loop whose clock jumps: whenever nothing can run, it is at once as late as the next timer wants it to be."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(RuntimeError):  # noqa: N818 - it is a state
    """Nothing can run, and no timer is set: the program would wait for ever."""


class Spinning(RuntimeError):  # noqa: N818
    """Something runs again and again while no time passes."""


class _Jumping(selectors.SelectSelector):
    def __init__(self, jump: Callable[[float], None], stay: Callable[[], None]) -> None:
        super().__init__()
        self._jump = jump
        self._stay = stay

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found:
            return found
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self._jump(timeout)
        else:
            self._stay()
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 1000 s. For code that waits by timers only; another thread's doings do not count."""

    MOST_ROUNDS = 100_000
    """Rounds of the loop in a row in which no time passes, at most."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._rounds = 0
        super().__init__(_Jumping(self._jump, self._stay))

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds
        self._rounds = 0

    def _stay(self) -> None:
        self._rounds += 1
        if self._rounds > self.MOST_ROUNDS:
            raise Spinning


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a loop of its own; whatever it leaves behind is cancelled."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


def now() -> float:
    """Virtual seconds since the loop began."""
    return asyncio.get_running_loop().time() - 1000.0
