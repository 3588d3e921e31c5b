"""Who waits until the events of some sessions, recorded when the wait began, are settled.

Nothing waits here: events are told apart by their numbers alone, and whoever is done waiting is handed back to be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future


class Waiter:
    """One wait.

    Attributes:
        future: True when all is settled; False when it makes no sense to wait, since the key is refused.
        sessions: How many sessions are still waited for.
    """

    __slots__ = ("future", "sessions")

    def __init__(self) -> None:
        self.sessions = 0
        self.future: Future[bool] = Future()
        self.future.set_running_or_notify_cancel()  # so that one who gives up waiting cannot cancel it


class Waiters:
    """All of them, by session."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[int, Waiter]]] = {}

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._waiting

    def add(self, waiter: Waiter, session_ids: Iterable[str], *, newest: int) -> None:
        """Has it wait for all events of these sessions up to a number."""
        for session_id in session_ids:
            waiter.sessions += 1
            self._waiting.setdefault(session_id, []).append((newest, waiter))

    def settle(self, session_id: str, *, oldest: int | None) -> list[Waiter]:
        """Events of a session were settled.

        Args:
            session_id: The session.
            oldest: The number of its oldest event that is not; None if all are.

        Returns:
            Those who wait for nothing any more.
        """
        waiting = self._waiting.pop(session_id, None)
        if waiting is None:
            return []
        done: list[Waiter] = []
        still: list[tuple[int, Waiter]] = []
        for newest, waiter in waiting:
            if oldest is not None and oldest <= newest:
                still.append((newest, waiter))
                continue
            waiter.sessions -= 1
            if waiter.sessions == 0:
                done.append(waiter)
        if still:
            self._waiting[session_id] = still
        return done

    def dismiss(self) -> list[Waiter]:
        """Nobody waits any more; returns those who did."""
        dismissed = {waiter: None for waiting in self._waiting.values() for _, waiter in waiting}
        self._waiting.clear()
        return list(dismissed)
