"""Whatever stands where a library's texts are expected, reading answers, and with facts of the right types."""

from __future__ import annotations

from typing import Any, Final, get_args

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from support import corpus
from support.spans import NOON

from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.conventions import identity
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall, Reading, ToolRun
from mlsdk_otel.translation.spanview import EventView, SpanView

LEAVES: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.sampled_from(
        ["user", "assistant", "tool", "text", "tool_call", "tool_use", "function_call", "[{", "[]", "{}", "AGENT"]
    )
)
NAMES: Final = st.sampled_from(
    [
        *("role", "content", "parts", "type", "text", "tool_calls", "id", "name", "arguments", "function", "message"),
        *("tool_call_id", "result", "response", "toolUse", "toolResult", "function_call", "kwargs", "lc", "data"),
        *("input", "output", "messages", "choices", "contents", "inline_data", "system", "args", "0", "1"),
    ]
) | st.text(max_size=4)
STRUCTURES: Final = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def as_json(raw: Any) -> Any:
    try:
        return orjson.dumps(raw, option=orjson.OPT_NON_STR_KEYS).decode()
    except (orjson.JSONEncodeError, TypeError):
        return raw


VALUES: Final = STRUCTURES | STRUCTURES.map(as_json)
KEYS: Final = st.sampled_from(
    sorted({key for recording in corpus.recorded() for view in recording.views for key in view.attributes})
    + sorted({*conventions.MARKERS, *identity.MARKERS, "ai.prompt", "ai.prompt.messages", "ai.response.toolCalls"})
    + ["request_data", "response_data", "events", "gcp.vertex.agent.llm_response", "logfire.msg"]
)
OPERATIONS: Final = st.sampled_from(
    ["chat", "execute_tool", "invoke_agent", "LLM", "TOOL", "AGENT", "ai.toolCall", "ai.streamText.doStream", "tool"]
)
EVENTS: Final = st.builds(
    EventView,
    name=st.sampled_from(
        [
            *("gen_ai.user.message", "gen_ai.tool.message", "gen_ai.choice", "gen_ai.content.prompt", "other"),
            "gen_ai.client.inference.operation.details",
        ]
    ),
    time=st.just(NOON),
    attributes=st.dictionaries(
        st.sampled_from(["content", "message", "id", "gen_ai.event.content"]) | KEYS, VALUES, max_size=4
    ),
    body=VALUES,
)
VIEWS: Final = st.builds(
    SpanView,
    name=st.text(max_size=10),
    trace_id=st.just(1),
    span_id=st.just(2),
    parent_id=st.none(),
    has_remote_parent=st.just(False),
    start=st.just(NOON),
    end=st.just(NOON),
    attributes=st.dictionaries(KEYS, VALUES | OPERATIONS, max_size=8),
    events=st.lists(EVENTS, max_size=3).map(tuple),
    is_error=st.booleans(),
    logs=st.lists(EVENTS, max_size=3).map(tuple),
)


def assert_is_text(raw: object) -> None:
    assert raw is None or type(raw) is str


def assert_message(message: Message) -> None:
    assert message.role in ("user", "assistant", "system", "tool")
    assert_is_text(message.text)
    for request in message.requests:
        for held in (request.name, request.call_id, request.arguments):
            assert_is_text(held)
    for result in message.results:
        for held in (result.name, result.call_id, result.result):
            assert_is_text(held)


def assert_reading(reading: Reading) -> None:
    fact = reading.fact
    assert isinstance(fact, get_args(ModelCall | ToolRun | Enclosure))
    for held in (*(getattr(reading.identity, name) for name in reading.identity.__slots__),):
        assert_is_text(held)
    if isinstance(fact, ToolRun):
        for held in (fact.name, fact.call_id, fact.arguments, fact.result):
            assert_is_text(held)
        return
    for message in (*fact.input, *fact.output):
        assert_message(message)
    if isinstance(fact, ModelCall):
        for held in (fact.request_model, fact.response_model, fact.response_id, fact.previous_response_id):
            assert_is_text(held)
        for count in (fact.usage.input_tokens, fact.usage.output_tokens):
            assert count is None or (type(count) is int and count >= 0)


@given(VIEWS)
@settings(max_examples=300, deadline=None)
def test_odd_spans_are_read_without_complaint(view: SpanView) -> None:
    for convention in conventions.CONVENTIONS:
        if convention.claims(view):
            assert conventions.claims_attributes(view.attributes)
            found = convention.read(view)
            if found is not None:
                assert_reading(found)


@given(
    recording=st.sampled_from(corpus.recorded()),
    number=st.integers(0, 50),
    changes=st.dictionaries(st.integers(0, 80), VALUES, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_real_spans_with_odd_values_are_read_without_complaint(
    recording: corpus.Recording, number: int, changes: dict[int, Any]
) -> None:
    view = recording.views[number % len(recording.views)]
    attributes = dict(view.attributes)
    for place, value in changes.items():
        if attributes:
            attributes[list(attributes)[place % len(attributes)]] = value
    fields = {name: getattr(view, name) for name in view.__slots__}
    if (found := conventions.read(SpanView(**{**fields, "attributes": attributes}))) is not None:
        assert_reading(found)


def test_depth_without_end_is_read() -> None:
    nested: Any = "x"
    for _ in range(5000):
        nested = [{"content": nested}]
    for key in ("gen_ai.input.messages", "gen_ai.tool.call.result"):
        for operation in ("chat", "execute_tool"):
            view = SpanView("s", 1, 2, None, False, 0, 0, {"gen_ai.operation.name": operation, key: nested})
            found = conventions.read(view)
            assert found is not None
            assert_reading(found)


def test_a_span_of_anything_else_costs_one_test_of_its_names() -> None:
    view = SpanView("GET /", 1, 2, None, False, 0, 0, {"http.route": "/", "session.id": "s"})
    assert not conventions.claims_attributes(view.attributes)
    assert conventions.read(view) is None
