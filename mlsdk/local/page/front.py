"""The overview as HTML: sums, charts, the filter, the list. Pure."""

from mlsdk.local.page.charts import minutes_chart, models_chart
from mlsdk.local.page.html import Child, Markup, element, join
from mlsdk.local.page.overview import Overview, Row
from mlsdk.local.page.parts import avatar, clock_time, counted, number, pager, status
from mlsdk.local.page.query import Listing, session_address


def front_page(shown: Overview, *, address: str) -> Markup:
    """The content of the first page; ``address`` is where clients send to."""
    if not shown.totals.sessions:
        return _nothing_yet(address)
    return join(
        element("h1", "Sessions", class_="unseen"),
        element(
            "section",
            _sums(shown),
            element("div", minutes_chart(shown.minutes), models_chart(shown.bars), class_="charts"),
            class_="summary",
            aria_label="Totals",
        ),
        _filter(shown),
        _list(shown),
    )


def _nothing_yet(address: str) -> Markup:
    settings = f"export MLSDK_API_KEY=any MLSDK_PROJECT_ID=shop\nexport MLSDK_SERVER_BASE={address}"
    return element(
        "section",
        element("h1", "Nothing has arrived yet"),
        element("p", "Set these where your program runs, and start it. Its sessions show up here by themselves."),
        element("pre", element("code", settings)),
        class_="empty",
    )


def _sums(shown: Overview) -> Markup:
    totals = shown.totals
    is_open = f"{number(totals.open_sessions)} open" if totals.open_sessions else None
    sums: list[tuple[str, float, str | None]] = [
        ("Sessions", totals.sessions, is_open),
        ("Conversations", totals.conversations, None),
        ("Turns", totals.turns, None),
        ("Function calls", totals.functions, None),
        ("Tokens", sum(bar.tokens for bar in shown.bars), None),
    ]
    if shown.cost:
        sums.append(("Cost", shown.cost, None))
    if totals.errors:
        sums.append(("Errors", totals.errors, None))
    return element(
        "dl",
        (
            element(
                "div",
                element("dt", name),
                element("dd", number(count), element("small", note) if note else None),
                class_="sum wrong" if name == "Errors" else "sum",
            )
            for name, count, note in sums
        ),
        class_="sums",
    )


def _filter(shown: Overview) -> Markup:
    listing = shown.listing
    return element(
        "form",
        _field("text", "Text", listing.text, "what was said", id="search"),
        _field("user", "User", listing.user, "user or device"),
        _field("session", "Session", listing.session, "session id"),
        _project(shown) if len(shown.projects) > 1 or listing.project else None,
        element("button", "Filter", type="submit"),
        element("a", "Clear", href="/", class_="clear") if listing.is_filtered else None,
        action="/",
        method="get",
        role="search",
        class_="filter",
    )


def _field(name: str, label: str, value: str, hint: str, *, id: str | None = None) -> Markup:
    return element(
        "label",
        element("span", label),
        element(
            "input",
            type="search",
            name=name,
            value=value,
            placeholder=hint,
            id=id,
            autocomplete="off",
            spellcheck="false",
        ),
    )


def _project(shown: Overview) -> Markup:
    chosen = shown.listing.project
    names = [*shown.projects, *([chosen] if chosen and chosen not in shown.projects else [])]
    return element(
        "label",
        element("span", "Project"),
        element(
            "select",
            element("option", "all", value=""),
            (element("option", name, value=name, selected=name == chosen) for name in names),
            name="project",
        ),
    )


def _list(shown: Overview) -> Child:
    listing = shown.listing
    told = (
        f"{counted(shown.found, 'session')} of {number(shown.totals.sessions)}"
        if listing.is_filtered
        else counted(shown.found, "session")
    )
    if not shown.rows:
        found: Markup = element(
            "p", "No session fits. ", element("a", "Show all", href="/"), class_="empty-list", role="status"
        )
    else:
        several = len(shown.projects) > 1
        found = element("ul", (_row(row, with_project=several) for row in shown.rows), class_="sessions", id="sessions")
    return (
        element("p", told, class_="found", role="status"),
        found,
        pager(
            listing.page,
            shown.pages,
            previous=listing.address(listing.page - 1),
            following=listing.address(listing.page + 1),
            what="Pages of the list",
        ),
    )


def _row(row: Row, *, with_project: bool) -> Markup:
    name = row.user or "nobody known"
    counts = [counted(row.turns, "turn")]
    if row.conversations != 1:
        counts.insert(0, counted(row.conversations, "conversation"))
    if row.functions:
        counts.append(counted(row.functions, "function call"))
    if row.tokens:
        counts.append(counted(row.tokens, "token"))
    if row.cost:
        counts.append(f"cost {number(row.cost)}")
    return element(
        "li",
        element(
            "a",
            avatar(name),
            element(
                "span",
                element("span", name, class_="who", dir="auto"),
                element(
                    "span",
                    row.opening or "no turn yet",
                    class_="opening" if row.opening else "opening quiet",
                    dir="auto",
                ),
                class_="what",
            ),
            element(
                "span",
                element("span", status(row.is_open), _errors(row.errors), clock_time(row.started_at), class_="when"),
                element("span", " · ".join(counts), class_="counts"),
                class_="side",
            ),
            element(
                "span",
                element("span", row.project, class_="project", dir="auto") if with_project else None,
                element("code", row.session_id, dir="auto"),
                class_="ids",
            ),
            href=session_address(row.project, row.session_id),
            class_="row",
            data_row=True,
        ),
        data_key=f"{row.project} {row.session_id}",
    )


def _errors(errors: int) -> Markup | None:
    return element("span", counted(errors, "error"), class_="badge wrong") if errors else None


def listing_title(listing: Listing) -> str:
    """What the window is called."""
    asked = [part for part in (listing.text, listing.user, listing.session, listing.project) if part]
    return f"{', '.join(asked)} · Sessions" if asked else "Sessions"
