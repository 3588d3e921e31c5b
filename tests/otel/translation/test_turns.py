"""What a turn is: one thing that the user said and the final answer to it, whatever it took."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.foreign import App, asks, bot, gave, happened, in_short, system, user
from support.spans import check_wire

from mlsdk_otel.translation.facts import Enclosure, Identity

S = Identity(session_id="s")


def test_a_call_that_answers_is_a_turn() -> None:
    app = App()
    app.call(system("be brief"), user("hi"), answer="hello")
    assert app.take() == ["start", "open", "turn hi -> hello (m 10+5)"]
    assert app.close() == ["close", "end"]


def test_a_function_is_part_of_its_turn_across_traces() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"))
    assert app.take() == []
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), answer="Yes.")
    assert happened(app.close()) == ['look({"a":1}) = -3', "turn cold? -> Yes. (m 20+10)"]


def test_only_the_result_of_a_function_need_be_sent() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"), response_id="r1")
    app.call(gave("c1", "-3"), answer="Yes.", previous_response_id="r1")
    assert happened(app.close()) == ['look({"a":1}) = -3', "turn cold? -> Yes. (m 20+10)"]


def test_a_result_under_another_id_is_found_by_the_answer_before() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("fc_1"), response_id="r1")
    app.call(gave("call_1", "-3"), answer="Yes.", previous_response_id="r1")
    assert [each for each in app.close() if each.startswith("turn")] == ["turn cold? -> Yes. (m 20+10)"]


def test_results_under_other_ids_are_told_apart_by_their_order() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("fc_1", "fc_2"))
    history = (user("cold?"), asks("fc_1"), asks("fc_2"), gave("call_1", "-3"), gave("call_2", "-4"))
    app.call(*history, answer="Yes.")
    assert happened(app.close()) == ['look({"a":1}) = -3', 'look({"a":1}) = -4', "turn cold? -> Yes. (m 20+10)"]


def test_a_result_under_an_id_that_nobody_knows_is_not_given_to_one_of_several() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1", "c2"))
    app.call(user("cold?"), asks("c1", "c2"), gave("other"), answer="Yes.")
    assert happened(app.close()) == ['look({"a":1}) = None'] * 2 + ["turn cold? -> Yes. (m 20+10)"]


def test_functions_without_ids_are_told_apart_by_their_order() -> None:
    app = App()
    trace = app.new_id()
    app.call(user("cold?"), answer=asks(None, None), trace=trace, below=trace)
    app.call(user("cold?"), asks(None, None), gave(None, "1"), gave(None, "2"), answer="Yes.", trace=trace, below=trace)
    app.root(trace, trace)
    assert happened(app.take()) == ['look({"a":1}) = 1', 'look({"a":1}) = 2', "turn cold? -> Yes. (m 20+10)"]


def test_history_that_is_sent_again_makes_no_turns_and_joins_the_session() -> None:
    app = App()
    app.call(user("hi"), answer="hello")
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao")
    app.call(user("hi"), bot("hello"), user("bye"), bot("ciao"), user("bye"), answer="still here?")
    assert len({event["session_id"] for event in app.sent}) == 1
    assert happened(app.close()) == [
        "turn hi -> hello (m 10+5)",
        "turn bye -> ciao (m 10+5)",
        "turn bye -> still here? (m 10+5)",
    ]


def test_the_same_words_twice_are_two_turns() -> None:
    app = App()
    trace = app.new_id()
    app.call(user("yes"), answer="ok", trace=trace, below=trace)
    app.call(user("yes"), bot("ok"), user("yes"), answer="ok", trace=trace, below=trace)
    app.root(trace, trace)
    app.call(user("yes"), answer="ok", identity=S)
    app.call(user("yes"), answer="ok", identity=S)
    assert happened(app.close()) == ["turn yes -> ok (m 10+5)"] * 4


def test_a_history_that_lost_its_beginning_still_goes_on() -> None:
    app = App()
    talk = [part for number in range(4) for part in (user(f"u{number}"), bot(f"a{number}"))]
    for number in range(4):
        app.call(*talk[: 2 * number], user(f"u{number}"), answer=f"a{number}")
    app.call(*talk[4:], user("u4"), answer="a4")
    assert len({event["session_id"] for event in app.sent}) == 1


def test_two_users_with_the_same_opening_are_not_mixed() -> None:
    app = App()
    for name in ("ada", "bob"):
        app.call(user("hi"), answer="hello", identity=Identity(session_id=name, user_id=name))
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao")
    assert [event["session_id"] for event in app.sent if event.get("event") == "Conversation Turn"][:2] == [
        "ada",
        "bob",
    ]
    assert len({event["session_id"] for event in app.sent}) == 3


def test_anonymous_conversations_alike_each_go_on() -> None:
    app = App()
    for _ in range(2):
        app.call(user("hi"), answer="hello")
    for _ in range(2):
        app.call(user("hi"), bot("hello"), user("bye"), answer="ciao")
    sessions = [event["session_id"] for event in app.sent if event.get("event") == "Conversation Turn"]
    assert len(set(sessions[:2])) == 2
    assert sorted(sessions[:2]) == sorted(sessions[2:])


def test_who_has_gone_on_is_elsewhere() -> None:
    app = App()
    app.call(user("hi"), answer="hello")
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao")
    app.call(user("hi"), answer="hello")
    app.call(user("hi"), bot("hello"), user("bye"), answer="so soon?")
    sessions = [event["session_id"] for event in app.sent if event.get("event") == "Conversation Turn"]
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3]


def test_what_was_said_before_may_be_said_otherwise() -> None:
    app = App()
    app.call(user("hi"), answer="hello")
    for text in ("bye", "goodbye"):
        app.call(user("hi"), bot("hello"), user(text), answer="ciao")
    assert len({event["session_id"] for event in app.sent}) == 1


def test_nobody_goes_on_with_the_conversation_of_another_user() -> None:
    app = App()
    ada, bob = Identity(user_id="ada"), Identity(user_id="bob")
    app.call(user("hi"), answer="hello", identity=ada)
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao", identity=bob)
    app.call(user("hi"), answer="hello", identity=bob)
    for identity in (bob, ada):
        app.call(user("hi"), bot("hello"), user("bye"), answer="ciao", identity=identity)
    turns = [event for event in app.foreign.close(app.now) + app.sent if event.get("event") == "Conversation Turn"]
    whose = [(event["user_id"], event["session_id"]) for event in turns]
    assert [user_id for user_id, _ in whose] == ["ada", "bob", "bob", "bob", "ada"]
    assert whose[0] == whose[4]
    assert whose[2] == whose[3]
    assert whose[1] not in (whose[0], whose[2])


def test_a_router_and_an_answerer_in_one_agent_are_one_turn() -> None:
    app = App()
    agent = app.new_id()
    app.call(system("route"), user("my bill?"), answer="billing", model="small", trace=agent, below=agent)
    app.call(system("bills"), user("my bill?"), answer="You owe 3.", trace=agent, below=agent)
    app.agent(agent)
    assert happened(app.take()) == ["turn my bill? -> You owe 3. (m 10+5)", "usage small 10+5"]


def test_the_answer_is_what_the_agent_says_it_is() -> None:
    app = App()
    agent = app.new_id()
    app.call(user("my bill?"), answer="You owe 3.", trace=agent, below=agent)
    app.call(user("my bill?"), answer="safe", trace=agent, below=agent)
    app.agent(agent, "You owe 3.")
    assert happened(app.take()) == ["turn my bill? -> You owe 3. (m 20+10)"]


def test_a_check_of_the_answer_is_not_the_answer() -> None:
    app = App()
    agent = app.new_id()
    app.call(user("my bill?"), answer="You owe 3.", trace=agent, below=agent)
    app.call(user("Is this safe: You owe 3."), answer="yes", trace=agent, below=agent)
    app.agent(agent)
    assert happened(app.take()) == ["turn my bill? -> You owe 3. (m 20+10)"]


def test_a_later_call_of_a_turn_tells_whose_it_is() -> None:
    app = App()
    app.call(user("hi"), answer="hello", response_id="r1")
    chain = app.new_id()
    app.call(user("Rewrite: bye"), answer="goodbye", response_id="r2", trace=chain, below=chain)
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao", response_id="r3", trace=chain, below=chain)
    app.agent(chain, "ciao", trace=chain)
    app.call(user("still here?"), answer="Yes.", previous_response_id="r2")
    assert len({event["session_id"] for event in app.sent}) == 1
    assert app.close()[-2:] == ["close", "end"]


@pytest.mark.parametrize("tokens", [(10, 5), (None, None)])
def test_an_answer_that_was_not_seen_is_told_by_the_next_call(tokens: tuple[int | None, int | None]) -> None:
    app = App()
    app.call(user("hi"), answer="hello")
    app.call(user("hi"), bot("hello"), user("cold?"))
    app.call(user("hi"), bot("hello"), user("cold?"), bot("Yes."), user("bye"), answer="ciao")
    assert len({event["session_id"] for event in app.sent}) == 1
    assert happened(app.take()) == [
        "turn hi -> hello (m 10+5)",
        "turn cold? -> Yes. (m 10+5)",
        "turn bye -> ciao (m 10+5)",
    ]


def test_of_another_session_nothing_is_told_by_a_history() -> None:
    app = App()
    app.call(user("cold?"), identity=S)
    app.call(user("cold?"), bot("Yes."), user("bye"), answer="ciao", identity=Identity(session_id="t"))
    assert happened(app.close()) == ["turn bye -> ciao (m 10+5)", "usage m 10+5"]


@pytest.mark.parametrize("call_id", [None, "c1"])
@pytest.mark.parametrize("shown", [None, ""])
def test_a_request_for_functions_that_was_not_seen_is_part_of_the_turn(call_id: str | None, shown: str | None) -> None:
    app = App()
    app.call(user("cold?"), answer=shown)
    app.call(user("cold?"), asks(call_id), gave(call_id, "-3"), answer="Yes.")
    assert happened(app.take()) == ['look({"a":1}) = -3', "turn cold? -> Yes. (m 20+10)"]


def test_functions_and_results_that_no_history_shows_are_part_of_the_turn() -> None:
    app = App()
    app.call(user("hi"), answer="hello")
    app.call(user("hi"), bot("hello"), user("cold?"), answer=asks("fc_1"))
    app.call(user("hi"), bot("hello"), user("cold?"), answer="Yes.")
    app.call(user("cold?"), answer=asks("fc_2"))
    app.call(user("cold?"), answer="Yes.")
    assert happened(app.close()) == [
        "turn hi -> hello (m 10+5)",
        'look({"a":1}) = None',
        "turn cold? -> Yes. (m 20+10)",
        'look({"a":1}) = None',
        "turn cold? -> Yes. (m 20+10)",
    ]


def test_somebody_who_begins_with_the_same_words_has_a_turn_of_their_own() -> None:
    app = App()
    app.call(system("for ada"), user("cold?"), answer=asks("c1"))
    app.call(system("for bob"), user("cold?"), answer="No.")
    app.call(system("for ada"), user("cold?"), answer=asks("c2"))
    assert happened(app.take()) == ["turn cold? -> No. (m 10+5)"]
    assert app.foreign.turns.open_turns == 2


@pytest.mark.parametrize("identity", [None, S])
def test_who_speaks_after_a_function_has_answered_says_something_new(identity: Identity | None) -> None:
    app = App()
    talk = [
        part for each in "12" for part in (user(f"u{each}"), asks(f"c{each}", name="final"), gave(f"c{each}", "ok"))
    ]
    for number in range(3):
        agent = app.new_id()
        sent = (*talk[: 3 * number], user(f"u{number + 1}"))
        app.call(*sent, answer=asks(f"c{number + 1}", name="final"), trace=agent, below=agent, identity=identity)
        app.agent(agent, f"a{number + 1}", identity=identity)
    assert len({event["session_id"] for event in app.sent}) == 1
    assert happened(app.close()) == [f"turn u{each} -> a{each} (m 10+5)" for each in "123"]


def test_what_is_put_beside_the_result_of_a_function_is_not_said_by_the_user() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"))
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), user("(go on)"), answer="Yes.")
    assert happened(app.close()) == ['look({"a":1}) = -3', "turn cold? -> Yes. (m 20+10)"]


def wrapped(question: str) -> str:
    return f"Context: snow.\nQuestion: {question}"


def test_a_question_in_a_template_is_the_question() -> None:
    app = App()
    request, chain = app.new_id(), app.new_id()
    app.call(user(wrapped("cold?")), answer="Yes.", trace=request, below=chain)
    app.tell(Enclosure(given="cold?", made="Yes."), span_id=chain, trace=request, below=request)
    app.root(request, request)
    assert happened(app.take()) == ["turn cold? -> Yes. (m 10+5)"]


@pytest.mark.parametrize("is_kept_whole", [False, True])
def test_a_conversation_goes_on_whichever_of_them_is_sent_again(is_kept_whole: bool) -> None:
    app = App()
    chain = app.new_id()
    app.call(user(wrapped("cold?")), answer="Answer: Yes.", trace=chain, below=chain)
    app.tell(Enclosure(given='{"q": "cold?"}', made='{"a": "Yes."}'), span_id=chain)
    history = (user(wrapped("cold?")), bot("Answer: Yes.")) if is_kept_whole else (user("cold?"), bot("Yes."))
    app.call(*history, user("Why?"), answer="Snow.")
    assert happened(app.take()) == ["turn cold? -> Yes. (m 10+5)", "turn Why? -> Snow. (m 10+5)"]
    assert len({event["session_id"] for event in app.foreign.close(app.now)}) == 1


def test_only_what_the_outermost_chain_was_given_was_said() -> None:
    app = App()
    chain, step = app.new_id(), app.new_id()
    app.call(user(wrapped("cold?")), answer="Yes.", trace=chain, below=step)
    app.tell(Enclosure(given="snow", made="Yes."), span_id=step, trace=chain, below=chain)
    app.tell(Enclosure(), span_id=chain)
    assert happened(app.take()) == [f"turn {wrapped('cold?')} -> Yes. (m 10+5)"]


@pytest.mark.parametrize("is_agent", [True, False])
def test_what_a_guard_is_asked_is_not_what_the_user_said(is_agent: bool) -> None:
    app = App()
    agent = app.new_id()
    app.call(user("hi"), answer="hello")
    app.call(user("Is this harmful? bye"), answer="No.", model="guard", trace=agent, below=agent)
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao", trace=agent, below=agent)
    if is_agent:
        app.agent(agent, "ciao", trace=agent)
    else:
        app.tell(Enclosure(given="bye", made='{"output": "ciao"}'), span_id=agent, trace=agent)
    app.call(user("hi"), bot("hello"), user("bye"), bot("ciao"), user("still here?"), answer="Yes.")
    assert len({event["session_id"] for event in app.sent}) == 1
    assert happened(app.close())[1:] == [
        "turn bye -> ciao (m 10+5)",
        "usage guard 10+5",
        "turn still here? -> Yes. (m 10+5)",
    ]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_guard_of_the_same_request_is_part_of_the_turn(is_first: bool) -> None:
    app = App()
    app.call(system("be brief"), user("hi"), answer="hello")
    trace = app.new_id()
    guard, call = (10, 11) if is_first else (11, 10)
    app.call(system("harmful?"), user("hi"), answer="No.", model="guard", trace=trace, below=trace, start=guard)
    sent = (system("be brief"), user("hi"), bot("hello"), user("hi"))
    app.call(*sent, answer="again?", trace=trace, below=trace, start=call)
    app.root(trace, trace)
    assert len({event["session_id"] for event in app.sent}) == 1
    assert happened(app.close())[1:] == ["turn hi -> again? (m 10+5)", "usage guard 10+5"]


def test_the_agent_that_was_handed_on_to_answers() -> None:
    app = App()
    flow, guard, desk = app.new_id(), app.new_id(), app.new_id()
    check = app.new_id()
    app.call(user("hi"), answer="No.", model="guard", trace=flow, below=guard, start=2)
    app.agent(guard, "No.", trace=flow, below=check, start=1.5)
    app.agent(check, trace=flow, below=flow, start=1)
    app.call(user("hi"), answer=asks("c1", name="hand_on"), trace=flow, below=flow, start=3)
    app.call(user("hi"), asks("c1", name="hand_on"), gave("c1"), answer="hello", trace=flow, below=desk, start=5)
    app.agent(desk, "hello", trace=flow, below=flow, start=4)
    app.agent(flow, trace=flow, start=0)
    assert happened(app.close()) == ['hand_on({"a":1}) = found', "turn hi -> hello (m 20+10)", "usage guard 10+5"]


def test_a_guard_that_runs_beside_a_call_is_not_what_the_call_goes_on_from() -> None:
    app = App()
    agent = app.new_id()
    app.call(user("hi"), answer="hello")
    app.call(user("hi"), answer="hello", model="guard", trace=agent, below=agent, start=10)
    app.call(user("hi"), bot("hello"), user("hi"), answer="again?", trace=agent, below=agent, start=10.5)
    app.agent(agent, "again?", trace=agent)
    app.call(user("hi"), bot("hello"), user("hi"), bot("again?"), user("bye"), answer="ciao", start=20)
    assert len({event["session_id"] for event in app.sent}) == 1
    assert happened(app.close())[1:] == [
        "turn hi -> again? (m 10+5)",
        "usage guard 10+5",
        "turn bye -> ciao (m 10+5)",
    ]


def test_an_agent_that_talks_on_has_several_turns() -> None:
    app = App()
    agent = app.new_id()
    app.call(user("hi"), answer="hello", trace=agent, below=agent)
    app.call(user("hi"), bot("hello"), user("bye"), answer="ciao", trace=agent, below=agent)
    app.agent(agent)
    assert happened(app.take()) == ["turn hi -> hello (m 10+5)", "turn bye -> ciao (m 10+5)"]


def test_different_questions_of_one_request_are_different_turns() -> None:
    app = App()
    trace = app.new_id()
    for word in ("a", "b"):
        app.call(user(word), answer=word.upper(), trace=trace, below=trace)
    app.root(trace, trace)
    assert happened(app.take()) == ["turn a -> A (m 10+5)", "turn b -> B (m 10+5)"]


def test_tokens_of_other_models_are_told_apart_and_the_totals_are_equal() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"), model="small", tokens=(7, 1))
    app.call(user("cold?"), asks("c1"), gave("c1"), answer="Yes.", model="large", tokens=(9, 2))
    assert happened(app.close())[1:] == ["turn cold? -> Yes. (large 9+2)", "usage small 7+1"]


def test_what_is_not_known_is_absent() -> None:
    app = App()
    app.call(user("hi"), answer="hello", tokens=(None, None))
    app.call(user("ho"), answer="hello", tokens=(3, None))
    turns = [event["properties"] for event in app.sent if event.get("event") == "Conversation Turn"]
    assert turns == [
        {"user": "hi", "assistant": "hello", "model": "m"},
        {"user": "ho", "assistant": "hello", "model": "m", "prompt_tokens": 3},
    ]


def test_a_failed_call_makes_no_turn_and_another_try_does() -> None:
    app = App()
    app.call(user("hi"), fails=True, tokens=(None, None), identity=S)
    assert app.take() == []
    app.call(user("hi"), answer="hello", identity=S)
    assert happened(app.close()) == ["turn hi -> hello (m 10+5)"]


def test_functions_that_ran_stay_when_the_call_after_them_fails() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"), identity=S)
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), fails=True, tokens=(None, None), identity=S)
    assert happened(app.close()) == ['look({"a":1}) = -3', "usage m 10+5"]


def test_a_try_after_a_failure_goes_on_with_the_turn() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"))
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), fails=True, tokens=(None, None))
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), answer="Yes.")
    assert happened(app.close()) == ['look({"a":1}) = -3', "turn cold? -> Yes. (m 20+10)"]


def test_words_that_failed_and_stayed_in_the_history_are_not_said_again() -> None:
    app = App()
    app.call(user("hi"), fails=True, tokens=(None, None))
    app.call(user("hi"), user("hi, please"), answer="hello")
    assert happened(app.close()) == ["turn hi, please -> hello (m 10+5)"]


def test_what_is_said_in_two_messages_is_said_together() -> None:
    app = App()
    app.call(user("a document"), user("what is it?"), answer="a document", identity=S)
    app.later(30)
    assert happened(app.take()) == ["turn a document\n\nwhat is it? -> a document (m 10+5)"]


def test_without_content_there_is_usage_alone() -> None:
    app = App()
    app.call(has_content=False)
    app.call(has_content=False)
    assert happened(app.take()) == ["usage m 10+5"] * 2


def test_a_functions_own_span_tells_how_long_it_ran() -> None:
    app = App()
    trace = app.new_id()
    app.call(user("cold?"), answer=asks("c1"), trace=trace, below=trace)
    app.run("c1", result="in some other form", trace=trace, below=trace)
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), answer="Yes.", trace=trace, below=trace)
    app.root(trace, trace)
    [function] = [event["properties"] for event in app.sent if event.get("event") == "Conversation Function"]
    assert function == {"name": "look", "args": '{"a":1}', "result": "-3", "runtime": 1000}


def test_a_functions_span_without_an_id_belongs_to_the_request_like_it() -> None:
    app = App()
    agent = app.new_id()
    app.call(user("cold?"), answer=asks("c1"), trace=agent, below=agent)
    app.run(name="look", arguments='{ "a": 1 }', trace=agent, below=agent)
    app.call(user("cold?"), asks("c1"), gave("c1", "-3"), answer="Yes.", trace=agent, below=agent)
    app.agent(agent)
    assert happened(app.take()) == ['look({"a":1}) = -3', "turn cold? -> Yes. (m 20+10)"]


def test_functions_are_told_where_no_model_is_seen() -> None:
    app = App()
    agent = app.new_id()
    app.run(name="look", arguments="{}", trace=agent, below=agent)
    app.agent(agent)
    assert happened(app.take()) == ["look({}) = found"]


def test_a_function_that_nobody_ran_is_told_when_nothing_more_comes() -> None:
    app = App()
    app.call(user("fill in the form"), answer=asks("c1", name="form"))
    app.sent += app.foreign.release(app.now)
    assert happened(app.take()) == ["usage m 10+5"]
    app.call(user("fill in the form"), answer=asks("c2", name="form"))
    app.later(300)
    assert happened(app.take()) == ['form({"a":1}) = None', "usage m 10+5"]


def test_ids_that_differ_keep_turns_apart() -> None:
    app = App()
    app.call(user("cold?"), answer=asks("c1"), identity=Identity(session_id="a"))
    app.call(user("cold?"), asks("c1"), gave("c1"), answer="Yes.", identity=Identity(session_id="b"))
    turn = next(event for event in app.sent if event.get("event") == "Conversation Turn")
    assert (turn["session_id"], in_short(turn)) == ("b", "turn cold? -> Yes. (m 10+5)")
    assert happened(app.close())[-1] == "usage m 10+5"


@pytest.mark.parametrize("seen", [True, False])
def test_open_turns_are_bounded_and_what_is_known_of_them_is_sent(seen: bool) -> None:
    app = App(max_remembered=10)
    for number in range(100):
        app.call(user("?"), answer=asks(f"c{number}"), identity=S if seen else None)
    assert max(app.foreign.turns.sizes()) <= 10
    assert happened(app.close()).count("usage m 10+5") == 100


def test_a_call_that_fails_again_and_again_is_kept_once_and_a_turn_without_end_is_told() -> None:
    app = App()
    for _ in range(3_000):
        app.call(user("hi"), fails=True, tokens=(None, None), identity=S)
    assert app.foreign.turns.open_turns <= 1
    for number in range(2_500):
        app.call(user("cold?"), answer=asks(f"c{number}"), identity=S)
    assert app.take().count("usage m 10+5") == 2_000


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_tokens_are_counted_once_whatever_happens(data: st.DataObject) -> None:
    """Any calls, in any traces and sessions: each model's tokens arrive once, and no function call twice."""
    app = App(hold=data.draw(st.sampled_from([0.0, 30.0])))
    total = 0
    for number in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from(["answer", "asks", "gave", "fails", "flush", "later"]))
        trace = data.draw(st.integers(1, 3))
        place = {"trace": trace, "below": data.draw(st.sampled_from([None, 100 + trace])), "span_id": 1000 + number}
        identity = data.draw(st.sampled_from([None, S]))
        words = user(data.draw(st.sampled_from(["a", "b"])))
        if kind == "flush":
            app.sent += app.foreign.release(app.now)
        elif kind == "later":
            app.later(data.draw(st.sampled_from([1.0, 40.0, 2000.0])))
        else:
            past = [words, asks("c1"), gave("c1")] if kind == "gave" else [words]
            answer = {"asks": asks("c1"), "fails": None}.get(kind, bot("ok"))
            app.call(*past, answer=answer, fails=kind == "fails", identity=identity, tokens=(1, 1), **place)
            total += 1
        if data.draw(st.booleans()):
            app.root(trace, 100 + trace)
    app.sent += app.foreign.close(app.now)
    check_wire(app.sent)
    told = sum(event["properties"].get("prompt_tokens", 0) for event in app.sent if "properties" in event)  # type: ignore[union-attr]
    assert told == total, [in_short(event) for event in app.sent]
    assert app.foreign.sizes()[:3] == [0, 0, 0]
    assert app.foreign.turns.open_turns == 0
