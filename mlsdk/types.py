"""The import path that mlsdk-python 1.0.5 has for its types; everything here lives elsewhere."""

from __future__ import annotations

from mlsdk.events import ALIAS as WIRE_TYPE_USER_ALIAS
from mlsdk.events import CONVERSATION_ENDED as EVENT_CONVERSATION_ENDED
from mlsdk.events import CONVERSATION_FUNCTION as EVENT_CONVERSATION_FUNCTION
from mlsdk.events import CONVERSATION_STARTED as EVENT_CONVERSATION_STARTED
from mlsdk.events import CONVERSATION_TURN as EVENT_CONVERSATION_TURN
from mlsdk.events import CONVERSATION_USAGE as EVENT_CONVERSATION_USAGE
from mlsdk.events import END_SESSION as WIRE_TYPE_SESSION_ENDED
from mlsdk.events import IDENTIFY as WIRE_TYPE_USER_IDENTIFY
from mlsdk.events import START_SESSION as WIRE_TYPE_SESSION_STARTED
from mlsdk.events import TRACK as WIRE_TYPE_TRACK
from mlsdk.models import (
    APIResponse,
    BaseEvent,
    ClientConfig,
    ConversationTurn,
    ConversationUsage,
    Cost,
    EndConversation,
    EndSession,
    Event,
    FunctionCall,
    FunctionPropertiesModel,
    MLEvent,
    SessionConfig,
    StartConversation,
    StartSession,
    TokenBasedCost,
    TurnPropertiesModel,
    UserAlias,
    UserIdentify,
)

__all__ = [
    "EVENT_CONVERSATION_ENDED",
    "EVENT_CONVERSATION_FUNCTION",
    "EVENT_CONVERSATION_STARTED",
    "EVENT_CONVERSATION_TURN",
    "EVENT_CONVERSATION_USAGE",
    "WIRE_TYPE_SESSION_ENDED",
    "WIRE_TYPE_SESSION_STARTED",
    "WIRE_TYPE_TRACK",
    "WIRE_TYPE_USER_ALIAS",
    "WIRE_TYPE_USER_IDENTIFY",
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
