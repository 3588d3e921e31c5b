"""The only builder of HTTP client sessions: every connection to the service is made here, in one way.

It works at interpreter exit (host names resolve without the loop's executor, which is gone by then), follows no
redirect by itself, asks for no compression (a compressed answer could be a bomb), keeps no cookies, and reads neither
netrc nor proxy variables through aiohttp, which would need the executor too.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # documented nowhere, there since Python 3.4
    getproxies_environment,
    proxy_bypass_environment,
)

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mlsdk.config import Connection
from mlsdk.errors import ConfigurationError

KEEP_ALIVE = 60.0
"""Seconds that an idle connection is kept for the next batch."""


class ExitSafeResolver(AbstractResolver):
    """Resolves host names in the loop's executor, or in place once the interpreter is exiting and has none."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of `host`, as aiohttp wants them."""
        # aiohttp asks for IPv4 unless told otherwise; a service may well have IPv6 alone.
        wanted: dict[str, Any] = {"type": socket.SOCK_STREAM, "family": socket.AF_UNSPEC}
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, **wanted)
        except RuntimeError:
            found = socket.getaddrinfo(host, port, **wanted)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=family,
                proto=protocol,
                flags=int(socket.AI_NUMERICHOST),
            )
            for family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


def open_session(
    connection: Connection, *, connections: int = 8, with_credentials: bool = True
) -> aiohttp.ClientSession:
    """A client session for the service; to be called in the loop that will use it.

    Args:
        connection: Where the service is.
        connections: Connections at a time, at most.
        with_credentials: Whether every request carries the key and the project. Without, as live events need it,
            whoever makes a request says what it carries, and a redirect of any request, a websocket's included, fails.

    Raises:
        ConfigurationError: The file of certificate authorities cannot be read.
    """
    session = aiohttp.ClientSession.__new__(aiohttp.ClientSession)
    # Without what others have wrapped around it: tracing tools have themselves told of every request in this way, and
    # the service's traffic is no business of the application's traces.
    inspect.unwrap(aiohttp.ClientSession.__init__)(
        session,
        headers={
            **(credentials(connection) if with_credentials else {}),
            "User-Agent": f"mlsdk-otel python/{sys.version_info.major}.{sys.version_info.minor}",
            "Accept-Encoding": "identity",
        },
        connector=aiohttp.TCPConnector(
            resolver=ExitSafeResolver(), limit=connections, keepalive_timeout=KEEP_ALIVE, ssl=_trust(connection)
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trace_configs=[] if with_credentials else [_redirects_refused()],
    )
    return session


def credentials(connection: Connection) -> dict[str, str]:
    """The headers by which the service knows a client."""
    return {"Authorization": f"Bearer {connection.api_key}", "X-App-ID": connection.project_id}


def without_key(connection: Connection, text: str) -> str:
    """A text of the service's, which may have quoted the key that it did not like."""
    return text.replace(connection.api_key, "***") if connection.api_key else text


class RedirectError(aiohttp.ClientError):
    """The service sent a request elsewhere.

    Attributes:
        status: The HTTP status of its answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"a redirect (HTTP status {status}) is not followed")
        self.status = status


def _redirects_refused() -> aiohttp.TraceConfig:
    # ws_connect() has no `allow_redirects`; it would carry its authorization key on to wherever it is sent.
    async def refuse(_session: object, _context: object, seen: aiohttp.TraceRequestRedirectParams) -> None:
        seen.response.close()
        raise RedirectError(seen.response.status)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(refuse)
    return tracing


def check_trust(connection: Connection) -> None:
    """Sees to it that a mistake in `ca_file` is found by who makes a client, not later in the background.

    Raises:
        ConfigurationError: The file of certificate authorities cannot be read.
    """
    if connection.ca_file is not None:
        _trust(connection)


def _trust(connection: Connection) -> ssl.SSLContext | bool:
    if connection.server_endpoint.startswith("http:") and connection.wss_endpoint.startswith("ws:"):
        return True  # nothing to verify: spare the 30 ms that loading the system's authorities takes
    try:
        return _authorities(connection.ca_file)
    except (OSError, ssl.SSLError) as problem:
        raise ConfigurationError(f"ca_file: holds no certificates that can be read ({problem})") from None


@lru_cache(maxsize=8)
def _authorities(ca_file: str | None) -> ssl.SSLContext:
    # A hundred sessions that listen must not load them a hundred times on the sender's thread.
    return ssl.create_default_context(cafile=ca_file)


_LARGE: Final = 1024 * 1024
_PIECE: Final = 256 * 1024


def payload(body: bytes) -> tuple[bytes | AsyncIterator[bytes], dict[str, str]]:
    """A body as aiohttp takes it, and the headers that it needs.

    A large one goes in pieces: as plain bytes aiohttp warns of it, and as a file it is read through the loop's
    executor, which is gone when the interpreter exits.
    """
    if len(body) < _LARGE:
        return body, {}
    return _pieces(body), {"Content-Length": str(len(body))}


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def proxy_for(connection: Connection, url: str) -> str | None:
    """The proxy for an address: the one configured, else the environment's unless NO_PROXY names the host."""
    if connection.proxy is not None:
        return connection.proxy
    parts = urlsplit(url)
    proxies = getproxies_environment()
    proxy = proxies.get({"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme))
    if proxy is None or proxy_bypass_environment(parts.netloc, proxies):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
