"""The client: settings, and the sessions made with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypedDict
from weakref import WeakSet

from mlsdk import config, events, native
from mlsdk.callbacks import Callback, CallbackRunner
from mlsdk.clock import Clock, SystemClock
from mlsdk.disabled import Nowhere
from mlsdk.errors import DeliveryError, MindlyticsError
from mlsdk.events import Value
from mlsdk.logs import logger_for
from mlsdk.session import Session, Surroundings
from mlsdk.waiting import IN_A_HURRY, Suspending, Wait, clock_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from mlsdk.delivery.buffer import Stats
    from mlsdk.delivery.masking import BeforeSend
    from mlsdk.delivery.pipeline import Delivery
    from mlsdk.live.listener import Listener
    from mlsdk.models import MLEvent

logger = logger_for(__name__)

_CLOCK: Clock = SystemClock()
"""One for all clients: their sessions' timestamps can then be compared."""
_LISTEN_TIMEOUT: Final = 10.0
"""Seconds that `start_listening` and `stop_listening` wait for the connection, at most."""


class ClientOptions(TypedDict, total=False):
    """The keyword-only settings of a `Client`, for who hands them through."""

    enabled: bool | None
    before_send: BeforeSend | None
    spool_dir: str | os.PathLike[str] | None
    spool_mode: str | None
    spool_bytes: int | None
    spool_window: float | None
    flush_timeout: float | None
    exit_timeout: float | None
    session_ended_timeout: float | None
    queue_events: int | None
    queue_bytes: int | None
    proxy: str | None
    ca_file: str | None


class Client:
    """Sends conversations of a project to Mindlytics.

    Clients with the same key, project and address share one background sender, so making one costs little. Its
    settings are fixed; for a new key make a new client, and the old one delivers what it has.
    """

    def __init__(
        self,
        api_key: str | None = None,
        project_id: str | None = None,
        server_endpoint: str | None = None,
        wss_endpoint: str | None = None,
        debug: bool = False,
        *,
        enabled: bool | None = None,
        before_send: BeforeSend | None = None,
        spool_dir: str | os.PathLike[str] | None = None,
        spool_mode: str | None = None,
        spool_bytes: int | None = None,
        spool_window: float | None = None,
        flush_timeout: float | None = None,
        exit_timeout: float | None = None,
        session_ended_timeout: float | None = None,
        queue_events: int | None = None,
        queue_bytes: int | None = None,
        proxy: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        """Resolves the settings: what is not given comes from the environment, else it is the default.

        Args:
            api_key: The workspace's key. `MLSDK_API_KEY`.
            project_id: The project. `MLSDK_PROJECT_ID`.
            server_endpoint: The service's address. `MLSDK_SERVER_BASE`; default https://app.mindlytics.ai.
            wss_endpoint: Its websocket's address. `MLSDK_WSS_BASE`; default derived from the one before.
            debug: Logs everything that the SDK does to stderr.
            enabled: False makes everything a no-op; default true unless `MLSDK_DISABLED` is.
            before_send: Called with a copy of each event before it is queued: returns the event to send, or None.
                `MLSDK_BEFORE_SEND`, as `package.module:function`.
            spool_dir: A directory on this machine where events outlive memory and process: what is left there is
                delivered by the next process. Several may share it. `MLSDK_SPOOL_DIR`; default none.
            spool_mode: `spill`: what cannot be delivered now. `write-ahead`: every event, before it is sent.
                `MLSDK_SPOOL_MODE`; default `spill`.
            spool_bytes: Bytes of events there, at most. `MLSDK_SPOOL_BYTES`; default 256 MiB.
            spool_window: Seconds an event may be in memory alone, at least 0.01. `MLSDK_SPOOL_WINDOW`; default 0.1.
            flush_timeout: Seconds that waiting for delivery takes, at most; default 30.
            exit_timeout: Seconds that the process may take at its end; a fifth of them without any answer, but at least
                2, end the wait before. `MLSDK_EXIT_TIMEOUT`; default 10.
            session_ended_timeout: Seconds to wait for the live event `Session Ended`; default 30.
            queue_events: Events to hold in memory, at most; default 10,000.
            queue_bytes: Their bytes, at most; default 32 MiB.
            proxy: A proxy's address. `MLSDK_PROXY`; default by HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
            ca_file: Certificate authorities to trust instead of the system's. `MLSDK_CA_FILE`.

        Raises:
            ConfigurationError: A setting is missing or cannot be used; the text names it.
        """
        self._config = config.resolve(
            api_key=api_key,
            project_id=project_id,
            server_endpoint=server_endpoint,
            wss_endpoint=wss_endpoint,
            debug=debug,
            enabled=enabled,
            proxy=proxy,
            ca_file=ca_file,
            flush_timeout=flush_timeout,
            exit_timeout=exit_timeout,
            session_ended_timeout=session_ended_timeout,
            queue_events=queue_events,
            queue_bytes=queue_bytes,
            spool_dir=spool_dir,
            spool_mode=spool_mode,
            spool_bytes=spool_bytes,
            spool_window=spool_window,
        )
        if self._config.debug:
            config.log_to_stderr()
        self._before_send = config.hook(before_send, os.environ) if self._config.enabled else None
        self._door: Delivery | Nowhere = _door(self._config)
        self._clock: Clock = _CLOCK
        self._sessions: WeakSet[Session] = WeakSet()
        self._listener: Listener | None = None
        self._wait: Wait = Suspending()

    # -- what it was made with ----------------------------------------------------------------------------------------

    @property
    def project_id(self) -> str:
        """The project that events go to."""
        return self._config.connection.project_id

    @property
    def server_endpoint(self) -> str:
        """The service's address."""
        return self._config.connection.server_endpoint

    @property
    def wss_endpoint(self) -> str:
        """The address of its live events."""
        return self._config.connection.wss_endpoint

    @property
    def enabled(self) -> bool:
        """False when everything is a no-op."""
        return self._config.enabled

    @property
    def debug(self) -> bool:
        """Whether everything is logged."""
        return self._config.debug

    # -- sessions -----------------------------------------------------------------------------------------------------

    def create_session(
        self,
        *,
        session_id: str | None = None,
        conversation_id: str | None = None,
        id: str | None = None,
        device_id: str | None = None,
        attributes: Mapping[str, Value] | None = None,
        on_error: Callback[MindlyticsError] | None = None,
        on_event: Callback[MLEvent] | None = None,
        join: bool = False,
    ) -> Session:
        """Makes a session object; nothing is sent yet, and no loop needs to run.

        Args:
            session_id: The session's globally unique id. With it the object joins a session that exists, unless it is
                used as a context or with `start_session`, which start it. Without it, one is made at the start.
            conversation_id: The conversation for events that name none; in a joined session, one that exists.
            id: The user's id, if known.
            device_id: The device's id; needed at a start where the user's is not known.
            attributes: What to keep with the session.
            on_error: Called with a `MindlyticsError` when an event is refused or dropped, and once in an outage.
            on_event: Called with each `MLEvent` that the service makes of the session; opens a websocket.
            join: `async with` joins the session `session_id` instead of starting and ending it.

        Raises:
            InvalidEventError: An argument is wrong.
        """
        surroundings = Surroundings(
            config=self._config, door=self._door, clock=self._clock, wait=self._wait, before_send=self._before_send
        )
        session = Session(
            surroundings,
            session_id=session_id,
            conversation_id=conversation_id,
            id=id,
            device_id=device_id,
            attributes=attributes,
            on_error=on_error,
            on_event=on_event,
            join=join,
        )
        self._sessions.add(session)
        return session

    # -- users --------------------------------------------------------------------------------------------------------

    async def user_identify(
        self, *, id: str | None = None, device_id: str | None = None, traits: Mapping[str, Value] | None = None
    ) -> None:
        """Identifies a user or device outside of a session, and merges traits into those that it has.

        Args:
            id: The user's id, new or known.
            device_id: A device's id; one of the two is required.
            traits: str, int, float or bool values by name.

        Raises:
            InvalidEventError: An argument is wrong.
            DeliveryError: The service refused it, or did not answer within 10 s.
        """
        body: dict[str, Any] = dict(events.identity(id=id, device_id=device_id))
        if values := events.check_values("traits", traits):
            body["traits"] = values
        await self._ask("/bc/v1/user/identify", body)

    async def user_alias(self, *, id: str, previous_id: str) -> None:
        """Gives a known user another id, outside of a session.

        Args:
            id: The new id.
            previous_id: The id by which the user is known.

        Raises:
            InvalidEventError: An argument is wrong.
            DeliveryError: The service refused it, or did not answer within 10 s.
        """
        await self._ask("/bc/v1/user/alias", events.alias_ids(id=id, previous_id=previous_id))

    async def _ask(self, url: str, body: Mapping[str, Any]) -> None:
        if not self.enabled:
            return
        # On the sender's thread: it works from any loop and is not traced as a request of the application's.
        from mlsdk.delivery.host import host
        from mlsdk.httpclient import ANSWER_WITHIN, ask

        answer: Future[dict[str, Any]] = Future()
        answer.set_running_or_notify_cancel()

        async def run() -> None:
            try:
                answer.set_result(await ask(self._config.connection, url=url, method="POST", data=body))
            except BaseException as problem:
                answer.set_exception(problem)

        host.spawn(run)
        response = await self._wait(answer, ANSWER_WITHIN + 1.0)
        if response is None:
            raise DeliveryError("no answer in time")
        if response["errored"]:
            raise DeliveryError(response["message"], status=response["status"])

    # -- live events --------------------------------------------------------------------------------------------------

    async def start_listening(
        self, *, on_event: Callback[MLEvent], on_error: Callback[MindlyticsError] | None = None
    ) -> None:
        """Receives the live events of all sessions of the project until `stop_listening`.

        Waits for the connection, 10 s at most; later losses are mended in the background.

        Args:
            on_event: Called with each event.
            on_error: Called with each `MLError` of the service's, and once when the connection is lost.

        Raises:
            LiveError: The service refuses the key.
        """
        await self.stop_listening()
        if not self.enabled:
            return
        from mlsdk.delivery.host import host
        from mlsdk.live.listener import Listener

        blocks = self._wait.blocks
        events_runner = CallbackRunner(on_event, name="on_event", on_thread=blocks)
        errors_runner = None if on_error is None else CallbackRunner(on_error, name="on_error", on_thread=blocks)
        listener = Listener(
            self._config.connection,
            session_id=None,
            on_event=events_runner.post,
            on_error=_ignore if errors_runner is None else errors_runner.post,
        )
        host.spawn(listener.run)
        self._listener = listener
        is_ready = await self._wait(listener.ready, _LISTEN_TIMEOUT)
        if not is_ready and listener.error is not None and listener.error.status in (401, 403):
            raise listener.error

    async def stop_listening(self) -> None:
        """Closes the connection for live events; does nothing where there is none."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()
            await self._wait(listener.stopped, _LISTEN_TIMEOUT)

    # -- delivery -----------------------------------------------------------------------------------------------------

    async def flush(self, timeout: float | None = None) -> None:
        """Waits until everything recorded so far, in any session, is delivered or refused.

        Args:
            timeout: Seconds, at most; default `flush_timeout`. What is left then goes on being tried.
        """
        await self._wait(self._door.settled(), self._config.limits.flush_timeout if timeout is None else timeout)

    async def close(self, timeout: float | None = None) -> None:
        """Ends the sessions that this client's code left open, and waits for delivery. Never needed.

        Args:
            timeout: Seconds, at most; default `flush_timeout`.
        """
        left = clock_of(monotonic, self._config.limits.flush_timeout if timeout is None else timeout)
        sessions = self._abandon_all()
        await self.flush(left())
        for session in sessions:
            await session.flush(left())  # for their callbacks; nothing else is left to wait for
        await self.stop_listening()

    def _abandon_all(self) -> list[Session]:
        sessions = native.members(self._sessions)
        for session in sessions:
            session.abandon()
        return sessions

    def stats(self) -> Stats:
        """The ledger: what became of every event recorded in this process for this key, project and address.

        `accepted + recovered` always equals `delivered + queued + spooled + handed_over` and the sum of `dropped`.
        """
        return self._door.stats()

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the client.

        When the context is left because of a cancellation or an exit, the ends are recorded but not waited for.
        """
        if isinstance(error, IN_A_HURRY):
            self._abandon_all()
            if self._listener is not None:
                self._listener.stop()
            return
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client cannot be pickled or copied; make one with the same arguments where it is needed")

    def __repr__(self) -> str:
        return f"<Client of project {self.project_id!r} at {self.server_endpoint}>"


def _ignore(error: MindlyticsError) -> None:
    logger.debug("a live event could not be read: %s", type(error).__name__)


def _door(settings: config.Config) -> Delivery | Nowhere:
    if not settings.enabled:
        return Nowhere()
    _warn_of_upstream()
    # Loaded here rather than with the module: importing the SDK shall cost nothing. And here rather than on the
    # sender's thread: a process that forks while a thread imports leaves its child a lock that nobody releases.
    # Looking up a host's name imports the codec at the first time.
    import encodings.idna  # noqa: F401

    import mlsdk.live.listener  # noqa: F401
    from mlsdk.delivery.pipeline import delivery_for

    return delivery_for(settings)


_warned: list[bool] = []


def _warn_of_upstream() -> None:
    """Says once that another distribution installs a package of this name."""
    if _warned:
        return
    _warned.append(True)
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("mlsdk-python")
    except PackageNotFoundError:
        return
    logger.warning(
        "mlsdk-python is installed too, and has a package 'mlsdk' of its own: files of both may be mixed. "
        "Run 'pip uninstall mlsdk-python', then install mlsdk-otel again"
    )
