"""Puts wrappers on `mlsdk` and takes them off again: one table of targets, two loops."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final, Literal, TypeAlias, TypeVar
from weakref import WeakSet

import wrapt
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import Span, Tracer, TracerProvider, set_span_in_context

import mlsdk.client
import mlsdk.session
from mlsdk.delivery.host import host
from mlsdk.delivery.masking import BeforeSend, mask
from mlsdk.delivery.pipeline import Delivery
from mlsdk.errors import ConfigurationError
from mlsdk.events import END_SESSION, START_SESSION, Event
from mlsdk.waiting import Wait, clock_of, running_loop
from mlsdk_otel import attributes as names
from mlsdk_otel import metrics
from mlsdk_otel.bridge import Bridge, Recipient, bridges, log_mistake
from mlsdk_otel.config import what_cuts_texts
from mlsdk_otel.context import activated
from mlsdk_otel.instrumentation.mirror import Mirror, Policy
from mlsdk_otel.processor import MindlyticsSpanProcessor
from mlsdk_otel.road import OUR_SCOPE, in_use

logger = logging.getLogger(__name__)

T = TypeVar("T")

DeliveryMode: TypeAlias = Literal["direct", "otel"]

DEFAULT_MAX_SECONDS: Final = 300.0
"""Seconds after which a span that delivers is handed out and continued: a long conversation is not to be silent."""
_DEFAULT_LIMIT: Final = 128
"""OpenTelemetry's own limit of events per span, and of attributes."""
_MOST_EVENTS: Final = 512
_EXIT_PRIORITY: Final = 20
"""Of `multiprocessing` finalizers, higher ones run first; the sender drains at 10."""
_HANDING_OUT: Final = 5.0
"""Seconds that `uninstrument` waits for what the spans still held to be read, at most."""
_MIRROR: Final = "_mlsdk_otel_mirrored"
"""The attribute of a session that holds its spans. Not a weak mapping: its entries are gone when a finalizer runs."""


@dataclass(frozen=True, slots=True)
class _Options:
    tracer_provider: TracerProvider | None
    delivery: DeliveryMode
    max_events: int | None
    max_seconds: float


@dataclass(frozen=True, slots=True)
class _Tracing:
    """What a provider allows."""

    provider: TracerProvider
    tracer: Tracer
    max_events: int
    has_room: bool
    """Whether a span takes an event more than that, for an error."""
    obstacle: str
    """Why spans of it must not deliver: what would cut or drop something; empty if nothing would."""


@dataclass(slots=True)
class _Mirrored:
    """A session that becomes spans."""

    mirror: Mirror
    tracing: _Tracing
    is_delivered: bool = False
    """Spans have delivered some of it."""
    needs_flush: bool = False
    """Some of that through an exporter, behind a processor that is none of ours."""


class Patches:
    """The wrappers of this process; at most one set is on."""

    def __init__(self) -> None:
        self._options: _Options | None = None
        self._wrapped: dict[tuple[type, str], tuple[object, object]] = {}
        self._sessions: WeakSet[mlsdk.session.Session] = WeakSet()
        self._tracing: _Tracing | None = None
        self._flushes_provider = False
        self._exit_prepared: int | None = None
        self._has_warned = False
        self._lock = threading.RLock()

    @property
    def is_on(self) -> bool:
        """Whether sessions become spans."""
        return self._options is not None

    def put_on(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        delivery: str | None = None,
        max_events_per_span: int | None = None,
        max_span_seconds: float | None = None,
    ) -> None:
        """Has sessions become spans from now on; does nothing if they do.

        Args:
            tracer_provider: What makes the spans; default the global one, whenever it is set.
            delivery: `direct`: the SDK sends, the spans are for other readers. `otel`: the spans deliver. Default by
                `MLSDK_OTEL_DELIVERY`, else `direct`.
            max_events_per_span: Events after which a span is continued by another; default below the provider's limit,
                and never above it.
            max_span_seconds: Seconds after which it is, where spans deliver; default 300.

        Raises:
            ConfigurationError: An argument cannot be used.
        """
        options = _Options(
            tracer_provider=tracer_provider,
            delivery=_mode(delivery or os.environ.get("MLSDK_OTEL_DELIVERY", "").strip().lower() or "direct"),
            max_events=_at_least_one("max_events_per_span", max_events_per_span),
            max_seconds=_positive("max_span_seconds", max_span_seconds, DEFAULT_MAX_SECONDS),
        )
        with self._lock:
            if self._options is not None:
                if self._options.delivery != options.delivery:
                    logger.warning(
                        "sessions become spans already, with delivery=%r; that stays", self._options.delivery
                    )
                return
            self._options = options
            self._tracing = None
            self._has_warned = False
            self._flushes_provider = False
            for owner, name, wrapper in self._targets():
                if (owner, name) not in self._wrapped:  # else ours is still there, below somebody else's
                    original = owner.__dict__[name]
                    wrapt.wrap_function_wrapper(owner, name, wrapper)
                    self._wrapped[owner, name] = (original, owner.__dict__[name])

    def take_off(self) -> None:
        """Leaves `mlsdk` as it was; sessions that are open go on without spans."""
        with self._lock:
            options, self._options = self._options, None
            if options is None:
                return
            for (owner, name), (original, ours) in list(self._wrapped.items()):
                if owner.__dict__.get(name) is ours:
                    setattr(owner, name, original)
                    del self._wrapped[owner, name]
            needs_flush = False
            for mirrored in self._mirrored():
                mirrored.mirror.let_go()
                needs_flush = needs_flush or mirrored.needs_flush
        if needs_flush and self._tracing is not None:
            # What a session says from now on goes directly, and shall not overtake what the spans held.
            done = self._start_flush(self._tracing.provider, _HANDING_OUT)
            if done is not None and running_loop() is None:
                _wait_at_most(done, _HANDING_OUT)

    def hand_out(self) -> None:
        """Has everything read now that open sessions have recorded so far."""
        for mirrored in self._mirrored():
            if mirrored.is_delivered:
                mirrored.mirror.hand_out()

    async def flush(self, wait: Wait, seconds: float) -> None:
        """Hands out what open sessions have recorded, and has it read."""
        left = clock_of(monotonic, seconds)
        self.hand_out()
        if self._flushes_provider and self._tracing is not None:
            await self._flush_provider(self._tracing.provider, wait, left())

    def _targets(self) -> list[tuple[type, str, Callable[..., Any]]]:
        return [
            (mlsdk.session.Session, "_record", self._record),
            (mlsdk.session.Session, "flush", self._flush_session),
            (mlsdk.session.Session, "use", self._use),
            (mlsdk.session.Session, "__aexit__", self._exit),
            (mlsdk.client.Client, "flush", self._flush_client),
        ]

    def _mirrored(self) -> list[_Mirrored]:
        found = (session.__dict__.get(_MIRROR) for session in _copy(self._sessions))
        return [mirrored for mirrored in found if mirrored is not None]

    # -- recording ----------------------------------------------------------------------------------------------------

    def _record(
        self,
        wrapped: Callable[..., None],
        session: mlsdk.session.Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        options = self._options
        if options is None or not session._surroundings.config.enabled:
            wrapped(*args, **kwargs)
            return
        event: Event = args[0] if args else kwargs["event"]
        hook = session._surroundings.before_send
        shown: Event | None = event
        again: BeforeSend | None = None
        if hook is not None:
            # Once, and before the event is in a span: what the hook takes out is for nobody to see.
            shown, again = _mask_once(event, hook)
        try:
            delivered = self._show(options, session, event, shown)
            if not delivered and event["type"] == END_SESSION:
                _end_what_spans_tell(session)
        except Exception as problem:
            log_mistake("an event could not become a span", problem)
            delivered = False
        if delivered:
            return
        if again is None:
            wrapped(event)
        else:
            wrapped(event, before_send=again)

    def _show(self, options: _Options, session: mlsdk.session.Session, event: Event, shown: Event | None) -> bool:
        """Has an event become a part of a span; returns whether that delivers it."""
        mirrored: _Mirrored | None = session.__dict__.get(_MIRROR)
        if mirrored is None:
            mirrored = self._begin(options, session)
        if shown is None:  # the hook wants it kept back; the sender counts it
            if event["type"] == END_SESSION:
                mirrored.mirror.let_go()
            return False
        if options.delivery == "otel" and not mirrored.tracing.obstacle:
            self._tell_whom(session, event)
        delivered = mirrored.mirror.record(shown)
        if event["type"] == END_SESSION:
            mirrored.mirror.let_go()  # a conversation whose end the hook kept back
        if delivered:
            mirrored.is_delivered = True
            self._prepare_exit()
        return delivered

    def _begin(self, options: _Options, session: mlsdk.session.Session) -> _Mirrored:
        tracing = self._tracing_of(options)
        intends = options.delivery == "otel"
        if intends and tracing.obstacle:
            intends = False
            self._warn(tracing.obstacle)
        policy = Policy(
            tracer=tracing.tracer,
            max_events=tracing.max_events,
            max_seconds=options.max_seconds,
            will_be_read=partial(self._will_be_read, session),
            intends_otel=intends,
            project_id=session.project_id,
        )
        mirrored = _Mirrored(Mirror(policy), tracing)
        session.__dict__[_MIRROR] = mirrored
        self._sessions.add(session)
        if isinstance(session._door, Delivery):
            metrics.instruments().watch_also(session._surroundings.config.connection, session._door)
        return mirrored

    def _tracing_of(self, options: _Options) -> _Tracing:
        provider = options.tracer_provider or trace.get_tracer_provider()
        if self._tracing is None or self._tracing.provider is not provider:
            limits = _limits_of(provider)
            limit = _event_limit(limits)
            wanted = min(limit * 3 // 4, _MOST_EVENTS) if options.max_events is None else options.max_events
            self._tracing = _Tracing(
                provider=provider,
                tracer=provider.get_tracer(OUR_SCOPE, mlsdk.__version__),
                max_events=max(1, min(wanted, limit)),
                has_room=wanted < limit,
                obstacle=_obstacle(limits),
            )
        return self._tracing

    def _will_be_read(self, session: mlsdk.session.Session, span: Span) -> bool:
        mirrored: _Mirrored = session.__dict__[_MIRROR]
        context = span.get_span_context()
        if span.is_recording() and names.SESSION_ID not in (getattr(span, "attributes", None) or {}):
            self._warn("the sampler does not return the attributes that it is given, so spans have none")
            return False
        for bridge in _bridges_of(session):
            if bridge.saw_start(context.span_id):
                return True
            is_sampled = context.trace_flags.sampled and span.is_recording()
            if is_sampled and _reaches(mirrored.tracing.provider, bridge.exporters):
                mirrored.needs_flush = True
                self._flushes_provider = True
                return True
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
            self._warn("no exporter or processor of ours would read its spans")
        return False

    def _tell_whom(self, session: mlsdk.session.Session, event: Event) -> None:
        """Outcomes reach the session; for its live events what it says is held back, as where it sends itself."""
        if session._is_owned and event["type"] not in (START_SESSION, END_SESSION):
            return
        session_id = str(session.session_id)
        settled, listener = session._end_settled, session._listener
        recipient = Recipient(
            session._errors,
            None if settled is None else settled.set_result,
            masked_by=session._surroundings.before_send,
        )
        for bridge in _bridges_of(session):
            bridge.tell(session_id, recipient)
            if listener is not None and not listener.ready.done() and bridge.delivery is not session._door:
                bridge.delivery.hold(session_id)
                listener.ready.add_done_callback(partial(_let_go, bridge.delivery, session_id))

    def _warn(self, why: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("delivery='otel', but a session is sent directly after all: %s", why)

    # -- flushing -----------------------------------------------------------------------------------------------------

    async def _flush_session(
        self,
        wrapped: Callable[..., Awaitable[None]],
        session: mlsdk.session.Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        timeout = args[0] if args else kwargs.get("timeout")
        left = clock_of(monotonic, session._surroundings.config.limits.flush_timeout if timeout is None else timeout)
        mirrored: _Mirrored | None = session.__dict__.get(_MIRROR)
        if mirrored is not None and mirrored.is_delivered:
            wait = session._surroundings.wait
            mirrored.mirror.hand_out()
            if mirrored.needs_flush:
                await self._flush_provider(mirrored.tracing.provider, wait, left())
            for bridge in _bridges_of(session):
                if bridge.delivery is not session._door:
                    await wait(bridge.delivery.settled([str(session.session_id)]), left())
        await wrapped(left())

    async def _flush_client(
        self,
        wrapped: Callable[..., Awaitable[None]],
        client: mlsdk.client.Client,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        timeout = args[0] if args else kwargs.get("timeout")
        left = clock_of(monotonic, client._config.limits.flush_timeout if timeout is None else timeout)
        if self._options is not None and self._options.delivery == "otel":
            await self.flush(client._wait, left())
            for bridge in _bridges_to(client._config.connection):
                if bridge.delivery is not client._door:
                    await client._wait(bridge.delivery.settled(), left())
        await wrapped(left())

    async def _flush_provider(self, provider: TracerProvider, wait: Wait, seconds: float) -> None:
        """On a thread of its own: a provider's flush blocks, and inside a running loop it must not."""
        done = self._start_flush(provider, seconds)
        if done is not None:
            await wait(done, seconds)

    def _start_flush(self, provider: TracerProvider, seconds: float) -> Future[None] | None:
        flush: Callable[[int], object] | None = getattr(provider, "force_flush", None)
        if flush is None or seconds <= 0:
            return None
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()

        def run() -> None:
            try:
                flush(int(seconds * 1000))
            except Exception as problem:
                log_mistake("the provider could not be flushed", problem)
            finally:
                done.set_result(None)

        try:
            threading.Thread(target=run, name="mlsdk-otel-flush", daemon=True).start()
        except RuntimeError:  # the interpreter is exiting; the provider flushes itself
            return None
        return done

    # -- exit ---------------------------------------------------------------------------------------------------------

    def _prepare_exit(self) -> None:
        """Sees to it that open sessions end while the provider still takes their spans.

        Handlers run in the reverse order of their registration, so this one is registered when the provider is there.
        `atexit` does not run in `multiprocessing` children, nor does the provider's handler.
        """
        if self._exit_prepared == host.generation:
            return
        self._exit_prepared = host.generation
        atexit.unregister(self._end_sessions)
        atexit.register(self._end_sessions)
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            from multiprocessing.util import Finalize

            Finalize(None, self._end_child, exitpriority=_EXIT_PRIORITY)

    def _end_sessions(self) -> None:
        for session in _copy(self._sessions):
            mirrored: _Mirrored | None = session.__dict__.get(_MIRROR)
            if mirrored is not None and mirrored.is_delivered:
                session.abandon()

    def _end_child(self) -> None:
        self._end_sessions()
        tracing = self._tracing
        if self._flushes_provider and tracing is not None:
            done = self._start_flush(tracing.provider, _HANDING_OUT)
            if done is not None:
                _wait_at_most(done, _HANDING_OUT)

    # -- the rest -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _use(
        self,
        wrapped: Callable[..., Any],
        session: mlsdk.session.Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Iterator[None]:
        conversation_id = args[0] if args else kwargs.get("conversation_id")
        mirrored: _Mirrored | None = session.__dict__.get(_MIRROR)
        span = None if mirrored is None or not self.is_on else mirrored.mirror.span_of(conversation_id)
        if span is None:
            with wrapped(*args, **kwargs):
                yield
            return
        if isinstance(span, ReadableSpan) and span.is_recording():
            in_use(span)
        with wrapped(*args, **kwargs), activated(set_span_in_context(span)):
            yield

    async def _exit(
        self,
        wrapped: Callable[..., Awaitable[None]],
        session: mlsdk.session.Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        error = args[1] if len(args) > 1 else kwargs.get("error")
        mirrored: _Mirrored | None = session.__dict__.get(_MIRROR)
        if mirrored is not None and self.is_on and isinstance(error, Exception):
            try:
                if not mirrored.tracing.has_room:
                    mirrored.mirror.hand_out()  # the error would take the place of an event
                mirrored.mirror.failed(error)
            except Exception as problem:
                log_mistake("an error could not be recorded on a span", problem)
        await wrapped(*args, **kwargs)


def _mask_once(event: Event, hook: BeforeSend) -> tuple[Event | None, BeforeSend]:
    """What a hook makes of an event, and a hook that does the same again without asking it."""
    try:
        masked = mask(event, hook)
    except Exception as failure:
        problem = failure

        def fail(_: dict[str, Any]) -> None:
            raise problem

        return None, fail
    return masked, lambda _: masked


def _copy(things: WeakSet[T]) -> list[T]:
    """What is in there; another thread may add to it meanwhile, which Python does not forgive."""
    while True:
        try:
            return list(things)
        except RuntimeError:  # noqa: PERF203
            continue


def _let_go(delivery: Delivery, session_id: str, _: object) -> None:
    delivery.let_go(session_id)


def _wait_at_most(done: Future[None], seconds: float) -> None:
    with suppress(FutureTimeoutError):
        done.result(seconds)


def _end_what_spans_tell(session: mlsdk.session.Session) -> None:
    """Ends the conversations of a session that libraries' spans have begun: the SDK sends the session's end next."""
    session_id = str(session.session_id)
    for bridge in _bridges_of(session):
        if bridge.knows(session_id):
            bridge.end_conversations(session_id)


def _bridges_of(session: mlsdk.session.Session) -> list[Bridge]:
    return _bridges_to(session._surroundings.config.connection)


def _bridges_to(own: Any) -> list[Bridge]:
    """Those that would deliver what a session says, to where it would go itself."""
    return [
        bridge
        for bridge in bridges()
        if bridge.settings.config.connection.project_id == own.project_id
        and bridge.settings.config.connection.server_endpoint == own.server_endpoint
    ]


def _reaches(provider: TracerProvider, exporters: Iterable[object]) -> bool:
    """Whether one of the exporters gets the spans of a provider.

    A provider does not say who its processors are. Where they cannot be seen, or somebody's own are among them, an
    exporter that is in use counts as one of this provider.
    """
    live = list(exporters)
    processors = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)
    if not live or processors is None:
        return bool(live)
    for processor in processors:
        if isinstance(processor, MindlyticsSpanProcessor):
            continue
        if not isinstance(processor, BatchSpanProcessor | SimpleSpanProcessor):
            return True
        if any(getattr(processor, "span_exporter", None) is exporter for exporter in live):
            return True
    return False


def _mode(delivery: str) -> DeliveryMode:
    if delivery == "direct":
        return "direct"
    if delivery == "otel":
        return "otel"
    raise ConfigurationError(f"delivery (MLSDK_OTEL_DELIVERY): must be 'direct' or 'otel', not {delivery!r}")


def _at_least_one(argument: str, given: int | None) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigurationError(f"{argument}: must be an integer of 1 or more, not {given!r}")
    return given


def _positive(argument: str, given: float | None, default: float) -> float:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise ConfigurationError(f"{argument}: must be a number of seconds above 0, not {given!r}")
    return given


def _limits_of(provider: TracerProvider) -> object:
    """The SDK keeps a provider's limits in a private attribute; without it the environment has to do."""
    return getattr(provider, "_span_limits", None)


def _event_limit(limits: object) -> int:
    found = _DEFAULT_LIMIT if limits is None else getattr(limits, "max_events", _DEFAULT_LIMIT)
    return found if isinstance(found, int) else _MOST_EVENTS * 2


def _obstacle(limits: object) -> str:
    """Which limit would cut or drop what a span has to carry; empty if none would."""
    if cuts := what_cuts_texts(limits):
        return f"{cuts} would cut texts"
    if _event_limit(limits) == 0:
        return "the provider's max_events is 0"
    for name in ("max_span_attributes", "max_event_attributes"):
        found = getattr(limits, name, None)
        if isinstance(found, int) and found < _DEFAULT_LIMIT:
            return f"the provider's {name} ({found}) would drop values"
    return ""


patches: Final = Patches()
"""The one of this process."""
