"""What an address of the page asks for, and the address that asks for it. Pure.

Ids are whatever an app sends, so they travel as query parameters: in a path, browsers take ``..`` for a step up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

_LONGEST: Final = 500
"""Characters of one parameter that are looked at."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which sessions to list: those that contain ``text``, of this ``user``, ``session`` and ``project``; "" is any."""

    text: str = ""
    user: str = ""
    session: str = ""
    project: str = ""
    page: int = 1

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> "Listing":
        """Read an address; what makes no sense is left out."""
        return cls(
            text=_text(parameters, "text"),
            user=_text(parameters, "user"),
            session=_text(parameters, "session"),
            project=_text(parameters, "project"),
            page=_page(parameters),
        )

    @property
    def is_filtered(self) -> bool:
        """Whether anything is asked for but the page."""
        return bool(self.text or self.user or self.session or self.project)

    def address(self, page: int | None = None) -> str:
        """Where this is shown, or another page of it."""
        wanted = self.page if page is None else page
        return _address(
            "/",
            text=self.text,
            user=self.user,
            session=self.session,
            project=self.project,
            page=wanted if wanted > 1 else "",
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Which session to show, and which page of it; ``event``: the page with the event of this number, 0 for none."""

    session_id: str
    project: str | None = None
    page: int = 1
    event: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> "Reading":
        """Read an address; what makes no sense is left out."""
        return cls(
            session_id=parameters.get("id", ""),
            project=parameters.get("project"),
            page=_page(parameters),
            event=_whole(parameters.get("event", "")),
        )


def session_address(project: str, session_id: str, page: int = 1) -> str:
    """Where a session is shown."""
    return _address("/session", project=project, id=session_id, page=page if page > 1 else "")


def event_address(project: str, session_id: str, event: int) -> str:
    """Where one event of a session is shown, for ever: it is found by its number, wherever it stands by then."""
    return f"{_address('/session', project=project, id=session_id, event=event)}#event-{event}"


def _address(path: str, **parameters: str | int) -> str:
    asked = {name: value for name, value in parameters.items() if value != ""}
    return f"{path}?{urlencode(asked, errors='replace')}" if asked else path


def _text(parameters: Mapping[str, str], name: str) -> str:
    return parameters.get(name, "").strip()[:_LONGEST]


def _page(parameters: Mapping[str, str]) -> int:
    return max(1, _whole(parameters.get("page", "")))


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
