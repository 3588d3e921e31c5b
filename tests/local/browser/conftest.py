"""A real browser in front of a running service.

Needs the dependency group `page` and a Chromium on this machine: where there is none the tests are skipped, or fail if
``BROWSER_TESTS=required``, which CI sets. Pictures go to the folder that ``SCREENSHOTS`` names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from mlsdk.local import LocalMindlytics

CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE: Final = 40_000
"""Milliseconds that a page may take to show what is waited for."""

expect.set_options(timeout=PATIENCE)


# Not for the whole session: as long as Playwright runs there is a running loop in this thread, and tests elsewhere that
# run one of their own would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if executable is None:
        reason = f"NO BROWSER: none of {', '.join(CHROMIUMS)} is on PATH, the page is NOT tested"
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=[*FLAGS], timeout=2 * PATIENCE)
        yield running
        running.close()


class Watched:
    """What the pages of a context asked for, and what they complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("dialog", self._refuse)

    def _hear(self, message: Any) -> None:
        # What Chromium says of answers that are errors, and of a service that is away, is meant to be so.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def _refuse(self, dialog: Any) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, service: LocalMindlytics) -> Iterator[OpenPage]:
    """``open_page(address, **options of the context)``: a page, live unless scripts are off.

    In the end no page may have asked anybody but the service, nor have had anything to complain of.
    """
    contexts: list[tuple[BrowserContext, Watched]] = []

    def open_page(address: str = "/", *, url: str | None = None, **options: Any) -> Page:
        settings: dict[str, Any] = {
            "viewport": {"width": 1280, "height": 860},
            "locale": "en-GB",
            "timezone_id": "Europe/Berlin",
            "color_scheme": "light",
            "reduced_motion": "reduce",
            **options,
        }
        context = browser.new_context(**settings)
        context.set_default_timeout(PATIENCE)
        contexts.append((context, Watched(context)))
        page = context.new_page()
        page.goto((url or service.url) + address)
        if settings.get("java_script_enabled", True):
            wait_until_live(page)
        return page

    yield open_page
    for context, _ in contexts:
        context.close()
    for _, watched in contexts:
        assert watched.complaints == []
        assert [asked for asked in watched.requests if not asked.startswith("http://127.0.0.1:")] == []


def wait_until_live(page: Page) -> None:
    page.locator("#live.on").wait_for()


Keep = Callable[[Page, str], None]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """``keep(page, name)`` takes a picture for people to look at."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)

    def keep(page: Page, name: str, *, full: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.png"
        page.screenshot(path=file, full_page=full)
        print(f"picture: {file}")

    return keep
