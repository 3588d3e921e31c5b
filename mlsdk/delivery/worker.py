"""Drives deliveries: cuts batches, sends them side by side, and does with each what the rules of `retry` say.

The first event goes at once; while a request is on its way, what arrives gathers for the next one. A further request
starts beside it only for a full batch, for somebody who waits, or when the first has been silent for a while.
Runs on the host's loop alone. Decisions are made elsewhere: what an answer means in `outcome`, what to do about it in
`retry`, which events go in `buffer`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from mlsdk.delivery.buffer import Entry, body_of, halve
from mlsdk.delivery.outage import Outage
from mlsdk.delivery.outcome import Outcome, Verdict, of_failure
from mlsdk.delivery.retry import Action, next_action, wait_seconds
from mlsdk.delivery.transport import NO_EVENTS, Transport

logger = logging.getLogger(__name__)

MAX_SENDING: Final = 8
"""Requests at a time, at most, and so connections."""
MAX_LANES: Final = 16
"""Batches at a time, those included that wait for their next try."""
PATIENCE: Final = 0.1
"""Seconds after which a request that is still unanswered no longer makes others gather."""
PROBE_EVERY: Final = 60.0
"""Seconds between two questions whether the key is accepted by now."""
EXIT_WAIT: Final = 0.2
"""Seconds: the longest back-off once the process is ending."""


class Door(Protocol):
    """Where batches come from and outcomes go to. Its methods may be called from the worker's thread only."""

    def cut(self, *, is_idle: bool) -> list[Entry]:
        """The next batch, or nothing yet; `is_idle` says that no request keeps others waiting."""

    def sleep(self, *, is_idle: bool) -> None:
        """The worker will look again when `wake` is called: for any event if idle, else for a full batch."""

    def settle(self, entries: Sequence[Entry], refusal: Outcome | None = None) -> None:
        """Events of a batch were delivered, or refused for good."""

    def release(self, batch: Iterable[Entry]) -> None:
        """All of a batch is settled."""

    def learn_too_large(self, size: int) -> None:
        """A body of so many bytes is too large for the service."""

    def reachable_changed(self, outcome: Outcome, *, is_reachable: bool) -> None:
        """An outage began or ended."""

    def allowed_changed(self, outcome: Outcome, *, is_allowed: bool) -> None:
        """The key, the project or the address was refused, or is accepted now."""


class _Shipment:
    """Events that are sent in one body; the body and its key stay the same from try to try."""

    __slots__ = ("body", "delivered_before", "entries", "failures", "is_bare", "key", "tries")

    def __init__(self, entries: Sequence[Entry], key: str, *, tries: int, delivered_before: int, is_bare: bool) -> None:
        self.entries = entries
        self.key = key
        self.tries = tries
        self.failures = 0
        self.delivered_before = delivered_before
        self.is_bare = is_bare
        self.body = entries[0].body if is_bare else body_of(entries)


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
        self._lanes: dict[asyncio.Task[None], float] = {}  # when each began
        self._waiting_lanes = 0  # those in a back-off, which use no connection
        self._prober: asyncio.Task[None] | None = None
        self._quiet_until = 0.0
        self._last_answer = 0.0
        self._outage = Outage()
        self._delivered = 0
        self._key_is_good = False
        self._arrays_work = False
        self._only_bare_works = False

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
                self._start_lanes()
                await self._woken.wait()
                self._woken.clear()
        finally:
            for task in [*self._lanes, *([self._prober] if self._prober else [])]:
                task.cancel()
            await self._transport.close()

    # -- lanes --------------------------------------------------------------------------------------------------------

    def _start_lanes(self) -> None:
        loop = asyncio.get_running_loop()
        is_idle = True
        while self._allowed.is_set() and self._has_room_for_a_lane():
            is_idle = all(loop.time() - began >= PATIENCE for began in self._lanes.values())
            batch = self._door.cut(is_idle=is_idle)
            if not batch:
                break
            lane = loop.create_task(self._deliver(batch))
            self._lanes[lane] = loop.time()
            lane.add_done_callback(self._end_lane)
            # A little late, lest the clock's grain make the lane look younger than PATIENCE.
            loop.call_later(PATIENCE * 1.01, self.wake)
        self._door.sleep(is_idle=is_idle)

    def _has_room_for_a_lane(self) -> bool:
        return len(self._lanes) < MAX_LANES and len(self._lanes) - self._waiting_lanes < MAX_SENDING

    def _end_lane(self, lane: asyncio.Task[None]) -> None:
        del self._lanes[lane]
        if not lane.cancelled() and (problem := lane.exception()) is not None:
            logger.error("a delivery ended with %s", type(problem).__name__, exc_info=problem)
        self.wake()

    async def _deliver(self, batch: list[Entry]) -> None:
        parts = deque(self._shipments(batch))
        while parts:
            shipment = parts[0]
            outcome = await self._send(shipment)
            action = await self._decide(shipment, outcome)
            if action is Action.SETTLE:
                self._note_delivered(shipment)
                self._door.settle(parts.popleft().entries)
            elif action is Action.REFUSE:
                self._door.settle(parts.popleft().entries, outcome)
            elif action is Action.HALVE:
                parts.popleft()
                parts.extendleft(reversed(self._halves(shipment, outcome)))
            elif action is Action.SEND_BARE:
                parts[0] = self._shipment(shipment.entries, like=shipment, is_bare=True)
            elif action is Action.WAIT:
                shipment.failures += 1
                await self._back_off(wait_seconds(shipment.failures, jitter=self._jitter()))
        self._door.release(batch)

    def _shipments(self, batch: list[Entry]) -> list[_Shipment]:
        if self._only_bare_works:
            return [self._shipment([entry], is_bare=True) for entry in batch]
        return [self._shipment(batch)]

    def _shipment(self, entries: Sequence[Entry], *, like: _Shipment | None = None, is_bare: bool = False) -> _Shipment:
        return _Shipment(
            entries,
            self._new_key(),
            tries=like.tries if like else 0,
            delivered_before=like.delivered_before if like else self._delivered,
            is_bare=is_bare,
        )

    def _halves(self, shipment: _Shipment, outcome: Outcome) -> list[_Shipment]:
        is_too_large = outcome.verdict is Verdict.TOO_LARGE
        if is_too_large:
            self._door.learn_too_large(len(shipment.body))
        return [self._shipment(half, like=shipment) for half in halve(shipment.entries, by_size=is_too_large)]

    def _note_delivered(self, shipment: _Shipment) -> None:
        self._delivered += 1
        if not shipment.is_bare:
            self._arrays_work = True
        elif not self._arrays_work:
            self._only_bare_works = True

    # -- one try ------------------------------------------------------------------------------------------------------

    async def _send(self, shipment: _Shipment) -> Outcome:
        await self._allowed.wait()
        async with self._sending:
            while (quiet := self._quiet_until - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110  (it may grow)
                await asyncio.sleep(quiet)
            shipment.tries += 1
            return await self._post(shipment.body, shipment.key)

    async def _post(self, body: bytes, key: str) -> Outcome:
        try:
            outcome = await self._transport.send(body, key=key)
        except Exception as problem:  # a bug, or an error that nobody foresaw: the events are worth another try
            logger.exception("sending failed in a way that it should not")
            outcome = of_failure(f"sending failed: {type(problem).__name__}")
        now = asyncio.get_running_loop().time()
        if outcome.status > 0:
            self._last_answer = now
        if outcome.after is not None and outcome.verdict is not Verdict.DELIVERED:
            self._quiet_until = max(self._quiet_until, now + outcome.after)
        if self._outage.see(outcome):
            self._door.reachable_changed(outcome, is_reachable=not self._outage.is_on)
        return outcome

    async def _decide(self, shipment: _Shipment, outcome: Outcome) -> Action:
        key_was_good, self._key_is_good = self._key_is_good, outcome.verdict is Verdict.DELIVERED
        action = self._next_action(shipment, outcome, key_is_good=key_was_good, probe_passed=False)
        if action is Action.PROBE:
            if await self._probe() is None:
                self._key_is_good = True
                return self._next_action(shipment, outcome, key_is_good=True, probe_passed=True)
            self._begin_hold(outcome)
            # The shipment is sent again when the hold is over: until then nothing is known against its events.
        return action

    def _next_action(self, shipment: _Shipment, outcome: Outcome, *, key_is_good: bool, probe_passed: bool) -> Action:
        return next_action(
            outcome,
            size=len(shipment.entries),
            is_bare=shipment.is_bare,
            tries=shipment.tries,
            others_got_through=self._delivered > shipment.delivered_before,
            key_is_good=key_is_good,
            probe_passed=probe_passed,
        )

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

    # -- a key that is refused ----------------------------------------------------------------------------------------

    async def _probe(self) -> Outcome | None:
        """Sends an array of no events; None when the service takes it (or minds only that it is empty)."""
        outcome = await self._post(NO_EVENTS, self._new_key())
        passed = outcome.verdict in (Verdict.DELIVERED, Verdict.REFUSED, Verdict.TOO_LARGE)
        return None if passed else outcome

    def _begin_hold(self, outcome: Outcome) -> None:
        if self._allowed.is_set():
            self._allowed.clear()
            self._door.allowed_changed(outcome, is_allowed=False)
            self._prober = asyncio.get_running_loop().create_task(self._end_hold(outcome))

    async def _end_hold(self, outcome: Outcome) -> None:
        problem: Outcome | None = outcome
        failures = 0
        while problem is not None:
            if problem.verdict is Verdict.NOT_ALLOWED:
                await asyncio.sleep(PROBE_EVERY)
            else:
                failures += 1
                await asyncio.sleep(wait_seconds(failures, jitter=self._jitter(), after=problem.after))
            problem = await self._probe()
        self._key_is_good = True
        self._allowed.set()
        self._door.allowed_changed(outcome, is_allowed=True)
        self.wake()
