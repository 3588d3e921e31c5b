"""The error tree: one class for each kind of fault, split by whose fault it is.

MindlyticsError
├── ConfigurationError (ValueError)     the key, project, address or another setting is missing or wrong
├── InvalidEventError  (ValueError)     an argument of a call is wrong; nothing was queued
├── SessionClosedError (RuntimeError)   the session has ended
├── DeliveryError                       the service refused an event, or cannot be reached
└── LiveError                           the live-event connection, or an error that the service reports on it
"""

from __future__ import annotations

NO_STATUS = -1
"""The `status` of an error that no HTTP answer caused."""


class MindlyticsError(Exception):
    """Base of every error that this package raises or hands to `on_error`.

    Attributes:
        message: What went wrong, in one sentence. Never holds an API key or the text of an event.
        status: The HTTP status behind it, or -1 when there was no answer.
    """

    def __init__(self, message: str, *, status: int = NO_STATUS) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class ConfigurationError(MindlyticsError, ValueError):
    """A setting is missing or cannot be used; the message names it."""


class InvalidEventError(MindlyticsError, ValueError):
    """An argument of a call is wrong. Nothing was queued and the session is as it was.

    Attributes:
        argument: The name of the argument, or of the key inside `properties`, `attributes` or `traits`.
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument

    def __reduce__(self) -> tuple[object, ...]:
        # An exception is else made anew from its text alone, where a worker pool hands it on.
        return type(self), (self.argument, self.message.removeprefix(f"{self.argument}: ")), vars(self)


class SessionClosedError(MindlyticsError, RuntimeError):
    """The session has ended; `start_session()` or `async with` opens the object again as a new session."""


class DeliveryError(MindlyticsError):
    """An event was refused or dropped, or the service cannot be reached.

    Attributes:
        retryable: True while the events concerned are kept and tried again, False when one is gone for good.
    """

    def __init__(self, message: str, *, status: int = NO_STATUS, retryable: bool = False) -> None:
        super().__init__(message, status=status)
        self.retryable = retryable


class LiveError(MindlyticsError):
    """The live-event connection failed, or the service reported an `MLError` on it."""
