"""The events that wait for delivery or are on their way: bounded, in order within a session, every one accounted for.

Rules:

1. Events of one session leave in the order in which they came, and never in two batches at a time.
2. The buffer never holds more events or bytes than its bounds; in flight counts.
3. When it is full, an ordinary event that arrives is dropped. An essential one (a start, an end, an identify, an
   alias) instead evicts the newest ordinary events that are not in flight, and is dropped only when none is left:
   without ends the service never analyses a conversation.
4. At every moment `accepted + recovered == delivered + queued + spooled + handed_over + sum(dropped)`.

Every operation takes time independent of how much is held, on average over many (`cut` and `settle`: of the batch).
Pure; the caller does the locking.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypedDict

from mlsdk.errors import DeliveryError

MAX_BATCH_EVENTS: Final = 500
MAX_BATCH_BYTES: Final = 512 * 1024
MIN_BATCH_BYTES: Final = 1024
"""A service that says 413 teaches no smaller bound than this."""
_COMMA_BYTES: Final = 1
_BRACKET_BYTES: Final = 2
_EVICTED_KEPT: Final = 16
"""Evicted events that a session's queue may hold beyond as many as it has others, before it is cleared of them."""
NO_EVENTS: Final = b"[]"
"""The body of a request that only asks whether the key is accepted."""

QUEUE_FULL: Final = "queue_full"


class Stats(TypedDict):
    """The ledger at a moment, in events.

    `accepted + recovered == delivered + queued + spooled + handed_over + sum(dropped.values())`, always.
    """

    accepted: int
    """Events that calls have handed over, before `before_send`."""
    recovered: int
    """Events read back from a spool."""
    delivered: int
    """Events that the service took."""
    queued: int
    """Events in memory, in flight included."""
    spooled: int
    """Events on disk and not in memory."""
    handed_over: int
    """Events left for, or leased by, another process."""
    dropped: dict[str, int]
    """Events gone for good, by reason."""


class Observer(Protocol):
    """Whom to tell of trouble with the events of a session."""

    def report(self, error: DeliveryError) -> None:
        """From any thread; must neither wait nor raise."""


class Entry:
    """One encoded event on its way."""

    __slots__ = ("body", "is_essential", "is_evicted", "number", "observer", "on_settled", "place", "session_id")

    def __init__(
        self,
        body: bytes,
        session_id: str,
        *,
        is_essential: bool,
        observer: Observer | None = None,
        on_settled: Callable[[bool], None] | None = None,
    ) -> None:
        """Describes an event.

        Args:
            body: The event as JSON text.
            session_id: The session within which order is kept.
            is_essential: It starts, ends or names something.
            observer: Whom to tell when it is refused or dropped; the buffer only carries it.
            on_settled: Called with True when it is delivered, with False when it is gone; likewise only carried.
        """
        self.body = body
        self.session_id = session_id
        self.is_essential = is_essential
        self.observer = observer
        self.on_settled = on_settled
        self.number = 0
        self.is_evicted = False
        self.place: object = None  # on disk, if it is written there; the buffer only carries it


@dataclass(slots=True)
class _Session:
    """What the buffer holds of one session: `flying` is in a batch, `waiting` comes after it."""

    waiting: deque[Entry] = field(default_factory=deque)
    flying: deque[Entry] = field(default_factory=deque)
    events: int = 0
    """Events in `waiting`, evicted ones apart."""
    size: int = 0
    """Their bytes."""
    is_held: bool = False


class Buffer:
    """See the module's rules."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._sessions: dict[str, _Session] = {}
        # Sessions of which a batch may be cut now, the longest waiting first.
        self._ready: dict[str, _Session] = {}
        self._ready_events = 0
        self._ready_bytes = 0
        # Ordinary events not in flight by number: a dict keeps their order and gives up its newest in O(1).
        self._ordinary: dict[int, Entry] = {}
        self._ordinary_bytes = 0
        self._next_number = 1
        self._bytes = 0
        self._reserved = 0, 0
        self._accepted = 0
        self._recovered = 0
        self._delivered = 0
        self._queued = 0
        self._dropped: dict[str, int] = {}
        self.batch_bytes = MAX_BATCH_BYTES

    # -- in -----------------------------------------------------------------------------------------------------------

    def offer(self, entry: Entry) -> Sequence[Entry]:
        """Takes an event in.

        Returns:
            The events that were dropped for want of room: none, this one, or older ones that made room for it.
        """
        self._accepted += 1
        return self.admit(entry)

    def accept(self, entry: Entry) -> None:
        """Counts an event, and gives it its number, that is not to come in at once."""
        self._accepted += 1
        entry.number = self._next_number
        self._next_number += 1

    def admit(self, entry: Entry) -> Sequence[Entry]:
        """Takes in an event that is counted already; as `offer`."""
        size = len(entry.body)
        evicted: Sequence[Entry] = ()
        # As fits(), without the call: every event comes through here.
        if self._queued >= self._max_events or self._bytes + size > self._max_bytes:
            made = self._make_room(entry, size)
            if made is None:
                self.count_dropped(QUEUE_FULL)
                return (entry,)
            evicted = made
        if entry.number == 0:
            entry.number = self._next_number
            self._next_number += 1
        self._put(entry, size)
        return evicted

    def come_back(self, entry: Entry) -> None:
        """Takes in an event for which room was reserved."""
        self._put(entry, len(entry.body))

    def _put(self, entry: Entry, size: int) -> None:
        session_id = entry.session_id
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = _Session()
        session.waiting.append(entry)
        session.events += 1
        session.size += size
        self._queued += 1
        self._bytes += size
        if not entry.is_essential:
            self._ordinary[entry.number] = entry
            self._ordinary_bytes += size
        if session_id in self._ready:
            self._ready_events += 1
            self._ready_bytes += size
        else:
            self._make_ready(session_id, session)

    def refuse(self, reason: str) -> None:
        """Counts an event that was accepted and is not to be sent."""
        self._accepted += 1
        self.count_dropped(reason)

    def recover(self, events: int) -> None:
        """Counts events that another process has left."""
        self._recovered += events

    def count_dropped(self, reason: str, events: int = 1) -> None:
        """Counts events that are gone, and are not here."""
        if events:
            self._dropped[reason] = self._dropped.get(reason, 0) + events

    @property
    def room(self) -> int:
        """Events for which there is room."""
        return self._max_events - self._queued

    def fits(self, size: int) -> bool:
        """Whether there is room for an event of so many bytes."""
        return self._queued < self._max_events and self._bytes + size <= self._max_bytes

    def reserve(self) -> tuple[int, int]:
        """Keeps the room free that there is, if that is half of all or more, until `release`.

        Returns:
            Events and bytes that may `come_back`.
        """
        events, size = self._max_events - self._queued, self._max_bytes - self._bytes
        if 2 * events < self._max_events or 2 * size < self._max_bytes:
            return 0, 0
        self._reserved = events, size
        self._max_events -= events
        self._max_bytes -= size
        return self._reserved

    def release(self) -> None:
        """Ends a `reserve`."""
        self._max_events += self._reserved[0]
        self._max_bytes += self._reserved[1]
        self._reserved = 0, 0

    def _make_room(self, entry: Entry, size: int) -> Sequence[Entry] | None:
        """What was evicted for an entry that does not fit, or None when no room can be made."""
        is_enough = bool(self._ordinary) and self._bytes - self._ordinary_bytes + size <= self._max_bytes
        if not (entry.is_essential and is_enough):
            return None
        evicted = []
        while not self.fits(size):
            evicted.append(self._evict_newest())
        return evicted

    def _evict_newest(self) -> Entry:
        _, entry = self._ordinary.popitem()
        size = len(entry.body)
        self._ordinary_bytes -= size
        # It stays in its session's queue, to be skipped: taking it out of the middle would cost O(n).
        entry.is_evicted = True
        entry.body = b""
        session = self._sessions[entry.session_id]
        session.events -= 1
        session.size -= size
        if entry.session_id in self._ready:
            self._ready_events -= 1
            self._ready_bytes -= size
            if session.events == 0:
                del self._ready[entry.session_id]
        if len(session.waiting) > 2 * session.events + _EVICTED_KEPT:
            session.waiting = deque(each for each in session.waiting if not each.is_evicted)
        self._forget_if_done(entry.session_id, session)
        self._queued -= 1
        self._bytes -= size
        self.count_dropped(QUEUE_FULL)
        return entry

    # -- out ----------------------------------------------------------------------------------------------------------

    def cut(self) -> list[Entry]:
        """Takes a batch out: as much as the bounds allow of the sessions that wait longest; empty if none is ready.

        A session in it is in no other batch until all of its events in this one are settled. One event larger than the
        bound makes a batch alone.
        """
        batch: list[Entry] = []
        room = self.batch_bytes - _BRACKET_BYTES
        while self._ready and len(batch) < MAX_BATCH_EVENTS:
            session_id, session = next(iter(self._ready.items()))
            taken = self._take(session, MAX_BATCH_EVENTS - len(batch), room, is_first=not batch)
            if not taken:
                break
            del self._ready[session_id]
            self._ready_events -= session.events + len(taken)
            taken_bytes = sum(len(entry.body) for entry in taken)
            self._ready_bytes -= session.size + taken_bytes
            batch += taken
            room -= taken_bytes + len(taken) * _COMMA_BYTES
        return batch

    def _take(self, session: _Session, most: int, room: int, *, is_first: bool) -> list[Entry]:
        """Moves what fits from a session's waiting events to its flying ones."""
        taken: list[Entry] = []
        taken_bytes = 0
        waiting, ordinary = session.waiting, self._ordinary
        while waiting and most:
            entry = waiting[0]
            if entry.is_evicted:
                waiting.popleft()
                continue
            size = len(entry.body)
            if size > room and (taken or not is_first):
                break
            waiting.popleft()
            taken.append(entry)
            taken_bytes += size
            room -= size + _COMMA_BYTES
            most -= 1
            if not entry.is_essential:
                del ordinary[entry.number]
                self._ordinary_bytes -= size
        session.flying.extend(taken)
        session.events -= len(taken)
        session.size -= taken_bytes
        return taken

    def settle(self, entries: Iterable[Entry], *, reason: str | None = None) -> None:
        """Accounts for events of a batch, in their order within a session: delivered, or dropped for a reason."""
        settled = size = 0
        try:
            for entry in entries:
                session_id = entry.session_id
                session = self._sessions.get(session_id)
                if session is None or not session.flying or session.flying[0] is not entry:
                    raise RuntimeError("events of a session must settle in their order")
                session.flying.popleft()
                settled += 1
                size += len(entry.body)
                if not session.flying:
                    self._make_ready(session_id, session)
                    self._forget_if_done(session_id, session)
        finally:
            self._queued -= settled
            self._bytes -= size
            if reason is None:
                self._delivered += settled
            else:
                self.count_dropped(reason, settled)

    def hold(self, session_id: str) -> None:
        """Keeps a session's events here until `let_go`."""
        session = self._sessions.setdefault(session_id, _Session())
        session.is_held = True
        if self._ready.pop(session_id, None) is not None:
            self._ready_events -= session.events
            self._ready_bytes -= session.size

    def let_go(self, session_id: str) -> None:
        """Ends a `hold`; does nothing where there is none."""
        session = self._sessions.get(session_id)
        if session is not None and session.is_held:
            session.is_held = False
            self._make_ready(session_id, session)
            self._forget_if_done(session_id, session)

    def let_all_go(self) -> None:
        """Ends every `hold`."""
        for session_id in list(self._sessions):
            self.let_go(session_id)

    def _make_ready(self, session_id: str, session: _Session) -> None:
        if session.events and not (session.flying or session.is_held):
            self._ready[session_id] = session
            self._ready_events += session.events
            self._ready_bytes += session.size

    def _forget_if_done(self, session_id: str, session: _Session) -> None:
        if not (session.events or session.flying or session.is_held):
            del self._sessions[session_id]

    # -- questions ----------------------------------------------------------------------------------------------------

    @property
    def has_ready(self) -> bool:
        """Whether a batch could be cut."""
        return bool(self._ready)

    def is_ready(self, session_id: str) -> bool:
        """Whether a batch could be cut of this session."""
        return session_id in self._ready

    @property
    def has_full_batch(self) -> bool:
        """Whether a batch would reach one of its bounds."""
        body = self._ready_bytes + (self._ready_events - 1) * _COMMA_BYTES + _BRACKET_BYTES
        return self._ready_events >= MAX_BATCH_EVENTS or body >= self.batch_bytes

    @property
    def queued(self) -> int:
        """Events held, in flight included."""
        return self._queued

    @property
    def newest(self) -> int:
        """The number of the event that was taken in last."""
        return self._next_number - 1

    def oldest(self, session_id: str) -> int | None:
        """The number of a session's oldest event that is not settled."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        if session.flying:
            return session.flying[0].number
        while session.waiting and session.waiting[0].is_evicted:
            session.waiting.popleft()
        return session.waiting[0].number if session.waiting else None

    def unsettled_sessions(self) -> list[str]:
        """The sessions of which events are held."""
        return [session_id for session_id, session in self._sessions.items() if session.events or session.flying]

    def entries(self) -> Iterator[Entry]:
        """All events held, in flight included."""
        for session in self._sessions.values():
            yield from session.flying
            yield from (entry for entry in session.waiting if not entry.is_evicted)

    def stats(self) -> Stats:
        """The ledger as it stands."""
        return Stats(
            accepted=self._accepted,
            recovered=self._recovered,
            delivered=self._delivered,
            queued=self._queued,
            spooled=0,
            handed_over=0,
            dropped=dict(self._dropped),
        )

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn_too_large(self, size: int) -> None:
        """A body of this many bytes, of several events, was too large: later ones are at most half of it."""
        self.batch_bytes = max(MIN_BATCH_BYTES, min(self.batch_bytes, size // 2))


def body_of(entries: Sequence[Entry]) -> bytes:
    """The request body for a batch: a JSON array."""
    # The brackets go on before the join: half a megabyte is copied once, not three times.
    bodies = [entry.body for entry in entries]
    bodies[0] = b"[" + bodies[0]
    bodies[-1] += b"]"
    return b",".join(bodies)


def halve(entries: Sequence[Entry], *, by_size: bool = False) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """Two parts, neither empty, of a batch of two or more events: of equal count, or of about equal size."""
    middle = len(entries) // 2
    if by_size:
        half = sum(len(entry.body) for entry in entries) // 2
        middle = 0
        while half > 0 and middle < len(entries) - 1:
            half -= len(entries[middle].body)
            middle += 1
        middle = max(middle, 1)
    return entries[:middle], entries[middle:]
