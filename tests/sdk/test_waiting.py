"""The two ways to wait, and the countdown that several waits share."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import Future

import pytest

from mlsdk.waiting import Blocking, Suspending, Wait, clock_of, run_blocking

WAYS = [Suspending(), Blocking()]


def started() -> Future[str]:
    future: Future[str] = Future()
    future.set_running_or_notify_cancel()
    return future


def test_the_result_comes_back_to_a_loop_that_went_on() -> None:
    async def main() -> None:
        future = started()
        asyncio.get_running_loop().call_soon(future.set_result, "done")
        assert await Suspending()(future, 10) == "done"

    asyncio.run(main())


def test_the_result_comes_back_to_a_thread_that_stood_still() -> None:
    future = started()
    threading.Timer(0.05, future.set_result, ["done"]).start()

    assert run_blocking(Blocking()(future, 10)) == "done"


@pytest.mark.parametrize("way", WAYS)
def test_a_result_that_is_there_is_not_waited_for(way: Wait) -> None:
    future = started()
    future.set_result("done")

    assert run_blocking(way(future, 0)) == "done"


@pytest.mark.parametrize("way", WAYS)
def test_nothing_comes_of_a_wait_that_was_too_short_and_the_future_lives_on(way: Wait) -> None:
    future = started()

    async def main() -> None:
        began = time.monotonic()
        assert await way(future, 0.05) is None
        assert time.monotonic() - began >= 0.04

    asyncio.run(main())
    future.set_result("late")  # neither cancelled nor tied to a loop that is closed by now
    assert future.result() == "late"


@pytest.mark.parametrize("way", WAYS)
def test_an_error_is_raised_where_it_is_waited_for(way: Wait) -> None:
    future = started()
    future.set_exception(ValueError("broken"))

    async def main() -> None:
        with pytest.raises(ValueError, match="broken"):
            await way(future, 1)

    asyncio.run(main())


def test_where_no_loop_runs_the_thread_waits() -> None:
    future = started()
    threading.Timer(0.05, future.set_result, ["done"]).start()

    assert run_blocking(Suspending()(future, 10)) == "done"


def test_one_may_wait_for_ever() -> None:
    future = started()
    threading.Timer(0.05, future.set_result, ["done"]).start()

    assert run_blocking(Blocking()(future, math.inf)) == "done"


def test_who_is_cancelled_cancels_nothing_but_the_wait() -> None:
    future = started()

    async def main() -> None:
        waiting = asyncio.create_task(Suspending()(future, 10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    future.set_result("done")


def test_run_blocking_runs_a_coroutine_to_its_end() -> None:
    async def work() -> str:
        return "done"

    async def fail() -> None:
        raise ValueError("broken")

    assert run_blocking(work()) == "done"
    with pytest.raises(ValueError, match="broken"):
        run_blocking(fail())


def test_run_blocking_refuses_to_drive_a_loops_work() -> None:
    with pytest.raises(RuntimeError, match="event loop"):
        run_blocking(asyncio.sleep(0))


def test_a_countdown_ends_at_zero() -> None:
    now = [100.0]
    left = clock_of(lambda: now[0], 5)

    assert left() == 5
    now[0] = 103.0
    assert left() == 2
    now[0] = 200.0
    assert left() == 0
