"""`end_session` by id."""

from __future__ import annotations

import pytest
from support.otel import lines, new_id, provider_with
from support.sdk import names

from mlsdk import InvalidEventError
from mlsdk.local import LocalMindlytics
from mlsdk_otel import end_session


def test_a_joined_session_is_ended_once_and_in_its_project_alone(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor", project_id="end-1")
    other = provider_with(shared_service, "processor", project_id="end-2")
    session_id = new_id()
    span = provider.get_tracer("app").start_span(
        "mindlytics.session", attributes={"session.id": session_id, "mindlytics.session.joined": True}
    )
    span.add_event("mindlytics.event", {"mindlytics.event.name": "Seen"})
    span.end()
    end_session(session_id)
    end_session(session_id)
    provider.force_flush()
    other.force_flush()
    assert names(shared_service.events(session_id)) == ["Seen", "end_session"]
    assert {record.app_id for record in shared_service.records(session_id)} == {"end-1"}
    provider.shutdown()
    other.shutdown()


def test_a_session_that_nobody_has_seen_needs_its_project(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    provider = provider_with(shared_service, "processor", project_id="end-3")
    other = provider_with(shared_service, "processor", project_id="end-4")
    session_id = new_id()
    end_session(session_id)
    (line,) = lines(caplog)
    assert "project_id" in line
    end_session(session_id, project_id="end-4")
    other.force_flush()
    assert [record.app_id for record in shared_service.records(session_id)] == ["end-4"]
    provider.shutdown()
    other.shutdown()


@pytest.mark.parametrize("wrong", ["", "x" * 101, 3])
def test_a_wrong_id_is_named(wrong: str) -> None:
    with pytest.raises(InvalidEventError, match="session_id"):
        end_session(wrong)
