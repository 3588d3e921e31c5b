"""What `opentelemetry-instrument` calls last, beside the exporters and the instrumentor that it loads by their classes.

It runs in every Python process below `opentelemetry-instrument`, and an exception would be shown as a failure of all of
OpenTelemetry: whatever is wrong here is one line in the log.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from types import FrameType
from typing import Final

from opentelemetry import _logs, trace
from opentelemetry.sdk.trace import TracerProvider

from mlsdk import config
from mlsdk.delivery.host import host
from mlsdk.errors import ConfigurationError
from mlsdk.logs import logger_for
from mlsdk_otel.bridge import bridges

logger = logger_for(__name__)

_GRACE: Final = 0.5
"""Seconds beyond the time to deliver, for saying what was not."""


def finish() -> None:
    """Post-instrument hook: adds our span processor where `MLSDK_OTEL_PROCESSOR` is true; minds SIGTERM. Never raises.

    By default SIGTERM ends a Python program on the spot, and its `atexit` handlers do not run: a server whose workers
    are stopped would lose what it has just recorded. Here is nobody who could flush. So where Mindlytics is in use and
    nobody handles SIGTERM, it is handled: what is left is delivered within `MLSDK_EXIT_TIMEOUT`, and the process ends
    by SIGTERM as it would have. A program that sets a handler of its own replaces this one.
    """
    try:
        add_processor()
        if bridges():
            deliver_on_sigterm()
    except Exception as problem:
        logger.error("the set-up could not be finished: %s", type(problem).__name__, exc_info=problem)


def add_processor() -> None:
    """Adds our span processor to the global provider, where `MLSDK_OTEL_PROCESSOR` is true."""
    try:
        if not config.flag(os.environ, "MLSDK_OTEL_PROCESSOR", default=False):
            return
        if config.flag(os.environ, "MLSDK_DISABLED", default=False):
            return
    except ConfigurationError as problem:
        logger.error("no processor was added: %s", problem.message)
        return
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        logger.error("no processor was added: the tracer provider is none of the OpenTelemetry SDK's")
        return
    from mlsdk_otel.processor import MindlyticsSpanProcessor

    provider.add_span_processor(MindlyticsSpanProcessor())


def deliver_on_sigterm() -> None:
    """Handles SIGTERM unless somebody does, or it is ignored."""
    if threading.current_thread() is not threading.main_thread():  # only there can a handler be set
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _deliver_and_die)


def _deliver_and_die(signum: int, frame: FrameType | None) -> None:
    # From now on a second SIGTERM ends the process at once.
    signal.signal(signum, signal.SIG_DFL)
    seconds = max((bridge.settings.config.limits.exit_timeout for bridge in bridges()), default=0.0)
    # On a thread of its own: the signal may have come while this one held a lock that delivery needs.
    thread = threading.Thread(target=_deliver, args=(seconds,), name="mlsdk-otel-sigterm", daemon=True)
    try:
        thread.start()
        thread.join(seconds + _GRACE)
    except RuntimeError:  # the interpreter is exiting; its own handlers deliver
        return
    os.kill(os.getpid(), signum)


def _deliver(seconds: float) -> None:
    """What happens at a normal exit: spans are exported, open sessions end, the sender drains and counts its loss."""
    end = time.monotonic() + seconds
    _flush_providers(end)
    _quietly(host.drain)
    _flush_providers(end)  # the ends of sessions may have come as spans
    for bridge in bridges():
        bridge.release(is_last=True)
        try:
            bridge.delivery.settled().result(timeout=max(0.0, end - time.monotonic()))
        except FutureTimeoutError:
            return


def _flush_providers(end: float) -> None:
    for provider in (trace.get_tracer_provider(), _logs.get_logger_provider()):
        flush: Callable[[int], object] | None = getattr(provider, "force_flush", None)
        if flush is not None:
            _quietly(partial(flush, max(0, int((end - time.monotonic()) * 1000))))


def _quietly(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as problem:
        logger.error("not everything could be delivered: %s", type(problem).__name__, exc_info=problem)
