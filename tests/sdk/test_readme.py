"""Each program of the SDK's published description, made whole where it is a fragment, and all that the service gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from support.sdk import normal

from mlsdk import APIResponse, Client, Cost, HTTPClient, MLEvent, TokenBasedCost
from mlsdk.local import Fault, LocalMindlytics, RequestInfo

SESSION = "id-1"
CONVERSATION = "id-2"


@pytest.fixture(autouse=True)
def address(service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs name a key and a project; where the service is comes from the environment."""
    monkeypatch.setenv("MLSDK_SERVER_BASE", service.url)
    monkeypatch.setenv("MLSDK_WSS_BASE", service.ws_url)


def client() -> Client:
    return Client(api_key="YOUR_WORKSPACE_API_KEY", project_id="YOUR_PROJECT_ID")


def of_device(*events: dict[str, Any], device_id: str = "test_device_id") -> list[dict[str, Any]]:
    """Events of the one session of a device, now."""
    return [{"session_id": SESSION, "device_id": device_id, "timestamp": "now", **event} for event in events]


def of_user(*events: dict[str, Any], user_id: str = "jjacob") -> list[dict[str, Any]]:
    """Events of the one session of a user, now."""
    return [{"session_id": SESSION, "user_id": user_id, "timestamp": "now", **event} for event in events]


def track(event: str, **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, **fields}


def of_conversation(event: str, **fields: Any) -> dict[str, Any]:
    return track(f"Conversation {event}", conversation_id=CONVERSATION, **fields)


FLIGHT = {
    "user": "I would like book an airline flight to New York.",
    "assistant": "No problem!  When would you like to arrive?",
}
LIPSTICK = {
    "user": "I need help choosing the right lipstick for my skin color.",
    "assistant": "I can help you with that.  What color would you use to describe your skin tone?",
}
FLIGHT_SESSION = of_device(
    {"type": "start_session"},
    of_conversation("Started"),
    of_conversation("Turn", properties=FLIGHT),
    of_conversation("Ended"),
    {"type": "end_session"},
)
LIPSTICK_SESSION = of_user(
    {"type": "start_session", "id": "jjacob"},
    track("Start Chat", properties={"from": "shopping cart"}),
    of_conversation("Started"),
    of_conversation("Turn", properties=LIPSTICK),
    of_conversation("Ended"),
    {"type": "end_session"},
)


def test_first_program(service: LocalMindlytics) -> None:
    async def main() -> None:
        client = Client(
            api_key="YOUR_WORKSPACE_API_KEY",
            project_id="YOUR_PROJECT_ID",
        )
        session_context = client.create_session(device_id="test_device_id")
        # use as a context manager
        async with session_context as session:
            await session.track_conversation_turn(
                user="I would like book an airline flight to New York.",
                assistant="No problem!  When would you like to arrive?",
            )
        # leaving the context waits until everything has been sent: so it is all there now
        assert normal(service.events()) == FLIGHT_SESSION

    asyncio.run(main())

    assert {record.app_id for record in service.records()} == {"YOUR_PROJECT_ID"}
    assert {request.headers["authorization"] for request in service.requests} == {"Bearer YOUR_WORKSPACE_API_KEY"}


# -- errors -----------------------------------------------------------------------------------------------------------


def refuse_starts(request: RequestInfo) -> Fault | None:
    is_start = any(event["type"] == "start_session" for event in request.events)
    return Fault.answer(400, body="Invalid wire type: undefined") if is_start else None


def test_asking_for_errors(service: LocalMindlytics, capsys: pytest.CaptureFixture[str]) -> None:
    service.on_request(refuse_starts)

    async def main() -> None:
        session = client().create_session(device_id="test_device_id")
        await session.start_session()
        await session.flush()
        if session.has_errors():
            for err in session.get_errors():
                print(f"{err.status}: {err.message}")
        await session.end_session()

    asyncio.run(main())

    assert capsys.readouterr().out == "400: Invalid wire type: undefined\n"
    assert normal(service.events()) == of_device({"type": "end_session"})


def test_error_callback(service: LocalMindlytics, capsys: pytest.CaptureFixture[str]) -> None:
    service.on_request(refuse_starts)

    def ml_error_reporter(err: Exception) -> None:
        print(str(err))

    async def main() -> None:
        session = client().create_session(device_id="test_device_id", on_error=ml_error_reporter)
        await session.start_session()
        await session.end_session()

    asyncio.run(main())

    assert capsys.readouterr().out == "Invalid wire type: undefined\n"
    assert normal(service.events()) == of_device({"type": "end_session"})


def test_asking_for_errors_when_there_are_none() -> None:
    async def main() -> None:
        async with client().create_session(device_id="test_device_id") as session:
            await session.track_event(event="Start Chat")
        assert not session.has_errors()
        assert session.get_errors() == []

    asyncio.run(main())


def test_model_of_an_error() -> None:
    """As it is documented: a pydantic model with these fields."""
    assert issubclass(APIResponse, BaseModel)
    assert {name: field.annotation for name, field in APIResponse.model_fields.items()} == {
        "errored": bool,
        "status": int,
        "message": str,
    }


# -- client -----------------------------------------------------------------------------------------------------------


def test_client_takes_key_and_project_from_the_environment(
    service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSDK_API_KEY", "KEY")
    monkeypatch.setenv("MLSDK_PROJECT_ID", "ID")

    async def main() -> None:
        async with Client().create_session(device_id="test_device_id"):
            pass

    asyncio.run(main())

    request = service.requests[0]
    assert (request.headers["authorization"], request.headers["x-app-id"]) == ("Bearer KEY", "ID")


def test_client_identifies_a_user(service: LocalMindlytics) -> None:
    async def main() -> None:
        await client().user_identify(
            id="JJ@mail.com", traits={"name": "Jacob Jones", "email": "jj@mail.com", "country": "United States"}
        )
        async with client().create_session(id="JJ@mail.com"):
            pass

    asyncio.run(main())

    user = service.session(service.session_ids[0]).user
    assert user is not None
    assert user.traits == {"name": "Jacob Jones", "email": "jj@mail.com", "country": "United States"}


def test_client_aliases_a_user(service: LocalMindlytics) -> None:
    async def main() -> None:
        await client().user_identify(id="JJ@mail.com")
        await client().user_alias(
            id="jjacob",
            previous_id="JJ@mail.com",
        )
        async with client().create_session(id="jjacob"):
            pass

    asyncio.run(main())

    user = service.session(service.session_ids[0]).user
    assert user is not None
    assert {user.id, *user.aliases} == {"JJ@mail.com", "jjacob"}


def test_errors_of_the_client_have_a_message(service: LocalMindlytics, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        try:
            await client().user_alias(id="jjacob", previous_id="nobody")
        except Exception as e:
            print(e.message)  # type: ignore[attr-defined]

    asyncio.run(main())

    assert "nobody" in capsys.readouterr().out
    assert [request.status for request in service.requests] == [400]


# -- the three ways to use a session ----------------------------------------------------------------------------------


def test_session_as_a_context(service: LocalMindlytics) -> None:
    async def main() -> None:
        session = client().create_session(id="jjacob")
        async with session as ml:
            await ml.track_event(event="Start Chat", properties={"from": "shopping cart"})
            await session.track_conversation_turn(
                user="I need help choosing the right lipstick for my skin color.",
                assistant="I can help you with that.  What color would you use to describe your skin tone?",
            )

    asyncio.run(main())

    assert normal(service.events()) == LIPSTICK_SESSION


def test_session_without_a_context(service: LocalMindlytics) -> None:
    async def main() -> None:
        session = client().create_session(id="jjacob")
        await session.track_event(event="Start Chat", properties={"from": "shopping cart"})
        await session.track_conversation_turn(
            user="I need help choosing the right lipstick for my skin color.",
            assistant="I can help you with that.  What color would you use to describe your skin tone?",
        )
        await session.end_session()

    asyncio.run(main())

    assert normal(service.events()) == LIPSTICK_SESSION


def test_session_under_full_control(service: LocalMindlytics) -> None:
    async def main() -> None:
        session = client().create_session(id="jjacob")
        session_id = await session.start_session(
            timestamp="2025-04-03T07:35:10.0000Z", id="jjacob", attributes={"store": "135"}
        )
        await session.track_event(
            timestamp="2025-04-03T07:35:35.0000Z", event="Start Chat", properties={"from": "shopping cart"}
        )
        conversation_id = await session.start_conversation(
            timestamp="2025-04-03T07:35:35.0000Z", properties={"timezone": "America/Los_Angeles"}
        )
        await session.track_conversation_turn(
            conversation_id=conversation_id,
            timestamp="2025-04-03T07:36:03.0000Z",
            user="I need help choosing the right lipstick for my skin color.",
            assistant="I can help you with that.  What color would you use to describe your skin tone?",
            cost={"model": "gpt-4o", "prompt_tokens": 15, "completion_tokens": 19},
        )
        await session.end_conversation(
            conversation_id=conversation_id, timestamp="2025-04-03T07:36:40.0000Z", properties={"device": "browser"}
        )
        await session.end_session(timestamp="2025-04-03T07:37:15.0000Z", attributes={"resolved": True})
        assert [session_id] == service.session_ids
        assert conversation_id == service.session(session_id).conversations[0].conversation_id

    asyncio.run(main())

    tokens = {"model": "gpt-4o", "prompt_tokens": 15, "completion_tokens": 19}
    assert normal(service.events()) == of_user(
        {
            "type": "start_session",
            "timestamp": "2025-04-03T07:35:10.000000Z",
            "id": "jjacob",
            "attributes": {"store": "135"},
        },
        track("Start Chat", timestamp="2025-04-03T07:35:35.000000Z", properties={"from": "shopping cart"}),
        of_conversation(
            "Started", timestamp="2025-04-03T07:35:35.000000Z", properties={"timezone": "America/Los_Angeles"}
        ),
        of_conversation("Turn", timestamp="2025-04-03T07:36:03.000000Z", properties={**LIPSTICK, **tokens}),
        of_conversation("Ended", timestamp="2025-04-03T07:36:40.000000Z", properties={"device": "browser"}),
        {"type": "end_session", "timestamp": "2025-04-03T07:37:15.000000Z", "attributes": {"resolved": True}},
    )


# -- the session's methods --------------------------------------------------------------------------------------------


def test_starting_and_ending_a_session(service: LocalMindlytics) -> None:
    async def main() -> None:
        session = client().create_session()
        session_id = await session.start_session(id="jjacob")
        await session.end_session()
        assert service.session_ids == [session_id]

    asyncio.run(main())

    assert normal(service.events()) == of_user({"type": "start_session", "id": "jjacob"}, {"type": "end_session"})


def test_identifying_the_user_of_a_session(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client().create_session(device_id="test_device_id") as session:
            await session.user_identify(
                id="JJ@mail.com", traits={"name": "Jacob Jones", "email": "jj@mail.com", "country": "United States"}
            )

    asyncio.run(main())

    assert normal(service.events()) == of_device(
        {"type": "start_session"},
        {
            "type": "identify",
            "id": "JJ@mail.com",
            "traits": {"name": "Jacob Jones", "email": "jj@mail.com", "country": "United States"},
        },
        {"type": "end_session", "user_id": "JJ@mail.com"},
    )


def test_aliasing_the_user_of_a_session(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client().create_session(id="JJ@mail.com") as session:
            await session.user_alias(
                id="jjacob",
                previous_id="JJ@mail.com",
            )

    asyncio.run(main())

    assert normal(service.events()) == of_user(
        {"type": "start_session", "id": "JJ@mail.com", "user_id": "JJ@mail.com"},
        {"type": "alias", "id": "jjacob", "previous_id": "JJ@mail.com", "user_id": "JJ@mail.com"},
        {"type": "end_session"},
    )


def test_events_of_the_applications_own(service: LocalMindlytics) -> None:
    properties: dict[str, str | int | float | bool] = {
        "email": "test@test.com",  # str
        "age": 30,  # int
        "is_subscribed": True,  # bool
        "height": 1.75,  # float
    }

    async def main() -> None:
        async with client().create_session(id="jjacob") as session:
            await session.track_event(event="My Custom Event")
            await session.track_event(event="Another Event", properties=properties)

    asyncio.run(main())

    events = normal(service.events())
    assert events == of_user(
        {"type": "start_session", "id": "jjacob"},
        track("My Custom Event"),
        track("Another Event", properties=properties),
        {"type": "end_session"},
    )
    arrived = events[2]["properties"]
    assert {name: type(value) for name, value in arrived.items()} == {
        "email": str,
        "age": int,
        "is_subscribed": bool,
        "height": float,
    }


def test_starting_and_ending_a_conversation(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client().create_session(id="jjacob") as session:
            conversation_id = await session.start_conversation()
            await session.end_conversation()
            assert isinstance(conversation_id, str)

    asyncio.run(main())

    assert normal(service.events()) == of_user(
        {"type": "start_session", "id": "jjacob"},
        of_conversation("Started"),
        of_conversation("Ended"),
        {"type": "end_session"},
    )


def test_a_turn(service: LocalMindlytics) -> None:
    turn = {
        "user": "I am feeling hungry so I would like to find a place to eat.",
        "assistant": "Do you have a specific which you want the eating place to be located at?",
    }

    async def main() -> None:
        async with client().create_session(id="jjacob") as session:
            await session.track_conversation_turn(
                user="I am feeling hungry so I would like to find a place to eat.",
                assistant="Do you have a specific which you want the eating place to be located at?",
            )

    asyncio.run(main())

    assert normal(service.events()) == of_user(
        {"type": "start_session", "id": "jjacob"},
        of_conversation("Started"),
        of_conversation("Turn", properties=turn),
        of_conversation("Ended"),
        {"type": "end_session"},
    )


def test_models_of_usage() -> None:
    """As they are documented."""
    assert issubclass(TokenBasedCost, BaseModel)
    assert issubclass(Cost, BaseModel)
    assert {name: field.annotation for name, field in TokenBasedCost.model_fields.items()} == {
        "model": str,
        "prompt_tokens": int,
        "completion_tokens": int,
    }
    assert {name: field.annotation for name, field in Cost.model_fields.items()} == {"cost": float}
    for name in ("", "m" * 101):
        with pytest.raises(ValueError):
            TokenBasedCost(model=name, prompt_tokens=1, completion_tokens=1)


def test_usage(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client().create_session(id="jjacob") as session:
            await session.track_conversation_usage(
                cost=TokenBasedCost(model="gpt-4o", prompt_tokens=134, completion_tokens=237)
            )
            await session.track_conversation_usage(cost=Cost(cost=0.25))

    asyncio.run(main())

    assert normal(service.events()) == of_user(
        {"type": "start_session", "id": "jjacob"},
        of_conversation("Started"),
        of_conversation("Usage", properties={"model": "gpt-4o", "prompt_tokens": 134, "completion_tokens": 237}),
        of_conversation("Usage", properties={"cost": 0.25}),
        of_conversation("Ended"),
        {"type": "end_session"},
    )


def test_a_function_call(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client().create_session(id="jjacob") as session:
            await session.track_function_call(
                name="my_function_name", args='{"input1": 5, "input2": 6}', result="17", runtime=4093
            )

    asyncio.run(main())

    call = {"name": "my_function_name", "args": '{"input1": 5, "input2": 6}', "result": "17", "runtime": 4093}
    assert normal(service.events()) == of_user(
        {"type": "start_session", "id": "jjacob"},
        of_conversation("Started"),
        of_conversation("Function", properties=call),
        of_conversation("Ended"),
        {"type": "end_session"},
    )


# -- raw requests -----------------------------------------------------------------------------------------------------


def test_http_client(service: LocalMindlytics) -> None:
    event = {
        "type": "start_session",
        "session_id": "s",
        "device_id": "test_device_id",
        "timestamp": "2025-04-03T07:35:10.000000Z",
    }

    async def main() -> None:
        client = HTTPClient(
            api_key="YOUR_WORKSPACE_API_KEY",
            project_id="YOUR_PROJECT_ID",
        )
        response = await client.send_request(url="/bc/v1/events/queue", method="POST", data=event)
        assert (response["errored"], response["status"]) == (False, 200)
        assert isinstance(response["message"], str)

    asyncio.run(main())

    assert service.events() == [event]


def test_http_client_whose_request_is_refused() -> None:
    async def main() -> dict[str, Any]:
        client = HTTPClient(api_key="YOUR_WORKSPACE_API_KEY", project_id="YOUR_PROJECT_ID")
        return await client.send_request(url="/bc/v1/events/queue", method="POST", data={"type": "nothing"})

    assert asyncio.run(main()) == {"errored": True, "status": 400, "message": "Invalid wire type: nothing"}


# -- live events ------------------------------------------------------------------------------------------------------


def test_live_events(service: LocalMindlytics) -> None:
    received: list[MLEvent] = []
    errors: list[Exception] = []

    async def main() -> None:
        client = Client(
            api_key="YOUR_WORKSPACE_API_KEY",
            project_id="YOUR_PROJECT_ID",
        )

        async def on_event(event: MLEvent) -> None:
            received.append(event)

        async def on_error(error: Exception) -> None:
            errors.append(error)

        session_context = client.create_session(device_id="test_device_id", on_event=on_event, on_error=on_error)
        async with session_context as session:
            await session.track_conversation_turn(
                user="I would like book an airline flight to New York.",
                assistant="No problem!  When would you like to arrive?",
            )
        # leaving the context waits for "Session Ended", and closes the websocket
        assert [event.event for event in received] == [
            "Session Started",
            "Conversation Started",
            "Conversation Turn",
            "Conversation Summary",
            "Conversation Ended",
            "Session Ended",
        ]
        service.wait_for(lambda service: service.readers == 0)

    asyncio.run(main())

    assert errors == []
    assert normal(service.events()) == FLIGHT_SESSION
    made = service.live_events(received[0].session_id)
    assert [event.model_dump(exclude_none=True) for event in received] == made
