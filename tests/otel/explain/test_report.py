from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import corpus
from support.spans import SECOND, span

from mlsdk_otel.explain.__main__ import main
from mlsdk_otel.explain.report import report
from mlsdk_otel.translation.spanview import of_span


def recording(name: str) -> corpus.Recording:
    return next(one for one in corpus.recorded() if str(one) == name)


def told(name: str) -> list[str]:
    return list(report(recording(name).views))


def test_each_span_of_a_turn_is_told_with_its_place_in_the_tree() -> None:
    trace = f"{1:032x}"
    library = "opentelemetry.instrumentation.genai.openai"
    assert told("otel-genai-openai/tool_roundtrip")[:7] == [
        f"trace {trace}",
        "  handle_message [corpus.app]",
        "      -> not AI",
        f"    chat gpt-4o-mini [{library}]",
        f"        -> part of turn 1 of session {trace} (gpt-4o-mini-2024-07-18, 61 + 18 tokens)",
        f"    chat gpt-4o-mini [{library}]",
        f"        -> part of turn 1 of session {trace} (gpt-4o-mini-2024-07-18, 95 + 12 tokens)",
    ]


def test_what_would_be_sent_follows() -> None:
    lines = told("otel-genai-openai/tool_roundtrip")
    sent = [line.split(": ", 1)[1] for line in lines[lines.index("would be sent:") + 1 :]]
    kinds = [
        "start_session",
        "Conversation Started",
        "Conversation Function",
        "Conversation Turn",
        "Conversation Ended",
    ]
    assert [next((kind for kind in kinds if line.startswith(kind)), line) for line in sent[:5]] == kinds
    assert 'user="What\'s the weather in Lisbon right now?"' in sent[3]
    assert "prompt_tokens=156, completion_tokens=30" in sent[3]


def test_a_call_without_texts_names_the_switch() -> None:
    lines = told("otel-genai-openai/content_off_default")
    assert "       -> no content: usage only (gpt-4o-mini-2024-07-18, 61 + 18 tokens)" in [line[1:] for line in lines]
    assert any("set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY" in line for line in lines)


def test_a_call_that_is_told_twice_is_named() -> None:
    lines = told("otel-genai-anthropic/duplicate_with_sdk_tracing")
    assert sum("the same call as another span" in line for line in lines) == 2


def test_a_session_of_ours_is_told_and_what_its_spans_would_send() -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("shop")
    ids = {"session.id": "s", "user.id": "ann", "mindlytics.project.id": "one of many"}
    said = {"mindlytics.turn.user": "Hello", "mindlytics.turn.assistant": "Good morning"}
    with (
        tracer.start_as_current_span("mindlytics.session", attributes=ids) as session,
        tracer.start_as_current_span("mindlytics.conversation") as talk,
    ):
        talk.add_event("mindlytics.turn", said)
        session.add_event("mindlytics.turn", said)
    lines = list(report([of_span(each) for each in memory.get_finished_spans()]))

    assert sum("a session or conversation of mlsdk: sent as it was recorded" in line for line in lines) == 2
    *sent, left_out = lines[lines.index("would be sent:") + 1 :]
    assert [line.split(": ")[1].split(" user_id")[0] for line in sent] == [
        *("start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"),
    ]
    assert "user='Hello'" in sent[2]
    assert "events of Mindlytics spans, 1 (mindlytics.turn: gen_ai.conversation.id: is missing" in left_out


def test_a_session_that_the_sdk_sends_itself_is_told() -> None:
    ours = span("mindlytics.session", **{"session.id": "s", "user.id": "ann", "mindlytics.delivery": "direct"})
    lines = list(report([ours]))
    assert any("the SDK has sent it itself" in line for line in lines)
    assert lines[-1] == "nothing would be sent"


@pytest.mark.parametrize("one", corpus.recorded(), ids=str)
def test_something_is_made_of_each_recording(one: corpus.Recording) -> None:
    lines = list(report(one.views))
    assert not any("of which nothing was made" in line for line in lines)
    assert sum(line.lstrip().startswith("-> ") for line in lines) == len(one.views)


def test_spans_that_hang_from_one_another_are_each_told_once() -> None:
    first = span("a", number=1, below=2, end=1)
    second = span("b", number=2, below=1, end=2)
    lines = list(report([first, second]))
    assert [line.split()[0] for line in lines if "[no scope]" in line] == ["a", "b"]


def test_the_command_reads_what_the_console_exporter_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with provider.get_tracer("lib").start_as_current_span("chat m") as made:
        made.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3})
    file = tmp_path / "spans.txt"
    file.write_text("".join(f"{each.to_json()}\n" for each in memory.get_finished_spans()), encoding="utf-8")
    assert main([str(file)]) == 0
    assert "  chat m [" in capsys.readouterr().out


def test_the_command_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    document = {"spans": [{"name": "GET /", "trace_id": "1", "span_id": "2"}]}
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(orjson.dumps(document))))
    assert main(["-"]) == 0
    assert "-> not AI\n\nnothing would be sent\n" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "problem"), [("no json", "no JSON"), ("[]", "no spans"), (None, "No such file")])
def test_a_file_without_spans_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, problem: str
) -> None:
    file = tmp_path / "file.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    assert main([str(file)]) == 2
    captured = capsys.readouterr()
    assert (problem in captured.err, captured.out) == (True, "")


def test_a_deep_tree_is_told() -> None:
    views = [span("s", number=number, below=number - 1 or None, start=number / SECOND) for number in range(1, 3000)]
    assert sum("[no scope]" in line for line in report(views[::-1])) == len(views)
