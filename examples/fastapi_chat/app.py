"""A chat over HTTP that keeps nothing: the browser holds the conversation, and headers say whose it is.

Each request joins the session that its headers name, so any worker on any machine can answer it. The answer is
streamed; when the stream ends, or the user goes away in the middle of it, the turn is recorded.

    uvicorn app:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header
from fastapi.responses import FileResponse, StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel, Field

from mlsdk import Client, Session

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")

app = FastAPI(title="A chat that Mindlytics follows")
# One for the process. Leaving a session waits for its delivery: here two seconds at most, the rest goes on by itself.
mindlytics = Client(flush_timeout=2)
models = AsyncOpenAI()


class Message(BaseModel):
    """One message of the conversation, as the browser holds it."""

    role: str
    content: str


class Question(BaseModel):
    """The conversation so far; the last message is what the user says now."""

    messages: list[Message] = Field(min_length=1)


def session(
    x_session_id: Annotated[str, Header(max_length=100)],
    x_conversation_id: Annotated[str, Header(max_length=100)],
    x_device_id: Annotated[str, Header(max_length=100)],
    x_user_id: Annotated[str | None, Header(max_length=100)] = None,
) -> Session:
    """The session that a request belongs to: the browser's. A request joins it, and neither starts nor ends it."""
    return mindlytics.create_session(
        session_id=x_session_id,
        conversation_id=x_conversation_id,
        device_id=x_device_id,
        id=x_user_id,
        join=True,
    )


ItsSession = Annotated[Session, Depends(session)]


@app.get("/")
async def page() -> FileResponse:
    """The page in the browser; it makes the ids."""
    return FileResponse(Path(__file__).parent / "chat.html")


@app.post("/chat")
async def chat(question: Question, session: ItsSession) -> StreamingResponse:
    """Answers, word by word."""
    stream = await models.chat.completions.create(
        model=MODEL,
        messages=[message.model_dump() for message in question.messages],  # type: ignore[misc]
        stream=True,
        stream_options={"include_usage": True},
    )
    return StreamingResponse(answer(question.messages[-1].content, stream, session), media_type="text/plain")


async def answer(said: str, stream: Any, session: Session) -> AsyncIterator[str]:
    """The pieces of the answer; the turn is recorded when they are over."""
    pieces: list[str] = []
    usage, is_whole = None, False
    async with session, stream:
        try:
            async for chunk in stream:
                if chunk.usage is not None:
                    usage = {
                        "model": chunk.model,
                        "prompt_tokens": chunk.usage.prompt_tokens,
                        "completion_tokens": chunk.usage.completion_tokens,
                    }
                for choice in chunk.choices:
                    if choice.delta.content:
                        pieces.append(choice.delta.content)
                        yield choice.delta.content
            is_whole = True
        finally:
            # Also when the browser has gone: what it has seen is what was said.
            if pieces:
                await session.track_conversation_turn(
                    user=said,
                    assistant="".join(pieces),
                    usage=usage,
                    properties=None if is_whole else {"partial": True},
                )


@app.post("/identify")
async def identify(session: ItsSession, user: str, name: str) -> None:
    """Says who the user is, once they have logged in."""
    async with session:
        await session.user_identify(id=user, traits={"name": name})


@app.post("/end")
async def end(session: ItsSession) -> None:
    """The user has finished: the conversation and the session end, and are analysed."""
    await session.end_conversation()
    await session.end_session()
