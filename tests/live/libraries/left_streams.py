"""Streams left before their end: closed, dropped, broken off by the server. `left_streams.py INSTRUMENTATION`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from importlib import import_module
from typing import Any, Final

import openai
from chat import MODEL, provider

from mlsdk_otel import using_session

_READ: Final = 3
"""The role, and two words."""


async def ask(text: str, *, reads_all: bool = False) -> Any:
    """Reads the beginning of an answer; the stream is the caller's."""
    stream = await openai.AsyncOpenAI().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}], stream=True
    )
    number = 0
    async for _ in stream:
        number += 1
        if number == _READ and not reads_all:
            break
    return stream


async def main() -> None:
    """Leaves streams in each way, each in a session of its own."""
    with using_session("closed"):
        await (await ask("Close")).close()
    with using_session("dropped"):
        await ask("Drop")
        gc.collect()
        await asyncio.sleep(0)  # a generator that was dropped is closed by the loop
    with using_session("broken"), contextlib.suppress(openai.APIConnectionError):
        await ask("Break", reads_all=True)


traces = provider()
import_module(sys.argv[1]).OpenAIInstrumentor().instrument(tracer_provider=traces)
asyncio.run(main())
gc.collect()
traces.shutdown()
