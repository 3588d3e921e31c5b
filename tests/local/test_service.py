"""The local Mindlytics as an object and as a command: life, questions, faults."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import child

from mlsdk.local import Fault, LocalMindlytics, RequestInfo

QUEUE = "/bc/v1/events/queue"
Ask = Callable[..., Any]
Turn = Callable[..., dict[str, Any]]


# --- life ------------------------------------------------------------------------------------------------------------


def test_both_ways_in(turn: Turn) -> None:
    async def main() -> str:
        async with LocalMindlytics() as service:
            return service.url

    assert asyncio.run(main()).startswith("http://127.0.0.1:")
    with LocalMindlytics.in_thread(port=0) as service:
        assert service.ws_url == service.url.replace("http", "ws")
        assert service.environment == {
            "MLSDK_API_KEY": "local_key",
            "MLSDK_PROJECT_ID": "local_project",
            "MLSDK_SERVER_BASE": service.url,
            "MLSDK_WSS_BASE": service.ws_url,
        }


def test_a_taken_port_is_an_error(service: LocalMindlytics) -> None:
    with pytest.raises(OSError), LocalMindlytics(port=service.port):
        pass


def test_it_starts_again_after_a_stop() -> None:
    service = LocalMindlytics()
    for _ in range(2):
        with service:
            assert service.received == 0
    service.stop()
    with pytest.raises(RuntimeError, match="not running"):
        service.reopen()


@pytest.mark.parametrize("port", [3000, 3009])
def test_the_websocket_has_the_port_that_clients_derive(port: int) -> None:
    assert LocalMindlytics(port=port).ws_url == f"ws://127.0.0.1:{port + 1000}"
    assert LocalMindlytics(port=3010).ws_url == "ws://127.0.0.1:3010"
    assert LocalMindlytics(host="::1", port=3000, ws_port=5).ws_url == "ws://[::1]:5"
    assert LocalMindlytics(host="0.0.0.0", port=1).url == "http://127.0.0.1:1"


def test_the_second_port_serves_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        ws_port = free.getsockname()[1]
    with LocalMindlytics(ws_port=ws_port) as service:
        assert service.ws_url == f"ws://127.0.0.1:{ws_port}"
        for port in (service.port, ws_port):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/")
            assert b"Local Mindlytics" in connection.getresponse().read()
            connection.close()


def test_an_outage_and_its_end(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    ask(QUEUE, turn("before"))
    url = service.url
    service.close_port()
    with pytest.raises(ConnectionRefusedError):
        ask(QUEUE, turn("during"))
    service.reopen()
    ask(QUEUE, turn("after"))

    assert service.url == url
    assert [each.user for each in service.session("s").turns] == ["before", "after"]


def test_an_outage_cuts_connections_that_are_kept(service: LocalMindlytics) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    for cut in (service.cut_connections, service.close_port):
        connection.request("GET", "/local/stats")
        connection.getresponse().read()
        cut()
        with suppress(OSError):
            connection.request("GET", "/local/stats")
        with pytest.raises((OSError, http.client.CannotSendRequest, http.client.ResponseNotReady)):
            connection.getresponse()
        connection.close()


# --- questions -------------------------------------------------------------------------------------------------------


def test_what_was_received(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    events = [turn("1"), turn("2", session_id="other"), turn("3")]
    ask(QUEUE, events[:2], idempotency_key="k1")
    ask(QUEUE, events[2:], idempotency_key="k2")

    assert service.received == 3
    assert service.events() == events
    assert service.events("other") == [events[1]]
    assert service.events("unknown") == []
    assert [(each.request, each.idempotency_key, each.app_id) for each in service.records()] == [
        (1, "k1", "app"),
        (1, "k1", "app"),
        (2, "k2", "app"),
    ]
    assert service.session_ids == ["s", "other"]
    assert [(each.path, each.events, each.status, each.idempotency_key) for each in service.requests] == [
        (QUEUE, 2, 200, "k1"),
        (QUEUE, 1, 200, "k2"),
    ]
    assert service.requests[0].headers["x-app-id"] == "app"
    assert [each["event"] for each in service.live_events("other")] == [
        "Session Started",
        "Conversation Started",
        "Conversation Turn",
    ]
    with pytest.raises(LookupError):
        service.session("unknown")


def test_clear_forgets(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    ask(QUEUE, turn())
    first = service.live_events()[0]["event_id"]
    service.fail_next()
    service.clear()

    assert (service.received, service.events(), service.requests, service.session_ids) == (0, [], [], [])
    assert ask(QUEUE, turn()).status == 200
    assert service.live_events()[0]["event_id"] != first


def test_waiting_for_what_comes(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(service.wait_for, lambda asked: asked.session("s").conversation("c").turns)
        for text in ("1", "2"):
            ask(QUEUE, turn(text))
        assert waiting.result(10)[0].user == "1"
    assert asyncio.run(service.wait_for_async(lambda asked: asked.received)) == 2
    with pytest.raises(TimeoutError, match=r"not within 0.01 s; 2 events, 2 requests so far"):
        service.wait_for(lambda asked: asked.received == 3, timeout=0.01)


def test_many_threads_at_once_lose_nothing(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    def send(thread: int) -> None:
        for number in range(20):
            ask(QUEUE, [turn(f"{number}", session_id=f"s{thread}"), turn(f"{number}+", session_id=f"s{thread}")])
            service.events()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))

    assert service.received == 8 * 40
    for thread in range(8):
        texts = [each.user for each in service.session(f"s{thread}").turns]
        assert texts == [text for number in range(20) for text in (f"{number}", f"{number}+")]


# --- faults ----------------------------------------------------------------------------------------------------------


def test_the_next_requests_fail_as_told(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    service.fail_next(429, times=2, headers={"Retry-After": "2"}, body="slow down")
    service.fail_next(500, process=True)
    answers = [ask(QUEUE, turn(str(number))) for number in range(4)]

    assert [(each.status, each.text) for each in answers[:2]] == [(429, "slow down")] * 2
    assert answers[0].headers["Retry-After"] == "2"
    assert [each.status for each in answers[2:]] == [500, 200]
    assert [each.user for each in service.session("s").turns] == ["2", "3"]
    assert [(each.status, each.processed) for each in service.requests] == [
        (429, False),
        (429, False),
        (500, True),
        (200, True),
    ]


def test_only_requests_with_events_fail_unless_told(service: LocalMindlytics, ask: Ask) -> None:
    service.fail_next(503)
    assert ask("/bc/v1/live-events/realtime").status == 200
    service.fail_next(502, path="/bc/v1/live-events/")
    assert ask("/bc/v1/live-events/realtime").status == 502
    assert ask(QUEUE, []).status == 503


def test_a_hook_decides_by_content(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    def hook(request: RequestInfo) -> Fault | None:
        texts = [event["properties"]["user"] for event in request.events]
        return Fault.answer(403, body="firewall") if "forbidden" in texts else None

    service.on_request(hook)
    assert ask(QUEUE, [turn("fine"), turn("forbidden")]).text == "firewall"
    assert ask(QUEUE, [turn("fine")]).status == 200
    service.on_request(None)
    assert ask(QUEUE, [turn("forbidden")]).status == 200


def test_a_hook_that_raises_fails_the_test() -> None:
    def hook(_: RequestInfo) -> Fault | None:
        raise RuntimeError("broken hook")

    def use(service: LocalMindlytics) -> int:
        service.on_request(hook)
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        connection.request("POST", QUEUE, "[]")
        try:
            return connection.getresponse().status
        finally:
            connection.close()

    with pytest.raises(RuntimeError, match="broken hook"), LocalMindlytics() as service:
        assert use(service) == 500


def test_a_hook_cannot_wait_for_its_own_server(service: LocalMindlytics, ask: Ask) -> None:
    seen: list[str] = []

    def hook(_: RequestInfo) -> Fault | None:
        try:
            service.close_port()
        except RuntimeError as error:
            seen.append(str(error))
        return None

    service.on_request(hook)
    ask(QUEUE, [])
    assert "called from a hook" in seen[0]


@pytest.mark.parametrize("process", [False, True])
def test_the_connection_is_cut_before_or_after_the_work(
    service: LocalMindlytics, ask: Ask, turn: Turn, process: bool
) -> None:
    service.plan(Fault.reset(process=process))
    with pytest.raises(ConnectionResetError):
        ask(QUEUE, turn())

    assert service.received == int(process)
    assert [(each.status, each.processed) for each in service.requests] == [(None, process)]


@pytest.mark.parametrize("process", [False, True])
def test_a_request_hangs_until_it_is_released(service: LocalMindlytics, ask: Ask, turn: Turn, process: bool) -> None:
    service.plan(Fault.hang(process=process))
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(ask, QUEUE, turn())
        service.wait_for(lambda asked: asked.hanging == 1)
        assert service.received == int(process)
        assert ask(QUEUE, turn(session_id="other")).status == 200  # nobody else is held up
        service.release()
        assert hanging.result(10).status == 200

    assert service.hanging == 0
    assert len(service.events("s")) == 1


def test_a_hang_ends_by_itself_if_told(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    service.plan(Fault.hang(seconds=0.01))

    assert ask(QUEUE, turn()).status == 200
    assert service.received == 1


def test_a_client_that_went_away_while_hanging_is_not_served(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    service.plan(Fault.hang())
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.request("POST", QUEUE, json.dumps(turn()), {"Authorization": "k", "X-App-ID": "app"})
    service.wait_for(lambda asked: asked.hanging == 1)
    connection.close()
    ask(QUEUE, [])  # the server's loop has seen the close before this answer
    service.release()
    service.wait_for(lambda asked: asked.hanging == 0)

    assert service.received == 0


def test_leaving_cuts_what_hangs(turn: Turn) -> None:
    failed = threading.Event()
    with LocalMindlytics() as service:
        service.plan(Fault.hang())

        def send() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
            try:
                connection.request("POST", QUEUE, "[]")
                connection.getresponse()
            except OSError:
                failed.set()
            finally:
                connection.close()

        thread = threading.Thread(target=send)
        thread.start()
        service.wait_for(lambda asked: asked.hanging == 1)
    thread.join(10)
    assert failed.is_set()


def test_slow_answers_are_proper_answers(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    service.plan(Fault.slow(delay=0.01, drip=0.001))
    service.plan(Fault.answer(503, drip=0.001, headers={"Retry-After": "1"}))

    assert ask(QUEUE, turn()).json == {"status": "ok"}
    answer = ask(QUEUE, turn())
    assert (answer.status, answer.text, answer.headers["Retry-After"]) == (503, "Service Unavailable", "1")
    assert [each.status for each in service.requests] == [200, 503]


def test_faults_by_spec_repeat_with_the_seed() -> None:
    def run() -> list[int | None]:
        with LocalMindlytics(faults=["503:0.5"], seed=7) as service:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
            for _ in range(30):
                connection.request("POST", QUEUE, "[]", {"Authorization": "k", "X-App-ID": "app"})
                connection.getresponse().read()
            connection.close()
            return [each.status for each in service.requests]

    first = run()
    assert first == run()
    assert {200, 503} == set(first)


# --- the file --------------------------------------------------------------------------------------------------------


def test_what_it_knows_outlives_it(tmp_path: Path, turn: Turn) -> None:
    def send(service: LocalMindlytics, path: str, body: object) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        headers = {"Authorization": "k", "X-App-ID": "app", "Idempotency-Key": "key"}
        connection.request("POST", path, json.dumps(body), headers)
        assert connection.getresponse().status == 200
        connection.close()

    db = tmp_path / "local.db"
    with LocalMindlytics(db=db) as service:
        send(service, QUEUE, [turn("1"), turn("2", session_id="other")])
        send(service, "/bc/v1/user/identify", {"id": "jj", "traits": {"name": "JJ"}})
        send(service, "/bc/v1/user/alias", {"id": "jjacob", "previous_id": "jj"})
        before = (service.session("s"), service.session("other"), service.live_events())
    with LocalMindlytics(db=db) as service:
        assert (service.session("s"), service.session("other"), service.live_events()) == before
        assert [each.idempotency_key for each in service.records()] == ["key", "key"]
        send(service, QUEUE, [turn("3")])
        assert [each.user for each in service.session("s").turns] == ["1", "3"]
        service.clear()
    with LocalMindlytics(db=db) as service:
        assert service.received == 0


# --- the command -----------------------------------------------------------------------------------------------------

PROGRAM = "import runpy; runpy.run_module('mlsdk.local', run_name='__main__', alter_sys=True)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(number: signal.Signals, tmp_path: Path) -> None:
    arguments = ["--port", "0", "--fault", "429:times=1:retry-after=3", "--api-key", "mine", "--max-body", "100"]
    arguments += ["--db", str(tmp_path / "local.db"), "--seed", "1"]
    with child.started(PROGRAM, *arguments, flags=["-X", "dev", "-W", "error"]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        ready = re.fullmatch(r"Local Mindlytics is ready: http://127\.0\.0\.1:(\d+) \(websocket ws://\S+\)\n", line)
        assert ready is not None
        connection = http.client.HTTPConnection("127.0.0.1", int(ready[1]), timeout=10)
        statuses = []
        for body, key in [("[]", "mine"), ("[]", "mine"), ("[]", "other"), (f'["{"x" * 100}"]', "mine")]:
            connection.request("POST", QUEUE, body, {"Authorization": key, "X-App-ID": "app"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        assert statuses == [429, 200, 403, 413]

        process.send_signal(number)
        assert process.wait(60) == 0
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


def test_in_development_mode_it_does_not_complain_of_a_busy_machine() -> None:
    program = """
        import time
        import urllib.request
        from mlsdk.local import LocalMindlytics

        with LocalMindlytics() as service:
            service.on_request(lambda request: time.sleep(0.2))
            urllib.request.urlopen(f"{service.url}/local/stats").close()
        """
    ended = child.run(program, flags=["-X", "dev", "-W", "error"])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--fault", "often"], 2, "'often' is not a fault"),
        (["--port", "65536"], 2, "argument --port: '65536' is no port"),
        (["--port", "http"], 2, "argument --port: 'http' is no port"),
        (["--db", "."], 1, "local Mindlytics: "),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], status: int, text: str) -> None:
    result = child.run(PROGRAM, *arguments)

    assert result.returncode == status
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_says_that_a_port_is_taken(service: LocalMindlytics) -> None:
    result = child.run(PROGRAM, "--port", str(service.port))

    assert result.returncode == 1
    assert result.stderr.startswith("local Mindlytics: ")
