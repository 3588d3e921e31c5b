"""Settings of the OpenTelemetry road: those of the SDK, and a few of its own; read once, frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from mlsdk import config
from mlsdk.config import Config
from mlsdk.delivery.masking import BeforeSend
from mlsdk.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Settings:
    """What a bridge is made with.

    Attributes:
        config: Key, project, address and limits, as a `Client` has them.
        before_send: The user's hook on events, or None. `MLSDK_BEFORE_SEND=package.module:function`.
        captures_content: False drops texts and keeps usage. `MLSDK_CAPTURE_CONTENT`.
    """

    config: Config
    before_send: BeforeSend | None = None
    captures_content: bool = True


def resolve(
    *,
    api_key: str | None = None,
    project_id: str | None = None,
    server_endpoint: str | None = None,
    proxy: str | None = None,
    ca_file: str | None = None,
    before_send: BeforeSend | None = None,
    capture_content: bool | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Arguments over environment over defaults.

    Raises:
        ConfigurationError: A setting is missing or cannot be used.
    """
    environ = os.environ if environ is None else environ
    return Settings(
        config=config.resolve(
            api_key=api_key,
            project_id=project_id,
            server_endpoint=server_endpoint,
            proxy=proxy,
            ca_file=ca_file,
            environ=environ,
        ),
        before_send=before_send or _hook(environ.get("MLSDK_BEFORE_SEND", "").strip()),
        captures_content=(
            config.flag(environ, "MLSDK_CAPTURE_CONTENT", default=True) if capture_content is None else capture_content
        ),
    )


def _hook(path: str) -> BeforeSend | None:
    """The function that `package.module:function` names."""
    if not path:
        return None
    module, _, function = path.partition(":")
    try:
        hook: BeforeSend = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as problem:
        # Texts that the hook should mask must not be sent without it.
        raise ConfigurationError(f"MLSDK_BEFORE_SEND: cannot load {path!r} ({type(problem).__name__})") from problem
    if not callable(hook):
        raise ConfigurationError(f"MLSDK_BEFORE_SEND: {path!r} is no function")
    return hook
