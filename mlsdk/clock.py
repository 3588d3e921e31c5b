"""Time as the SDK needs it: a wall clock that never goes backwards, a monotonic one for waits, and jitter for these."""

from __future__ import annotations

import random
import time
from typing import Final, Protocol


class Clock(Protocol):
    """Where times come from; tests pass their own."""

    def now(self) -> int:
        """Microseconds since the Unix epoch, UTC; never less than an earlier answer of this clock."""

    def monotonic(self) -> float:
        """Seconds on a clock that only measures distances."""


class SystemClock:
    """The machine's clock.

    When the machine sets its clock back, time stands still here until it has caught up: the order of a session's
    timestamps is worth more to its analysis than their distance from a clock that was wrong.
    """

    def __init__(self) -> None:
        self._latest = 0

    def now(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        now = time.time_ns() // 1000
        if now < self._latest:
            return self._latest
        self._latest = now
        return now

    def monotonic(self) -> float:
        """Seconds since an arbitrary point."""
        return time.monotonic()


_system: Final = random.SystemRandom()


def jitter() -> float:
    """A random number from 0 to 1.

    From the system, not from Python's shared generator: an application that seeded that one shall get its own numbers,
    and forked processes must not wait in step.
    """
    return _system.random()
