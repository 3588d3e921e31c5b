"""One request to the service's queue endpoint and the meaning of its answer; nothing is retried here."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final, Protocol

import aiohttp

from mlsdk.config import Connection
from mlsdk.delivery.outcome import Outcome, of_answer, of_failure
from mlsdk.http import open_session, payload, proxy_for, without_key

QUEUE_PATH: Final = "/bc/v1/events/queue"
CONNECT_TIMEOUT: Final = 5.0
WHOLE_TIMEOUT: Final = 30.0
MAX_ANSWER: Final = 2048
"""Bytes of an answer that are read, at most: its text only serves as a message."""
ANSWER_TIMEOUT: Final = 1.0
"""Seconds that the text of an answer may take once its status is known."""


class Transport(Protocol):
    """How a body reaches the service."""

    async def send(self, body: bytes, *, key: str) -> Outcome:
        """Posts a body once; `key` is the same for each try of the same body. Raises nothing but CancelledError."""

    async def close(self) -> None:
        """Gives back connections."""


class HTTPTransport:
    """The array endpoint over HTTP, with kept-alive connections."""

    def __init__(
        self,
        connection: Connection,
        *,
        connections: int,
        connect_timeout: float = CONNECT_TIMEOUT,
        whole_timeout: float = WHOLE_TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        """Opens nothing yet; to be called in the loop that will use it. All times are in seconds.

        Args:
            connection: Where the service is.
            connections: Connections at a time; there must never be more requests than this.
            connect_timeout: For making a connection, host name and TLS included.
            whole_timeout: Until the status of the answer is there.
            answer_timeout: From then on for its text.
        """
        self._connection = connection
        self._url = connection.server_endpoint + QUEUE_PATH
        self._proxy = proxy_for(connection, self._url)
        self._session = open_session(connection, connections=connections)
        self._timeout = aiohttp.ClientTimeout(total=whole_timeout, connect=connect_timeout)
        self._answer_timeout = answer_timeout

    async def send(self, body: bytes, *, key: str) -> Outcome:
        """Posts a body once."""
        data, sized = payload(body)
        try:
            async with self._session.post(
                self._url,
                data=data,
                headers={"Content-Type": "application/json", "Idempotency-Key": key, **sized},
                proxy=self._proxy,
                timeout=self._timeout,
                allow_redirects=False,  # the key goes to no other host
            ) as answer:
                text = await self._read(answer)
                return of_answer(
                    answer.status,
                    without_key(self._connection, text.decode("utf-8", "replace").strip()),
                    retry_after=answer.headers.get("Retry-After"),
                    now=time.time(),
                )
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as problem:
            return failure(problem)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """The start of the text. Whatever becomes of it, the status stands: what was delivered is not sent again."""
        text = bytearray()

        async def read() -> None:
            # To the end, if that is near: else the connection could not be used again.
            while len(text) < MAX_ANSWER and (part := await answer.content.read(MAX_ANSWER - len(text))):
                text.extend(part)

        with suppress(aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            await asyncio.wait_for(read(), self._answer_timeout)
        return bytes(text)

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


def failure(problem: Exception) -> Outcome:
    """The meaning of an exception of aiohttp: its kind and the operating system's words, never a header."""
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return of_failure(f"cannot connect: {problem.certificate_error}", is_unreachable=True)
    if isinstance(problem, aiohttp.ClientConnectorError):
        return of_failure(f"cannot connect: {problem.os_error}", is_unreachable=True)
    if isinstance(problem, aiohttp.ConnectionTimeoutError):
        return of_failure("cannot connect in time", is_unreachable=True)
    if isinstance(problem, (asyncio.TimeoutError, TimeoutError)):
        return of_failure("no answer in time", is_unreachable=True)
    return of_failure(f"the connection failed: {type(problem).__name__}")
