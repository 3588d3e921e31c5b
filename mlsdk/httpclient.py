"""Raw requests to the service's endpoints, for what the SDK has no method for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson

from mlsdk import config
from mlsdk.clock import jitter
from mlsdk.config import Connection
from mlsdk.delivery.outcome import Outcome, Verdict, of_answer
from mlsdk.delivery.retry import wait_seconds
from mlsdk.delivery.transport import CONNECT_TIMEOUT, failure
from mlsdk.errors import NO_STATUS, InvalidEventError
from mlsdk.events import without_surrogates
from mlsdk.http import open_session, payload, proxy_for, without_key

ANSWER_WITHIN: Final = 10.0
"""Seconds after which a request has an answer, be it that there is none."""
_MAX_BODY: Final = 8 * 1024 * 1024
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


class HTTPClient:
    """Sends single requests with the credentials of a project; transient failures are tried again for 10 seconds."""

    def __init__(
        self,
        *,
        server_endpoint: str | None = None,
        api_key: str | None = None,
        project_id: str | None = None,
        debug: bool = False,
    ) -> None:
        """Resolves the settings as `Client` does.

        Raises:
            ConfigurationError: The key or the project is missing, or the address cannot be used.
        """
        self._config = config.resolve(
            server_endpoint=server_endpoint, api_key=api_key, project_id=project_id, debug=debug
        )
        if debug:
            config.log_to_stderr()

    async def send_request(
        self, *, url: str, method: str = "POST", data: Mapping[str, Any] | list[Any] | None = None
    ) -> dict[str, Any]:
        """Sends one request and returns what came of it.

        Args:
            url: The path, such as `/bc/v1/events/queue`.
            method: GET (then `data` is the query), POST, PUT, PATCH or DELETE.
            data: The body, sent as JSON.

        Returns:
            Always `errored`, `status` (the HTTP status, -1 without an answer) and `message`; on success also the fields
            of the answer's body, or the body under `data` when it is no object. With `MLSDK_DISABLED` nothing is sent,
            and that is no error.

        Raises:
            InvalidEventError: `method` or `url` cannot be used, or `data` is not JSON.
        """
        request = _Request(url=url, method=method, data=data)
        if not self._config.enabled:
            return {"errored": False, "status": NO_STATUS, "message": "nothing was sent: the SDK is disabled"}
        return await _ask(self._config.connection, request)


async def ask(connection: Connection, *, url: str, method: str, data: object) -> dict[str, Any]:
    """One request as `HTTPClient.send_request` has it, on the running loop."""
    return await _ask(connection, _Request(url=url, method=method, data=data))


class _Request:
    """A request whose arguments were found to be in order."""

    def __init__(self, *, url: str, method: str, data: object) -> None:
        self.verb = method.upper() if isinstance(method, str) else ""
        if self.verb not in _METHODS:
            raise InvalidEventError("method", f"must be one of {', '.join(_METHODS)}, not {method!r}")
        if not isinstance(url, str) or not url.startswith("/"):
            raise InvalidEventError("url", "must be a path that starts with '/'")
        self.url = url
        self.query: dict[str, str] | None = None
        self.body: bytes | None = None
        if data is None:
            return
        if self.verb != "GET":
            self.body = _json(data)
        elif isinstance(data, Mapping):
            self.query = {key: str(value) for key, value in data.items() if value is not None}
        else:
            raise InvalidEventError("data", "must be a mapping: the query of a GET")


def _json(data: object) -> bytes:
    try:
        try:
            return orjson.dumps(data)
        except orjson.JSONEncodeError:
            return orjson.dumps(without_surrogates(data))
    except (orjson.JSONEncodeError, RecursionError) as problem:
        raise InvalidEventError("data", f"is not JSON: {problem}") from None


async def _ask(connection: Connection, request: _Request) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_WITHIN
    async with open_session(connection, connections=1) as session:
        failures = 0
        while True:
            left = max(deadline - time.monotonic(), 0.1)
            outcome, body = await _try(session, connection, request, left)
            if outcome.verdict not in (Verdict.TRY_LATER, Verdict.SERVER_ERROR):
                break
            failures += 1
            wait = wait_seconds(failures, jitter=jitter(), after=outcome.after)
            if time.monotonic() + wait >= deadline:
                break
            await asyncio.sleep(wait)
    return _response(outcome, body)


def _within(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, connect=min(CONNECT_TIMEOUT, seconds))


async def _try(
    session: aiohttp.ClientSession, connection: Connection, request: _Request, seconds: float
) -> tuple[Outcome, bytes]:
    data, headers = (None, {}) if request.body is None else payload(request.body)
    if data is not None:
        headers["Content-Type"] = "application/json"
    address = connection.server_endpoint + request.url
    try:
        async with session.request(
            request.verb,
            address,
            params=request.query,
            data=data,
            headers=headers,
            proxy=proxy_for(connection, address),
            timeout=_within(seconds),
            allow_redirects=False,
        ) as answer:
            body = await _read(answer)
            text = body[:2048].decode("utf-8", "replace").strip() if answer.status >= 300 else "OK"
            text = without_key(connection, text)
            header = answer.headers.get("Retry-After")
            return of_answer(answer.status, text, retry_after=header, now=time.time()), body
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as problem:
        return failure(problem), b""


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, cut at a bound that no honest answer reaches."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _MAX_BODY:
            break
    return b"".join(parts)


def _response(outcome: Outcome, body: bytes) -> dict[str, Any]:
    response: dict[str, Any] = {}
    errored = outcome.verdict is not Verdict.DELIVERED
    if not errored and body:
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            parsed = body.decode("utf-8", "replace")
        response = parsed if isinstance(parsed, dict) else {"data": parsed}
    # Ours come last: these three can be relied on, whatever the body holds.
    return {**response, "errored": errored, "status": outcome.status, "message": outcome.message}
