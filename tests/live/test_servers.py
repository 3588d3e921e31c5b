"""Servers with many users at once: each one's words stay with their session, by code and without any."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from model_stand_in import ModelStandIn, Question, Reply
from support import child
from support.serving import serving

from mlsdk.local import LocalMindlytics

USERS: Final = 100
HERE: Final = Path(__file__).resolve().parent
APP: Final = HERE.parents[1] / "examples" / "zero_code" / "app.py"
LAUNCHER: Final = Path(sys.executable).parent / "opentelemetry-instrument"

pytestmark = pytest.mark.timeout(180)


def echo(question: Question) -> Reply:
    return Reply(f"you said {question.utterance} to me, and I heard it")


@pytest.fixture
def models() -> Iterator[ModelStandIn]:
    with ModelStandIn(brain=echo, pause=0.002) as running:
        yield running


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


def said(number: int) -> list[str]:
    return [f"I am user {number}", f"{number} again"]


async def talk(url: str, *, headers_of: dict[int, dict[str, str]]) -> None:
    """All users talk at once, each to one chat."""

    async def one(http: aiohttp.ClientSession, number: int) -> None:
        for text in said(number):
            async with http.post(
                f"{url}/chats/{number}", json={"text": text}, headers=headers_of.get(number, {})
            ) as answer:
                assert answer.status == 200
                assert await answer.text() == f"you said {text} to me, and I heard it"

    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        await asyncio.gather(*(one(http, number) for number in range(USERS)))


def transcripts(service: LocalMindlytics) -> dict[str, list[str]]:
    return {name: [turn.user for turn in service.session(name).turns] for name in service.session_ids}


def test_a_hundred_users_of_one_server_are_not_mixed(models: ModelStandIn) -> None:
    headers = {
        number: {"x-session-id": f"session-{number}", "cookie": f"user=user-{number}; device=device-{number}"}
        for number in range(USERS)
    }
    with LocalMindlytics() as exporter, LocalMindlytics() as processor:
        variables = child.environment(
            {
                **models.environment,
                "MLSDK_API_KEY": "key",
                "MLSDK_PROJECT_ID": "live",
                "EXPORTER_BASE": exporter.url,
                "PROCESSOR_BASE": processor.url,
                "PYTHONPATH": str(HERE.parents[1] / "examples"),
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
            }
        )
        with serving([sys.executable, str(HERE / "servers" / "many_users.py"), "PORT"], variables) as server:
            asyncio.run(talk(server.url, headers_of=headers))
        assert transcripts(processor) == {f"session-{number}": said(number) for number in range(USERS)}
        for number in range(USERS):
            user = processor.session(f"session-{number}").user
            assert user is not None
            assert (user.id, user.device_ids) == (f"user-{number}", (f"device-{number}",))
        # An exporter sees no request: what was said before is all that tells who goes on.
        assert Counter(map(tuple, transcripts(exporter).values())) == {tuple(said(n)): 1 for n in range(USERS)}


def zero_code(service: LocalMindlytics, models: ModelStandIn, **more: str) -> dict[str, str]:
    """The variables of the example's README, and more."""
    return child.environment(
        {
            **models.environment,
            "MLSDK_API_KEY": "key",
            "MLSDK_PROJECT_ID": "shop",
            "MLSDK_SERVER_BASE": service.url,
            "MLSDK_EXIT_TIMEOUT": "40",  # on a busy machine the service may be silent for seconds
            "OTEL_TRACES_EXPORTER": "mindlytics",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            # Those of OpenAI's client are three; the others installed here only take long to load.
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "anthropic,langchain,openai_agents",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
            **more,
        }
    )


COMMAND: Final = [str(LAUNCHER), sys.executable, str(APP), "--port", "PORT"]


def test_without_a_line_of_code_chats_are_told_apart_by_their_history(
    service: LocalMindlytics, models: ModelStandIn
) -> None:
    with serving(COMMAND, zero_code(service, models)) as server:
        asyncio.run(talk(server.url, headers_of={}))
    assert server.output == ""  # three instrumentations are installed, and all tell of each call
    assert Counter(map(tuple, transcripts(service).values())) == {tuple(said(n)): 1 for n in range(USERS)}
    assert len(models.answers) == 2 * USERS
    # Nobody has said that they end but the signal.
    held = [service.session(name) for name in service.session_ids]
    assert [each.session_id for each in held if each.is_open or each.conversations[0].is_open] == []


def test_without_a_line_of_code_baggage_names_the_session(service: LocalMindlytics, models: ModelStandIn) -> None:
    headers = {number: {"baggage": f"session.id=front-{number},user.id=u-{number}"} for number in range(USERS)}
    variables = zero_code(service, models, MLSDK_OTEL_PROCESSOR="true", MLSDK_OTEL_BAGGAGE="session.id,user.id")
    with serving(COMMAND, variables) as server:
        asyncio.run(talk(server.url, headers_of=headers))
    assert server.output == ""
    assert transcripts(service) == {f"front-{number}": said(number) for number in range(USERS)}
    assert {service.session(f"front-{n}").user.id for n in range(USERS)} == {f"u-{n}" for n in range(USERS)}  # type: ignore[union-attr]
