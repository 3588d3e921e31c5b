"""Under gevent: delivery does not depend on the hub, and waiting does not block it."""

from __future__ import annotations

import pytest
from support import lifecycle

from mlsdk.local import Fault, LocalMindlytics

pytest.importorskip("gevent")
pytestmark = pytest.mark.lifecycle

PATCHED = """
from gevent import monkey
monkey.patch_all()
import asyncio, gevent, sys, time
from mlsdk.sync import Client
from mlsdk.delivery.host import host

client = Client()
"""


def test_other_greenlets_run_while_one_waits(service: LocalMindlytics) -> None:
    service.on_request(lambda _: Fault.slow(delay=0.5))
    program = """
        done = []
        with client.create_session(device_id="d") as session:
            session.track_conversation_turn(user="hello", assistant="hi")
            other = gevent.spawn(lambda: done.append("other"))  # begins when this one waits, if others then run
        assert done == ["other"], done
    """
    ended = lifecycle.run(service, PATCHED + lifecycle.dedent(program), flags=())
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(1)}


def test_delivery_goes_on_while_no_greenlet_waits(service: LocalMindlytics) -> None:
    program = """
        session = client.create_session(device_id="d")
        session.track_conversation_turn(user="hello", assistant="hi")
        began = time.monotonic()
        while host._guests[0]._buffer.stats()["delivered"] < 3:  # not stats(): that would wait
            assert time.monotonic() - began < 30
    """
    ended = lifecycle.run(service, PATCHED + lifecycle.dedent(program), flags=())
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(1)}


def test_a_hundred_greenlets_that_all_wait(service: LocalMindlytics) -> None:
    program = """
        def work(number):
            with client.create_session(device_id=f"greenlet {number}") as session:
                for _ in range(5):
                    session.track_conversation_turn(user="hello", assistant="hi")
                    session.flush()

        gevent.joinall([gevent.spawn(work, number) for number in range(100)], raise_error=True)
        client.flush()
        print(client.stats()["delivered"])
        print(type(host._loop._selector).__name__, monkey.is_module_patched("threading"))
    """
    ended = lifecycle.run(service, PATCHED + lifecycle.dedent(program), flags=())
    assert (ended.code, ended.err) == (0, "")
    delivered, selector = ended.out.splitlines()
    assert delivered == "900"
    assert selector in ("EpollSelector True", "KqueueSelector True", "_SelectSelector True")
    assert lifecycle.sessions(service) == {f"greenlet {number}": lifecycle.whole_session(5) for number in range(100)}


def test_without_a_flush_exit_delivers(service: LocalMindlytics) -> None:
    program = """
        def work(number):
            session = client.create_session(device_id=f"greenlet {number}")
            session.track_conversation_turn(user="hello", assistant="hi")
            kept.append(session)

        kept = []
        gevent.joinall([gevent.spawn(work, number) for number in range(10)], raise_error=True)
    """
    ended = lifecycle.run(service, PATCHED + lifecycle.dedent(program), flags=())
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {f"greenlet {number}": lifecycle.whole_session(1) for number in range(10)}


@pytest.mark.timed
def test_a_service_that_is_silent_costs_the_budget_and_no_more(service: LocalMindlytics) -> None:
    service.on_request(lambda _: Fault.hang())
    program = """
        session = client.create_session(device_id="d")
        session.track_conversation_turn(user="hello", assistant="hi")
        began = time.monotonic()
        session.flush(timeout=0.2)
        assert 0.2 <= time.monotonic() - began < 10
        try:
            with gevent.Timeout(0.2):
                session.flush()
        except gevent.Timeout:
            print("timed out")
    """
    ended = lifecycle.run(service, PATCHED + lifecycle.dedent(program), flags=())
    assert (ended.code, ended.out) == (0, "timed out\n")
    assert ended.err == "mlsdk: 5 events lost: the service did not take them before the process ended\n"


def test_callbacks_run_and_block_nobody(service: LocalMindlytics) -> None:
    """On a thread of the system: as a greenlet their loop would pass for the running one of all greenlets."""
    service.on_request(lambda request: Fault.answer(400) if b"refuse me" in request.body else None)
    program = """
        from mlsdk import Client as AsyncClient
        heard, told = [], []

        def slowly(error):
            time.sleep(0.2)
            told.append(error.status)

        async def asynchronously(error):
            await asyncio.sleep(0.2)
            told.append(error.status)

        for on_error in slowly, asynchronously:
            with client.create_session(device_id="d", on_event=heard.append, on_error=on_error) as session:
                session.track_conversation_turn(user="hello", assistant="hi")
                session.track_conversation_turn(user="refuse me", assistant="hi")
            assert heard.pop().event == "Session Ended"
        assert told == [400, 400], told

        async def main():
            async with AsyncClient().create_session(device_id="d", on_event=heard.append) as session:
                await session.track_conversation_turn(user="hello", assistant="hi")
            assert heard.pop().event == "Session Ended"

        asyncio.run(main())
    """
    ended = lifecycle.run(service, PATCHED + lifecycle.dedent(program), flags=())
    assert ended.code == 0, ended.err
    assert "HTTP status 400" in ended.err  # the first refusal, and nothing else
    assert ended.err.count("\n") == 1
    assert lifecycle.names(service.events()) == lifecycle.whole_session(1) * 3


def test_connections_that_fail_leave_no_descriptor_behind(service: LocalMindlytics) -> None:
    program = """
        import os
        session = client.create_session(device_id="d")
        session.track_conversation_turn(user="hello", assistant="hi")
        session.flush()
        open_before = len(os.listdir("/proc/self/fd"))
        sys.stdin.readline()
        for number in range(3):
            session.track_conversation_turn(user="hello", assistant="hi")
            session.flush(timeout=1.5)
        open_after = len(os.listdir("/proc/self/fd"))
        assert open_after <= open_before + 2, (open_before, open_after)
        os._exit(0)
    """
    pytest.importorskip("resource")
    program = PATCHED + "print('ready', flush=True)" + lifecycle.dedent(program)
    with lifecycle.ready(service, program, flags=()) as running:
        service.wait_for(lambda it: it.received >= 3, timeout=lifecycle.PATIENCE)
        service.close_port()
        _, err = running.communicate("\n", timeout=lifecycle.PATIENCE)
        service.reopen()
    assert running.returncode == 0, err


def test_a_system_without_a_better_selector_uses_select(service: LocalMindlytics) -> None:
    program = (
        "import selectors\n"
        "for name in ('EpollSelector', 'KqueueSelector'):\n"
        "    if hasattr(selectors, name): delattr(selectors, name)\n"
        "selectors.DefaultSelector = selectors.PollSelector\n"
        + PATCHED
        + "session = client.create_session(device_id='d')\n"
        + "session.track_conversation_turn(user='hello', assistant='hi')\n"
        + "print(type(host._loop._selector).__name__)\n"
    )
    ended = lifecycle.run(service, program, flags=())
    assert (ended.code, ended.out, ended.err) == (0, "_SelectSelector\n", "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(1)}


def test_sigint_while_greenlets_record(service: LocalMindlytics) -> None:
    program = """
        import signal

        done = {}

        def work(number):
            session = kept[number]
            while True:
                session.track_conversation_turn(user=f"{number}", assistant="hi")
                done[number] = done.get(number, 0) + 1
                gevent.sleep(0.001)  # lest the queue overflow

        kept = [client.create_session(device_id=f"greenlet {number}") for number in range(5)]
        greenlets = [gevent.spawn(work, number) for number in range(5)]
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        while len(done) < 5:
            gevent.sleep(0.001)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            gevent.joinall(greenlets)
        except KeyboardInterrupt:
            print(sum(done.values()), flush=True)
    """
    ended = lifecycle.run(service, PATCHED + lifecycle.dedent(program), flags=())
    assert ended.code == 0
    assert "lost" not in ended.err
    arrived = lifecycle.texts(service)
    assert int(ended.out) <= len(arrived)  # the greenlets go on while the process waits for delivery
    assert [events[-1] for events in lifecycle.sessions(service).values()] == ["end_session"] * 5
