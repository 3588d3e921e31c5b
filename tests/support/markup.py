"""HTML as a parser sees it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

HOSTILE: Final = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "javascript:alert(1)",
    "</title></textarea></script><script>alert(1)</script>",
    "&lt;b&gt; &#60;i&#62;",
    "`${alert(1)}` {{ 7 * 7 }} <%= 7 %>",
    "\u202eright to left\u2066",
    "<!-- --><!doctype html><base href=//evil.example>",
]
"""Texts that want to be more than texts."""


class Parsed(HTMLParser):
    """The elements with their attributes, and the text of them all."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.elements}

    def values(self, attribute: str) -> list[str]:
        return [found for _, attributes in self.elements if (found := attributes.get(attribute)) is not None]


def problems_of(markup: str, *, scripts: int = 0) -> list[str]:
    """What a page has that it must not have, however its texts tried."""
    parsed = Parsed(markup)
    problems = [f"<{name}>" for name in sorted(parsed.names & {"img", "iframe", "base", "object", "embed", "style"})]
    if sum(name == "script" for name, _ in parsed.elements) != scripts:
        problems.append("<script>")
    if parsed.comments:
        problems.append("a comment")
    for name, attributes in parsed.elements:
        problems += [
            f"{name}: {attribute}" for attribute in attributes if attribute.startswith("on") or attribute == "style"
        ]
        for attribute in ("href", "src", "action", "data-changes"):
            address = attributes.get(attribute)
            if address is not None and (address[:1] not in ("/", "#") or address.startswith("//")):
                problems.append(f"{name}: {attribute}={address}")
    return problems
