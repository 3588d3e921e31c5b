"""The import path of mlsdk-python 1.0.5 for types: each of its names, and what it is here."""

from __future__ import annotations

import pytest

import mlsdk
from mlsdk import events, models, types

# As its version 1.0.5 has them.
NAMES = [
    "APIResponse",
    "BaseEvent",
    "ClientConfig",
    "ConversationTurn",
    "ConversationUsage",
    "Cost",
    "EndConversation",
    "EndSession",
    "Event",
    "FunctionCall",
    "FunctionPropertiesModel",
    "MLEvent",
    "SessionConfig",
    "StartConversation",
    "StartSession",
    "TokenBasedCost",
    "TurnPropertiesModel",
    "UserAlias",
    "UserIdentify",
]


@pytest.mark.parametrize("name", NAMES)
def test_each_model_is_the_one_that_is_used_everywhere(name: str) -> None:
    assert getattr(types, name) is getattr(models, name)
    assert getattr(mlsdk, name, getattr(types, name)) is getattr(types, name)


def test_all_is_all() -> None:
    constants = {name for name in vars(types) if name.startswith(("EVENT_", "WIRE_"))}

    assert sorted(types.__all__) == sorted({*NAMES, *constants})


def test_names_of_events() -> None:
    assert types.WIRE_TYPE_SESSION_STARTED == models.WIRE_TYPE_SESSION_STARTED == events.START_SESSION
    assert types.WIRE_TYPE_SESSION_ENDED == models.WIRE_TYPE_SESSION_ENDED == events.END_SESSION
    assert types.WIRE_TYPE_USER_IDENTIFY == models.WIRE_TYPE_USER_IDENTIFY == events.IDENTIFY
    assert types.WIRE_TYPE_USER_ALIAS == models.WIRE_TYPE_USER_ALIAS == events.ALIAS
    assert types.WIRE_TYPE_TRACK == models.WIRE_TYPE_TRACK == events.TRACK
    for name in ("STARTED", "ENDED", "TURN", "USAGE", "FUNCTION"):
        constants = {
            getattr(types, f"EVENT_CONVERSATION_{name}"),
            getattr(models, f"EVENT_CONVERSATION_{name}"),
            getattr(events, f"CONVERSATION_{name}"),
        }
        assert constants == {f"Conversation {name.title()}"}
