"""For tests without a network: clients whose events stay in memory, and a clock that is set by hand.

Nothing here needs pytest; `mlsdk.testing` has fixtures, and a real service on this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final, cast

import orjson

import mlsdk.sync
from mlsdk import config, events
from mlsdk.callbacks import Callback
from mlsdk.client import Client
from mlsdk.clock import Clock
from mlsdk.delivery.buffer import Observer, Stats
from mlsdk.delivery.masking import BeforeSend, mask, why_not_sent
from mlsdk.errors import DeliveryError, InvalidEventError, LiveError, MindlyticsError
from mlsdk.events import Event, Timestamp
from mlsdk.local.store import Store
from mlsdk.local.users import UnknownUserError
from mlsdk.local.validation import InvalidBodyError, check_event
from mlsdk.local.views import SessionView, session_view
from mlsdk.models import MLEvent
from mlsdk.session import Session
from mlsdk.waiting import Blocking

PROJECT: Final = "memory_project"


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: Timestamp = "2025-01-01T00:00:00Z") -> None:
        """Stands at `start`: ISO 8601 text with an offset, or an aware `datetime`."""
        self._now = events.parse_timestamp(start, "start")
        self._elapsed = 0.0

    def now(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since it was made, by its own account."""
        return self._elapsed

    @property
    def timestamp(self) -> str:
        """The moment as events have it."""
        return events.format_timestamp(self._now)

    def advance(self, seconds: float) -> None:
        """Moves it on.

        Raises:
            ValueError: `seconds` is negative; the SDK's clock never goes back.
        """
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self._now += round(seconds * 1_000_000)
        self._elapsed += seconds


class MemoryDelivery:
    """Takes events as the background sender does, and keeps them: judged as the service would, settled at once.

    Attributes:
        events: The wire events taken, in order.
        open: The sessions that are open.
    """

    def __init__(self, *, project_id: str = PROJECT) -> None:
        self.events: list[Event] = []
        self.open: set[Session] = set()
        self._project_id = project_id
        self._store = Store(instance="memory")
        self._accepted = 0
        self._dropped: dict[str, int] = {}
        # Reentrant: a session that is collected meanwhile offers its end.
        self._lock = threading.RLock()

    # -- what a test asks ---------------------------------------------------------------------------------------------

    @property
    def session_ids(self) -> list[str]:
        """The sessions, in order of appearance."""
        with self._lock:
            return [session_id for _, session_id in self._store.sessions]

    def session(self, session_id: str) -> SessionView:
        """A session as the service would see it.

        Raises:
            LookupError: There is no event of it.
        """
        with self._lock:
            return session_view(self._store.session(session_id, self._project_id))

    def clear(self) -> None:
        """Forgets all events; the ledger goes on."""
        with self._lock:
            self.events.clear()
            self._store = Store(instance="memory")

    # -- what sessions and clients ask --------------------------------------------------------------------------------

    def offer(
        self,
        event: Event,
        *,
        observer: Observer | None = None,
        before_send: BeforeSend | None = None,
        on_settled: Callable[[bool], None] | None = None,
    ) -> None:
        """Takes an event; one that the service would refuse is told to the session's `on_error`."""
        with self._lock:
            self._accepted += 1
            why = self._take(event, before_send)
            if why is not None:
                reason, _ = why
                self._dropped[reason] = self._dropped.get(reason, 0) + 1
        if why is not None and why[1] is not None and observer is not None:
            observer.report(why[1])
        if on_settled is not None:
            on_settled(why is None)

    def _take(self, event: Event, before_send: BeforeSend | None) -> tuple[str, DeliveryError | None] | None:
        """None, or the reason for which it is dropped, and what to tell of it."""
        if before_send is not None:
            try:
                masked = mask(event, before_send)
            except Exception as problem:  # whatever the hook raises: what it should mask is not kept
                return "before_send_failed", DeliveryError(f"an event was dropped: {why_not_sent(problem)}")
            if masked is None:
                return "before_send", None
            event = masked
        wire: dict[str, Any] = orjson.loads(events.encode(event))
        try:
            check_event(wire)
        except InvalidBodyError as problem:
            return "refused", DeliveryError(str(problem), status=400)
        self.events.append(wire)
        self._store.receive(wire, app_id=self._project_id, at=str(wire["timestamp"]))
        return None

    def settled(self, session_ids: object = None) -> Future[bool]:
        """Everything is, always."""
        done: Future[bool] = Future()
        done.set_result(True)
        return done

    def hold(self, session_id: str) -> None:
        """Events are taken as they come."""

    def let_go(self, session_id: str) -> None:
        """So there is nothing to let go."""

    def opened(self, session: Session) -> None:
        """Notes that a session is open."""
        self.open.add(session)

    def closed(self, session: Session) -> None:
        """Notes that it no longer is."""
        self.open.discard(session)

    def stats(self) -> Stats:
        """The ledger."""
        with self._lock:
            return {
                "accepted": self._accepted,
                "recovered": 0,
                "delivered": self._accepted - sum(self._dropped.values()),
                "queued": 0,
                "spooled": 0,
                "handed_over": 0,
                "dropped": dict(self._dropped),
            }

    def ask(self, url: str, body: Mapping[str, Any]) -> None:
        """Identifies or aliases a user outside of any session.

        Raises:
            DeliveryError: The user to be aliased is not known.
        """
        with self._lock:
            if url.endswith("/identify"):
                self._store.identify(dict(body), app_id=self._project_id, at="")
                return
            try:
                self._store.alias(dict(body), app_id=self._project_id)
            except UnknownUserError as problem:
                raise DeliveryError(str(problem), status=400) from None


class MemoryClient(Client):
    """A `Client` that needs no key and opens no connection.

    Attributes:
        delivery: Where its events are.
    """

    def __init__(
        self, *, project_id: str = PROJECT, clock: Clock | None = None, before_send: BeforeSend | None = None
    ) -> None:
        """Sends nothing.

        Args:
            project_id: The project.
            clock: Where its sessions' timestamps come from; default the machine's clock.
            before_send: As `Client` has it.
        """
        super().__init__("memory_key", project_id, "http://memory.invalid", enabled=False)
        self._config = replace(self._config, enabled=True)
        self._before_send = config.hook(before_send, {})
        self.delivery: Final = MemoryDelivery(project_id=project_id)
        self._door = cast("Any", self.delivery)
        if clock is not None:
            self._clock = clock

    def create_session(self, *, on_event: Callback[MLEvent] | None = None, **arguments: Any) -> Session:
        """Makes a session object; see `mlsdk.Client.create_session`.

        Raises:
            InvalidEventError: An argument is wrong; `on_event` is one, as nobody makes live events here.
        """
        if on_event is not None:
            raise InvalidEventError("on_event", "needs a service: use the fixture `mindlytics` of mlsdk.testing")
        return super().create_session(**arguments)

    async def start_listening(
        self, *, on_event: Callback[MLEvent], on_error: Callback[MindlyticsError] | None = None
    ) -> None:
        """There are no live events.

        Raises:
            LiveError: Always.
        """
        raise LiveError("there are no live events in memory: use the fixture `mindlytics` of mlsdk.testing")

    async def _ask(self, url: str, body: Mapping[str, Any]) -> None:
        self.delivery.ask(url, body)


class SyncMemoryClient(mlsdk.sync.Client):
    """`MemoryClient` without `await`.

    Attributes:
        delivery: Where its events are.
    """

    def __init__(
        self, *, project_id: str = PROJECT, clock: Clock | None = None, before_send: BeforeSend | None = None
    ) -> None:
        """Takes the arguments of `MemoryClient`."""
        client = MemoryClient(project_id=project_id, clock=clock, before_send=before_send)
        self._client = client
        self._client._wait = Blocking()
        self.delivery: Final = client.delivery
