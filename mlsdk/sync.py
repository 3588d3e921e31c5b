"""The same `Client` and `Session` without `await`, for code that has no event loop.

    from mlsdk.sync import Client

    with Client().create_session(device_id="...") as session:
        session.track_conversation_turn(user="...", assistant="...")

Each method runs the coroutine of the same name to its end; nothing is implemented twice. Inside a running loop use the
asynchronous API: waiting here blocks the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar

import mlsdk.client
import mlsdk.session
from mlsdk.callbacks import Callback
from mlsdk.errors import MindlyticsError
from mlsdk.events import Value
from mlsdk.waiting import Blocking, run_blocking

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from mlsdk.client import ClientOptions
    from mlsdk.delivery.buffer import Stats
    from mlsdk.models import APIResponse, MLEvent

__all__ = ["Client", "Session"]

P = ParamSpec("P")
R = TypeVar("R")


def _of_session(
    method: Callable[Concatenate[mlsdk.session.Session, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Session, P], R]:
    """The method without `await`."""

    @wraps(method)
    def call(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
        # Asked for by name: a wrapper that is put on later, or taken off, shall count here too.
        named: Callable[P, Coroutine[Any, Any, R]] = getattr(self._session, method.__name__)
        return run_blocking(named(*args, **kwargs))

    return call


def _of_client(
    method: Callable[Concatenate[mlsdk.client.Client, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Client, P], R]:
    """The method without `await`."""

    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> R:
        named: Callable[P, Coroutine[Any, Any, R]] = getattr(self._client, method.__name__)  # as above
        return run_blocking(named(*args, **kwargs))

    return call


class Session:
    """`mlsdk.Session` without `await`. Made by `Client.create_session`."""

    def __init__(self, session: mlsdk.session.Session) -> None:
        self._session = session

    start_session = _of_session(mlsdk.session.Session.start_session)
    end_session = _of_session(mlsdk.session.Session.end_session)
    flush = _of_session(mlsdk.session.Session.flush)
    flush_and_continue = _of_session(mlsdk.session.Session.flush_and_continue)
    user_identify = _of_session(mlsdk.session.Session.user_identify)
    user_alias = _of_session(mlsdk.session.Session.user_alias)
    track_event = _of_session(mlsdk.session.Session.track_event)
    start_conversation = _of_session(mlsdk.session.Session.start_conversation)
    end_conversation = _of_session(mlsdk.session.Session.end_conversation)
    track_conversation_turn = _of_session(mlsdk.session.Session.track_conversation_turn)
    track_conversation_usage = _of_session(mlsdk.session.Session.track_conversation_usage)
    track_function_call = _of_session(mlsdk.session.Session.track_function_call)

    def use(self, conversation_id: str | None = None) -> AbstractContextManager[None]:
        """Marks code that works for this session; see `mlsdk.Session.use`."""
        return self._session.use(conversation_id)

    @property
    def session_id(self) -> str | None:
        """The id of the session, once there is one."""
        return self._session.session_id

    @property
    def conversation_id(self) -> str | None:
        """The conversation that an event goes to which names none."""
        return self._session.conversation_id

    @property
    def id(self) -> str | None:
        """The user's id as known now; later events of the session carry it."""
        return self._session.id

    @id.setter
    def id(self, id: str | None) -> None:
        self._session.id = id

    @property
    def device_id(self) -> str | None:
        """The device's id; later events of the session carry it."""
        return self._session.device_id

    @device_id.setter
    def device_id(self, device_id: str | None) -> None:
        self._session.device_id = device_id

    @property
    def project_id(self) -> str:
        """The project that the events go to."""
        return self._session.project_id

    @property
    def errors(self) -> int:
        """How many errors there have been."""
        return self._session.errors

    def has_errors(self) -> bool:
        """Whether anything went wrong so far."""
        return self._session.has_errors()

    def get_errors(self) -> list[APIResponse]:
        """The last 100 errors, oldest first."""
        return self._session.get_errors()

    def __enter__(self) -> Self:
        """Starts or joins the session."""
        run_blocking(self._session.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the session unless it was joined, and waits for delivery."""
        run_blocking(self._session.__aexit__(kind, error, traceback))

    def __reduce__(self) -> NoReturn:
        self._session.__reduce__()

    def __repr__(self) -> str:
        return repr(self._session)


class Client:
    """`mlsdk.Client` without `await`."""

    def __init__(
        self,
        api_key: str | None = None,
        project_id: str | None = None,
        server_endpoint: str | None = None,
        wss_endpoint: str | None = None,
        debug: bool = False,
        **options: Unpack[ClientOptions],
    ) -> None:
        """Takes the arguments of `mlsdk.Client`."""
        self._client = mlsdk.client.Client(api_key, project_id, server_endpoint, wss_endpoint, debug, **options)
        self._client._wait = Blocking()

    user_identify = _of_client(mlsdk.client.Client.user_identify)
    user_alias = _of_client(mlsdk.client.Client.user_alias)
    start_listening = _of_client(mlsdk.client.Client.start_listening)
    stop_listening = _of_client(mlsdk.client.Client.stop_listening)
    flush = _of_client(mlsdk.client.Client.flush)
    close = _of_client(mlsdk.client.Client.close)

    @property
    def project_id(self) -> str:
        """The project that events go to."""
        return self._client.project_id

    @property
    def server_endpoint(self) -> str:
        """The service's address."""
        return self._client.server_endpoint

    @property
    def wss_endpoint(self) -> str:
        """The address of its live events."""
        return self._client.wss_endpoint

    @property
    def enabled(self) -> bool:
        """False when everything is a no-op."""
        return self._client.enabled

    @property
    def debug(self) -> bool:
        """Whether everything is logged."""
        return self._client.debug

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
        """Makes a session object; see `mlsdk.Client.create_session`."""
        return Session(
            self._client.create_session(
                session_id=session_id,
                conversation_id=conversation_id,
                id=id,
                device_id=device_id,
                attributes=attributes,
                on_error=on_error,
                on_event=on_event,
                join=join,
            )
        )

    def stats(self) -> Stats:
        """The ledger; see `mlsdk.Client.stats`."""
        return self._client.stats()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the client."""
        run_blocking(self._client.__aexit__(kind, error, traceback))

    def __reduce__(self) -> NoReturn:
        self._client.__reduce__()

    def __repr__(self) -> str:
        return repr(self._client)
