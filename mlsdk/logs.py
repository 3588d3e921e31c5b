"""Loggers for code that must go on whatever the application's log handlers do.

A handler or a filter may raise: a window that is closed by now, a queue that is full, a library's own mistake. On the
sender's thread nobody would be there to catch that, and what was to be done next, such as to try a batch again, would
not be done.
"""

from __future__ import annotations

import logging
from typing import Final

_HANDLER: Final = logging.Handler()


def logger_for(name: str) -> logging.Logger:
    """The logger of this name, whose calls do not raise.

    What a handler raises is shown on stderr, as `logging` shows what its own handlers run into, unless
    `logging.raiseExceptions` is off.
    """
    logger = logging.getLogger(name)

    def handle(record: logging.LogRecord) -> None:
        try:
            logging.Logger.handle(logger, record)
        except Exception:
            _HANDLER.handleError(record)

    # On the instance: between the call and the handlers there must be no frame of ours, which would be taken for the
    # caller's.
    logger.handle = handle  # type: ignore[method-assign]
    return logger
