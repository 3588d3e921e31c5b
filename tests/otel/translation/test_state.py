from __future__ import annotations

from typing import Any

from support.spans import told

from mlsdk import events
from mlsdk.events import Event
from mlsdk_otel.translation.facts import Role, SessionPart
from mlsdk_otel.translation.state import SessionState

WHO = events.common(session_id="s", user_id="u")
START = events.start_session(WHO, 0)


def conversation(conversation_id: str, *texts: str, number: int = 0, moment: int = 0, **fields: Any) -> SessionPart:
    opening = events.conversation_started(WHO, moment, conversation_id=conversation_id)
    return SessionPart(
        **{
            "role": Role.CONVERSATION,
            "session_id": "s",
            "conversation_id": conversation_id,
            "number": number,
            "is_continued": False,
            "is_joined": False,
            "session_start": None,
            "likely_start": events.start_session(WHO, moment),
            "opening": None if number else opening,
            "inner": tuple(
                events.turn(WHO, moment, conversation_id=conversation_id, user=text, assistant=text) for text in texts
            ),
            "closing": events.conversation_ended(WHO, moment, conversation_id=conversation_id),
            **fields,
        }
    )


def session(*inner: Event, number: int = 0, conversations: int | None = None, **fields: Any) -> SessionPart:
    return SessionPart(
        **{
            "role": Role.SESSION,
            "session_id": "s",
            "conversation_id": None,
            "number": number,
            "is_continued": False,
            "is_joined": False,
            "session_start": START,
            "likely_start": START,
            "opening": None,
            "inner": inner,
            "closing": events.end_session(WHO, 9),
            "conversations": conversations,
            **fields,
        }
    )


def test_a_session_begins_with_its_own_span_and_ends_with_its_last_conversation() -> None:
    state = SessionState()
    assert state.take(conversation("c", "1")) == []
    assert (state.waits, state.held) == (True, 1)
    assert told(state.take(session(conversations=2))) == ["start s", "open c", "turn c 1", "close c"]
    assert (state.waits_to_end, state.held) == (True, 0)
    assert told(state.take(conversation("d"))) == ["open d", "close d", "end s"]
    assert (state.waits, state.has_ended) == (False, True)


def test_conversations_that_may_still_come_are_waited_for() -> None:
    state = SessionState()
    state.take(conversation("c"))
    assert told(state.take(session(), expected=1)) == ["start s", "open c", "close c"]
    assert told(state.take(conversation("d"))) == ["open d", "close d", "end s"]


def test_without_the_sessions_span_the_earliest_start_that_is_known_has_to_do() -> None:
    state = SessionState()
    state.take(conversation("late", moment=5_000_000))
    state.take(conversation("early", moment=1_000_000))
    found = state.begin_anyhow()
    assert told(found) == ["start s", "open late", "close late", "open early", "close early"]
    assert found[0]["timestamp"] == "1970-01-01T00:00:01.000000Z"
    assert state.begin_anyhow() == []


def test_giving_up_on_the_start_does_not_give_up_on_parts() -> None:
    state = SessionState()
    state.take(conversation("c", "2", number=1))
    assert told(state.begin_anyhow()) == ["start s"]
    assert told(state.take(conversation("c", "1", closing=None))) == ["open c", "turn c 1", "turn c 2", "close c"]


def test_everything_that_waits_goes_in_order_when_time_is_over() -> None:
    state = SessionState()
    for number in (3, 1, 2):
        state.take(conversation("c", str(number), number=number, closing=None))
    state.take(session(number=1))
    assert told(state.expire()) == ["start s", "turn c 1", "turn c 2", "turn c 3", "end s"]
    assert not state.waits


def test_an_expiry_does_not_end_what_has_not_ended() -> None:
    state = SessionState()
    state.take(session(closing=None, is_continued=True))
    assert state.expire() == []
    assert not state.has_ended
    assert told(state.take(session(number=1))) == ["end s"]


def test_two_ends_become_one_with_the_attributes_of_both() -> None:
    state = SessionState()
    one = events.end_session(WHO, 5, attributes={"a": 1, "b": 1})
    two = events.end_session(WHO, 4, attributes={"b": 2, "c": 2})
    state.take(session(conversations=1, closing=one))
    state.take(session(conversations=1, closing=two))
    assert state.expire() == [events.end_session(WHO, 5, attributes={"a": 1, "b": 1, "c": 2})]
