"""The websocket of live events: connected, connected again after a drop, and closed when it is told to stop.

It runs on the SDK's own loop. What it hears it hands on at once; the handlers must not wait. No wait of its own is
without a bound, and whatever the service does, it neither raises nor ends before `stop()`, save for a key that the
service refuses before the first connection.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp

from mlsdk.clock import jitter
from mlsdk.config import Connection
from mlsdk.delivery.outcome import Verdict, of_answer
from mlsdk.delivery.transport import failure
from mlsdk.errors import ConfigurationError, LiveError, MindlyticsError
from mlsdk.events import SESSION_ENDED
from mlsdk.http import RedirectError, credentials, open_session, proxy_for, without_key
from mlsdk.live.decoder import MAX_ERROR_MESSAGE, MAX_TEXT, Decoder, authorization_key, reconnect_wait
from mlsdk.logs import logger_for
from mlsdk.models import MLEvent

logger = logger_for(__name__)

T = TypeVar("T")

AUTHORIZATION_PATH: Final = "/bc/v1/live-events/realtime"
CONNECT_BOUND: Final = 5.0
"""Seconds that one attempt may take, from the request for a key to the open websocket."""
_MAX_ANSWER: Final = 16 * 1024
"""Bytes of the answer with the key that are read."""
_REFUSED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Timing:
    """The bounds of a listener's waits, in seconds.

    Attributes:
        connect: One attempt to connect.
        heartbeat: Silence after which the peer is pinged; half as much later without an answer it counts as dead.
        close: Saying goodbye to a peer that may not answer.
        lasting: A connection that was shorter than this counts as a failure for the next wait: else a service that
            accepts and drops would be called without end.
    """

    connect: float = CONNECT_BOUND
    heartbeat: float = 20.0
    close: float = 1.0
    lasting: float = 10.0


_TIMING: Final = Timing()


class _NotConnectedError(Exception):
    """Why an attempt failed: `error` for the user, `is_refused` if the key was, `after` if the service named a wait."""

    def __init__(self, why: str, *, status: int = -1, is_refused: bool = False, after: float | None = None) -> None:
        super().__init__(why)
        self.error = LiveError(f"no live events: {why}"[:MAX_ERROR_MESSAGE], status=status)
        self.is_refused = is_refused
        self.after = after


class Listener:
    """The live events of one session, or of all sessions.

    Attributes:
        ready: True: connected for the first time. False: the first attempt failed or took too long (later ones may
            succeed), or the listener was stopped before. Never an exception.
        ended: True: this session's `Session Ended` arrived, and was handed on before. False: it will not any more.
        stopped: Done when nothing is open any more.
        error: Why the first attempt failed, if it did.
        was_connected: Whether there has been a connection yet.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        session_id: str | None,
        on_event: Callable[[MLEvent], object],
        on_error: Callable[[MindlyticsError], object],
        jitter: Callable[[], float] = jitter,
        timing: Timing = _TIMING,
    ) -> None:
        """Opens nothing yet; that is for `run()`.

        Args:
            connection: Where the service is.
            session_id: The session to listen to; None for all sessions of the project.
            on_event: Given every event once, the `Session Ended` too; must not wait.
            on_error: Given every `MLError`, every message that cannot be read, one error for each outage, and a
                refused key once; must not wait.
            jitter: Random numbers from 0 to 1, for the waits between attempts.
            timing: Bounds of all waits.
        """
        self._connection = connection
        self._session_id = session_id
        self._on_event = on_event
        self._on_error = on_error
        self._jitter = jitter
        self._timing = timing
        self._decoder = Decoder(session_id)
        self.ready: Future[bool] = _uncancellable()
        self.ended: Future[bool] = _uncancellable()
        self.stopped: Future[None] = _uncancellable()
        self.error: LiveError | None = None
        self._pid = os.getpid()
        self._is_stopping = False
        self.was_connected = False
        # What the user was told of the outage that goes on: that there is one, that the key is refused.
        self._told: set[str] = set()
        self._work: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Listens until `stop()`, or until the service refuses the key at the beginning. To be called once."""
        work = asyncio.get_running_loop().create_task(self._listen())
        self._work = work
        # No lock is needed against stop(): it sets its flag before it looks for the task, here it is the other way
        # round, so that one of the two sees the other.
        if self._is_stopping:
            work.cancel()
        try:
            await asyncio.wait({work})
        finally:
            work.cancel()  # where run() itself was cancelled
            await asyncio.wait({work})
            if not work.cancelled() and (problem := work.exception()) is not None:
                logger.error("live events stopped: %s", type(problem).__name__, exc_info=problem)
            self._settle()

    def stop(self) -> None:
        """Has the listener stop, started or not. From any thread, any number of times; does not wait."""
        self._is_stopping = True
        _settle(self.ready, False)
        _settle(self.ended, False)
        work = self._work
        if work is None or self._pid != os.getpid():
            # Never started; or this is a forked child, where the parent's loop must not be touched.
            self._settle()
            return
        try:
            work.get_loop().call_soon_threadsafe(work.cancel)
        except RuntimeError:
            self._settle()  # the loop is closed

    def _settle(self) -> None:
        _settle(self.ready, False)
        _settle(self.ended, False)
        _settle(self.stopped, None)

    # -- connecting ---------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        try:
            # The websocket must not carry the API key, which is the session's default.
            session = open_session(self._connection, connections=2, with_credentials=False)
        except ConfigurationError as problem:
            self._missed_first(LiveError(f"no live events: {problem.message}"))
            self._tell("outage", self.error)
            return
        try:
            await self._keep_connected(session)
        finally:
            with suppress(Exception):
                await asyncio.wait_for(session.close(), self._timing.close)

    async def _keep_connected(self, session: aiohttp.ClientSession) -> None:
        failures = 0
        # The flag is looked at besides being cancelled: up to Python 3.11 wait_for() can swallow a cancellation.
        while not self._is_stopping:
            after: float | None = None
            try:
                lasted = await self._connect_once(session)
                failures = 0 if lasted else failures + 1
            except _NotConnectedError as problem:
                failures += 1
                after = problem.after
                self._missed_first(problem.error)
                self._tell("refused" if problem.is_refused else "outage", problem.error)
                if problem.is_refused and not self.was_connected:
                    return
            if not self._is_stopping:
                await asyncio.sleep(reconnect_wait(failures, jitter=self._jitter(), after=after))

    async def _connect_once(self, session: aiohttp.ClientSession) -> bool:
        """One connection from beginning to end, and whether it lasted.

        Raises:
            _NotConnectedError: It was not made.
        """
        websocket = await self._connect(session)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            if self._is_stopping:
                return False
            self.was_connected = True
            self._told.clear()
            _settle(self.ready, True)
            why = await self._hear(websocket)
        finally:
            with suppress(Exception):
                await asyncio.wait_for(websocket.close(), self._timing.close)
        if not self.ended.done():
            self._tell("outage", LiveError(f"live events were interrupted: {why}; some may be missed"))
        return loop.time() - began >= self._timing.lasting

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse[bool]:
        try:
            return await asyncio.wait_for(self._handshake(session), self._timing.connect)
        except _NotConnectedError:
            raise
        except asyncio.TimeoutError:
            raise _NotConnectedError(f"no connection within {self._timing.connect:g} s") from None
        except aiohttp.WSServerHandshakeError as problem:
            why = f"the websocket was not opened, HTTP status {problem.status}"
            raise _NotConnectedError(why, status=problem.status, is_refused=problem.status in _REFUSED) from None
        except RedirectError as problem:
            raise _NotConnectedError(str(problem), status=problem.status) from None
        except Exception as problem:  # aiohttp lets more through than its own errors when a peer breaks the protocol
            raise _NotConnectedError(failure(problem).message) from None

    async def _handshake(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse[bool]:
        key = await self._authorization_key(session)
        # The same address in the scheme of its handshake: a plain proxy is asked for it, and knows no "ws:".
        address = self._connection.wss_endpoint.replace("ws", "http", 1)
        return await session.ws_connect(
            address,
            headers={"Authorization": f"Bearer {key}"},
            proxy=proxy_for(self._connection, address),
            heartbeat=self._timing.heartbeat,
            max_msg_size=MAX_TEXT,
        )

    async def _authorization_key(self, session: aiohttp.ClientSession) -> str:
        """A fresh key for one connection; it is not kept."""
        address = self._connection.server_endpoint + AUTHORIZATION_PATH
        async with session.get(
            address,
            params={} if self._session_id is None else {"session_id": self._session_id},
            headers=credentials(self._connection),
            proxy=proxy_for(self._connection, address),
            allow_redirects=False,
        ) as answer:
            body = await _read(answer.content, _MAX_ANSWER)
            text = without_key(self._connection, body.decode("utf-8", "replace").strip())
            outcome = of_answer(answer.status, text, retry_after=answer.headers.get("Retry-After"), now=time.time())
        if outcome.verdict is not Verdict.DELIVERED:
            raise _NotConnectedError(
                outcome.message,
                status=outcome.status,
                is_refused=outcome.status in _REFUSED,
                after=outcome.after,
            )
        key = authorization_key(body)
        if key is None:
            raise _NotConnectedError("the service's answer holds no authorization key", status=outcome.status)
        return key

    # -- hearing ------------------------------------------------------------------------------------------------------

    async def _hear(self, websocket: aiohttp.ClientWebSocketResponse[bool]) -> str:
        """Hands on what comes, until nothing more can come; why not, in words."""
        # A second guard beside the heartbeat: aiohttp before 3.11 does not always wake the reader of a dead connection.
        silence = 2 * self._timing.heartbeat
        try:
            while not self._is_stopping:
                message = await websocket.receive(timeout=silence)
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    self._hand_on(message.data)
                else:
                    return _why_closed(websocket, message.type, message.data)
        except asyncio.TimeoutError:
            return "the service fell silent"
        except Exception as problem:  # such as a pong that cannot be written any more
            return failure(problem).message
        return "the listener was stopped"

    def _hand_on(self, text: str | bytes) -> None:
        decoded = self._decoder.feed(text)
        if decoded is None:
            return
        if isinstance(decoded, LiveError):
            _give(self._on_error, decoded)
            return
        _give(self._on_event, decoded)
        if self._session_id is not None and decoded.event == SESSION_ENDED:
            _settle(self.ended, True)

    # -- telling ------------------------------------------------------------------------------------------------------

    def _missed_first(self, error: LiveError) -> None:
        if not self.ready.done():
            self.error = error
            _settle(self.ready, False)

    def _tell(self, what: str, error: LiveError | None) -> None:
        """Reports an error unless its like was reported in this outage, or nobody listens any more."""
        if error is None or what in self._told or self._is_stopping:
            return
        self._told.add(what)
        _give(self._on_error, error)


def _why_closed(websocket: aiohttp.ClientWebSocketResponse[bool], kind: aiohttp.WSMsgType, data: object) -> str:
    if websocket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return f"a message has more than {MAX_TEXT} bytes"
    if kind is aiohttp.WSMsgType.ERROR:
        return f"the connection failed: {type(data).__name__}"
    return f"the connection was closed, code {websocket.close_code}"


async def _read(content: aiohttp.StreamReader, size: int) -> bytes:
    """What an answer holds, `size` bytes at most; StreamReader.read() alone stops at the first piece."""
    body = b""
    while len(body) < size and (piece := await content.read(size - len(body))):
        body += piece
    return body


def _give(handler: Callable[[T], object], argument: T) -> None:
    try:
        handler(argument)
    except Exception as problem:
        # Not the exception's own text: it may quote what it was given.
        logger.warning("a handler of live events failed with %s", type(problem).__name__)


def _uncancellable() -> Future[T]:
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # so that a waiter who gives up cannot cancel it for the others
    return future


def _settle(future: Future[T], result: T) -> None:
    with suppress(InvalidStateError):  # stop() and the loop may both get here; the first one counts
        future.set_result(result)
