"""Zero code: what a program records arrives, once, without a flush; and whatever is wrong, the program runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import pytest

from mlsdk.local import LocalMindlytics

pytestmark = pytest.mark.timeout(150)
depends_on_the_interpreter = pytest.mark.lifecycle

Told = Callable[[], dict[str, list[str]]]

WHOLE: Final = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]
"""The events of one session with one conversation of one turn."""

SPANS: Final = """
from opentelemetry import trace

def by_hand(number):
    tracer = trace.get_tracer("app")
    ids = {"session.id": f"hand-{number}", "mindlytics.device.id": f"hand-{number}"}
    with tracer.start_as_current_span("mindlytics.session", attributes=ids):
        with tracer.start_as_current_span(
            "mindlytics.conversation", attributes={**ids, "gen_ai.conversation.id": f"talk-{number}"}
        ) as span:
            span.add_event("mindlytics.turn", {"mindlytics.turn.user": "hi", "mindlytics.turn.assistant": "hello"})
"""
SESSIONS: Final = """
import asyncio
from mlsdk import Client

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # the development mode tells of a busy machine
    client = Client()
    async with client.create_session(device_id="left") as session:
        await session.track_conversation_turn(user="hi", assistant="hello")
    session = client.create_session(device_id="open")
    await session.track_conversation_turn(user="hi", assistant="hello")
"""
BOTH: Final = f"{SPANS}\n{SESSIONS}\nasyncio.run(main())\nby_hand(1)\nby_hand(2)\n"

# What has the sessions delivered: they themselves, the exporter, the processor.
ROADS: Final[dict[str, dict[str, str]]] = {
    "direct": {},
    "exporter": {"MLSDK_OTEL_DELIVERY": "otel"},
    "direct, with processor": {"MLSDK_OTEL_PROCESSOR": "true"},
    "exporter and processor": {"MLSDK_OTEL_PROCESSOR": "true", "MLSDK_OTEL_DELIVERY": "otel"},
    "processor alone": {
        "MLSDK_OTEL_PROCESSOR": "true",
        "MLSDK_OTEL_DELIVERY": "otel",
        "OTEL_TRACES_EXPORTER": "none",
    },
}


@depends_on_the_interpreter
@pytest.mark.parametrize("road", ROADS)
def test_sessions_and_spans_arrive_once(zero_code: Any, told: Told, road: str) -> None:
    ended = zero_code.run(BOTH, ROADS[road])
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert told() == dict.fromkeys(("left", "open", "hand-1", "hand-2"), WHOLE)


@depends_on_the_interpreter
@pytest.mark.parametrize("road", ["direct", "exporter"])
def test_sync_code_that_ends_by_sys_exit(zero_code: Any, told: Told, road: str) -> None:
    program = f"""{SPANS}
import sys
from mlsdk.sync import Client

session = Client().create_session(device_id="open")
session.track_conversation_turn(user="hi", assistant="hello")
by_hand(1)
sys.exit(7)
"""
    ended = zero_code.run(program, ROADS[road])
    assert (ended.code, ended.out, ended.err) == (7, "", "")
    assert told() == {"open": WHOLE, "hand-1": WHOLE}


FILE: Final = """
file_format: "1.0"
tracer_provider:
  processors:
    - batch:
        exporter:
          mindlytics:
            api_key: "${MLSDK_API_KEY}"
            project_id: project
            server_endpoint: "${MLSDK_SERVER_BASE}"
"""
OPTIONS: Final = """
instrumentation/development:
  python:
    mlsdk:
      delivery: otel
"""


@pytest.mark.parametrize(
    ("file", "variables"),
    [
        (FILE, {}),
        (FILE, {"MLSDK_OTEL_DELIVERY": "otel"}),
        (FILE + OPTIONS, {}),
        (FILE.replace("${MLSDK_API_KEY}", "another-key"), {}),
    ],
    ids=["direct", "exporter", "exporter by the file", "key in the file"],
)
def test_a_declarative_file_names_the_exporter(
    zero_code: Any, told: Told, service: LocalMindlytics, file: str, variables: dict[str, str]
) -> None:
    pytest.importorskip("opentelemetry.configuration")
    path = zero_code.folder / "otel.yaml"
    path.write_text(file, encoding="utf-8")
    ended = zero_code.run(
        BOTH, {"OTEL_CONFIG_FILE": str(path), "OTEL_TRACES_EXPORTER": None, **variables}, strict=False
    )
    assert (ended.code, ended.out) == (0, "")
    # What OpenTelemetry's own tools say of themselves.
    own = ("ignoring configurator kwargs", "Attempting to instrument while already instrumented")
    assert [line for line in ended.err.splitlines() if not any(text in line for text in own)] == []
    assert told() == dict.fromkeys(("left", "open", "hand-1", "hand-2"), WHOLE)
    keys = {request.headers["authorization"] for request in service.requests}
    assert ("Bearer another-key" in keys) == ("another-key" in file)


def test_log_records_are_events_too(zero_code: Any, service: LocalMindlytics) -> None:
    program = """
    from opentelemetry import _logs

    logger = _logs.get_logger("app")
    ids = {"session.id": "logged", "mindlytics.device.id": "logged", "gen_ai.conversation.id": "talk"}
    for number in range(3):
        turn = {"mindlytics.turn.user": f"question {number}", "mindlytics.turn.assistant": "answer"}
        logger.emit(event_name="mindlytics.turn", attributes={**ids, **turn})
    logger.emit(event_name="http.request", attributes=ids)
    """
    ended = zero_code.run(program, {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "mindlytics"}, strict=False)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    turns = [event["properties"]["user"] for event in service.events("logged") if "properties" in event]
    assert turns == ["question 0", "question 1", "question 2"]
    assert {event["conversation_id"] for event in service.events("logged")} == {"talk"}


# -- what can be wrong ------------------------------------------------------------------------------------------------

HAND: Final = f"""{SPANS}
import sys
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from mlsdk_otel import MindlyticsInstrumentor

by_hand(1)
print(AioHttpClientInstrumentor().is_instrumented_by_opentelemetry)
print(MindlyticsInstrumentor().is_instrumented_by_opentelemetry)
sys.exit(7)
"""
"""A program of which nothing depends on us; it says whether other instrumentations were loaded."""


def lines_of_ours(err: str) -> list[str]:
    """What is on stderr, but for the line that counts a loss."""
    return [line for line in err.splitlines() if "events lost" not in line]


@pytest.mark.parametrize("processor", [{}, {"MLSDK_OTEL_PROCESSOR": "true"}], ids=["exporter", "processor"])
@pytest.mark.parametrize("missing", ["MLSDK_API_KEY", "MLSDK_PROJECT_ID"])
def test_without_a_key_the_program_runs(
    zero_code: Any, service: LocalMindlytics, missing: str, processor: dict[str, str]
) -> None:
    ended = zero_code.run(HAND, {missing: None, "OTEL_TRACES_EXPORTER": "mindlytics", **processor})
    assert (ended.code, ended.out.split()) == (7, ["True", "True"])
    lines = ended.err.splitlines()
    assert len(lines) == 1 + len(processor)  # one for each that was asked for
    assert all(f"set the environment variable {missing}" in line for line in lines)
    assert service.requests == []


def test_with_a_refused_key_the_program_runs(zero_code: Any, service: LocalMindlytics) -> None:
    ended = zero_code.run(HAND, {"MLSDK_API_KEY": "bad_key"})
    assert (ended.code, ended.out.split()) == (7, ["True", "True"])
    (line,) = lines_of_ours(ended.err)
    assert "refuses the key" in line
    assert "bad_key" not in ended.err
    assert service.session_ids == []


@pytest.mark.timed
@depends_on_the_interpreter
@pytest.mark.parametrize("processor", [{}, {"MLSDK_OTEL_PROCESSOR": "true"}], ids=["exporter", "processor"])
def test_with_an_unreachable_host_the_program_runs(zero_code: Any, closed_port: int, processor: dict[str, str]) -> None:
    base = f"http://localhost:{closed_port}"
    quick = zero_code.run(HAND, {"MLSDK_DISABLED": "true"})
    most = quick.seconds * 2 + 3 + 3  # without a bound it would be 10 or 30
    for _ in range(3):  # the machine may be busy, and hold a program for long; not each time
        ended = zero_code.run(HAND, {"MLSDK_SERVER_BASE": base, "MLSDK_EXIT_TIMEOUT": "3", **processor})
        assert (ended.code, ended.out.split()) == (7, ["True", "True"])
        if ended.seconds < most:
            break
    assert ended.seconds < most
    (line,) = lines_of_ours(ended.err)
    assert base in line
    assert "cannot be reached" in line


@pytest.mark.parametrize("bad", ["key", "host"])
def test_what_is_lost_at_exit_is_counted(zero_code: Any, closed_port: int, bad: str) -> None:
    wrong = {"MLSDK_API_KEY": "bad_key"} if bad == "key" else {"MLSDK_SERVER_BASE": f"http://localhost:{closed_port}"}
    ended = zero_code.run(HAND, {**wrong, "MLSDK_EXIT_TIMEOUT": "3"})
    assert ended.code == 7
    assert "mlsdk: 5 events lost" in ended.err


@pytest.mark.parametrize(
    ("variable", "held"),
    [("MLSDK_DISABLED", set()), ("OTEL_SDK_DISABLED", {"left", "open"})],
)
@pytest.mark.parametrize("road", ["direct", "exporter", "direct, with processor", "exporter and processor"])
def test_disabled_is_silent(zero_code: Any, told: Told, variable: str, held: set[str], road: str) -> None:
    """Without OpenTelemetry the SDK sends as ever, whatever was meant to deliver; disabled itself, nobody does."""
    ended = zero_code.run(BOTH, {variable: "true", **ROADS[road]})
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert told() == dict.fromkeys(held, WHOLE)


@pytest.mark.parametrize("variable", ["MLSDK_OTEL_PROCESSOR", "MLSDK_OTEL_DELIVERY", "MLSDK_CAPTURE_CONTENT"])
def test_a_variable_that_makes_no_sense_is_one_line(zero_code: Any, variable: str) -> None:
    ended = zero_code.run(HAND, {variable: "maybe"})
    assert ended.code == 7
    assert ended.out.split()[0] == "True"
    (line,) = ended.err.splitlines()
    assert variable in line
    assert "'maybe'" in line


# -- SIGTERM ----------------------------------------------------------------------------------------------------------

WAITING: Final = f"""{SPANS}
import sys, time
from mlsdk.sync import Client

session = Client().create_session(device_id="open")
session.track_conversation_turn(user="hi", assistant="hello")
by_hand(1)
print("ready", flush=True)
while True:
    time.sleep(0.05)  # in one long sleep a signal could be overlooked that comes just before it
"""


@depends_on_the_interpreter
@pytest.mark.skipif(sys.platform == "win32", reason="nobody sends SIGTERM there")
@pytest.mark.parametrize("road", ["direct", "exporter", "processor alone"])
def test_sigterm_delivers_before_it_ends_the_program(zero_code: Any, told: Told, road: str) -> None:
    code, out, err = terminated(zero_code, WAITING, ROADS[road])
    assert (code, out, err) == (-signal.SIGTERM, "", "")
    assert told() == {"open": WHOLE, "hand-1": WHOLE}


@pytest.mark.skipif(sys.platform == "win32", reason="nobody sends SIGTERM there")
def test_a_program_that_handles_sigterm_is_not_disturbed(zero_code: Any, told: Told) -> None:
    program = f"import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(4))\n{WAITING}"
    assert terminated(zero_code, program, {}) == (4, "", "")
    assert told() == {"open": WHOLE, "hand-1": WHOLE}


@pytest.mark.skipif(sys.platform == "win32", reason="nobody sends SIGTERM there")
def test_sigterm_does_not_wait_for_a_dead_service(zero_code: Any, closed_port: int) -> None:
    dead = {"MLSDK_SERVER_BASE": f"http://localhost:{closed_port}", "MLSDK_EXIT_TIMEOUT": "1"}
    for _ in range(3):  # one that is held for longer than it may take is ended before it has counted; not each time
        code, _, err = terminated(zero_code, WAITING, dead)
        assert code == -signal.SIGTERM
        if "events lost" in err:
            break
    assert "events lost" in err


def terminated(zero_code: Any, source: str, env: dict[str, str]) -> tuple[int, str, str]:
    """Starts a program, sends it SIGTERM when it is ready, and returns its exit code and output."""
    with subprocess.Popen(
        zero_code.command(zero_code.program(source)),
        env=zero_code.variables(env),
        cwd=zero_code.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            program.send_signal(signal.SIGTERM)
            out, err = program.communicate(timeout=60)
        finally:
            program.kill()
    return program.returncode, out, err
