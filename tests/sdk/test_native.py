"""Threads, locks and loops of the operating system. With gevent in the way: tests/lifecycle/test_gevent.py."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any
from weakref import WeakSet

import pytest
from support.sdk import PATIENCE

from mlsdk import native


def test_without_gevent_everything_is_the_standard_library_s() -> None:
    assert not native.is_patched()
    assert native.original("socket", "getaddrinfo") is socket.getaddrinfo
    assert native.get_ident() == threading.get_ident()
    assert isinstance(native.new_lock(), type(threading.Lock()))


def test_a_thread_is_a_daemon_and_has_its_name() -> None:
    seen: Future[threading.Thread] = Future()
    native.start_thread(lambda: seen.set_result(threading.current_thread()), name="of mine")
    thread = seen.result(PATIENCE)
    assert (thread.name, thread.daemon) == ("of mine", True)


def test_names_resolve_on_a_daemon_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor's threads would be joined at exit, however long a name server takes."""
    seen: list[threading.Thread] = []

    def look_up(*args: Any) -> list[Any]:
        seen.append(threading.current_thread())
        return [args]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with closing(native.new_loop()) as loop:
        found = loop.run_until_complete(loop.getaddrinfo("host", 80, type=socket.SOCK_STREAM))
    assert found == [("host", 80, 0, socket.SOCK_STREAM, 0, 0)]
    assert seen[0].daemon
    assert seen[0] is not threading.current_thread()


def test_a_name_that_does_not_resolve_is_an_error() -> None:
    with closing(native.new_loop()) as loop, pytest.raises(socket.gaierror):
        loop.run_until_complete(loop.getaddrinfo("no such host.invalid", 80))


def test_where_no_thread_can_be_had_a_name_is_looked_up_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(work: object, *, name: str) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(native, "start_thread", refuse)
    with closing(native.new_loop()) as loop:
        assert loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))


def test_an_answer_that_nobody_waits_for_any_more_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = threading.Event(), threading.Event()

    def look_up(*_: Any) -> list[Any]:
        asked.set()
        answer.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def give_up(loop: native.Loop) -> None:
        task = loop.create_task(loop.getaddrinfo("host", 80))
        await asyncio.sleep(0)
        while not asked.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answer.set()

    with closing(native.new_loop()) as loop:
        loop.run_until_complete(give_up(loop))


def test_waiting_ends_with_the_future() -> None:
    future: Future[int] = Future()
    native.start_thread(lambda: future.set_result(1), name="helper")
    native.wait(future, PATIENCE)
    assert future.result(0) == 1


def test_waiting_ends_with_a_failed_future_too() -> None:
    future: Future[int] = Future()
    future.set_exception(ValueError())
    native.wait(future, PATIENCE)


def test_waiting_ends_with_the_time() -> None:
    began = time.monotonic()
    native.wait(Future(), 0.01)
    assert time.monotonic() - began < PATIENCE


def test_a_set_that_changes_while_it_is_read_is_read_again() -> None:
    class Changing(WeakSet[Any]):
        """A set to which another thread adds while it is read for the first time."""

        reads = 0

        def __iter__(self) -> Iterator[Any]:
            self.reads += 1
            if self.reads == 1:
                raise RuntimeError("Set changed size during iteration")
            return super().__iter__()

    class One:
        pass

    one = One()
    assert native.members(Changing([one])) == [one]
