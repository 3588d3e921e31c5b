"""The page's addresses: reads what is asked for, looks under the service's lock, answers with HTML.

It changes nothing. What is shown is decided in `overview` and `timeline`, how in `front` and `transcript`.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from mlsdk.local.page.front import front_page, listing_title
from mlsdk.local.page.layout import frame
from mlsdk.local.page.overview import overview
from mlsdk.local.page.problems import SHOWN, problems_page
from mlsdk.local.page.query import Listing, Reading
from mlsdk.local.page.static import TYPES, content_of
from mlsdk.local.page.timeline import session_page
from mlsdk.local.page.transcript import missing_page, transcript_page, who
from mlsdk.local.page.versions import session_version, version_of
from mlsdk.local.page.watchers import Watchers
from mlsdk.local.state import State

# Nothing from elsewhere, nothing inline: a text that got out of its element all the same could do nothing.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_CHANGES: Final = "/page/changes"


class Page:
    """One method an address.

    Args:
        state: what to show.
        watchers: the open pages.
        now: the clock, ISO 8601 UTC.
    """

    def __init__(self, state: State, watchers: Watchers, *, now: Callable[[], str]) -> None:
        self._state = state
        self._watchers = watchers
        self._now = now

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add every address but ``/``, which the websocket has too."""
        router.add_get("/session", self.session)
        router.add_get("/problems", self.problems)
        router.add_get(_CHANGES, self.changes, allow_head=False)
        router.add_get(f"/page/{{name:{'|'.join(TYPES)}}}", self.file)

    async def front(self, request: web.Request) -> web.StreamResponse:
        """``/``: the sums and the list of sessions."""
        listing = Listing.of(request.query)
        now = self._now()
        with self._state.changed:
            version = version_of(self._state, now=now)
            refused = self._state.problem_count
            # Rendered under the lock too: the sums are the index's own.
            content = front_page(
                overview(self._state.store, listing, now=now, refused=refused),
                address=f"{request.scheme}://{request.host}",
            )
        return _page(frame(content, title=listing_title(listing), version=version, changes=_CHANGES, refused=refused))

    async def session(self, request: web.Request) -> web.StreamResponse:
        """``/session``: one session."""
        reading = Reading.of(request.query)
        changes = f"{_CHANGES}?{urlencode(_asked(reading), errors='replace')}"
        with self._state.changed:
            version = session_version(self._state, reading.session_id, reading.project)
            refused = self._state.problem_count
            try:
                shown = session_page(self._state.store, reading)
            except LookupError:
                shown = None
        if shown is None:
            content, title = missing_page(reading.session_id), "No such session"
        else:
            content, title = transcript_page(shown), who(shown)
        return _page(
            frame(content, title=title, version=version, changes=changes, refused=refused),
            status=200 if shown is not None else 404,
        )

    async def problems(self, request: web.Request) -> web.StreamResponse:
        """``/problems``: what went wrong."""
        with self._state.changed:
            version = version_of(self._state, now=self._now())
            refused = self._state.problem_count
            content = problems_page(
                islice(reversed(self._state.problems), SHOWN),
                count=refused,
                unknown_fields=self._state.unknown_fields,
            )
        return _page(frame(content, title="Problems", version=version, changes=_CHANGES, refused=refused))

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """``/page/changes``: the versions of a page, as they come."""
        reading = Reading.of(request.query) if "id" in request.query else None

        def version() -> str:
            with self._state.changed:
                if reading is None:
                    return version_of(self._state, now=self._now())
                return session_version(self._state, reading.session_id, reading.project)

        return await self._watchers.serve(request, version)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """``/page/<name>``: style sheet, script, icon."""
        name = request.match_info["name"]
        # The address has a hash of the content, so it may be kept for ever.
        headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=content_of(name), content_type=TYPES[name], charset="utf-8", headers=headers)


def _asked(reading: Reading) -> dict[str, str]:
    asked = {"id": reading.session_id}
    return asked if reading.project is None else {**asked, "project": reading.project}


def _page(text: str, *, status: int = 200) -> web.Response:
    return web.Response(
        # An address may hold half a surrogate pair, which no encoding can write.
        body=text.encode(errors="replace"),
        status=status,
        content_type="text/html",
        charset="utf-8",
        headers={**HEADERS, "Cache-Control": "no-store"},
    )
