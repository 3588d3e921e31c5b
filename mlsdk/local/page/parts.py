"""What pages are put together from: how times, numbers, names and plain values are written. Pure."""

from datetime import timezone

from mlsdk.local.page.html import Markup, element
from mlsdk.local.records import Values
from mlsdk.models import parse_timestamp


def number(value: float) -> str:
    """A count, or a cost with as many digits as tell something."""
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}" if value >= 100 else f"{value:,.4g}" if value >= 0.0001 else f"{value:.2g}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where that is due."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def clock_time(timestamp: str, *, day: bool = True) -> Markup:
    """A time in UTC, to the second; the browser writes it in its own time zone."""
    instant = parse_timestamp(timestamp).astimezone(timezone.utc)
    shown = instant.strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M:%S")
    return element("time", f"{shown} UTC", datetime=timestamp, title=timestamp, data_day=day or None)


def duration(seconds: float) -> str:
    """A length of time in the two largest units."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 and seconds != whole else f"{whole} s"
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size:,} {unit} {rest} {small}" if rest else f"{whole // size:,} {unit}"
    raise AssertionError("no length falls through")


def chips(values: Values) -> Markup | None:
    """Names and values that an app sent along."""
    if not values:
        return None
    return element(
        "ul",
        (
            element("li", element("b", name), element("span", plain(value), dir="auto"), class_="chip")
            for name, value in values.items()
        ),
        class_="chips",
    )


def plain(value: object) -> str:
    """A plain value as it was sent."""
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def avatar(name: str) -> Markup:
    """A letter in a colour that is always the same for the same name."""
    letter = next((character.upper() for character in name if character.isalnum()), "?")[:1]
    return element("span", letter, class_=f"avatar hue-{sum(name.encode(errors='replace')) % 8}", aria_hidden="true")


def status(is_open: bool) -> Markup:
    """Whether more is to be expected."""
    return element("span", "open" if is_open else "ended", class_="status open" if is_open else "status")


def pager(page: int, pages: int, *, previous: str, following: str, what: str) -> Markup | None:
    """Links to the pages before and after."""
    if pages <= 1:
        return None
    return element(
        "nav",
        element("a", "← Previous", href=previous, rel="prev") if page > 1 else element("span", "← Previous"),
        element("span", f"Page {number(page)} of {number(pages)}", class_="where"),
        element("a", "Next →", href=following, rel="next") if page < pages else element("span", "Next →"),
        class_="pager",
        aria_label=what,
    )
