"""The dialogues of the package `chitchat-dataset` as conversations of turns. Pure: data in, dialogues out.

Its data is `{id: {"messages": [[{"text", "timestamp", "sender"}, ...], ...], "prompt", "ratings", "start"}, ...}`, and
becomes turns by these rules:

1. Who speaks first is the user, the partner is the assistant.
2. What one of them says in a row is one utterance: its messages, joined by newlines. Empty messages stay.
3. An utterance of the user and the assistant's next one are a turn. A dialogue that ends with the user's words, or in
   which the partner never speaks (that is so in 3,150 of 7,168), ends with a turn whose answer is empty and which says
   so by `is_answered`. No text is dropped. An answer without a question cannot be: who speaks first is the user.
4. A turn is when it was complete, that is at its last message: then an application would have recorded it. When the
   user began to speak is kept beside it. A dialogue lasts from its first message to its last.
5. Time never runs backwards: a message that claims to be older than the one before it counts as simultaneous. (In the
   data, none is older, and 7,157 are simultaneous.)
6. `start` is not used: it lies six hours off the messages, and more, where the dialogue has a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody sent at a moment."""

    sender: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user said, and the answer to it; empty, and not `is_answered`, if there was none."""

    user: str
    assistant: str
    asked_at: datetime
    at: datetime
    is_answered: bool = True


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation of two people; `partner` is None if only one of them ever spoke."""

    id: str
    user: str
    partner: str | None
    turns: tuple[Turn, ...]
    prompt: str | None = None
    ratings: Mapping[str, int] | None = None

    @property
    def started_at(self) -> datetime:
        """When the first message was sent."""
        return self.turns[0].asked_at

    @property
    def ended_at(self) -> datetime:
        """When the last message was sent."""
        return self.turns[-1].at


@dataclass(frozen=True, slots=True)
class _Utterance:
    sender: str
    text: str
    began_at: datetime
    ended_at: datetime


def dialogues(data: Mapping[str, Mapping[str, Any]]) -> Iterator[Dialogue]:
    """The dialogues of the dataset, in its order.

    Raises:
        ValueError: One has no messages, or more than two speakers; the text names it.
    """
    for identifier, entry in data.items():
        messages = [
            Message(message["sender"], message["text"], _moment(message["timestamp"]))
            for group in entry["messages"]
            for message in group
        ]
        yield dialogue(identifier, messages, prompt=entry.get("prompt"), ratings=entry.get("ratings"))


def dialogue(
    identifier: str,
    messages: Iterable[Message],
    *,
    prompt: str | None = None,
    ratings: Mapping[str, int] | None = None,
) -> Dialogue:
    """Pairs messages into the turns of a dialogue.

    Raises:
        ValueError: There are no messages, or more than two speakers.
    """
    utterances = list(_utterances(messages))
    speakers = list(dict.fromkeys(utterance.sender for utterance in utterances))
    if not 1 <= len(speakers) <= 2:
        raise ValueError(f"dialogue {identifier} has {len(speakers)} speakers: it takes one, or two who alternate")
    return Dialogue(
        id=identifier,
        user=speakers[0],
        partner=speakers[1] if len(speakers) == 2 else None,
        turns=tuple(_turns(utterances)),
        prompt=prompt,
        ratings=ratings,
    )


def _utterances(messages: Iterable[Message]) -> Iterator[_Utterance]:
    now = None
    for sender, run in groupby(messages, key=lambda message: message.sender):
        texts, moments = [], []
        for message in run:
            now = message.at if now is None else max(now, message.at)
            texts.append(message.text)
            moments.append(now)
        yield _Utterance(sender, "\n".join(texts), moments[0], moments[-1])


def _turns(utterances: list[_Utterance]) -> Iterator[Turn]:
    """Two speakers alternate, so each even utterance is the user's and each odd one the answer to the one before."""
    for question, answer in zip(utterances[::2], utterances[1::2], strict=False):
        yield Turn(question.text, answer.text, question.began_at, answer.ended_at)
    if len(utterances) % 2:
        last = utterances[-1]
        yield Turn(last.text, "", last.began_at, last.ended_at, is_answered=False)


def _moment(text: str) -> datetime:
    # Python 3.10 does not know 'Z'.
    return datetime.fromisoformat(text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text)
