"""What the server thread and its users share: the store, the requests seen and the faults asked for, under one lock.

It knows no HTTP and no loop. Whoever changes something wakes whoever waits in `State.wait_for`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import orjson

from mlsdk.local.faults import API, Fault, Faults
from mlsdk.local.records import Generated, Values
from mlsdk.local.store import Store
from mlsdk.local.validation import unknown_fields

REQUESTS_KEPT: Final = 100_000
PROBLEMS_KEPT: Final = 1000


@dataclass(frozen=True)
class RequestInfo:
    """A request as a fault script sees it, before anything is done.

    Header names are in lower case. ``number`` counts from 1 in order of arrival.
    """

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The decoded body; None if it is empty or no JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def events(self) -> list[Values]:
        """The events in the body of a request to ``/bc/v1/events/``, valid or not; else an empty list."""
        if not self.path.startswith("/bc/v1/events/"):
            return []
        found = self.json if isinstance(self.json, list) else [self.json]
        return [event for event in found if isinstance(event, dict)]


@dataclass(slots=True)
class RecordedRequest:
    """A request and what became of it.

    ``events``: how many the body held. ``size``: bytes of the body. ``status``: None while it is being worked on, and
    for ever if the connection was cut. ``fault``: what was done to it, if anything. ``processed``: whether its events
    were taken, whatever the client was told. ``at``: when it came, ISO 8601 UTC. ``refusal``: the text of an answer
    that is an error.
    """

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    idempotency_key: str | None
    events: int
    size: int
    status: int | None = None
    fault: Fault | None = None
    processed: bool = False
    at: str | None = None
    refusal: str | None = None

    @property
    def is_problem(self) -> bool:
        """Whether the client did not get what it asked for."""
        return self.status is None or self.status >= 400


Hook = Callable[[RequestInfo], Fault | None]


class Journal(Protocol):
    """Where accepted input is written so that it survives the process."""

    def append(
        self, kind: str, bodies: Iterable[Values], *, app_id: str, at: str, request: int, idempotency_key: str | None
    ) -> None:
        """Write the bodies, all or none; ``kind`` is event, identify or alias."""

    def clear(self, *, instance: str) -> None:
        """Forget everything written, and begin anew as another instance."""

    def close(self) -> None:
        """Write no more."""


@dataclass(slots=True)
class _Planned:
    fault: Fault
    path: str
    times: int


class Script:
    """Which fault hits the next request: planned ones first, then the hook's, then the command line's."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._planned: deque[_Planned] = deque()
        self.hook: Hook | None = None

    def plan(self, fault: Fault, *, times: int, path: str) -> None:
        """Let the fault hit the next ``times`` requests whose path begins with ``path``."""
        self._planned.append(_Planned(fault, path, times))

    def clear(self) -> None:
        """Forget plans and hook."""
        self._planned.clear()
        self.hook = None

    def choose(self, request: RequestInfo) -> Fault | None:
        """The fault for this request, None for none."""
        for planned in self._planned:
            if request.path.startswith(planned.path):
                planned.times -= 1
                if planned.times <= 0:
                    self._planned.remove(planned)
                return planned.fault
        chosen = self.hook(request) if self.hook is not None else None
        return chosen if chosen is not None else self._faults.hit(request.path)


@dataclass(slots=True)
class State:
    """The shared state. Hold ``changed`` while reading more than one thing, and notify after a change."""

    store: Store
    script: Script
    journal: Journal | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=REQUESTS_KEPT))
    problems: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=PROBLEMS_KEPT))
    problem_count: int = 0
    request_count: int = 0
    hanging: int = 0
    readers: int = 0
    user_changes: int = 0
    unknown_fields: dict[str, int] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)

    def begin(self, info: RequestInfo, *, at: str | None = None) -> RecordedRequest:
        """Note that a request has come, and choose its fault."""
        with self.changed:
            record = RecordedRequest(
                info.number,
                info.method,
                info.path,
                info.query,
                info.headers,
                info.headers.get("idempotency-key"),
                len(info.events),
                len(info.body),
                at=at,
            )
            self.requests.append(record)
            try:
                record.fault = self.script.choose(info)
            except Exception as error:  # a test's own hook: the test has to hear of it, not only the client
                self.failures.append(error)
                record.fault = Fault.answer(500, body=f"on_request raised {error!r}")
            self.changed.notify_all()
            return record

    def finish(self, record: RecordedRequest, status: int | None, *, refusal: str | None = None) -> None:
        """Note what the request is answered; no status: the connection was cut."""
        with self.changed:
            record.status = status
            record.refusal = refusal
            if record.is_problem and record.path.startswith(API):
                self.problems.append(record)
                self.problem_count += 1
            self.changed.notify_all()

    def clear(self, store: Store) -> None:
        """Forget all that came in, and go on with this new store."""
        with self.changed:
            self.store = store
            self.unknown_fields.clear()
            if self.journal is not None:
                self.journal.clear(instance=store.instance)
            self.requests.clear()
            self.problems.clear()
            self.problem_count = 0
            self.script.clear()
            self.changed.notify_all()

    def next_number(self) -> int:
        """The number of the request that has just come in."""
        with self.changed:
            self.request_count += 1
            return self.request_count

    def count(self, name: str, change: int) -> None:
        """Move one of the gauges ``hanging`` and ``readers``."""
        with self.changed:
            setattr(self, name, getattr(self, name) + change)
            self.changed.notify_all()

    def receive(self, events: list[Values], *, app_id: str, at: str, record: RecordedRequest) -> list[Generated]:
        """Take valid events, in order, and return the live events that they cause."""
        with self.changed:
            key = record.idempotency_key
            if self.journal is not None and events:
                self.journal.append("event", events, app_id=app_id, at=at, request=record.number, idempotency_key=key)
            made: list[Generated] = []
            for event in events:
                for name in unknown_fields(event):
                    self.unknown_fields[name] = self.unknown_fields.get(name, 0) + 1
                made += self.store.receive(event, app_id=app_id, at=at, request=record.number, idempotency_key=key)
            record.processed = True
            self.changed.notify_all()
            return made

    def user(self, kind: str, body: Values, *, app_id: str, at: str, record: RecordedRequest) -> dict[str, Any]:
        """Identify or alias a user outside of any session; ``kind`` is the word.

        Raises:
            UnknownUserError: the one to be aliased.
        """
        with self.changed:
            if kind == "identify":
                answer = self.store.identify(body, app_id=app_id, at=at)
            else:
                answer = self.store.alias(body, app_id=app_id)
            self.user_changes += 1
            if self.journal is not None:
                self.journal.append(kind, [body], app_id=app_id, at=at, request=record.number, idempotency_key=None)
            record.processed = True
            self.changed.notify_all()
            return answer
