"""Settings of the OpenTelemetry road: those of the SDK, and a few of its own; read once, frozen."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlsdk import config
from mlsdk.config import Config
from mlsdk.delivery.masking import BeforeSend
from mlsdk.errors import ConfigurationError, InvalidEventError
from mlsdk.events import check_name

_LENGTH_LIMITS: Final = ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a bridge is made with.

    Attributes:
        config: Key, project, address and limits, as a `Client` has them.
        before_send: The user's hook on events, or None. `MLSDK_BEFORE_SEND=package.module:function`.
        captures_content: False drops texts and keeps usage. `MLSDK_CAPTURE_CONTENT`.
        hold: Seconds that spans of other libraries wait for one another, at most. `MLSDK_OTEL_HOLD_SECONDS`.
        session_idle: Seconds without a turn after which the conversations of a session end whose id came from outside.
            `MLSDK_OTEL_SESSION_IDLE_SECONDS`.
        ends_on_shutdown: Those of other processes may go on: false leaves their ends to idle time, for rolling
            deployments. `MLSDK_OTEL_END_ON_SHUTDOWN`.
        device_id: The device of all sessions that name none, for programs with a single user. `MLSDK_DEVICE_ID`.
    """

    config: Config
    before_send: BeforeSend | None = None
    captures_content: bool = True
    hold: float = 30.0
    session_idle: float = 1800.0
    ends_on_shutdown: bool = True
    device_id: str | None = None


def resolve(
    *,
    api_key: str | None = None,
    project_id: str | None = None,
    server_endpoint: str | None = None,
    proxy: str | None = None,
    ca_file: str | None = None,
    before_send: BeforeSend | None = None,
    capture_content: bool | None = None,
    spool_dir: str | os.PathLike[str] | None = None,
    spool_mode: str | None = None,
    spool_bytes: int | None = None,
    spool_window: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Arguments over environment over defaults.

    Raises:
        ConfigurationError: A setting is missing or cannot be used. While the SDK is disabled none is looked at.
    """
    environ = os.environ if environ is None else environ
    if config.flag(environ, "MLSDK_DISABLED", default=False):
        return Settings(config.resolve(enabled=False, environ={}))
    return Settings(
        config=config.resolve(
            api_key=api_key,
            project_id=project_id,
            server_endpoint=server_endpoint,
            proxy=proxy,
            ca_file=ca_file,
            spool_dir=spool_dir,
            spool_mode=spool_mode,
            spool_bytes=spool_bytes,
            spool_window=spool_window,
            environ=environ,
        ),
        before_send=config.hook(before_send, environ),
        captures_content=_content(capture_content, environ),
        hold=_seconds(environ, "MLSDK_OTEL_HOLD_SECONDS", 30.0),
        session_idle=_seconds(environ, "MLSDK_OTEL_SESSION_IDLE_SECONDS", 1800.0),
        ends_on_shutdown=config.flag(environ, "MLSDK_OTEL_END_ON_SHUTDOWN", default=True),
        device_id=_device(environ),
    )


def _seconds(environ: Mapping[str, str], variable: str, default: float) -> float:
    text = environ.get(variable, "").strip()
    try:
        found = float(text) if text else default
    except ValueError:
        found = -1.0
    if not 0 <= found < math.inf:
        raise ConfigurationError(f"{variable}: must be a number of seconds, 0 or more, not {text!r}")
    return found


def _device(environ: Mapping[str, str]) -> str | None:
    text = environ.get("MLSDK_DEVICE_ID", "").strip()
    try:
        return check_name("MLSDK_DEVICE_ID", text) if text else None
    except InvalidEventError as problem:
        raise ConfigurationError(problem.message) from problem


def _content(given: object, environ: Mapping[str, str]) -> bool:
    if given is None:
        return config.flag(environ, "MLSDK_CAPTURE_CONTENT", default=True)
    return config.switch("capture_content", given, default=True)


def what_cuts_texts(limits: object = None, environ: Mapping[str, str] | None = None) -> str:
    """Names the limit by which OpenTelemetry shortens texts, which it does without counting; empty if there is none.

    Args:
        limits: The `SpanLimits` of a provider; they have the environment in them. None where they are not known.
        environ: Looked at instead, then.
    """
    if limits is not None:
        attributes = ("max_attribute_length", "max_span_attribute_length")
        return next((f"the provider's {name}" for name in attributes if _is_limit(getattr(limits, name, None))), "")
    environ = os.environ if environ is None else environ
    return next((variable for variable in _LENGTH_LIMITS if environ.get(variable, "").strip()), "")


def _is_limit(value: object) -> bool:
    return isinstance(value, int) and value >= 0
