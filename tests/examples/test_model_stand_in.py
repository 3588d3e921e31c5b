"""The stand-in for models as a program and as an object; what it answers by itself. Clients: tests/live."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from model_stand_in import Failure, Message, ModelStandIn, Question, Reply, Tool
from model_stand_in.brain import think

WEATHER = Tool("get_weather", parameters={"properties": {"city": {"type": "string"}}, "required": ["city"]})


def said(*texts: str, tools: tuple[Tool, ...] = ()) -> Reply | Failure:
    return think(Question("m", [Message("user", text) for text in texts], tools))


@pytest.mark.parametrize(
    ("text", "cities"),
    [
        ("What is the weather in Oslo?", ["Oslo"]),
        ("Tell me the weather in New York, Rome and Oslo please", ["New York", "Rome", "Oslo"]),
        ("How is the weather", ["How is the weather"]),
        ("What is the time in Oslo?", []),
    ],
)
def test_a_function_is_called_when_a_word_of_its_name_is_said(text: str, cities: list[str]) -> None:
    reply = said(text, tools=(WEATHER,))
    assert isinstance(reply, Reply)
    assert [call.arguments["city"] for call in reply.tool_calls] == cities
    assert bool(reply.text) == (not cities)


def test_arguments_are_what_the_schema_allows() -> None:
    properties: dict[str, Any] = {
        "order": {"type": "integer"},
        "unit": {"enum": ["metric", "imperial"]},
        "loud": {"type": "boolean"},
        "optional": {"type": "string"},
    }
    tool = Tool("findOrder", parameters={"properties": properties, "required": ["order", "unit", "loud"]})
    reply = said("Where is order 4711, imperial please", tools=(tool,))
    assert isinstance(reply, Reply)
    assert [dict(call.arguments) for call in reply.tool_calls] == [{"order": 4711, "unit": "imperial", "loud": True}]


def test_the_same_history_is_answered_the_same_way() -> None:
    assert said("I am sad", "I am sad") == said("I am sad", "I am sad")
    assert said("Please fail with 503") == Failure(503, "You asked for this error.")


def ask(url: str, body: dict[str, Any], *, key: str = "any") -> dict[str, Any]:
    async def post() -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    return asyncio.run(post())


def test_scripted_answers_come_first_and_requests_are_kept() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}
    with ModelStandIn(brain=lambda question: Reply(question.utterance.upper())) as models:
        models.script(Reply("scripted", input_tokens=40))
        answers = [ask(f"{models.openai_url}/chat/completions", body) for _ in range(2)]
        assert models.scripted == 0
        assert [request.body for request in models.requests] == [body, body]
    assert [answer["choices"][0]["message"]["content"] for answer in answers] == ["scripted", "ONE TWO"]
    assert [answer["usage"]["prompt_tokens"] for answer in answers] == [40, 2]


def test_without_a_key_it_answers_nobody() -> None:
    with ModelStandIn() as models:
        answer = ask(f"{models.openai_url}/chat/completions", {"model": "m", "messages": []}, key="")
        assert answer["error"]["type"] == "authentication_error"
        assert models.requests == []


def test_it_runs_as_a_program(examples: Path) -> None:
    command = [sys.executable, "-m", "model_stand_in", "--port", "0"]
    with subprocess.Popen(command, cwd=examples, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().rsplit(maxsplit=1)[-1]
            body = {"model": "m", "input": "Hello"}
            answer = ask(f"{url}/v1/responses", body)
            assert answer["status"] == "completed"
            assert json.dumps(answer["output"])
        finally:
            process.terminate()


def test_a_port_that_is_taken_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    from model_stand_in.__main__ import main

    with ModelStandIn() as models:
        assert main(["--port", str(models.port)]) == 1
        with pytest.raises(OSError, match=r".+"):
            ModelStandIn(port=models.port).start()
    assert f"cannot serve on 127.0.0.1:{models.port}" in capsys.readouterr().err
