"""Log calls that do not raise, whatever the application's handlers and filters do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest

from mlsdk.logs import logger_for


class Broken(logging.Handler):
    """A handler that raises, as one does whose window is closed."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("main thread is not in main loop")


@contextlib.contextmanager
def broken_handler(name: str) -> Iterator[None]:
    handler = Broken()
    logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(handler)


def test_what_a_handler_raises_is_shown_and_does_not_reach_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    with broken_handler("mlsdk"):
        logger_for("mlsdk.any").error("it is %s", "broken")
    shown = capsys.readouterr().err
    assert "main thread is not in main loop" in shown
    assert "it is %s" in shown


def test_what_a_filter_raises_does_not_reach_the_caller_either(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise ValueError("filter")

    logger = logger_for("mlsdk.filtered")
    logger.addFilter(broken)
    try:
        logger.error("x")
    finally:
        logger.removeFilter(broken)
    assert "filter" in capsys.readouterr().err


def test_nothing_is_shown_where_logging_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with broken_handler("mlsdk"):
        logger_for("mlsdk.any").error("x")
    assert capsys.readouterr().err == ""


def test_an_interrupt_goes_on_to_the_application() -> None:
    class Interrupted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    logger = logger_for("mlsdk.interrupted")
    handler = Interrupted()
    logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            logger.error("x")
    finally:
        logger.removeHandler(handler)


def test_a_record_names_the_place_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    logger = logger_for("mlsdk.any")
    assert logger_for("mlsdk.any") is logger is logging.getLogger("mlsdk.any")
    logger.error("x")
    assert (caplog.records[0].name, caplog.records[0].filename) == ("mlsdk.any", "test_logs.py")
