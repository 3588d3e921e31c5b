"""When what others' spans tell is sent, to whose session, and that nothing is kept for ever."""

from __future__ import annotations

from typing import Any

import pytest
from support.foreign import App, asks, bot, gave, happened, in_short, user
from support.spans import NOON, at, span

from mlsdk.events import common, end_session
from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.facts import Identity, ModelCall, Usage
from mlsdk_otel.translation.foreign import Foreign
from mlsdk_otel.translation.lineage import Link
from mlsdk_otel.translation.spanview import EventView

S = Identity(session_id="s")
TURN = "turn hi -> hello (m 10+5)"


def turns(app: App) -> list[Any]:
    return [event for event in app.sent if event.get("event") == "Conversation Turn"]


# -- when -------------------------------------------------------------------------------------------------------------


def test_a_turn_is_sent_when_its_root_has_ended() -> None:
    app = App()
    trace = app.new_id()
    app.call(user("hi"), answer="hello", trace=trace, below=trace)
    assert app.take() == []
    app.root(trace, trace)
    assert happened(app.take()) == [TURN]


def test_it_waits_no_longer_than_the_bound_for_a_root() -> None:
    app = App(hold=30)
    app.call(user("hi"), answer="hello", trace=99, below=99)
    assert app.foreign.next_deadline() == 30
    app.later(29)
    assert app.take() == []
    app.later(1)
    assert happened(app.take()) == [TURN]


def test_what_ends_after_its_root_waits_a_second() -> None:
    app = App()
    app.root(99, 99)
    app.call(user("cold?"), answer=asks("c1"), trace=99, below=99)
    app.call(user("cold?"), asks("c1"), gave("c1"), answer="Yes.", trace=99, below=99)
    assert app.take() == []
    app.later(1)
    assert happened(app.take())[-1] == "turn cold? -> Yes. (m 20+10)"


def test_a_request_to_this_very_process_lets_go_of_its_own_calls_alone() -> None:
    app = App()
    agent, served = 98, 97
    app.call(user("my bill?"), answer="billing", trace=99, below=agent)
    app.call(user("a tool's own question"), answer="3", trace=99, below=served)
    app.sent += app.foreign.passed([Link(99, served, 1234, is_root=True)], app.now)
    assert happened(app.take()) == ["turn a tool's own question -> 3 (m 10+5)"]
    app.call(user("my bill?"), answer="You owe 3.", trace=99, below=agent)
    app.agent(agent, trace=99)
    assert happened(app.take()) == ["turn my bill? -> You owe 3. (m 20+10)"]
    assert app.foreign.sizes()[:3] == [0, 0, 0]


def test_a_flush_sends_what_waits_and_sessions_go_on() -> None:
    app = App()
    app.call(user("hi"), answer="hello", trace=99, below=99)
    app.sent += app.foreign.release(app.now)
    assert app.take() == ["start", "open", TURN]
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao")
    assert app.take() == ["turn bye -> ciao (m 10+5)"]


def test_a_call_waits_for_the_one_that_it_goes_on_from() -> None:
    app = App()
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), answer="Yes.", start=10)
    assert app.take() == []
    app.call(user("cold?"), answer=asks("c1"), start=1)
    assert happened(app.take()) == ['look({"a":1}) = -3', "turn cold? -> Yes. (m 20+10)"]
    app.call(user("cold?"), bot("Yes."), user("And in Rome?"), bot("No."), user("Thanks"), answer="!", start=30)
    assert app.take() == []
    app.call(user("cold?"), bot("Yes."), user("And in Rome?"), answer="No.", start=20)
    assert happened(app.take()) == ["turn And in Rome? -> No. (m 10+5)", "turn Thanks -> ! (m 10+5)"]


def test_it_goes_without_when_that_does_not_come() -> None:
    app = App(hold=30)
    app.call(user("cold?"), bot("Yes."), user("And in Rome?"), answer="No.")
    app.later(30)
    assert happened(app.take()) == ["turn And in Rome? -> No. (m 10+5)"]


def test_sessions_end_when_they_are_idle_and_what_comes_later_belongs_to_them() -> None:
    app = App()
    app.call(user("hi"), answer="hello")
    app.call(user("hi"), answer="hello", identity=S)
    app.take()
    app.later(300)
    assert app.take() == ["close", "end"]
    app.later(1500)
    assert app.take() == ["close"]
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao", identity=S)
    assert app.take() == ["turn bye -> ciao (m 10+5)"]
    assert app.close() == ["close"]


def test_at_the_end_of_the_process_conversations_end_unless_others_go_on_with_them() -> None:
    for options, ends in (({}, ["close", "end", "close"]), ({"ends_on_shutdown": False}, ["close", "end"])):
        app = App(**options)
        app.call(user("hi"), answer="hello")
        app.call(user("hi"), answer="hello", identity=S)
        app.take()
        assert app.close() == ends


def test_the_application_ends_a_session_and_what_waits_of_it_goes_first() -> None:
    app = App()
    app.call(user("hi"), answer="hello", identity=S, trace=99, below=99)
    app.sent += app.foreign.end_session("s", end_session(common(session_id="s"), NOON // 1000), app.now)
    assert app.take() == ["open", TURN, "close", "end"]
    assert app.close() == []


# -- whose ------------------------------------------------------------------------------------------------------------


def test_ids_come_from_the_span_then_from_those_above_then_from_the_surroundings() -> None:
    app = App()
    around = {"session.id": "around", "user.id": "ada"}
    app.call(user("hi"), answer="hello", identity=S, trace=90, below=90, surroundings=around)
    app.root(90, 90, {"session.id": "above"})
    app.call(user("hi"), answer="hello", trace=91, below=91, surroundings=around)
    app.root(91, 91, {"session.id": "above", "user.id": "bob"})
    app.call(user("hi"), answer="hello", surroundings=around)
    who = [(turn["session_id"], turn.get("user_id")) for turn in turns(app)]
    assert who == [("s", None), ("above", "bob"), ("around", "ada")]


def test_one_id_alone_is_the_sessions_and_the_conversations() -> None:
    app = App()
    app.call(user("hi"), answer="hello", identity=Identity(conversation_id="c"))
    app.call(user("hi"), answer="hello", identity=S)
    app.call(user("hi"), answer="hello", identity=Identity("s", "c2"))
    ids = [(turn["session_id"], turn["conversation_id"]) for turn in turns(app)]
    assert ids == [("c", "c"), ("s", "s"), ("s", "c2")]


def test_a_name_given_by_one_span_of_a_trace_is_for_all_of_them() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"), identity=S, trace=99, below=99)
    app.run("c1", trace=99, below=99)
    app.call(user("ho"), answer="ha", trace=99, below=99)
    app.root(99, 99)
    assert {event["session_id"] for event in app.sent} == {"s"}


def test_without_any_the_trace_is_the_session_of_an_anonymous_user() -> None:
    app = App()
    app.call(user("hi"), answer="hello", trace=0xABC)
    [turn] = turns(app)
    assert turn["session_id"] == f"{0xABC:032x}"
    assert turn["device_id"].startswith("anon-")
    assert "user_id" not in turn


def test_an_answer_before_tells_the_session() -> None:
    app = App()
    app.call(user("hi"), answer="hello", response_id="r1", identity=S)
    app.call(user("bye"), answer="ciao", previous_response_id="r1")
    assert [turn["session_id"] for turn in turns(app)] == ["s", "s"]


def test_calls_inside_a_session_of_ours_are_the_applications_to_tell() -> None:
    native = Link(99, 98, None, True, {"session.id": "own"}, True)
    app = App()
    app.call(user("hi"), answer="hello", trace=99, below=98)
    app.sent += app.foreign.passed([native], app.now)
    assert app.close() == []
    app = App()
    app.call(user("hi"), answer="hello", trace=99, below=98, surroundings={"session.id": "own"})
    app.sent += app.foreign.passed([native], app.now)
    assert [turn["session_id"] for turn in turns(app)] == ["own"]


# -- log records ------------------------------------------------------------------------------------------------------


def recorded(number: int, said: str) -> EventView:
    message = '[{"role": "%s", "parts": [{"type": "text", "content": "%s"}]}]'
    own = {"gen_ai.input.messages": message % ("user", said), "gen_ai.output.messages": message % ("assistant", said)}
    return EventView("gen_ai.client.inference.operation.details", at(number), own)


def call_span(number: int) -> Any:
    own = {"gen_ai__operation__name": "chat", "gen_ai__provider__name": "openai", "gen_ai__request__model": "m"}
    return span("chat", trace=number, number=number, **own)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_span_and_the_log_record_with_its_texts_wait_for_each_other(is_first: bool) -> None:
    foreign = Foreign()
    foreign.expects_logs = True
    view = call_span(7)
    found = foreign.logged(7, 7, recorded(7, "x"), 0) if is_first else []
    found += foreign.feed(view, conventions.read(view), 0)
    assert bool(found) is is_first
    found += [] if is_first else foreign.logged(7, 7, recorded(7, "x"), 0)
    assert [in_short(event) for event in found][-1] == "turn x -> x (m None+None)"


def test_a_log_record_that_does_not_come_is_waited_for_within_the_bound() -> None:
    foreign = Foreign(hold=30)
    foreign.expects_logs = True
    view = call_span(7)
    assert foreign.feed(view, conventions.read(view), 0) == []
    foreign.expire(30)
    assert foreign.sizes()[:3] == [0, 0, 0]


# -- duplicates -------------------------------------------------------------------------------------------------------


def test_a_call_that_two_libraries_tell_is_one() -> None:
    app = App()
    outer = app.new_id()
    app.call(has_content=False, response_id="r", trace=outer, below=outer)
    app.call(user("hi"), answer="hello", span_id=outer, trace=outer)
    assert happened(app.close()) == [TURN]


@pytest.mark.parametrize("is_inner_first", [True, False])
def test_a_call_that_is_told_in_two_traces_is_one(is_inner_first: bool) -> None:
    app = App()
    spans = [
        lambda: app.call(has_content=False, response_id="r", start=10.5),
        lambda: app.call(user("hi"), answer="hello", response_id="r", start=10),
    ]
    for tell in spans if is_inner_first else reversed(spans):
        tell()
    app.later(1)
    assert len({event["session_id"] for event in app.sent}) == 1
    assert happened(app.take()) == [TURN]


def test_an_id_that_is_used_again_later_is_another_answer() -> None:
    app = App()
    for start in (0, 10):
        app.call(has_content=False, response_id="fake", start=start)
        app.call(user("hi"), answer="hello", response_id="fake", start=start + 5)
    app.later(1)
    assert sorted(happened(app.take())) == [TURN, TURN, "usage m 10+5", "usage m 10+5"]


def test_also_when_a_flush_came_between() -> None:
    app = App()
    outer = app.new_id()
    app.call(user("hi"), answer="hello", trace=outer, below=outer)
    app.sent += app.foreign.release(app.now)
    app.call(user("hi"), answer="hello", span_id=outer, trace=outer)
    assert happened(app.close()) == [TURN]


# -- agents -----------------------------------------------------------------------------------------------------------


def test_an_agent_whose_calls_of_models_nobody_tells_is_a_turn() -> None:
    app = App()
    flow, agent = app.new_id(), app.new_id()
    app.run("c1", trace=flow, below=agent)
    app.agent(agent, "hello", user("hi"), trace=flow, below=flow, model="m", usage=Usage(10, 5), start=0)
    app.agent(flow, trace=flow)
    assert happened(app.take()) == ["look(None) = found", TURN]


def test_agents_within_it_add_nothing_to_it() -> None:
    app = App()
    outer, inner = app.new_id(), app.new_id()
    app.agent(inner, "a draft", user("Write to the user"), trace=outer, below=outer, start=2)
    app.agent(outer, "hello", user("hi"), trace=outer, start=1)
    assert happened(app.close()) == ["turn hi -> hello (None None+None)"]


def test_agents_that_follow_one_another_answer_together() -> None:
    app = App()
    flow = app.new_id()
    for answer in ("The desk will answer.", "hello"):
        app.agent(app.new_id(), answer, user("hi"), trace=flow, below=flow)
    app.agent(flow, trace=flow)
    assert happened(app.close()) == ["turn hi -> hello (None None+None)"]


@pytest.mark.parametrize("is_flushed", [False, True])
def test_an_agent_around_calls_that_are_told_adds_nothing(is_flushed: bool) -> None:
    app = App()
    outer, inner = app.new_id(), app.new_id()
    app.call(user("hi"), answer="hello", trace=outer, below=inner)
    if is_flushed:
        app.sent += app.foreign.release(app.now)
    for span_id, parent in ((inner, outer), (outer, None)):
        app.agent(span_id, "hello", user("hi"), trace=outer, below=parent, model="m", usage=Usage(10, 5))
    assert happened(app.close()) == [TURN]


def test_an_agent_that_failed_makes_no_turn() -> None:
    app = App()
    app.agent(app.new_id(), "hel", user("hi"), has_failed=True)
    assert app.close() == []


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_nothing_grows_under_a_flood_of_spans_that_never_complete() -> None:
    app = App(max_remembered=50, max_bytes=100_000)
    largest = [0] * len(app.foreign.sizes())
    for number in range(3_000):
        trace, parent = 10_000 + number, 20_000 + number
        identity = Identity(session_id=f"s{number}") if number % 3 else None
        app.call(user(f"u{number}"), answer=asks(f"c{number}"), trace=trace, below=parent, identity=identity)
        app.foreign.logged(number, 1, recorded(1, "x"), app.now)
        app.foreign.passed([Link(trace, 50_000 + number, parent, False)], app.now)
        app.sent.clear()
        largest = [max(pair) for pair in zip(largest, app.foreign.sizes(), strict=True)]
    assert largest[0] <= 100_000
    assert max(largest[1:]) <= 51


def test_text_that_waits_is_bounded_in_bytes_and_what_is_known_is_sent() -> None:
    foreign = Foreign(max_bytes=10_000)
    found = []
    for number in range(1, 20):
        own = {"gen_ai__operation__name": "chat", "gen_ai__prompt__0__content": "x" * 2_000}
        view = span("chat", trace=number, number=number, below=999, **own)
        fact = ModelCall(input=(user(f"{number}"),), output=(bot("x"),))
        found += foreign.feed(view, conventions.Reading(fact), 0)
        assert foreign.sizes()[0] <= 10_000
    assert sum(event.get("event") == "Conversation Turn" for event in found) >= 14


def test_a_bad_value_costs_one_turn() -> None:
    app = App()
    app.call(user("hi"), answer="hello", identity=Identity(session_id="x" * 101))
    app.call(user("hi"), answer="hello", identity=S)
    assert [in_short(turn) for turn in turns(app)] == [TURN]
    assert app.foreign.loss.events == 1
