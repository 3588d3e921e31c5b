"""One model call that several spans tell: of an SDK that traces itself, and of a framework around it.

A call inside a call is the same one, unless it holds several that succeeded: then it is something around them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from mlsdk_otel.translation.facts import Enclosure, ModelCall, ToolRun, Usage

Fact: TypeAlias = ModelCall | ToolRun | Enclosure


def without_duplicates(facts: Sequence[tuple[int, Fact]], above: Mapping[int, Sequence[int]]) -> dict[int, Fact]:
    """The facts of a trace, each call once, with what any of its spans knows of it.

    Args:
        facts: By span id, in the order in which they began.
        above: The spans around each, the nearest first.
    """
    kept = dict(facts)
    calls = {span_id for span_id, fact in facts if isinstance(fact, ModelCall)}
    inside: dict[int, list[int]] = {}
    for span_id in calls:
        outer = next((each for each in above.get(span_id, ()) if each in calls), None)
        if outer is not None:
            inside.setdefault(outer, []).append(span_id)
    # The deepest first: an inner one may itself stand for another.
    for outer in sorted(inside, key=lambda span_id: -len(above.get(span_id, ()))):
        known = kept[outer]
        inner = [
            (span_id, fact) for span_id in sorted(inside[outer]) if isinstance(fact := kept.get(span_id), ModelCall)
        ]
        good = [fact for _, fact in inner if not fact.has_failed]
        if not isinstance(known, ModelCall):
            continue
        if len(good) > 1:
            kept[outer] = Enclosure(input=known.input, output=known.output, has_failed=known.has_failed)
            continue
        kept[outer] = _merged(known, good[0] if good else inner[0][1]) if inner else known
        for span_id, _ in inner:
            del kept[span_id]
    return kept


def _merged(outer: ModelCall, inner: ModelCall) -> ModelCall:
    """One call of two that tell it; what the outer one says counts."""
    return replace(
        outer,
        input=outer.input if outer.has_content and outer.input else inner.input or outer.input,
        output=outer.output if outer.has_content and outer.output else inner.output or outer.output,
        request_model=outer.request_model or inner.request_model,
        response_model=outer.response_model or inner.response_model,
        usage=Usage(
            inner.usage.input_tokens if outer.usage.input_tokens is None else outer.usage.input_tokens,
            inner.usage.output_tokens if outer.usage.output_tokens is None else outer.usage.output_tokens,
        ),
        response_id=outer.response_id or inner.response_id,
        previous_response_id=outer.previous_response_id or inner.previous_response_id,
        has_failed=outer.has_failed and inner.has_failed,
        is_partial=outer.is_partial or inner.is_partial,
        has_content=outer.has_content or inner.has_content,
    )
