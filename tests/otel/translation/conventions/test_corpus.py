"""Each recording of a real library is read as what happened, call by call; turns are the assembler's."""

from __future__ import annotations

from typing import Any, Final

import pytest
from support import corpus
from support.corpus import Recording

from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.conventions import identity
from mlsdk_otel.translation.facts import Identity, Message, ModelCall, Reading, ToolRun

EVERY: Final = pytest.mark.parametrize("recording", corpus.recorded(), ids=str)
TOLD_TWICE: Final = {
    "openinference-anthropic/duplicate_with_sdk_tracing",
    "otel-genai-anthropic/duplicate_with_sdk_tracing",
    "openllmetry-anthropic/told_twice_in_two_traces",
}
"""Two libraries make a span of each call; which is which is the assembler's to find out."""
NO_CALLS: Final = {"otel-genai-openai-agents/tool_agents_only", "otel-genai-agno/agents_only"}
MISCOUNTED: Final = {"openllmetry-anthropic/chat_stream"}
"""The library counts one token too many."""
NO_TOKENS: Final = {"openllmetry-legacy/openai_stream"}
"""The library has none on any stream."""


def readings(recording: Recording) -> list[Reading]:
    return [found for view in recording.views if (found := conventions.read(view)) is not None]


def model_calls(recording: Recording) -> list[ModelCall]:
    return [found.fact for found in readings(recording) if isinstance(found.fact, ModelCall)]


def said(messages: list[Message], role: str) -> set[str]:
    return {message.text.strip() for message in messages if message.role == role and message.text is not None}


def seen(recording: Recording, facts: list[Any], kind: str) -> list[Any]:
    return [found for found, is_seen in zip(facts, recording.expected["seen"][kind], strict=True) if is_seen]


@EVERY
def test_each_call_of_a_model_is_found(recording: Recording) -> None:
    calls = model_calls(recording)
    told = 2 if str(recording) in TOLD_TWICE else 0 if str(recording) in NO_CALLS else 1
    assert len(calls) == recording.expected["llm_calls"] * told
    assert sum(call.has_failed for call in calls) == recording.expected["errors"]


@EVERY
def test_what_was_said_is_found(recording: Recording) -> None:
    expected = recording.expected
    calls = model_calls(recording)
    assert any(call.has_content for call in calls) == (expected["content_captured"] and bool(calls))
    if not expected["content_captured"]:
        return
    sent = [message for call in calls for message in call.input]
    # Structured output is the argument of a function; what was answered stands on the agent then.
    answers = [
        message for found in readings(recording) if not isinstance(found.fact, ToolRun) for message in found.fact.output
    ]
    turns = [turn["user"].strip() for turn in seen(recording, expected["turns"] + expected["failed_turns"], "user")]
    if calls:
        answered = [text for turn in expected["turns"] if (text := turn["user"].strip()) in turns]
        # Some applications wrap what was said; what their agents were given tells it, see `framing`.
        assert all(any(text in whole for whole in said(sent, "user")) for text in answered)
        assert {turn["assistant"] for turn in seen(recording, expected["turns"], "assistant")} <= said(
            answers, "assistant"
        )
    results = {given.result for message in sent for given in message.results}
    runs = [found.fact for found in readings(recording) if isinstance(found.fact, ToolRun)]
    functions = seen(recording, expected["functions"], "function_results")
    assert {function["result"] for function in functions} <= results | {run.result for run in runs}


@EVERY
def test_runs_of_functions_are_found_as_they_were(recording: Recording) -> None:
    functions = recording.expected["functions"]
    for found in readings(recording):
        if isinstance(run := found.fact, ToolRun) and recording.expected["content_captured"]:
            assert run.name in {function["name"] for function in functions}
            assert run.result in {function["result"] for function in functions}
            assert run.call_id is None or run.call_id in {function["call_id"] for function in functions}


@EVERY
def test_what_the_calls_cost_is_found(recording: Recording) -> None:
    if str(recording) in TOLD_TWICE | NO_CALLS | MISCOUNTED | NO_TOKENS:
        return
    turns = recording.expected["turns"]
    calls = model_calls(recording)
    for key, tokens in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        found = [getattr(call.usage, tokens) for call in calls if not call.has_failed]
        if any(turn[key] is None for turn in turns):
            assert None in found
        assert sum(count or 0 for count in found) == sum(turn[key] or 0 for turn in turns)


@EVERY
def test_the_model_is_found(recording: Recording) -> None:
    turns = recording.expected["turns"]
    known = {turn["model"] for turn in turns} | {turn["response_model"] for turn in turns}
    for call in model_calls(recording):
        assert {call.request_model, call.response_model} - {None} <= known
        assert call.request_model or call.response_model


@EVERY
def test_ids_are_found_on_some_span_at_least(recording: Recording) -> None:
    expected = recording.expected
    told = [identity.of(view.attributes) for view in recording.views]
    sessions = {found.session_id or found.conversation_id for found in told}
    if recording.scenario == "session_group_id":  # the library loses it
        assert told == [Identity()] * len(told)
        return
    made_up = set(expected.get("conversation_ids_made_by_the_library", ()))
    wanted = {session["session_id"] for session in expected.get("sessions", [expected])}
    assert sessions - {None} - made_up == wanted - {None}
    users = {session["user_id"] for session in expected.get("sessions", [expected])}
    assert {found.user_id for found in told} - {None} == users - {None}


def test_there_are_recordings_of_each_convention() -> None:
    assert len(corpus.recorded()) >= 125
    assert len({recording.convention for recording in corpus.recorded()}) >= 20
