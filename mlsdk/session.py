"""A session: it knows who it belongs to and what is open, makes events of calls, and offers them for delivery.

Recording never waits. The methods are coroutines because the SDK's documented API is; those that do wait (`flush`,
`end_session`, leaving a context) do it in the way that they are given, see `waiting`. Everything that a session sends
goes through `_record`, so whoever wants to see or redirect a session's events has one place to look.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, ParamSpec, Protocol, TypeVar

from mlsdk import events
from mlsdk.callbacks import Callback, CallbackRunner
from mlsdk.clock import Clock
from mlsdk.config import Config
from mlsdk.delivery.host import host
from mlsdk.errorlog import ErrorLog
from mlsdk.errors import InvalidEventError, MindlyticsError, SessionClosedError
from mlsdk.events import Event, Timestamp, Value
from mlsdk.logs import logger_for
from mlsdk.waiting import IN_A_HURRY, Wait, clock_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from mlsdk.delivery.masking import BeforeSend
    from mlsdk.live.listener import Listener
    from mlsdk.models import APIResponse, Cost, MLEvent, TokenBasedCost

logger = logger_for(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class Door(Protocol):
    """Where events go: `mlsdk.delivery.pipeline.Delivery`, or nowhere when the SDK is disabled."""

    def offer(
        self,
        event: Event,
        *,
        observer: ErrorLog | None = None,
        before_send: BeforeSend | None = None,
        on_settled: Callable[[bool], None] | None = None,
    ) -> None:
        """Takes an event for delivery; neither waits nor raises."""

    def settled(self, session_ids: list[str] | None = None) -> Future[bool]:
        """Done when what these sessions offered so far is settled, or waiting makes no sense."""

    def hold(self, session_id: str) -> None:
        """Keeps a session's events until `let_go`."""

    def let_go(self, session_id: str) -> None:
        """Ends a hold."""

    def opened(self, session: Session) -> None:
        """The session has to be ended before the process ends."""

    def closed(self, session: Session) -> None:
        """It has been ended."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sessions of a client share."""

    config: Config
    door: Door
    clock: Clock
    wait: Wait
    before_send: BeforeSend | None = None


class _State(Enum):
    NEW = "not started"
    OPEN = "open"
    ENDED = "ended"


# Read at every call; up to Python 3.11 a member of an enumeration costs more than the rest of such a line.
_NEW: Final = _State.NEW
_OPEN: Final = _State.OPEN
_ENDED: Final = _State.ENDED


class Session:
    """One session of a user or device. Made by `Client.create_session`.

    Used as `async with`, it starts when the context is entered and ends when it is left. Used without, it starts with
    the first event and ends with `end_session()`; or it is started by `start_session()` for full control.

    A session made with a `session_id` and used neither as a context nor with `start_session` *joins* a session that
    exists elsewhere: it sends no start, and no end unless `end_session` is called. That is what a web handler wants
    which makes one object a request. `join=True` makes `async with` do the same.

    Attributes:
        project_id: The project that the events go to.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        session_id: str | None = None,
        conversation_id: str | None = None,
        id: str | None = None,
        device_id: str | None = None,
        attributes: Mapping[str, Value] | None = None,
        on_error: Callback[MindlyticsError] | None = None,
        on_event: Callback[MLEvent] | None = None,
        join: bool = False,
    ) -> None:
        """See `Client.create_session`."""
        for argument, name in (("session_id", session_id), ("conversation_id", conversation_id), ("id", id)):
            if name is not None:
                events.check_name(argument, name)
        if device_id is not None:
            events.check_name("device_id", device_id)
        if join and session_id is None:
            raise InvalidEventError("session_id", "is needed to join a session")
        for argument, callback in (("on_error", on_error), ("on_event", on_event)):
            if callback is not None and not callable(callback):
                raise InvalidEventError(argument, "must be a function")
        self._surroundings = surroundings
        self._door = surroundings.door
        self._given_session_id = session_id
        self._session_id = session_id
        self._joins = join
        self._named_conversation = conversation_id
        self._id = id
        self._device_id = device_id
        self.project_id = surroundings.config.connection.project_id
        self._attributes = events.check_values("attributes", attributes)
        blocks = surroundings.wait.blocks
        self._errors = ErrorLog(on_error, on_thread=blocks)
        self._on_event = None if on_event is None else CallbackRunner(on_event, name="on_event", on_thread=blocks)
        self._listener: Listener | None = None
        self._end_settled: Future[bool] | None = None
        self._generation = host.generation
        # Reentrant: the garbage collector, a signal handler or `before_send` may use the session within a call to it.
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        """Makes the object one of a session that has not started."""
        self._state = _NEW
        self._is_owned = False
        self._is_inherited = False
        self._who: events.Common | None = None
        # The open conversations, and whether this object started them and so has to end them.
        self._conversations: dict[str, bool] = {}
        self._latest: int | None = None
        self._all_explicit = True

    # -- identity -----------------------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str | None:
        """The id of the session, once there is one."""
        return self._session_id

    @property
    def id(self) -> str | None:
        """The user's id as known now; later events of the session carry it."""
        return self._id

    @id.setter
    def id(self, id: str | None) -> None:
        self._id = None if id is None else events.check_name("id", id)
        self._who = None

    @property
    def device_id(self) -> str | None:
        """The device's id; later events of the session carry it."""
        return self._device_id

    @device_id.setter
    def device_id(self, device_id: str | None) -> None:
        self._device_id = None if device_id is None else events.check_name("device_id", device_id)
        self._who = None

    @property
    def conversation_id(self) -> str | None:
        """The conversation that an event goes to which names none; None when there is none, or more than one."""
        if len(self._conversations) > 1:
            return None
        return next(iter(self._conversations), self._named_conversation)

    # -- the session --------------------------------------------------------------------------------------------------

    async def start_session(
        self,
        *,
        session_id: str | None = None,
        timestamp: Timestamp | None = None,
        id: str | None = None,
        device_id: str | None = None,
        attributes: Mapping[str, Value] | None = None,
    ) -> str:
        """Starts the session, or after its end a new one.

        Args:
            session_id: A globally unique id; without one, one is made.
            timestamp: When it started; default now.
            id: The user's id, if known.
            device_id: The device's id; needed where the user's is not known.
            attributes: What to keep with the session, beside those given to `create_session`.

        Returns:
            The session's id.

        Raises:
            InvalidEventError: An argument is wrong, no id is known, or the session is open.
        """
        with self._alone():
            if self._state is _OPEN:
                raise InvalidEventError("session_id", f"the session {self._session_id!r} is open; end it first")
            moment, is_explicit = self._moment(timestamp)
            given = {**self._attributes, **events.check_values("attributes", attributes)}
            if session_id is None and self._state is _NEW:
                session_id = self._given_session_id
            if session_id is None:
                session_id = _new_id()
            id = self.id if id is None else id
            device_id = self.device_id if device_id is None else device_id
            who = events.common(session_id=session_id, user_id=id, device_id=device_id)
            start = events.start_session(who, moment, attributes=given)
            if self._state is _ENDED:
                self._named_conversation = None  # it was one of the session that ended
            self._forget()
            self._session_id, self._id, self._device_id, self._who = session_id, id, device_id, who
            self._open(is_owned=True)
            self._record(start)
            self._note(moment, is_explicit)
            return session_id

    async def end_session(
        self, *, timestamp: Timestamp | None = None, attributes: Mapping[str, Value] | None = None
    ) -> None:
        """Ends the session, after the conversations that it has open, and waits until all of it is delivered.

        Waits `flush_timeout` seconds at most; what is left by then goes on being tried. A second call does nothing.

        Args:
            timestamp: When it ended; default now, or for a session all of whose events had timestamps, the last one.
            attributes: Merged into those of the start.

        Raises:
            InvalidEventError: An argument is wrong; the session stays open.
        """
        if self._end(timestamp, attributes):
            await self._leave()

    def _end(self, timestamp: Timestamp | None = None, attributes: Mapping[str, Value] | None = None) -> bool:
        """Offers the ends; returns whether there was anything to end."""
        with self._alone():
            return self._end_exclusively(timestamp, attributes)

    def _end_exclusively(self, timestamp: Timestamp | None, attributes: Mapping[str, Value] | None) -> bool:
        if self._state is _ENDED or (self._state is _NEW and self._given_session_id is None):
            return False
        moment, _ = self._end_moment(timestamp)
        end = events.end_session(self._common(), moment, attributes=attributes)
        if self._state is _NEW:
            self._open(is_owned=False)
        self._end_conversations(moment)
        self._state = _ENDED
        self._door.closed(self)
        self._record(end)
        return True

    def _end_conversations(self, moment: int) -> None:
        mine = [conversation_id for conversation_id, is_mine in self._conversations.items() if is_mine]
        for conversation_id in mine:
            self._record(events.conversation_ended(self._common(), moment, conversation_id=conversation_id))
        self._conversations.clear()

    def abandon(self) -> None:
        """Ends the session if it is this object's to end, without waiting: nobody is left who would end it."""
        self._notice_fork()
        if self._is_owned and self._state is _OPEN:
            # A thread may be in the midst of a call, in a `before_send` that never returns.
            if self._lock.acquire(timeout=_ABANDON_TIMEOUT):
                try:
                    self._end_exclusively(None, None)
                finally:
                    self._lock.release()
            else:
                logger.warning("a session was not ended: a call to it goes on")
        if self._listener is not None:
            self._listener.stop()

    async def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that this session recorded so far is delivered or refused; recording goes on.

        Args:
            timeout: Seconds, at most; default the client's `flush_timeout`. Returns at once while the key is refused.
        """
        left = clock_of(monotonic, self._surroundings.config.limits.flush_timeout if timeout is None else timeout)
        if self._session_id is not None:
            await self._surroundings.wait(self._door.settled([self._session_id]), left())
        await self._wait_for_callbacks(self._errors.runner, left())

    async def flush_and_continue(self) -> None:
        """The same as `flush`, under the name that mlsdk-python 1.0.5 has for it."""
        await self.flush()

    async def _leave(self) -> None:
        """Waits for this session's events, then for what the service has to say about them."""
        listener, end_settled, limits = self._listener, self._end_settled, self._surroundings.config.limits
        self._listener = None
        if listener is None:
            await self.flush()
            return
        try:
            await self.flush()
            # The flush may have come to its end a moment before the news of this one event. Where no websocket could
            # be had so far, none is waited for.
            is_delivered = end_settled is not None and await self._surroundings.wait(end_settled, _NEWS_TIMEOUT)
            if is_delivered and listener.was_connected:
                await self._surroundings.wait(listener.ended, limits.session_ended_timeout)
        finally:
            listener.stop()  # also when whoever waits is cancelled
        await self._surroundings.wait(listener.stopped, _STOP_TIMEOUT)
        await self._wait_for_callbacks(self._on_event, limits.flush_timeout)
        await self._wait_for_callbacks(self._errors.runner, limits.flush_timeout)

    async def _wait_for_callbacks(
        self, runner: CallbackRunner[MLEvent] | CallbackRunner[MindlyticsError] | None, seconds: float
    ) -> None:
        if runner is None or runner.is_calling():
            return  # none, or it waits for this very code
        await self._surroundings.wait(runner.barrier(), seconds)

    async def __aenter__(self) -> Self:
        """Starts the session, or joins it if it was made with `join=True`."""
        self._notice_fork()
        if self._joins:
            if self._state is _ENDED:
                self._forget()  # ended by this object; an event of it reopens the session at the service
        elif self._state is not _OPEN:
            await self.start_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the session unless it was joined, and waits for delivery as `end_session` does.

        When the context is left because of a cancellation or an exit, the ends are recorded but not waited for.
        """
        if not self._joins and not self._is_inherited:
            self._end()
        if isinstance(error, IN_A_HURRY):
            if self._listener is not None:
                self._listener.stop()
            return
        await self._leave()

    @contextmanager
    def use(self, conversation_id: str | None = None) -> Iterator[None]:
        """Marks code that works for this session.

        With the OpenTelemetry instrumentor, spans that start inside become children of the conversation's span;
        without it, nothing happens. Do not `yield` from an async generator inside.

        Args:
            conversation_id: The conversation; default the one that is open, else the session itself.
        """
        yield

    # -- users --------------------------------------------------------------------------------------------------------

    async def user_identify(
        self,
        *,
        timestamp: Timestamp | None = None,
        id: str | None = None,
        device_id: str | None = None,
        traits: Mapping[str, Value] | None = None,
    ) -> None:
        """Says who the user is, or gives them traits; later events of the session belong to them.

        Args:
            timestamp: When; for a new user this is their start date.
            id: The user's id; without one, the session's user or device gets the traits.
            device_id: A device of theirs; default the session's.
            traits: Merged into those that the user has.

        Raises:
            InvalidEventError: An argument is wrong, or neither an id nor a device is known.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            moment, is_explicit = self._moment(timestamp)
            if id is None and device_id is None and self.device_id is None:
                id = self.id  # the traits of a user who is known already
            event = events.identify(self._common(), moment, id=id, device_id=device_id, traits=traits)
            self._submit(event, moment, is_explicit, starts=self._session_start(moment, id=id, device_id=device_id))
            if id is not None:
                self.id = id

    async def user_alias(self, *, timestamp: Timestamp | None = None, id: str, previous_id: str) -> None:
        """Gives a known user another id; later events of the session carry it.

        Args:
            timestamp: When; default now.
            id: The new id.
            previous_id: The id by which the user is known.

        Raises:
            InvalidEventError: An argument is wrong.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            moment, is_explicit = self._moment(timestamp)
            event = events.alias(self._common(), moment, id=id, previous_id=previous_id)
            self._submit(event, moment, is_explicit, starts=self._session_start(moment, id=previous_id))
            self.id = id

    # -- events -------------------------------------------------------------------------------------------------------

    async def track_event(
        self,
        *,
        event: str,
        timestamp: Timestamp | None = None,
        conversation_id: str | None = None,
        properties: Mapping[str, Value] | None = None,
    ) -> None:
        """Records an event of the application's own.

        Args:
            event: Its name, 1 to 100 characters.
            timestamp: When; default now.
            conversation_id: The conversation that it belongs to; default the one given to `create_session`, else none.
            properties: What to keep with it.

        Raises:
            InvalidEventError: An argument is wrong.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            moment, is_explicit = self._moment(timestamp)
            conversation_id = self._named_conversation if conversation_id is None else conversation_id
            made = events.custom(
                self._common(), moment, event=event, conversation_id=conversation_id, properties=properties
            )
            starts = self._session_start(moment)
            if conversation_id is not None:
                starts += self._conversation_start(moment, conversation_id)
            self._submit(made, moment, is_explicit, starts=starts, conversation_id=conversation_id)

    async def start_conversation(
        self,
        *,
        timestamp: Timestamp | None = None,
        conversation_id: str | None = None,
        properties: Mapping[str, Value] | None = None,
    ) -> str:
        """Opens a conversation; several may be open at a time.

        Args:
            timestamp: When it started; default now.
            conversation_id: A globally unique id; without one, one is made.
            properties: What to keep with it.

        Returns:
            The conversation's id.

        Raises:
            InvalidEventError: An argument is wrong, or the conversation is open.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            moment, is_explicit = self._moment(timestamp)
            if conversation_id is None:
                chosen = self._unused_conversation()
            else:
                chosen = events.check_name("conversation_id", conversation_id)
            if self._conversations.get(chosen):
                raise InvalidEventError("conversation_id", f"the conversation {chosen!r} is open")
            event = events.conversation_started(self._common(), moment, conversation_id=chosen, properties=properties)
            self._submit(event, moment, is_explicit, starts=self._session_start(moment))
            self._conversations[chosen] = True
            return chosen

    async def end_conversation(
        self,
        *,
        timestamp: Timestamp | None = None,
        conversation_id: str | None = None,
        properties: Mapping[str, Value] | None = None,
    ) -> None:
        """Ends a conversation.

        Args:
            timestamp: When it ended; default as for `end_session`.
            conversation_id: Which one; may be left out when just one is open.
            properties: Merged into those of its start.

        Raises:
            InvalidEventError: An argument is wrong, or it is not clear which conversation is meant.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            if conversation_id is None:
                conversation_id = self._only_conversation()
                if conversation_id is None:
                    raise InvalidEventError("conversation_id", "no conversation is open")
            moment, is_explicit = self._end_moment(timestamp)
            event = events.conversation_ended(
                self._common(), moment, conversation_id=conversation_id, properties=properties
            )
            self._submit(event, moment, is_explicit, starts=self._session_start(moment))
            self._conversations.pop(conversation_id, None)
            if conversation_id == self._named_conversation:
                self._named_conversation = None

    async def track_conversation_turn(
        self,
        *,
        user: str,
        assistant: str,
        timestamp: Timestamp | None = None,
        conversation_id: str | None = None,
        assistant_id: str | None = None,
        usage: TokenBasedCost | Cost | Mapping[str, Value] | None = None,
        cost: TokenBasedCost | Cost | Mapping[str, Value] | None = None,
        properties: Mapping[str, Value] | None = None,
    ) -> None:
        """Records one turn: what the user said, and what the assistant answered.

        Args:
            user: The user's words.
            assistant: The assistant's.
            timestamp: When; default now.
            conversation_id: The conversation; default the one that is open. When none is open, one is started.
            assistant_id: Which agent answered.
            usage: What the model call cost: `TokenBasedCost`, `Cost`, or a dict with the fields of either.
            cost: The same under another name.
            properties: What to keep with the turn.

        Raises:
            InvalidEventError: An argument is wrong, or several conversations are open and none is named.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            moment, is_explicit = self._moment(timestamp)
            target, starts = self._target(moment, conversation_id)
            event = events.turn(
                self._common(),
                moment,
                conversation_id=target,
                user=user,
                assistant=assistant,
                assistant_id=assistant_id,
                usage=_spent(usage, cost),
                properties=properties,
            )
            self._submit(event, moment, is_explicit, starts=starts, conversation_id=target)

    async def track_conversation_usage(
        self,
        *,
        cost: TokenBasedCost | Cost | Mapping[str, Value] | None = None,
        usage: TokenBasedCost | Cost | Mapping[str, Value] | None = None,
        timestamp: Timestamp | None = None,
        conversation_id: str | None = None,
    ) -> None:
        """Adds a cost to a conversation.

        Args:
            cost: `TokenBasedCost`, `Cost`, or a dict with the fields of either. Required, under this name or the next.
            usage: The same under another name.
            timestamp: When; default now.
            conversation_id: The conversation; default the one that is open. When none is open, one is started.

        Raises:
            InvalidEventError: An argument is wrong, or several conversations are open and none is named.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            spent = _spent(usage, cost)
            if spent is None:
                raise InvalidEventError("cost", "is missing")
            moment, is_explicit = self._moment(timestamp)
            target, starts = self._target(moment, conversation_id)
            event = events.usage(self._common(), moment, conversation_id=target, usage=spent)
            self._submit(event, moment, is_explicit, starts=starts, conversation_id=target)

    async def track_function_call(
        self,
        *,
        name: str,
        args: str | None = None,
        result: str | None = None,
        runtime: int | None = None,
        timestamp: Timestamp | None = None,
        conversation_id: str | None = None,
        properties: Mapping[str, Value] | None = None,
    ) -> None:
        """Records a tool call made during a conversation.

        Args:
            name: The function's name.
            args: Its arguments, usually JSON text.
            result: Its result as text.
            runtime: Milliseconds that it took.
            timestamp: When; default now.
            conversation_id: The conversation; default the one that is open. When none is open, one is started.
            properties: What to keep with the call.

        Raises:
            InvalidEventError: An argument is wrong, or several conversations are open and none is named.
            SessionClosedError: The session has ended.
        """
        with self._alone():
            self._check_usable()
            moment, is_explicit = self._moment(timestamp)
            target, starts = self._target(moment, conversation_id)
            event = events.function_call(
                self._common(),
                moment,
                conversation_id=target,
                name=name,
                args=args,
                result=result,
                runtime=runtime,
                properties=properties,
            )
            self._submit(event, moment, is_explicit, starts=starts, conversation_id=target)

    # -- errors -------------------------------------------------------------------------------------------------------

    @property
    def errors(self) -> int:
        """How many errors there have been; exact, also when there were more than `get_errors` keeps."""
        return self._errors.count

    def has_errors(self) -> bool:
        """Whether anything went wrong with this session's events so far."""
        return self._errors.count > 0

    def get_errors(self) -> list[APIResponse]:
        """The last 100 errors, oldest first; `status` is the HTTP status, or -1 when there was no answer."""
        return self._errors.responses()

    # -- one call at a time --------------------------------------------------------------------------------------------

    def _alone(self) -> threading.RLock:
        """What a method holds while it changes the session, from whatever thread: what a call records stays together.

        For code that never waits: another thread's event must not come between a start and the event that needs it.
        """
        if self._generation != host.generation:
            self._notice_fork()
        return self._lock

    # -- making events ------------------------------------------------------------------------------------------------

    def _record(self, event: Event, *, before_send: BeforeSend | None = None) -> None:
        """Offers one event for delivery: the only place where a session's events leave it.

        Args:
            event: The event.
            before_send: Instead of the client's hook, from who has asked that already.
        """
        on_settled = None
        if self._end_settled is not None and event["type"] == events.END_SESSION:
            on_settled = self._end_settled.set_result
        if before_send is None:
            before_send = self._surroundings.before_send
        self._door.offer(event, observer=self._errors, before_send=before_send, on_settled=on_settled)

    def _submit(
        self, event: Event, moment: int, is_explicit: bool, *, starts: list[Event], conversation_id: str | None = None
    ) -> None:
        """Records an event after the starts that it needs; nothing of it is refused from here on."""
        if self._state is _NEW:
            self._open(is_owned=self._given_session_id is None)
        for start in starts:
            if start["type"] != events.START_SESSION and conversation_id is not None:
                self._conversations[conversation_id] = True
            self._record(start)
        self._record(event)
        # As _note(), without the call: every event comes through here.
        if self._latest is None or moment > self._latest:
            self._latest = moment
        if not is_explicit:
            self._all_explicit = False

    def _open(self, *, is_owned: bool) -> None:
        self._state = _OPEN
        self._is_owned = is_owned
        if is_owned:
            self._door.opened(self)
        elif self._named_conversation is not None:
            self._conversations[self._named_conversation] = False
        if self._on_event is not None:
            self._listen(self._on_event)

    def _listen(self, on_event: CallbackRunner[MLEvent]) -> None:
        """Connects for live events; the session's own are held back until then, or for 5 s, lest some be missed."""
        if not self._surroundings.config.enabled:
            return
        from mlsdk.live.listener import Listener

        session_id, door = str(self._session_id), self._door
        listener = Listener(
            self._surroundings.config.connection,
            session_id=session_id,
            on_event=on_event.post,
            on_error=self._errors.report,
        )
        self._listener = listener
        self._end_settled = Future()
        self._end_settled.set_running_or_notify_cancel()  # so that who gives up waiting cannot cancel it
        door.hold(session_id)
        listener.ready.add_done_callback(lambda _: door.let_go(session_id))
        host.spawn(listener.run)

    def _session_start(self, moment: int, *, id: str | None = None, device_id: str | None = None) -> list[Event]:
        """The start that an event needs before it: none if the session is open or joined."""
        if self._state is _OPEN or self._given_session_id is not None:
            return []
        who = self._common()
        if self.id is None and self.device_id is None and (id is not None or device_id is not None):
            # The event that starts the session says itself whose it is.
            who = events.common(session_id=who["session_id"], user_id=id, device_id=device_id)
        return [events.start_session(who, moment, attributes=self._attributes)]

    def _target(self, moment: int, conversation_id: str | None) -> tuple[str, list[Event]]:
        """The conversation that an event goes to, and the starts that are due before it."""
        if conversation_id is None and self._state is _OPEN and len(self._conversations) == 1:
            return next(iter(self._conversations)), []  # nearly always
        starts = self._session_start(moment)
        target = self._only_conversation() if conversation_id is None else conversation_id
        if target is None:
            target = self._unused_conversation()
            starts.append(events.conversation_started(self._common(), moment, conversation_id=target))
        else:
            starts += self._conversation_start(moment, target)
        return target, starts

    def _conversation_start(self, moment: int, conversation_id: str) -> list[Event]:
        """The start of the conversation named at creation, when this session is the one to start it."""
        is_named = conversation_id == self._named_conversation
        is_joined = self._given_session_id is not None and not self._is_owned
        if not is_named or is_joined or conversation_id in self._conversations:
            return []
        return [events.conversation_started(self._common(), moment, conversation_id=conversation_id)]

    def _only_conversation(self) -> str | None:
        """The one open conversation, or None."""
        if len(self._conversations) > 1:
            listed = ", ".join(repr(conversation_id) for conversation_id in self._conversations)
            count = len(self._conversations)
            raise InvalidEventError("conversation_id", f"{count} conversations are open ({listed}); name one")
        if self._conversations:
            return next(iter(self._conversations))
        is_joining = self._state is _NEW and self._given_session_id is not None
        return self._named_conversation if is_joining else None

    def _unused_conversation(self) -> str:
        named = self._named_conversation
        return _new_id() if named is None or named in self._conversations else named

    def _common(self) -> events.Common:
        if self._who is None:
            if self._session_id is None:
                self._session_id = _new_id()
            self._who = events.common(session_id=self._session_id, user_id=self.id, device_id=self.device_id)
        return self._who

    def _check_usable(self) -> None:
        if self._state is _ENDED:
            raise SessionClosedError(
                "the session has ended; start_session() or 'async with' opens the object again as a new session"
            )

    def _notice_fork(self) -> None:
        """In a forked child: the session goes on, but it is the parent's to end."""
        if self._generation != host.generation:
            self._generation = host.generation
            self._lock = threading.RLock()  # a thread of the parent may have had it
            self._is_owned = False
            self._is_inherited = self._state is _OPEN
            self._conversations = dict.fromkeys(self._conversations, False)
            self._listener = None

    # -- time ---------------------------------------------------------------------------------------------------------

    def _moment(self, timestamp: Timestamp | None) -> tuple[int, bool]:
        """When an event is, and whether the caller said so."""
        if timestamp is None:
            return self._surroundings.clock.now(), False
        return events.parse_timestamp(timestamp), True

    def _end_moment(self, timestamp: Timestamp | None) -> tuple[int, bool]:
        """When something ends, and whether that moment came from the caller.

        Imported history must not end now, and nothing ends before its last event.
        """
        if timestamp is not None or self._latest is None:
            return self._moment(timestamp)
        if self._all_explicit:
            return self._latest, True
        return max(self._latest, self._surroundings.clock.now()), False

    def _note(self, moment: int, is_explicit: bool) -> None:
        if self._latest is None or moment > self._latest:
            self._latest = moment
        if not is_explicit:
            self._all_explicit = False

    # -- the end of the object ----------------------------------------------------------------------------------------

    def __del__(self) -> None:
        """A session that nobody can end any more is ended here.

        Not while the interpreter is being taken apart: delivery has ended what was open before that, nothing could be
        sent any more, and Python 3.13.0 crashes in calculations with `datetime` by then.
        """
        try:
            if sys.is_finalizing():
                return
            self.abandon()
        except Exception as problem:  # half-made objects, or an interpreter that is nearly gone
            logger.debug("a session could not be ended: %s", type(problem).__name__)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Session cannot be pickled or copied; pass its session_id, and join it there with "
            "client.create_session(session_id=..., join=True)"
        )

    def __repr__(self) -> str:
        return f"<Session {self._session_id or 'without id'}, {self._state.value}>"


_ABANDON_TIMEOUT: Final = 0.5
"""Seconds that the end of a process waits for a call to a session that is to be ended, at most."""
_NEWS_TIMEOUT: Final = 0.2
_STOP_TIMEOUT: Final = 5.0
"""Seconds that leaving a session waits for its websocket to be closed, at most."""


def _new_id() -> str:
    return str(uuid.uuid4())


def _spent(usage: object, cost: object) -> dict[str, Value] | None:
    """What a call says that it cost, under either of the two names."""
    if usage is not None and cost is not None:
        raise InvalidEventError("usage", "and cost are two names of one argument; give one")
    if usage is not None:
        return events.check_usage("usage", usage)
    return None if cost is None else events.check_usage("cost", cost)
