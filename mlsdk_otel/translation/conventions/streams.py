"""Streams that nobody has read to their end: what was said of the answer until then is kept, and flagged.

Libraries have no attribute for it. They leave out why the answer ended, and what it cost, or call the end an error that
is none. Pure.
"""

from __future__ import annotations

from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import messages, reading
from mlsdk_otel.translation.spanview import Attributes

_STREAMED: Final = ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming")
_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
_ERROR: Final = "error"
_LEFT: Final = frozenset({"_OTHER", "GeneratorExit", "CancelledError"})
"""Types of error, without their module, where the reader went away and nothing has failed."""


def is_left(attributes: Attributes) -> bool:
    """Whether the error of a stream that has begun to answer is only that its reader went away."""
    kind = attributes.get(names.ERROR_TYPE)
    return isinstance(kind, str) and kind.rpartition(".")[2] in _LEFT


def is_cut(attributes: Attributes, *, is_counted: bool) -> bool:
    """Whether a stream ended before its answer did.

    Args:
        attributes: The span's.
        is_counted: The tokens are known: they come with the end.
    """
    may_lack_one = not is_counted and _is_streamed(attributes)
    reasons = _reasons(attributes, with_all=may_lack_one)
    return _ERROR in reasons or (may_lack_one and not reasons)


def _is_streamed(attributes: Attributes) -> bool:
    parameters = reading.mapping(attributes.get("llm.invocation_parameters")) or {}
    return any(reading.flag(attributes.get(key)) for key in _STREAMED) or parameters.get("stream") is True


def _reasons(attributes: Attributes, *, with_all: bool) -> set[str]:
    """Why the answer ended, wherever a library tells it; unless all are asked for, those in texts that name no error
    may be missing: these are the long ones."""
    found: set[str] = set()
    told = messages.loaded(attributes.get(_FINISH_REASONS))
    found.update(str(each) for each in told if each) if isinstance(told, list | tuple) else found.add(str(told or ""))
    for key, value in attributes.items():
        if key.endswith("finish_reason"):
            found.add(str(value or ""))
    for key in (names.OUTPUT_MESSAGES, "output.value"):
        raw = attributes.get(key)
        if raw is not None and (with_all or not isinstance(raw, str) or _ERROR in raw or "\\u" in raw):
            found.update(_told(messages.loaded(raw)))
    return found - {""}


def _told(raw: object) -> set[str]:
    """The `finish_reason` of messages and choices, however they are wrapped."""
    if isinstance(raw, list | tuple):
        return {reason for each in raw for reason in _told(each)}
    if not isinstance(raw, dict):
        return set()
    reason = raw.get("finish_reason")
    inner = (raw.get(key) for key in ("choices", "generations", "generation_info", "response_metadata"))
    return {str(reason or ""), *(each for held in inner for each in _told(held))}
