"""Wire events: each constructor's output is what the service takes, and timestamps keep their microsecond."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support import child

from mlsdk import InvalidEventError, events, models
from mlsdk.events import Event

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
WHO = events.common(session_id="s", user_id="jj", device_id="d")
WHEN = 1_743_665_710_000_001
AT = "2025-04-03T07:35:10.000001Z"

moments = st.integers((datetime(1, 1, 1, tzinfo=timezone.utc) - EPOCH) // MICROSECOND, 253_402_300_799_999_999)
ids = st.text(min_size=1, max_size=100)
texts = st.text(max_size=20)
scalars = (
    st.text(max_size=20)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
mappings = st.none() | st.dictionaries(st.text(max_size=10), scalars, max_size=4)
counts = st.integers(0, 2**63 - 1)
usages = st.fixed_dictionaries({"model": ids, "prompt_tokens": counts, "completion_tokens": counts}) | (
    st.fixed_dictionaries({"cost": st.floats(allow_nan=False, allow_infinity=False)})
)
commons = st.builds(events.common, session_id=ids, user_id=st.none() | ids, device_id=st.none() | ids)
known = st.builds(events.common, session_id=ids, user_id=st.none() | ids, device_id=ids)
own_names = ids.filter(lambda name: name not in models._BY_EVENT)
# Beside `user` and `name` there may be properties of the caller's own, but not under the names of arguments.
own = st.none() | st.dictionaries(st.text(max_size=10).map("own {}".format), scalars, max_size=4)

made = st.one_of(
    st.builds(events.start_session, known, moments, attributes=mappings),
    st.builds(events.end_session, commons, moments, attributes=mappings),
    st.builds(events.identify, commons, moments, id=ids, device_id=st.none() | ids, traits=mappings),
    st.builds(events.identify, known, moments, traits=mappings),
    st.builds(events.alias, commons, moments, id=ids, previous_id=ids),
    st.builds(events.custom, commons, moments, event=own_names, conversation_id=st.none() | ids, properties=mappings),
    st.builds(events.conversation_started, commons, moments, conversation_id=ids, properties=mappings),
    st.builds(events.conversation_ended, commons, moments, conversation_id=ids, properties=mappings),
    st.builds(
        events.turn,
        commons,
        moments,
        conversation_id=ids,
        user=texts,
        assistant=texts,
        assistant_id=st.none() | ids,
        usage=st.none() | usages,
        properties=own,
    ),
    st.builds(events.usage, commons, moments, conversation_id=ids, usage=usages),
    st.builds(
        events.function_call,
        commons,
        moments,
        conversation_id=ids,
        name=ids,
        args=st.none() | texts,
        result=st.none() | texts,
        runtime=st.none() | counts,
        properties=own,
    ),
)


@given(made)
def test_whatever_is_made_is_valid_and_survives_json(event: Event) -> None:
    decoded = json.loads(events.encode(event))

    assert decoded == event
    assert json.dumps(decoded) == json.dumps(event)  # equal types and order too: True is no 1, and 1 is no 1.0
    model = models.wire_model(decoded)
    assert model is not None
    model.model_validate(decoded, strict=True)
    assert decoded.keys() <= model.model_fields.keys()


field_names = st.sampled_from([*models.TurnPropertiesModel.model_fields, *models.FunctionPropertiesModel.model_fields])


@given(st.booleans(), field_names.filter(lambda name: name not in ("user", "assistant", "name")), scalars)
def test_a_property_under_the_name_of_a_field_is_what_the_service_takes_there(
    is_turn: bool, field: str, value: Any
) -> None:
    model = models.TurnPropertiesModel if is_turn else models.FunctionPropertiesModel
    own = {"user": "Hello", "assistant": "Good morning"} if is_turn else {"name": "find"}

    def make() -> Event:
        make_one: Any = events.turn if is_turn else events.function_call
        made: Event = make_one(WHO, WHEN, conversation_id="talk-1", properties={field: value}, **own)
        return made

    try:
        model.model_validate({**own, field: value}, strict=True)
    except ValidationError:
        with pytest.raises(InvalidEventError, match=f"^{field}: "):
            make()
    else:
        assert make()["properties"] == {**own, field: value}


@given(made.filter(lambda event: any(isinstance(field, dict) for field in event.values())))
def test_lone_surrogates_never_stop_an_event(event: Event) -> None:
    odd = {name: f"{field}\ud83d" if name in ("session_id", "user_id") else field for name, field in event.items()}

    decoded = json.loads(events.encode(odd))

    assert decoded == {
        name: field.replace("\ud83d", "\ufffd") if isinstance(field, str) else field for name, field in odd.items()
    }


# -- moments ----------------------------------------------------------------------------------------------------------


@given(moments)
def test_a_timestamp_is_read_as_it_was_written(moment: int) -> None:
    text = events.format_timestamp(moment)

    assert events.parse_timestamp(text) == moment
    assert models.parse_timestamp(text) == EPOCH + moment * MICROSECOND
    assert (len(text), text[-1]) == (27, "Z")


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_a_datetime_and_its_text_are_the_same_moment(naive: datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))

    micros = events.parse_timestamp(moment)

    assert EPOCH + micros * MICROSECOND == moment
    assert events.parse_timestamp(moment.isoformat()) == micros
    assert events.parse_timestamp(f" {moment.isoformat(sep=' ')} ") == micros


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00Z", 0),
        ("1970-01-01T00:00:01z", 1_000_000),
        ("1970-01-01 00:00:00,5Z", 500_000),
        ("1970-01-01T00:00:00.1234569Z", 123_456),
        ("1970-01-01T01:00:00+01", 0),
        ("1970-01-01T00:00:00-0030", 1_800_000_000),
        ("1969-12-31T23:59:59.999999Z", -1),
    ],
)
def test_ways_to_write_a_timestamp(text: str, micros: int) -> None:
    assert events.parse_timestamp(text) == micros


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("2025-04-03T07:35:10", "no time zone"),
        (datetime(2025, 4, 3), "no time zone"),  # noqa: DTZ001
        ("yesterday", "not an ISO 8601 time"),
        ("2025-04-03", "not an ISO 8601 time"),
        ("٢٠٢٥-04-03T07:35:10Z", "not an ISO 8601 time"),
        ("2025-02-29T07:35:10Z", "not a time that exists"),
        ("2025-04-03T24:35:10Z", "not a time that exists"),
        ("2025-04-03T07:35:10+99:00", "not a time that exists"),
        ("0001-01-01T00:00:00+01:00", "outside the years"),
        ("9999-12-31T23:59:59-01:00", "outside the years"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "outside the years"),
        (1743665710, "must be ISO 8601 text or a datetime, not int"),
        (None, "must be ISO 8601 text or a datetime, not NoneType"),
    ],
)
def test_what_is_no_timestamp(value: Any, problem: str) -> None:
    with pytest.raises(InvalidEventError, match=problem) as error:
        events.parse_timestamp(value)
    assert error.value.argument == "timestamp"


# -- shapes, whole ----------------------------------------------------------------------------------------------------


def test_start_of_a_session() -> None:
    who = {"session_id": "s", "user_id": "jj", "device_id": "d"}
    assert events.start_session(WHO, WHEN, attributes={"a": 1}) == {
        "type": "start_session",
        **who,
        "timestamp": AT,
        "id": "jj",
        "attributes": {"a": 1},
    }
    device = events.common(session_id="s", device_id="d")
    assert events.start_session(device, WHEN, attributes={}) == {"type": "start_session", **device, "timestamp": AT}


def test_a_session_of_nobody_names_what_is_missing() -> None:
    with pytest.raises(InvalidEventError) as problem:
        events.start_session(events.common(session_id="s"), WHEN)
    assert problem.value.argument == "device_id"


def test_identify_is_of_the_one_known_before() -> None:
    assert events.identify(WHO, WHEN, id="kk", device_id="e", traits={"a": 1}) == {
        "type": "identify",
        "session_id": "s",
        "user_id": "jj",
        "device_id": "e",
        "timestamp": AT,
        "id": "kk",
        "traits": {"a": 1},
    }


@pytest.mark.parametrize("field", ["id", "device_id"])
def test_identify_takes_no_empty_id(field: str) -> None:
    with pytest.raises(InvalidEventError) as problem:
        events.identify(WHO, WHEN, **{field: ""})
    assert problem.value.argument == field


def test_alias() -> None:
    assert events.alias(WHO, WHEN, id="kk", previous_id="jj") == {
        "type": "alias",
        **WHO,
        "timestamp": AT,
        "id": "kk",
        "previous_id": "jj",
    }


def test_the_callers_mapping_is_copied() -> None:
    properties: dict[str, Any] = {"a": 1}
    event = events.custom(WHO, WHEN, event="Seen", properties=properties)
    properties["a"] = 2

    assert event["properties"] == {"a": 1}


@pytest.mark.parametrize(
    ("event", "essential"),
    [
        (events.start_session(WHO, WHEN), True),
        (events.end_session(WHO, WHEN), True),
        (events.identify(WHO, WHEN, id="kk"), True),
        (events.alias(WHO, WHEN, id="kk", previous_id="jj"), True),
        (events.conversation_started(WHO, WHEN, conversation_id="c"), True),
        (events.conversation_ended(WHO, WHEN, conversation_id="c"), True),
        (events.turn(WHO, WHEN, conversation_id="c", user="u", assistant="a"), False),
        (events.usage(WHO, WHEN, conversation_id="c", usage={"cost": 1}), False),
        (events.function_call(WHO, WHEN, conversation_id="c", name="f"), False),
        (events.custom(WHO, WHEN, event="Seen"), False),
    ],
)
def test_starts_ends_and_names_are_essential(event: Event, essential: bool) -> None:
    assert events.is_essential(event) is essential


def test_an_odd_text_changes_nothing_else() -> None:
    event = events.custom(WHO, WHEN, event="Seen", properties={"odd": "\ud83d", "n": 1, "yes": True, "x": 0.5})

    assert json.loads(events.encode(event))["properties"] == {"odd": "\ufffd", "n": 1, "yes": True, "x": 0.5}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="where a process is not told its size")
def test_an_encoded_event_takes_little_more_memory_than_its_text() -> None:
    """A queue that is bounded by the bytes of its texts must not hold many times as many."""
    program = """
        from pathlib import Path
        from mlsdk import events
        who = events.common(session_id="s", device_id="d")
        event = events.turn(who, 0, conversation_id="c", user="u" * 200, assistant="a" * 600)
        def size():
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        before = size()
        held = [events.encode(event) for _ in range(20_000)]
        print((size() - before) / sum(map(len, held)))
    """
    ended = child.run(program)
    assert ended.stderr == ""
    assert float(ended.stdout) < 2
