"""What becomes of events when things go wrong: a service with scripted faults, and a client process for each cell.

    python benchmarks/faults.py                 the whole table; about 15 minutes, most of it the soak
    python benchmarks/faults.py 413 burst       cells by name
    python benchmarks/faults.py --list

Each cell prints what was recorded, what arrived, and what of it was lost, came twice or came out of order, and what the
application was told. An event is told by its session and its place in it, so nothing depends on counts adding up.
Expected of every cell: nothing lost, nothing out of order; twice only where the service took a request whose answer
was lost; bad events refused, exactly those, and each reported. The service is the local one, in this process; TLS and
the name service are real sockets and a patched look-up in the client.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

from mlsdk.local import Fault, LocalMindlytics, RequestInfo

PATIENCE: Final = 240.0
"""Seconds that a client may take, at most, beyond what its cell is about."""


# -- the client: a process of its own ---------------------------------------------------------------------------------


def client(plan: Mapping[str, Any]) -> None:
    """Records what the plan says, and prints what it was told."""
    if plan.get("no_names_for"):
        _break_names(plan["no_names_for"])
    if plan.get("clock_jumps"):
        _let_the_clock_jump()
    if plan.get("sigterm") == "handled":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    from mlsdk.sync import Client

    told: list[tuple[int, bool]] = []
    made = Client(**plan.get("options", {}))
    prefix, sessions = plan["prefix"], plan["sessions"]

    def tell(error: Any) -> None:
        told.append((error.status, error.retryable))

    opened = [
        made.create_session(session_id=f"{prefix}{number}", device_id="d", on_error=tell) for number in range(sessions)
    ]
    for session in opened:
        session.start_session()
    memory = _record(plan, opened)
    _leave(plan, made)
    print(json.dumps({"told": told, "stats": made.stats(), "memory": memory}), flush=True)
    if plan["leaves"] == "killed":
        sys.stdin.read()  # until the signal comes


def _record(plan: Mapping[str, Any], opened: Sequence[Any]) -> list[float]:
    """The turns, round by round; returns how much memory the process had now and then."""
    prefix, sessions, turns = plan["prefix"], plan["sessions"], plan["turns"]
    began = time.monotonic()
    memory: list[float] = []
    for turn in range(turns):
        for number, session in enumerate(opened):
            text = f"{prefix}{number}:{turn}"
            if plan.get("bad_every") and (turn * sessions + number) % plan["bad_every"] == 7:
                text += " BAD"
            session.track_conversation_turn(user=text + " " + "x" * plan.get("size", 0), assistant="a")
            if plan.get("rate"):
                due = began + (turn * sessions + number + 1) / plan["rate"]
                time.sleep(max(0.0, due - time.monotonic()))
        if plan.get("rate") and turn % max(1, turns // 100) == 0:
            memory.append(_resident())
    return memory


def _leave(plan: Mapping[str, Any], made: Any) -> None:
    if plan.get("forks"):
        _fork(made, plan["prefix"])
    if plan.get("waits"):
        time.sleep(plan["waits"])
    if plan.get("ends", True):
        made.close(0)
    if plan["leaves"] == "flush":
        made.flush(120)


def _fork(made: Any, prefix: str) -> None:
    """A child, made while the queue is full, with a session of its own."""
    pid = os.fork()
    if pid == 0:
        from mlsdk.delivery.host import host

        session = made.create_session(session_id=f"{prefix}child", device_id="d")
        session.start_session()
        for turn in range(20):
            session.track_conversation_turn(user=f"{prefix}child:{turn}", assistant="a")
        session.end_session()
        host.drain()
        os._exit(0)
    threading.Thread(target=os.waitpid, args=(pid, 0)).start()


def _break_names(seconds: float) -> None:
    real, until = socket.getaddrinfo, time.monotonic() + seconds

    def look_up(*arguments: Any, **options: Any) -> Any:
        if time.monotonic() < until:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(*arguments, **options)

    socket.getaddrinfo = look_up


def _let_the_clock_jump() -> None:
    real, jumps, calls = time.time_ns, (0, 3600, -7200, 86400, -86400), [0]

    def now() -> int:
        calls[0] += 1
        return real() + jumps[calls[0] // 50 % len(jumps)] * 10**9

    time.time_ns = now
    time.time = lambda: now() / 1e9


def _resident() -> float:
    """MiB of this process in memory; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


# -- cells ------------------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """What a client does. `leaves`: `flush`, `exit` (without a flush), or `killed` by `signal` when it has recorded."""

    sessions: int = 20
    turns: int = 30
    leaves: str = "flush"
    options: dict[str, Any] = field(default_factory=dict)
    signal: int = 0
    more: dict[str, Any] = field(default_factory=dict)
    prefix: str = "s"

    def as_json(self, **options: Any) -> str:
        return json.dumps(
            {
                "sessions": self.sessions,
                "turns": self.turns,
                "leaves": self.leaves,
                "prefix": self.prefix,
                **self.more,
                "options": {**self.options, **options},
            }
        )

    def expected(self) -> dict[str, list[str]]:
        """The events of each session, in order."""
        every = self.more.get("bad_every")
        made = {}
        for number in range(self.sessions):
            texts = [
                f"{self.prefix}{number}:{turn}"
                for turn in range(self.turns)
                if not (every and (turn * self.sessions + number) % every == 7)
            ]
            made[f"{self.prefix}{number}"] = ["start_session", "Conversation Started", *texts, *_ENDS]
        if self.more.get("forks"):
            texts = [f"{self.prefix}child:{turn}" for turn in range(20)]
            made[f"{self.prefix}child"] = ["start_session", "Conversation Started", *texts, *_ENDS]
        return made

    def without_ends(self) -> dict[str, list[str]]:
        """As far as the client itself comes."""
        return {session_id: names[: -len(_ENDS)] for session_id, names in self.expected().items()}

    @property
    def bad(self) -> int:
        every = self.more.get("bad_every")
        return sum(place % every == 7 for place in range(self.turns * self.sessions)) if every else 0


_ENDS: Final = ("Conversation Ended", "end_session")


@dataclass
class Result:
    """What was found, in events."""

    name: str
    sent: int
    received: int
    requests: int
    lost: int
    twice: int
    out_of_order: int
    told: str
    problems: list[str]
    seconds: float = 0.0
    growth: float = 0.0

    def row(self) -> str:
        verdict = "ok" if not self.problems else "; ".join(self.problems)
        counts = (self.sent, self.received, self.requests, self.lost, self.twice, self.out_of_order)
        figures = " ".join(f"{count:>8}" for count in counts)
        return f"{self.name:<28} {figures} {self.seconds:>6.1f}  {self.told:<44} {verdict}"


_COLUMNS: Final = ("sent", "received", "requests", "lost", "twice", "order")
HEADER: Final = f"{'cell':<28} {' '.join(f'{column:>8}' for column in _COLUMNS)} {'s':>6}  the app was told"

Hook = Callable[[RequestInfo], "Fault | None"]


@dataclass
class Cell:
    """One kind of trouble.

    Attributes:
        name: What it is called.
        plans: Client processes, one after another.
        hook: The fault of each request.
        drive: What happens to the service meanwhile; runs on a thread of its own.
        may_repeat: The service takes requests whose answer is lost.
        is_long: Not for every run of the tests.
        may_lose: What was not sent yet is lost, as is documented.
        seconds_down: The port is closed at first, for so long.
        spools: All clients share a spool.
        tls: A certificate that is not to be trusted, and then one that is.
    """

    name: str
    plans: list[Plan] = field(default_factory=lambda: [Plan()])
    hook: Callable[[LocalMindlytics], Hook | None] = lambda _: None
    may_repeat: bool = False
    is_long: bool = False
    may_lose: bool = False
    seconds_down: float = 0.0
    spools: bool = False
    tls: bool = False
    told: set[int] | None = None


def one_in_ten(*faults: Fault) -> Callable[[LocalMindlytics], Hook]:
    """Repeatable: the same requests, by number."""

    def make(_service: LocalMindlytics) -> Hook:
        dice = random.Random(7)

        def decide(_request: RequestInfo) -> Fault | None:
            return dice.choice(faults) if dice.random() < 0.1 else None

        return decide

    return make


def at_first(fault: Fault, *, requests: int) -> Callable[[LocalMindlytics], Hook]:
    def make(_service: LocalMindlytics) -> Hook:
        seen: list[RequestInfo] = []

        def decide(request: RequestInfo) -> Fault | None:
            seen.append(request)
            return fault if len(seen) <= requests else None

        return decide

    return make


def busy(retry_after: Callable[[], str]) -> Callable[[LocalMindlytics], Hook]:
    """Three times in a row, somewhere in the midst: come back later."""

    def make(_service: LocalMindlytics) -> Hook:
        seen: list[RequestInfo] = []

        def decide(request: RequestInfo) -> Fault | None:
            seen.append(request)
            return Fault.answer(429, headers={"Retry-After": retry_after()}) if 2 <= len(seen) <= 4 else None

        return decide

    return make


def by_body(judge: Callable[[bytes], Fault | None]) -> Callable[[LocalMindlytics], Hook]:
    return lambda _service: lambda request: judge(request.body)


def for_seconds(seconds: float, fault: Fault) -> Callable[[LocalMindlytics], Hook]:
    def make(_service: LocalMindlytics) -> Hook:
        began: list[float] = []

        def decide(_request: RequestInfo) -> Fault | None:
            began.append(time.monotonic())
            return fault if began[-1] - began[0] < seconds else None

        return decide

    return make


def unless_the_key_is_good(status: int) -> Callable[[LocalMindlytics], Hook]:
    """Trouble that is over exactly when the next process comes, which has another key."""
    fault = Fault.answer(status)
    return lambda _service: lambda request: None if "good" in request.headers.get("authorization", "") else fault


def soak(seconds: int) -> Cell:
    """500 events a second, one request in twenty in trouble."""

    def make(_service: LocalMindlytics) -> Hook:
        dice = random.Random(11)
        faults = [Fault.answer(500), Fault.answer(503), Fault.answer(429), Fault.reset(), Fault.slow(delay=1.0)]
        return lambda _request: dice.choice(faults) if dice.random() < 0.05 else None

    plan = Plan(sessions=50, turns=10 * seconds, more={"rate": 500})
    return Cell(f"soak {seconds} s", [plan], make, is_long=seconds > 60)


def cells(*, soak_seconds: int = 600) -> list[Cell]:
    """The whole table."""
    killed = {"leaves": "killed", "more": {"ends": False}}
    survives = {"leaves": "killed", "more": {"ends": False, "waits": 3}}
    paced = Plan(more={"rate": 200})  # so that there are requests to hit
    replay = Plan(sessions=1, turns=1, prefix="later")
    replay_with_key = Plan(**{**vars(replay), "options": {"api_key": "good"}})
    ahead = {"spool_mode": "write-ahead"}
    return [
        Cell("500, one in ten", [paced], one_in_ten(Fault.answer(500))),
        Cell("503, one in ten", [paced], one_in_ten(Fault.answer(503))),
        Cell("429 for seconds", hook=busy(lambda: "1")),
        Cell("429 until a date", hook=busy(lambda: formatdate(time.time() + 2, usegmt=True))),
        Cell("reset before", [paced], one_in_ten(Fault.reset())),
        Cell("reset after", [paced], one_in_ten(Fault.reset(process=True)), may_repeat=True),
        Cell("port closed 5 s", seconds_down=5),
        Cell("port closed 20 s", seconds_down=20, is_long=True),
        Cell("never answered", hook=at_first(Fault.hang(), requests=1), may_repeat=True, is_long=True),
        Cell("answers byte by byte", hook=at_first(Fault.slow(drip=0.05), requests=3), may_repeat=True),
        Cell(
            "413 above 64 KiB",
            [Plan(more={"size": 2000})],
            by_body(lambda body: Fault.answer(413) if len(body) > 64 * 1024 else None),
        ),
        Cell(
            "one bad event in a hundred",
            [Plan(more={"bad_every": 100})],
            by_body(lambda body: Fault.answer(400, body="bad event") if b" BAD" in body else None),
            told={400},
        ),
        Cell(
            "403 for one text",
            [Plan(more={"bad_every": 300})],
            by_body(lambda body: Fault.answer(403, body="blocked") if b" BAD" in body else None),
            told={403},
        ),
        Cell("401, then a good key", [Plan(more={"waits": 75})], for_seconds(2, Fault.answer(401)), is_long=True),
        Cell(
            "401, next process has a key",
            [Plan(leaves="exit", options={"api_key": "old"}), replay_with_key],
            unless_the_key_is_good(401),
            spools=True,
        ),
        Cell("no names for 3 s", [Plan(more={"no_names_for": 3})]),
        Cell("certificate not trusted", tls=True),
        Cell("exit without flush", [Plan(leaves="exit")]),
        Cell(
            "exit in an outage, spool",
            [Plan(leaves="exit", options={"exit_timeout": 1, "api_key": "old"}), replay_with_key],
            unless_the_key_is_good(503),
            spools=True,
        ),
        Cell("SIGTERM, default", [Plan(signal=signal.SIGTERM, **killed)], may_lose=True),
        Cell(
            "SIGTERM, handled",
            [Plan(signal=signal.SIGTERM, leaves="killed", more={"ends": False, "sigterm": "handled"})],
        ),
        Cell("SIGKILL", [Plan(signal=signal.SIGKILL, **killed)], may_lose=True),
        Cell(
            "SIGKILL, write-ahead spool",
            [Plan(signal=signal.SIGKILL, options=ahead, **survives), Plan(**{**vars(replay), "options": ahead})],
            at_first(Fault.hang(seconds=3), requests=1),
            spools=True,
            may_repeat=True,
        ),
        Cell("fork with a full queue", [Plan(more={"forks": True})], at_first(Fault.slow(delay=1.0), requests=2)),
        Cell("burst of 20,000", [Plan(sessions=50, turns=400)], spools=True),
        Cell("burst in an outage", [Plan(sessions=50, turns=400)], for_seconds(3, Fault.answer(503)), spools=True),
        Cell("clock jumps", [Plan(more={"clock_jumps": True})]),
        soak(soak_seconds),
    ]


# -- running one ------------------------------------------------------------------------------------------------------


def run(cell: Cell) -> Result:
    """Runs a cell and says what was found."""
    began = time.monotonic()
    told: list[tuple[int, bool]] = []
    notes: list[str] = []
    memory: list[float] = []
    with LocalMindlytics(max_body=64 * 2**20) as service, tempfile.TemporaryDirectory() as spool:
        service.on_request(cell.hook(service))
        options: dict[str, Any] = {"spool_dir": spool} if cell.spools else {}
        with _trouble(cell, service) as address:
            for plan in cell.plans:
                output, notes_of = _run_client(plan, service, {**options, **address})
                told += [(status, kept) for status, kept in output.get("told", [])]
                memory = output.get("memory", [])
                notes += notes_of
        received = service.events()
        requests = len(service.requests)
        left = sum(path.stat().st_size for path in Path(spool).rglob("*.events"))
    result = _judge(cell, received, told, notes)
    result.requests, result.seconds = requests, time.monotonic() - began
    if left:
        result.problems.append(f"{left} bytes left in the spool")
    if len(memory) > 20:
        # After the first fifth, in which caches fill, and over a span of samples, since one may be of a bad moment.
        early, late = memory[len(memory) // 5 : len(memory) // 5 + 10], memory[-10:]
        result.growth = min(late) - min(early)
        result.told += f", memory {result.growth:+.1f} MiB"
    return result


@contextlib.contextmanager
def _trouble(cell: Cell, service: LocalMindlytics) -> Iterator[dict[str, Any]]:
    """What happens beside the requests; gives what the clients need to know of it."""
    if cell.seconds_down:
        service.close_port()
        timer = threading.Timer(cell.seconds_down, service.reopen)
        timer.start()
        yield {}
        timer.join()
    elif cell.tls:
        with _tls_in_front_of(service) as address:
            yield address
    else:
        yield {}


@contextlib.contextmanager
def _tls_in_front_of(service: LocalMindlytics) -> Iterator[dict[str, Any]]:
    """A server with TLS that hands everything on; for its first three seconds the certificate is somebody else's."""
    import asyncio

    import trustme  # of the dependency group `test`

    good, other = trustme.CA(), trustme.CA()
    certificates = []
    for authority in (other, good):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        certificates.append(context)
    certificates[0].sni_callback = lambda sock, _name, _context: setattr(
        sock, "context", certificates[time.monotonic() >= until]
    )
    until = time.monotonic() + 3.0

    async def handle(reader: Any, writer: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", service.port)
            try:
                await pass_on(reader, writer, inner_reader, inner_writer)
            finally:
                inner_writer.transport.abort()
        writer.transport.abort()

    async def pass_on(reader: Any, writer: Any, inner_reader: Any, inner_writer: Any) -> None:

        async def copy(source: Any, target: Any) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started = asyncio.run_coroutine_threadsafe(asyncio.start_server(handle, "127.0.0.1", 0, ssl=certificates[0]), loop)
    server = started.result(10)
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.pem"
        good.cert_pem.write_to_path(str(ca_file))
        port = server.sockets[0].getsockname()[1]
        yield {"server_endpoint": f"https://localhost:{port}", "ca_file": str(ca_file)}

    async def stop() -> None:
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def _run_client(plan: Plan, service: LocalMindlytics, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    # Of time there is enough: how long a busy machine takes to answer is not what is asked here.
    usual = {"server_endpoint": f"http://localhost:{service.port}", "wss_endpoint": service.ws_url, "exit_timeout": 60}
    command = [sys.executable, __file__, "client", plan.as_json(**{**usual, **options, **plan.options})]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLSDK_", "OTEL_"))}
    with subprocess.Popen(
        command,
        env={**kept, **service.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            if plan.leaves == "killed":
                assert running.stdout is not None  # noqa: S101
                line = running.stdout.readline()
                running.send_signal(plan.signal)
                _, err = running.communicate(timeout=PATIENCE)
            else:
                duration = plan.sessions * plan.turns / plan.more.get("rate", float("inf"))
                line, err = running.communicate(timeout=PATIENCE + duration)
        finally:
            running.kill()
    notes = [note for note in err.splitlines() if note.strip()]
    if not line:
        raise RuntimeError("\n".join(["the client of a cell failed:", *notes]))
    return json.loads(line), notes


def _judge(
    cell: Cell,
    received: Sequence[Mapping[str, Any]],
    told: Sequence[tuple[int, bool]],
    notes: list[str],
) -> Result:
    arrived: dict[str, list[str]] = {}
    for event in received:
        arrived.setdefault(event["session_id"], []).append(_name(event))
    expected: dict[str, list[str]] = {}
    for plan in cell.plans:
        # A killed process ends nothing; with a spool the next one does.
        is_cut_short = plan.leaves == "killed" and not cell.spools and "sigterm" not in plan.more
        expected |= plan.without_ends() if is_cut_short else plan.expected()
    lost = twice = out_of_order = 0
    for session_id, names in expected.items():
        found = arrived.get(session_id, [])
        first = list(dict.fromkeys(found))
        lost += len(set(names) - set(found))
        twice += len(found) - len(first)
        places = {name: place for place, name in enumerate(names)}
        order = [places[name] for name in first if name in places]
        out_of_order += sum(later < earlier for earlier, later in itertools.pairwise(order))
    strange = sum(len(set(found) - set(expected.get(session_id, ()))) for session_id, found in arrived.items())
    gone = [status for status, is_kept in told if not is_kept]
    bad = sum(plan.bad for plan in cell.plans)
    problems = []
    if lost and not cell.may_lose:
        problems.append(f"{lost} LOST")
    if out_of_order:
        problems.append(f"{out_of_order} OUT OF ORDER")
    if twice and not cell.may_repeat:
        problems.append(f"{twice} TWICE")
    if strange:
        problems.append(f"{strange} that nobody sent")
    if len(gone) != bad or (bad and set(gone) != cell.told):
        problems.append(f"{bad} bad events, {len(gone)} reported")
    sent = sum(map(len, expected.values())) + bad
    return Result(cell.name, sent, len(received), 0, lost, twice, out_of_order, _summary(told, notes), problems)


def _name(event: Mapping[str, Any]) -> str:
    name: str = event.get("event", event["type"])
    return str(event["properties"]["user"]).split(" ")[0] if name == "Conversation Turn" else name


def _summary(told: Sequence[tuple[int, bool]], notes: Sequence[str]) -> str:
    kinds = [f"{status} {'kept' if is_kept else 'gone'}" for status, is_kept in told]
    parts = [f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)]
    if any("lost" in note for note in notes):
        parts.append("'lost' on stderr")
    return ", ".join(parts) or "nothing"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="What becomes of events when things go wrong.")
    parser.add_argument("names", nargs="*", help="cells whose name has one of these texts in it; default all")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--soak", type=int, default=600, metavar="SECONDS", help="length of the soak; default 600")
    parser.add_argument("--at-once", type=int, default=1, metavar="CELLS", help="cells at a time; default 1")
    given = parser.parse_args(arguments)
    chosen = [
        cell
        for cell in cells(soak_seconds=given.soak)
        if not given.names or any(name in cell.name for name in given.names)
    ]
    if given.list:
        print("\n".join(cell.name for cell in chosen))
        return 0
    print(HEADER, flush=True)
    failed = 0
    with ThreadPoolExecutor(given.at_once) as pool:
        for result in pool.map(run, chosen):
            print(result.row(), flush=True)
            failed += bool(result.problems)
    print(f"{len(chosen) - failed} of {len(chosen)} cells as they should be")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(json.loads(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
