"""When events go to the disk, and what becomes of delivery when the disk does not take them.

Two modes. `write-ahead`: every event is written before a batch with it is sent. `spill`: events are written once they
could not be delivered for a second, and while none can be (an outage, a refused key, a full queue, the end of the
process); all others pass by the disk.
In both it is written down which sessions are open, so that the next process can end those of a dead one.

What other threads see of it, the `annex`, is protected by the delivery's lock; the rest is for the sender's thread. A
disk that fails costs its protection, never delivery: it is said once, events stay in memory, and it is tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from mlsdk.config import Connection, Spooling
from mlsdk.delivery.annex import Annex
from mlsdk.delivery.box import Found, as_event, why
from mlsdk.delivery.buffer import Buffer, Entry
from mlsdk.delivery.spool import Spool, scope_of
from mlsdk.events import END_SESSION
from mlsdk.logs import logger_for

logger = logger_for(__name__)

TRY_AGAIN: Final = 30.0
"""Seconds until a disk that failed is written to again."""
LOOK_AGAIN: Final = 30.0
"""Seconds between two looks for what dead processes have left."""
LOOK: Final = 1.0
"""Seconds between two looks for events that could not be delivered since the last one."""
SHORTEST_WINDOW: Final = 0.01
"""Seconds between two writes, at least: a window of nothing shall not keep a processor busy through an outage."""
_PRESSING_EVENTS: Final = 1000
_PRESSING_BYTES: Final = 1024 * 1024


class Keeper:
    """See the module."""

    def __init__(
        self,
        spooling: Spooling,
        connection: Connection,
        *,
        memory_bytes: int,
        now: Callable[[], float],
    ) -> None:
        """Opens nothing yet.

        Args:
            spooling: Where and how.
            connection: Whose events.
            memory_bytes: What may be on its way to the disk, at most.
            now: Seconds on a clock that never goes backwards; asked on the sender's thread only.
        """
        self.spooling = spooling
        self.annex = Annex(max_bytes=memory_bytes)
        self.is_broken = False
        self.is_ready = False
        """Whether it is known what dead processes have left; before, nothing may be sent."""
        self.is_behind = True
        """Whether the buffer may hold events that should be on disk."""
        self.evicted: deque[Entry] = deque()
        """Events that were written and then dropped from memory; any thread appends."""
        self.has_news = False
        """Whether events have arrived in the annex since the last look; those that were there may have to stay."""
        self.is_tidy = True
        """Whether nothing of ours is left on disk that `tidy` would remove."""
        self._is_ahead = spooling.mode == "write-ahead"
        self._in_trouble = False
        self._now = now
        self._try_from = 0.0
        self._look_from = 0.0
        self._catches_up = False
        self._age_from = 0.0
        self._aged = 0  # the newest event when last looked
        self._spool = Spool(
            spooling.directory,
            scope=scope_of(connection.server_endpoint, connection.project_id),
            max_bytes=spooling.max_bytes,
            syncs=self._is_ahead,
        )

    # -- under the lock -----------------------------------------------------------------------------------------------

    @property
    def saves(self) -> bool:
        """Whether every event is written now."""
        return self._is_ahead or self._in_trouble

    @property
    def rest(self) -> float:
        """Seconds until the next look while there is nothing to do but to find what others leave."""
        return LOOK_AGAIN

    @property
    def pause(self) -> float:
        """Seconds that an event may stay in memory alone while all are written."""
        return max(self.spooling.window, SHORTEST_WINDOW) if self.saves else LOOK

    def set_trouble(self, *, is_on: bool) -> None:
        """Events cannot be delivered now, or can again."""
        self._in_trouble = is_on

    def wants(self, entry: Entry, buffer: Buffer) -> bool:
        """Whether an event that arrives goes to the annex rather than to the buffer."""
        if entry.session_id in self.annex or not self.is_ready:
            return True
        if not self.is_broken and (self.saves or not buffer.fits(len(entry.body))):
            return True
        self.is_behind = True
        return False

    @property
    def is_at_ease(self) -> bool:
        """Whether nothing is left to do: nothing to look for, to bring back or to remove."""
        return self.is_ready and self.is_tidy and not self.annex

    @property
    def is_pressed(self) -> bool:
        """Whether a good deal waits to be written."""
        return self.annex.arriving >= _PRESSING_EVENTS or self.annex.arriving_bytes >= _PRESSING_BYTES

    def due(self, buffer: Buffer) -> list[Entry]:
        """The events to write now, in order.

        None is written before an older one of its session: what a dead process has left is read in the order in which
        it was written.
        """
        self.has_news = False
        self._catches_up = False
        if self.is_broken and self._now() < self._try_from:
            return []
        arriving = self.annex.arriving_entries()
        if not self.saves:
            aged = self._aged_events(buffer)
            arriving = self._stuck_events(buffer, arriving)
            if not arriving:
                return aged
        self._catches_up = True
        return (_unwritten(buffer, buffer.newest) if self.is_behind else []) + arriving

    def _aged_events(self, buffer: Buffer) -> list[Entry]:
        if self._now() < self._age_from:
            return []
        aged = _unwritten(buffer, self._aged)
        self._age_from = self._now() + LOOK
        self._aged = buffer.newest
        return aged

    def _stuck_events(self, buffer: Buffer, arriving: list[Entry]) -> list[Entry]:
        if not buffer.fits(self.annex.arriving_bytes) or buffer.room < len(arriving):
            return arriving
        # Only behind others of their session, which are on disk.
        return [entry for entry in arriving if self.annex.holds_absent(entry.session_id)]

    def move(self, buffer: Buffer) -> tuple[list[Entry], list[Entry]]:
        """Takes what has arrived to the buffer, or gives it up in memory.

        Returns:
            The events to `leave` on disk, and those that were dropped.
        """
        left: list[Entry] = []
        gone: list[Entry] = []
        staying: set[str] = set()
        for _ in range(self.annex.arriving):
            entry = self.annex.next_arriving()
            session_id = entry.session_id
            has_older = session_id in staying or self.annex.holds_absent(session_id)
            if entry.place is not None and (has_older or not buffer.fits(len(entry.body))):
                self.annex.leave_on_disk(entry)
                left.append(entry)
            elif not has_older and (entry.place is not None or self._may_pass(entry, buffer)):
                gone += buffer.admit(entry)
            else:
                staying.add(session_id)
                self.annex.put_back(entry)
        return left, gone

    def _may_pass(self, entry: Entry, buffer: Buffer) -> bool:
        """Whether an event may be sent without being on disk."""
        # Without a disk it waits for room, too: in the annex it is counted among what memory may hold.
        if not buffer.fits(len(entry.body)) or (self.saves and not self.is_broken):
            return False
        self.is_behind = True
        return True

    # -- on the sender's thread ---------------------------------------------------------------------------------------

    def look_for_dead(self) -> Found | None:
        """What dead processes have left; None when somebody looked less than `LOOK_AGAIN` seconds ago."""
        if self._now() < self._look_from:
            return None
        self._look_from = self._now() + LOOK_AGAIN
        try:
            found = self._spool.adopt()
        except OSError as problem:
            # Whoever has to write there is told; until then nothing is missed.
            logger.debug("the spool cannot be read (%s)", why(problem))
            return Found()
        self._note_folder()
        return found

    def _note_folder(self) -> None:
        self.is_tidy = not self._spool.has_folder

    def store(self, entries: Sequence[Entry]) -> list[tuple[int, str]]:
        """Writes events.

        Returns:
            Absent ones that had to go for want of room: number and session of each.
        """
        if not entries or (self.is_broken and self._now() < self._try_from):
            return []
        new = [entry for entry in entries if entry.place is None]
        catches_up, self._catches_up = self._catches_up, False
        try:
            try:
                self._spool.store(new)
            finally:  # some may be written even if not all could be
                self._spool.note([entry.body for entry in new if entry.place is not None])
        except OSError as problem:
            self._fail(problem)
        else:
            self.is_behind = self.is_behind and not catches_up
            if self.is_broken:
                self.is_broken = False
                logger.warning("the spool can be written again")
        self._note_folder()
        return self._spool.take_gone()

    def _fail(self, problem: OSError) -> None:
        self._try_from = self._now() + TRY_AGAIN
        self.is_behind = True
        if not self.is_broken:
            self.is_broken = True
            logger.error("the spool cannot be written (%s); events are kept in memory alone", why(problem))

    def sending(self, batch: Sequence[Entry]) -> None:
        """Events that are about to be sent. Those on disk are noted already; an end is noted when it is settled."""
        new = [entry.body for entry in batch if entry.place is None and not _is_end(entry)]
        self._note(new)

    def settle(self, entries: Sequence[Entry]) -> None:
        """Events are done."""
        self._note([entry.body for entry in entries if entry.place is None and _is_end(entry)])
        try:
            self._spool.settle(entries)
        except OSError as problem:
            # They are sent once more should this process die; later ones are written down all the same.
            logger.debug("the spool did not take what is settled (%s)", why(problem))

    def _note(self, bodies: Sequence[bytes]) -> None:
        if not bodies or (self.is_broken and self._now() < self._try_from):
            return
        try:
            self._spool.note(bodies)
        except OSError as problem:
            self._fail(problem)
        self._note_folder()

    def leave(self, entries: Sequence[Entry]) -> None:
        """Events are given up in memory."""
        self._spool.leave(entries)

    def read(self, *, events: int, size: int) -> list[Entry]:
        """Absent events that memory can take again, in order."""
        try:
            return self._spool.read(max_events=events, max_bytes=size)
        except OSError as problem:
            self._fail(problem)
            return []

    def is_own(self, entry: Entry) -> bool:
        """Whether an event that was read is one of this process."""
        return self._spool.is_own(entry)

    @property
    def has_absent(self) -> bool:
        """Whether there is anything to read."""
        return self._spool.has_absent

    def forget_evicted(self) -> None:
        """Writes down which events were dropped."""
        while self.evicted:
            self.settle([self.evicted.popleft()])

    def tidy(self) -> None:
        """Removes what is empty."""
        try:
            self._spool.tidy()
        except OSError as problem:
            logger.debug("the spool could not be tidied (%s)", why(problem))
        self.is_tidy = True

    def close(self) -> None:
        """Gives everything up to whoever comes next."""
        self._spool.close()

    def forget(self) -> None:
        """In a forked child: everything is the parent's."""
        self._spool.forget()


def _unwritten(buffer: Buffer, newest: int) -> list[Entry]:
    """The events up to a number that are in memory alone, in order."""
    found = [entry for entry in buffer.entries() if entry.place is None and entry.number <= newest]
    return sorted(found, key=lambda entry: entry.number)


def _is_end(entry: Entry) -> bool:
    if not entry.is_essential or entry.is_evicted:
        return False
    event = as_event(entry.body)
    return event is not None and event["type"] == END_SESSION
