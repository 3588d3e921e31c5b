"""A chatbot of a shop: FastAPI, OpenAI's client, answers as they are written, and a function that looks up orders.

There is not a line about telemetry in it. README.md beside it says how to start it so that its conversations arrive.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

MODEL: Final = "gpt-4o-mini"
SYSTEM: Final = "You work for a shop. Be brief and kind."
ORDERS: Final = {4711: "shipped this morning", 4712: "waiting for payment"}
TOOLS: Final[Any] = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Where an order is.",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "integer"}},
                "required": ["number"],
                "additionalProperties": False,
            },
        },
    }
]

app = FastAPI()
model = AsyncOpenAI()
chats: dict[str, list[dict[str, Any]]] = {}


class Utterance(BaseModel):
    """What the user says."""

    text: str


@app.post("/chats/{chat_id}")
async def chat(chat_id: str, utterance: Utterance) -> StreamingResponse:
    """Answers in a chat, word by word."""
    history = chats.setdefault(chat_id, [{"role": "system", "content": SYSTEM}])
    history.append({"role": "user", "content": utterance.text})
    return StreamingResponse(answer(history), media_type="text/plain")


async def answer(history: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Asks the model until it has said something and wants no more functions called."""
    while True:
        text, calls = "", {}
        stream = await model.chat.completions.create(
            model=MODEL,
            messages=history,  # type: ignore[arg-type]  # plain dicts, as most people write them
            tools=TOOLS,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    text += choice.delta.content
                    yield choice.delta.content
                for part in choice.delta.tool_calls or []:
                    collect(calls, part)
        if not calls:
            history.append({"role": "assistant", "content": text})
            return
        history.append({"role": "assistant", "content": text, "tool_calls": list(calls.values())})
        history += [
            {"role": "tool", "tool_call_id": call["id"], "content": find_order(**arguments_of(call))}
            for call in calls.values()
        ]


def collect(calls: dict[int, dict[str, Any]], part: Any) -> None:
    """Adds a piece of a stream to the function call that it belongs to."""
    new = {"id": part.id, "type": "function", "function": {"name": part.function.name, "arguments": ""}}
    calls.setdefault(part.index, new)["function"]["arguments"] += part.function.arguments or ""


def arguments_of(call: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the model chose."""
    arguments: dict[str, Any] = json.loads(call["function"]["arguments"])
    return arguments


def find_order(number: int) -> str:
    """Where an order is."""
    return f"order {number} is {ORDERS.get(number, 'unknown')}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chatbot of a shop.")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning")
