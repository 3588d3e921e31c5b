"""The recordings of real libraries, through the translator: what arrives is what a person would say happened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpus import Recording, recorded
from support.spans import check_wire

from mlsdk.events import Event
from mlsdk_otel.translation.spanview import SpanView
from mlsdk_otel.translation.translator import Translator

BY_NAME = {str(recording): recording for recording in recorded()}

NOT_TOLD = {
    "openinference-openai-agents/session_group_id": "session_id",  # the library leaves it out
    "openllmetry-openai/responses_chain": "links",  # likewise the id of the answer before
    "otel-genai-openai/responses_chain_stream": "links",
    "openllmetry-legacy/openai_stream": "tokens",  # likewise
    "openllmetry-anthropic/chat_stream": "tokens",  # it counts one too many
}
"""What a recording holds no true word of."""


def translated(*batches: Sequence[SpanView]) -> list[Event]:
    """The events of spans that arrive in these batches, the end of the process included."""
    translator = Translator(project_id="p")
    found: list[Event] = []
    for batch in batches:
        for place, view in enumerate(batch):
            found += translator.feed(view, 0.0, is_last=place == len(batch) - 1)
    found += translator.close(0.0)
    check_wire(found)
    assert translator.foreign.sizes()[:3] == [0, 0, 0]
    return found


def problems(recording: Recording, events: list[Event]) -> list[str]:
    """What differs from the truth."""
    hidden = NOT_TOLD.get(str(recording))
    expected = {**recording.expected, **({"session_id": None} if hidden == "session_id" else {})}
    found: list[str] = []
    for truth in expected.get("sessions") or [expected]:
        session_id = truth["session_id"]
        own = [event for event in events if session_id is None or event["session_id"] == session_id]
        found += _problems(truth, own, reads_texts=expected["content_captured"], reads_tokens=hidden != "tokens")
    if expected.get("sessions"):
        known = {session["session_id"] for session in expected["sessions"]}
    else:
        known = {expected["session_id"]} if expected["session_id"] else set()
    is_linked = expected["content_captured"] and not expected["failed_turns"] and hidden != "links"
    if not known and is_linked and len({event["session_id"] for event in events}) > 1:
        found.append(f"several sessions {[event['session_id'] for event in events]}")
    if known and {event["session_id"] for event in events} != known:
        found.append(f"sessions {[event['session_id'] for event in events]}")
    return found


def _problems(truth: Mapping[str, Any], events: list[Event], *, reads_texts: bool, reads_tokens: bool) -> list[str]:
    found: list[str] = []
    if truth["user_id"] and {event.get("user_id", event.get("id")) for event in events} != {truth["user_id"]}:
        found.append(f"user {[event.get('user_id') for event in events]}")
    turns = _of(events, "Conversation Turn")
    usages = _of(events, "Conversation Usage")
    if not reads_texts:
        for name in ("prompt_tokens", "completion_tokens"):
            total = sum(turn[name] or 0 for turn in truth["turns"])
            told = sum(usage[name] for usage in usages)
            if turns or (told != total and truth["llm_calls"] and usages):
                found.append(f"{name} {told} != {total}, {len(turns)} turns")
        return found
    if usages:
        found.append(f"usage {usages}")
    if len(turns) != len(truth["turns"]):
        found.append(f"{len(turns)} turns: {turns}")
    for told, turn in zip(turns, truth["turns"], strict=False):
        if told["user"].split() != turn["user"].split() or told["assistant"].split() != turn["assistant"].split():
            found.append(f"texts {told} != {turn}")
        if told.get("model") not in (turn["model"], turn["response_model"]):
            found.append(f"model {told.get('model')} != {turn}")
        tokens = ("prompt_tokens", "completion_tokens") if reads_tokens else ()
        found += [f"{name} {told.get(name)} != {turn[name]}" for name in tokens if told.get(name) != turn[name]]
    functions = _of(events, "Conversation Function")
    if len(functions) != len(truth["functions"]):
        found.append(f"{len(functions)} functions: {functions}")
    for told, function in zip(_sorted(functions), _sorted(truth["functions"]), strict=False):
        if (told["name"], json.loads(told["args"])) != (function["name"], function["args"]):
            found.append(f"function {told} != {function}")
        if _loaded(told.get("result")) != _loaded(function["result"]):
            found.append(f"result {told.get('result')!r} != {function['result']!r}")
    return found


def _of(events: Iterable[Event], name: str) -> list[Any]:
    return [event["properties"] for event in events if event.get("event") == name]


def _sorted(functions: list[Any]) -> list[Any]:
    def key(function: Any) -> str:
        args = function["args"]
        return json.dumps([function["name"], json.loads(args) if isinstance(args, str) else args], sort_keys=True)

    return sorted(functions, key=key)


def _loaded(result: object) -> object:
    try:
        return json.loads(result) if isinstance(result, str) else result
    except json.JSONDecodeError:
        return result


@pytest.mark.parametrize("name", BY_NAME)
def test_a_recording_becomes_what_happened(name: str) -> None:
    recording = BY_NAME[name]
    events = translated(*([view] for view in recording.views))
    assert problems(recording, events) == []


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how many recordings of each convention come out right."""
    wrong = 0
    with capsys.disabled():
        for convention, recordings in groupby(recorded(), key=lambda recording: recording.convention):
            results = [
                not problems(recording, translated(*([view] for view in recording.views))) for recording in recordings
            ]
            wrong += results.count(False)
            print(f"\n  {convention}: {sum(results)} of {len(results)}", end="")
    assert wrong == 0


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_order_in_which_spans_arrive_makes_no_difference(data: st.DataObject) -> None:
    """In one batch any order at all; in several, and one by one, any order in which the spans of a trace can end."""
    recording = data.draw(st.sampled_from(recorded()))
    if data.draw(st.booleans()):
        batches = [list(data.draw(st.permutations(recording.views)))]
    else:
        traces = data.draw(st.permutations(sorted({view.trace_id for view in recording.views})))
        left = [[view for view in recording.views if view.trace_id == trace_id] for trace_id in traces]
        views = [left_of.pop(0) for left_of in data.draw(_interleaved(left))]
        cuts = data.draw(st.sets(st.integers(0, len(views))))
        edges = sorted({0, len(views)} | cuts)
        batches = [views[start:end] for start, end in pairwise(edges)]
    assert problems(recording, _in_order(translated(*batches))) == []


@st.composite
def _interleaved(draw: st.DrawFn, left: list[list[SpanView]]) -> list[list[SpanView]]:
    return list(draw(st.permutations([views for views in left for _ in views])))


def _in_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: str(event["timestamp"]))
