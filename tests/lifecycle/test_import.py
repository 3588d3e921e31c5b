"""What importing does to a process: nothing; not even where forks and signals are not to be had."""

from __future__ import annotations

import pytest
from support import child

pytestmark = pytest.mark.lifecycle


@pytest.mark.parametrize(
    "statement", ["import mlsdk", "from mlsdk import Client, Session", "from mlsdk.sync import Client"]
)
def test_nothing_is_started_or_registered_for_exit(statement: str) -> None:
    program = f"""
        import atexit, signal, sys, threading
        registered = []
        atexit.register = lambda function, *_, **__: registered.append(function) or function
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        {statement}
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        ours = [function for function in registered if str(function.__module__).startswith("mlsdk")]
        assert ours == [], ours
        assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
    """
    ended = child.run(program, flags=["-X", "dev", "-W", "error"])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_bare_package_registers_nothing_for_forks_either() -> None:
    program = """
        import os
        os.register_at_fork = None
        import mlsdk
    """
    ended = child.run(program, flags=["-X", "dev", "-W", "error"])
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_system_that_does_not_fork_needs_nothing_of_it() -> None:
    """As on Windows. Without a service: what is recorded is counted as lost."""
    program = """
        import os
        del os.fork, os.register_at_fork
        from mlsdk.sync import Client
        client = Client(api_key="k", project_id="p", server_endpoint="http://127.0.0.1:9", exit_timeout=0)
        client.create_session(device_id="d").track_event(event="hello")
        assert client.stats()["accepted"] >= 2
    """
    ended = child.run(program)
    assert ended.returncode == 0
    assert "3 events lost" in ended.stderr
