"""What is around every page: title, way home, state, keys, and the files that it refers to."""

from collections.abc import Mapping
from typing import Final

from mlsdk.local.page.html import Child, Markup, document, element, join
from mlsdk.local.page.parts import number
from mlsdk.local.page.static import SCRIPT, STYLE, address_of

TITLE: Final = "Local Mindlytics"

_SHORTCUTS: Final[Mapping[str, str]] = {
    "/": "search",
    "j": "next",
    "k": "previous",
    "Enter": "open",
    "n": "next page",
    "p": "previous page",
    "Esc": "back to the list",
    "t": "light, dark, or as the system has it",
    "?": "this help",
}


def frame(content: Child, *, title: str, version: str, changes: str, refused: int = 0) -> str:
    """A whole page.

    Args:
        content: of the main part.
        title: of the window.
        version: what the content was made of; another one means that there is something new.
        changes: the address that tells new versions.
        refused: requests that were not answered as asked.
    """
    head = join(
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · {TITLE}" if title else TITLE),
        element("link", rel="icon", href=address_of("icon.svg"), type="image/svg+xml"),
        element("link", rel="stylesheet", href=address_of(STYLE)),
        # Neither deferred nor at the end: it sets the colours before anything is painted.
        element("script", src=address_of(SCRIPT)),
    )
    body = join(
        element("a", "Skip to the content", class_="skip", href="#main"),
        _header(refused),
        element("main", content, id="main", tabindex=-1, data_version=version, data_changes=changes),
        _footer(),
        _help(),
    )
    return document(head, element("body", body))


def _header(refused: int) -> Markup:
    problems = element(
        "a",
        element("span", "Problems"),
        element("span", number(refused), class_="badge") if refused else None,
        href="/problems",
        class_="nav-problems" if refused else None,
        id="problems-link",
    )
    return element(
        "header",
        element("a", _logo(), element("span", TITLE), href="/", class_="brand", data_up=True),
        element(
            "nav",
            problems,
            element("span", "not live", class_="live", id="live", role="status"),
            element(
                "button", "Theme", type="button", id="theme", hidden=True, title="light, dark, or as the system (t)"
            ),
            element("button", "?", type="button", id="help-button", hidden=True, aria_label="keyboard help"),
            aria_label="Main",
        ),
        class_="top",
    )


def _footer() -> Markup:
    return element(
        "footer",
        "As JSON: ",
        (element("a", path, href=path) for path in ("/local/stats", "/local/sessions", "/local/events")),
    )


def _logo() -> Markup:
    bubble = (
        "M4 6.5A3.5 3.5 0 0 1 7.5 3h9A3.5 3.5 0 0 1 20 6.5v6a3.5 3.5 0 0 1-3.5 3.5H11l-5 4.5V16a2.5 2.5 0 0 1-2-2.5z"
    )
    return element(
        "svg",
        element("path", d=bubble),
        element("path", d="M8 10.5l2.2-2.5 2.3 3.4L14.6 8 16.5 10.5", class_="stroke"),
        viewBox="0 0 24 24",
        width=24,
        height=24,
        class_="logo",
        aria_hidden="true",
    )


def _help() -> Markup:
    rows = [(element("dt", element("kbd", key)), element("dd", what)) for key, what in _SHORTCUTS.items()]
    return element(
        "dialog",
        element("h2", "Keys"),
        element("dl", rows),
        element("form", element("button", "Close"), method="dialog"),
        id="help",
        aria_label="Keys",
    )
