"""Processes that beget processes: each sends what it recorded itself, once."""

from __future__ import annotations

import os
import sys

import pytest
from support import lifecycle

from mlsdk.local import LocalMindlytics

pytestmark = [
    pytest.mark.lifecycle,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
]

# Python 3.12 and later warn of any fork of a process that has threads.
FLAGS = ("-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning")

COMMON = """
import os, sys, time
from mlsdk.sync import Client

client = Client()

def record(name, turns=5):
    session = client.create_session(device_id=name)
    for number in range(turns):
        session.track_conversation_turn(user=f"{name} {number}", assistant="answer")
    return session
"""


def test_parent_and_child_send_each_their_own_once(service: LocalMindlytics) -> None:
    program = """
        before = record("parent")  # queued, or on its way, while the process forks
        child = os.fork()
        if child == 0:
            mine = record("child")
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        after = record("parent again")
    """
    ended = lifecycle.run(service, COMMON + lifecycle.dedent(program), flags=FLAGS)
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == dict.fromkeys(["parent", "child", "parent again"], lifecycle.whole_session(5))


def test_the_parents_queue_is_the_parents_alone(service: LocalMindlytics) -> None:
    """Many events wait when it forks, and a request is on its way."""
    program = """
        kept = [record(f"parent {number}", 100) for number in range(20)]
        child = os.fork()
        if child == 0:
            assert client.stats()["accepted"] == 0
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    ended = lifecycle.run(service, COMMON + lifecycle.dedent(program), flags=FLAGS)
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {f"parent {number}": lifecycle.whole_session(100) for number in range(20)}


def test_forks_while_another_thread_records(service: LocalMindlytics) -> None:
    program = """
        import threading
        done = threading.Event()

        def work():
            number = 0
            while not done.is_set():
                with client.create_session(device_id=f"thread {number}") as session:
                    session.track_conversation_turn(user="hello", assistant="hi")
                number += 1
            print(number)

        thread = threading.Thread(target=work)
        thread.start()
        children = []
        for number in range(20):
            child = os.fork()
            if child == 0:
                record(f"child {number}", 1).end_session()
                client.flush()
                os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 20
        done.set()
        thread.join()
    """
    ended = lifecycle.run(service, COMMON + lifecycle.dedent(program), flags=FLAGS)
    assert (ended.code, ended.err) == (0, "")
    expected = [f"thread {number}" for number in range(int(ended.out))] + [f"child {number}" for number in range(20)]
    assert lifecycle.sessions(service) == dict.fromkeys(expected, lifecycle.whole_session(1))


def test_a_child_without_a_file_descriptor_records_and_delivers_when_it_has_some(service: LocalMindlytics) -> None:
    program = """
        import os, resource
        from mlsdk.sync import Client

        client = Client()
        session = client.create_session(device_id="parent")
        session.track_event(event="before")
        session.end_session()
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            taken = []
            while True:
                try:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
            session = client.create_session(device_id="child")
            session.track_event(event="without")
            session.track_event(event="without")
            for handle in taken:
                os.close(handle)
            session.track_event(event="with")
            session.end_session()
            os._exit(0)
        print(os.waitpid(child, 0)[1])
    """
    ended = lifecycle.run(service, program, flags=FLAGS)
    assert (ended.code, ended.out, ended.err) == (0, "0\n", "")
    assert lifecycle.sessions(service) == {
        "parent": ["start_session", "before", "end_session"],
        "child": ["start_session", "without", "without", "with", "end_session"],
    }


def test_the_sender_imports_nothing(service: LocalMindlytics) -> None:
    """A process that forks in the middle of a thread's import leaves its child a lock that nobody gives back."""
    program = """
        before = set(sys.modules)
        record("d").end_session()
        print(sorted(set(sys.modules) - before))
    """
    ended = lifecycle.run(service, COMMON + lifecycle.dedent(program))
    assert (ended.out, ended.err) == ("[]\n", "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Process", "ProcessPoolExecutor"])
def test_children_of_multiprocessing_deliver_though_atexit_does_not_run_there(
    service: LocalMindlytics, tmp_path_factory: pytest.TempPathFactory, method: str, kind: str
) -> None:
    how = {
        "Process": """
    children = [context.Process(target=work, args=(number,)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
""",
        "ProcessPoolExecutor": """
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(work, range(2))) == [None, None]
""",
    }
    script = tmp_path_factory.mktemp("children") / "children.py"
    script.write_text(
        COMMON
        + f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

kept = []

def work(number):
    kept.append(record(f"child {{number}}"))

if __name__ == "__main__":
    mine = record("parent")
    context = multiprocessing.get_context("{method}")
{how[kind]}
"""
    )
    flags = FLAGS if method == "fork" else ()  # the servers of the other methods warn by themselves
    ended = lifecycle.run(service, script, flags=flags)
    assert ended.code == 0, ended.err
    assert "lost" not in ended.err
    arrived = {name.partition(" ")[0]: events for name, events in lifecycle.sessions(service).items()}
    assert arrived == {"parent": lifecycle.whole_session(5), "child": lifecycle.whole_session(5)}
    assert {"parent", "child 0", "child 1"} == set(lifecycle.sessions(service))


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_child_that_records_for_the_first_time_while_it_exits(service: LocalMindlytics) -> None:
    program = """
        import atexit

        child = os.fork()
        if child == 0:
            atexit.register(lambda: record("child").end_session())
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    ended = lifecycle.run(service, COMMON + lifecycle.dedent(program), flags=FLAGS)
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {"child": lifecycle.whole_session(5)}
