"""Who is measured: each records so many sessions of so many turns, in a process of its own, and prints what it took.

    python benchmarks/contestants.py direct --base http://127.0.0.1:8000 --sessions 100 --turns 20

Three floors, over one kept-alive connection, in arrays of 100:

- `floor`: bytes that were built before the clock began.
- `floor-build`: a dict and `orjson.dumps` for each event.
- `floor-lean`: the same, and a copy of what orjson returns. That holds room for eight times the text, and to touch so
  much new memory takes longer than all the rest: this is the least that a call can do, by a trick that we use too.

What else is imported, is imported by who needs it: `upstream` runs where nothing of this project is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import resource
import socket
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

import orjson

USER = ("How do I reset my password? " * 8)[:200]
ASSISTANT = ("Open the settings, choose security, and follow the link in the mail. " * 9)[:600]
MODEL, PROMPT_TOKENS, COMPLETION_TOKENS = "gpt-4o", 150, 25
QUEUE = "/bc/v1/events/queue"
ARRAY = 100


@dataclass
class Run:
    """What a run took: seconds of the clock and of CPU (all threads), KiB of memory, nanoseconds of each call."""

    events: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    grown: int = 0
    calls: list[int] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """For the table: of the calls, two percentiles in microseconds."""
        told = asdict(self)
        calls = told.pop("calls")
        if calls:
            told["p50"], told["p99"] = statistics.median(calls) / 1e3, statistics.quantiles(calls, n=100)[98] / 1e3
        return told


@dataclass(frozen=True)
class Task:
    """How much to record, and where to."""

    base: str
    sessions: int
    turns: int

    @property
    def all_turns(self) -> int:
        return self.sessions * self.turns


@contextlib.contextmanager
def timed(run: Run) -> Iterator[None]:
    """Measures a block. What was loaded before is not the garbage collector's business in it."""
    gc.collect()
    gc.freeze()
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    yield
    run.seconds, run.cpu = time.perf_counter() - began, time.process_time() - cpu
    run.grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size


# -- the floors -------------------------------------------------------------------------------------------------------


def event_of(session_id: str) -> dict[str, Any]:
    """What any client does at least."""
    return {
        "type": "track",
        "session_id": session_id,
        "user_id": "user-1",
        "device_id": "device-1",
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "event": "Conversation Turn",
        "conversation_id": "conversation-1",
        "properties": {
            "user": USER,
            "assistant": ASSISTANT,
            "model": MODEL,
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
        },
    }


def build(session_id: str) -> bytes:
    """An event's bytes, as they come."""
    return orjson.dumps(event_of(session_id))


def build_lean(session_id: str) -> bytes:
    """The same bytes, and no more room than they need."""
    return orjson.dumps(event_of(session_id), option=orjson.OPT_APPEND_NEWLINE)[:-1]


class Pipe:
    """Arrays over one connection, one after another."""

    def __init__(self, base: str) -> None:
        host, port = base.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting: list[bytes] = []

    def add(self, event: bytes) -> None:
        """Sends it with the next hundred."""
        self._waiting.append(event)
        if len(self._waiting) == ARRAY:
            self.flush()

    def flush(self) -> None:
        """Sends what waits."""
        if not self._waiting:
            return
        body = b"[" + b",".join(self._waiting) + b"]"
        self._waiting.clear()
        head = f"POST {QUEUE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._socket.sendall(head.encode() + b"\r\n\r\n" + body)
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += self._socket.recv(4096)


def floor(task: Task) -> Run:
    """Bytes that are there."""
    pipe, run = Pipe(task.base), Run(task.all_turns)
    prebuilt = [build_lean("session-1") for _ in range(task.all_turns)]
    with timed(run):
        for event in prebuilt:
            pipe.add(event)
        pipe.flush()
    return run


def floor_build(task: Task, encode: Callable[[str], bytes] = build) -> Run:
    """A dict and its bytes a call."""
    pipe, run = Pipe(task.base), Run(task.all_turns)
    encode("session-1")
    with timed(run):
        for number in range(task.all_turns):
            pipe.add(encode(f"session-{number % task.sessions}"))
        pipe.flush()
    return run


def floor_lean(task: Task) -> Run:
    """The same, in as little memory as it needs."""
    return floor_build(task, build_lean)


# -- this project -----------------------------------------------------------------------------------------------------


def _arguments(task: Task) -> dict[str, Any]:
    # Room for everything: a queue that drops would be fast.
    return {
        "api_key": "key",
        "project_id": "project",
        "server_endpoint": task.base,
        "queue_events": 10 * task.all_turns + 10 * task.sessions,
        "queue_bytes": 20_000 * task.all_turns + 10_000_000,
    }


def _check(stats: Any) -> int:
    """How many events arrived, which must be all."""
    if stats["delivered"] != stats["accepted"]:
        raise SystemExit(f"not everything was delivered: {stats}")
    return int(stats["delivered"])


async def direct(task: Task) -> Run:
    """`mlsdk`, asynchronous: the sessions take turns."""
    from mlsdk import Client, TokenBasedCost

    usage = TokenBasedCost(model=MODEL, prompt_tokens=PROMPT_TOKENS, completion_tokens=COMPLETION_TOKENS)
    client, run = Client(**_arguments(task)), Run()
    sessions = [client.create_session(id="user-1", device_id="device-1") for _ in range(task.sessions)]
    with timed(run):
        for session in sessions:
            await session.start_session()
            await session.start_conversation()
        for _ in range(task.turns):
            for session in sessions:
                await session.track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)
        for session in sessions:
            await session.end_conversation()
        await client.flush()
    run.events = _check(client.stats())
    return run


def sync(task: Task) -> Run:
    """`mlsdk.sync`: the same without `await`."""
    from mlsdk import TokenBasedCost
    from mlsdk.sync import Client

    usage = TokenBasedCost(model=MODEL, prompt_tokens=PROMPT_TOKENS, completion_tokens=COMPLETION_TOKENS)
    client, run = Client(**_arguments(task)), Run()
    sessions = [client.create_session(id="user-1", device_id="device-1") for _ in range(task.sessions)]
    with timed(run):
        for session in sessions:
            session.start_session()
            session.start_conversation()
        for _ in range(task.turns):
            for session in sessions:
                session.track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)
        for session in sessions:
            session.end_conversation()
        client.flush()
    run.events = _check(client.stats())
    return run


async def calls(task: Task) -> Run:
    """How long each call takes, in blocks after each of which everything is delivered."""
    from mlsdk import Client, TokenBasedCost

    usage = TokenBasedCost(model=MODEL, prompt_tokens=PROMPT_TOKENS, completion_tokens=COMPLETION_TOKENS)
    client, run = Client(**_arguments(task)), Run()
    session = client.create_session(id="user-1", device_id="device-1")
    await session.start_session()
    await session.start_conversation()
    for _ in range(task.all_turns // 200):
        for _ in range(200):
            began = time.perf_counter_ns()
            await session.track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)
            run.calls.append(time.perf_counter_ns() - began)
        await client.flush()
    run.events = _check(client.stats())
    return run


def floor_calls(task: Task) -> Run:
    """The same for `floor-build`."""
    run = Run(task.all_turns)
    for _ in range(task.all_turns):
        began = time.perf_counter_ns()
        build_lean("session-1")
        run.calls.append(time.perf_counter_ns() - began)
    return run


# -- OpenTelemetry ----------------------------------------------------------------------------------------------------


def turn_attributes() -> dict[str, str | int]:
    """A turn as the event of a span; made anew each time, as an application would."""
    return {
        "mindlytics.turn.user": USER,
        "mindlytics.turn.assistant": ASSISTANT,
        "gen_ai.response.model": MODEL,
        "gen_ai.usage.input_tokens": PROMPT_TOKENS,
        "gen_ai.usage.output_tokens": COMPLETION_TOKENS,
        "user.id": "user-1",
    }


def _record_spans(task: Task, processor: Any) -> Run:
    """Sessions and conversations as spans, turns as their events."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider

    # A conversation of a thousand turns is one span here.
    provider = TracerProvider(span_limits=SpanLimits(max_events=task.turns + 10), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer, run = provider.get_tracer("benchmark"), Run(task.all_turns)
    with timed(run):
        for number in range(task.sessions):
            whose = {"session.id": f"session-{number}", "user.id": "user-1", "mindlytics.device.id": "device-1"}
            root = tracer.start_span("mindlytics.session", attributes=whose)
            named = {**whose, "gen_ai.conversation.id": f"conversation-{number}"}
            inside = trace.set_span_in_context(root)
            span = tracer.start_span("mindlytics.conversation", context=inside, attributes=named)
            for _ in range(task.turns):
                span.add_event("mindlytics.turn", turn_attributes())
            span.end()
            root.end()
        provider.force_flush(60_000)
    provider.shutdown()
    return run


def exporter(task: Task) -> Run:
    """Our exporter behind a BatchSpanProcessor."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from mlsdk import Client
    from mlsdk_otel import MindlyticsSpanExporter

    client = Client(**_arguments(task))  # the first to ask for a delivery says how much may wait in it
    made = MindlyticsSpanExporter(api_key="key", project_id="project", server_endpoint=task.base, export_timeout=60.0)
    run = _record_spans(task, BatchSpanProcessor(made))
    run.events = _check(client.stats())
    return run


def processor(task: Task) -> Run:
    """Our processor."""
    from mlsdk import Client
    from mlsdk_otel import MindlyticsSpanProcessor

    client = Client(**_arguments(task))  # as above
    made = MindlyticsSpanProcessor(api_key="key", project_id="project", server_endpoint=task.base)
    run = _record_spans(task, made)
    run.events = _check(client.stats())
    return run


def otlp(task: Task) -> Run:
    """OpenTelemetry's own exporter: protobuf over HTTP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return _record_spans(task, BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{task.base}/v1/traces")))


def spans(task: Task) -> Run:
    """The same spans, and nobody who reads them."""
    from opentelemetry.sdk.trace import SpanProcessor

    return _record_spans(task, SpanProcessor())


def add_event(task: Task) -> Run:
    """The cost of translation beside that of recording: `calls` in pairs, add_event first, then the translator's."""
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider

    from mlsdk_otel.translation.spanview import of_span
    from mlsdk_otel.translation.translator import Translator

    tracer = TracerProvider(span_limits=SpanLimits(max_events=200)).get_tracer("benchmark")
    run = Run(task.all_turns)
    for number in range(task.all_turns // 100):
        whose = {"session.id": f"session-{number}", "user.id": "user-1", "gen_ai.conversation.id": "c"}
        span: Any = tracer.start_span("mindlytics.conversation", attributes=whose)
        began = time.perf_counter_ns()
        for _ in range(100):
            span.add_event("mindlytics.turn", turn_attributes())
        recorded = time.perf_counter_ns()
        span.end()
        translator = Translator(project_id="project")
        ended = time.perf_counter_ns()
        found = translator.feed(of_span(span), 0.0) + translator.close(0.0)
        run.calls += [(recorded - began) // 100, (time.perf_counter_ns() - ended) // 100]
        if len(found) < 100:
            raise SystemExit("not every event was translated")
    return run


# -- others -----------------------------------------------------------------------------------------------------------


async def upstream(task: Task) -> Run:
    """`mlsdk-python` 1.0.5, in an environment of its own."""
    from mlsdk import Client
    from mlsdk.types import TokenBasedCost

    usage = TokenBasedCost(model=MODEL, prompt_tokens=PROMPT_TOKENS, completion_tokens=COMPLETION_TOKENS)
    client = Client(api_key="key", project_id="project", server_endpoint=task.base)
    run = Run(task.all_turns)
    sessions = [
        client.create_session(session_id=f"s{number}", conversation_id=f"c{number}", device_id="device-1")
        for number in range(task.sessions)
    ]
    with timed(run):
        for _ in range(task.turns):
            for session in sessions:
                began = time.perf_counter_ns()
                await session.track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)
                run.calls.append(time.perf_counter_ns() - began)
        await asyncio.gather(*(session.flush() for session in sessions))
    return run


# -- a program that does something else -------------------------------------------------------------------------------


async def _paced(record: Callable[[], Coroutine[Any, Any, object]], task: Task) -> Run:
    """Records 200 turns a second; `calls` are the delays of a task that wants to run every 2 ms."""
    run = Run(task.all_turns)
    is_over = False

    async def look() -> None:
        while not is_over:
            due = time.perf_counter_ns() + 2_000_000
            await asyncio.sleep(0.002)
            run.calls.append(max(0, time.perf_counter_ns() - due))

    with timed(run):
        looking = asyncio.create_task(look())
        began = time.perf_counter()
        for number in range(task.all_turns):
            await asyncio.sleep(max(0.0, began + number / 200 - time.perf_counter()))
            await record()
        is_over = True
        await looking
    return run


async def paced_idle(task: Task) -> Run:
    """No SDK at all."""

    async def record() -> None:
        pass

    return await _paced(record, task)


async def paced_floor(task: Task) -> Run:
    """The floor: an array of 100 now and then, on the loop."""
    pipe = Pipe(task.base)

    async def record() -> None:
        pipe.add(build_lean("session-1"))

    return await _paced(record, task)


async def paced_direct(task: Task) -> Run:
    """`mlsdk`."""
    from mlsdk import Client, TokenBasedCost

    usage = TokenBasedCost(model=MODEL, prompt_tokens=PROMPT_TOKENS, completion_tokens=COMPLETION_TOKENS)
    client = Client(**_arguments(task))
    session = client.create_session(id="user-1", device_id="device-1")
    await session.start_session()
    await session.start_conversation()
    await client.flush()

    async def record() -> None:
        await session.track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)

    run = await _paced(record, task)
    await client.flush()
    _check(client.stats())
    return run


CONTESTANTS: dict[str, Callable[[Task], Run | Coroutine[Any, Any, Run]]] = {
    "floor": floor,
    "floor-build": floor_build,
    "floor-lean": floor_lean,
    "direct": direct,
    "sync": sync,
    "exporter": exporter,
    "processor": processor,
    "otlp": otlp,
    "spans": spans,
    "upstream": upstream,
    "calls": calls,
    "floor-calls": floor_calls,
    "add-event": add_event,
    "paced-idle": paced_idle,
    "paced-floor": paced_floor,
    "paced-direct": paced_direct,
}


def main() -> None:
    """Runs one of them."""
    parser = argparse.ArgumentParser(description="Records sessions, and prints what that took.")
    parser.add_argument("name", choices=CONTESTANTS)
    parser.add_argument("--base", required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--turns", type=int, required=True)
    options = parser.parse_args()
    made = CONTESTANTS[options.name](Task(options.base, options.sessions, options.turns))
    run = made if isinstance(made, Run) else asyncio.run(made)
    told = run.told()
    if options.name == "add-event":  # pairs
        recorded, translated = statistics.median(run.calls[::2]), statistics.median(run.calls[1::2])
        told |= {"recorded": recorded / 1e3, "translated": translated / 1e3}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
