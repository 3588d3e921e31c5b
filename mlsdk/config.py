"""Settings: argument over environment variable over default, resolved once, frozen."""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from importlib import import_module
from math import isfinite
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from mlsdk.errors import ConfigurationError

DEFAULT_SERVER: Final = "https://app.mindlytics.ai"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the service is and how to get there; equal connections share one delivery.

    Attributes:
        api_key: The workspace's key; never shown by `repr`.
        project_id: The project that events go to (header `X-App-ID`).
        server_endpoint: Base address of the HTTP endpoints, without a slash at the end.
        wss_endpoint: Base address of the live-event websocket.
        proxy: Address of a proxy for everything, or None: then the proxy variables of the environment decide.
        ca_file: A PEM file of certificate authorities to trust instead of the system's.
    """

    api_key: str = field(repr=False)
    project_id: str
    server_endpoint: str
    wss_endpoint: str
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the SDK may hold and how long it may take.

    Attributes:
        queue_events: Events held in memory, at most.
        queue_bytes: Their encoded size in bytes, at most.
        flush_timeout: Seconds that `flush`, `end_session` and leaving a context wait, at most.
        exit_timeout: Seconds that a process may take at its end to deliver what is left.
        session_ended_timeout: Seconds that leaving a session with `on_event` waits for its `Session Ended`.
    """

    queue_events: int = 10_000
    queue_bytes: int = 32 * 1024 * 1024
    flush_timeout: float = 30.0
    exit_timeout: float = 10.0
    session_ended_timeout: float = 30.0


_DEFAULT_LIMITS: Final = Limits()

SPILL: Final = "spill"
WRITE_AHEAD: Final = "write-ahead"


@dataclass(frozen=True, slots=True)
class Spooling:
    """Where events are kept that must outlive the memory or the process.

    Attributes:
        directory: An absolute path.
        mode: `spill`: what cannot be delivered now. `write-ahead`: every event, before it is sent.
        max_bytes: Bytes of events that all processes together may keep there.
        window: Seconds that an event may be in memory alone while it is to be written.
    """

    directory: str
    mode: str = SPILL
    max_bytes: int = 256 * 1024 * 1024
    window: float = 0.1


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a `Client`."""

    connection: Connection
    limits: Limits
    enabled: bool = True
    debug: bool = False
    spool: Spooling | None = None


def resolve(
    *,
    api_key: str | None = None,
    project_id: str | None = None,
    server_endpoint: str | None = None,
    wss_endpoint: str | None = None,
    debug: bool = False,
    enabled: bool | None = None,
    proxy: str | None = None,
    ca_file: str | None = None,
    flush_timeout: float | None = None,
    exit_timeout: float | None = None,
    session_ended_timeout: float | None = None,
    queue_events: int | None = None,
    queue_bytes: int | None = None,
    spool_dir: str | os.PathLike[str] | None = None,
    spool_mode: str | None = None,
    spool_bytes: int | None = None,
    spool_window: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Makes the settings from arguments, then `MLSDK_*` variables, then defaults.

    Raises:
        ConfigurationError: A setting is missing or unusable; the text names the argument and the variable. When
            `enabled` is false nothing is required.
    """
    read = _Reader(os.environ if environ is None else environ)
    if enabled is None:
        is_enabled = not flag(read.environ, "MLSDK_DISABLED", default=False)
    else:
        is_enabled = switch("enabled", enabled, default=True)
    is_debugged = debug is not None and switch("debug", debug, default=False)
    connection = _connection(
        read,
        required=is_enabled,
        api_key=api_key,
        project_id=project_id,
        server_endpoint=server_endpoint,
        wss_endpoint=wss_endpoint,
        proxy=proxy,
        ca_file=ca_file,
    )
    limits = Limits(
        queue_events=_count("queue_events", queue_events, _DEFAULT_LIMITS.queue_events),
        queue_bytes=_count("queue_bytes", queue_bytes, _DEFAULT_LIMITS.queue_bytes),
        flush_timeout=_positive("flush_timeout", flush_timeout, _DEFAULT_LIMITS.flush_timeout),
        exit_timeout=read.seconds("exit_timeout", exit_timeout, "MLSDK_EXIT_TIMEOUT", _DEFAULT_LIMITS.exit_timeout),
        session_ended_timeout=_positive(
            "session_ended_timeout", session_ended_timeout, _DEFAULT_LIMITS.session_ended_timeout
        ),
    )
    spool = _spooling(read, directory=spool_dir, mode=spool_mode, max_bytes=spool_bytes, window=spool_window)
    return Config(connection=connection, limits=limits, enabled=is_enabled, debug=is_debugged, spool=spool)


def _spooling(
    read: _Reader,
    *,
    directory: str | os.PathLike[str] | None,
    mode: str | None,
    max_bytes: int | None,
    window: float | None,
) -> Spooling | None:
    default = Spooling("")
    given = os.fspath(directory) if isinstance(directory, os.PathLike) else directory
    where = read.text("spool_dir", given, "MLSDK_SPOOL_DIR")
    chosen = read.text("spool_mode", mode, "MLSDK_SPOOL_MODE") or default.mode
    if chosen not in (SPILL, WRITE_AHEAD):
        raise ConfigurationError(f"spool_mode (MLSDK_SPOOL_MODE): must be {SPILL} or {WRITE_AHEAD}, not {chosen!r}")
    size = read.number("spool_bytes", max_bytes, "MLSDK_SPOOL_BYTES", default.max_bytes, unit="bytes")
    seconds = read.seconds("spool_window", window, "MLSDK_SPOOL_WINDOW", default.window)
    if where is None:
        return None
    # Absolute: the application may change its working directory later, and its children start in another.
    return Spooling(os.path.abspath(os.path.expanduser(where)), mode=chosen, max_bytes=int(size), window=seconds)


def _connection(
    read: _Reader,
    *,
    required: bool,
    api_key: str | None,
    project_id: str | None,
    server_endpoint: str | None,
    wss_endpoint: str | None,
    proxy: str | None,
    ca_file: str | None,
) -> Connection:
    base = read.text("server_endpoint", server_endpoint, "MLSDK_SERVER_BASE") or DEFAULT_SERVER
    server = check_base("server_endpoint (MLSDK_SERVER_BASE)", base, ("http", "https"))
    websocket = read.text("wss_endpoint", wss_endpoint, "MLSDK_WSS_BASE") or websocket_base(server)
    return Connection(
        api_key=read.credential("api_key", api_key, "MLSDK_API_KEY", required=required),
        project_id=read.credential("project_id", project_id, "MLSDK_PROJECT_ID", required=required),
        server_endpoint=server,
        wss_endpoint=check_base("wss_endpoint (MLSDK_WSS_BASE)", websocket, ("ws", "wss")),
        proxy=_check_proxy(read.text("proxy", proxy, "MLSDK_PROXY")),
        ca_file=_check_file("ca_file (MLSDK_CA_FILE)", read.text("ca_file", ca_file, "MLSDK_CA_FILE")),
    )


class _Reader:
    """Reads one setting from its argument or its variable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def text(self, argument: str, given: str | None, variable: str) -> str | None:
        if not isinstance(given, str | None):
            raise ConfigurationError(f"{argument}: must be text, not {type(given).__name__}")
        # White space around a value is a slip of a file or a shell, never meant.
        value = self.environ.get(variable, "") if given is None else given
        return value.strip() or None

    def credential(self, argument: str, given: str | None, variable: str, *, required: bool) -> str:
        value = self.text(argument, given, variable)
        if value is None:
            if required:
                raise ConfigurationError(f"{argument}: missing; pass it, or set the environment variable {variable}")
            return ""
        if not value.isascii() or not value.isprintable():
            # The value itself stays out of the message: it may be a key.
            raise ConfigurationError(f"{argument} ({variable}): has characters that no HTTP header can carry")
        return value

    def seconds(self, argument: str, given: float | None, variable: str, default: float) -> float:
        return self.number(argument, given, variable, default, unit="seconds")

    def number(self, argument: str, given: float | None, variable: str, default: float, *, unit: str) -> float:
        text = self.environ.get(variable, "").strip()
        if given is not None or not text:
            return _positive(argument, given, default)
        try:
            return _positive(variable, float(text), default)
        except ValueError:
            raise ConfigurationError(f"{variable}: must be a number of {unit}, not {text!r}") from None


def flag(environ: Mapping[str, str], variable: str, *, default: bool) -> bool:
    """A variable that is true or false; `default` when it is not set or empty.

    Raises:
        ConfigurationError: It is something else.
    """
    value = environ.get(variable, "").strip().lower()
    if not value:
        return default
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise ConfigurationError(f"{variable}: must be true or false, not {value!r}")


def switch(argument: str, given: object, *, default: bool) -> bool:
    """An argument that is true or false, or such a text or number; empty text is `default`.

    Raises:
        ConfigurationError: It is something else.
    """
    if isinstance(given, int) and given in (0, 1):
        return bool(given)
    if isinstance(given, str):  # as a configuration file may have it; "false" is true to Python, and would send
        return flag({argument: given}, argument, default=default)
    raise ConfigurationError(f"{argument}: must be true or false, not {given!r}")


Hook = TypeVar("Hook", bound=Callable[..., object])


def hook(given: Hook | None, environ: Mapping[str, str]) -> Hook | None:
    """The `before_send` given, else the function that `MLSDK_BEFORE_SEND` names as `package.module:function`.

    Raises:
        ConfigurationError: It is no plain function, or cannot be loaded: texts that it should mask must not be sent
            without it.
    """
    name, found = "before_send", given
    if found is None:
        path = environ.get("MLSDK_BEFORE_SEND", "").strip()
        if not path:
            return None
        name, found = f"MLSDK_BEFORE_SEND={path}", _load(path)
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise ConfigurationError(f"{name}: must be a plain function; it runs where the event is made")
    return found


def _load(path: str) -> Any:
    module, _, function = path.partition(":")
    try:
        return reduce(getattr, function.split("."), import_module(module))
    except Exception as problem:  # whatever the module raises
        raise ConfigurationError(f"MLSDK_BEFORE_SEND: cannot load {path!r} ({type(problem).__name__})") from problem


def _positive(argument: str, given: float | None, default: float) -> float:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not isfinite(given) or given < 0:
        raise ConfigurationError(f"{argument}: must be a finite number, 0 or more, not {given!r}")
    return given


def _count(argument: str, given: float | None, default: int) -> int:
    count = int(_positive(argument, given, default))
    if not count:  # a queue without room would drop every event
        raise ConfigurationError(f"{argument}: must be 1 or more, not {given!r}")
    return count


def check_base(argument: str, base: str, schemes: tuple[str, ...]) -> str:
    """A base address: one of the schemes and a host; a slash at the end is dropped.

    Paths are appended to it, and requests carry the key: it has no white space, no query, and no user or password.

    Raises:
        ConfigurationError: It is none.
    """
    address = _check_address(argument, base, schemes)
    if "?" in base or "#" in base or "@" in urlsplit(base).netloc:
        raise ConfigurationError(
            f"{argument}: must be an address without a query, a fragment, a user and a password, not {_shown(base)!r}"
        )
    return address


def _check_address(argument: str, address: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(address)
        is_usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or re.search(r"\s", address):
        raise ConfigurationError(
            f"{argument}: must be an address such as {schemes[-1]}://host, not {_shown(address)!r}"
        )
    return address.rstrip("/")


def _shown(address: str) -> str:
    return re.sub(r"[^/\s]*@", "***@", address)  # an address may hold a password


def _check_proxy(proxy: str | None) -> str | None:
    return None if proxy is None else _check_address("proxy (MLSDK_PROXY)", proxy, ("http", "https"))


def _check_file(argument: str, path: str | None) -> str | None:
    if path is not None and not os.path.isfile(path):
        raise ConfigurationError(f"{argument}: no such file: {path}")
    return path


def log_to_stderr() -> None:
    """What `debug=True` does: everything that `mlsdk` logs is shown, on stderr unless a handler takes it already."""
    logger = logging.getLogger("mlsdk")
    logger.setLevel(logging.DEBUG)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def websocket_base(server: str) -> str:
    """Where the live events of a server are: `http` -> `ws`, host `app.` -> `wss.`, port `300x` -> `400x`."""
    websocket = re.sub(r"^http", "ws", server, flags=re.IGNORECASE)
    websocket = re.sub(r"//app\.", "//wss.", websocket)
    return re.sub(r":300(\d)(?=/|$)", r":400\1", websocket)
