"""The second half of the demo: `zero_code/app.py`, started as its README says, and three people who talk to it.

What they said and heard is compared with the transcripts at the service, and what the model counted with the usage.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from comparison import Row
from model_stand_in import ModelStandIn
from verification import View

_PROJECT: Final = "demo-zero-code"
_APP: Final = Path(__file__).resolve().parent / "zero_code" / "app.py"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_CHATS: Final = {
    "ann": ("Where is order 4711?", "I am glad to hear that", "I need a second one", "Thank you"),
    "bob": ("Hello", "I am worried about my parcel", "Where are order 4712 and the invoice?"),
    "cid": ("Can you help me?", "I can't open the box", "Yes", "Yes"),
}


class NoChatbotError(Exception):
    """The chatbot did not start, or did not end well."""


@dataclass(slots=True)
class Held:
    """What the service holds of the chats."""

    turns: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """What was said and answered, by the session."""
    functions: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    is_open: int = 0


@contextmanager
def chatbot(address: str, models: ModelStandIn, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """Starts the chatbot as a user would, yields its address, and stops it as a server is stopped, by SIGTERM.

    Args:
        address: The Mindlytics service.
        models: What answers.
        variables: More of them for its environment.

    Raises:
        NoChatbotError: It did not start, or ended with an error.
    """
    environment = {
        **os.environ,
        **models.environment,
        "MLSDK_API_KEY": "demo_key",
        "MLSDK_PROJECT_ID": _PROJECT,
        "MLSDK_SERVER_BASE": address,
        "OTEL_TRACES_EXPORTER": "mindlytics",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
        **(variables or {}),
    }
    launcher = Path(sys.executable).parent / "opentelemetry-instrument"
    port = _free_port()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [str(launcher), sys.executable, str(_APP), "--port", str(port)], env=environment, stdin=subprocess.DEVNULL
    )
    try:
        _wait_until_it_listens(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def talk(address: str, chats: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[str, str]]]:
    """Holds several chats at once; returns what was said and heard in each."""
    heard: dict[str, list[tuple[str, str]]] = {name: [] for name in chats}

    async def hold(http: aiohttp.ClientSession, name: str) -> None:
        for text in chats[name]:
            async with http.post(f"{address}/chats/{name}", json={"text": text}) as answer:
                answer.raise_for_status()
                heard[name].append((text, await answer.text()))

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(hold(http, name) for name in chats))
    return heard


async def look(view: View) -> Held:
    """What the service holds of all chats."""
    held = Held()
    for session_id in await view.session_ids():
        session: dict[str, Any] = await view.session(session_id) or {}
        conversations = session["conversations"]
        held.turns[session_id] = [(turn["user"], turn["assistant"]) for talk in conversations for turn in talk["turns"]]
        for talk in conversations:
            held.functions += len(talk["functions"])
            held.input_tokens += talk["prompt_tokens"]
            held.output_tokens += talk["completion_tokens"]
            held.is_open += talk["ended_at"] is None
    return held


def compare(heard: Mapping[str, Sequence[tuple[str, str]]], held: Held, models: ModelStandIn) -> list[Row]:
    """What was said, heard and counted beside what the service holds."""
    transcripts = sorted(map(list, heard.values()))
    same = [turns for turns in held.turns.values() if turns in transcripts]
    answers = models.answers
    return [
        Row("chats, as sessions", len(heard), len(held.turns)),
        Row("  conversations still open", 0, held.is_open),
        Row("  transcripts, word for word", len(heard), len(same)),
        Row("turns", sum(map(len, heard.values())), sum(map(len, held.turns.values()))),
        Row("function calls", sum(len(answer.tool_calls) for answer in answers), held.functions),
        Row("tokens of questions", sum(answer.input_tokens for answer in answers), held.input_tokens),
        Row("tokens of answers", sum(answer.output_tokens for answer in answers), held.output_tokens),
    ]


async def demo(address: str, variables: Mapping[str, str] | None = None) -> list[Row]:
    """Runs the chatbot, talks to it, prints what was said, and compares.

    Raises:
        NoChatbotError: The chatbot did not start.
    """
    with ModelStandIn() as models:
        with chatbot(address, models, variables) as url:
            heard = await talk(url, _CHATS)
        for name, turns in heard.items():
            for user, assistant in turns:
                print(f"   {name + ':':6} {user}\n          {assistant}")
        async with View(address, _PROJECT) as view:
            return compare(heard, await look(view), models)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        if process.poll() is not None:
            raise NoChatbotError(f"the chatbot ended with status {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise NoChatbotError("the chatbot did not start in time") from None
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
