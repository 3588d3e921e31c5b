"""However a process ends that is given the time to end, everything that it recorded arrives, the ends included."""

from __future__ import annotations

import textwrap

import pytest
from support import lifecycle

from mlsdk.local import Fault, LocalMindlytics

pytestmark = pytest.mark.lifecycle

SYNC = """
import gc, os, sys, threading, time
from mlsdk.sync import Client

client = Client()
session = client.create_session(device_id="d")
for number in range(10):
    session.track_conversation_turn(user=f"question {number}", assistant="answer")
"""

ASYNC = """
import asyncio, sys
from mlsdk import Client

async def main():
    global session
    asyncio.get_running_loop().slow_callback_duration = 60  # -X dev; the first client loads aiohttp
    client = Client()
    session = client.create_session(device_id="d")
    for number in range(10):
        await session.track_conversation_turn(user=f"question {number}", assistant="answer")
"""

# name: how the program goes on, its exit code, the last line of its stderr
ENDS = {
    "nothing more": ("pass", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "exception": ("raise RuntimeError('on purpose')", 1, "RuntimeError: on purpose"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_everything_arrives(service: LocalMindlytics, kind: str, end: str) -> None:
    how, code, last_line = ENDS[end]
    program = SYNC + how if kind == "sync" else ASYNC + f"    {how}\nasyncio.run(main())\n"
    ended = lifecycle.run(service, program)
    assert ended.code == code
    assert ended.err.strip().rpartition("\n")[2] == last_line
    assert ended.err.count("Traceback") == bool(last_line)
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}


@pytest.mark.parametrize("program", ["Client()", "Client().create_session(device_id='d')"])
def test_a_client_that_records_nothing_leaves_silently(service: LocalMindlytics, program: str) -> None:
    ended = lifecycle.run(service, f"from mlsdk import Client\nkept = {program}\n")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert service.requests == []


def test_contexts_and_callbacks_leave_silently(service: LocalMindlytics) -> None:
    program = """
        import asyncio
        from mlsdk import Client

        async def main():
            asyncio.get_running_loop().slow_callback_duration = 60
            async with Client() as client:
                heard = []
                async with client.create_session(device_id="d", on_event=heard.append, on_error=print) as session:
                    await session.track_conversation_turn(user="hello", assistant="hi")
                assert heard[-1].event == "Session Ended", heard

        asyncio.run(main())
    """
    ended = lifecycle.run(service, program)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(1)}


def test_a_session_with_an_open_websocket_leaves_silently(service: LocalMindlytics) -> None:
    program = """
        import asyncio
        from mlsdk import Client

        async def main():
            global session
            asyncio.get_running_loop().slow_callback_duration = 60
            session = Client().create_session(device_id="d", on_event=lambda event: None, on_error=print)
            await session.track_conversation_turn(user="hello", assistant="hi")

        asyncio.run(main())
    """
    ended = lifecycle.run(service, program)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(1)}


def test_events_that_wait_for_a_websocket_are_not_kept_waiting(service: LocalMindlytics) -> None:
    """Of a session that is joined, which nothing ends: its listener goes on trying."""
    service.on_request(lambda request: Fault.hang() if "live-events" in request.path else None)
    program = """
        from mlsdk.sync import Client

        session = Client().create_session(session_id="s", device_id="d", on_event=print)
        session.track_event(event="joined")
    """
    ended = lifecycle.run(service, program)
    service.on_request(None)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert lifecycle.sessions(service) == {"d": ["joined"]}


def test_a_hook_that_never_returns_does_not_keep_the_process_from_ending(service: LocalMindlytics) -> None:
    """Its session cannot be ended: the thread that waits in the hook is in the midst of a call to it."""
    program = """
        import threading
        from mlsdk.sync import Client

        entered = threading.Event()

        def before_send(event):
            if event.get("event") == "stuck":
                entered.set()
                threading.Event().wait()
            return event

        client = Client(before_send=before_send)
        other = client.create_session(device_id="other")
        other.track_event(event="fine")
        session = client.create_session(device_id="d")
        session.track_event(event="before")
        threading.Thread(target=session.track_event, kwargs={"event": "stuck"}, daemon=True).start()
        entered.wait()
    """
    ended = lifecycle.run(service, program)
    assert ended.code == 0
    assert "a session was not ended" in ended.err
    assert lifecycle.sessions(service) == {
        "d": ["start_session", "before"],
        "other": ["start_session", "fine", "end_session"],
    }


def test_an_open_session_that_is_collected_is_ended(service: LocalMindlytics) -> None:
    """Also one that is part of a cycle, while the process lives on."""
    program = SYNC + textwrap.dedent(
        """
        other = Client().create_session(device_id="other")
        other.track_conversation_turn(user="hello", assistant="hi")
        other.itself = other
        del session, other
        gc.collect()
        client.flush()
        print(client.stats()["delivered"], flush=True)
        os._exit(0)
        """
    )
    ended = lifecycle.run(service, program)
    assert (ended.code, ended.out, ended.err) == (0, "19\n", "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10), "other": lifecycle.whole_session(1)}


def test_daemon_threads_may_record_while_the_process_ends(service: LocalMindlytics) -> None:
    program = SYNC + textwrap.dedent(
        """
        recording = threading.Barrier(5)

        def record(name):
            recording.wait()
            while True:
                mine = client.create_session(device_id=name)
                mine.track_conversation_turn(user=name, assistant="answer")
                mine.end_session()

        for number in range(4):
            threading.Thread(target=record, args=(f"thread {number}",), daemon=True).start()
        recording.wait()
        time.sleep(0.1)
        """
    )
    ended = lifecycle.run(service, program, env={"MLSDK_EXIT_TIMEOUT": "2"})
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert lifecycle.sessions(service)["d"] == lifecycle.whole_session(10)


# -- exit handlers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["last.end_session()", "del last"])
def test_an_exit_handler_that_is_older_than_the_client_may_record(service: LocalMindlytics, end: str) -> None:
    """It runs after ours. Nothing comes later that could wait, so recording does, without a flush."""
    program = f"""
        import atexit

        def farewell():
            last = client.create_session(device_id="last")
            for number in range(10):
                last.track_conversation_turn(user="bye", assistant="bye")
            {end}

        atexit.register(farewell)
        from mlsdk.sync import Client
        client = Client()
    """
    ended = lifecycle.run(service, program)
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {"last": lifecycle.whole_session(10)}


@pytest.mark.parametrize("flush", ["client.flush()", "last.end_session()", "pass"])
def test_the_first_client_may_be_made_in_an_exit_handler(service: LocalMindlytics, flush: str) -> None:
    """Python 3.12.0 to 3.12.2 start no thread that late."""
    program = f"""
        import atexit, concurrent.futures.thread
        from mlsdk.sync import Client

        def farewell():
            client = Client()
            last = client.create_session(device_id="last", on_error=print)
            for number in range(10):
                last.track_conversation_turn(user="bye", assistant="bye")
            {flush}

        atexit.register(farewell)
    """
    ended = lifecycle.run(service, program)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert lifecycle.sessions(service) == {"last": lifecycle.whole_session(10)}
