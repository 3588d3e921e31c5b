"""What recording costs, as ratios against floors and peers measured in the same run.

    python benchmarks/throughput.py [--quick] [--rounds 3] [--peers FOLDER]

Every run has a process of its own (`contestants.py`), the server too (`sink.py`). On a machine with few cores they
share them: read the ratios, not the seconds. `--quick` measures each thing once, and leaves some out; it takes less
than a minute. `--peers` makes an environment in that folder, unless it is there, for `mlsdk-python` 1.0.5, whose
package has the name of ours; without, it is left out. The OTLP exporter runs where it is installed:

    pip install opentelemetry-exporter-otlp-proto-http
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from sink import Counts, counts, serving

HERE = Path(__file__).resolve().parent
UPSTREAM = "mlsdk-python==1.0.5"

Told: TypeAlias = dict[str, Any]
"""What a contestant prints, and what the server has seen of it."""


class Benchmark:
    """Runs contestants and remembers nothing."""

    def __init__(self, *, rounds: int, peers: Path | None) -> None:
        self.rounds = rounds
        self._peers = peers
        self.has_otlp = importlib.util.find_spec("opentelemetry.exporter") is not None

    def run(self, base: str, name: str, sessions: int, turns: int) -> Told:
        """One run of one contestant."""
        python = sys.executable
        if name == "upstream":
            if self._peers is None:
                raise ValueError("there is no environment for upstream")
            python = str(self._peers / "bin" / "python")
        task = ["--base", base, "--sessions", str(sessions), "--turns", str(turns)]
        before: Counts = counts(base)
        command = [python, str(HERE / "contestants.py"), name, *task]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed: {done.stderr}")
        after = counts(base)
        told: Told = json.loads(done.stdout.splitlines()[-1])
        told["requests"] = after["requests"] - before["requests"]
        told["connections"] = after["connections"] - before["connections"]
        return told

    def medians(self, base: str, names: Iterable[str], sessions: int, turns: int) -> dict[str, Told]:
        """Of some rounds, in which the contestants take turns: what else the machine does hits all alike."""
        names = list(names)
        runs: dict[str, list[Told]] = {name: [] for name in names}
        for _ in range(self.rounds):
            for name in names:
                runs[name].append(self.run(base, name, sessions, turns))
        return {name: _median(of) for name, of in runs.items()}


def _median(runs: list[Told]) -> Told:
    return {field: statistics.median(run[field] for run in runs) for field in runs[0]}


def _rate(told: Told) -> float:
    return float(told["events"] / told["seconds"])


def _cpu(told: Told) -> float:
    """Microseconds an event."""
    return float(told["cpu"] * 1e6 / told["events"])


def say(figure: str, found: str, target: str = "", *, is_met: bool | None = None) -> None:
    """One line of the table."""
    verdict = "" if is_met is None else "met" if is_met else "MISSED"
    print(f"{figure:62} {found:52} {target:21} {verdict}", flush=True)


def title(text: str) -> None:
    """Of a part of the table."""
    print(f"\n{text}\n{'-' * len(text)}")


# -- the parts of the table -------------------------------------------------------------------------------------------


def measure_calls(bench: Benchmark, base: str, events: int) -> None:
    """How long the application is kept."""
    title("a call")
    found = bench.medians(base, ["floor-calls", "calls"], 1, events)
    floor, ours = found["floor-calls"], found["calls"]
    say("floor-lean, p50 / p99", f"{floor['p50']:.2f} / {floor['p99']:.2f} us")
    ratio = ours["p50"] / floor["p50"]
    say("direct, p50 / floor-lean's", f"{ours['p50']:.2f} us = {ratio:.2f} x", "<= 2.5 x", is_met=ratio <= 2.5)
    say("direct, p99", f"{ours['p99']:.1f} us", "<= 60 us", is_met=ours["p99"] <= 60)


def measure_end_to_end(bench: Benchmark, base: str, cells: list[tuple[int, int]], names: list[str]) -> None:
    """Events a second without latency, and CPU."""
    for sessions, turns in cells:
        title(f"end to end, {sessions} x {turns}, 0 ms: events/s and CPU")
        found = bench.medians(base, names, sessions, turns)
        build, lean = found["floor-build"], found["floor-lean"]
        for name, told in found.items():
            rate, cpu = _rate(told) / _rate(build), _cpu(told) / _cpu(build)
            per = 10_000 / told["events"]
            strict = f"{_rate(told) / _rate(lean):.2f} / {_cpu(told) / _cpu(lean):.2f} x floor-lean"
            say(
                f"{name}, {_rate(told):,.0f} events/s, {_cpu(told):.1f} us CPU an event",
                f"{rate:.2f} / {cpu:.2f} x floor-build, {strict}",
                ">= 0.6 x, CPU <= 2 x" if name == "direct" else "",
                is_met=(rate >= 0.6 and cpu <= 2) if name == "direct" else None,
            )
            if name == "direct" and told["events"] >= 10_000:
                requests = told["requests"] * per
                say("  requests per 10,000 events", f"{requests:.0f}", "<= 110", is_met=requests <= 110)
                say("  connections", f"{told['connections']:.0f}", "<= 8", is_met=told["connections"] <= 8)
        if "otlp" in found:
            own = _cpu(found["spans"]) * found["spans"]["events"]
            ours, theirs = (
                (told["cpu"] * 1e6 - own) / found["spans"]["events"] for told in (found["exporter"], found["otlp"])
            )
            say(
                "exporter's CPU an event / OTLP exporter's, without the spans'",
                f"{ours:.1f} / {theirs:.1f} us",
                "<= 1 x",
                is_met=ours <= theirs,
            )


def measure_latency(bench: Benchmark, latency: float, cells: list[tuple[int, int]], names: list[str]) -> None:
    """Events a second when each answer takes a while."""
    with serving(latency=latency) as base:
        for sessions, turns in cells:
            title(f"end to end, {sessions} x {turns}, {latency:.0f} ms")
            found = bench.medians(base, names, sessions, turns)
            floor = _rate(found["floor"])
            for name, told in found.items():
                ratio = _rate(told) / floor
                target = {1: 4.0, 100: 8.0}.get(sessions) if name == "direct" and latency == 50 else None
                say(
                    f"{name}, {_rate(told):,.0f} events/s",
                    f"{ratio:.2f} x floor",
                    "" if target is None else f">= {target:.0f} x",
                    is_met=None if target is None else ratio >= target,
                )


def measure_upstream(bench: Benchmark, base: str) -> None:
    """`mlsdk-python`, which makes a connection for each event: a tenth of the events."""
    title("mlsdk-python 1.0.5, 20 x 10, 0 ms")
    found = bench.medians(base, ["floor-build", "upstream"], 20, 10)
    # So few events are too few to measure a floor with.
    build = bench.medians(base, ["floor-build"], 20, 500)["floor-build"]
    told = found["upstream"]
    say(
        f"upstream, {_rate(told):,.0f} events/s, {_cpu(told):.0f} us CPU an event",
        f"{_rate(told) / _rate(build):.3f} x floor-build, CPU {_cpu(told) / _cpu(build):.0f} x",
    )
    say("upstream, a call's p50", f"{told['p50']:.1f} us")
    with serving(latency=50) as slow:
        told = bench.run(slow, "upstream", 1, 40)
        say("upstream, 1 x 40, 50 ms", f"{_rate(told):.0f} events/s")


def measure_translator(bench: Benchmark, base: str, events: int) -> None:
    """What the OpenTelemetry road adds to a span event."""
    title("translator")
    told = bench.medians(base, ["add-event"], 1, events)["add-event"]
    ratio = told["translated"] / told["recorded"]
    say("add_event with 6 attributes", f"{told['recorded']:.2f} us")
    say(
        "a span event to a wire event",
        f"{told['translated']:.2f} us = {ratio:.2f} x",
        "<= 0.25 x",
        is_met=ratio <= 0.25,
    )


def measure_paced(bench: Benchmark, base: str, turns: int) -> None:
    """A program that records 200 turns a second beside something else."""
    title("an application that records 200 turns/s")
    found = bench.medians(base, ["paced-idle", "paced-floor", "paced-direct"], 1, turns)
    idle, floor, ours = found.values()
    for name, told in found.items():
        say(name, f"lag p50 {told['p50']:.0f}, p99 {told['p99']:.0f} us, CPU {1000 * told['cpu']:.0f} ms")
    ratio = ours["cpu"] / floor["cpu"]
    say("CPU / floor-lean's", f"{ratio:.2f} x", "<= 1.2 x", is_met=ratio <= 1.2)
    say("loop's lag p99 / without an SDK", f"{ours['p99'] / idle['p99']:.2f} x", "within noise")


def measure_memory(bench: Benchmark, base: str, sessions: int) -> None:
    """How much memory a burst of many sessions takes."""
    title(f"memory, {sessions} x 5")
    told = bench.medians(base, ["direct"], sessions, 5)["direct"]
    grown = told["grown"] / 1024
    say(f"growth for {told['events']:,.0f} events", f"{grown:.1f} MiB", "<= 10 MiB", is_met=grown <= 10)


def measure_growth(bench: Benchmark, base: str) -> None:
    """Whether ten times as much takes ten times as long."""
    title("growth, CPU of 10 x as much")
    for what, small, large in (("events", (1, 3000), (1, 30_000)), ("sessions", (100, 20), (1000, 20))):
        less, more = (bench.medians(base, ["direct"], *cell)["direct"] for cell in (small, large))
        ratio = more["cpu"] / less["cpu"]
        say(f"10 x the {what}", f"{ratio:.1f} x", "<= 10.5 x", is_met=ratio <= 10.5)


_IMPORTS = {
    "from mlsdk import Client": "pass",
    "from mlsdk_otel import MindlyticsSpanExporter": ("import opentelemetry.sdk.trace, opentelemetry.sdk.trace.export"),
}


def measure_imports(rounds: int) -> None:
    """How long the two usual imports take, the second beside what the OpenTelemetry SDK takes by itself."""
    title("imports")
    # With compiled files, as after any installation.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for what, before in _IMPORTS.items():
        program = f"import time; {before}; began = time.perf_counter(); {what}; print(time.perf_counter() - began)"
        times = []
        for _ in range(rounds + 1):
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
            times.append(1000 * float(done.stdout))
        took = statistics.median(times[1:])  # the first compiles
        limit = 100 if before == "pass" else 50
        say(what, f"{took:.0f} ms", f"<= {limit} ms", is_met=took <= limit)


def _make_peers(folder: Path) -> Path:
    if not (folder / "bin" / "python").exists():
        print(f"making an environment for {UPSTREAM} in {folder}")
        venv.create(folder, with_pip=True)
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", UPSTREAM, "orjson"]
        subprocess.run(command, check=True)
    return folder


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="each once, and not all")
    parser.add_argument("--rounds", type=int, default=3, help="how often each run is repeated")
    parser.add_argument("--peers", type=Path, help="a folder for an environment with mlsdk-python")
    options = parser.parse_args()
    peers = None if options.peers is None else _make_peers(options.peers.resolve())
    bench = Benchmark(rounds=1 if options.quick else options.rounds, peers=peers)
    otel = ["spans", "exporter", "processor", *(["otlp"] if bench.has_otlp else [])]
    direct = ["floor", "floor-lean", "floor-build", "direct", "sync"]
    cells = [(1, 1000), (100, 20)] if options.quick else [(1, 1000), (100, 20), (1000, 5)]
    slow = ["floor", "direct", *(name for name in otel if name not in {"spans", "processor"})]

    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores; medians of {bench.rounds}; turns of 200 + 600 bytes"
    )
    parts: list[Callable[[str], None]] = [
        lambda base: measure_calls(bench, base, 4000 if options.quick else 10_000),
        lambda base: measure_end_to_end(bench, base, [*cells, (20, 500)], [*direct, *otel]),
        lambda base: measure_translator(bench, base, 4000 if options.quick else 10_000),
        lambda base: measure_memory(bench, base, 1000),
        lambda base: measure_paced(bench, base, 400 if options.quick else 1000),
        lambda base: measure_growth(bench, base),
    ]
    with serving() as base:
        for part in parts:
            part(base)
        if peers is not None:
            measure_upstream(bench, base)
    for latency in (50,) if options.quick else (5, 50):
        measure_latency(bench, latency, cells, slow)
    measure_imports(3 if options.quick else 7)


if __name__ == "__main__":
    main()
