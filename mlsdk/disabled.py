"""Where events go when the SDK is disabled: nowhere, with no thread and no socket."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlsdk.delivery.buffer import Stats
    from mlsdk.events import Event


class Nowhere:
    """A door behind which nothing is. Calls check their arguments as ever, so that switching on changes nothing."""

    def offer(
        self,
        event: Event,
        *,
        observer: object = None,
        before_send: object = None,
        on_settled: Callable[[bool], None] | None = None,
    ) -> None:
        """Nothing happens to an event."""

    def settled(self, session_ids: object = None) -> Future[bool]:
        """There is nothing to wait for."""
        done: Future[bool] = Future()
        done.set_result(True)
        return done

    def hold(self, session_id: str) -> None:
        """There is nothing to keep."""

    def let_go(self, session_id: str) -> None:
        """Nor to let go."""

    def opened(self, session: object) -> None:
        """Nobody needs its end."""

    def closed(self, session: object) -> None:
        """Nor had."""

    def stats(self) -> Stats:
        """A ledger of zeros."""
        return {
            "accepted": 0,
            "recovered": 0,
            "delivered": 0,
            "queued": 0,
            "spooled": 0,
            "handed_over": 0,
            "dropped": {},
        }
