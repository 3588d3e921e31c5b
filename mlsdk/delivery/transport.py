"""One request to the service's queue endpoint and the meaning of its answer; nothing is retried here."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

import aiohttp

from mlsdk.config import Connection
from mlsdk.delivery.outcome import Outcome, of_answer, of_failure
from mlsdk.http import open_session, proxy_for

QUEUE_PATH: Final = "/bc/v1/events/queue"
NO_EVENTS: Final = b"[]"
"""The body of a probe."""
CONNECT_TIMEOUT: Final = 5.0
WHOLE_TIMEOUT: Final = 30.0
_MAX_ANSWER: Final = 2048
"""Bytes of an answer that are read: its text only serves as a message."""


class Transport(Protocol):
    """How a body reaches the service."""

    async def send(self, body: bytes, *, key: str) -> Outcome:
        """Posts a body once; `key` is the same for each try of the same body. Raises nothing but CancelledError."""

    async def close(self) -> None:
        """Gives back connections."""


class HTTPTransport:
    """The array endpoint over HTTP, with kept-alive connections."""

    def __init__(self, connection: Connection, *, connections: int) -> None:
        self._url = connection.server_endpoint + QUEUE_PATH
        self._proxy = proxy_for(connection, self._url)
        self._session = open_session(connection, connections=connections)
        # The connection is made within CONNECT_TIMEOUT, TLS and host name included; waiting for a free one of the
        # pool does not count, since there are never more requests than connections.
        self._timeout = aiohttp.ClientTimeout(total=WHOLE_TIMEOUT, connect=CONNECT_TIMEOUT)

    async def send(self, body: bytes, *, key: str) -> Outcome:
        """Posts a body once."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=headers,
                proxy=self._proxy,
                timeout=self._timeout,
                allow_redirects=False,  # the key goes to no other host
            ) as answer:
                text = await answer.content.read(_MAX_ANSWER)
                return of_answer(
                    answer.status,
                    text.decode("utf-8", "replace").strip(),
                    retry_after=answer.headers.get("Retry-After"),
                    now=time.time(),
                )
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as problem:
            return failure(problem)

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


def failure(problem: Exception) -> Outcome:
    """The meaning of an exception of aiohttp: its kind and the operating system's words, never a header."""
    if isinstance(problem, aiohttp.ClientConnectorError):
        return of_failure(f"cannot connect: {problem.os_error}", is_unreachable=True)
    if isinstance(problem, (asyncio.TimeoutError, TimeoutError)):
        return of_failure("no answer in time")
    return of_failure(f"the connection failed: {type(problem).__name__}")
