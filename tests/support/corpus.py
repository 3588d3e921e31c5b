"""Recordings of real instrumentations, with what a person would say happened in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from mlsdk_otel.translation import recordings
from mlsdk_otel.translation.spanview import SpanView

FOLDER: Final = Path(__file__).resolve().parents[1] / "otel" / "corpus"
"""One file for each convention; `tests/otel/corpus/README.md` tells its form."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One run of a library.

    Attributes:
        views: Its spans in the order they ended, log records attached.
        expected: `turns`, `functions`, `failed_turns`, `llm_calls`, `session_id`, `user_id`, and `seen`: which of them
            the recording shows at all.
    """

    convention: str
    scenario: str
    library: str
    version: str
    views: tuple[SpanView, ...]
    expected: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.convention}/{self.scenario}"


@cache
def recorded() -> tuple[Recording, ...]:
    """All recordings."""
    return tuple(_read())


def _read() -> Iterator[Recording]:
    for file in sorted(FOLDER.glob("*.json")):
        for document in orjson.loads(file.read_bytes()):
            yield Recording(
                convention=file.stem,
                scenario=document["scenario"],
                library=document["library"],
                version=document["version"],
                views=tuple(recordings.views([document])),
                expected=document["expected"],
            )
