"""Messages of the websocket: what they mean, whatever they hold; the memory of ids; the schedule of attempts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.delivery.retry import FIRST_WAIT, LONGEST_WAIT
from mlsdk.errors import LiveError
from mlsdk.live.decoder import (
    MAX_ERROR_MESSAGE,
    MAX_KEY,
    MAX_TEXT,
    Decoder,
    SeenIds,
    authorization_key,
    decode,
    reconnect_wait,
)
from mlsdk.models import MLEvent

WHOLE: dict[str, Any] = {
    "organization_id": "o1",
    "app_id": "p1",
    "session_id": "s1",
    "user_id": "u1",
    "conversation_id": "c1",
    "event_id": "e1",
    "origin_event_id": "e0",
    "timestamp": "2025-04-03T07:35:10.000000Z",
    "event": "Conversation Summary",
    "properties": {"summary": "fine", "turns": 2, "score": 0.5, "resolved": True, "topics": ["a", "b"], "none": []},
    "user_traits": {"name": "Jo", "age": 3},
}
LEAST: dict[str, Any] = {"session_id": "s1", "timestamp": "2025-04-03T07:35:10Z", "event": "Session Started"}


def text(**changes: Any) -> str:
    return json.dumps({**WHOLE, **changes})


def read(message: str | bytes) -> MLEvent:
    decoded = decode(message)
    assert isinstance(decoded, MLEvent), decoded
    return decoded


def refused(message: str | bytes) -> LiveError:
    decoded = decode(message)
    assert isinstance(decoded, LiveError)
    assert decoded.status == -1
    return decoded


# -- events -----------------------------------------------------------------------------------------------------------


def test_a_whole_event_is_read_field_by_field() -> None:
    assert read(json.dumps(WHOLE)).model_dump() == WHOLE


def test_the_least_event_is_read() -> None:
    assert read(json.dumps(LEAST)).model_dump(exclude_none=True) == LEAST


def test_bytes_are_read_like_text() -> None:
    assert read(json.dumps(WHOLE).encode()) == read(json.dumps(WHOLE))


def test_values_keep_their_types() -> None:
    properties = read(
        text(properties={"yes": True, "one": 1, "half": 0.5, "text": "1", "list": [True, 1, "1"]})
    ).properties
    assert repr(properties) == "{'yes': True, 'one': 1, 'half': 0.5, 'text': '1', 'list': [True, 1, '1']}"


def test_unknown_fields_pass() -> None:
    event = read(text(region="eu", nested={"a": [1, {"b": None}]}))
    assert event.model_extra == {"region": "eu", "nested": {"a": [1, {"b": None}]}}


@pytest.mark.parametrize("name", ["Quantum Insight", "", "🙂" * 500])
def test_unknown_events_pass(name: str) -> None:
    assert read(text(event=name)).event == name


def test_optional_fields_may_be_null() -> None:
    nothing = dict.fromkeys(set(WHOLE) - set(LEAST))
    assert read(json.dumps({**nothing, **LEAST})).properties is None


# -- what is no event -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "",
        " ",
        "{",
        "hello",
        "NaN",
        '{"event": NaN}',
        "\ufeff{}",
        '{"a": 1,}',
        "[" * 100_000,
        '{"a":' * 100_000,
        b"\xff\xfe",
        b"",
        "\ud800",
    ],
    ids=range(13),
)
def test_what_is_not_json_is_an_error(message: str | bytes) -> None:
    assert str(refused(message)) == "a live event cannot be read: it is not JSON"


@pytest.mark.parametrize("message", ["null", "1", '"text"', "[]", "true", f"[{json.dumps(LEAST)}]"])
def test_what_is_no_object_is_an_error(message: str) -> None:
    assert str(refused(message)) == "a live event cannot be read: it is not a JSON object"


@pytest.mark.parametrize("field", LEAST)
def test_a_missing_field_is_named(field: str) -> None:
    message = json.dumps({name: value for name, value in LEAST.items() if name != field})
    assert str(refused(message)) == f"a live event cannot be read: missing or of a wrong type: {field}"


@pytest.mark.parametrize("value", [1, True, ["s1"], {"id": "s1"}])
@pytest.mark.parametrize("field", [*LEAST, "event_id", "conversation_id", "user_id"])
def test_a_field_of_a_wrong_type_is_named(field: str, value: object) -> None:
    assert str(refused(text(**{field: value}))).endswith(f"wrong type: {field}")


@pytest.mark.parametrize("field", ["properties", "user_traits"])
@pytest.mark.parametrize("values", ["text", 1, [], {"a": None}, {"a": {"b": 1}}, {"a": [[1]]}, {"a": [None]}])
def test_values_of_a_wrong_type_are_an_error(field: str, values: object) -> None:
    assert str(refused(text(**{field: values}))).startswith(f"a live event cannot be read: its {field} hold")


def test_traits_hold_no_lists() -> None:
    assert "user_traits" in str(refused(text(user_traits={"tags": ["a"]})))


def test_no_error_quotes_the_message() -> None:
    secret = "the user's own words"
    for message in (
        secret,
        f'"{secret}"',
        text(event=[secret]),
        text(properties={secret: None}),
        text(timestamp={secret: 1}),
    ):
        assert secret not in str(refused(message))


def test_a_message_of_the_largest_size_is_read() -> None:
    room = MAX_TEXT - len(text(properties={"text": ""}))
    assert read(text(properties={"text": "x" * room})).properties == {"text": "x" * room}


@pytest.mark.parametrize("message", ["x" * (MAX_TEXT + 1), b"x" * (MAX_TEXT + 1)])
def test_a_larger_message_is_an_error(message: str | bytes) -> None:
    assert "more than" in str(refused(message))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("wrong", [None, [None], {}], ids=repr)
def test_a_message_full_of_wrong_values_is_refused_at_once(wrong: object) -> None:
    assert "properties" in str(refused(text(properties={str(number): wrong for number in range(200_000)})))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(WHOLE)), inner),
    )
)
def test_any_json_is_an_event_or_an_error(value: object) -> None:
    assert isinstance(decode(json.dumps(value)), (MLEvent, LiveError))


@given(st.text() | st.binary())
def test_any_text_is_an_event_or_an_error(message: str | bytes) -> None:
    assert isinstance(decode(message), LiveError)


# -- MLError ----------------------------------------------------------------------------------------------------------


def test_an_ml_error_is_an_error_with_its_message() -> None:
    assert str(refused(text(event="MLError", properties={"error_message": "No such model"}))) == "No such model"


def test_an_ml_error_needs_nothing_else() -> None:
    assert str(refused('{"event": "MLError", "properties": {"error_message": "Down"}}')) == "Down"


@pytest.mark.parametrize(
    "properties", [None, {}, [], "text", {"error_message": None}, {"error_message": 1}, {"error_message": " "}]
)
def test_an_ml_error_without_a_message_is_an_error_all_the_same(properties: object) -> None:
    assert (
        str(refused(text(event="MLError", properties=properties)))
        == "the service reported an error and did not say which"
    )


def test_a_huge_message_of_an_ml_error_is_cut() -> None:
    message = str(refused(text(event="MLError", properties={"error_message": "x" * 1_000_000})))
    assert message == "x" * (MAX_ERROR_MESSAGE - 1) + "…"


# -- nothing twice, nothing of others ---------------------------------------------------------------------------------


def test_an_event_is_given_once() -> None:
    decoder = Decoder()
    assert [decoder.feed(text()), decoder.feed(text(event="other")), decoder.feed(text(event_id="e2"))] == [
        read(text()),
        None,
        read(text(event_id="e2")),
    ]


def test_an_ml_error_is_given_once() -> None:
    decoder = Decoder()
    error = text(event="MLError")
    assert isinstance(decoder.feed(error), LiveError)
    assert decoder.feed(error) is None


@pytest.mark.parametrize("event_id", [None, ""])
def test_events_without_an_id_are_all_given(event_id: str | None) -> None:
    decoder = Decoder()
    assert decoder.feed(text(event_id=event_id)) == decoder.feed(text(event_id=event_id)) != None  # noqa: E711


def test_an_error_is_given_each_time() -> None:
    decoder = Decoder()
    assert isinstance(decoder.feed("{"), LiveError)
    assert isinstance(decoder.feed("{"), LiveError)


def test_another_sessions_event_is_not_given() -> None:
    decoder = Decoder("s1")
    assert decoder.feed(text(session_id="s2")) is None
    assert decoder.feed(text(session_id="s2", event="MLError", event_id="e2")) is None
    assert isinstance(decoder.feed(text()), MLEvent), "another session's event with that id does not count"


def test_an_ml_error_of_no_session_is_given() -> None:
    assert isinstance(Decoder("s1").feed('{"event": "MLError"}'), LiveError)


def test_without_a_session_all_are_given() -> None:
    decoder = Decoder(None)
    assert isinstance(decoder.feed(text(session_id="s1", event_id="e1")), MLEvent)
    assert isinstance(decoder.feed(text(session_id="s2", event_id="e2")), MLEvent)


# -- the memory -------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=3)), st.integers(1, 5))
def test_the_memory_knows_the_latest_and_no_more(ids: list[str], size: int) -> None:
    seen, latest = SeenIds(size), list[str]()
    for event_id in ids:
        assert seen.is_new(event_id) == (event_id not in latest)
        latest = [*(other for other in latest if other != event_id), event_id][-size:]
        assert len(seen) == len(latest) <= size


def test_the_memory_holds_ten_thousand() -> None:
    seen = SeenIds()
    assert all(seen.is_new(str(number)) for number in range(10_000))
    assert not any(seen.is_new(str(number)) for number in range(10_000))
    assert seen.is_new("10000")
    assert seen.is_new("0"), "the oldest made room"
    assert len(seen) == 10_000


def test_long_ids_are_told_apart_in_little_memory() -> None:
    seen = SeenIds()
    assert seen.is_new("x" * 1_000_000 + "1")
    assert seen.is_new("x" * 1_000_000 + "2")
    assert seen.is_new("\ud800" * 200)
    assert not seen.is_new("x" * 1_000_000 + "1")
    assert max(map(len, seen._seen)) <= 100


# -- the authorization key --------------------------------------------------------------------------------------------


def test_the_key_is_read() -> None:
    assert authorization_key(b'{"authorization_key": "abc-123", "more": 1}') == "abc-123"


@pytest.mark.parametrize("key", [None, 1, "", "a\r\nX-Evil: 1", "a\0", "ключ", "x" * (MAX_KEY + 1), ["a"], "a\x7f"])
def test_a_key_that_no_header_can_carry_is_none(key: object) -> None:
    assert authorization_key(json.dumps({"authorization_key": key}).encode()) is None


@given(st.binary())
def test_any_other_answer_holds_no_key(body: bytes) -> None:
    assert authorization_key(body) is None


# -- the schedule -----------------------------------------------------------------------------------------------------

JITTER = st.floats(0, 1)


@given(st.integers(0, 10**9), JITTER)
def test_waits_are_bounded(failures: int, jitter: float) -> None:
    assert 0 <= reconnect_wait(failures, jitter=jitter) <= LONGEST_WAIT


@given(st.integers(0, 10**6), JITTER)
def test_waits_do_not_shrink_as_failures_grow(failures: int, jitter: float) -> None:
    assert reconnect_wait(failures, jitter=jitter) <= reconnect_wait(failures + 1, jitter=jitter)


@given(st.integers(0, 100), JITTER, st.floats(0, 600))
def test_a_wait_that_was_asked_for_is_kept(failures: int, jitter: float, after: float) -> None:
    assert reconnect_wait(failures, jitter=jitter, after=after) == max(after, reconnect_wait(failures, jitter=jitter))


def test_waits_double_up_to_the_longest() -> None:
    waits = [reconnect_wait(failures, jitter=1.0) for failures in range(8)]
    assert waits == [FIRST_WAIT, FIRST_WAIT, 1, 2, 4, 8, LONGEST_WAIT, LONGEST_WAIT]
