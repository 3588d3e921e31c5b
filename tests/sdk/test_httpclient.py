"""Raw requests: what is sent, what comes back, and that no fault of the service or the network is an exception."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mlsdk import ConfigurationError, HTTPClient, InvalidEventError, httpclient
from mlsdk.local import Fault, LocalMindlytics

QUEUE = "/bc/v1/events/queue"
EVENT = {"type": "start_session", "session_id": "s", "device_id": "d", "timestamp": "2025-04-03T07:35:10.000000Z"}


def ask(service: LocalMindlytics, **arguments: Any) -> dict[str, Any]:
    client = HTTPClient(api_key="secret-api-key", project_id="p1", server_endpoint=service.url)
    return asyncio.run(client.send_request(**arguments))


def test_the_fields_of_the_answer_come_with_ours(service: LocalMindlytics) -> None:
    answer = ask(service, url="/bc/v1/user/identify", method="POST", data={"id": "jj", "traits": {"plan": "free"}})

    assert (answer["errored"], answer["status"], answer["message"]) == (False, 200, "OK")
    assert (answer["id"], answer["traits"], answer["app_id"]) == ("jj", {"plan": "free"}, "p1")


def test_ours_stand_over_fields_of_the_same_name(service: LocalMindlytics) -> None:
    """The queue answers with a `status` of its own."""
    assert ask(service, url=QUEUE, data=EVENT) == {"errored": False, "status": 200, "message": "OK"}
    assert service.events() == [EVENT]


def test_an_array_comes_under_data(service: LocalMindlytics) -> None:
    answer = ask(service, url="/bc/v1/events/event/start-session", data=EVENT)

    assert answer["errored"] is False
    assert [event["event"] for event in answer["data"]] == ["Session Started"]


def test_a_text_comes_under_data(service: LocalMindlytics) -> None:
    assert "Local Mindlytics" in ask(service, url="/", method="GET")["data"]


def test_the_data_of_a_get_is_its_query(service: LocalMindlytics) -> None:
    answer = ask(service, url="/bc/v1/live-events/realtime", method="get", data={"session_id": "s", "none": None})

    assert answer["authorization_key"]
    assert service.requests[0].query == {"session_id": "s"}


def test_a_batch_may_be_sent(service: LocalMindlytics) -> None:
    ask(service, url=QUEUE, data=[EVENT, {**EVENT, "session_id": "t"}])

    assert service.session_ids == ["s", "t"]


def test_key_and_project_go_with_it(service: LocalMindlytics) -> None:
    ask(service, url=QUEUE, data=EVENT)

    headers = service.requests[0].headers
    assert (headers["authorization"], headers["x-app-id"]) == ("Bearer secret-api-key", "p1")
    assert headers["content-type"] == "application/json"


# -- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_refusal_is_an_answer_with_the_services_text(service: LocalMindlytics, status: int) -> None:
    service.fail_next(status, body="because")

    assert ask(service, url=QUEUE, data=EVENT) == {"errored": True, "status": status, "message": "because"}
    assert len(service.requests) == 1


def test_a_redirect_is_not_followed(service: LocalMindlytics) -> None:
    service.fail_next(302, headers={"Location": f"{service.url}/"})
    answer = ask(service, url=QUEUE, data=EVENT)

    assert (answer["errored"], answer["status"], len(service.requests)) == (True, 302, 1)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(service: LocalMindlytics, status: int) -> None:
    service.fail_next(status, times=2, headers={"Retry-After": "0"})

    assert ask(service, url=QUEUE, data=EVENT)["errored"] is False
    assert [request.status for request in service.requests] == [status, status, 200]


@pytest.mark.timed
def test_a_fault_that_lasts_longer_than_anybody_waits_is_an_answer(service: LocalMindlytics) -> None:
    service.fail_next(503, body="come back later", headers={"Retry-After": "11"})
    began = time.monotonic()

    assert ask(service, url=QUEUE, data=EVENT) == {"errored": True, "status": 503, "message": "come back later"}
    assert time.monotonic() - began < 9


@pytest.mark.timed
@pytest.mark.parametrize("outage", ["refused", "silent"])
def test_an_outage_is_an_answer_in_time(service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch, outage: str) -> None:
    assert httpclient.ANSWER_WITHIN <= 10
    monkeypatch.setattr(httpclient, "ANSWER_WITHIN", 1.0)
    if outage == "refused":
        service.close_port()
    else:
        service.plan(Fault.hang())
    began = time.monotonic()
    answer = ask(service, url=QUEUE, data=EVENT)

    assert (answer["errored"], answer["status"]) == (True, -1)
    assert answer["message"]
    assert time.monotonic() - began < 9


def test_a_cut_connection_is_tried_again(service: LocalMindlytics) -> None:
    service.plan(Fault.reset(), times=2)

    assert ask(service, url=QUEUE, data=EVENT)["errored"] is False


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"url": "bc/v1/events/queue"}, "url"),
        ({"url": "https://elsewhere.example.com/"}, "url"),
        ({"url": None}, "url"),
        ({"url": QUEUE, "method": "BREW"}, "method"),
        ({"url": QUEUE, "method": None}, "method"),
        ({"url": QUEUE, "data": {"a": object()}}, "data"),
        ({"url": QUEUE, "data": {1: "a"}}, "data"),
        ({"url": QUEUE, "method": "GET", "data": [1]}, "data"),
    ],
)
def test_a_wrong_argument_is_refused_at_the_call(
    service: LocalMindlytics, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidEventError) as problem:
        ask(service, **arguments)
    assert problem.value.argument == named
    assert service.requests == []


def test_data_that_contains_itself_is_refused(service: LocalMindlytics) -> None:
    data: dict[str, Any] = {"odd": "\ud83d"}
    data["itself"] = data

    with pytest.raises(InvalidEventError) as problem:
        ask(service, url=QUEUE, data=data)
    assert problem.value.argument == "data"


def test_lone_surrogates_are_replaced(service: LocalMindlytics) -> None:
    odd = {**EVENT, "attributes": {"text": "odd \ud83d"}}
    ask(service, url=QUEUE, data=[odd])

    assert service.events()[0]["attributes"] == {"text": "odd \ufffd"}


def test_a_large_body_is_sent_without_a_warning(service: LocalMindlytics) -> None:
    text = "a" * 2_000_000
    answer = ask(service, url=QUEUE, data={**EVENT, "attributes": {"text": text}})

    assert answer["errored"] is False
    assert service.events()[0]["attributes"] == {"text": text}


def test_a_key_is_needed_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"api_key.*MLSDK_API_KEY"):
        HTTPClient(project_id="p1")
    monkeypatch.setenv("MLSDK_API_KEY", "secret-api-key")
    assert "secret" not in repr(HTTPClient(project_id="p1"))
