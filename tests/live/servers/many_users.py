"""The chatbot of `examples/zero_code`, with ids of requests and spans by code: `many_users.py PORT`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1] / "libraries"), str(HERE.parents[3] / "examples" / "zero_code")]

from app import app  # noqa: E402
from chat import provider  # noqa: E402

from mlsdk_otel import MindlyticsASGIMiddleware  # noqa: E402

traces = provider()
OpenAIInstrumentor().instrument(tracer_provider=traces)
app.add_middleware(
    MindlyticsASGIMiddleware,
    session_id="header:x-session-id",
    user_id="cookie:user",
    device_id=["header:x-device", "cookie:device"],
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Spans are delivered when the server stops."""
    yield
    traces.shutdown()


app.router.lifespan_context = lifespan
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=20)
