"""What went wrong with a session, for the application to read, and to be told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mlsdk.callbacks import Callback, CallbackRunner
from mlsdk.errors import MindlyticsError

if TYPE_CHECKING:
    from mlsdk.models import APIResponse

KEPT: Final = 100
"""Errors that are kept to be read; more are only counted."""


class ErrorLog:
    """The errors of one session: the last 100, an exact count, and the user's `on_error`."""

    def __init__(self, on_error: Callback[MindlyticsError] | None, *, on_thread: bool = False) -> None:
        """Makes an empty log; `on_thread` as in `CallbackRunner`."""
        # A list: an empty deque takes ten times the room, and hardly any of many sessions has errors.
        self._kept: list[MindlyticsError] = []
        self.count = 0
        self.runner = None if on_error is None else CallbackRunner(on_error, name="on_error", on_thread=on_thread)

    def report(self, error: MindlyticsError) -> None:
        """Takes an error in. From any thread; neither waits nor raises."""
        self.count += 1
        self._kept.append(error)
        del self._kept[:-KEPT]
        if self.runner is not None:
            self.runner.post(error)

    def responses(self) -> list[APIResponse]:
        """The errors that are kept, oldest first."""
        from mlsdk.models import APIResponse  # loads pydantic, which sending needs nowhere

        return [APIResponse(errored=True, status=error.status, message=error.message) for error in list(self._kept)]
