"""A session as HTML: who and how much at the side, what was said in the middle. Pure."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, urlencode

from mlsdk.local.page.html import Child, Markup, element, join
from mlsdk.local.page.parts import (
    avatar,
    chips,
    clock_time,
    counted,
    duration,
    number,
    pager,
    plain,
    status,
)
from mlsdk.local.page.query import Listing, event_address, session_address
from mlsdk.local.page.timeline import CUSTOM, FUNCTION, TURN, USAGE, Item, Section, SessionPage, Spent, Text
from mlsdk.local.records import Values
from mlsdk.local.views import UserView

_SUMMARY: Final = 90
"""Characters of a call's arguments that are seen while it is folded."""


def transcript_page(shown: SessionPage) -> Markup:
    """The content of a session's page."""
    name = who(shown)
    return join(
        element("p", element("a", "← All sessions", href="/", data_up=True), class_="up"),
        element(
            "div",
            avatar(name),
            element("h1", name, dir="auto"),
            status(shown.is_open),
            element("span", counted(shown.errors, "error"), class_="badge wrong") if shown.errors else None,
            class_="title",
        ),
        element(
            "div",
            element(
                "div",
                (_section(shown, section) for section in shown.sections),
                pager(
                    shown.page,
                    shown.pages,
                    previous=session_address(shown.project, shown.session_id, shown.page - 1),
                    following=session_address(shown.project, shown.session_id, shown.page + 1),
                    what="Pages of the session",
                ),
                class_="timeline",
            ),
            _side(shown),
            class_="columns",
        ),
    )


def missing_page(session_id: str) -> Markup:
    """The content of the page of a session that is not known."""
    return element(
        "section",
        element("h1", "No such session"),
        element("p", "Nothing has arrived of ", element("code", session_id, dir="auto"), " so far."),
        element("p", element("a", "All sessions", href="/", data_up=True)),
        class_="empty",
    )


def who(shown: SessionPage) -> str:
    """What to call the session's user."""
    if shown.user is None:
        return "nobody known"
    return shown.user.id or next(iter(shown.user.device_ids), shown.user.user_id)


# --- the side --------------------------------------------------------------------------------------------------------


def _side(shown: SessionPage) -> Markup:
    return element(
        "aside",
        _sums(shown),
        element("h2", "Session"),
        _facts(
            ("id", element("code", shown.session_id, dir="auto")),
            ("project", element("a", shown.project, href=Listing(project=shown.project).address(), dir="auto")),
            ("started", clock_time(shown.started_at)),
            ("ended", clock_time(shown.ended_at) if shown.ended_at is not None else "not yet"),
            ("took", duration(shown.seconds)),
        ),
        _values("Attributes", shown.attributes),
        _user(shown.user) if shown.user is not None else None,
        _models(shown),
        element("p", element("a", "As JSON", href=_json_address(shown))),
        aria_label="About this session",
    )


def _sums(shown: SessionPage) -> Markup:
    sums = [
        ("Turns", shown.turns),
        ("Conversations", shown.conversations),
        ("Function calls", shown.functions),
        ("Tokens in", shown.prompt_tokens),
        ("Tokens out", shown.completion_tokens),
        ("Cost", shown.cost),
    ]
    return element(
        "dl",
        (element("div", element("dt", name), element("dd", number(value)), class_="sum") for name, value in sums),
        class_="sums small",
    )


def _user(user: UserView) -> Child:
    name = user.id or next(iter(user.device_ids), None)
    return (
        element("h2", "User"),
        _facts(
            ("id", element("span", user.id, dir="auto") if user.id is not None else "not identified"),
            ("also", _list(user.aliases) if user.aliases else None),
            ("devices", _list(user.device_ids) if user.device_ids else None),
            ("", element("a", "all sessions", href=Listing(user=name).address()) if name else None),
        ),
        _values("Traits", user.traits),
    )


def _models(shown: SessionPage) -> Child:
    if not shown.models:
        return None
    rows = (
        (
            element("dt", model, dir="auto"),
            element("dd", f"{number(usage.prompt_tokens)} in, {number(usage.completion_tokens)} out"),
        )
        for model, usage in shown.models
    )
    return (element("h2", "Models"), element("dl", rows, class_="facts stacked"))


def _facts(*facts: tuple[str, Child]) -> Markup:
    return element(
        "dl",
        ((element("dt", name, dir="auto"), element("dd", value)) for name, value in facts if value is not None),
        class_="facts",
    )


def _values(title: str, values: Values) -> Child:
    if not values:
        return None
    return (
        element("h2", title),
        _facts(*((name, element("span", plain(value), dir="auto")) for name, value in values.items())),
    )


def _list(names: Iterable[str]) -> Markup:
    return element("ul", (element("li", element("code", name, dir="auto")) for name in names))


def _json_address(shown: SessionPage) -> str:
    return f"/local/sessions/{quote(shown.session_id, safe='')}?{urlencode({'app_id': shown.project})}"


# --- the timeline ----------------------------------------------------------------------------------------------------


def _section(shown: SessionPage, section: Section) -> Markup:
    items = element("ol", (_item(shown, item) for item in section.items), class_="items")
    if section.conversation_id is None:
        return element("section", items, class_="apart", data_key=f"apart-{section.items[0].number}")
    name = f"conversation-{section.number}"
    counts = [counted(section.turns, "turn")]
    if section.functions:
        counts.append(counted(section.functions, "function call"))
    counts += _spent(section.spent)
    return element(
        "section",
        element(
            "header",
            element(
                "h2",
                element("a", f"Conversation {section.number}", href=f"#{name}"),
                " (continued)" if section.is_continued else None,
            ),
            status(section.is_open),
            element("code", section.conversation_id, dir="auto"),
            element("span", " · ".join(counts), class_="counts"),
            chips(section.properties) if section.is_continued else None,
        ),
        items,
        class_="conversation",
        id=name,
        data_key=name,
    )


def _item(shown: SessionPage, item: Item) -> Markup:
    make = {TURN: _turn, FUNCTION: _function, USAGE: _usage, CUSTOM: _custom}.get(item.kind, _mark)
    link = element(
        "a",
        clock_time(item.at, day=False),
        href=event_address(shown.project, shown.session_id, item.number),
        class_="permalink",
    )
    return element(
        "li",
        make(item, link),
        id=f"event-{item.number}",
        class_=f"{item.kind} wrong" if item.error is not None else item.kind,
        data_key=str(item.number),
    )


def _turn(item: Item, link: Markup) -> Child:
    spent = _spent(item.spent)
    return (
        element("div", _text(item.said), class_="bubble user", dir="auto", aria_label="User", role="group"),
        element("div", _text(item.answer), class_="bubble assistant", dir="auto", aria_label="Assistant", role="group"),
        element(
            "p",
            element("span", item.assistant_id, class_="assistant-id", dir="auto") if item.assistant_id else None,
            element("span", " · ".join(spent)) if spent else None,
            link,
            class_="about",
        ),
        chips(item.values),
    )


def _function(item: Item, link: Markup) -> Child:
    folded = " ".join(item.said.shown[: 4 * _SUMMARY].split()) if item.said is not None else ""
    return (
        element(
            "details",
            element(
                "summary",
                element("span", "ƒ", class_="sign", aria_hidden="true"),
                element("b", item.title, dir="auto"),
                element(
                    "code", folded[:_SUMMARY], "…" if len(folded) > _SUMMARY else None, class_="folded", dir="auto"
                ),
                element("span", f"{number(item.runtime)} ms", class_="runtime") if item.runtime is not None else None,
                link,
            ),
            _block("Arguments", item.said),
            _block("Result", item.answer),
            chips(item.values),
        ),
    )


def _block(title: str, text: Text | None) -> Child:
    if text is None:
        return element("p", f"No {title.lower()}.", class_="quiet")
    return (element("h3", title), element("pre", element("code", _text(text), dir="auto")))


def _usage(item: Item, link: Markup) -> Child:
    return element("p", element("span", "Usage"), element("span", " · ".join(_spent(item.spent))), link, class_="line")


def _custom(item: Item, link: Markup) -> Child:
    return (
        element(
            "p",
            element("span", "◆", class_="sign", aria_hidden="true"),
            element("b", item.title, dir="auto"),
            link,
            class_="line",
        ),
        chips(item.values),
    )


def _mark(item: Item, link: Markup) -> Child:
    return (
        element("p", element("span", item.title, dir="auto"), link, class_="line"),
        element("p", item.error, class_="error", role="note") if item.error is not None else None,
        chips(item.values),
    )


def _text(text: Text | None) -> Child:
    if text is None:
        return None
    if not text.more:
        return text.shown
    return (text.shown, element("span", f"… {number(text.more)} more characters, see the JSON", class_="quiet more"))


def _spent(spent: Spent) -> list[str]:
    told = [spent.model] if spent.model else []
    if spent.prompt_tokens is not None or spent.completion_tokens is not None:
        told.append(f"{_or_dash(spent.prompt_tokens)} in, {_or_dash(spent.completion_tokens)} out")
    if spent.cost is not None:
        told.append(f"cost {number(spent.cost)}")
    return told


def _or_dash(count: int | None) -> str:
    return number(count) if count is not None else "?"
