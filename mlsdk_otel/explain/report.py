"""What would be made of recorded spans, span by span, and why: for users who miss something, and for their reports.

It runs the same code as the exporter, without one: nothing is sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.conventions import native
from mlsdk_otel.translation.facts import Loss, ModelCall
from mlsdk_otel.translation.foreign import Foreign
from mlsdk_otel.translation.spanview import SpanView
from mlsdk_otel.translation.translator import Translator

_NATIVE: Final = "a session or conversation of mlsdk: sent as it was recorded"
_DIRECT: Final = "a session or conversation of mlsdk: the SDK has sent it itself"
_NOT_AI: Final = "not AI"
_UNTOLD: Final = "an AI span of which nothing was made"
_NO_CONTENT: Final = "no content"
_IDS: Final = ("user_id", "device_id", "conversation_id")
_ANY: Final = "any project"
_MAX_TEXT: Final = 70
_MAX_DEPTH: Final = 50


def report(views: Sequence[SpanView]) -> Iterator[str]:
    """The lines of a report: each trace as a tree, each span with what became of it, then what would be sent.

    Args:
        views: In the order in which they ended, which is the order in which an exporter sees them.
    """
    said, sent, loss = _run(views)
    for trace in _traces(views):
        yield f"trace {trace[0].trace_id:032x}"
        for view, depth in _tree(trace):
            yield f"  {'  ' * depth}{view.name or '(no name)'} [{view.scope or 'no scope'}]"
            why = said.get((view.trace_id, view.span_id), _UNTOLD)
            yield f"  {'  ' * depth}    -> {why}{_tokens(view)}"
            if why.startswith(_NO_CONTENT) and (setting := conventions.content_hint(view)):
                yield f"  {'  ' * depth}       for texts, set {setting}"
    yield ""
    yield "would be sent:" if sent else "nothing would be sent"
    for event in sent:
        yield f"  {_line(event)}"
    if loss.events:
        why = loss.why or "without ids"
        yield f"left out, as they make no sense: events of Mindlytics spans, {loss.events} ({why})"


def _run(views: Iterable[SpanView]) -> tuple[dict[tuple[int, int], str], list[Event], Loss]:
    said: dict[tuple[int, int], str] = {}

    def decided(trace_id: int, span_id: int, what: str) -> None:
        said[trace_id, span_id] = what

    translator = Translator(project_id=_ANY, foreign=Foreign(decided=decided))
    sent: list[Event] = []
    for view in views:
        if native.is_of_a_session(view):
            said[view.trace_id, view.span_id] = _NATIVE if native.claims(view) else _DIRECT
        elif conventions.convention_of(view) is None:
            said[view.trace_id, view.span_id] = _NOT_AI
        sent += translator.feed(_of_any_project(view), 0.0)
    return said, sent + translator.close(0.0), translator.loss


def _of_any_project(view: SpanView) -> SpanView:
    if names.PROJECT_ID not in view.attributes:
        return view
    return replace(
        view, attributes={name: value for name, value in view.attributes.items() if name != names.PROJECT_ID}
    )


def _traces(views: Iterable[SpanView]) -> list[list[SpanView]]:
    traces: defaultdict[int, list[SpanView]] = defaultdict(list)
    for view in views:
        traces[view.trace_id].append(view)
    return sorted(traces.values(), key=lambda trace: min(view.start for view in trace))


def _tree(trace: Iterable[SpanView]) -> Iterator[tuple[SpanView, int]]:
    """The spans of a trace, children behind their parent, and how deep they are."""
    known = {view.span_id for view in trace}
    below: defaultdict[int | None, list[SpanView]] = defaultdict(list)
    for view in sorted(trace, key=lambda view: (view.start, -view.end)):
        below[view.parent_id if view.parent_id in known else None].append(view)
    shown: set[int] = set()
    todo = [(view, 0) for view in reversed(below[None])]
    while todo:
        view, depth = todo.pop()
        shown.add(id(view))
        yield view, min(depth, _MAX_DEPTH)
        todo += [(child, depth + 1) for child in reversed(below[view.span_id]) if id(child) not in shown]
    # A span that is above itself hangs from no root.
    yield from ((view, 0) for view in trace if id(view) not in shown)


def _tokens(view: SpanView) -> str:
    found = None if native.claims(view) else conventions.read(view)
    if found is None or not isinstance(found.fact, ModelCall):
        return ""
    call = found.fact
    told = [call.usage.input_tokens, call.usage.output_tokens]
    tokens = "no tokens" if told == [None, None] else " + ".join("?" if n is None else str(n) for n in told) + " tokens"
    return f" ({call.response_model or call.request_model or 'no model'}, {tokens})"


def _line(event: Event) -> str:
    properties = event.get("properties", {})
    told: dict[str, object] = {key: value for key, value in event.items() if key in _IDS}
    told |= properties if isinstance(properties, dict) else {}
    conversation_id = told.pop("conversation_id", event["session_id"])
    if conversation_id != event["session_id"]:
        told["conversation"] = conversation_id
    named = told.pop("event", None) or event.get("event") or event["type"]
    return f"{event['session_id']}: {named} " + ", ".join(f"{key}={_short(value)}" for key, value in told.items())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
