"""The background thread: when it starts, what runs on it and in which context, and how its owner's end waits for it.

With whole processes that end, fork or are signalled: tests/lifecycle.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from support.sdk import PATIENCE

from mlsdk import native, waiting
from mlsdk.delivery import host as module
from mlsdk.delivery.host import Host

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


@pytest.fixture
def host() -> Iterator[Host]:
    """One of its own. Its thread stays until the end of the process, as that of a real one does."""
    made = Host()
    yield made
    waiting.block = native.wait
    atexit.unregister(made.drain)


def result_of(host: Host, function: Callable[[], Any]) -> Any:
    """What a function returns that is called on the host's loop."""
    answer: Future[Any] = Future()

    def call() -> None:
        try:
            answer.set_result(function())
        except BaseException as problem:
            answer.set_exception(problem)

    host.call_soon(call)
    return answer.result(PATIENCE)


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the interpreter does on some versions while it exits."""

    def refuse(work: object, *, name: str) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(native, "start_thread", refuse)


class Guest:
    """Something to finish: done when told to, or after so many looks."""

    def __init__(self, *, looks: float = 0, exit_timeout: float = 10.0) -> None:
        self.exit_timeout = exit_timeout
        self.looks = looks
        self.answered = 0.0
        self.finished = 0
        self.storing = 0
        self.begun: list[threading.Thread] = []
        self.began = threading.Event()

    def finish(self) -> None:
        self.finished += 1

    def is_drained(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def last_answer(self) -> float:
        return self.answered

    def left_over(self) -> int:
        return 3 if self.looks >= 0 else 0

    def is_storing(self) -> bool:
        self.storing = max(0, self.storing - 1)
        return self.storing > 0

    def after_fork_in_child(self) -> None: ...

    async def run(self) -> None:
        self.begun.append(threading.current_thread())
        self.began.set()
        await asyncio.get_running_loop().create_future()


# -- the thread


def test_it_starts_with_its_first_use(host: Host) -> None:
    assert not host.is_running
    thread = result_of(host, threading.current_thread)
    assert host.is_running
    assert (thread.name, thread.daemon) == ("mlsdk-delivery", True)
    assert result_of(host, threading.current_thread) is thread
    assert result_of(host, host.is_own_thread)
    assert not host.is_own_thread()


@pytest.mark.parametrize("policy", ["none", "raising"])
def test_the_loop_is_a_selector_loop_whatever_the_policy(
    host: Host, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the policy was asked")

    if policy == "raising":
        monkeypatch.setattr(asyncio, "new_event_loop", refuse)
        monkeypatch.setattr(asyncio, "set_event_loop", refuse)
        monkeypatch.setattr(asyncio, "get_event_loop_policy", refuse, raising=False)
    loop = result_of(host, asyncio.get_running_loop)
    assert isinstance(loop, asyncio.SelectorEventLoop)
    assert not loop.get_debug()


def test_many_threads_that_start_it_at_once_get_one(host: Host) -> None:
    guest = Guest()
    gate = threading.Barrier(8)
    seen: list[threading.Thread] = []

    def use() -> None:
        gate.wait(PATIENCE)
        host.call_soon(lambda: seen.append(threading.current_thread()))

    users = [threading.Thread(target=use) for _ in range(8)]
    host.add(guest)
    for user in users:
        user.start()
    for user in users:
        user.join(PATIENCE)
    assert result_of(host, lambda: len(seen)) == 8
    assert set(seen) == {result_of(host, threading.current_thread)}
    assert len(guest.begun) == 1


def test_a_call_that_interrupts_the_start_neither_waits_nor_is_lost(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler or a finalizer, in the thread that is just starting the host."""
    called = threading.Event()
    real = native.new_loop

    def interrupted() -> native.Loop:
        host.call_soon(called.set)
        host.start()
        return real()

    monkeypatch.setattr(native, "new_loop", interrupted)
    host.start()
    assert called.wait(PATIENCE)


def test_guests_run_once_each_whenever_they_come(host: Host) -> None:
    guests = [Guest() for _ in range(3)]
    for guest in guests:
        host.add(guest)
    own = result_of(host, threading.current_thread)
    for guest in guests:
        assert guest.began.wait(PATIENCE)
        assert guest.begun == [own]


def test_work_that_fails_is_logged_and_harms_nobody(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    failed = threading.Event()

    async def fail() -> None:
        asyncio.get_running_loop().call_soon(failed.set)
        raise ValueError("on purpose")

    host.spawn(fail)
    assert failed.wait(PATIENCE)
    assert result_of(host, lambda: "alive") == "alive"
    assert [record.getMessage() for record in caplog.records] == ["background work ended with ValueError"]


# -- contexts


def test_the_thread_survives_whoever_wants_to_end_it(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A log handler of the application's may exit; on a thread that is not its own, it would end delivery for good."""

    def leave() -> None:
        raise SystemExit

    host.call_soon(leave)
    assert result_of(host, lambda: 7) == 7
    assert "SystemExit" in caplog.text


def test_work_carries_nothing_of_its_caller_s_context(host: Host) -> None:
    variable.set("of the caller")
    seen: Future[str] = Future()

    async def look() -> None:
        seen.set_result(variable.get())

    assert result_of(host, variable.get) == "nothing"
    host.spawn(look)
    assert seen.result(PATIENCE) == "nothing"


# -- exit


def lost(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_the_exit_of_a_host_that_nobody_used_does_nothing(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.drain()
    assert not host.is_running
    assert lost(capsys) == ""


def test_exit_waits_for_every_guest(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    guests = [Guest(looks=3), Guest(looks=5)]
    for guest in guests:
        host.add(guest)
    host.drain()
    assert [guest.finished for guest in guests] == [1, 1]
    assert all(guest.left_over() == 0 for guest in guests)
    assert lost(capsys) == ""


def test_what_goes_to_disk_at_the_end_is_waited_for_before_losses_are_counted(
    capsys: pytest.CaptureFixture[str], host: Host
) -> None:
    guest = Guest(looks=-1)
    guest.storing = 5
    host.add(guest)
    host.drain()
    assert guest.storing == 0
    assert lost(capsys) == ""


def test_silence_ends_the_wait(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "silence_within", lambda _: 0.05)
    host.add(Guest(looks=float("inf")))
    host.drain()
    assert lost(capsys) == "mlsdk: 3 events lost: the service did not take them before the process ended\n"


def test_what_is_lost_after_losses_were_told_is_told_as_more(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "silence_within", lambda _: 0.05)
    host.add(Guest(looks=float("inf")))
    host.drain()
    host.add(Guest(looks=float("inf")))
    host.drain()
    first, second = lost(capsys).splitlines()
    assert first.startswith("mlsdk: 3 events lost: ")
    assert second == "mlsdk: 3 more events lost: the service did not take them before the process ended"


@pytest.mark.parametrize(("budget", "silence"), [(0.0, 2.0), (5.0, 2.0), (10.0, 2.0), (20.0, 4.0), (60.0, 12.0)])
def test_who_gives_more_time_than_usual_waits_longer_for_an_answer(budget: float, silence: float) -> None:
    assert module.silence_within(budget) == silence


def test_answers_lengthen_the_wait_up_to_the_budget(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "silence_within", lambda _: 0.05)

    class Answered(Guest):
        def last_answer(self) -> float:
            return time.monotonic()

    host.add(Answered(looks=float("inf"), exit_timeout=0.4))
    began = time.monotonic()
    host.drain()
    assert time.monotonic() - began >= 0.4
    assert "3 events lost" in lost(capsys)


@pytest.mark.timed
@pytest.mark.parametrize("resumes", [20.0, 11.0])
def test_a_service_that_asks_to_be_left_alone_beyond_the_budget_is_not_waited_for(host: Host, resumes: float) -> None:
    guest = Guest(looks=float("inf"))
    guest.answered = time.monotonic() + resumes
    host.add(guest)
    began = time.monotonic()
    host.drain()
    assert time.monotonic() - began < 5


def test_a_guest_that_is_done_lengthens_nothing(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    done = Guest(exit_timeout=1000)
    done.answered = time.monotonic() + 500
    host.add(done)
    host.add(Guest(looks=float("inf"), exit_timeout=0.05))
    began = time.monotonic()
    host.drain()
    assert time.monotonic() - began < PATIENCE
    assert "3 events lost" in lost(capsys)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_who_interrupts_the_wait_ends_it(
    host: Host, interruption: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting(Guest):
        def is_drained(self) -> bool:
            raise interruption

    host.add(Interrupting(looks=1))
    host.drain()
    assert "3 events lost" in lost(capsys)


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_a_loss_is_not_worth_an_error(host: Host, stderr: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr("sys.stderr", stderr and Closed())
    host.add(Guest(looks=float("inf"), exit_timeout=0))
    host.drain()


# -- no thread


def test_where_no_thread_can_be_had_who_waits_does_the_work(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch)
    answer: Future[bool] = Future()
    host.call_soon(lambda: answer.set_result(host.is_own_thread()))
    assert host.is_running
    assert not answer.done()
    waiting.block(answer, PATIENCE)
    assert answer.result(0)
    assert not host.is_own_thread()


def test_where_no_thread_can_be_had_waits_have_bounds(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch)
    host.start()
    began = time.monotonic()
    waiting.block(Future(), 0.1)
    assert 0.1 <= time.monotonic() - began < PATIENCE


def test_where_no_thread_can_be_had_exit_does_the_work(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_threads(monkeypatch)

    class Working(Guest):
        async def run(self) -> None:
            await asyncio.sleep(0.01)
            self.looks = 0

    host.add(Working(looks=float("inf")))
    host.drain()
    assert lost(capsys) == ""
