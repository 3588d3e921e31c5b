"""The models: what is accepted, kept and refused."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlsdk import models

SCALARS = st.one_of(
    st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
)


def typed(value: Any) -> Any:
    """Values with their types: ``True == 1 == 1.0`` must not pass for the same."""
    return (type(value), [typed(each) for each in value] if isinstance(value, list) else value)


@given(st.dictionaries(st.text(), st.one_of(SCALARS, st.lists(SCALARS))))
def test_a_live_events_values_stay_what_they_were(properties: dict[str, Any]) -> None:
    message = json.loads(
        json.dumps({"session_id": "s", "timestamp": "2025-01-01T00:00:00Z", "event": "E", "properties": properties})
    )

    event = models.MLEvent.model_validate(message)

    assert event.properties is not None
    assert {name: typed(value) for name, value in event.properties.items()} == {
        name: typed(value) for name, value in properties.items()
    }


def test_a_live_event_keeps_fields_that_are_new() -> None:
    event = models.MLEvent(session_id="s", timestamp="t", event="E", region="eu", scores={"joy": 1})  # type: ignore[call-arg]

    assert event.model_extra == {"region": "eu", "scores": {"joy": 1}}
    assert (event.user_id, event.properties, event.user_traits) == (None, None, None)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_a_timestamp_names_one_instant_to_the_microsecond(naive: datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))

    assert models.parse_timestamp(moment.isoformat()) == moment


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2025-01-02T03:04:05Z", 0),
        ("2025-01-02T03:04:05.1z", 100_000),
        ("2025-01-02 03:04:05,123+00:00", 123_000),
        ("2025-01-02T03:04:05.123456789Z", 123_456),
        ("2025-01-02T04:04:05+0100", 0),
    ],
)
def test_ways_to_write_a_timestamp(text: str, microsecond: int) -> None:
    assert models.parse_timestamp(text) == datetime(2025, 1, 2, 3, 4, 5, microsecond, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text", ["", "now", "1700000000", "2025-01-02", "2025-01-02T03:04:05", "2025-13-02T03:04:05Z", "2025-01-02T3:04Z"]
)
def test_what_is_no_timestamp(text: str) -> None:
    with pytest.raises(ValueError):
        models.parse_timestamp(text)


@pytest.mark.parametrize("model", ["", "m" * 101])
def test_a_models_name_has_1_to_100_characters(model: str) -> None:
    with pytest.raises(ValidationError):
        models.TokenBasedCost(model=model, prompt_tokens=1, completion_tokens=1)


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), "dear"])
def test_a_cost_is_a_finite_number(cost: Any) -> None:
    with pytest.raises(ValidationError):
        models.Cost(cost=cost)


def test_a_session_needs_somebody() -> None:
    with pytest.raises(ValidationError, match="Either 'id' or 'device_id' must be provided"):
        models.SessionConfig(session_id="s", project_id="p")
    assert models.SessionConfig(session_id="s", project_id="p", device_id="d").id is None


@pytest.mark.parametrize(
    ("event", "model"),
    [
        ({"type": "start_session"}, models.StartSession),
        ({"type": "end_session"}, models.EndSession),
        ({"type": "identify"}, models.UserIdentify),
        ({"type": "alias"}, models.UserAlias),
        ({"type": "track", "event": "Conversation Started"}, models.StartConversation),
        ({"type": "track", "event": "Conversation Ended"}, models.EndConversation),
        ({"type": "track", "event": "Conversation Turn"}, models.ConversationTurn),
        ({"type": "track", "event": "Conversation Usage"}, models.ConversationUsage),
        ({"type": "track", "event": "Conversation Function"}, models.FunctionCall),
        ({"type": "track", "event": "Order Placed"}, models.Event),
        ({"type": "track", "event": 1}, models.Event),
        ({"type": "track"}, models.Event),
        ({"type": "page"}, None),
        ({"type": ["track"]}, None),
        ({}, None),
    ],
)
def test_type_and_event_tell_the_model(event: dict[str, Any], model: type | None) -> None:
    assert models.wire_model(event) is model


def test_properties_of_the_apps_own_may_be_set_later() -> None:
    """The public client does so."""
    turn = models.TurnPropertiesModel(user="u", assistant="a")
    turn.language = "en"  # type: ignore[attr-defined]

    assert turn.model_dump(exclude_none=True) == {"user": "u", "assistant": "a", "language": "en"}
