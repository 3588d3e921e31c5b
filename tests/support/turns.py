"""Calls of models as the assembler of turns has them, with what matters to a test and nothing else."""

from __future__ import annotations

from typing import Any

from mlsdk_otel.translation.facts import Usage
from mlsdk_otel.translation.history import Answer, History
from mlsdk_otel.translation.turn import Call, Owner

ALONE = Owner("trace", "trace")
HI = History(said=("hi",))


def a_call(text: str | None = None, **fields: Any) -> Call:
    """A call that was told "hi" and answered with a text, or with nothing."""
    usual: dict[str, Any] = {
        "span": (1, 1),
        "unit": None,
        "owner": None,
        "alone": ALONE,
        "start": 10,
        "end": 20,
        "history": HI,
        "answer": Answer(text),
        "request_model": "m",
        "response_model": None,
        "usage": Usage(1, 1),
        "response_id": None,
        "previous_response_id": None,
        "has_failed": False,
        "is_partial": False,
        "has_content": True,
    }
    return Call(**{**usual, **fields})
