"""A chat with Flask: no event loop, no `await`.

A signed cookie says which session a browser is in, so each request joins it, whichever worker answers. The conversation
itself is held by the browser and sent along.

    flask --app app run
"""

from __future__ import annotations

import os
import secrets
import uuid
from typing import Any

from flask import Flask, jsonify, request
from flask import session as cookie
from openai import OpenAI

from mlsdk.sync import Client, Session

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")

app = Flask(__name__)
app.secret_key = os.environ.get("FLASK_SECRET_KEY") or secrets.token_hex()  # several workers need the same one
mindlytics = Client(flush_timeout=2)
models = OpenAI()


def its_session() -> Session:
    """The session of the browser that asks; a new visitor gets ids."""
    for name in ("session_id", "conversation_id", "device_id"):
        cookie.setdefault(name, str(uuid.uuid4()))
    return mindlytics.create_session(
        session_id=cookie["session_id"],
        conversation_id=cookie["conversation_id"],
        device_id=cookie["device_id"],
        id=cookie.get("user_id"),
        join=True,
    )


@app.post("/chat")
def chat() -> Any:
    """Answers `{"messages": [...]}`; the last message is what the user says now."""
    messages = request.get_json()["messages"]
    answer = models.chat.completions.create(model=MODEL, messages=messages)
    text = answer.choices[0].message.content or ""
    usage = None
    if answer.usage is not None:
        usage = {
            "model": answer.model,
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        }
    with its_session() as session:
        session.track_conversation_turn(user=messages[-1]["content"], assistant=text, usage=usage)
    return jsonify(role="assistant", content=text)


@app.post("/login")
def login() -> Any:
    """Says who the user is; later turns are theirs."""
    user = request.get_json()
    with its_session() as session:
        session.user_identify(id=user["id"], traits={"name": user["name"]})
    cookie["user_id"] = user["id"]
    return jsonify(user)


@app.post("/end")
def end() -> Any:
    """The user has finished: the conversation and the session end, and are analysed. The browser stays the same."""
    session = its_session()
    session.end_conversation()
    session.end_session()
    for name in ("session_id", "conversation_id"):
        cookie.pop(name)
    return "", 204
