"""Delivery, the door to the background sender: offer an event, wait until events are settled, read the ledger.

Callers never wait, not even for a lock: what they want goes into an inbox (appending to a deque is atomic), and whoever
gets the lock works it off; who does not get it leaves that to the one who has it, who looks again after giving it back.
So a call from a signal handler or a finalizer, in the very thread that holds the lock, is safe too. The main thread,
where Ctrl-C may strike between any two steps, leaves the work to the sender, unless a great deal has gathered. Whatever
calls back into other code (observers, futures) is done after the lock was given back.

One Delivery exists for each connection (address, project, key) in a process; clients and exporters share it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

from mlsdk import native, waiting
from mlsdk.clock import jitter
from mlsdk.config import Config, Connection, Spooling
from mlsdk.delivery.buffer import MAX_BATCH_EVENTS, QUEUE_FULL, Buffer, Entry, Observer, Stats
from mlsdk.delivery.host import Drainable, host
from mlsdk.delivery.masking import BeforeSend, mask, why_not_sent
from mlsdk.delivery.outcome import Outcome
from mlsdk.delivery.waiters import Waiter, Waiters
from mlsdk.delivery.worker import MAX_SENDING, Worker
from mlsdk.errors import DeliveryError
from mlsdk.events import Event, encode, is_essential
from mlsdk.logs import logger_for

if TYPE_CHECKING:
    from mlsdk.delivery.box import Found
    from mlsdk.delivery.keeper import Keeper
    from mlsdk.delivery.transport import Transport

logger = logger_for(__name__)

MASKED: Final = "before_send"
"""Dropped because `before_send` returned None."""
MASKING_FAILED: Final = "before_send_failed"
REFUSED: Final = "refused"
"""Dropped because the service does not want it."""
SPOOL_FULL: Final = "spool_full"
"""Dropped from the disk, where there was no room for newer ones."""
SPOOL_DAMAGED: Final = "spool_damaged"
"""Damaged stretches of the spool's files, each counted as one event; and what was written and is not there any more."""
_DROPPED: Final = "an event was dropped: %s; further ones are not logged, but told to on_error and counted in stats()"
_GATHERED: Final = 100
"""Calls in the inbox for which the sender is asked to look, however busy it is."""
_STATS_TIMEOUT: Final = 1.0
"""Seconds that a look at the ledger may take, at most."""
_AFTER_MISTAKE: Final = 30.0
"""Seconds until the spool is looked at again after a mistake of our own."""
_BEGIN_AGAIN: Final = 60.0
"""Seconds between two tries to begin at all."""
_REFUSED_THING: Final = {
    **dict.fromkeys((401, 403), "the key or project"),
    **dict.fromkeys((301, 302, 303, 307, 308, 404, 405, 410), "the address"),
}


class Endable(Protocol):
    """A session that is open and has to be ended before the process ends."""

    def abandon(self) -> None:
        """Offers the ends that are due."""


class Home(Protocol):
    """Where a worker runs."""

    def add(self, guest: Drainable) -> None:
        """Runs a guest's work from now on."""

    def call_soon(self, function: Callable[[], object]) -> None:
        """Has a function called there. From any thread; does not wait."""

    def is_own_thread(self) -> bool:
        """Whether the caller is there, and so must not wait for it."""

    def recorded(self) -> None:
        """To be called after something was offered, wherever the process is in its life."""


class _Trouble:
    """Something that concerns every session with events here while it lasts; each is told once."""

    def __init__(self, outcome: Outcome) -> None:
        self._error = DeliveryError(outcome.message, status=outcome.status, retryable=True)
        self._told: WeakSet[Observer] = WeakSet()

    def tell(self, observer: Observer) -> Callable[[], None] | None:
        """What to call to tell an observer, unless it was told."""
        if observer in self._told:
            return None
        self._told.add(observer)
        return partial(observer.report, self._error)


def _connect(connection: Connection) -> Transport:
    # Not with this module: aiohttp takes longer to load than all the rest, and many import what they do not use.
    from mlsdk.delivery.transport import HTTPTransport

    return HTTPTransport(connection, connections=MAX_SENDING)


class Delivery:
    """See the module."""

    def __init__(
        self, config: Config, *, home: Home = host, connect: Callable[[Connection], Transport] = _connect
    ) -> None:
        """Begins to work at once.

        Args:
            config: Where to, and how much may wait.
            home: Where the worker runs.
            connect: Makes what sends; called on the worker's loop.
        """
        self._config = config
        self._home = home
        self._connect = connect
        self._reset()
        home.add(self)

    def _reset(self) -> None:
        limits = self._config.limits
        self._lock = native.new_lock()
        # Events, and what else is to be done under the lock, in the order of the calls.
        self._inbox: deque[Entry | Callable[[], None]] = deque()
        # What is to be done once the lock is given back.
        self._after: deque[Callable[[], object]] = deque()
        self._most_gathered = limits.queue_events
        self._most_gathered_bytes = limits.queue_bytes
        self._gathered_bytes = 0  # in the inbox; about, for nobody takes a lock to count
        self._buffer = Buffer(max_events=limits.queue_events, max_bytes=limits.queue_bytes)
        self._waiters = Waiters()
        self._early_waiters: list[Callable[[], None]] = []
        self._open: WeakSet[Endable] = WeakSet()
        self._keeper: Keeper | None = None
        self._stirred: asyncio.Event | None = None  # set when the keeper has something to do
        if self._config.spool is not None:
            self._open_keeper(self._config.spool)
        self._worker: Worker | None = None
        self._sleeps = False
        self._sleeps_until_full = False
        self._is_asked = False  # whether the sender will work off the inbox soon
        self._is_hurried = False
        self._is_exiting = False
        # One may begin while the other lasts.
        self._outage: _Trouble | None = None
        self._refusal: _Trouble | None = None
        self._outage_began = 0.0
        self._said: set[str] = set()

    # -- for sessions and exporters -----------------------------------------------------------------------------------

    def offer(
        self,
        event: Event,
        *,
        observer: Observer | None = None,
        before_send: BeforeSend | None = None,
        on_settled: Callable[[bool], None] | None = None,
    ) -> None:
        """Takes an event for delivery. Neither waits nor raises.

        Args:
            event: A finished event.
            observer: Whom to tell when it is refused or dropped, and of an outage that it sees.
            before_send: The user's hook, run here and now.
            on_settled: Called once: True when it is delivered, False when it is gone. Must neither wait nor raise.
        """
        if before_send is not None:
            try:
                masked = mask(event, before_send)
            except Exception as problem:
                # What the hook should have taken out may still be in there: fail closed.
                error = self._dropped(MASKING_FAILED, why_not_sent(problem))
                self._drop(MASKING_FAILED, error, observer, on_settled)
                return
            if masked is None:
                self._drop(MASKED, None, observer, on_settled)
                return
            event = masked
        entry = Entry(
            encode(event),
            event["session_id"],  # type: ignore[arg-type]  # text in every event
            is_essential=is_essential(event),
            observer=observer,
            on_settled=on_settled,
        )
        self._gathered_bytes += len(entry.body)
        self._inbox.append(entry)
        self._pump()
        self._home.recorded()

    def settled(self, session_ids: Iterable[str] | None = None) -> Future[bool]:
        """A future for what was offered so far: True when all of it is delivered, refused or dropped.

        It is False at once while the key is refused: then nobody can say when. It may be set on the sender's thread.

        Args:
            session_ids: The sessions meant; None means all.
        """
        waiter = Waiter()
        self._inbox.append(partial(self._add_waiter, waiter, session_ids))
        self._pump(is_awaited=True)
        return waiter.future

    def hold(self, session_id: str) -> None:
        """Keeps a session's events in the queue until `let_go`, or until the process ends."""
        self._inbox.append(partial(self._hold, session_id))
        self._pump()

    def _hold(self, session_id: str) -> None:
        if not self._is_exiting:
            self._buffer.hold(session_id)

    def let_go(self, session_id: str) -> None:
        """Ends a `hold`."""
        self._inbox.append(partial(self._let_go, session_id))
        self._pump(is_awaited=True)

    def _let_go(self, session_id: str) -> None:
        self._buffer.let_go(session_id)
        self._hurry_if_awaited(session_id)

    def opened(self, session: Endable) -> None:
        """A session has to be ended before the process ends."""
        self._open.add(session)

    def closed(self, session: Endable) -> None:
        """It has been ended."""
        self._open.discard(session)

    def use_spool(self, spooling: Spooling) -> None:
        """Keeps events on disk from now on, unless that is done already; the first directory given is the one."""
        known = self._config.spool
        if known is None:
            import mlsdk.delivery.keeper  # noqa: F401 - not on the sender's thread, see delivery_for()

            self._config = replace(self._config, spool=spooling)
            self._inbox.append(partial(self._open_keeper, spooling))
            self._pump(is_awaited=True)
        elif known.directory != spooling.directory:
            logger.warning("one delivery has one spool: spool_dir is what the first client of it was given")

    def _open_keeper(self, spooling: Spooling) -> None:
        from mlsdk.delivery.keeper import Keeper  # with all that writes to disks: most have no spool

        self._keeper = Keeper(
            spooling, self._config.connection, memory_bytes=self._config.limits.queue_bytes, now=_loop_time
        )
        self._stir()

    def stats(self) -> Stats:
        """The ledger of this process."""
        answer: Future[Stats] = Future()
        self._inbox.append(lambda: answer.set_result(self._ledger()))
        self._pump(is_awaited=True)
        waiting.block(answer, _STATS_TIMEOUT)
        if not answer.done():
            # The sender does not get to run, or a finalizer asks that interrupted it: one event may just be on its way
            # from one count to the next.
            stats = self._ledger()
            held = stats["delivered"] + stats["queued"] + stats["spooled"] + sum(stats["dropped"].values())
            stats["accepted"] = held - stats["recovered"]
            return stats
        return answer.result()

    def _ledger(self) -> Stats:
        stats = self._buffer.stats()
        if self._keeper is not None:
            stats["queued"] += self._keeper.annex.arriving
            stats["spooled"] = self._keeper.annex.absent
        return stats

    @property
    def is_in_trouble(self) -> bool:
        """Whether the service cannot be reached, or refuses the key, as far as is known."""
        return self._outage is not None or self._refusal is not None

    def _drop(
        self,
        reason: str,
        error: DeliveryError | None,
        observer: Observer | None,
        on_settled: Callable[[bool], None] | None,
    ) -> None:
        self._inbox.append(lambda: self._buffer.refuse(reason))
        self._note_gone(observer, on_settled, error)
        self._pump()

    # -- the inbox ----------------------------------------------------------------------------------------------------

    def _pump(self, *, is_awaited: bool = False) -> None:
        """Sees to it that the inbox is worked off: now, if somebody waits for it, else before long.

        In the application's main thread, where signal handlers run and may raise, by the sender.
        """
        # What is not in the buffer is not bounded by it, so even the main thread lets no more than this gather.
        gathered = len(self._inbox)
        is_much = gathered >= self._most_gathered or self._gathered_bytes >= self._most_gathered_bytes
        if is_much or not native.may_be_interrupted() or self._home.is_own_thread():
            self._clear_inbox()
        elif is_awaited or gathered >= _GATHERED or (self._sleeps and not self._sleeps_until_full):
            # Otherwise the sender looks by itself, when its request is answered.
            self._ask_sender(is_awaited=is_awaited)

    def _ask_sender(self, *, is_awaited: bool) -> None:
        if is_awaited or not self._is_asked:
            self._is_asked = True
            try:
                self._home.call_soon(self._clear_inbox)
            except BaseException:  # an interrupt: the next caller asks
                self._is_asked = False
                raise

    def _clear_inbox(self) -> None:
        """Works off the inbox, unless somebody has the lock, who then does."""
        self._is_asked = False
        while self._inbox and self._lock.acquire(blocking=False):
            try:
                self._work_off()
            finally:
                self._lock.release()
        while self._after:
            try:
                action = self._after.popleft()
            except IndexError:  # another thread was faster
                break
            try:
                action()
            except Exception as problem:
                # Neither a caller of offer() nor the sender can help it.
                logger.error("an observer of delivery failed with %s", type(problem).__name__)

    @contextmanager
    def _exclusive(self) -> Iterator[Buffer]:
        """The buffer, for the sender's thread, which may wait for the lock."""
        try:
            with self._lock:
                self._work_off()
                yield self._buffer
        finally:
            self._pump()

    def _work_off(self) -> None:
        """Under the lock."""
        self._gathered_bytes = 0
        while self._inbox:
            item = self._inbox.popleft()
            if not isinstance(item, Entry):
                item()
                continue
            gone = self._buffer.offer(item) if self._keeper is None else self._keep_or_queue(item)
            if gone:
                self._drop_for_room(gone)
            if self._refusal is not None:
                self._tell(self._refusal, item.observer)
            if self._outage is not None:
                self._tell(self._outage, item.observer)
        self._wake_if_due()

    def _drop_for_room(self, gone: Iterable[Entry]) -> None:
        for entry in gone:
            self._note_gone(entry.observer, entry.on_settled, self._dropped(QUEUE_FULL, "the queue is full"))
            if entry.place is not None and self._keeper is not None:
                self._keeper.evicted.append(entry)
            self._check_waiters(entry.session_id)

    def _wake_if_due(self) -> None:
        keeper = self._keeper
        if keeper is not None and keeper.is_pressed:
            self._stir()
        if not (self._sleeps and (self._buffer.has_ready or (keeper is not None and keeper.has_news))):
            return
        is_full = self._buffer.has_full_batch or (keeper is not None and keeper.annex.arriving >= MAX_BATCH_EVENTS)
        if not self._sleeps_until_full or self._is_hurried or is_full:
            self._wake()

    def _wake(self) -> None:
        self._sleeps = False
        self._stir()
        if self._worker is not None:
            self._after.append(partial(self._home.call_soon, self._worker.wake))

    def _say_dropped(self, reason: str, why: str) -> None:
        """Says the first drop for a reason, for programs that have no `on_error`."""
        if reason not in self._said:
            self._said.add(reason)
            self._after.append(partial(logger.warning, _DROPPED, why))

    def _dropped(self, reason: str, why: str) -> DeliveryError:
        """The error to tell of an event that is dropped here."""
        self._say_dropped(reason, why)
        return DeliveryError(f"an event was dropped: {why}")

    def _note_gone(
        self, observer: Observer | None, on_settled: Callable[[bool], None] | None, error: DeliveryError | None
    ) -> None:
        if observer is not None and error is not None:
            self._after.append(partial(observer.report, error))
        if on_settled is not None:
            self._after.append(partial(on_settled, False))

    # -- waiters ------------------------------------------------------------------------------------------------------

    def _add_waiter(self, waiter: Waiter, session_ids: Iterable[str] | None) -> None:
        if self._keeper is not None and not self._keeper.is_ready:
            # What dead processes have left comes before what these sessions have recorded here.
            self._early_waiters.append(partial(self._add_waiter, waiter, session_ids))
            return
        if self._refusal is None:
            wanted = self._unsettled_sessions() if session_ids is None else session_ids
            unsettled = [session_id for session_id in wanted if self._oldest(session_id) is not None]
            self._waiters.add(waiter, unsettled, newest=self._buffer.newest)
        if waiter.sessions == 0:
            self._after.append(partial(waiter.future.set_result, self._refusal is None))
        else:
            self._is_hurried = True
            self._wake_if_due()

    def _unsettled_sessions(self) -> Iterable[str]:
        unsettled = dict.fromkeys(self._buffer.unsettled_sessions())
        if self._keeper is not None:
            unsettled |= dict.fromkeys(self._keeper.annex.session_ids())
        return unsettled

    def _oldest(self, session_id: str) -> int | None:
        oldest = self._buffer.oldest(session_id)
        # What is in the annex came later than what is in the buffer.
        return self._keeper.annex.oldest(session_id) if oldest is None and self._keeper is not None else oldest

    def _hurry_if_awaited(self, session_id: str) -> None:
        """A session may be cut again, and somebody waits for it: it shall not gather until other requests return."""
        if session_id in self._waiters and self._buffer.is_ready(session_id):
            self._is_hurried = True
            self._wake()

    def _check_waiters(self, session_id: str) -> None:
        if session_id in self._waiters:
            self._tell_waiters(self._waiters.settle(session_id, oldest=self._oldest(session_id)), is_settled=True)

    def _tell_waiters(self, waiters: Iterable[Waiter], *, is_settled: bool) -> None:
        for waiter in waiters:
            self._after.append(partial(waiter.future.set_result, is_settled))

    # -- for the worker (its Door) ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The worker of this process."""
        transport = await self._connected()
        self._worker = Worker(self, transport, jitter=jitter, new_key=lambda: uuid.uuid4().hex)
        if self._is_exiting:
            self._worker.hurry()
        self._stirred = asyncio.Event()
        keeping = asyncio.get_running_loop().create_task(self._keep_up(self._stirred))
        try:
            await self._worker.run()
        finally:
            keeping.cancel()
            if self._keeper is not None:
                self._keeper.close()

    async def _connected(self) -> Transport:
        """The way to the service; what keeps it from being made (a file that is not there any more) may be mended."""
        while True:
            try:
                return self._connect(self._config.connection)
            except Exception as problem:
                logger.error("delivery cannot begin (%s); it is tried again", type(problem).__name__)
            await asyncio.sleep(_BEGIN_AGAIN)

    def cut(self, *, is_idle: bool) -> list[Entry]:
        """The next batch, or nothing yet."""
        self._keep()
        with self._exclusive() as buffer:
            batch: list[Entry] = []
            if not buffer.has_ready:
                self._is_hurried = False
            elif is_idle or self._is_hurried or buffer.has_full_batch:
                batch = buffer.cut()
        if self._keeper is not None:
            self._keeper.sending(batch)
        return batch

    def sleep(self, *, is_idle: bool) -> None:
        """Has the worker woken: for any event if it is idle, else for a full batch."""
        with self._exclusive():
            self._sleeps = True
            self._sleeps_until_full = not is_idle
            # For an event that came since the last cut.
            self._wake_if_due()

    def settle(self, entries: Sequence[Entry], refusal: Outcome | None = None) -> None:
        """Events of a batch were delivered, or refused for good."""
        if self._keeper is not None:
            # First: who is told that an event is delivered may end the process on that.
            self._keeper.settle(entries)
        with self._exclusive() as buffer:
            buffer.settle(entries, reason=None if refusal is None else REFUSED)
            if refusal is not None:
                # Without what the service says of it, which may quote the event.
                self._say_dropped(REFUSED, f"the service refused it (HTTP status {refusal.status})")
            for entry in entries:
                if refusal is not None:
                    error = DeliveryError(refusal.message, status=refusal.status)
                    self._note_gone(entry.observer, entry.on_settled, error)
                elif entry.on_settled is not None:
                    self._after.append(partial(entry.on_settled, True))
            for session_id in {entry.session_id: None for entry in entries}:
                self._check_waiters(session_id)
                self._hurry_if_awaited(session_id)
            self._wake_if_due()
            if self._is_exiting:
                self._stir()

    def learn_too_large(self, size: int) -> None:
        """A body of so many bytes is too large for the service."""
        with self._exclusive() as buffer:
            buffer.learn_too_large(size)

    def reachable_changed(self, outcome: Outcome, *, is_reachable: bool) -> None:
        """Says once that an outage began, or that it ended."""
        with self._exclusive() as buffer:
            queued = buffer.queued
            if is_reachable:
                self._outage = None
            else:
                self._outage_began = time.monotonic()
                self._outage = _Trouble(outcome)
                self._tell_all(self._outage, buffer)
            self._save_if_due()
        where = self._config.connection.server_endpoint
        if is_reachable:
            seconds = time.monotonic() - self._outage_began
            logger.warning("%s is reached again after %.0f s; events on their way: %d", where, seconds, queued)
        else:
            why = "no answer" if outcome.status < 0 else f"HTTP status {outcome.status}"
            logger.warning("%s cannot be reached (%s); events that wait and are tried again: %d", where, why, queued)

    def allowed_changed(self, outcome: Outcome, *, is_allowed: bool) -> None:
        """Says once that the service refuses everything, or that it no longer does."""
        if not is_allowed:  # before anybody stops waiting for it: a process that ends says then what that costs
            what = _REFUSED_THING.get(outcome.status, "every request")
            logger.error("the service refuses %s (HTTP status %d); events wait until it does not", what, outcome.status)
        with self._exclusive() as buffer:
            if is_allowed:
                self._refusal = None
            else:
                self._refusal = _Trouble(outcome)
                self._tell_all(self._refusal, buffer)
                self._tell_waiters(self._waiters.dismiss(), is_settled=False)
            self._save_if_due()
        if is_allowed:
            logger.warning("the service takes events again")

    def _tell_all(self, trouble: _Trouble, buffer: Buffer) -> None:
        for entry in buffer.entries():
            self._tell(trouble, entry.observer)
        if self._keeper is not None:
            for observer in self._keeper.annex.observers():
                self._tell(trouble, observer)

    def _tell(self, trouble: _Trouble, observer: Observer | None) -> None:
        if observer is not None and (report := trouble.tell(observer)) is not None:
            self._after.append(report)

    # -- the disk -----------------------------------------------------------------------------------------------------

    def _keep_or_queue(self, entry: Entry) -> Sequence[Entry]:
        """Takes an event in where there is a keeper. Returns what had to go."""
        keeper, buffer = self._keeper, self._buffer
        if keeper is None or not keeper.wants(entry, buffer):
            return buffer.offer(entry)
        buffer.accept(entry)
        if keeper.annex.take(entry):
            keeper.has_news = True
            return ()
        buffer.count_dropped(QUEUE_FULL)
        return (entry,)

    def _save_if_due(self) -> None:
        if self._keeper is not None:
            is_on = self._is_exiting or self._outage is not None or self._refusal is not None
            self._keeper.set_trouble(is_on=is_on)
            self._stir()

    def _stir(self) -> None:
        """Has the keeper look."""
        if self._keeper is not None and self._stirred is not None and not self._stirred.is_set():
            self._after.append(partial(self._home.call_soon, self._stirred.set))

    async def _keep_up(self, stirred: asyncio.Event) -> None:
        """Writes what is due while nobody cuts: all lanes may be busy, or everybody may gather."""
        while True:
            keeper = self._keeper
            is_at_rest = self._sleeps and not self._sleeps_until_full and not self._inbox and not self._buffer.queued
            if keeper is None:
                await stirred.wait()
            else:
                pause = keeper.rest if is_at_rest and not keeper.annex.arriving else keeper.pause
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stirred.wait(), pause)
            stirred.clear()
            try:
                self._keep()
            except Exception as problem:
                logger.error("the spool made a mistake: %s", type(problem).__name__, exc_info=problem)
                await asyncio.sleep(_AFTER_MISTAKE)

    def _keep(self) -> None:
        """Writes what is due, and brings back from the disk what there is room for. On the sender's thread.

        What touches the disk is done without the lock: threads that want it find it free.
        """
        keeper = self._keeper
        if keeper is None:
            return
        annex = keeper.annex
        if (found := keeper.look_for_dead()) is not None:
            self._note_found(found, keeper)
        with self._exclusive() as buffer:
            due = keeper.due(buffer)
        displaced = keeper.store(due)
        with self._exclusive() as buffer:
            keeper.evicted.extend(entry for entry in due if entry.is_evicted and entry.place is not None)
            for number, session_id in displaced:
                buffer.count_dropped(SPOOL_FULL)
                self._note_gone(*annex.lose(session_id, number), self._dropped(SPOOL_FULL, "the spool is full"))
                self._check_waiters(session_id)
            left, gone = keeper.move(buffer)
            self._drop_for_room(gone)
            keeper.leave(left)
            room, size = buffer.reserve() if annex.absent else (0, 0)
        keeper.forget_evicted()
        entries = keeper.read(events=room, size=size) if room else []
        with self._exclusive() as buffer:
            buffer.release()
            for entry in entries:
                annex.come_back(entry, is_own=keeper.is_own(entry))
                buffer.come_back(entry)
            if annex.absent and not keeper.has_absent:
                self._give_up_absent(keeper)
            self._wake_if_due()
            is_empty = not annex and buffer.queued == 0
        if is_empty and self._is_exiting:
            keeper.tidy()

    def _note_found(self, found: Found, keeper: Keeper) -> None:
        with self._exclusive() as buffer:
            keeper.is_ready = True
            for session_id in found.session_ids:
                keeper.annex.find(session_id)
            buffer.recover(len(found.session_ids) + found.damage)
            buffer.count_dropped(SPOOL_DAMAGED, found.damage)
            early, self._early_waiters = self._early_waiters, []
            for add in early:
                add()
        if found.session_ids:
            logger.info("%d events that earlier processes left are delivered now", len(found.session_ids))
        if found.damage:
            logger.error("files of the spool are damaged in %d places; they are kept in 'damaged'", found.damage)

    def _give_up_absent(self, keeper: Keeper) -> None:
        lost = keeper.annex.absent
        session_ids = keeper.annex.session_ids()
        observers = dict.fromkeys(keeper.annex.observers())
        callbacks = keeper.annex.give_up()
        self._buffer.count_dropped(SPOOL_DAMAGED, lost)
        error = DeliveryError(f"{lost} events that were written to the spool are not there any more")
        self._after.extend(partial(observer.report, error) for observer in observers)
        self._after.extend(partial(callback, False) for callback in callbacks)
        for session_id in session_ids:
            self._check_waiters(session_id)

    # -- for the host (a Drainable) -----------------------------------------------------------------------------------

    @property
    def exit_timeout(self) -> float:
        """Seconds that the process may take at its end."""
        return self._config.limits.exit_timeout

    def end_sessions(self) -> None:
        """Has the sessions that are open offer their ends; nobody else will."""
        for session in native.members(self._open):
            try:
                session.abandon()
            except Exception as problem:  # noqa: PERF203  (the others are to be ended all the same)
                logger.error("a session could not be ended: %s", type(problem).__name__)

    def finish(self) -> None:
        """Ends the sessions that are open, and hurries from now on."""
        self.end_sessions()
        self._is_exiting = True
        self._inbox.append(self._buffer.let_all_go)
        self.settled()
        self._inbox.append(self._save_if_due)
        self._pump(is_awaited=True)
        if self._worker is not None:
            self._home.call_soon(self._worker.hurry)

    def is_drained(self) -> bool:
        """Whether nothing is left, or the key is refused."""
        self._pump()
        keeper = self._keeper
        if self._refusal is not None:
            return True
        if keeper is not None and not keeper.is_broken and not keeper.is_at_ease:
            return False
        with self._lock:
            arriving = 0 if keeper is None else keeper.annex.arriving
            return self._buffer.queued + arriving + self._in_inbox() == 0

    def is_storing(self) -> bool:
        """Whether events are about to be safe on disk that are not yet."""
        return self._keeper is not None and not self._keeper.is_broken and self.left_over() > 0

    def last_answer(self) -> float:
        """When the service last answered, or asked to be left alone until."""
        return 0.0 if self._worker is None else self._worker.last_answer()

    def left_over(self) -> int:
        """Events that would be lost now."""
        with self._lock:  # nothing is on its way from the inbox to the buffer
            if self._keeper is None:
                return self._buffer.queued + self._in_inbox()
            unwritten = [*self._buffer.entries(), *self._keeper.annex.arriving_entries()]
            return sum(entry.place is None for entry in unwritten) + self._in_inbox()

    def _in_inbox(self) -> int:
        return sum(isinstance(item, Entry) for item in self._inbox.copy())

    def after_fork_in_child(self) -> None:
        """Starts anew and empty; the parent keeps what was queued, and the worker with its connections."""
        _inherited.append((self._worker, self._buffer, self._lock, self._keeper))
        if self._keeper is not None:
            self._keeper.forget()
        self._reset()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


_inherited: list[object] = []
"""Of the parent process: neither to be used nor closed nor collected here."""
_deliveries: dict[Connection, Delivery] = {}
# Reentrant, for a signal handler that makes a client while one is made.
_registry_lock = threading.RLock()


def _after_fork_in_child() -> None:
    global _registry_lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _registry_lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


def delivery_for(config: Config) -> Delivery:
    """The one delivery of this process for a connection; the first to ask sets its limits.

    Raises:
        ConfigurationError: The file of certificate authorities cannot be read.
    """
    # In the thread that asks: a fork while the sender's thread loads a module would leave the child half of it.
    import mlsdk.delivery.transport  # noqa: F401
    from mlsdk.http import check_trust

    with _registry_lock:
        delivery = _deliveries.get(config.connection)
        if delivery is None:
            check_trust(config.connection)
            delivery = _deliveries[config.connection] = Delivery(config)
        elif config.spool is not None:
            delivery.use_spool(config.spool)
        return delivery


def deliveries() -> list[tuple[Connection, Delivery]]:
    """Those of this process, each with its connection."""
    with _registry_lock:
        return list(_deliveries.items())
