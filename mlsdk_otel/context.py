"""Whose a piece of work is: ids that an application sets for all that it calls, carried by OpenTelemetry's context.

Contexts are put back by hand rather than by `opentelemetry.context.detach`, which logs an error with a traceback when
a generator or a task is left elsewhere than where it was entered.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast

from opentelemetry import context
from opentelemetry.baggage import set_baggage
from opentelemetry.context import Context

from mlsdk.errors import InvalidEventError
from mlsdk.events import Value, check_name, check_values
from mlsdk_otel import attributes as names
from mlsdk_otel import baggage

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
R = TypeVar("R")

_KEY: Final = context.create_key("mindlytics-ids")
_SCOPE: Final = context.create_key("mindlytics-scope")
_BAGGAGE: Final = next(iter(set_baggage("any", "", Context())))
"""Under which baggage is in a context."""
_NONE: Final[Mapping[str, Any]] = {}
KEYS: Final = frozenset({_KEY, _BAGGAGE})
"""A context without any of these says nothing of ids."""


class Identified(Protocol):
    """A session of `mlsdk`, of either kind."""

    @property
    def session_id(self) -> str | None:
        """The session's id, once there is one."""

    @property
    def id(self) -> str | None:
        """The user's."""

    @property
    def device_id(self) -> str | None:
        """The device's."""


class _Scope:
    """A stretch of code in which a context is current."""

    __slots__ = ("before", "is_over")

    def __init__(self, before: Context) -> None:
        self.before = before
        self.is_over = False


@contextmanager
def activated(entered: Context) -> Iterator[None]:
    """Makes a context the current one, and puts back what was there when it is left.

    Where it is left with another context current (in another task, or before a scope inside it is left), that one
    stays; scopes may overlap, and the last one to be left puts back what was there before all of them.
    """
    scope = _Scope(context.get_current())
    mine = context.set_value(_SCOPE, scope, entered)
    context.attach(mine)
    try:
        yield
    finally:
        scope.is_over = True
        if context.get_current() is mine:
            context.attach(_still_valid(scope.before))


def _still_valid(before: Context) -> Context:
    while isinstance(outer := context.get_value(_SCOPE, before), _Scope) and outer.is_over:
        before = outer.before
    return before


class using_session:  # noqa: N801 - used like a function
    """Spans that start inside belong to this session, user, device and conversation, as far as they do not say so.

    A context manager, or a decorator of functions, coroutine functions and generator functions of either kind. Ids that
    are left out stay those of the surroundings. It takes effect where a `MindlyticsSpanProcessor` sees spans start.
    Tasks and threads that are started inside with a copy of the context belong too. Do not `yield` inside a `with`:
    decorate the generator function instead, whose consumer then works in its own surroundings.
    """

    def __init__(
        self,
        session_id: str | Identified | None = None,
        *,
        user_id: str | None = None,
        device_id: str | None = None,
        conversation_id: str | None = None,
        attributes: Mapping[str, Value] | None = None,
    ) -> None:
        """Checks the ids.

        Args:
            session_id: A session's id, or a session of `mlsdk` that has one.
            user_id: The user's id.
            device_id: The device's id.
            conversation_id: The conversation's id.
            attributes: Of the session, sent with its start, or, where that is not this process's to send, with the
                start of its conversation: `str`, `int`, `float` or `bool`.

        Raises:
            InvalidEventError: An id is not 1 to 100 characters of text, the session has none yet, or an attribute has
                another type.
        """
        if session_id is not None and not isinstance(session_id, str):
            session_id, known_user, known_device = _identity(session_id)
            user_id = known_user if user_id is None else user_id
            device_id = known_device if device_id is None else device_id
        given: dict[str, tuple[str, str | None]] = {
            names.SESSION_ID: ("session_id", session_id),
            names.USER_ID: ("user_id", user_id),
            names.DEVICE_ID: ("device_id", device_id),
            names.CONVERSATION_ID: ("conversation_id", conversation_id),
        }
        self._ids = {
            name: check_name(argument, value) for name, (argument, value) in given.items() if value is not None
        }
        self._attributes = {
            names.SESSION_ATTRIBUTE + key: value for key, value in check_values("attributes", attributes).items()
        }
        self._entered: list[Any] = []

    def __enter__(self) -> Self:
        """Sets the ids."""
        surroundings = baggage.with_ids(context.get_current(), self._ids)
        scope = activated(
            context.set_value(_KEY, {**self._around(surroundings), **self._ids, **self._attributes}, surroundings)
        )
        scope.__enter__()
        self._entered.append(scope)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Puts back what was set before."""
        self._entered.pop().__exit__(None, None, None)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Has each call of a function run inside, and each step of a generator."""
        if inspect.isasyncgenfunction(function):

            @wraps(function)
            async def step_async(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
                generator = function(*args, **kwargs)
                try:
                    step = generator.asend(None)
                    while True:
                        with self._again():
                            try:
                                item = await step
                            except StopAsyncIteration:
                                return
                        try:
                            step = generator.asend((yield item))
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # thrown in by the consumer; the generator's to handle
                            step = generator.athrow(error)
                finally:
                    with self._again():
                        await generator.aclose()

            return cast("Callable[P, R]", step_async)

        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def step(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
                generator = function(*args, **kwargs)
                advance = partial(generator.send, None)
                try:
                    while True:
                        with self._again():
                            try:
                                item = advance()
                            except StopIteration as end:
                                return end.value
                        try:
                            advance = partial(generator.send, (yield item))
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # thrown in by the consumer; the generator's to handle
                            advance = partial(generator.throw, error)
                finally:
                    with self._again():
                        generator.close()

            return cast("Callable[P, R]", step)

        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", call_async)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._again():
                return function(*args, **kwargs)

        return call

    def _again(self) -> using_session:
        """The same ids for a call of its own: calls may overlap in several threads and tasks."""
        again = using_session()
        again._ids, again._attributes = self._ids, self._attributes
        return again

    def _around(self, surroundings: Context) -> Mapping[str, object]:
        """What stays of what is set already: of another session only the user and device."""
        around = _set_in(surroundings)
        named = self._ids.get(names.SESSION_ID)
        if named is None or named == around.get(names.SESSION_ID, named):
            return around
        return {name: around[name] for name in (names.USER_ID, names.DEVICE_ID) if name in around}


def _identity(session: Any) -> tuple[str, str | None, str | None]:
    try:
        session_id, user_id, device_id = session.session_id, session.id, session.device_id
    except AttributeError:
        raise InvalidEventError("session_id", f"must be text or a session, not {type(session).__name__}") from None
    if session_id is None:
        raise InvalidEventError("session_id", "is missing: the session has not started")
    return session_id, user_id, device_id


def ids_in(surroundings: Context | None = None) -> Mapping[str, Any]:
    """The ids and attributes set in a context, by attribute name, and the ids that its baggage brought.

    Default the current context. Baggage that names another session says nothing about this one.
    """
    if surroundings is None:
        surroundings = context.get_current()
    if KEYS.isdisjoint(surroundings):
        return _NONE
    ids, carried = _set_in(surroundings), baggage.ids_of(surroundings)
    session_id = ids.get(names.SESSION_ID)
    if not carried or (session_id is not None and carried.get(names.SESSION_ID, session_id) != session_id):
        return ids
    return {**carried, **ids}


def _set_in(surroundings: Context | None) -> Mapping[str, Any]:
    ids = context.get_value(_KEY, surroundings)
    return ids if isinstance(ids, Mapping) else {}
