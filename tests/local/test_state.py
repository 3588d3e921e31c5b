"""What server and users share: requests, faults asked for, waiting."""

from __future__ import annotations

import json
from typing import Any

from mlsdk.local.faults import Fault, Faults, parse_fault
from mlsdk.local.state import RequestInfo, Script, State
from mlsdk.local.store import Store


def request(path: str = "/bc/v1/events/queue", body: object = (), number: int = 1) -> RequestInfo:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RequestInfo(number, "POST", path, {}, {"idempotency-key": "key"}, content)


def script(*rules: str) -> Script:
    return Script(Faults([parse_fault(rule) for rule in rules], random=lambda: 0.0))


def test_a_request_shows_its_events() -> None:
    assert request(body=[{"n": 1}, 7, {"n": 2}]).events == [{"n": 1}, {"n": 2}]
    assert request(body={"n": 1}).events == [{"n": 1}]
    assert request("/bc/v1/user/identify", {"id": "u"}).events == []
    assert request("/bc/v1/user/identify", {"id": "u"}).json == {"id": "u"}
    assert request(body=b"{").events == []
    assert request(body=b"").json is None


def test_plans_come_before_the_hook_and_the_hook_before_the_rules() -> None:
    chosen = script("500")
    chosen.plan(Fault.answer(501), times=2, path="/bc/")
    chosen.plan(Fault.answer(502), times=1, path="/bc/")
    answers: list[Fault | None] = [None, Fault.answer(503)]
    chosen.hook = lambda _: answers.pop()

    assert [fault.status for _ in range(5) if (fault := chosen.choose(request()))] == [501, 501, 502, 503, 500]


def test_a_plan_waits_for_its_path() -> None:
    chosen = script()
    chosen.plan(Fault.reset(), times=1, path="/bc/v1/live-events/")

    assert chosen.choose(request()) is None
    assert chosen.choose(request("/bc/v1/live-events/realtime")) == Fault.reset()
    assert chosen.choose(request("/bc/v1/live-events/realtime")) is None


def test_clear_forgets_plans_and_hook() -> None:
    chosen = script()
    chosen.plan(Fault.reset(), times=5, path="/")
    chosen.hook = lambda _: Fault.hang()
    chosen.clear()

    assert chosen.choose(request()) is None


def test_a_request_is_recorded_from_begin_to_end() -> None:
    state = State(store=Store(instance="test"), script=script())
    record = state.begin(request(body=[{"type": "end_session", "session_id": "s"}]))

    assert (record.status, record.events, record.idempotency_key, record.processed) == (None, 1, "key", False)
    state.receive(
        [{"type": "end_session", "session_id": "s", "odd": 1}], app_id="app", at="2025-01-01T00:00:00Z", record=record
    )
    state.finish(record, 200)

    assert list(state.requests) == [record]
    assert (record.status, record.processed) == (200, True)
    assert state.store.received[0].idempotency_key == "key"
    assert state.unknown_fields == {"odd": 1}


def test_a_hook_that_raises_is_an_answer_and_is_kept() -> None:
    state = State(store=Store(instance="test"), script=script())

    def hook(_: RequestInfo) -> Fault | None:
        raise RuntimeError("broken hook")

    state.script.hook = hook
    record = state.begin(request())

    assert record.fault is not None
    assert record.fault.status == 500
    assert [str(failure) for failure in state.failures] == ["broken hook"]


def test_accepted_input_is_written_before_it_counts() -> None:
    written: list[tuple[str, list[dict[str, Any]]]] = []

    class Journal:
        def append(self, kind: str, bodies: Any, **noted: Any) -> None:
            written.append((kind, list(bodies)))
            if noted["request"] == 2:
                raise OSError("disk full")

        def clear(self, *, instance: str) -> None: ...

        def close(self) -> None: ...

    state = State(store=Store(instance="test"), script=script(), journal=Journal())
    event = {"type": "end_session", "session_id": "s"}
    for number in (1, 2):
        record = state.begin(request(number=number))
        try:
            state.receive([dict(event)], app_id="app", at="2025-01-01T00:00:00Z", record=record)
        except OSError:
            assert not record.processed

    assert written == [("event", [event])] * 2
    assert len(state.store.received) == 1


def test_requests_of_the_api_that_were_not_answered_as_asked_are_kept() -> None:
    state = State(store=Store(instance="test"), script=script())
    fine, refused, cut, page = (
        state.begin(request(path), at="2025-01-01T00:00:00Z")
        for path in ("/bc/v1/events/queue", "/bc/v1/events/queue", "/bc/v1/user/alias", "/nowhere")
    )
    state.finish(fine, 200)
    state.finish(refused, 400, refusal="Invalid event")
    state.finish(cut, None)
    state.finish(page, 404)

    assert list(state.problems) == [refused, cut]
    assert state.problem_count == 2
    assert (refused.refusal, refused.at) == ("Invalid event", "2025-01-01T00:00:00Z")
    assert (fine.is_problem, refused.is_problem, cut.is_problem) == (False, True, True)


def test_clear_begins_anew() -> None:
    state = State(store=Store(instance="old"), script=script())
    record = state.begin(request())
    state.receive(
        [{"type": "end_session", "session_id": "s", "odd": 1}], app_id="app", at="2025-01-01T00:00:00Z", record=record
    )
    state.finish(record, 500)
    state.clear(Store(instance="new"))

    assert state.store.instance == "new"
    assert (len(state.requests), len(state.problems), state.problem_count, state.unknown_fields) == (0, 0, 0, {})
