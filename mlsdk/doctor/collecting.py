"""Gathers the facts that `checks` judges: reads settings, resolves the name, and asks the service.

It goes the way that events go (the same HTTP sessions, the same proxy, the same listener), and leaves nothing behind:
an array without events makes no session in the project.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from mlsdk import config
from mlsdk.config import Config, Connection
from mlsdk.delivery.buffer import MAX_BATCH_BYTES, NO_EVENTS
from mlsdk.delivery.transport import QUEUE_PATH, failure
from mlsdk.doctor.checks import PREFIX, Answer, Facts, Failure, Route, Setting
from mlsdk.errors import ConfigurationError
from mlsdk.http import check_trust, open_session, proxy_for
from mlsdk.live.listener import Listener

WITHIN: Final = 10.0
"""Seconds that one look may take."""
_TEXT: Final = 2048
"""Bytes of an answer that are read."""
_ALONE: Final = (
    "MLSDK_API_KEY",
    "MLSDK_PROJECT_ID",
    "MLSDK_SERVER_BASE",
    "MLSDK_WSS_BASE",
    "MLSDK_PROXY",
    "MLSDK_CA_FILE",
    "MLSDK_EXIT_TIMEOUT",
    "MLSDK_SPOOL_DIR",
    "MLSDK_SPOOL_MODE",
    "MLSDK_SPOOL_BYTES",
    "MLSDK_SPOOL_WINDOW",
)
_STAND_IN: Final = "x"


@dataclass(frozen=True, slots=True)
class Checked:
    """The settings of an environment: what can be used, and what cannot."""

    config: Config | None
    problems: tuple[Setting, ...]
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Gathered:
    """The facts, and what must not be shown of them."""

    facts: Facts
    secrets: tuple[str, ...] = field(default=(), repr=False)


_LAST_WORDS: Final = 0.25
"""Seconds for connections to close."""


def gather(environ: Mapping[str, str], *, within: float = WITHIN) -> Gathered:
    """All facts; takes some seconds where nobody answers.

    Args:
        environ: The variables to judge. The proxy variables, and the module of a hook, are this process's own.
        within: Seconds that one look may take.
    """
    checked = check_settings(environ)
    facts = Facts(
        version=metadata.version("mlsdk-otel"),
        upstream=_version("mlsdk-python"),
        variables={name: value for name, value in environ.items() if name.startswith(PREFIX)},
        settings=checked.problems,
        is_disabled=checked.is_disabled,
    )
    secrets = _secrets(environ)
    if checked.config is None:
        return Gathered(facts, secrets)
    connection = checked.config.connection
    facts = replace(facts, server=connection.server_endpoint, websocket=connection.wss_endpoint)
    return Gathered(asyncio.run(_look_and_part(connection, facts, within)), secrets)


def check_settings(environ: Mapping[str, str]) -> Checked:
    """Each setting by itself, so that all that is wrong is found at once."""
    problems = []
    for variable in _ALONE:
        only = {"MLSDK_API_KEY": _STAND_IN, "MLSDK_PROJECT_ID": _STAND_IN, variable: environ.get(variable, "")}
        try:
            check_trust(config.resolve(enabled=True, environ=only).connection)
        except ConfigurationError as error:
            problems.append(Setting(variable, error.message))
    is_disabled = False
    try:
        is_disabled = config.flag(environ, "MLSDK_DISABLED", default=False)
    except ConfigurationError as error:
        problems.append(Setting("MLSDK_DISABLED", error.message))
    try:
        config.hook(None, environ)
    except ConfigurationError as error:
        problems.append(Setting("MLSDK_BEFORE_SEND", error.message))
    try:
        usable = config.resolve(enabled=True, environ=environ)
    except ConfigurationError:
        return Checked(None, tuple(problems), is_disabled)
    return Checked(usable if _can_connect(problems) else None, tuple(problems), is_disabled)


def _can_connect(problems: list[Setting]) -> bool:
    return not any(problem.variable in _ALONE for problem in problems)


def _secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    proxies = [value for name, value in environ.items() if name.upper().endswith("PROXY")]
    passwords = [password for proxy in proxies if (password := _password(proxy))]
    return (environ.get("MLSDK_API_KEY", "").strip(), *passwords)


def _password(proxy: str) -> str | None:
    try:
        return urlsplit(proxy).password
    except ValueError:
        return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


# -- the way there ----------------------------------------------------------------------------------------------------


async def _look_and_part(connection: Connection, facts: Facts, within: float) -> Facts:
    try:
        return await _look(connection, facts, within)
    finally:
        # aiohttp closes a TLS connection without waiting for its last words, and the loop ends next.
        await asyncio.sleep(_LAST_WORDS if connection.server_endpoint.startswith("https") else 0)


async def _look(connection: Connection, facts: Facts, within: float) -> Facts:
    route = await _route(connection, within)
    facts = replace(facts, route=route)
    if route.name_error or (route.proxy is not None and urlsplit(route.proxy).scheme not in ("http", "https")):
        return facts
    probe = await _ask(connection, NO_EVENTS, within)
    facts = replace(facts, probe=probe)
    if not 200 <= probe.status < 300:
        return facts
    # Blanks between the brackets: as large as a full batch, and as empty as the probe before.
    body = b"[" + b" " * (MAX_BATCH_BYTES - len(NO_EVENTS)) + b"]"
    facts = replace(facts, large=await _ask(connection, body, within), large_bytes=len(body))
    error, status = await _live(connection, within)
    return replace(facts, live_error=error, live_status=status)


async def _route(connection: Connection, within: float) -> Route:
    target = connection.server_endpoint
    proxy = proxy_for(connection, target)
    parts = urlsplit(target if proxy is None else proxy)
    route = Route(parts.hostname or "", None if proxy is None else _bare(proxy), _proxy_variable(connection, target))
    try:
        loop = asyncio.get_running_loop()
        found = await asyncio.wait_for(loop.getaddrinfo(route.host, parts.port, type=socket.SOCK_STREAM), within)
    except (OSError, UnicodeError) as error:
        return replace(route, name_error=getattr(error, "strerror", None) or str(error) or type(error).__name__)
    except asyncio.TimeoutError:
        return replace(route, name_error=f"no answer within {within:g} s")
    return replace(route, addresses=tuple(dict.fromkeys(str(address[0]) for *_, address in found)))


def _bare(proxy: str) -> str:
    """The address without user and password."""
    parts = urlsplit(proxy)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))


def _proxy_variable(connection: Connection, target: str) -> str:
    if connection.proxy is not None:
        return "MLSDK_PROXY"
    name = f"{urlsplit(target).scheme}_proxy"
    return name if name in os.environ else name.upper()


# -- the service ------------------------------------------------------------------------------------------------------


async def _ask(connection: Connection, body: bytes, within: float) -> Answer:
    address = connection.server_endpoint + QUEUE_PATH
    try:
        async with (
            open_session(connection, connections=1) as session,
            session.post(
                address,
                data=body,
                headers={"Content-Type": "application/json"},
                proxy=proxy_for(connection, address),
                timeout=aiohttp.ClientTimeout(total=within),
                allow_redirects=False,
            ) as answer,
        ):
            at = time.time()
            text = b""
            # Whatever becomes of the text, the status stands.
            with suppress(aiohttp.ClientError, asyncio.TimeoutError, OSError):
                text = await answer.content.read(_TEXT)
            return Answer(
                status=answer.status,
                text=text.decode("utf-8", "replace").strip() if answer.status >= 300 else "",
                location=answer.headers.get("Location", ""),
                content_type=answer.headers.get("Content-Type", ""),
                date=answer.headers.get("Date", ""),
                at=at,
            )
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
        return _stuck(error)


def _stuck(error: Exception) -> Answer:  # noqa: PLR0911 - one for each kind
    """Where a request got stuck, by the exception."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Answer(error.status, f"HTTP status {error.status} {error.message}", Failure.PROXY_ANSWER)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Answer(text=str(error.os_error), failure=Failure.PROXY)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause: Any = error.certificate_error
        told = getattr(cause, "verify_message", "") or str(cause)
        return Answer(text=told, failure=Failure.CERTIFICATE, verify_code=getattr(cause, "verify_code", 0))
    if isinstance(error, (aiohttp.ClientConnectorSSLError, ssl.SSLError)):
        cause = getattr(error, "os_error", error)
        return Answer(text=getattr(cause, "reason", None) or type(cause).__name__, failure=Failure.TLS)
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return Answer(failure=Failure.TIMEOUT)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Answer(text=str(error.os_error), failure=Failure.CONNECT)
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientPayloadError):
        return Answer(text=type(error).__name__, failure=Failure.ADDRESS)
    return Answer(text=failure(error).message, failure=Failure.CUT)


async def _live(connection: Connection, within: float) -> tuple[str, int]:
    """Opens the websocket as `on_event` does; why that failed, and the status behind it."""
    listener = Listener(connection, session_id=None, on_event=lambda _: None, on_error=lambda _: None)
    listening = asyncio.get_running_loop().create_task(listener.run())
    try:
        is_ready = await asyncio.wait_for(asyncio.wrap_future(listener.ready), within)
    except asyncio.TimeoutError:
        return f"not open within {within:g} s", -1
    finally:
        listener.stop()
        await listening
    if is_ready:
        return "", -1
    error = listener.error
    return ("not opened", -1) if error is None else (error.message.removeprefix("no live events: "), error.status)
