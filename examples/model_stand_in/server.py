"""The stand-in over HTTP: `with ModelStandIn() as models: ...` in a program, `python -m model_stand_in` by itself.

It serves on a thread of its own with its own loop, so it answers whatever the code under test does to its loop.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from model_stand_in import anthropic_messages, chat_completions, embeddings, responses
from model_stand_in.brain import think
from model_stand_in.dialogue import Answer, Failure, Question, Reply, RequestError, answer_of, new_id

if TYPE_CHECKING:
    from typing_extensions import Self

Brain = Callable[[Question], "Reply | Failure"]

_MODELS: Final = ("stand-in", "gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5")
_MAX_BODY: Final = 64 * 2**20
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class ModelStandIn:
    """Answers as OpenAI's and Anthropic's services do, on this machine, for no money.

    Attributes:
        requests: All requests for an answer, in order.
        answers: What was answered, in order; failures apart.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, brain: Brain = think, pause: float = 0.0) -> None:
        """Serves when it is started.

        Args:
            host: Address to listen on.
            port: 0 picks a free one, see `url`.
            brain: What to answer where no script says so; called on the server's thread.
            pause: Seconds between two pieces of a stream.
        """
        self.host = host
        self.port = port
        self.brain = brain
        self.pause = pause
        self.requests: list[Asked] = []
        self.answers: list[Answer] = []
        self._script: deque[Reply | Failure] = deque()
        self._memory = responses.Memory()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts serving; returns when requests are accepted.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.SelectorEventLoop()
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(loop, ready), name="model-stand-in", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise
        self._loop = loop

    def stop(self) -> None:
        """Stops serving; what is being answered is cut off."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop = self._thread = None

    def __enter__(self) -> Self:
        """Serves until the block is left."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops."""
        self.stop()

    def wait(self) -> None:
        """Waits until it is stopped."""
        if self._thread is not None:
            self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens; what Anthropic's clients take as their base."""
        return f"http://{self.host}:{self.port}"

    @property
    def openai_url(self) -> str:
        """What OpenAI's clients take as their base."""
        return f"{self.url}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that send OpenAI's and Anthropic's clients here."""
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": "no-key-needed",
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "no-key-needed",
        }

    def script(self, *replies: Reply | Failure) -> None:
        """The next answers, one a request, before the brain is asked again."""
        self._script.extend(replies)

    @property
    def scripted(self) -> int:
        """How many scripted answers nobody has asked for yet."""
        return len(self._script)

    def _run(self, loop: asyncio.AbstractEventLoop, ready: Future[None]) -> None:
        asyncio.set_event_loop(loop)
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        try:
            loop.run_until_complete(self._listen(runner))
        except BaseException as problem:
            loop.run_until_complete(runner.cleanup())
            loop.close()
            ready.set_exception(problem)
            return
        ready.set_result(None)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(runner.cleanup())
            loop.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        await site.start()
        self.port = int(runner.addresses[0][1])

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_MAX_BODY)
        application.add_routes(
            [
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/responses", self._respond),
                web.post("/v1/conversations", self._open_conversation),
                web.post("/v1/embeddings", self._embed),
                web.post("/v1/messages", self._message),
            ]
        )
        return application

    # --- OpenAI -------------------------------------------------------------------------------------------------

    async def _models(self, request: web.Request) -> web.StreamResponse:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "stand-in"} for name in _MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._body(request)
            question = chat_completions.read(body)
            reply = self._reply(question)
        except _REFUSALS as refusal:
            return _openai_error(refusal)
        answer, now = self._answer(question, reply, "call_"), int(time.time())
        if not question.is_streamed:
            return web.json_response(chat_completions.write(body, answer, now=now))
        chunks = chat_completions.stream(body, answer, now=now)
        events = (f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        return await self._send(request, events, reply, end="data: [DONE]\n\n")

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._body(request)
            question = responses.read(body, self._memory)
            reply = self._reply(question)
        except _REFUSALS as refusal:
            return _openai_error(refusal)
        answer, now, response_id = self._answer(question, reply, "call_"), int(time.time()), new_id("resp_")
        self._memory.keep(body, question, answer, response_id)
        if not question.is_streamed:
            return web.json_response(responses.write(body, answer, now=now, response_id=response_id))
        events = responses.stream(body, answer, now=now, response_id=response_id)
        return await self._send(request, map(_event, events), reply)

    async def _open_conversation(self, request: web.Request) -> web.StreamResponse:
        conversation_id = self._memory.open_conversation()
        return web.json_response(
            {"id": conversation_id, "object": "conversation", "created_at": int(time.time()), "metadata": {}}
        )

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(embeddings.write(await self._body(request)))
        except _REFUSALS as refusal:
            return _openai_error(refusal)

    # --- Anthropic ----------------------------------------------------------------------------------------------

    async def _message(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._body(request)
            if "anthropic-version" not in request.headers:
                raise RequestError("anthropic-version: header is required")
            question = anthropic_messages.read(body)
            reply = self._reply(question)
        except _REFUSALS as refusal:
            return _anthropic_error(refusal)
        answer = self._answer(question, reply, "toolu_")
        if not question.is_streamed:
            return web.json_response(anthropic_messages.write(body, answer))
        return await self._send(request, map(_event, anthropic_messages.stream(body, answer)), reply)

    # --- all ----------------------------------------------------------------------------------------------------

    async def _body(self, request: web.Request) -> Mapping[str, Any]:
        keys = (request.headers.get("Authorization", "").removeprefix("Bearer"), request.headers.get("x-api-key", ""))
        if not any(key.strip() for key in keys):
            raise RequestError("You didn't provide an API key.", status=401)
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise RequestError("We could not parse the JSON body of your request.")
        self.requests.append(Asked(request.path, dict(request.headers), body))
        return body

    def _reply(self, question: Question) -> Reply:
        reply = self._script.popleft() if self._script else self.brain(question)
        if isinstance(reply, Failure):
            raise _FailedError(reply)
        return reply

    def _answer(self, question: Question, reply: Reply, call_prefix: str) -> Answer:
        answer = answer_of(question, reply, call_prefix=call_prefix)
        self.answers.append(answer)
        return answer

    async def _send(
        self, request: web.Request, events: Iterator[str], reply: Reply, *, end: str = ""
    ) -> web.StreamResponse:
        """A stream of server-sent events."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        texts = 0
        try:
            for event in events:
                await response.write(event.encode())
                await asyncio.sleep(self.pause)
                texts += '"delta": {"content"' in event or '_delta"' in event or 'text.delta"' in event
                if reply.breaks_after is not None and texts >= reply.breaks_after:
                    if request.transport is not None:
                        request.transport.abort()
                    return response
            await response.write(end.encode())
        except ConnectionError:  # the client left the stream
            return response
        return response


class _FailedError(Exception):
    """Carries a failure that somebody wants."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.message = failure.message
        self.status = failure.status
        self.is_final = failure.is_final


_REFUSALS: Final = (RequestError, _FailedError)


def _openai_error(refusal: RequestError | _FailedError) -> web.StreamResponse:
    kind = _ERROR_TYPES.get(refusal.status, "server_error" if refusal.status >= 500 else "invalid_request_error")
    error = {"message": refusal.message, "type": kind, "param": getattr(refusal, "param", None), "code": None}
    return _refused({"error": error}, refusal)


def _anthropic_error(refusal: RequestError | _FailedError) -> web.StreamResponse:
    kind = _ERROR_TYPES.get(refusal.status, "api_error" if refusal.status >= 500 else "invalid_request_error")
    return _refused({"type": "error", "error": {"type": kind, "message": refusal.message}}, refusal)


def _refused(body: Mapping[str, Any], refusal: RequestError | _FailedError) -> web.StreamResponse:
    # Both clients look for this header before they try again.
    is_final = getattr(refusal, "is_final", True)
    return web.json_response(body, status=refusal.status, headers={"x-should-retry": str(not is_final).lower()})


def _event(content: Mapping[str, Any]) -> str:
    return f"event: {content['type']}\ndata: {json.dumps(content)}\n\n"
