"""The local Mindlytics as an object: start it, ask it, script it, stop it.

The server runs on a thread of its own with its own loop, so it answers whatever the code under test does to its loop,
and the same object serves synchronous and asynchronous tests. Every method may be called from any thread.
"""

import asyncio
import random
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import orjson
from aiohttp import web

from mlsdk.local import ports
from mlsdk.local.database import Database
from mlsdk.local.faults import Fault, FaultRule, Faults, parse_fault
from mlsdk.local.live import READER_QUEUE, Hub
from mlsdk.local.records import Received, Values
from mlsdk.local.server import MAX_BODY, Service, build_application
from mlsdk.local.state import Hook, RecordedRequest, Script, State
from mlsdk.local.store import Store
from mlsdk.local.views import SessionView, session_view

T = TypeVar("T")

_STOP_SECONDS: Final = 1.0
_EVENTS: Final = "/bc/v1/events/"


def utc_now() -> str:
    """The time, as the service writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


class LocalMindlytics:
    """A Mindlytics service on this machine.

    ``with LocalMindlytics() as service:`` or ``async with``; both are the same. Leaving raises the first error of a
    hook or of the service itself, so that no test passes by accident.

    Args:
        host: address to listen on.
        port: 0 picks a free one that no service of this process had before, see `url`.
        ws_port: a second port for the websocket, which is on ``port`` in any case. Default: 400x where ``port`` is
            300x, since clients derive that address; else none.
        api_key: the only key accepted; without it any but ``bad_key`` is.
        faults: specs of the ``--fault`` grammar (see `mlsdk.local.faults`) or parsed rules.
        seed: makes the faults' draws repeat.
        max_body: a request body larger than so many bytes is answered 413.
        db: SQLite file that keeps everything over restarts; without it nothing outlives the object.
        reader_queue: how many live events may wait for one websocket reader before it is cut off.
        now: the clock, ISO 8601 UTC.

    Raises:
        InvalidFaultError: a fault spec is not one.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ws_port: int | None = None,
        api_key: str | None = None,
        faults: Iterable[str | FaultRule] = (),
        seed: int | None = None,
        max_body: int = MAX_BODY,
        db: str | Path | None = None,
        reader_queue: int = READER_QUEUE,
        now: Callable[[], str] = utc_now,
    ) -> None:
        if ws_port is None and 3000 <= port <= 3009:
            ws_port = port + 1000
        rules = [parse_fault(each) if isinstance(each, str) else each for each in faults]
        self.host: Final = host
        self.port = port
        self.ws_port = ws_port
        self._api_key = api_key
        self._max_body = max_body
        self._reader_queue = reader_queue
        self._now = now
        self._db = db
        self._state = State(
            store=Store(instance=secrets.token_hex(4)),
            script=Script(Faults(rules, random=random.Random(seed).random)),  # noqa: S311 - dice, no secret
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._servers: list[asyncio.Server] = []
        self._kept: list[socket.socket] = []  # while the ports are closed

    # --- life ---------------------------------------------------------------------------------------------------

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Any) -> "Iterator[LocalMindlytics]":
        """The same as ``with LocalMindlytics(...)``, by the name that says where it runs."""
        with cls(**options) as service:
            yield service

    def start(self) -> None:
        """Start serving; returns when requests are accepted.

        Raises:
            OSError: a port is taken.
        DatabaseError: the file of ``db`` cannot be used.
        """
        if self._db is not None:
            self._restore(self._db)
        started: list[BaseException | None] = []
        ready = threading.Event()

        def run() -> None:
            # Not the policy's loop: the code under test may have set another kind.
            with _closing(asyncio.SelectorEventLoop()) as loop:
                loop.set_debug(False)  # python -X dev is for the application's loop; it would report ours as slow
                loop.run_until_complete(self._main(ready, started))

        self._thread = threading.Thread(target=run, name="local-mindlytics", daemon=True)
        self._thread.start()
        ready.wait()
        if started and started[0] is not None:
            self._thread.join()
            self._thread = self._loop = None
            self._close_journal()
            raise started[0]

    def stop(self) -> None:
        """Stop serving: websockets are closed, hanging requests cut, ports free again."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._thread = self._loop = None
        self._close_journal()

    def _restore(self, path: str | Path) -> None:
        """Go through the file's input again: what was known then is known now."""
        database = Database(path, instance=self._state.store.instance)
        store = Store(instance=database.instance)
        for row in database.rows():
            if row.kind == "event":
                store.receive(
                    row.body,
                    app_id=row.app_id,
                    at=row.at,
                    request=row.request,
                    idempotency_key=row.idempotency_key,
                )
            elif row.kind == "identify":
                store.identify(row.body, app_id=row.app_id, at=row.at)
            else:
                store.alias(row.body, app_id=row.app_id)
            self._state.request_count = row.request
        self._state.store = store
        self._state.journal = database

    def _close_journal(self) -> None:
        if self._state.journal is not None:
            self._state.journal.close()
            self._state.journal = None

    def __enter__(self) -> "LocalMindlytics":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self._state.failures:
            raise self._state.failures[0]

    async def __aenter__(self) -> "LocalMindlytics":
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    async def _main(self, ready: threading.Event, started: list[BaseException | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        try:
            async with self._serving():
                started.append(None)
                ready.set()
                await self._stopped.wait()
        except BaseException as error:
            if started:
                raise
            started.append(error)  # `start` raises it, where somebody can act on it
        finally:
            ready.set()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        self._hub = Hub(count=lambda change: self._state.count("readers", change), reader_queue=self._reader_queue)
        self._service = Service(
            state=self._state,
            hub=self._hub,
            now=self._now,
            api_key=self._api_key,
            max_body=self._max_body,
            host=self.host,
        )
        self._runner = web.AppRunner(build_application(self._service), access_log=None, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        try:
            await self._listen()
            yield
        finally:
            self._service.stopping = True
            await self._unlisten()
            self._let_go()
            self._hub.close()
            self._service.watchers.close()
            self._service.release()
            await self._runner.cleanup()

    # --- addresses ----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Base address for HTTP."""
        return f"http://{_in_url(self.host)}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Base address for the websocket."""
        return f"ws://{_in_url(self.host)}:{self.ws_port or self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a client to this service."""
        return {
            "MLSDK_API_KEY": self._api_key or "local_key",
            "MLSDK_PROJECT_ID": "local_project",
            "MLSDK_SERVER_BASE": self.url,
            "MLSDK_WSS_BASE": self.ws_url,
        }

    def close_port(self) -> None:
        """Stop listening and cut all connections: to clients the service is down. What it knows and its ports stay."""

        async def close() -> None:
            await self._unlisten()
            self._let_go()
            self._keep_ports()
            self._cut_connections()

        self._call(close())

    def reopen(self) -> None:
        """Listen again on the same ports."""
        self._call(self._listen())

    def cut_connections(self) -> None:
        """Cut all connections, idle and busy, and go on listening."""

        async def cut() -> None:
            self._cut_connections()

        self._call(cut())

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        handler = self._handler()
        self._let_go()
        first = ports.listening(self.host, self.port)
        self.port = first.getsockname()[1]
        self._servers.append(await loop.create_server(handler, sock=first))
        if self.ws_port not in (None, self.port):
            second = ports.listening(self.host, self.ws_port or 0)
            self._servers.append(await loop.create_server(handler, sock=second))

    async def _unlisten(self) -> None:
        await ports.end(self._servers)
        self._servers.clear()

    def _keep_ports(self) -> None:
        """Sees to it that nobody else takes the ports until `reopen`."""
        for port in dict.fromkeys((self.port, self.ws_port)):
            if port is not None:
                with suppress(OSError):  # somebody was faster
                    self._kept.append(ports.kept(self.host, port))

    def _let_go(self) -> None:
        for held in self._kept:
            held.close()
        self._kept.clear()

    def _cut_connections(self) -> None:
        for connection in self._handler().connections:
            if connection.transport is not None:
                connection.transport.abort()

    def _handler(self) -> web.Server:
        handler = self._runner.server
        if handler is None:
            raise RuntimeError("the local Mindlytics is not running")
        return handler

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's loop and wait for it."""
        if self._loop is None or threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("not running, or called from a hook: the server's own thread cannot wait for itself")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # --- questions ----------------------------------------------------------------------------------------------

    @property
    def received(self) -> int:
        """How many events have been taken."""
        return len(self._state.store.received)

    def events(self, session_id: str | None = None) -> list[Values]:
        """The wire events taken so far, in order of arrival: all, or those of one session (none: an empty list).

        They are the service's own objects: read, do not change.
        """
        return [each.event for each in self.records(session_id)]

    def records(self, session_id: str | None = None) -> list[Received]:
        """As `events`, with what is known of each arrival: time, project, request number, idempotency key."""
        with self._state.changed:
            if session_id is None:
                return list(self._state.store.received)
            try:
                return list(self._state.store.session(session_id).received)
            except LookupError:
                return []

    def session(self, session_id: str, app_id: str | None = None) -> SessionView:
        """A snapshot of one session.

        Raises:
            LookupError: no event of it has arrived.
        """
        with self._state.changed:
            return session_view(self._state.store.session(session_id, app_id))

    @property
    def session_ids(self) -> list[str]:
        """The sessions known, in order of appearance."""
        with self._state.changed:
            return [session_id for _, session_id in self._state.store.sessions]

    def live_events(self, session_id: str | None = None) -> list[dict[str, Any]]:
        """The live events made so far, in order: all, or those of one session."""
        with self._state.changed:
            store = self._state.store
            made = [store.live_event(each) for each in store.generated]
        return [each for each in made if session_id in (None, each["session_id"])]

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far (the last 100,000), in order of arrival."""
        with self._state.changed:
            return list(self._state.requests)

    @property
    def hanging(self) -> int:
        """How many requests hang now."""
        return self._state.hanging

    @property
    def readers(self) -> int:
        """How many websockets are connected now."""
        return self._state.readers

    def clear(self) -> None:
        """Forget events, users, requests, planned faults and the hook. Connections stay."""
        self._state.clear(Store(instance=secrets.token_hex(4)))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._service.watchers.wake)

    def wait_for(self, predicate: Callable[["LocalMindlytics"], T], *, timeout: float = 10.0) -> T:
        """Wait until the predicate, given this service, is true, and return what it returned.

        It is asked again at every change. A `LookupError` counts as "not yet". On an event loop use `wait_for_async`.

        Raises:
            TimeoutError: it did not become true in ``timeout`` seconds.
        """
        last: list[T] = []

        def holds() -> bool:
            try:
                last[:] = [predicate(self)]
            except LookupError:
                return False
            return bool(last[0])

        with self._state.changed:
            if not self._state.changed.wait_for(holds, timeout):
                raise TimeoutError(
                    f"not within {timeout:g} s; {self.received} events, {len(self._state.requests)} requests so far"
                )
        return last[0]

    async def wait_for_async(self, predicate: Callable[["LocalMindlytics"], T], *, timeout: float = 10.0) -> T:
        """`wait_for` without holding up the calling loop."""
        return await asyncio.to_thread(self.wait_for, predicate, timeout=timeout)

    # --- faults -------------------------------------------------------------------------------------------------

    def fail_next(
        self,
        status: int = 503,
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        process: bool = False,
        path: str = _EVENTS,
    ) -> None:
        """Answer the next requests by this status; the events in them are not taken (unless ``process``).

        Args:
            status: what to answer.
            times: how many requests.
            headers: of the answer, such as ``{"Retry-After": "2"}``.
            body: text of the answer; default the usual one of that status.
            process: take the events all the same: the client is told a lie.
            path: only requests whose path begins so; default those that bring events.
        """
        self.plan(Fault.answer(status, body=body, headers=headers, process=process), times=times, path=path)

    def plan(self, fault: Fault, *, times: int = 1, path: str = _EVENTS) -> None:
        """Let any fault hit the next requests, after those planned before."""
        with self._state.changed:
            self._state.script.plan(fault, times=times, path=path)

    def on_request(self, hook: Hook | None) -> None:
        """Ask ``hook(request_info)`` for the fault of each request that no plan covers; None takes the hook away.

        It is called on the server's thread with the service's lock held: decide and return. What it raises is the
        answer (500) and is raised again when the service is left.
        """
        with self._state.changed:
            self._state.script.hook = hook

    def release(self) -> None:
        """Let the requests that hang now go on: they are worked on if that is due, and answered."""

        async def release() -> None:
            self._service.release()

        self._call(release())

    # --- websockets ---------------------------------------------------------------------------------------------

    def cut_websockets(self) -> None:
        """Cut every websocket's connection, without a close frame."""

        async def cut() -> None:
            self._hub.cut()

        self._call(cut())

    def close_websockets(self) -> None:
        """Close every websocket properly, as a service that restarts does."""

        async def close() -> None:
            self._hub.close()

        self._call(close())

    def send_live(self, message: str | dict[str, Any]) -> None:
        """Send any text, or any dict as JSON, to every websocket, whatever its scope."""
        text = message if isinstance(message, str) else orjson.dumps(message).decode()

        async def send() -> None:
            self._hub.send_text(text)

        self._call(send())


def _in_url(host: str) -> str:
    """How a client on this machine reaches the address; the unspecified ones mean all of its addresses."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


@contextmanager
def _closing(loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.AbstractEventLoop]:
    try:
        yield loop
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
