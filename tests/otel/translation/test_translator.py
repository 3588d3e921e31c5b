from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.spans import check_wire, conversation, event, session, span, told, turn

from mlsdk import events
from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.translation.spanview import SpanView
from mlsdk_otel.translation.translator import WAIT, Translator

START = '{"timestamp":"2025-06-15T15:06:40Z","id":"u"}'
END = events.end_session(events.common(session_id="s"), 0)


def translator(**options: Any) -> Translator:
    return Translator(project_id="p", **options)


def fed(views: Iterable[SpanView], *, into: Translator | None = None, now: float = 0) -> list[Event]:
    into = translator() if into is None else into
    return [event for view in views for event in into.feed(view, now)]


def is_empty(state: Translator) -> bool:
    """Whether nothing waits that would have to be sent."""
    return not state._waiting and not state._orphans and not state._orphans_of and state.next_deadline() is None


# -- the order in which things are sent -------------------------------------------------------------------------------


def test_a_session_by_hand_is_sent_whole_and_in_order() -> None:
    root = session(event("mindlytics.event", mindlytics__event__name="Paid"), user__id="u", session__id="s")
    child = conversation(turn("hi"), below=root, gen_ai__conversation__id="c")
    assert told(fed([child, root])) == ["start s", "open c", "turn c hi", "close c", "Paid", "end s"]


def test_conversations_that_libraries_tell_of_end_before_their_session() -> None:
    call = span(
        "chat m",
        trace=2,
        session__id="s",
        gen_ai__conversation__id="c",
        gen_ai__operation__name="chat",
        gen_ai__input__messages='[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
        gen_ai__output__messages='[{"role": "assistant", "parts": [{"type": "text", "content": "hi"}]}]',
    )
    root = session(user__id="u", session__id="s")
    state = translator()
    found = state.started(root, 0) + fed([call, root], into=state)
    assert told(found) == ["start s", "open c", "turn c hi", "close c", "end s"]
    assert state.close(1) == []


def test_a_conversation_without_the_sessions_start_waits_for_its_sessions_span() -> None:
    state = translator()
    root = session(user__id="u", session__id="s")
    child = conversation(turn("hi"), below=root, gen_ai__conversation__id="c")
    assert state.feed(child, 0) == []
    assert state.next_deadline() == WAIT
    assert told(state.feed(root, 1)) == ["start s", "open c", "turn c hi", "close c", "end s"]
    assert state.next_deadline() is None


def test_a_conversation_whose_session_does_not_come_is_sent_after_the_wait() -> None:
    state = translator()
    child = conversation(turn("hi"), below=7, session__id="s", gen_ai__conversation__id="c", user__id="u")
    assert state.feed(child, 0.1) == []
    assert state.expire(0.1 + WAIT - 0.01) == []
    assert told(state.expire(0.1 + WAIT)) == ["start s", "open c", "turn c hi", "close c"]
    assert state.next_deadline() is None


@pytest.mark.parametrize("now", [0.1, 1 / 3, 1234567.1])
def test_a_conversation_that_waited_in_vain_does_not_wait_for_others(now: float) -> None:
    """It once waited behind sessions whose turn came later."""
    state = translator()
    state.feed(conversation(below=7, trace=2, session__id="b", gen_ai__conversation__id="cb"), now)
    state.feed(session(trace=1, session__id="a", mindlytics__session__conversations=1), now + 3)
    assert told(state.expire(now + WAIT)) == ["start b", "open cb", "close cb"]
    assert told(state.expire(now + 3 + WAIT)) == ["end a"]


def test_a_conversation_below_a_span_of_another_process_waits_for_nothing_and_starts_no_session() -> None:
    child = conversation(turn("hi"), below=7, remote=True, session__id="s", user__id="u", gen_ai__conversation__id="c")
    assert told(fed([child])) == ["open c", "turn c hi", "close c"]


def test_a_conversation_that_is_a_root_starts_its_session() -> None:
    child = conversation(turn("hi"), session__id="s", user__id="u", gen_ai__conversation__id="c")
    assert told(fed([child])) == ["start s", "open c", "turn c hi", "close c"]


def test_the_end_waits_for_the_conversations_that_the_session_names() -> None:
    state = translator()
    root = session(session__id="s", mindlytics__session__conversations=1)
    assert told(state.feed(root, 0)) == ["start s"]
    assert told(state.feed(conversation(turn("hi"), below=root, gen_ai__conversation__id="c"), 1)) == [
        "open c",
        "turn c hi",
        "close c",
        "end s",
    ]
    assert is_empty(state)


def test_the_end_waits_for_conversations_only_so_long() -> None:
    state = translator()
    root = session(session__id="s", mindlytics__session__conversations=1)
    state.feed(root, 0)
    assert told(state.expire(WAIT)) == ["end s"]
    assert told(state.feed(conversation(turn("hi"), below=root, gen_ai__conversation__id="c"), 6)) == [
        "open c",
        "turn c hi",
        "close c",
    ]
    assert state.late == 1


def test_parts_are_sent_in_the_order_of_their_numbers() -> None:
    parts = [
        conversation(
            turn(f"{number}"),
            mindlytics__session__start=START,
            session__id="s",
            gen_ai__conversation__id="c",
            mindlytics__part=number,
            mindlytics__continued=number < 2,
        )
        for number in range(3)
    ]
    assert told(fed([parts[2], parts[0], parts[1]])) == [
        "start s",
        "open c",
        "turn c 0",
        "turn c 1",
        "turn c 2",
        "close c",
    ]


def test_a_part_that_comes_after_its_successor_had_waited_is_sent() -> None:
    state = translator()
    part = conversation(
        turn("2"), mindlytics__session__start=START, session__id="s", gen_ai__conversation__id="c", mindlytics__part=1
    )
    assert state.feed(part, 0) == []
    assert told(state.expire(WAIT)) == ["start s", "turn c 2", "close c"]
    first = replace(
        part, span_id=99, events=(turn("1"),), attributes={**part.attributes, names.PART: 0, names.CONTINUED: True}
    )
    assert told(state.feed(first, 6)) == ["open c", "turn c 1"]


def test_two_spans_of_one_conversation_that_wait_are_both_sent() -> None:
    """Written by hand, without numbers: one once took the other's place."""
    root = session(session__id="s")
    one, two = (conversation(turn(text), below=root, gen_ai__conversation__id="c") for text in "12")
    assert told(fed([one, two, root])) == [
        "start s",
        *("open c", "turn c 1", "close c"),
        *("open c", "turn c 2", "close c"),
        "end s",
    ]


def test_two_spans_of_one_session_that_wait_are_both_sent_and_end_it_once() -> None:
    one = session(turn("1", gen_ai__conversation__id="c"), session__id="s", end=5, mindlytics__session__conversations=1)
    two = session(
        turn("2", gen_ai__conversation__id="c"), session__id="s", end=6, mindlytics__session__end_attribute__k=1
    )
    state = translator()
    assert told(fed([one, two], into=state)) == ["start s", "turn c 1", "turn c 2", "end s"]


def test_a_conversation_is_opened_again() -> None:
    shared: dict[str, Any] = {"mindlytics__session__start": START, "session__id": "s", "gen_ai__conversation__id": "c"}
    first = conversation(turn("1"), **shared)
    again = conversation(turn("2"), **shared, mindlytics__part=1, mindlytics__conversation__reopened=True)
    root = session(session__id="s", mindlytics__session__start=START, mindlytics__session__conversations=2)
    for order in ([first, again, root], [again, root, first], [root, again, first]):
        assert told(fed(order)) == [
            "start s",
            *("open c", "turn c 1", "close c"),
            *("open c", "turn c 2", "close c"),
            "end s",
        ]


def test_a_session_starts_again_under_its_old_id_in_another_trace() -> None:
    state = translator()
    shared: dict[str, Any] = {"mindlytics__session__start": START, "session__id": "s"}
    assert told(fed([session(**shared, trace=1)], into=state)) == ["start s", "end s"]
    child = conversation(turn("hi"), **shared, trace=2, gen_ai__conversation__id="c")
    assert told(fed([child, session(**shared, trace=2)], into=state)) == [
        "start s",
        *("open c", "turn c hi", "close c"),
        "end s",
    ]
    assert state.late == 0


def test_an_end_that_waits_is_sent_before_the_session_starts_again() -> None:
    state = translator()
    fed([session(session__id="s", trace=1, mindlytics__session__conversations=1)], into=state)
    assert told(fed([session(session__id="s", trace=2)], into=state)) == ["end s", "start s", "end s"]


def test_what_comes_after_the_end_is_sent_and_counted() -> None:
    state = translator()
    root = session(session__id="s")
    fed([root], into=state)
    late = conversation(turn("hi"), below=root, gen_ai__conversation__id="c")
    assert told(fed([late], into=state)) == ["open c", "turn c hi", "close c"]
    assert state.late == 1


# -- whose a conversation is ------------------------------------------------------------------------------------------


def test_of_several_sessions_in_a_trace_each_gets_its_own_conversations() -> None:
    """They once went to whichever session of the trace had ended last."""
    one, two = (session(session__id=name, user__id=name) for name in ("one", "two"))
    first = conversation(turn("1"), below=one, gen_ai__conversation__id="c1")
    second = conversation(turn("2"), below=two, gen_ai__conversation__id="c2")
    found = fed([first, one, second, two])
    assert told(found) == [
        "start one",
        "open c1",
        "turn c1 1",
        "close c1",
        "end one",
        *("start two", "open c2", "turn c2 2", "close c2", "end two"),
    ]
    assert {(item["session_id"], item["user_id"]) for item in found} == {("one", "one"), ("two", "two")}
    overlapping = fed([first, second, one, two])
    assert {(item["session_id"], item.get("conversation_id")) for item in overlapping if "conversation_id" in item} == {
        ("one", "c1"),
        ("two", "c2"),
    }


def test_with_spans_in_between_a_conversation_is_its_sessions_and_not_late() -> None:
    state = translator()
    root = session(session__id="s")
    child = conversation(turn("hi"), below=12345, gen_ai__conversation__id="c", start=1, end=2)
    assert told(fed([child, root], into=state)) == ["start s"]
    assert told(state.expire(WAIT)) == ["open c", "turn c hi", "close c", "end s"]
    assert state.late == 0


def test_a_session_that_is_still_open_has_the_conversations_below_it_at_once() -> None:
    state = translator()
    root = session(session__id="s", user__id="u")
    child = conversation(turn("hi"), below=12345, gen_ai__conversation__id="c", start=1, end=2)
    assert told(state.started(root, 0)) == ["start s"]
    assert told(fed([child, root], into=state)) == ["open c", "turn c hi", "close c", "end s"]


def test_a_conversation_inherits_the_user_of_its_session() -> None:
    root = session(session__id="s", user__id="u", mindlytics__device__id="d")
    found = fed([conversation(turn("hi"), below=root), root])
    assert {(item.get("user_id"), item.get("device_id")) for item in found} == {("u", "d")}


def test_spans_of_the_instrumentor_inherit_nothing() -> None:
    root = session(session__id="s", user__id="u", mindlytics__session__start=START)
    child = conversation(
        turn("hi"), below=root, mindlytics__session__start=START, session__id="s", mindlytics__device__id="d"
    )
    found = fed([root, child])
    assert [item.get("user_id") for item in found if item.get("event") == "Conversation Turn"] == [None]


# -- each span once ---------------------------------------------------------------------------------------------------


def test_a_span_that_two_readers_bring_is_read_once() -> None:
    root = session(session__id="s")
    assert told(fed([root, root, replace(root)])) == ["start s", "end s"]


def test_spans_without_ids_are_different_spans() -> None:
    one, two = (session(turn(t, gen_ai__conversation__id="c"), trace=0, number=0, session__id=t) for t in "12")
    assert told(fed([one, two])) == ["start 1", "turn c 1", "end 1", "start 2", "turn c 2", "end 2"]


def test_a_span_of_which_nobody_can_say_whose_it_is_is_counted() -> None:
    """They once were all of one session: that of the trace 0."""
    state = translator()
    assert fed([session(turn("1"), turn("2"), trace=0, number=0), session(trace=0, number=0)], into=state) == []
    assert state.logged(session(turn("1"), trace=0, number=0, mindlytics__session__joined=True)) == []
    assert state.loss.events == 4


def test_other_projects_and_other_roads_are_left_alone() -> None:
    state = translator()
    foreign = session(session__id="s", mindlytics__project__id="other")
    direct = session(session__id="s", mindlytics__delivery="direct")
    for view in (foreign, direct, replace(foreign, name="POST /")):
        assert state.started(view, 0) == state.feed(view, 0) == state.logged(view) == []
    assert told(fed([session(session__id="s", mindlytics__project__id="p")], into=state)) == ["start s", "end s"]


# -- starts that are told live ----------------------------------------------------------------------------------------


def test_starts_are_told_when_spans_start_and_not_again() -> None:
    state = translator()
    root = session(session__id="s", user__id="u")
    child = conversation(turn("hi"), below=root, gen_ai__conversation__id="c")
    assert told(state.started(root, 0)) == ["start s"]
    assert told(state.started(child, 0)) == ["open c"]
    assert told(fed([child, root], into=state)) == ["turn c hi", "close c", "end s"]


@pytest.mark.parametrize(
    "later",
    [{"session.id": "s"}, {"user.id": "u"}, {"session.id": "s", "user.id": "u"}],
    ids="+".join,
)
def test_a_span_that_is_given_its_ids_after_its_start_is_not_told_before(later: dict[str, str]) -> None:
    """`set_attribute` after `start_span` is how most write spans; the session once started as an unknown one."""
    state = translator()
    complete = session(session__id="s", user__id="u")
    begun = replace(complete, attributes={name: v for name, v in complete.attributes.items() if name not in later})
    found = state.started(begun, 0) + fed([complete], into=state)
    assert told(found) == ["start s", "end s"]
    assert {item.get("user_id") for item in found} == {"u"}


def test_a_conversation_that_is_given_its_id_after_its_start_is_not_told_before() -> None:
    state = translator()
    root = session(session__id="s", user__id="u")
    complete = conversation(below=root, gen_ai__conversation__id="c")
    found = state.started(root, 0) + state.started(replace(complete, attributes={}), 0)
    assert told(found + fed([complete, root], into=state)) == ["start s", "open c", "close c", "end s"]


def test_what_is_set_after_a_live_start_comes_with_the_end() -> None:
    """The service merges what an end says into what the start said."""
    state = translator()
    root = session(session__id="s", user__id="u", mindlytics__session__attribute__a=1)
    child = conversation(below=root, gen_ai__conversation__id="c", mindlytics__conversation__property__a=1)
    state.started(root, 0)
    state.started(child, 0)
    later = {**child.attributes, "mindlytics.conversation.property.b": 2, "mindlytics.conversation.end_property.c": 3}
    (closed,) = state.feed(replace(child, attributes=later), 0)
    assert closed["properties"] == {"b": 2, "c": 3}
    (ended,) = state.feed(replace(root, attributes={**root.attributes, "mindlytics.session.attribute.a": 2}), 0)
    assert ended["attributes"] == {"a": 2}


def test_a_conversation_that_only_starts_is_not_told_before_its_session() -> None:
    state = translator()
    child = conversation(below=7, session__id="s", user__id="u", gen_ai__conversation__id="c")
    assert state.started(child, 0) == []
    assert told(fed([child], into=state) + state.close(0)) == ["start s", "open c", "close c"]


def test_a_continuation_tells_no_start() -> None:
    state = translator()
    root = session(session__id="s", mindlytics__session__start=START)
    state.started(root, 0)
    assert state.started(replace(root, span_id=9, attributes={**root.attributes, names.PART: 1}), 0) == []


# -- log records and the application's word ---------------------------------------------------------------------------


def test_log_records_are_sent_at_once_and_belong_to_the_session_of_their_trace() -> None:
    state = translator()
    state.started(session(session__id="s", user__id="u", trace=5), 0)
    record = session(turn("hi", gen_ai__conversation__id="c"), trace=5, mindlytics__session__joined=True)
    found = state.logged(record)
    assert [(item["session_id"], item.get("user_id")) for item in found] == [("s", "u")]


def test_the_application_ends_a_session_once() -> None:
    state = translator()
    assert told(state.end_session("s", END, 0)) == ["end s"]
    assert state.end_session("s", END, 0) == []


def test_what_waits_of_a_session_goes_before_the_end_that_the_application_says() -> None:
    state = translator()
    child = conversation(turn("hi"), below=7, session__id="s", gen_ai__conversation__id="c")
    assert state.feed(child, 0) == []
    assert told(state.end_session("s", END, 1)) == ["start s", "open c", "turn c hi", "close c", "end s"]
    assert is_empty(state)


def test_an_end_that_waits_is_the_one_that_is_sent() -> None:
    state = translator()
    state.feed(session(session__id="s", mindlytics__session__conversations=1), 0)
    assert told(state.end_session("s", END, 1)) == ["end s"]
    assert is_empty(state)


# -- bounds -----------------------------------------------------------------------------------------------------------


def sizes(state: Translator) -> list[int]:
    held = (
        state._sessions,
        state._waiting,
        state._ended,
        state._seen,
        state._traces,
        state._orphans,
        state._orphans_of,
    )
    return [len(memory) for memory in held]


@pytest.mark.parametrize("kind", ["started", "orphans", "gaps", "unfinished", "one trace", "one session"])
def test_what_is_remembered_is_bounded(kind: str) -> None:
    state = translator(max_remembered=5)
    found: list[Event] = []
    for number in range(1, 50):
        name = f"s{number}"
        if kind == "started":
            found += state.started(session(session__id=name, user__id="u", trace=number), 0)
        elif kind == "orphans":
            found += state.feed(conversation(turn(name), below=7, session__id=name, trace=number), 0)
        elif kind == "gaps":
            found += state.feed(
                conversation(turn(name), session__id="s", mindlytics__part=number, gen_ai__conversation__id="c"), 0
            )
        elif kind == "unfinished":
            found += state.feed(
                session(
                    turn(name, gen_ai__conversation__id="c"),
                    session__id=name,
                    trace=number,
                    mindlytics__session__conversations=2,
                ),
                0,
            )
        elif kind == "one trace":
            found += state.feed(conversation(turn(name), below=1000 + number, session__id=name), 0)
        else:
            found += state.feed(conversation(turn(name), session__id="s", gen_ai__conversation__id=name), 0)
        assert max(sizes(state)) <= 5
        assert sum(one.held for one in state._sessions.values()) <= 5 * 5
    found += state.close(0)
    assert is_empty(state)
    turns = [item for item in told(found) if item.startswith("turn")]
    assert len(turns) == (0 if kind == "started" else 49)


def test_a_session_of_very_many_conversations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsdk_otel.translation.state.MAX_CONVERSATIONS", 5)
    state = translator()
    root = session(session__id="s", user__id="u")
    state.started(root, 0)
    for number in range(50):
        child = conversation(turn("hi"), below=root, gen_ai__conversation__id=f"c{number}")
        state.started(replace(child, span_id=10_000 + number), 0)  # some never end
        state.feed(child, 0)
    (kept,) = state._sessions.values()
    assert len(kept._next) <= 5
    assert len(kept._open) <= 5


# -- any order, any batches -------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[SpanView]:
    """The finished spans of some sessions, by the instrumentor or by hand, in the order in which they would end."""
    views: list[SpanView] = []
    for number in range(draw(st.integers(1, 3))):
        session_id, trace = f"s{number}", number + 1
        is_mirrored = draw(st.booleans())
        shared: dict[str, Any] = {"trace": trace}
        if is_mirrored:
            shared |= {"session__id": session_id, "mindlytics__session__start": START}
        root_id = 100 * trace
        children: list[SpanView] = []
        serial = 0

        def texts(conversation_id: str, session_id: str = session_id) -> list[Any]:
            nonlocal serial
            made = []
            for _ in range(draw(st.integers(0, 2))):
                serial += 1
                made.append(turn(f"{session_id}:{serial}", gen_ai__conversation__id=conversation_id))
            return made

        conversations = draw(st.integers(0, 2))
        ends = 0
        for letter in range(conversations):
            conversation_id = f"c{number}{letter}"
            part = 0
            for opening in range(draw(st.integers(1, 2)) if is_mirrored else 1):
                ends += 1
                pieces = draw(st.integers(1, 3)) if is_mirrored else 1
                for piece in range(pieces):
                    again = {"mindlytics__conversation__reopened": True} if opening and not piece else {}
                    children.append(
                        conversation(
                            *texts(conversation_id),
                            **shared,
                            **again,
                            below=root_id,
                            gen_ai__conversation__id=conversation_id,
                            mindlytics__part=part,
                            mindlytics__continued=piece < pieces - 1,
                        )
                    )
                    part += 1
        pieces = draw(st.integers(1, 3)) if is_mirrored else 1
        own = [
            session(
                *texts("stray"),
                **{"session__id": session_id, "user__id": "u", **shared},
                number=root_id + piece,
                below=root_id if piece else None,
                mindlytics__part=piece,
                mindlytics__continued=piece < pieces - 1,
                **({"mindlytics__session__conversations": ends} if piece == pieces - 1 else {}),
            )
            for piece in range(pieces)
        ]
        views += [*children, *own]
    return views


@given(st.data())
def test_any_order_within_the_wait_gives_sessions_in_order(data: st.DataObject) -> None:
    history = data.draw(histories())
    order = data.draw(st.permutations(history))
    twice = [order[index] for index in data.draw(st.lists(st.integers(0, len(order) - 1), max_size=3))]
    state = translator()
    found: list[Event] = []
    for view in history:
        if data.draw(st.booleans(), label="live"):  # as far as a processor saw it start, children after parents
            begun = replace(
                view, events=(), attributes={k: v for k, v in view.attributes.items() if k != names.CONTINUED}
            )
            found += state.started(begun, 0)
    now = 0.0
    for view in [*order, *twice]:
        now += data.draw(st.sampled_from([0.0, 0.01]), label="passes")
        if data.draw(st.booleans(), label="expires"):
            found += state.expire(now)
        found += state.feed(view, now)
    assert state.late == 0
    found += state.close(now)
    assert is_empty(state)
    check_wire(found)
    check_sessions(history, found)


def check_sessions(history: list[SpanView], found: list[Event]) -> None:
    """Each session's start first and end last, every event once, each thread of it in order."""
    by_session: dict[object, list[Event]] = {}
    for item in found:
        by_session.setdefault(item["session_id"], []).append(item)
    assert len(by_session) == len({view.trace_id for view in history})
    for number, items in by_session.items():
        said = told(items)
        assert (said[0], said[-1]) == (f"start {number}", f"end {number}")
        assert not [line for line in said[1:-1] if line.split()[0] in ("start", "end")]
        for conversation_id in {item.get("conversation_id") for item in items} - {None, "stray"}:
            inside = [line for line in said if line.split()[1:2] == [conversation_id]]
            assert inside[0] == f"open {conversation_id}"
            assert inside[-1] == f"close {conversation_id}"
            kinds = [line.split()[0] for line in inside if line.split()[0] != "turn"]
            assert kinds == ["open", "close"] * (len(kinds) // 2)
    # What each thread says, in its order; nothing lost, nothing twice.
    wanted: dict[tuple[int, object], list[str]] = {}
    for view in sorted(history, key=lambda view: int(str(view.attributes[names.PART]))):
        thread = (view.trace_id, view.attributes.get(names.CONVERSATION_ID))
        wanted.setdefault(thread, []).extend(str(each.attributes[names.TURN_USER]) for each in view.events)
    sent: dict[tuple[int, object], list[str]] = {thread: [] for thread in wanted}
    for item in found:
        if item.get("event") == "Conversation Turn":
            conversation_id = item["conversation_id"]
            trace = int(str(item["session_id"])[1:]) + 1
            properties: Any = item["properties"]
            sent[trace, None if conversation_id == "stray" else conversation_id].append(str(properties["user"]))
    assert sent == wanted


@given(st.data())
def test_spans_that_come_at_any_time_are_all_sent_once(data: st.DataObject) -> None:
    """Later than the wait, with expiry and forgetting in between: order may suffer, nothing else."""
    history = data.draw(histories())
    state = translator(max_remembered=data.draw(st.sampled_from([1, 2, 100])))
    found: list[Event] = []
    now = 0.0
    for view in data.draw(st.permutations(history)):
        now += data.draw(st.sampled_from([0.0, 3.0, 6.0]))
        if data.draw(st.booleans()):
            found += state.expire(now)
        found += state.feed(view, now)
        deadline = state.next_deadline()
        assert deadline is None or not state.expire(min(deadline - 1e-6, now - 1))
    found += state.close(now)
    assert is_empty(state)
    check_wire(found)
    sent = sorted(line for line in told(found) if line.startswith("turn"))
    assert sent == sorted(
        f"turn {each.attributes[names.CONVERSATION_ID]} {each.attributes[names.TURN_USER]}"
        for view in history
        for each in view.events
    )
