"""OpenAI's embeddings: a vector for each text, the same for the same text, without any meaning."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Any, Final

from model_stand_in.dialogue import RequestError, optional, required

_DIMENSIONS: Final = 16


def write(body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request.

    Raises:
        RequestError: The real service would refuse it.
    """
    model = required(body, "model", str)
    given = body.get("input")
    texts: list[str] = [given] if isinstance(given, str) else required(body, "input", list)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError("'input' must be text or a list of texts.", "input")
    dimensions = optional(body, "dimensions", int, default=_DIMENSIONS)
    is_packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": number, "embedding": _vector(text, dimensions, is_packed=is_packed)}
        for number, text in enumerate(texts)
    ]
    tokens = sum(len(text.split()) for text in texts)
    return {
        "object": "list",
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(text: str, dimensions: int, *, is_packed: bool) -> list[float] | str:
    digest = hashlib.shake_256(text.encode()).digest(dimensions)
    numbers = [byte / 255 for byte in digest]
    return base64.b64encode(struct.pack(f"<{dimensions}f", *numbers)).decode() if is_packed else numbers
