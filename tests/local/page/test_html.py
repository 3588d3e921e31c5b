"""Nothing but elements can become markup."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from mlsdk.local.page.html import Markup, document, element, join

# Browsers replace a NUL and read a carriage return as a line feed; neither matters here.
TEXTS = st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=["Cs"]))


class Read(HTMLParser):
    """What a parser sees: elements with their attributes, and all text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("no comment was written")


def test_text_is_escaped_and_elements_are_not() -> None:
    assert element("p", "a < b & c", element("b", "'\"")) == "<p>a &lt; b &amp; c<b>&#x27;&quot;</b></p>"


def test_attributes() -> None:
    made = element("input", class_="x", data_key='"', hidden=True, checked=False, title=None, tabindex=-1, name="n")
    assert made == '<input class="x" data-key="&quot;" hidden tabindex="-1" name="n">'


def test_children_may_be_nested_missing_or_generated() -> None:
    assert element("ul", (element("li", word) for word in "ab"), None, [["c"]]) == "<ul><li>a</li><li>b</li>c</ul>"
    assert join("<", Markup("<br>"), None) == "&lt;<br>"
    assert element("rect", x=1) == '<rect x="1"/>'


def test_a_document_has_a_type() -> None:
    assert document(element("title", "t"), element("body")).startswith('<!doctype html>\n<html lang="en"><head><title>')


@given(TEXTS, TEXTS)
def test_any_text_comes_through_as_that_text(text: str, value: str) -> None:
    read = Read(element("p", text, element("b", title=value), text))

    assert read.elements == [("p", {}), ("b", {"title": value})]
    assert read.text == text * 2


@given(TEXTS)
def test_pieces_of_text_never_lose_their_escape(text: str) -> None:
    """What is put together from markup and text is text, so it is escaped again rather than trusted."""
    mixed = element("b") + text
    assert type(mixed) is str
    assert Read(element("p", mixed)).elements == [("p", {})]
