"""Events that are accepted and not in the buffer: on their way to the disk (*arriving*), or on it alone (*absent*).

Rules:

1. While a session has events here, what it records comes here too: so it reaches the buffer in its order.
2. What arrives is bounded in bytes. An ordinary event beyond the bound is dropped, an essential one beyond five
   quarters of it.

Pure; the caller does the locking and the writing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlsdk.delivery.buffer import Entry, Observer


@dataclass(slots=True)
class _Session:
    arriving: int = 0
    absent: int = 0
    oldest: int = 0
    """No event of it here has a lower number."""
    returned: int | None = None
    """The lowest number that was put back in this round, behind those that are still to be taken out."""
    observer: Observer | None = None


class Annex:
    """See the module's rules."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sessions: dict[str, _Session] = {}
        self._callbacks: dict[int, Callable[[bool], None]] = {}
        self._arriving: deque[Entry] = deque()
        self.arriving_bytes = 0
        self.absent = 0
        """Events on disk and not in memory."""

    # -- arriving -----------------------------------------------------------------------------------------------------

    def take(self, entry: Entry) -> bool:
        """Takes an event that has its number; False when there is no room for it."""
        size = len(entry.body)
        bound = self._max_bytes + self._max_bytes // 4 if entry.is_essential else self._max_bytes
        if self.arriving_bytes + size > bound:
            return False
        session = self._session(entry.session_id, entry.number)
        session.arriving += 1
        self._arriving.append(entry)
        self.arriving_bytes += size
        return True

    @property
    def arriving(self) -> int:
        """Events that are on their way to the disk."""
        return len(self._arriving)

    def arriving_entries(self) -> list[Entry]:
        """These, in their order."""
        return list(self._arriving)

    def next_arriving(self) -> Entry:
        """Takes the oldest of them out: it goes to the buffer, or stays on the disk (`leave_on_disk`)."""
        entry = self._arriving.popleft()
        self.arriving_bytes -= len(entry.body)
        session = self._sessions[entry.session_id]
        session.arriving -= 1
        if session.returned is not None and entry.number <= session.returned:
            session.returned = None  # the next round
        if not session.absent and session.returned is None:
            session.oldest = entry.number + 1
        self._forget_if_gone(entry.session_id, session)
        return entry

    def put_back(self, entry: Entry) -> None:
        """It cannot go yet. Those behind it have to be taken out and put back, too."""
        session = self._session(entry.session_id, entry.number)
        session.oldest = min(session.oldest, entry.number)
        if session.returned is None:
            session.returned = entry.number
        session.arriving += 1
        self._arriving.append(entry)
        self.arriving_bytes += len(entry.body)

    # -- absent -------------------------------------------------------------------------------------------------------

    def leave_on_disk(self, entry: Entry) -> None:
        """An event that was written is given up in memory; who wants to hear of it is kept."""
        session = self._session(entry.session_id, entry.number)
        if session.absent == 0:
            session.oldest = min(session.oldest, entry.number)
        session.absent += 1
        session.observer = entry.observer or session.observer
        if entry.on_settled is not None:
            self._callbacks[entry.number] = entry.on_settled
        self.absent += 1

    def find(self, session_id: str) -> None:
        """An event of another process was found on disk; it comes before all that is recorded here."""
        session = self._session(session_id, 0)
        session.oldest = 0
        session.absent += 1
        self.absent += 1

    def come_back(self, entry: Entry, *, is_own: bool) -> None:
        """An event was read from the disk, and goes to the buffer."""
        session = self._sessions.get(entry.session_id)
        if session is None or session.absent == 0:
            return  # given up already: nothing may be counted twice
        session.absent -= 1
        self.absent -= 1
        if is_own:
            session.oldest = entry.number + 1
            entry.observer = session.observer
            entry.on_settled = self._callbacks.pop(entry.number, None)
        self._forget_if_gone(entry.session_id, session)

    def lose(self, session_id: str, number: int) -> tuple[Observer | None, Callable[[bool], None] | None]:
        """An event had to go from the disk.

        Returns:
            Whom to tell.
        """
        session = self._sessions.get(session_id)
        if session is None or session.absent == 0:
            return None, None
        session.absent -= 1
        self.absent -= 1
        self._forget_if_gone(session_id, session)
        return session.observer, self._callbacks.pop(number, None)

    def holds_absent(self, session_id: str) -> bool:
        """Whether events of a session are on disk alone."""
        session = self._sessions.get(session_id)
        return session is not None and session.absent > 0

    def give_up(self) -> list[Callable[[bool], None]]:
        """Nothing is left on disk of what should be there.

        Returns:
            Whom to tell.
        """
        self.absent = 0
        for session_id, session in list(self._sessions.items()):
            session.absent = 0
            self._forget_if_gone(session_id, session)
        callbacks = list(self._callbacks.values())
        self._callbacks.clear()
        return callbacks

    # -- questions ----------------------------------------------------------------------------------------------------

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._sessions

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def oldest(self, session_id: str) -> int | None:
        """A number that no unsettled event of a session here goes below; None when there is none."""
        session = self._sessions.get(session_id)
        return None if session is None else session.oldest

    def session_ids(self) -> list[str]:
        """The sessions with events here."""
        return list(self._sessions)

    def observers(self) -> Iterator[Observer]:
        """Who has events here."""
        for entry in self._arriving:
            if entry.observer is not None:
                yield entry.observer
        for session in self._sessions.values():
            if session.observer is not None:
                yield session.observer

    def _session(self, session_id: str, number: int) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = _Session(oldest=number)
        return session

    def _forget_if_gone(self, session_id: str, session: _Session) -> None:
        if not (session.arriving or session.absent):
            del self._sessions[session_id]
