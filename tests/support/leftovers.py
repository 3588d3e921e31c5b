"""What a test leaves undelivered ends with it: else others would find it tried, and spoken of in the log, meanwhile."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import Any

from mlsdk.delivery import pipeline
from mlsdk.delivery.host import host
from mlsdk.delivery.pipeline import Delivery


def drop() -> None:
    """Ends the deliveries of this process that have something left, or are in trouble; later clients have new ones."""
    for connection, delivery in pipeline.deliveries():
        if delivery.left_over() or delivery.is_in_trouble:
            del pipeline._deliveries[connection]
            host._guests.remove(delivery)
            host.call_soon(partial(_cancel, delivery))


def _cancel(delivery: Delivery) -> None:
    for task in host._tasks:
        work: Any = task.get_coro()
        if asyncio.iscoroutine(work) and inspect.getcoroutinelocals(work).get("self") is delivery:
            task.cancel()
