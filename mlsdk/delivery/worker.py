"""Drives deliveries: cuts batches, sends them side by side, and does with each what the rules of `retry` say.

The first event goes at once; what arrives within `PATIENCE` of that gathers for the next request, whether the first is
answered by then or not: a program that records now and then, all the time, shall not make a request an event. Only a
full batch, or somebody who waits, starts a request earlier.
A batch is frozen once it was sent. When it has to be halved, its parts are worked off one after another; a part that
the service cannot stand while it takes others is overtaken by those of other sessions.
Runs on the host's loop alone. Decisions are made elsewhere: what an answer means in `outcome`, what to do about it in
`retry`, which events go in `buffer`.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from mlsdk.delivery.buffer import NO_EVENTS, Entry, body_of, halve
from mlsdk.delivery.outage import Outage
from mlsdk.delivery.outcome import Outcome, Verdict, of_failure
from mlsdk.delivery.retry import Action, next_action, wait_seconds
from mlsdk.logs import logger_for

if TYPE_CHECKING:
    from mlsdk.delivery.transport import Transport

logger = logger_for(__name__)

MAX_SENDING: Final = 8
"""Requests at a time, at most, and so connections."""
MAX_LANES: Final = 16
"""Batches at a time, those included that wait for their next try."""
PATIENCE: Final = 0.1
"""Seconds that events gather after a request began, at most."""
PROBE_EVERY: Final = 60.0
"""Seconds between two questions whether the key is accepted by now."""
EXIT_WAIT: Final = 0.2
"""Seconds: the longest back-off once the process is ending."""
SAY_AGAIN: Final = 60.0
"""Seconds between two log lines about mistakes of our own."""


class Door(Protocol):
    """Where batches come from and outcomes go to. Its methods may be called from the worker's thread only."""

    def cut(self, *, is_idle: bool) -> list[Entry]:
        """The next batch, or nothing yet; `is_idle` says that no request keeps others waiting."""

    def sleep(self, *, is_idle: bool) -> None:
        """The worker will look again when `wake` is called: for any event if idle, else for a full batch."""

    def settle(self, entries: Sequence[Entry], refusal: Outcome | None = None) -> None:
        """Events of a batch were delivered, or refused for good; a session whose last one this was may be cut again."""

    def learn_too_large(self, size: int) -> None:
        """A body of so many bytes is too large for the service."""

    def reachable_changed(self, outcome: Outcome, *, is_reachable: bool) -> None:
        """An outage began or ended."""

    def allowed_changed(self, outcome: Outcome, *, is_allowed: bool) -> None:
        """The key, the project or the address was refused, or is accepted now."""


class _Shipment:
    """Events that are sent in one body; the body and its key stay the same from try to try."""

    __slots__ = (
        "body",
        "delivered_before",
        "delivered_meanwhile",
        "entries",
        "failures",
        "is_bare",
        "is_sent",
        "key",
        "not_before",
        "server_errors",
        "sessions",
    )

    def __init__(
        self, entries: Sequence[Entry], key: str, *, server_errors: int, delivered_before: int, is_bare: bool
    ) -> None:
        self.entries = entries
        self.sessions = frozenset(entry.session_id for entry in entries)
        self.body = entries[0].body if is_bare else body_of(entries)
        self.key = key
        self.is_bare = is_bare
        self.is_sent = False
        self.server_errors = server_errors
        self.failures = 0  # after which it was held back by itself
        self.not_before = 0.0  # until when, in the loop's seconds
        # Shipments delivered before the first try of these events, and before the last one.
        self.delivered_before = delivered_before
        self.delivered_meanwhile = delivered_before


class _Lane:
    """A batch on its way: the parts of it that are left, in their order."""

    __slots__ = ("failures", "not_before", "parts")

    def __init__(self, parts: list[_Shipment]) -> None:
        self.parts = parts
        self.failures = 0  # tries in a row that were in vain
        self.not_before = 0.0  # the end of its back-off, in the loop's seconds


class Worker:
    """See the module."""

    def __init__(
        self, door: Door, transport: Transport, *, jitter: Callable[[], float], new_key: Callable[[], str]
    ) -> None:
        """Wires the worker; nothing runs yet.

        Args:
            door: Where batches come from.
            transport: How they are sent.
            jitter: A random number from 0 to 1.
            new_key: A text that nobody has used before.
        """
        self._door = door
        self._transport = transport
        self._jitter = jitter
        self._new_key = new_key
        self._woken = asyncio.Event()
        self._exiting = asyncio.Event()
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._sending = asyncio.Semaphore(MAX_SENDING)
        self._lanes: set[asyncio.Task[None]] = set()
        self._gathers_until = 0.0  # in the loop's seconds
        self._waiting_lanes = 0  # those in a back-off, which use no connection
        self._prober: asyncio.Task[None] | None = None
        self._quiet_until = 0.0
        self._last_answer = 0.0
        self._outage = Outage()
        self._delivered = 0
        self._key_is_good = False
        self._arrays_work = False
        self._only_bare_works = False
        self._mistakes = 0
        self._say_mistakes_from = 0.0

    # -- from outside -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Looks for work. On the worker's loop."""
        self._woken.set()

    def hurry(self) -> None:
        """The process is ending: back-offs are cut short from now on. On the worker's loop."""
        self._exiting.set()

    def last_answer(self) -> float:
        """When the service last answered, or asked to be left alone until; in the loop's seconds."""
        return max(self._last_answer, self._quiet_until)

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            while True:
                try:
                    self._start_lanes()
                except Exception as problem:
                    self._say_mistake(problem)
                    asyncio.get_running_loop().call_later(PATIENCE, self.wake)
                await self._woken.wait()
                self._woken.clear()
        finally:
            for task in [*self._lanes, *([self._prober] if self._prober else [])]:
                task.cancel()
            await self._transport.close()

    def _say_mistake(self, problem: Exception) -> None:
        """Logs where something went wrong that never should; what the exception says may hold a text or the key."""
        self._mistakes += 1
        now = asyncio.get_running_loop().time()
        if now >= self._say_mistakes_from:
            self._say_mistakes_from = now + SAY_AGAIN
            where = "".join(traceback.format_tb(problem.__traceback__))
            kind = type(problem).__name__
            logger.error("delivery made a mistake, its %d., and goes on: %s\n%s", self._mistakes, kind, where)

    # -- lanes --------------------------------------------------------------------------------------------------------

    def _start_lanes(self) -> None:
        loop = asyncio.get_running_loop()
        while self._allowed.is_set() and self._has_room_for_a_lane():
            is_idle = loop.time() >= self._gathers_until or self._exiting.is_set()
            batch = self._door.cut(is_idle=is_idle)
            if not batch:
                self._door.sleep(is_idle=is_idle)
                return
            lane = loop.create_task(self._deliver(batch))
            self._lanes.add(lane)
            lane.add_done_callback(self._end_lane)
            self._gathers_until = loop.time() + PATIENCE
            # A little late, lest the clock's grain make it look too early.
            loop.call_later(PATIENCE * 1.01, self.wake)
        # No event can make room. A lane that ends or begins to wait does, and so does the end of a hold; each wakes.

    def _has_room_for_a_lane(self) -> bool:
        return len(self._lanes) < MAX_LANES and len(self._lanes) - self._waiting_lanes < MAX_SENDING

    def _end_lane(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        self.wake()

    async def _deliver(self, batch: list[Entry]) -> None:
        lane: _Lane | None = None
        mistakes = 0
        while lane is None or lane.parts:
            try:
                if lane is None:
                    lane = _Lane([self._shipment(batch)])
                else:
                    await self._advance(lane)
                mistakes = 0
            except Exception as problem:  # noqa: PERF203  (a round is a request)
                # What is settled is settled. The rest has to go somewhere, so it is tried again.
                self._say_mistake(problem)
                mistakes += 1
                await self._back_off(wait_seconds(mistakes, jitter=1.0))

    async def _advance(self, lane: _Lane) -> None:
        """One try of one part of a batch, and what follows from it."""
        part = await self._next_part(lane)
        place = lane.parts.index(part)
        if self._only_bare_works and not (part.is_bare or part.is_sent):
            bare = [self._shipment([entry], like=part, is_bare=True) for entry in part.entries]
            lane.parts[place : place + 1] = bare
            return
        outcome = await self._send(part)
        action = await self._decide(part, outcome)
        if action is Action.WAIT:
            self._postpone(lane, part, outcome)
            return
        if action is Action.HALVE and outcome.verdict is Verdict.SERVER_ERROR and any(p.failures for p in lane.parts):
            self._note_failure(lane, self._jitter())  # one event is suspected already, and now these
        else:
            lane.failures = 0
        if action is Action.SETTLE:
            self._note_delivered(part)
            self._door.settle(part.entries)
            del lane.parts[place]
        elif action is Action.REFUSE:
            self._door.settle(part.entries, outcome)
            del lane.parts[place]
        elif action is Action.HALVE:
            lane.parts[place : place + 1] = self._halves(part, outcome)
        elif action is Action.SEND_BARE:
            lane.parts[place] = self._shipment(part.entries, like=part, is_bare=True)
        # After Action.PROBE the part is sent again when the hold is over: until then nothing is known against it.

    async def _next_part(self, lane: _Lane) -> _Shipment:
        """The part to try now, never one with a session of which an earlier part is left. Waits for it if need be."""
        now = asyncio.get_running_loop().time()
        if not lane.parts[0].failures and lane.not_before <= now:
            return lane.parts[0]
        first_in_line: list[_Shipment] = []
        sessions: set[str] = set()
        for part in lane.parts:
            if sessions.isdisjoint(part.sessions):
                first_in_line.append(part)
            sessions |= part.sessions
        due = max(lane.not_before, min(part.not_before for part in first_in_line))
        if due > now:
            await self._back_off(due - now)
        ready = [part for part in first_in_line if part.not_before <= max(due, now)]
        return min(ready, key=lambda part: part.failures)

    def _postpone(self, lane: _Lane, part: _Shipment, outcome: Outcome) -> None:
        jitter = self._jitter()
        if outcome.verdict is Verdict.SERVER_ERROR and len(part.entries) == 1:
            # It may be the fault of the event, and then others get through.
            part.failures += 1
            part.not_before = asyncio.get_running_loop().time() + wait_seconds(part.failures, jitter=jitter)
            self._let_others_pass(lane, part)
            self._note_failure(lane, jitter)
        else:
            self._leave_alone(lane, jitter)

    def _note_failure(self, lane: _Lane, jitter: float) -> None:
        """Two in a row are not the fault of one event."""
        if lane.failures:
            self._leave_alone(lane, jitter)
        else:
            lane.failures = 1

    def _leave_alone(self, lane: _Lane, jitter: float) -> None:
        lane.failures += 1
        lane.not_before = asyncio.get_running_loop().time() + wait_seconds(lane.failures, jitter=jitter)

    def _let_others_pass(self, lane: _Lane, suspect: _Shipment) -> None:
        """Parts the events of its session from those behind it, as far as they have not been sent together."""
        session_ids = suspect.sessions
        parts: list[_Shipment] = []
        for part in lane.parts:
            if part.is_sent or part.sessions.isdisjoint(session_ids) or part.sessions == session_ids:
                parts.append(part)
                continue
            own = [entry for entry in part.entries if entry.session_id in session_ids]
            others = [entry for entry in part.entries if entry.session_id not in session_ids]
            parts += [self._shipment(own, like=part), self._shipment(others, like=part)]
        lane.parts[:] = parts

    def _shipment(self, entries: Sequence[Entry], *, like: _Shipment | None = None, is_bare: bool = False) -> _Shipment:
        return _Shipment(
            entries,
            self._new_key(),
            server_errors=0 if like is None or len(entries) == 1 else like.server_errors,
            delivered_before=self._delivered if like is None else like.delivered_before,
            is_bare=is_bare,
        )

    def _halves(self, part: _Shipment, outcome: Outcome) -> list[_Shipment]:
        is_too_large = outcome.verdict is Verdict.TOO_LARGE
        if is_too_large:
            self._door.learn_too_large(len(part.body))
        return [self._shipment(half, like=part) for half in halve(part.entries, by_size=is_too_large)]

    def _note_delivered(self, part: _Shipment) -> None:
        self._delivered += 1
        if not part.is_bare:
            self._arrays_work = True
        elif not self._arrays_work:
            self._only_bare_works = True

    async def _back_off(self, seconds: float) -> None:
        self._waiting_lanes += 1
        self.wake()  # there may be room for another lane now
        try:
            if not self._exiting.is_set():
                try:
                    await asyncio.wait_for(self._exiting.wait(), seconds)
                except asyncio.TimeoutError:
                    return
            await asyncio.sleep(min(seconds, EXIT_WAIT))
        finally:
            self._waiting_lanes -= 1

    # -- one try ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place among the requests that are on their way, once the service wants to hear from anybody."""
        async with self._sending:
            while (quiet := self._quiet_until - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110  (it may grow)
                await asyncio.sleep(quiet)
            yield

    async def _send(self, part: _Shipment) -> Outcome:
        while True:
            await self._allowed.wait()
            async with self._turn():
                if self._allowed.is_set():  # no hold began in the meantime
                    part.is_sent = True
                    part.delivered_meanwhile = self._delivered
                    outcome = await self._post(part.body, part.key)
                    # The service's own text stays out of it: it may quote what was sent.
                    logger.debug("%d events: %s (status %d)", len(part.entries), outcome.verdict.value, outcome.status)
                    return outcome

    async def _post(self, body: bytes, key: str) -> Outcome:
        try:
            outcome = await self._transport.send(body, key=key)
        except Exception as problem:  # an error that nobody foresaw: the events are worth another try
            self._say_mistake(problem)
            outcome = of_failure(f"sending failed: {type(problem).__name__}")
        now = asyncio.get_running_loop().time()
        if outcome.status > 0:
            self._last_answer = now
        if outcome.after is not None and outcome.verdict is not Verdict.DELIVERED:
            self._quiet_until = max(self._quiet_until, now + outcome.after)
        if self._outage.see(outcome, now):
            self._door.reachable_changed(outcome, is_reachable=not self._outage.is_on)
        return outcome

    async def _decide(self, part: _Shipment, outcome: Outcome) -> Action:
        key_was_good, self._key_is_good = self._key_is_good, outcome.verdict is Verdict.DELIVERED
        part.server_errors += outcome.verdict is Verdict.SERVER_ERROR
        action = self._next_action(part, outcome, key_is_good=key_was_good, probe_passed=False)
        if action is Action.PROBE:
            if await self._probe() is None:
                self._key_is_good = True
                return self._next_action(part, outcome, key_is_good=True, probe_passed=True)
            self._begin_hold(outcome)
        return action

    def _next_action(self, part: _Shipment, outcome: Outcome, *, key_is_good: bool, probe_passed: bool) -> Action:
        return next_action(
            outcome,
            size=len(part.entries),
            is_bare=part.is_bare,
            server_errors=part.server_errors,
            others_got_through=part.delivered_meanwhile > part.delivered_before,
            key_is_good=key_is_good,
            probe_passed=probe_passed,
        )

    # -- a key that is refused ----------------------------------------------------------------------------------------

    async def _probe(self) -> Outcome | None:
        """Sends an array of no events; None when the service takes it (or minds only that it is empty)."""
        async with self._turn():
            outcome = await self._post(NO_EVENTS, self._new_key())
        passed = outcome.verdict in (Verdict.DELIVERED, Verdict.REFUSED, Verdict.TOO_LARGE)
        return None if passed else outcome

    def _begin_hold(self, outcome: Outcome) -> None:
        if self._allowed.is_set():
            self._allowed.clear()
            self._prober = asyncio.get_running_loop().create_task(self._end_hold(outcome))
            self._door.allowed_changed(outcome, is_allowed=False)

    async def _end_hold(self, outcome: Outcome) -> None:
        problem: Outcome | None = outcome
        failures = 0
        while problem is not None:
            if problem.verdict is Verdict.NOT_ALLOWED:
                failures = 0
                await asyncio.sleep(PROBE_EVERY)
            else:
                failures += 1
                await asyncio.sleep(wait_seconds(failures, jitter=self._jitter()))
            problem = await self._probe()
        self._key_is_good = True
        self._allowed.set()
        self.wake()
        self._door.allowed_changed(outcome, is_allowed=True)
