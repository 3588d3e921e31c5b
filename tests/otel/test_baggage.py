"""Ids in baggage: by an allow-list, and none that is no id."""

from __future__ import annotations

import pytest
from opentelemetry import baggage as otel
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from support.otel import new_id, provider_with

from mlsdk.local import LocalMindlytics
from mlsdk_otel import baggage, using_session
from mlsdk_otel.context import activated, ids_in


def context_with(**entries: object) -> Context:
    made = Context()
    for name, value in entries.items():
        made = otel.set_baggage(name.replace("_", "."), value, made)
    return made


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ("session.id", "gen_ai.conversation.id")),
        ("", ()),
        (" user.id ,session.id", ("session.id", "user.id")),
        ("session.id,users.id", ("session.id",)),
    ],
)
def test_the_list_is_in_the_environment(value: str | None, names: tuple[str, ...]) -> None:
    environ = {} if value is None else {baggage.VARIABLE: value}
    assert baggage.allowed(environ) == names


def test_ids_are_read_as_allowed_and_only_if_they_are_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = context_with(session_id="s", user_id="u", other="x")
    assert dict(ids_in(entered)) == {"session.id": "s"}
    monkeypatch.setenv(baggage.VARIABLE, "session.id,user.id")
    assert dict(ids_in(entered)) == {"session.id": "s", "user.id": "u"}
    for wrong in ("", "x" * 101, 3):
        assert dict(ids_in(context_with(session_id=wrong, user_id="u"))) == {"user.id": "u"}


def test_using_session_wins_and_baggage_of_another_session_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(baggage.VARIABLE, "session.id,user.id")
    with activated(context_with(session_id="s", user_id="u")):
        with using_session(conversation_id="c"):
            assert dict(ids_in()) == {"session.id": "s", "user.id": "u", "gen_ai.conversation.id": "c"}
        with using_session("other"):
            assert dict(ids_in()) == {"session.id": "other"}
            assert otel.get_all() == {"session.id": "other"}
        assert otel.get_all() == {"session.id": "s", "user.id": "u"}


def test_ids_leave_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def sent() -> str:
        carrier: dict[str, str] = {}
        with using_session("s", user_id="u", device_id="d", conversation_id="c"):
            W3CBaggagePropagator().inject(carrier)
        return carrier.get("baggage", "")

    assert sent() == "session.id=s,gen_ai.conversation.id=c"
    monkeypatch.setenv(baggage.VARIABLE, "user.id")
    assert sent() == "user.id=u"
    monkeypatch.setenv(baggage.VARIABLE, "")
    assert sent() == ""


def test_a_span_belongs_to_the_session_that_baggage_names(shared_service: LocalMindlytics) -> None:
    session_id = new_id()
    entered = W3CBaggagePropagator().extract({"baggage": f"session.id={session_id},user.id=mallory"})
    provider = provider_with(shared_service, "processor")
    with provider.get_tracer("app").start_as_current_span(
        "mindlytics.conversation", context=entered, attributes={"mindlytics.device.id": "d"}
    ) as span:
        span.add_event("mindlytics.turn", {"mindlytics.turn.user": "hi", "mindlytics.turn.assistant": "hello"})
    provider.shutdown()
    held = shared_service.events(session_id)
    assert "Conversation Turn" in [event.get("event") for event in held]
    assert [event.get("id") for event in held] == [None] * len(held)
