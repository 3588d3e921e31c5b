"""When sessions begin and end."""

from __future__ import annotations

from support.foreign import in_short
from support.spans import NOON, check_wire

from mlsdk.events import Event, common, end_session
from mlsdk_otel.translation.conventions.native import anonymous_device
from mlsdk_otel.translation.lifetime import Lifetimes
from mlsdk_otel.translation.turn import Owner

OWN = Owner("t", "t")
JOINED = Owner("s", "c", user_id="u", is_joined=True)


def short(events: list[Event]) -> list[str]:
    check_wire(events)
    return [in_short(event) for event in events]


def begin(lifetimes: Lifetimes, owner: Owner, now: float = 0.0) -> list[str]:
    return short(lifetimes.begin(owner, NOON, NOON, now)[1])


def test_a_session_that_is_its_trace_starts_and_ends() -> None:
    lifetimes = Lifetimes()
    assert begin(lifetimes, OWN) == ["start", "open"]
    assert begin(lifetimes, OWN) == []
    assert lifetimes.due(299) == []
    assert lifetimes.due(300) == ["t"]
    assert short(lifetimes.end("t")) == ["close", "end"]
    assert lifetimes.end("t") == []


def test_a_session_from_outside_is_joined_and_only_its_conversations_end() -> None:
    lifetimes = Lifetimes()
    assert begin(lifetimes, JOINED) == ["open"]
    assert lifetimes.due(1799) == []
    assert lifetimes.due(1800) == ["s"]
    assert short(lifetimes.end("s")) == ["close"]


def test_what_comes_after_an_end_has_the_same_ids_and_ends_again() -> None:
    lifetimes = Lifetimes()
    begin(lifetimes, OWN)
    lifetimes.end("t")
    assert begin(lifetimes, OWN, 500.0) == []
    assert lifetimes.due(799) == []
    assert short(lifetimes.end("t")) == ["close", "end"]


def test_only_the_application_ends_a_joined_session() -> None:
    lifetimes = Lifetimes()
    begin(lifetimes, JOINED)
    said = end_session(common(session_id="s"), NOON // 1000)
    ended = lifetimes.end("s", said)
    assert short(ended) == ["close", "end"]
    assert {event["user_id"] for event in ended} == {"u"}
    assert lifetimes.end("s", said) == []
    begin(lifetimes, JOINED)
    assert short(lifetimes.end("s", said)) == ["close", "end"]
    assert lifetimes.end("nobody", said) == [said]


def test_who_it_is() -> None:
    lifetimes = Lifetimes()
    assert lifetimes.begin(OWN, NOON, NOON, 0)[0] == {"session_id": "t", "device_id": anonymous_device("t")}
    assert lifetimes.begin(JOINED, NOON, NOON, 0)[0] == {"session_id": "s", "user_id": "u"}
    later = Owner("s", "c", is_joined=True)
    assert lifetimes.begin(later, NOON, NOON, 0)[0]["user_id"] == "u"  # said once is said
    single = Lifetimes(device_id="mine")
    assert single.begin(OWN, NOON, NOON, 0)[0] == {"session_id": "t", "device_id": "mine"}
    assert anonymous_device("t") != anonymous_device("s")


def test_what_the_application_says_of_a_session_goes_with_its_start() -> None:
    lifetimes = Lifetimes()
    lifetimes.touch(OWN, 0, {"plan": "free"})
    assert lifetimes.begin(OWN, NOON, NOON, 0)[1][0]["attributes"] == {"plan": "free"}
    lifetimes.touch(JOINED, 0, {"plan": "free"})
    assert lifetimes.begin(JOINED, NOON, NOON, 0)[1][0]["properties"] == {"plan": "free"}


def test_a_session_of_which_nothing_was_sent_does_not_end() -> None:
    lifetimes = Lifetimes()
    lifetimes.touch(OWN, 0)
    assert lifetimes.next_deadline() == 300
    assert lifetimes.end("t") == []
    assert lifetimes.next_deadline() is None


def test_conversations_of_one_session_are_bounded_and_the_oldest_end() -> None:
    lifetimes = Lifetimes()
    found = [each for number in range(1_500) for each in begin(lifetimes, Owner("s", f"{number}", is_joined=True))]
    assert (found.count("open"), found.count("close")) == (1_500, 500)


def test_there_are_bounds() -> None:
    lifetimes = Lifetimes(max_sessions=3)
    for number in range(20):
        begin(lifetimes, Owner(f"{number}", "c", is_joined=number % 2 == 0))
        for session_id in lifetimes.too_many():
            lifetimes.end(session_id)
    assert max(lifetimes.sizes()) <= 3
