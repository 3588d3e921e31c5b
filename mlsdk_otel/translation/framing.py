"""What was really said where an application wraps it: a question among the documents found for it, in a template.

The model is sent the whole wrapping. The outermost agent or chain was given what the user said, and gave what the user
was told; where the texts of the model hold both, these are the turn's. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from mlsdk_otel.translation.conventions import messages

_HOLDERS: Final = ("inputs", "input", "outputs", "output", "args", "kwargs")
"""Where libraries put what a function was given, and what it gave, beside other things."""
_MAX_DEPTH: Final = 3
_MAX_TEXTS: Final = 50


def within(utterance: str, answer: str, given: object, made: object) -> tuple[str, str] | None:
    """What was said and answered, without the wrapping; None where there is none, or nobody can tell.

    Args:
        utterance: What the model was told.
        answer: What it answered.
        given: What the agent or chain around it was given: text, or a structure, or the JSON text of one.
        made: What came out of it, likewise.
    """
    found = {text for text in texts(given) if _stands_in(text, utterance)}
    if len(found) != 1 or found == {utterance.strip()} or not answer.strip():
        return None
    told = {text for text in texts(made) if _stands_in(text, answer) or answer.strip() in text} - found
    if not told:
        return None
    shorter = {text for text in told if text in answer}
    return found.pop(), shorter.pop() if len(told) == len(shorter) == 1 else answer


def _stands_in(text: str, whole: str) -> bool:
    """Whether a text is there, and not only the letters of it in the middle of words."""
    start = whole.find(text)
    end = start + len(text)
    return start >= 0 and not (whole[:start][-1:].isalnum() or whole[end : end + 1].isalnum())


def texts(raw: object) -> set[str]:
    """The texts at the top of a structure, of its JSON text, or the text itself."""
    return {text.strip() for text in islice(_walk(raw, _MAX_DEPTH), _MAX_TEXTS)} - {""}


def _walk(raw: object, depth: int) -> Iterator[str]:
    """The texts at the top of a structure, and in what only holds something."""
    found = messages.loaded(raw)
    if not isinstance(found, str | Mapping | list | tuple):
        found = raw  # "21" is text, whatever JSON makes of it
    if isinstance(found, str):
        yield found
    elif isinstance(found, Mapping) and depth:
        for key, held in found.items():
            if isinstance(held, str):
                yield held
            elif key in _HOLDERS:
                yield from _walk(held, depth - 1)
    elif isinstance(found, list | tuple) and len(found) == 1 and depth:
        yield from _walk(found[0], depth - 1)
