"""What recording costs: a call, an event end to end, a request. Ratios against floors measured in the same run.

    python benchmarks/recording.py [--events 10000] [--rounds 5]

Two floors, over one kept-alive connection, in arrays of 100:

- `floor`: bytes that were built before the clock began.
- `floor-build`: a dict and `orjson.dumps` for each event, which is the least that a call can do.

The server is a process of its own; it reads requests, counts, and answers. On a machine with few cores it and the
sender share them with the caller: read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

import orjson

from mlsdk import Client, TokenBasedCost

USER = "How do I reset my password? " * 7  # 200 characters
ASSISTANT = "Open the settings, choose security, and follow the link in the mail. " * 9  # 600
QUEUE = "/bc/v1/events/queue"
ARRAY = 100


# -- the server -------------------------------------------------------------------------------------------------------


class Sink(asyncio.Protocol):
    """Reads what comes, counts requests, and says "ok"."""

    requests = 0
    connections = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Sink.connections += 1
        self._transport = transport
        self._buffer = bytearray()
        self._needed = 0

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= max(self._needed, 1):
            if not self._needed:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self._buffer[:end]).lower()
                at = head.find(b"content-length:")
                length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
                self._needed = end + 4 + length
                continue
            is_question = self._buffer.startswith(b"GET")
            del self._buffer[: self._needed]
            self._needed = 0
            Sink.requests += not is_question
            body = json.dumps({"requests": Sink.requests, "connections": Sink.connections}).encode()
            if not is_question:
                body = b'{"status":"ok"}'
            self._transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline() if server.stdout is not None else ""
            yield f"http://127.0.0.1:{int(port)}"
        finally:
            server.terminate()


def counts(base: str) -> tuple[int, int]:
    with urllib.request.urlopen(base) as answer:  # noqa: S310 - our own address
        found = json.load(answer)
    return found["requests"], found["connections"]


# -- the floors -------------------------------------------------------------------------------------------------------

_numbers = itertools.count(1)


def build(session_id: str) -> bytes:
    """What any client does at least: the event as a dict, and its bytes."""
    next(_numbers)
    event = {
        "type": "track",
        "session_id": session_id,
        "user_id": "user-1",
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "event": "Conversation Turn",
        "conversation_id": "conversation-1",
        "properties": {
            "user": USER,
            "assistant": ASSISTANT,
            "model": "gpt-4o",
            "prompt_tokens": 150,
            "completion_tokens": 25,
        },
    }
    return orjson.dumps(event)


class Pipe:
    """Arrays over one connection, one after another."""

    def __init__(self, base: str) -> None:
        host, port = base.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting: list[bytes] = []

    def add(self, event: bytes) -> None:
        self._waiting.append(event)
        if len(self._waiting) == ARRAY:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        body = b"[" + b",".join(self._waiting) + b"]"
        self._waiting.clear()
        head = (
            f"POST {QUEUE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += self._socket.recv(4096)

    def close(self) -> None:
        self._socket.close()


# -- one run of each --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Seconds of the clock, and of this process's CPU time on all threads; requests made."""

    seconds: float
    cpu: float
    requests: int = 0


@contextlib.contextmanager
def timed(done: list[Run], base: str) -> Iterator[None]:
    before, _ = counts(base)
    began, cpu = time.perf_counter(), time.process_time()
    yield
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    done.append(Run(seconds, used, counts(base)[0] - before))


def run_floor(base: str, events: int, done: list[Run], *, is_prebuilt: bool) -> None:
    pipe = Pipe(base)
    prebuilt = [build("session-1") for _ in range(events if is_prebuilt else 0)]
    with timed(done, base):
        if is_prebuilt:
            for event in prebuilt:
                pipe.add(event)
        else:
            for _ in range(events):
                pipe.add(build("session-1"))
        pipe.flush()
    pipe.close()


async def run_ours(base: str, events: int, done: list[Run], *, sessions: int) -> None:
    client = Client(api_key=f"key-{next(_numbers)}", project_id="p", server_endpoint=base, queue_events=10 * events)
    used = [client.create_session(id="user-1", device_id="device-1") for _ in range(sessions)]
    for session in used:
        await session.start_session()
        await session.start_conversation()
    await client.flush()
    usage = TokenBasedCost(model="gpt-4o", prompt_tokens=150, completion_tokens=25)
    with timed(done, base):
        for number in range(events):
            await used[number % sessions].track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)
        await client.flush()
    stats = client.stats()
    if stats["delivered"] != stats["accepted"]:
        raise SystemExit(f"not everything was delivered: {stats}")
    for session in used:
        await session.end_session()


async def call_times(base: str, calls: int) -> tuple[list[int], list[int], list[int]]:
    """Nanoseconds of each call: ours in a burst, ours with a pause before each, floor-build."""
    client = Client(api_key=f"key-{next(_numbers)}", project_id="p", server_endpoint=base, queue_events=10 * calls)
    session = client.create_session(id="user-1", device_id="device-1")
    await session.start_session()
    await session.start_conversation()
    usage = TokenBasedCost(model="gpt-4o", prompt_tokens=150, completion_tokens=25)
    burst, paced, floor = [], [], []
    block = 200
    for _ in range(calls // block):
        for _ in range(block):
            began = time.perf_counter_ns()
            await session.track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)
            burst.append(time.perf_counter_ns() - began)
        await client.flush()
        for _ in range(block):
            began = time.perf_counter_ns()
            build("session-1")
            floor.append(time.perf_counter_ns() - began)
    for _ in range(200):
        await asyncio.sleep(0.002)
        began = time.perf_counter_ns()
        await session.track_conversation_turn(user=USER, assistant=ASSISTANT, usage=usage)
        paced.append(time.perf_counter_ns() - began)
    await session.end_session()
    return burst, paced, floor


# -- the table --------------------------------------------------------------------------------------------------------


def median(runs: list[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(of(run) for run in runs)


def report(events: int, rounds: int) -> None:
    with serving() as base:
        names = ["floor", "floor-build", "ours, 1 session", "ours, 20 sessions"]
        runs: dict[str, list[Run]] = {name: [] for name in names}
        for _ in range(rounds):  # in turns, so that what else the machine does hits all alike
            run_floor(base, events, runs["floor"], is_prebuilt=True)
            run_floor(base, events, runs["floor-build"], is_prebuilt=False)
            asyncio.run(run_ours(base, events, runs["ours, 1 session"], sessions=1))
            asyncio.run(run_ours(base, events, runs["ours, 20 sessions"], sessions=20))
        burst, paced, floor = asyncio.run(call_times(base, min(events, 10_000)))

    floor_p50 = statistics.median(floor)
    print(
        f"Python {sys.version.split()[0]}; {events:,} events of {len(build('s')):,} bytes, {rounds} rounds, medians\n"
    )
    print(f"{'a call':20} {'p50 us':>10} {'p99 us':>10} {'p50 / floor-build':>20}")
    for name, times in (("floor-build", floor), ("ours, in a burst", burst), ("ours, one in 2 ms", paced)):
        p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
        print(f"{name:20} {p50 / 1e3:10.1f} {p99 / 1e3:10.1f} {p50 / floor_p50:20.2f}")

    build_rate = events / median(runs["floor-build"], lambda run: run.seconds)
    build_cpu = median(runs["floor-build"], lambda run: run.cpu)
    print(
        f"\n{'end to end':20} {'events/s':>10} {'/ floor-build':>14} {'CPU / floor-build':>18} {'requests/10,000':>16}"
    )
    for name in names:
        rate = events / median(runs[name], lambda run: run.seconds)
        cpu = median(runs[name], lambda run: run.cpu)
        requests = median(runs[name], lambda run: run.requests) * 10_000 / events
        print(f"{name:20} {rate:10,.0f} {rate / build_rate:14.2f} {cpu / build_cpu:18.2f} {requests:16.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve())
    else:
        report(options.events, options.rounds)


if __name__ == "__main__":
    main()
