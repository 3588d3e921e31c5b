"""What is open, told from events; and the ends that are made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlsdk import events
from mlsdk.delivery.recovery import OpenSessions
from mlsdk.events import Event

WHO = events.common(session_id="s", user_id="u", device_id="d")


def started() -> list[Event]:
    return [events.start_session(WHO, 1), events.conversation_started(WHO, 2, conversation_id="c")]


def turn(moment: int, who: events.Common = WHO) -> Event:
    return events.turn(who, moment, conversation_id="c", user="", assistant="")


def ends(seen: Iterable[Event]) -> list[Event]:
    sessions = OpenSessions()
    for event in seen:
        sessions.note(event)
    return [end for session in sessions for end in session.ends()]


def test_an_open_session_ends_at_its_last_activity_after_its_conversations() -> None:
    other = events.conversation_started(WHO, 3, conversation_id="c2")
    assert ends([*started(), other, turn(9), turn(5)]) == [
        events.conversation_ended(WHO, 9, conversation_id="c"),
        events.conversation_ended(WHO, 9, conversation_id="c2"),
        events.end_session(WHO, 9),
    ]


def test_what_has_ended_is_not_ended_again() -> None:
    over = events.conversation_ended(WHO, 4, conversation_id="c")
    assert ends([*started(), over]) == [events.end_session(WHO, 4)]
    assert ends([*started(), over, events.end_session(WHO, 5)]) == []
    assert ends([*started(), over, events.end_session(WHO, 5), *started()])[-1] == events.end_session(WHO, 2)


def test_a_session_that_was_joined_is_not_ended() -> None:
    assert ends([turn(1), events.conversation_started(WHO, 2, conversation_id="c")]) == []


def test_the_ends_say_who_the_user_was_at_the_end() -> None:
    identified = events.identify(WHO, 3, id="ann")
    assert ends([*started(), identified])[-1]["user_id"] == "ann"
    renamed = events.alias(WHO, 4, id="anna", previous_id="ann")
    assert ends([*started(), identified, renamed])[-1]["user_id"] == "anna"
    later = events.common(session_id="s", user_id="bob")
    assert ends([*started(), turn(4, later)])[-1]["user_id"] == "bob"


@given(st.lists(st.sampled_from(range(7)), max_size=12), st.integers(0, 12))
def test_marks_carry_over_what_is_known(kinds: list[int], cut: int) -> None:
    """Whoever reads the marks that were written up to some event goes on as if it had seen all the events itself."""
    kinds_of_event: list[Event] = [
        *started(),
        turn(5),
        events.conversation_started(WHO, 3, conversation_id="c2"),
        events.conversation_ended(WHO, 6, conversation_id="c"),
        events.end_session(WHO, 7),
        events.identify(WHO, 2, id="ann"),
    ]
    seen = [kinds_of_event[kind] for kind in kinds]
    before = OpenSessions()
    noted = ((before.note(event), event) for event in seen[:cut])
    marks = [before.mark(session_id) for session_id, _ in noted if session_id is not None]
    after = OpenSessions()
    assert after.read(marks) == 0
    for event in seen[cut:]:
        after.note(event)
    assert [end for session in after for end in session.ends()] == ends(seen)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("session_id", "type", "event", "timestamp", "conversation_id", "user_id", "id", "latest", "conversations")


@given(
    st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(["s", "start_session", "track"]))),
    st.lists(st.binary(max_size=60)),
)
def test_nothing_that_a_file_may_hold_raises(seen: list[dict[str, Any]], marks: list[bytes]) -> None:
    import orjson

    sessions = OpenSessions()
    for event in seen:
        sessions.note(event)
        try:
            mark = orjson.dumps(event)
        except orjson.JSONEncodeError:
            continue
        sessions.read([mark])
    assert 0 <= sessions.read(marks) <= len(marks)
    for session in sessions:
        session.ends()
