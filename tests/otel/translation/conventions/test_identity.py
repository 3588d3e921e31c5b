from __future__ import annotations

from typing import Any

import pytest

from mlsdk_otel.translation.conventions import identity
from mlsdk_otel.translation.facts import Identity


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({}, Identity()),
        ({"http.route": "/"}, Identity()),
        ({"session.id": "s", "user.id": "u"}, Identity(session_id="s", user_id="u")),
        ({"gen_ai.conversation.id": "c"}, Identity(conversation_id="c")),
        ({"session.id": "s", "gen_ai.conversation.id": "c"}, Identity(session_id="s", conversation_id="c")),
        ({"thread_id": "t", "enduser.id": "u"}, Identity(conversation_id="t", user_id="u")),
        ({"session_id": "s", "user_id": 7}, Identity(session_id="s", user_id="7")),
        ({"mindlytics.device.id": "d"}, Identity(device_id="d")),
        (
            {"traceloop.association.properties.session_id": "s", "traceloop.association.properties.user_id": "u"},
            Identity(session_id="s", user_id="u"),
        ),
        ({"traceloop.association.properties.thread_id": "t"}, Identity(conversation_id="t")),
        ({"ai.telemetry.metadata.sessionId": "s", "ai.telemetry.metadata.userId": "u"}, Identity("s", user_id="u")),
        ({"langsmith.metadata.thread_id": "t", "langsmith.metadata.user_id": "u"}, Identity(None, "t", "u")),
        ({"metadata": '{"user_id": "u", "thread_id": "t"}'}, Identity(conversation_id="t", user_id="u")),
        ({"session.id": "s", "metadata": '{"session_id": "other"}'}, Identity(session_id="s")),
        ({"session.id": "", "user.id": True, "metadata": "no json"}, Identity()),
        ({"session.id": ["a"], "user.id": {"a": 1}}, Identity()),
    ],
)
def test_ids_are_found_under_the_names_that_libraries_and_applications_use(
    attributes: dict[str, Any], found: Identity
) -> None:
    assert identity.of(attributes) == found


def test_an_id_too_long_for_the_wire_stays_different_from_others() -> None:
    first, second = (identity.of({"session.id": "x" * 200 + end}).session_id or "" for end in "ab")
    assert len(first) == len(second) == 100
    assert first != second
