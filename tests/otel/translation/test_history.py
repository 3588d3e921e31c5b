"""Where in a conversation a call stands."""

from __future__ import annotations

from support.foreign import asks, bot, gave, system, user

from mlsdk_otel.translation import history
from mlsdk_otel.translation.facts import Message, ToolResult

FIRST = (user("hi"), bot("hello"))


def test_the_beginning_is_a_place_whatever_the_system_prompt() -> None:
    for messages in ([user("hi")], [system("be brief"), user("hi")]):
        found = history.read(messages)
        assert (found.place, found.said) == (history.BEGINNING, ("hi",))
    assert history.read([system("a"), user("hi")]).system != history.read([system("b"), user("hi")]).system


def test_a_place_is_what_was_said_before_and_nothing_else() -> None:
    plain = history.read([*FIRST, user("bye")])
    with_function = history.read([user("hi"), asks("c"), gave("c"), bot(" hello\n"), user("bye")])
    assert plain.place == with_function.place == history.after(history.BEGINNING, history.exchange("hi", "hello"))
    assert plain.place != history.read([user("hi"), bot("good day"), user("bye")]).place
    assert with_function.requests == () == with_function.results


def test_the_same_words_at_another_place_are_not_the_same() -> None:
    places = [history.read([*(FIRST * times), user("hi")]).place for times in range(4)]
    assert len(set(places)) == 4


def test_an_answer_ends_an_exchange_only_when_the_user_speaks_again() -> None:
    prefilled = history.read([user("hi"), bot("{")])
    assert (prefilled.place, prefilled.said) == (history.BEGINNING, ("hi",))
    beside = history.read([user("hi"), bot("Let me look."), asks("c"), gave("c")])
    assert (beside.place, beside.said, len(beside.requests), len(beside.results)) == (history.BEGINNING, ("hi",), 1, 1)


def test_what_was_said_without_an_answer_stays() -> None:
    assert history.read([user("a"), user("b")]).said == ("a", "b")
    assert history.read([gave("c")]).said == ()
    assert history.read([bot("Welcome!"), user("hi")]).said == ("hi",)


def test_the_last_two_exchanges_are_known_where_older_ones_were_left_out() -> None:
    whole = history.read([user("1"), bot("a"), user("2"), bot("b"), user("3"), bot("c"), user("4")])
    cut = history.read([user("2"), bot("b"), user("3"), bot("c"), user("4")])
    assert whole.place != cut.place
    assert whole.recent == cut.recent != 0
    assert history.read([user("1"), bot("a"), user("2")]).recent == 0


def test_an_answer_is_final_when_it_asks_for_nothing() -> None:
    assert history.answer([bot("a")]).text == "a"
    assert history.answer([bot("first choice"), bot("second")]).text == "first choice"
    asking = history.answer([asks("c", text="Let me look.")])
    assert (asking.text, asking.aside, len(asking.requests)) == (None, "Let me look.", 1)
    assert history.answer([]).text is None


def test_functions_that_the_service_runs_itself_leave_an_answer_final() -> None:
    served = history.answer([asks("c"), Message("assistant", "It is cold.", (), gave("c").results)])
    assert (served.text, len(served.requests), len(served.results)) == ("It is cold.", 1, 1)


def test_results_without_ids_are_those_of_the_requests_in_their_order() -> None:
    past = history.read([user("hi"), asks("c1", "c2"), gave(None, "1"), gave(None, "2")])
    assert [(result.call_id, result.result) for result in past.results] == [("c1", "1"), ("c2", "2")]
    past = history.read([user("hi"), asks("c1", "c2"), gave(None, "2")])
    assert [result.call_id for result in past.results] == [None]


def test_what_is_said_after_functions_stands_apart() -> None:
    past = history.read([user("hi"), asks("c1"), user("(go on)"), asks("c2"), gave("c2"), user("and"), user("then?")])
    assert (past.said, past.later) == (("hi",), ("and", "then?"))
    both = Message("user", "then?", results=(ToolResult("c1", None, "1"),))
    assert history.read([user("hi"), asks("c1"), both]).later == ("then?",)


def test_the_exchange_before_is_known() -> None:
    assert history.read([user("hi"), bot("hello"), user("bye")]).before == (history.BEGINNING, "hi", "hello")
    assert history.read([user("hi")]).before is None
