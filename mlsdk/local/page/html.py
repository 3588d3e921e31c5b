"""Makes HTML of which every part is escaped, because there is no way to put text in that is not. Pure.

Elements are nested calls instead of a template language: `python -m mlsdk.local` then needs nothing beyond the
distribution's own requirements, a type checker sees every view, and what a session's user typed cannot become markup
by a forgotten filter. Only `element` and the few constants of this package make `Markup`.
"""

from collections.abc import Iterable
from html import escape
from typing import Final

_VOID: Final = frozenset({"br", "hr", "input", "link", "meta", "rect", "line", "path", "circle"})
"""Elements that have no content; SVG's are written the way that HTML parsers take in SVG."""

_DOCTYPE: Final = "<!doctype html>\n"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
"""What may stand in an element: text, elements, any nesting of lists of them; None is nothing."""

Value = str | int | float | bool | None
"""Of an attribute; True is the bare name, False and None leave it out."""


def element(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """One element.

    Args:
        name: of the element.
        children: its content; text is escaped.
        attributes: ``_`` stands for ``-``, and one at the end is left out: ``class_="turn"``, ``data_key="1"``.
    """
    start = f"<{name}{''.join(_attribute(*each) for each in attributes.items())}>"
    if name in _VOID:
        return Markup(start if name in _HTML_VOID else f"{start[:-1]}/>")
    return Markup(f"{start}{_content(children)}</{name}>")


def join(*children: Child) -> Markup:
    """Elements and texts side by side."""
    return Markup(_content(children))


def document(head: Markup, body: Markup) -> str:
    """A whole page."""
    return _DOCTYPE + element("html", element("head", head), body, lang="en")


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    written = name.removesuffix("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(str(value))}"'


def _content(children: Iterable[Child]) -> str:
    parts: list[str] = []
    _gather(children, parts)
    return "".join(parts)


def _gather(children: Iterable[Child], parts: list[str]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child))
        else:
            _gather(child, parts)


_HTML_VOID: Final = frozenset({"br", "hr", "input", "link", "meta"})
