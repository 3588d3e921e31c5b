"""Wire events in short, a store that has taken them, and the way to send them."""

from __future__ import annotations

import http.client
import json
from typing import Any

from mlsdk.local.store import Store

AT = "2025-06-01T12:00:00Z"

Event = dict[str, Any]


def start(session_id: str = "s", **fields: Any) -> Event:
    named = fields if {"id", "device_id"} & fields.keys() else {"id": "ann", **fields}
    return {"type": "start_session", "session_id": session_id, **named}


def end(session_id: str = "s", **fields: Any) -> Event:
    return {"type": "end_session", "session_id": session_id, **fields}


def track(event: str, session_id: str = "s", conversation_id: str | None = "c", **properties: Any) -> Event:
    named = {} if conversation_id is None else {"conversation_id": conversation_id}
    told = {"properties": properties} if properties else {}
    return {"type": "track", "event": event, "session_id": session_id, **named, **told}


def turn(user: str = "hello", session_id: str = "s", conversation_id: str = "c", **properties: Any) -> Event:
    return track("Conversation Turn", session_id, conversation_id, **{"user": user, "assistant": "hi", **properties})


def usage(session_id: str = "s", conversation_id: str = "c", **properties: Any) -> Event:
    return track("Conversation Usage", session_id, conversation_id, **properties)


def function(name: str = "find", session_id: str = "s", conversation_id: str = "c", **properties: Any) -> Event:
    return track("Conversation Function", session_id, conversation_id, name=name, **properties)


def store_of(*events: Event, project: str = "app", at: str = AT) -> Store:
    """A new store that has taken these."""
    return send(Store(instance="test"), *events, project=project, at=at)


def send(store: Store, *events: Event, project: str = "app", at: str = AT) -> Store:
    for event in events:
        store.receive(dict(event), app_id=project, at=at)
    return store


def post(port: int, *events: Event, project: str = "app") -> int:
    """Send events to a service on this machine, in one request; returns the status of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Authorization": "Bearer test_key", "X-App-ID": project}
        connection.request("POST", "/bc/v1/events/queue", json.dumps(events), headers)
        return connection.getresponse().status
    finally:
        connection.close()
