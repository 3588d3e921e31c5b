"""The pydantic models: what callers pass, what the service sends back, and the events on the wire.

Its one job is to say which shapes exist. It sends nothing, keeps nothing and imports nothing of this package, so the
local service can judge what a client sends by models that the client's sender does not share code with.

Sources: the service's published API description (version 1.0.0) for the wire, the public Python client for the names.
The wire events carry plain values only: text, number or boolean, never nested, never null. Validate them with
``Model.model_validate(event, strict=True)``; without ``strict`` pydantic turns ``"1"`` into ``1`` where a number is
wanted, which is a kindness to callers and a lie about what arrived.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

WIRE_TYPE_SESSION_STARTED: Final = "start_session"
WIRE_TYPE_SESSION_ENDED: Final = "end_session"
WIRE_TYPE_USER_IDENTIFY: Final = "identify"
WIRE_TYPE_USER_ALIAS: Final = "alias"
WIRE_TYPE_TRACK: Final = "track"

EVENT_CONVERSATION_STARTED: Final = "Conversation Started"
EVENT_CONVERSATION_ENDED: Final = "Conversation Ended"
EVENT_CONVERSATION_TURN: Final = "Conversation Turn"
EVENT_CONVERSATION_USAGE: Final = "Conversation Usage"
EVENT_CONVERSATION_FUNCTION: Final = "Conversation Function"

_ISO_8601: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?([Zz]|[+-]\d\d:?\d\d)", re.ASCII
)


def parse_timestamp(text: str) -> datetime:
    """Read an ISO 8601 instant; digits beyond the microsecond are dropped.

    Written out because ``datetime.fromisoformat`` of Python 3.10 knows neither ``Z`` nor three digits of a second.

    Raises:
        ValueError: not ISO 8601, no such date, or no time zone (a time without one names no instant).
    """
    match = _ISO_8601.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 time with a time zone")
    day, minutes, seconds, fraction, zone = match.groups()
    if zone in "Zz":
        zone = "+00:00"
    elif ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    return datetime.fromisoformat(f"{day}T{minutes}{seconds or ':00'}.{(fraction or '')[:6]:0<6}{zone}")


def _checked_timestamp(text: str) -> str:
    parse_timestamp(text)
    return text


Scalar = StrictStr | StrictBool | StrictInt | StrictFloat
"""A value inside attributes, properties or traits. Strict: ``True`` does not become ``1``, nor ``1`` become ``1.0``."""

Identifier = Annotated[str, Field(min_length=1, max_length=100)]
"""An id: 1 to 100 characters."""

Timestamp = Annotated[str, AfterValidator(_checked_timestamp)]
"""ISO 8601 text with a time zone, kept as it was written."""


class _OpenModel(BaseModel):
    """Shared rule: fields beyond the known ones are kept, if they are plain values.

    A validator and not an annotation of ``__pydantic_extra__``: subclasses ignore that before pydantic 2.8.
    """

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _check_extra_values(self) -> "_OpenModel":
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, (str, int, float)):
                raise ValueError(f"'{name}' must be a string, number or boolean, got {type(value).__name__}")
        return self


class _UserOrDevice(BaseModel):
    """Shared rule: somebody must be named."""

    @model_validator(mode="after")
    def _check_id_or_device_id(self) -> "_UserOrDevice":
        if getattr(self, "id", None) is None and getattr(self, "device_id", None) is None:
            raise ValueError("Either 'id' or 'device_id' must be provided")
        return self


# --- what callers hold ---------------------------------------------------------------------------------------------


class ClientConfig(BaseModel):
    """What a client knows of its service: key, project, and the HTTP and websocket base addresses."""

    api_key: str
    project_id: str
    server_endpoint: str
    wss_endpoint: str
    debug: bool


class SessionConfig(_UserOrDevice):
    """What a session is created with. One of ``id`` and ``device_id`` is required."""

    session_id: str
    conversation_id: str | None = None
    project_id: str
    id: str | None = None
    device_id: str | None = None


class APIResponse(BaseModel):
    """How a request ended: the HTTP status (-1 where no answer came) and the service's text."""

    errored: bool
    status: int
    message: str


class TokenBasedCost(BaseModel):
    """Usage by tokens: the service works out the cost of models that it knows. ``model`` is 1 to 100 characters."""

    model: str = Field(min_length=1, max_length=100)
    prompt_tokens: int
    completion_tokens: int


class Cost(BaseModel):
    """Usage by its known price, in the currency of the project."""

    cost: float = Field(allow_inf_nan=False)


class MLEvent(BaseModel):
    """A live event, as the service sends it over the websocket. Fields that the service adds later are kept."""

    model_config = ConfigDict(extra="allow")

    organization_id: str | None = None
    app_id: str | None = None
    session_id: str
    user_id: str | None = None
    conversation_id: str | None = None
    event_id: str | None = None
    origin_event_id: str | None = None
    timestamp: str
    event: str
    properties: dict[str, Scalar | list[Scalar]] | None = None
    user_traits: dict[str, Scalar] | None = None


# --- what goes over the wire ---------------------------------------------------------------------------------------


class BaseEvent(_OpenModel):
    """The fields that every event may carry. No timestamp means now.

    Fields beyond the known ones pass if they are plain values, as the published description allows.
    """

    type: str
    session_id: Identifier
    timestamp: Timestamp | None = None
    user_id: Identifier | None = None
    device_id: Identifier | None = None
    conversation_id: Identifier | None = None


class StartSession(_UserOrDevice, BaseEvent):
    """A session begins. ``id`` names the user, ``device_id`` the device; one is required."""

    type: Literal["start_session"] = WIRE_TYPE_SESSION_STARTED
    id: Identifier | None = None
    attributes: dict[str, Scalar] | None = None


class EndSession(BaseEvent):
    """A session ends; ``attributes`` are merged into those of its start."""

    type: Literal["end_session"] = WIRE_TYPE_SESSION_ENDED
    attributes: dict[str, Scalar] | None = None


class UserIdentify(_UserOrDevice, BaseEvent):
    """The session's user becomes known. ``id`` or ``device_id`` is required; ``traits`` are merged."""

    type: Literal["identify"] = WIRE_TYPE_USER_IDENTIFY
    id: Identifier | None = None
    traits: dict[str, Scalar] | None = None


class UserAlias(BaseEvent):
    """The user known as ``previous_id`` is called ``id`` from now on."""

    type: Literal["alias"] = WIRE_TYPE_USER_ALIAS
    id: Identifier
    previous_id: Identifier


class Event(BaseEvent):
    """An event with the app's own name, 1 to 100 characters."""

    type: Literal["track"] = WIRE_TYPE_TRACK
    event: str = Field(min_length=1, max_length=100)
    properties: dict[str, Scalar] | None = None


class _ConversationEvent(BaseEvent):
    """An event that needs a conversation to belong to."""

    type: Literal["track"] = WIRE_TYPE_TRACK
    conversation_id: Identifier


class StartConversation(_ConversationEvent):
    """A conversation begins."""

    event: Literal["Conversation Started"] = EVENT_CONVERSATION_STARTED
    properties: dict[str, Scalar] | None = None
    attributes: dict[str, Scalar] | None = None


class EndConversation(_ConversationEvent):
    """A conversation ends; ``properties`` are merged into those of its start."""

    event: Literal["Conversation Ended"] = EVENT_CONVERSATION_ENDED
    properties: dict[str, Scalar] | None = None
    attributes: dict[str, Scalar] | None = None


class TurnPropertiesModel(_OpenModel):
    """One user utterance and the answer to it, what it cost, and any plain values of the app's own beside them."""

    user: str
    assistant: str
    assistant_id: str | None = None
    cost: float | None = Field(default=None, allow_inf_nan=False)
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ConversationTurn(_ConversationEvent):
    """A turn of a conversation."""

    event: Literal["Conversation Turn"] = EVENT_CONVERSATION_TURN
    properties: TurnPropertiesModel


class ConversationUsage(_ConversationEvent):
    """Usage beyond that of the turns: tokens of a model, or a cost."""

    event: Literal["Conversation Usage"] = EVENT_CONVERSATION_USAGE
    properties: TokenBasedCost | Cost


class FunctionPropertiesModel(_OpenModel):
    """One call of a function: arguments as JSON text, result as text, runtime in milliseconds, and the app's own."""

    name: str
    args: str | None = None
    result: str | None = None
    runtime: int | None = None


class FunctionCall(_ConversationEvent):
    """A function call within a conversation."""

    event: Literal["Conversation Function"] = EVENT_CONVERSATION_FUNCTION
    properties: FunctionPropertiesModel


class IdentifyRequest(_UserOrDevice):
    """Body of ``POST /bc/v1/user/identify``."""

    id: Identifier | None = None
    device_id: Identifier | None = None
    traits: dict[str, Scalar] | None = None


class AliasRequest(BaseModel):
    """Body of ``POST /bc/v1/user/alias``."""

    id: Identifier
    previous_id: Identifier


def wire_model(event: dict[str, Any]) -> type[BaseEvent] | None:
    """The model that a wire event has to satisfy, told by its ``type`` and ``event``; None for an unknown type."""
    wire_type = event.get("type")
    if not isinstance(wire_type, str):
        return None
    if wire_type != WIRE_TYPE_TRACK:
        return _BY_TYPE.get(wire_type)
    name = event.get("event")
    return _BY_EVENT.get(name, Event) if isinstance(name, str) else Event


_BY_TYPE: Final[dict[str, type[BaseEvent]]] = {
    WIRE_TYPE_SESSION_STARTED: StartSession,
    WIRE_TYPE_SESSION_ENDED: EndSession,
    WIRE_TYPE_USER_IDENTIFY: UserIdentify,
    WIRE_TYPE_USER_ALIAS: UserAlias,
}
_BY_EVENT: Final[dict[str, type[BaseEvent]]] = {
    EVENT_CONVERSATION_STARTED: StartConversation,
    EVENT_CONVERSATION_ENDED: EndConversation,
    EVENT_CONVERSATION_TURN: ConversationTurn,
    EVENT_CONVERSATION_USAGE: ConversationUsage,
    EVENT_CONVERSATION_FUNCTION: FunctionCall,
}
