"""A door and a transport for the worker that tests script, and remember."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mlsdk.delivery.buffer import Buffer, Entry
from mlsdk.delivery.outcome import Outcome, of_answer, of_failure
from mlsdk.delivery.worker import Worker
from support import virtual_time

OK: Final = of_answer(200, "ok")
LOST: Final = of_failure("the connection failed")
NOBODY: Final = of_failure("cannot connect", is_unreachable=True)


def status(code: int, text: str = "", *, after: float | None = None) -> Outcome:
    """The meaning of an answer."""
    return of_answer(code, text, retry_after=None if after is None else str(after))


@dataclass(slots=True)
class Sent:
    """One request: when it began, what it held, and how it was answered."""

    number: int
    at: float
    body: bytes
    key: str
    outcome: Outcome | None = None
    ended: float = -1.0

    @property
    def is_bare(self) -> bool:
        """Whether it holds one event outside an array."""
        return not self.body.startswith(b"[")

    @property
    def names(self) -> list[str]:
        """Its events, such as ``a1``: the first of session ``a``."""
        content = json.loads(self.body)
        return [event["name"] for event in ([content] if isinstance(content, dict) else content)]

    @property
    def sessions(self) -> set[str]:
        """Those that it holds events of."""
        return {name[0] for name in self.names}


Answer = Callable[[Sent], "Outcome | Awaitable[Outcome]"]


class ScriptedTransport:
    """Answers as a function says, after ``latency`` virtual seconds."""

    def __init__(self, answer: Answer | Iterable[Outcome] = (), *, latency: float = 0.01) -> None:
        self._script = None if callable(answer) else iter(answer)
        self._answer = answer if callable(answer) else self._next
        self.latency = latency
        self.sent: list[Sent] = []
        self.in_flight: list[Sent] = []
        self.most_in_flight = 0
        self.is_closed = False
        self._began = asyncio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until a request that has just begun makes it true."""
        while not holds():
            self._began.clear()
            await self._began.wait()

    def _next(self, _sent: Sent) -> Outcome:
        assert self._script is not None
        return next(self._script, OK)

    async def send(self, body: bytes, *, key: str) -> Outcome:
        sent = Sent(len(self.sent) + 1, virtual_time.now(), body, key)
        self.sent.append(sent)
        assert all(sent.sessions.isdisjoint(other.sessions) for other in self.in_flight), "a session in two requests"
        self.in_flight.append(sent)
        self._began.set()
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        try:
            await asyncio.sleep(self.latency)
            answer = self._answer(sent)
            sent.outcome = answer if isinstance(answer, Outcome) else await answer
        finally:
            self.in_flight.remove(sent)
            sent.ended = virtual_time.now()
        return sent.outcome

    async def close(self) -> None:
        self.is_closed = True

    # -- what was sent ------------------------------------------------------------------------------------------------

    @property
    def batches(self) -> list[list[str]]:
        """The names in each request, probes apart."""
        return [sent.names for sent in self.sent if sent.names]

    @property
    def probes(self) -> list[Sent]:
        """The requests without events."""
        return [sent for sent in self.sent if not sent.names]

    def of(self, *names: str) -> list[Sent]:
        """The requests with any of these events."""
        return [sent for sent in self.sent if set(names) & set(sent.names)]

    def starts(self) -> list[float]:
        return [round(sent.at, 6) for sent in self.sent]


@dataclass
class Shelf:
    """A door with a real buffer behind it, and a worker that takes from it, on a virtual-time loop."""

    transport: ScriptedTransport
    jitter: Callable[[], float] = lambda: 1.0
    max_events: int = 10_000
    is_hurried: bool = False
    delivered: list[str] = field(default_factory=list)
    refused: dict[str, Outcome] = field(default_factory=dict)
    reachable: list[tuple[float, bool]] = field(default_factory=list)
    allowed: list[tuple[float, bool, int]] = field(default_factory=list)
    settled_at: dict[str, float] = field(default_factory=dict)
    mistake_in: Callable[[str], None] = lambda _method: None
    looks: int = 0

    def __post_init__(self) -> None:
        self.buffer = Buffer(max_events=self.max_events, max_bytes=1 << 30)
        self._counts: dict[str, int] = {}
        self._keys = itertools.count(1)
        self._sleeps = self._until_full = False
        self._changed = asyncio.Event()
        self.worker = Worker(self, self.transport, jitter=self.jitter, new_key=lambda: f"key-{next(self._keys)}")

    # -- for tests ----------------------------------------------------------------------------------------------------

    def put(self, *sessions: str, size: int = 0) -> list[str]:
        """Offers an event to each of the sessions, and returns their names."""
        names = []
        for session_id in sessions:
            self._counts[session_id] = number = self._counts.get(session_id, 0) + 1
            names.append(f"{session_id}{number}")
            body = json.dumps({"name": names[-1], "text": "x" * size}).encode()
            self.buffer.offer(Entry(body, session_id, is_essential=False))
            self.wake_if_due()
        self.check()
        return names

    def hurry(self) -> None:
        """Somebody waits."""
        self.is_hurried = True
        self.worker.wake()

    async def until(self, holds: Callable[[], object], *, seconds: float = 1e5) -> None:
        """Wait in virtual time."""

        async def wait() -> None:
            while not holds():
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), seconds)

    async def until_settled(self, *names: str, seconds: float = 1e5) -> None:
        """Wait until these events, or all, are settled."""
        await self.until(
            lambda: self.settled_at.keys() >= set(names) if names else self.buffer.queued == 0, seconds=seconds
        )

    def check(self) -> None:
        """The ledger adds up."""
        stats = self.buffer.stats()
        assert stats["accepted"] == stats["delivered"] + stats["queued"] + sum(stats["dropped"].values())

    def wake_if_due(self) -> None:
        if self._sleeps and self.buffer.has_ready and (not self._until_full or self.buffer.has_full_batch):
            self._sleeps = False
            self.worker.wake()

    # -- for the worker -----------------------------------------------------------------------------------------------

    def cut(self, *, is_idle: bool) -> list[Entry]:
        self.mistake_in("cut")
        self.looks += 1
        if not self.buffer.has_ready:
            self.is_hurried = False
            return []
        return self.buffer.cut() if is_idle or self.is_hurried or self.buffer.has_full_batch else []

    def sleep(self, *, is_idle: bool) -> None:
        self._sleeps = True
        self._until_full = not is_idle
        self.wake_if_due()

    def settle(self, entries: Sequence[Entry], refusal: Outcome | None = None) -> None:
        self.mistake_in("settle")
        self.buffer.settle(entries, reason=None if refusal is None else "refused")
        for entry in entries:
            name = json.loads(entry.body)["name"]
            assert name not in self.settled_at
            self.settled_at[name] = virtual_time.now()
            if refusal is None:
                self.delivered.append(name)
            else:
                self.refused[name] = refusal
        self.check()
        self.wake_if_due()
        self._changed.set()

    def learn_too_large(self, size: int) -> None:
        self.buffer.learn_too_large(size)

    def reachable_changed(self, outcome: Outcome, *, is_reachable: bool) -> None:
        self.reachable.append((round(virtual_time.now(), 6), is_reachable))
        self._changed.set()

    def allowed_changed(self, outcome: Outcome, *, is_allowed: bool) -> None:
        self.allowed.append((round(virtual_time.now(), 6), is_allowed, outcome.status))
        self._changed.set()


@contextlib.asynccontextmanager
async def working(transport: ScriptedTransport, **options: Any) -> AsyncIterator[Shelf]:
    """A shelf whose worker works while the block runs."""
    shelf = Shelf(transport, **options)
    task = asyncio.get_running_loop().create_task(shelf.worker.run())
    await asyncio.sleep(0)  # one that is cancelled before it began would have nothing to close
    try:
        yield shelf
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert transport.is_closed
