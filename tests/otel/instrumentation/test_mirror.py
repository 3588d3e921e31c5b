from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, use_span
from opentelemetry.util.types import Attributes
from support.spans import NOON

from mlsdk import events
from mlsdk.delivery.host import host
from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.instrumentation import mirror as module
from mlsdk_otel.instrumentation.mirror import Mirror, Policy

WHO = events.common(session_id="s", user_id="u")
MOMENT = NOON // 1000
START = events.start_session(WHO, MOMENT)
END = events.end_session(WHO, MOMENT + 9_000_000)
PAID = events.custom(WHO, MOMENT, event="Paid")


def opens(conversation_id: str = "c", moment: int = MOMENT) -> Event:
    return events.conversation_started(WHO, moment, conversation_id=conversation_id)


def closes(conversation_id: str = "c", moment: int = MOMENT) -> Event:
    return events.conversation_ended(WHO, moment, conversation_id=conversation_id)


def turn(text: str = "hi", conversation_id: str = "c", moment: int = MOMENT) -> Event:
    return events.turn(WHO, moment, conversation_id=conversation_id, user=text, assistant=text)


class Stage:
    """A mirror, and the spans that it has ended."""

    def __init__(self, sampler: Sampler | None = None, *, is_read: bool = True, **policy: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("t")
        settings = {"max_events": 100, "max_seconds": None, "intends_otel": True, "project_id": "p", **policy}
        self.mirror = Mirror(Policy(tracer=self.tracer, will_be_read=lambda span: is_read, **settings))

    def play(self, *script: Event) -> list[bool]:
        return [self.mirror.record(event) for event in script]

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def told(self) -> list[str]:
        """The spans in the order of their ends: `session`, `conversation c`, their parts, and their events."""
        return [_in_short(span) for span in self.spans]


def _in_short(span: ReadableSpan) -> str:
    attributes = span.attributes or {}
    words = [span.name.removeprefix("mindlytics."), attributes.get(names.CONVERSATION_ID)]
    words += [f"part {attributes[names.PART]}" if names.PART in attributes else None]
    words += [word for word, key in (("again", names.REOPENED), ("...", names.CONTINUED)) if key in attributes]
    texts = [
        (event.attributes or {}).get(names.TURN_USER, event.name.removeprefix("mindlytics.")) for event in span.events
    ]
    return " ".join(str(word) for word in [*words, f"({','.join(map(str, texts))})" if texts else None] if word)


def test_a_session_is_a_root_and_its_conversations_are_children() -> None:
    stage = Stage()
    assert stage.play(START, opens(), turn(), PAID, closes(), END) == [True] * 6
    assert stage.told() == ["conversation c (hi)", "session (event)"]
    conversation, session = stage.spans
    assert session.parent is None
    assert conversation.parent is not None
    assert conversation.parent.span_id == session.context.span_id
    assert (session.start_time, session.end_time) == (NOON, NOON + 9_000_000_000)
    assert (session.attributes or {})[names.CONVERSATIONS] == 1


def test_a_session_inside_a_request_is_a_root_that_links_to_it() -> None:
    stage = Stage()
    request = stage.tracer.start_span("request")
    with use_span(request):
        stage.play(START, END)
    (session,) = stage.spans
    assert session.parent is None
    assert [link.context for link in session.links] == [request.get_span_context()]


def test_a_span_goes_on_in_another_before_its_limit() -> None:
    stage = Stage(max_events=2)
    stage.play(START, opens(), *(turn(str(number)) for number in range(5)), closes(), END)
    assert stage.told() == [
        "conversation c ... (0,1)",
        "conversation c part 1 ... (2,3)",
        "conversation c part 2 (4)",
        "session",
    ]


def test_a_span_that_delivers_goes_on_in_another_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    for intends, parts in ((True, 2), (False, 1)):
        stage = Stage(max_seconds=300, intends_otel=intends)
        stage.play(START, PAID)
        now += 300
        stage.play(PAID, END)
        assert len(stage.spans) == parts


def test_a_conversation_that_is_opened_again_goes_on_counting() -> None:
    stage = Stage(max_events=1)
    stage.play(START, opens(), turn("1"), turn("2"), closes(), opens(), turn("3"), turn("4"), closes(), END)
    assert stage.told()[:4] == [
        "conversation c ... (1)",
        "conversation c part 1 (2)",
        "conversation c part 2 again ... (3)",
        "conversation c part 3 (4)",
    ]
    assert (stage.spans[-1].attributes or {})[names.CONVERSATIONS] == 2


def test_what_is_remembered_of_conversations_that_ended_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENDED", 3)
    stage = Stage()
    stage.play(START)
    for number in range(10):
        stage.play(opens(f"c{number}"), closes(f"c{number}"))
    assert len(stage.mirror._numbers) == 3


def test_events_of_conversations_that_are_not_open_are_the_sessions() -> None:
    stage = Stage()
    stage.play(START, turn("1", "x"), closes("x"), opens(), closes(), turn("2"), END)
    assert stage.told() == ["conversation c", "session (1,conversation.ended,2)"]


def test_custom_events_that_look_like_the_services_lose_nothing() -> None:
    """The span of such a conversation was once never ended, and a start without conversation raised."""
    stage = Stage()
    looks = events.custom(WHO, MOMENT, event="Conversation Started", conversation_id="c")
    bare = events.custom(WHO, MOMENT, event="Conversation Started")
    stage.play(START, looks, turn("1"), looks, bare, END)
    assert stage.told() == ["conversation c ... (1,conversation.started)", "session (event)"]
    assert (stage.spans[-1].attributes or {})[names.CONVERSATIONS] == 0


def test_handing_out_tells_starts_too_but_nothing_twice() -> None:
    """A session that only had its start was once not delivered by a flush."""
    stage = Stage()
    stage.play(START, opens())
    stage.mirror.hand_out()
    assert stage.told() == ["conversation c ...", "session ..."]
    stage.mirror.hand_out()
    assert len(stage.spans) == 2
    stage.play(turn())
    stage.mirror.hand_out()
    assert stage.told()[2:] == ["conversation c part 1 ... (hi)"]


def test_spans_that_nobody_of_ours_reads_say_so_from_their_start() -> None:
    """A processor that saw a continuation start without knowing told the session's start a second time."""
    for options in ({"is_read": False}, {"intends_otel": False}):
        stage = Stage(max_events=1, **options)
        assert stage.play(START, PAID, PAID, opens(), turn(), turn(), closes(), END) == [False] * 8
        assert len(stage.spans) == 4
        assert {(span.attributes or {}).get(names.DELIVERY) for span in stage.spans} == {names.DIRECT}
        stage.mirror.hand_out()
        assert len(stage.spans) == 4


def test_a_continuation_of_the_session_is_marked_when_it_starts() -> None:
    starts: list[Any] = []
    stage = Stage(max_events=1, is_read=False)

    class Watch(SimpleSpanProcessor):
        def on_start(self, span: Any, parent_context: Context | None = None) -> None:
            starts.append(dict(span.attributes or {}).get(names.DELIVERY))

    stage.provider.add_span_processor(Watch(InMemorySpanExporter()))
    stage.play(START, PAID, PAID, END)
    assert starts == [None, names.DIRECT]  # of the first it is found out by starting it


class Fickle(Sampler):
    """Samples as a function of the span's name says."""

    def __init__(self, wants: Callable[[str], bool]) -> None:
        self.wants = wants

    def should_sample(  # noqa: PLR0917 - the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE if self.wants(name) else Decision.DROP, attributes)

    def get_description(self) -> str:
        return "fickle"


def test_a_conversation_that_the_sampler_drops_is_told_by_the_sessions_span() -> None:
    """It was once lost, whole."""
    stage = Stage(Fickle(lambda name: name == names.SESSION_SPAN))
    assert stage.play(START, opens(), turn(), closes(), END) == [True] * 5
    assert stage.told() == ["session (conversation.started,hi,conversation.ended)"]
    assert (stage.spans[0].attributes or {})[names.CONVERSATIONS] == 0


def test_a_span_whose_continuation_the_sampler_drops_goes_on() -> None:
    budget = iter([True])
    stage = Stage(Fickle(lambda name: next(budget, False)), max_events=1)
    stage.play(START, PAID, PAID, END)
    assert stage.told() == ["session (event,event)"]


def test_an_event_of_a_joined_session_is_a_span_of_its_own() -> None:
    stage = Stage()
    assert stage.play(opens(), turn(), END) == [True] * 3
    assert stage.told() == ["session (conversation.started)", "session (hi)", "session (session.ended)"]
    assert all((span.attributes or {})[names.JOINED] is True for span in stage.spans)
    assert all(span.parent is None for span in stage.spans)
    # Whoever flushes has to know that spans have something to deliver.
    assert stage.mirror.delivers


def test_letting_go_ends_the_spans_and_not_the_session() -> None:
    stage = Stage()
    stage.play(START, opens(), turn())
    stage.mirror.let_go()
    assert stage.told() == ["conversation c ... (hi)", "session ..."]
    stage.play(turn("2"))
    assert stage.told()[2:] == ["session (2)"]


@pytest.mark.parametrize("year", ["0001", "1969", "9999"])
def test_spans_have_the_times_that_the_application_says(year: str) -> None:
    moment = events.parse_timestamp(f"{year}-01-01T00:00:00.000001Z")
    stage = Stage()
    stage.play(
        events.start_session(WHO, moment),
        opens(moment=moment),
        turn(moment=moment),
        closes(moment=moment - 1 if year != "0001" else moment),
    )
    stage.mirror.let_go()
    conversation, session = stage.spans
    assert {conversation.start_time, conversation.end_time, conversation.events[0].timestamp} == {moment * 1000}
    assert {session.start_time, session.end_time} == {moment * 1000}
    told = (conversation.attributes or {}).get(names.END_TIMESTAMP)
    assert told == (None if year == "0001" else events.format_timestamp(moment - 1))


def test_an_error_of_the_application_is_on_the_sessions_span() -> None:
    stage = Stage()
    stage.play(START)
    stage.mirror.failed(ValueError("no"))
    stage.play(END)
    (session,) = stage.spans
    assert session.events[0].name == "exception"
    assert not session.status.is_ok


def test_the_span_to_work_under() -> None:
    stage = Stage()
    assert stage.mirror.span_of(None) is None
    stage.play(START, opens("a"))
    mirror = stage.mirror

    def named(conversation_id: str | None) -> str | None:
        span = mirror.span_of(conversation_id)
        assert isinstance(span, ReadableSpan)
        return _in_short(span)

    assert [named(wanted) for wanted in (None, "a", "x")] == ["conversation a", "conversation a", "session"]
    stage.play(opens("b"))
    assert [named(wanted) for wanted in (None, "b")] == ["session", "conversation b"]


def test_in_a_forked_child_the_spans_are_the_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of the parent may have had the lock: the child once waited for it for ever."""
    stage = Stage()
    stage.play(START, opens())
    has_it, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with stage.mirror._lock:
            has_it.set()
            may_end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    has_it.wait()
    monkeypatch.setattr(host, "generation", host.generation + 1)
    try:
        stage.play(turn())
    finally:
        may_end.set()
        thread.join()
    assert stage.told() == ["session (hi)"]
