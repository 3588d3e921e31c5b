"""Puts wrappers on `mlsdk` and takes them off again: one table of targets, two loops."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakSet

import wrapt
from opentelemetry import trace
from opentelemetry.trace import Span, TracerProvider

import mlsdk.client
import mlsdk.session
from mlsdk.errors import ConfigurationError
from mlsdk.events import END_SESSION, START_SESSION, Event
from mlsdk.waiting import Wait, clock_of
from mlsdk_otel.bridge import Bridge, Recipient, bridges
from mlsdk_otel.instrumentation.mirror import Mirror, Policy

logger = logging.getLogger(__name__)

DeliveryMode: TypeAlias = Literal["direct", "otel"]

DEFAULT_MAX_SECONDS: Final = 300.0
"""Seconds after which a span that delivers is handed out and continued: a long conversation is not to be silent."""
_DEFAULT_LIMIT: Final = 128
"""OpenTelemetry's own limit of events per span."""
_MOST_EVENTS: Final = 512
_LENGTH_LIMITS: Final = (
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
_MIRROR: Final = "_mlsdk_otel_mirror"
"""The attribute of a session that holds its spans. Not a weak mapping: its entries are gone when a finalizer runs."""


@dataclass(frozen=True, slots=True)
class _Options:
    tracer_provider: TracerProvider
    delivery: DeliveryMode
    max_events: int
    max_seconds: float


class Patches:
    """The wrappers of this process; at most one set is on."""

    def __init__(self) -> None:
        self._options: _Options | None = None
        self._originals: list[tuple[type, str, object]] = []
        self._mirrors: WeakSet[Mirror] = WeakSet()
        self._has_warned = False

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
            tracer_provider: What makes the spans; default the global one.
            delivery: `direct`: the SDK sends, the spans are for other readers. `otel`: the spans deliver. Default by
                `MLSDK_OTEL_DELIVERY`, else `direct`.
            max_events_per_span: Events after which a span is continued by another; default below the provider's limit.
            max_span_seconds: Seconds after which it is, where spans deliver; default 300.

        Raises:
            ConfigurationError: An argument cannot be used.
        """
        if self.is_on:
            return
        provider = tracer_provider or trace.get_tracer_provider()
        limit = _event_limit(provider)
        self._options = _Options(
            tracer_provider=provider,
            delivery=_mode(delivery or os.environ.get("MLSDK_OTEL_DELIVERY") or "direct"),
            max_events=_at_least_one(
                "max_events_per_span", max_events_per_span, min(limit * 3 // 4 or 1, _MOST_EVENTS)
            ),
            max_seconds=_positive("max_span_seconds", max_span_seconds, DEFAULT_MAX_SECONDS),
        )
        self._has_warned = False
        for owner, name, wrapper in self._targets():
            self._originals.append((owner, name, owner.__dict__[name]))
            wrapt.wrap_function_wrapper(owner, name, wrapper)

    def take_off(self) -> None:
        """Leaves `mlsdk` as it was; sessions that are open go on without spans."""
        self._options = None
        for owner, name, original in self._originals:
            setattr(owner, name, original)
        self._originals.clear()
        for mirror in list(self._mirrors):
            mirror.let_go()

    def _targets(self) -> list[tuple[type, str, Callable[..., Any]]]:
        return [
            (mlsdk.session.Session, "_record", self._record),
            (mlsdk.session.Session, "flush", self._flush_session),
            (mlsdk.session.Session, "use", self._use),
            (mlsdk.session.Session, "__aexit__", self._exit),
            (mlsdk.client.Client, "flush", self._flush_client),
        ]

    # -- wrappers -----------------------------------------------------------------------------------------------------

    def _record(
        self,
        wrapped: Callable[[Event], None],
        session: mlsdk.session.Session,
        args: tuple[Event],
        kwargs: Mapping[str, Any],
    ) -> None:
        event = args[0] if args else kwargs["event"]
        try:
            delivered = self._mirror(session, event)
        except Exception as problem:
            logger.error("an event could not become a span: %s", type(problem).__name__, exc_info=problem)
            delivered = False
        if not delivered:
            wrapped(event)

    def _mirror(self, session: mlsdk.session.Session, event: Event) -> bool:
        options = self._options
        mirror: Mirror | None = session.__dict__.get(_MIRROR)
        if options is None or not session._surroundings.config.enabled:
            return False
        if mirror is None:
            mirror = Mirror(self._policy(options, session))
            session.__dict__[_MIRROR] = mirror
            self._mirrors.add(mirror)
        if options.delivery == "otel" and event["type"] in (START_SESSION, END_SESSION):
            self._tell_whom(session)
        return mirror.record(event)

    def _policy(self, options: _Options, session: mlsdk.session.Session) -> Policy:
        intends = options.delivery == "otel"
        if intends and (cuts := _length_limit(options.tracer_provider)):
            intends = False
            self._warn(f"{cuts} would cut texts")
        return Policy(
            tracer=options.tracer_provider.get_tracer("mlsdk_otel", mlsdk.__version__),
            max_events=options.max_events,
            max_seconds=options.max_seconds,
            will_be_read=lambda span: self._will_be_read(session, span),
            intends_otel=intends,
            project_id=session.project_id,
        )

    def _will_be_read(self, session: mlsdk.session.Session, span: Span) -> bool:
        context = span.get_span_context()
        for bridge in _bridges_of(session):
            if bridge.saw_start(context.span_id):
                return True
            if bridge.exporters and context.trace_flags.sampled and span.is_recording():
                return True
        self._warn("no exporter or processor of ours would read its spans")
        return False

    def _tell_whom(self, session: mlsdk.session.Session) -> None:
        settled = session._end_settled
        recipient = Recipient(session._errors, None if settled is None else settled.set_result)
        for bridge in _bridges_of(session):
            bridge.tell(str(session.session_id), recipient)

    def _warn(self, why: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("delivery='otel', but a session is sent directly after all: %s", why)

    async def _flush_session(
        self,
        wrapped: Callable[..., Awaitable[None]],
        session: mlsdk.session.Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        timeout = args[0] if args else kwargs.get("timeout")
        left = clock_of(monotonic, session._surroundings.config.limits.flush_timeout if timeout is None else timeout)
        mirror: Mirror | None = session.__dict__.get(_MIRROR)
        if mirror is not None and mirror.delivers:
            mirror.hand_out()
            await self._flush_provider(session._surroundings.wait, left())
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
        mirrors = [mirror for mirror in list(self._mirrors) if mirror.delivers]
        for mirror in mirrors:
            mirror.hand_out()
        if mirrors:
            await self._flush_provider(client._wait, left())
        await wrapped(left())

    async def _flush_provider(self, wait: Wait, seconds: float) -> None:
        """On a thread of its own: a provider's flush blocks, and inside a running loop it must not."""
        options = self._options
        flush: Callable[[int], object] | None = getattr(options and options.tracer_provider, "force_flush", None)
        if flush is None or seconds <= 0:
            return
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()

        def run() -> None:
            try:
                flush(int(seconds * 1000))
            except Exception as problem:
                logger.error("the provider could not be flushed: %s", type(problem).__name__)
            finally:
                done.set_result(None)

        try:
            threading.Thread(target=run, name="mlsdk-otel-flush", daemon=True).start()
        except RuntimeError:  # the interpreter is exiting; the provider flushes itself
            return
        await wait(done, seconds)

    @staticmethod
    @contextmanager
    def _use(
        wrapped: Callable[..., Any],
        session: mlsdk.session.Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Iterator[None]:
        conversation_id = args[0] if args else kwargs.get("conversation_id")
        mirror: Mirror | None = session.__dict__.get(_MIRROR)
        span = None if mirror is None else mirror.span_of(conversation_id)
        if span is None:
            yield
            return
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield

    @staticmethod
    async def _exit(
        wrapped: Callable[..., Awaitable[None]],
        session: mlsdk.session.Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        error = args[1] if len(args) > 1 else kwargs.get("error")
        mirror: Mirror | None = session.__dict__.get(_MIRROR)
        if mirror is not None and isinstance(error, Exception):
            mirror.failed(error)
        await wrapped(*args, **kwargs)


def _bridges_of(session: mlsdk.session.Session) -> list[Bridge]:
    """Those that would deliver what the session says, to where it would go itself."""
    own = session._surroundings.config.connection
    return [
        bridge
        for bridge in bridges()
        if bridge.settings.config.connection.project_id == own.project_id
        and bridge.settings.config.connection.server_endpoint == own.server_endpoint
    ]


def _mode(delivery: str) -> DeliveryMode:
    if delivery == "direct":
        return "direct"
    if delivery == "otel":
        return "otel"
    raise ConfigurationError(f"delivery (MLSDK_OTEL_DELIVERY): must be 'direct' or 'otel', not {delivery!r}")


def _at_least_one(argument: str, given: int | None, default: int) -> int:
    if given is None:
        return default
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


def _event_limit(provider: TracerProvider) -> int:
    limits = _limits_of(provider)
    found = getattr(limits, "max_events", _DEFAULT_LIMIT) if limits is not None else _DEFAULT_LIMIT
    return found if isinstance(found, int) and found > 0 else _MOST_EVENTS * 2


def _length_limit(provider: TracerProvider) -> str:
    """What would cut texts, or nothing."""
    limits = _limits_of(provider)
    for name in ("max_attribute_length", "max_span_attribute_length"):
        if isinstance(getattr(limits, name, None), int):
            return f"the provider's {name}"
    return next((variable for variable in _LENGTH_LIMITS if os.environ.get(variable, "").strip()), "")


patches: Final = Patches()
"""The one of this process."""
