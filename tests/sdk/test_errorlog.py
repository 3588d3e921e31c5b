"""The errors of a session: the last ones, an exact count, and the callback."""

from __future__ import annotations

import asyncio
import threading

from mlsdk import APIResponse, DeliveryError, MindlyticsError
from mlsdk.errorlog import KEPT, ErrorLog


def test_the_last_ones_are_kept_oldest_first_and_all_are_counted() -> None:
    log = ErrorLog(None)
    for number in range(KEPT + 5):
        log.report(DeliveryError(f"{number}", status=400))

    assert log.count == KEPT + 5
    assert log.responses() == [
        APIResponse(errored=True, status=400, message=f"{number}") for number in range(5, KEPT + 5)
    ]


def test_the_answer_is_the_callers_own() -> None:
    log = ErrorLog(None)
    log.report(DeliveryError("m"))
    log.responses().clear()

    assert len(log.responses()) == 1


def test_the_count_is_exact_whatever_thread_reports() -> None:
    log = ErrorLog(None)

    def report() -> None:
        for _ in range(2_000):
            log.report(DeliveryError("m"))

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert log.count == 8_000


def test_the_callback_gets_each_error_in_order() -> None:
    seen: list[MindlyticsError] = []
    errors = [DeliveryError(f"{number}") for number in range(3)]

    async def main() -> None:
        log = ErrorLog(seen.append)
        for error in errors:
            log.report(error)
        assert log.runner is not None
        await asyncio.wrap_future(log.runner.barrier())

    asyncio.run(main())

    assert seen == errors
