"""Users' callbacks: where they run, in which order, and that nothing they do harms anybody."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import child

from mlsdk.callbacks import MAX_WAITING, CallbackRunner
from mlsdk.waiting import running_loop

T = TypeVar("T")
PATIENCE = 60.0

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


def runner_of(callback: Callable[[Any], Any]) -> CallbackRunner[Any]:
    return CallbackRunner(callback, name="on_event")


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on the kind of loop that exists everywhere."""
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def from_another_thread(work: Callable[[], T]) -> T:
    found: Future[T] = Future()

    def target() -> None:
        try:
            found.set_result(work())
        except BaseException as problem:
            found.set_exception(problem)

    threading.Thread(target=target).start()
    return found.result(PATIENCE)


async def reached(barrier: Future[None]) -> None:
    await asyncio.wait_for(asyncio.wrap_future(barrier), PATIENCE)


def both_kinds(callback: Callable[[Any], Any]) -> list[Callable[[Any], Any]]:
    async def asynchronous(argument: Any) -> None:
        await asyncio.sleep(0)
        callback(argument)

    return [callback, asynchronous]


# -- without a loop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "async"])
def test_without_a_loop_calls_run_on_the_callback_thread_in_order(kind: int) -> None:
    seen: list[tuple[int, str, bool]] = []
    callback = both_kinds(
        lambda number: seen.append((number, threading.current_thread().name, threading.current_thread().daemon))
    )[kind]
    runner = runner_of(callback)
    for number in range(100):
        runner.post(number)
    assert runner.barrier().result(PATIENCE) is None
    assert seen == [(number, "mlsdk-callbacks", True) for number in range(100)]


def test_all_callbacks_share_the_thread() -> None:
    threads: list[int] = []
    runners = [runner_of(lambda _: threads.append(threading.get_ident())) for _ in range(5)]
    for runner in runners:
        runner.post(None)
    for runner in runners:
        runner.barrier().result(PATIENCE)
    assert len(threads) == 5
    assert len(set(threads)) == 1


def test_an_async_callback_may_use_the_loop_that_it_finds() -> None:
    seen: list[str] = []

    async def callback(argument: str) -> None:
        await asyncio.gather(asyncio.sleep(0), asyncio.to_thread(seen.append, argument))

    runner = runner_of(callback)
    runner.post("a")
    runner.barrier().result(PATIENCE)
    assert seen == ["a"]


class Callback:
    """A callable object with an async ``__call__``."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    async def __call__(self, argument: object) -> None:
        self.seen.append(argument)


def test_any_callable_will_do() -> None:
    callback = Callback()
    seen: list[tuple[str, object]] = []
    for each in (
        callback,
        functools.partial(lambda name, it: seen.append((name, it)), "partial"),
        lambda it: [callback(it)][0],
    ):
        runner = runner_of(each)
        runner.post(1)
        runner.barrier().result(PATIENCE)
    assert callback.seen == [1, 1]
    assert seen == [("partial", 1)]


def test_a_future_may_be_a_callbacks_result() -> None:
    runner = runner_of(lambda _: asyncio.get_running_loop().run_in_executor(None, lambda: None))
    runner.post(1)
    runner.barrier().result(PATIENCE)


# -- on the registering loop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "async"])
def test_calls_run_on_the_loop_of_the_registration(kind: int) -> None:
    seen: list[tuple[int, bool]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        runner = runner_of(both_kinds(lambda number: seen.append((number, running_loop() is loop)))[kind])
        from_another_thread(lambda: [runner.post(number) for number in range(50)])
        runner.post(50)
        await reached(runner.barrier())

    run(main())
    assert seen == [(number, True) for number in range(51)]


def test_posting_never_calls_in_place() -> None:
    async def main() -> None:
        seen: list[int] = []
        runner = runner_of(seen.append)
        runner.post(1)
        assert seen == []
        await reached(runner.barrier())
        assert seen == [1]

    run(main())


def test_a_slow_async_callback_lets_the_loop_go_on_and_keeps_the_order() -> None:
    async def main() -> None:
        seen: list[str] = []
        gate = asyncio.Event()

        async def callback(number: int) -> None:
            seen.append(f"in {number}")
            await gate.wait()
            seen.append(f"out {number}")

        runner = runner_of(callback)
        runner.post(1)
        runner.post(2)
        for _ in range(10):
            await asyncio.sleep(0)
        assert seen == ["in 1"]
        barrier = runner.barrier()
        assert not barrier.done()
        gate.set()
        await reached(barrier)
        assert seen == ["in 1", "out 1", "in 2", "out 2"]

    run(main())


def test_between_two_plain_calls_the_loop_has_a_turn() -> None:
    async def main() -> None:
        seen: list[object] = []
        runner = runner_of(seen.append)
        for number in range(10):
            runner.post(number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(seen) < 10
        await reached(runner.barrier())
        assert seen == list(range(10))

    run(main())


def test_a_slow_callback_does_not_hold_up_another() -> None:
    async def main() -> None:
        never = asyncio.Event()

        async def slow(_: object) -> None:
            await never.wait()

        other = runner_of(lambda _: None)
        runner_of(slow).post(1)
        other.post(1)
        await reached(other.barrier())
        never.set()
        await asyncio.sleep(0)

    run(main())


def test_it_knows_whether_it_is_what_runs_the_code_that_asks() -> None:
    async def main() -> None:
        answers: list[bool] = []
        runner: CallbackRunner[int] = runner_of(lambda _: answers.append(runner.is_calling()))
        other: CallbackRunner[int] = runner_of(lambda _: answers.append(runner.is_calling()))
        runner.post(1)
        await reached(runner.barrier())
        other.post(1)
        await reached(other.barrier())
        assert answers == [True, False]
        assert not runner.is_calling()

    run(main())


def test_it_runs_on_the_thread_when_told_that_the_loop_will_be_blocked() -> None:
    async def main() -> None:
        seen: list[str] = []
        runner: CallbackRunner[int] = CallbackRunner(
            lambda _: seen.append(threading.current_thread().name), name="on_error", on_thread=True
        )
        runner.post(1)
        runner.barrier().result(PATIENCE)  # blocks the loop
        assert seen == ["mlsdk-callbacks"]

    run(main())


# -- callbacks that raise ---------------------------------------------------------------------------------------------


def raiser(problem: BaseException, *, asynchronous: bool) -> tuple[Callable[[int], Any], list[int]]:
    """A callback that raises on odd numbers, and what it was called with."""
    seen: list[int] = []

    def plain(number: int) -> None:
        seen.append(number)
        if number % 2:
            raise problem

    async def coroutine(number: int) -> None:
        await asyncio.sleep(0)
        plain(number)

    return (coroutine if asynchronous else plain), seen


PROBLEMS = [
    ValueError("bad"),
    SystemExit(3),
    asyncio.CancelledError(),
    StopIteration(),
    asyncio.TimeoutError(),
    GeneratorExit(),
]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: type(problem).__name__)
def test_what_a_callback_raises_is_logged_and_the_next_call_is_made(
    problem: BaseException, on_loop: bool, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(problem, asyncio.CancelledError) and asynchronous and sys.version_info < (3, 11):
        pytest.skip("3.10 cannot tell whose cancellation it is; see the next test")
    if isinstance(problem, GeneratorExit) and asynchronous:
        pytest.skip("a coroutine that raises it is broken in itself")
    callback, seen = raiser(problem, asynchronous=asynchronous)

    def use() -> CallbackRunner[int]:
        runner = runner_of(callback)
        for number in range(4):
            runner.post(number)
        return runner

    async def main() -> None:
        await reached(use().barrier())

    if on_loop:
        run(main())
    else:
        use().barrier().result(PATIENCE)
    assert seen == [0, 1, 2, 3]
    name = "RuntimeError" if isinstance(problem, StopIteration) and asynchronous else type(problem).__name__
    records = [record for record in caplog.records if record.name == "mlsdk.callbacks"]
    assert [record.getMessage() for record in records] == [f"the on_event callback failed with {name}"] * 2
    assert all(record.exc_info and record.levelno == logging.WARNING for record in records)


def test_a_cancelled_error_loses_no_call_on_any_python() -> None:
    callback, seen = raiser(asyncio.CancelledError(), asynchronous=True)
    runner = runner_of(callback)
    for number in range(4):
        runner.post(number)
    runner.barrier().result(PATIENCE)
    assert seen == [0, 1, 2, 3]


def test_a_keyboard_interrupt_reaches_the_application_and_the_rest_is_called() -> None:
    seen: list[int] = []

    def callback(number: int) -> None:
        seen.append(number)
        if number == 0:
            raise KeyboardInterrupt

    loop = asyncio.SelectorEventLoop()
    try:

        async def main() -> CallbackRunner[int]:
            runner = runner_of(callback)
            runner.post(0)
            runner.post(1)
            runners.append(runner)
            await asyncio.sleep(PATIENCE)
            return runner

        runners: list[CallbackRunner[int]] = []
        task = loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        task.cancel()
        loop.run_until_complete(asyncio.wait({task}))
    finally:
        loop.close()
    runners[0].barrier().result(PATIENCE)
    assert seen == [0, 1]


@pytest.mark.parametrize("problem", [KeyboardInterrupt, SystemExit])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_kills_the_callback_thread(problem: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    tasks = []

    async def fail() -> None:
        raise problem

    async def callback(what: str) -> None:
        if what == "task":
            tasks.append(asyncio.get_running_loop().create_task(fail()))
        elif what == "raise":
            raise problem
        elif what == "stop":
            asyncio.get_running_loop().stop()

    runner = runner_of(callback)
    for what in ("task", "raise", "stop", "nothing"):
        runner.post(what)
        runner.barrier().result(PATIENCE)
    assert isinstance(tasks[0].exception(), problem)
    assert problem.__name__ in caplog.text


# -- bounded ----------------------------------------------------------------------------------------------------------


def test_calls_that_wait_are_bounded_and_the_rest_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    gate, entered = threading.Event(), threading.Event()
    seen: list[int] = []

    def callback(number: int) -> None:
        entered.set()
        gate.wait(PATIENCE)
        seen.append(number)

    runner = runner_of(callback)
    runner.post(-1)
    assert entered.wait(PATIENCE)
    for number in range(MAX_WAITING + 5):
        runner.post(number)
    assert runner.dropped == 5
    gate.set()
    runner.barrier().result(PATIENCE)
    assert seen == list(range(-1, MAX_WAITING))
    assert [record.getMessage() for record in caplog.records] == [
        "on_event is too slow: more than 1000 calls wait, further ones are dropped"
    ]
    runner.post(5000)
    runner.barrier().result(PATIENCE)
    assert seen[-1] == 5000


def test_a_barrier_is_never_dropped() -> None:
    gate = threading.Event()
    runner = runner_of(lambda _: gate.wait(PATIENCE))
    for number in range(MAX_WAITING * 2):
        runner.post(number)
    barrier = runner.barrier()
    assert not barrier.done()
    gate.set()
    barrier.result(PATIENCE)


@pytest.mark.timed
def test_posting_does_not_wait_for_a_callback_that_hangs() -> None:
    gate = threading.Event()

    async def main() -> CallbackRunner[int]:
        return runner_of(lambda _: gate.wait(PATIENCE))

    for runner in (runner_of(lambda _: gate.wait(PATIENCE)), run(main())):
        began = time.monotonic()
        for number in range(2000):
            runner.post(number)
        assert time.monotonic() - began < PATIENCE / 2
    gate.set()


# -- barriers ---------------------------------------------------------------------------------------------------------


def test_a_barrier_with_nothing_posted_is_reached() -> None:
    runner_of(print).barrier().result(PATIENCE)


def test_a_barrier_does_not_wait_for_what_is_posted_after_it() -> None:
    gate = threading.Event()
    runner = runner_of(lambda wait: gate.wait(PATIENCE) if wait else None)
    runner.post(False)
    barrier = runner.barrier()
    runner.post(True)
    barrier.result(PATIENCE)
    gate.set()


def test_a_waiter_who_gives_up_does_no_harm() -> None:
    async def main() -> None:
        seen: list[int] = []
        gate = asyncio.Event()

        async def callback(number: int) -> None:
            await gate.wait()
            seen.append(number)

        runner = runner_of(callback)
        runner.post(1)
        barrier = runner.barrier()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(barrier), 0.01)
        assert not barrier.cancelled()
        assert not barrier.cancel()
        gate.set()
        runner.post(2)
        await reached(runner.barrier())
        assert barrier.done()
        assert seen == [1, 2]

    run(main())


def test_a_barrier_may_be_awaited_inside_another_callback() -> None:
    async def main() -> None:
        inner, done = runner_of(lambda _: None), asyncio.Event()

        async def callback(_: object) -> None:
            inner.post(1)
            await reached(inner.barrier())
            done.set()

        runner_of(callback).post(1)
        await asyncio.wait_for(done.wait(), PATIENCE)

    run(main())


# -- loops that stop --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "async"])
def test_after_the_loop_is_closed_calls_run_on_the_thread(kind: int) -> None:
    seen: list[tuple[int, str]] = []
    callback = both_kinds(lambda number: seen.append((number, threading.current_thread().name)))[kind]

    async def main() -> CallbackRunner[int]:
        runner = runner_of(callback)
        runner.post(1)
        await reached(runner.barrier())
        return runner

    runner = run(main())
    runner.post(2)
    runner.barrier().result(PATIENCE)
    assert seen == [(1, threading.current_thread().name), (2, "mlsdk-callbacks")]


def test_calls_that_a_loop_did_not_get_round_to_run_on_the_thread() -> None:
    seen: list[int] = []

    async def main() -> CallbackRunner[int]:
        runner = runner_of(seen.append)
        for number in range(10):
            runner.post(number)
        return runner

    runner = run(main())
    assert len(seen) < 10
    runner.barrier().result(PATIENCE)
    assert seen == list(range(10))


def test_a_loop_that_runs_again_is_used_again() -> None:
    seen: list[str] = []
    loop = asyncio.SelectorEventLoop()

    async def register() -> CallbackRunner[str]:
        return runner_of(lambda what: seen.append(f"{what} {threading.current_thread().name}"))

    async def post(runner: CallbackRunner[str], what: str) -> None:
        runner.post(what)
        await reached(runner.barrier())

    runner = loop.run_until_complete(register())
    loop.run_until_complete(post(runner, "on"))
    runner.post("off")
    runner.barrier().result(PATIENCE)
    loop.run_until_complete(post(runner, "on"))
    loop.close()
    here = threading.current_thread().name
    assert seen == [f"on {here}", "off mlsdk-callbacks", f"on {here}"]


def test_a_call_that_a_stopped_loop_interrupted_holds_up_nobody_and_goes_on_with_its_loop() -> None:
    seen: list[str] = []
    loop = asyncio.SelectorEventLoop()

    async def main() -> tuple[CallbackRunner[int], asyncio.Event]:
        gate = asyncio.Event()

        async def callback(number: int) -> None:
            seen.append(f"in {number}")
            if number == 1:
                await gate.wait()
            seen.append(f"out {number}")

        runner = runner_of(callback)
        runner.post(1)
        runner.post(2)
        while not seen:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return runner, gate

    async def go_on(gate: asyncio.Event) -> None:
        gate.set()
        while "out 1" not in seen:  # noqa: ASYNC110
            await asyncio.sleep(0)

    runner, gate = loop.run_until_complete(main())
    runner.post(3)
    runner.barrier().result(PATIENCE)
    assert seen == ["in 1", "in 2", "out 2", "in 3", "out 3"]
    loop.run_until_complete(go_on(gate))
    loop.close()
    runner.post(4)
    runner.barrier().result(PATIENCE)
    assert seen == ["in 1", "in 2", "out 2", "in 3", "out 3", "out 1", "in 4", "out 4"]


def test_a_barrier_is_reached_even_if_the_loop_stops_before_it() -> None:
    """The waiter is on another thread; nothing else is posted that would wake anybody."""
    holds, barriers = threading.Event(), list[Future[None]]()
    seen: list[int] = []

    async def main() -> None:
        runner = runner_of(seen.append)

        def post() -> None:
            runner.post(1)
            barriers.append(runner.barrier())
            holds.set()

        threading.Thread(target=post).start()
        assert holds.wait(PATIENCE)  # the loop is blocked, then over: it gets round to nothing

    run(main())
    barriers[0].result(PATIENCE)
    assert seen == [1]


def test_asyncio_run_cancels_a_call_and_the_others_are_made() -> None:
    seen: list[str] = []

    async def callback(number: int) -> None:
        seen.append(f"in {number}")
        try:
            if number == 1:
                await asyncio.sleep(PATIENCE)
        finally:
            seen.append(f"out {number}")

    async def main() -> CallbackRunner[int]:
        runner = runner_of(callback)
        for number in (1, 2, 3):
            runner.post(number)
        while not seen:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return runner

    runner = asyncio.run(main())
    runner.barrier().result(PATIENCE)
    assert seen == ["in 1", "out 1", "in 2", "out 2", "in 3", "out 3"]


@pytest.mark.timeout(180)
def test_a_loop_may_end_at_any_moment_of_a_flood() -> None:
    """Nothing is lost, doubled or out of order, and no task is left behind for the loop to complain of."""
    for round_ in range(30):
        seen: list[int] = []
        posted: list[int] = []
        stop, begun = threading.Event(), threading.Event()
        box: list[CallbackRunner[int]] = []

        def flood(
            seen: list[int] = seen,
            posted: list[int] = posted,
            stop: threading.Event = stop,
            begun: threading.Event = begun,
            box: list[CallbackRunner[int]] = box,
        ) -> None:
            while not stop.is_set() and len(posted) < MAX_WAITING - 10:
                box[0].post(len(posted))
                posted.append(len(posted))
                begun.set()

        async def main(
            seen: list[int] = seen,
            begun: threading.Event = begun,
            box: list[CallbackRunner[int]] = box,
            flood: Callable[[], None] = flood,
            turns: int = round_,
        ) -> threading.Thread:
            box.append(runner_of(seen.append))
            thread = threading.Thread(target=flood)
            thread.start()
            assert begun.wait(PATIENCE)
            for _ in range(turns):
                await asyncio.sleep(0)
            return thread

        thread = asyncio.run(main())
        stop.set()
        thread.join(PATIENCE)
        box[0].barrier().result(PATIENCE)
        assert seen == posted
        gc.collect()


# -- many threads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "async"])
@pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])
def test_calls_from_many_threads_run_one_at_a_time_in_each_threads_order(on_loop: bool, kind: int) -> None:
    seen: list[tuple[int, int]] = []
    inside: list[object] = []
    most_inside: list[int] = [0]

    def note(argument: tuple[int, int]) -> None:
        inside.append(argument)
        most_inside[0] = max(most_inside[0], len(inside))
        seen.append(argument)
        inside.pop()

    def flood(runner: CallbackRunner[Any]) -> list[threading.Thread]:
        threads = [
            threading.Thread(target=lambda who=who: [runner.post((who, number)) for number in range(100)])
            for who in range(8)
        ]
        for thread in threads:
            thread.start()
        return threads

    def finish(threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(PATIENCE)

    async def main() -> None:
        runner = runner_of(both_kinds(note)[kind])
        threads = flood(runner)
        await asyncio.to_thread(finish, threads)
        await reached(runner.barrier())

    if on_loop:
        run(main())
    else:
        runner = runner_of(both_kinds(note)[kind])
        finish(flood(runner))
        runner.barrier().result(PATIENCE)
    assert len(seen) == 800
    assert most_inside == [1]
    for who in range(8):
        assert [number for other, number in seen if other == who] == list(range(100))


def test_one_client_many_loops() -> None:
    """Each runner keeps to the loop of its own registration."""
    wrong: list[object] = []

    def one() -> None:
        async def main() -> None:
            loop, seen = asyncio.get_running_loop(), list[int]()

            async def callback(number: int) -> None:
                seen.append(number)
                if running_loop() is not loop:
                    wrong.append(number)

            runner = runner_of(callback)
            for number in range(100):
                runner.post(number)
            await reached(runner.barrier())
            assert seen == list(range(100))

        run(main())

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["post", "barrier", "turn", "stop", "raise", "wait"]), max_size=25), st.booleans())
def test_any_use_calls_each_once_in_order(steps: list[str], asynchronous: bool) -> None:
    """On a loop that stops now and then: what was posted is called once, in order, and each barrier is reached."""
    seen: list[int] = []
    posted: list[int] = []
    barriers: list[tuple[Future[None], int]] = []
    failing = {number for number, step in enumerate(steps) if step == "raise"}
    logging.getLogger("mlsdk.callbacks").disabled = True

    def plain(number: int) -> None:
        seen.append(number)
        if number in failing:
            raise ValueError

    async def coroutine(number: int) -> None:
        plain(number)

    async def register() -> CallbackRunner[int]:
        return runner_of(coroutine if asynchronous else plain)

    loop = asyncio.SelectorEventLoop()
    try:
        runner = loop.run_until_complete(register())
        for number, step in enumerate(steps):
            if step in ("post", "raise"):
                runner.post(number)
                posted.append(number)
            elif step == "barrier":
                barriers.append((runner.barrier(), len(posted)))
            elif step == "turn":
                loop.run_until_complete(asyncio.sleep(0))
            elif step == "wait":
                runner.barrier().result(PATIENCE)
                assert seen == posted
    finally:
        loop.close()
        logging.getLogger("mlsdk.callbacks").disabled = False
    runner.barrier().result(PATIENCE)
    assert seen == posted
    assert all(barrier.done() for barrier, _ in barriers)


# -- contexts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "async"])
def test_calls_see_the_variables_of_the_registration(kind: int) -> None:
    seen: list[str] = []
    callback = both_kinds(lambda _: seen.append(variable.get()))[kind]

    def use(runner: CallbackRunner[int]) -> None:
        variable.set("of the poster")
        runner.post(1)
        runner.post(2)

    def register() -> CallbackRunner[int]:
        variable.set("of the registration")
        runner = runner_of(callback)
        variable.set("later")
        return runner

    async def main() -> None:
        runner = register()
        from_another_thread(lambda: use(runner))
        await reached(runner.barrier())

    runner = from_another_thread(register)
    from_another_thread(lambda: use(runner))
    runner.barrier().result(PATIENCE)
    from_another_thread(lambda: run(main()))
    assert seen == ["of the registration"] * 4


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "async"])
def test_what_one_call_sets_the_next_does_not_see(kind: int) -> None:
    seen: list[str] = []

    def callback(number: int) -> None:
        seen.append(variable.get())
        variable.set(f"set by {number}")

    runner = runner_of(both_kinds(callback)[kind])
    for number in range(3):
        runner.post(number)
    runner.barrier().result(PATIENCE)
    assert seen == ["nothing"] * 3
    assert variable.get() == "nothing"


# -- the ends of processes --------------------------------------------------------------------------------------------


def in_child(program: str) -> tuple[int, str, str]:
    # Not `-X dev`: asyncio's debug mode complains of whatever a busy machine makes slow.
    result = child.run(program, flags=["-W", "error", "-W", "ignore:.*fork.*:DeprecationWarning"])
    return result.returncode, result.stdout, result.stderr


@pytest.mark.lifecycle
@pytest.mark.parametrize("callback", ["print", "later"])
def test_a_post_at_exit_neither_raises_nor_hangs(callback: str) -> None:
    """On 3.12 and later no thread starts any more by then: a barrier must not be waited for."""
    code, out, err = in_child(
        f"""
        import asyncio, atexit
        from mlsdk.callbacks import CallbackRunner

        async def later(it):
            await asyncio.sleep(0)
            print(it)

        async def main():
            return CallbackRunner({callback}, name="on_error")

        runner = asyncio.run(main())

        @atexit.register
        def at_exit():
            runner.post("called")
            runner.barrier().result(10)
            print(runner.dropped)
        """
    )
    assert (code, err) == (0, "")
    assert out in ("called\n0\n", "1\n")


@pytest.mark.lifecycle
def test_a_loop_that_ends_in_a_flood_says_nothing() -> None:
    assert in_child(
        """
        import asyncio, threading, time
        from mlsdk.callbacks import CallbackRunner

        async def callback(it):
            await asyncio.sleep(0)

        stop = threading.Event()

        def flood(*runners):
            while not stop.is_set():
                for runner in runners:
                    if len(runner._waiting) < 100:
                        runner.post(1)

        async def main():
            runners = CallbackRunner(callback, name="on_event"), CallbackRunner(lambda it: None, name="on_error")
            thread = threading.Thread(target=flood, args=runners)
            thread.start()
            await asyncio.sleep(0.05)
            return thread

        for _ in range(5):
            stop.clear()
            thread = asyncio.run(main())
            stop.set()
            thread.join()
        """
    ) == (0, "", "")


@pytest.mark.lifecycle
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_child_calls_what_it_posts_and_not_what_its_parent_did() -> None:
    code, out, err = in_child(
        """
        import asyncio, os, threading
        from mlsdk.callbacks import CallbackRunner
        from mlsdk.delivery.host import host  # which tells this module of forks

        gate = threading.Event()

        def callback(it):
            gate.wait(10)
            line = f"{os.getpid() == parent} {it} {threading.current_thread().name}\\n"
            os.write(1, line.encode())  # whole lines: three threads of two processes write

        parent = os.getpid()

        async def main():
            busy = CallbackRunner(callback, name="on_event")
            busy.post("before")
            idle = from_thread
            idle.post("before")
            if not os.fork():
                gate.set()
                for runner in (busy, idle):
                    runner.post("child")
                    runner.barrier().result(10)
                os._exit(0)
            os.wait()
            gate.set()
            await asyncio.wrap_future(busy.barrier())
            await asyncio.wrap_future(idle.barrier())

        from_thread = CallbackRunner(callback, name="on_error")
        asyncio.run(main())
        """
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["False child mlsdk-callbacks"] * 2
    assert sorted(lines[2:]) == ["True before MainThread", "True before mlsdk-callbacks"]


def test_a_timeout_is_what_a_blocked_loop_costs_and_no_more() -> None:
    """Whoever blocks the loop that is to call cannot see the call."""

    async def main() -> None:
        runner = runner_of(lambda _: None)
        with pytest.raises(FutureTimeoutError):
            runner.barrier().result(0.01)
        await reached(runner.barrier())

    run(main())


def test_awaitables_are_accepted_by_type() -> None:
    async def asynchronous(_: int) -> None: ...

    def plain(_: int) -> None: ...

    def returning(_: int) -> Awaitable[None]:
        return asyncio.sleep(0)

    for callback in (asynchronous, plain, returning):
        runner: CallbackRunner[int] = CallbackRunner(callback, name="on_event")
        runner.post(1)
        runner.barrier().result(PATIENCE)
