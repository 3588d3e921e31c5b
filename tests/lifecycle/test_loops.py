"""Whatever loop the application runs, or does not run, or never ends."""

from __future__ import annotations

import importlib.util

import pytest
from support import lifecycle

from mlsdk.local import LocalMindlytics

pytestmark = pytest.mark.lifecycle

RECORD = """
import asyncio
from mlsdk import Client

async def record(client, name, **how):
    asyncio.get_running_loop().slow_callback_duration = 60  # the development mode tells of a busy machine
    session = client.create_session(device_id=name, **how)
    for number in range(5):
        await session.track_conversation_turn(user=f"{name} {number}", assistant="answer")
    return session
"""


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
@pytest.mark.parametrize("end", ["", "await session.end_session()"])
def test_under_uvloop(service: LocalMindlytics, end: str) -> None:
    program = f"""
        import uvloop
        from mlsdk.delivery.host import host

        heard = []

        async def main():
            global session
            assert "uvloop" in type(asyncio.get_running_loop()).__module__
            session = await record(Client(), "d", on_event=heard.append)
            assert isinstance(host._loop, asyncio.SelectorEventLoop)
            {end}

        loop = uvloop.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        print(len(heard))
    """
    ended = lifecycle.run(service, RECORD + lifecycle.dedent(program), flags=())
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(5)}
    assert not end or int(ended.out) >= len(lifecycle.whole_session(5))


def test_a_loop_that_runs_on_between_calls_as_in_a_notebook(service: LocalMindlytics) -> None:
    """Each cell is a task of a loop that runs before and after it; the kernel ends without ending the session."""
    program = """
        import threading

        kernel = asyncio.new_event_loop()
        threading.Thread(target=kernel.run_forever, daemon=True).start()

        def cell(work):
            return asyncio.run_coroutine_threadsafe(work, kernel).result(30)

        client = Client()
        session = cell(record(client, "first"))
        cell(session.flush())
        assert client.stats()["queued"] == 0
        cell(session.end_session())
        other = cell(record(client, "second"))
    """
    ended = lifecycle.run(service, RECORD + lifecycle.dedent(program), flags=())
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == dict.fromkeys(["first", "second"], lifecycle.whole_session(5))


@pytest.mark.skipif(importlib.util.find_spec("ipykernel") is None, reason="ipykernel is not installed")
def test_in_a_real_kernel(service: LocalMindlytics) -> None:
    program = """
        from jupyter_client.manager import start_new_kernel

        manager, kernel = start_new_kernel(kernel_name="python3")
        try:
            cells = (RECORD, "client = Client(); session = await record(client, 'd')", "await session.end_session()")
            for cell in cells:
                reply = kernel.execute_interactive(cell, timeout=40)
                assert reply["content"]["status"] == "ok", reply
        finally:
            kernel.stop_channels()
            manager.shutdown_kernel(now=False)
    """
    ended = lifecycle.run(service, f"RECORD = {RECORD!r}\n" + lifecycle.dedent(program), flags=())
    assert ended.code == 0, ended.err
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(5)}


def test_several_loops_one_after_another_on_one_client(service: LocalMindlytics) -> None:
    program = """
        client = Client()
        kept = [asyncio.run(record(client, f"loop {number}")) for number in range(3)]
    """
    ended = lifecycle.run(service, RECORD + lifecycle.dedent(program))
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {f"loop {number}": lifecycle.whole_session(5) for number in range(3)}
