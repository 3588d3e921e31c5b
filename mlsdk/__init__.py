"""The client SDK of Mindlytics, a conversation-analytics service.

    from mlsdk import Client

    client = Client(api_key="...", project_id="...")
    async with client.create_session(device_id="...") as session:
        await session.track_conversation_turn(user="...", assistant="...")

Importing this package loads none of its dependencies; a name's module is loaded when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlsdk.client import Client
    from mlsdk.errors import (
        ConfigurationError,
        DeliveryError,
        InvalidEventError,
        LiveError,
        MindlyticsError,
        SessionClosedError,
    )
    from mlsdk.httpclient import HTTPClient
    from mlsdk.models import APIResponse, Cost, MLEvent, TokenBasedCost
    from mlsdk.session import Session

__version__ = "0.1.0"

__all__ = [
    "APIResponse",
    "Client",
    "ConfigurationError",
    "Cost",
    "DeliveryError",
    "HTTPClient",
    "InvalidEventError",
    "LiveError",
    "MLEvent",
    "MindlyticsError",
    "Session",
    "SessionClosedError",
    "TokenBasedCost",
    "__version__",
]

_HOMES = {
    "APIResponse": "mlsdk.models",
    "Client": "mlsdk.client",
    "ConfigurationError": "mlsdk.errors",
    "Cost": "mlsdk.models",
    "DeliveryError": "mlsdk.errors",
    "HTTPClient": "mlsdk.httpclient",
    "InvalidEventError": "mlsdk.errors",
    "LiveError": "mlsdk.errors",
    "MLEvent": "mlsdk.models",
    "MindlyticsError": "mlsdk.errors",
    "Session": "mlsdk.session",
    "SessionClosedError": "mlsdk.errors",
    "TokenBasedCost": "mlsdk.models",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mlsdk' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
