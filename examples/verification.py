"""Compares what the service holds with what it should hold, whole: every session, conversation and turn.

Asks the JSON view of the local Mindlytics; what is expected comes from the dialogues alone, not from the SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from chitchat import Dialogue, Turn
from history import properties_of, session_id_of

_AT_ONCE: Final = 8


class NoViewError(Exception):
    """The service does not show what it holds: only the local Mindlytics does."""


@dataclass(slots=True)
class Findings:
    """What was found at the service."""

    sessions: int = 0
    conversations: int = 0
    turns: int = 0
    events: int = 0
    equal_turns: int = 0
    """Those with the very texts, ids, properties and time that they should have, in their place."""
    differences: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Twins:
    """How the events of the same dialogues in two projects compare."""

    equal_events: int = 0
    """Those that are the same in both, field by field, at the same place of their session."""
    differences: list[str] = field(default_factory=list)


class View:
    """The JSON view of a local Mindlytics."""

    def __init__(self, address: str, project: str) -> None:
        """Reads at a service's address what it holds of a project."""
        self._address = address
        self._project = project
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    async def __aenter__(self) -> View:
        """The view itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes its connections."""
        await self._http.close()

    async def totals(self) -> dict[str, int]:
        """How many sessions, conversations, turns and so on the service holds.

        Raises:
            NoViewError: It does not tell, or cannot be reached. The same for what follows.
        """
        found: dict[str, int] | None = await self._get("/local/stats")
        if found is None:
            raise NoViewError(f"{self._address} does not show what it holds: only the local Mindlytics does")
        return found

    async def session(self, session_id: str) -> dict[str, Any] | None:
        """All that the service knows of a session; None if it knows of none."""
        found: dict[str, Any] | None = await self._get(
            f"/local/sessions/{quote(session_id, safe='')}?app_id={quote(self._project, safe='')}"
        )
        return found

    async def session_ids(self) -> list[str]:
        """The sessions of the project."""
        found: list[dict[str, Any]] = []
        while True:
            page: dict[str, Any] = await self._get(f"/local/sessions?after={len(found)}") or {}
            found += page["sessions"]
            if len(found) >= page["total"]:
                return [each["session_id"] for each in found if each["app_id"] == self._project]

    async def _get(self, path: str) -> Any:
        try:
            async with self._http.get(self._address + path) as answer:
                if answer.status == 404:
                    return None
                answer.raise_for_status()
                return await answer.json()
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise NoViewError(
                f"{self._address} does not show what it holds: {str(error) or 'no answer in time'}"
            ) from error


async def verify(
    view: View, history: Iterable[Dialogue], *, on_turns: Callable[[int], object] = lambda count: None
) -> Findings:
    """Looks up every dialogue and compares it whole.

    Args:
        view: Where to look.
        history: What should be there.
        on_turns: Called with the number of turns looked at since the last call.
    """
    findings = Findings()
    rest = iter(history)

    async def work() -> None:
        for dialogue in rest:
            examine(dialogue, await view.session(session_id_of(dialogue)), findings)
            on_turns(len(dialogue.turns))

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return findings


async def compare_projects(one: View, other: View, history: Iterable[Dialogue]) -> Twins:
    """Compares the events that two projects have received of each dialogue; they should be the very same."""
    twins = Twins()
    rest = iter(history)

    async def work() -> None:
        for dialogue in rest:
            name = session_id_of(dialogue)
            sessions = [await view.session(name) or {} for view in (one, other)]
            wanted, held = (session.get("received", []) for session in sessions)
            twins.equal_events += sum(a == b for a, b in zip(wanted, held, strict=False))
            if wanted != held:
                twins.differences.append(f"{name}: the events of the two projects differ")
                twins.differences += differences(wanted, held, name)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return twins


def examine(dialogue: Dialogue, session: Mapping[str, Any] | None, findings: Findings) -> None:
    """Adds to the findings what a session of the service is, and how it differs from its dialogue."""
    if session is None:
        findings.differences.append(f"{session_id_of(dialogue)}: is not there")
        return
    conversations = session["conversations"]
    turns = [turn for conversation in conversations for turn in conversation["turns"]]
    findings.sessions += 1
    findings.conversations += len(conversations)
    findings.turns += len(turns)
    findings.events += len(session["received"])
    findings.equal_turns += sum(
        next(differences(_turn(turn, dialogue), held), None) is None
        for turn, held in zip(dialogue.turns, turns, strict=False)
    )
    findings.differences += differences(expected(dialogue), session, session_id_of(dialogue))


def expected(dialogue: Dialogue) -> dict[str, Any]:
    """How the service should show a dialogue."""
    began, ended = _stamp(dialogue.started_at), _stamp(dialogue.ended_at)
    prompt = {} if dialogue.prompt is None else {"prompt": dialogue.prompt}
    conversation = {
        "conversation_id": dialogue.id,
        "started_at": began,
        "ended_at": ended,
        "properties": {**prompt, **(dialogue.ratings or {})},
        "turns": [_turn(turn, dialogue) for turn in dialogue.turns],
        "functions": [],
        "usages": [],
        "events": [],
    }
    return {
        "session_id": session_id_of(dialogue),
        "user": {"id": dialogue.user},
        "started_at": began,
        "ended_at": ended,
        "attributes": {},
        "conversations": [conversation],
        "events": [],
    }


def _turn(turn: Turn, dialogue: Dialogue) -> dict[str, Any]:
    return {
        "conversation_id": dialogue.id,
        "user": turn.user,
        "assistant": turn.assistant,
        "assistant_id": dialogue.partner,
        "timestamp": _stamp(turn.at),
        "properties": properties_of(turn),
    }


def _stamp(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def differences(wanted: object, held: object, where: str = "") -> Iterator[str]:
    """Where two pieces of JSON differ. Lists must be of equal length; objects may hold more than is wanted."""
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        for name, value in wanted.items():
            yield from differences(value, held.get(name), f"{where}.{name}")
    elif isinstance(wanted, list) and isinstance(held, list):
        if len(wanted) != len(held):
            yield f"{where}: has {len(held)} items, not {len(wanted)}"
        for number, (one, other) in enumerate(zip(wanted, held, strict=False)):
            yield from differences(one, other, f"{where}[{number}]")
    elif wanted != held:
        yield f"{where}: is {held!r}, not {wanted!r}"
