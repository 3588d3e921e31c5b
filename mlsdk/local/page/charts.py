"""Two small charts as inline SVG: turns per minute, tokens by model. Pure.

Numbers only go into attributes, and colours come from the style sheet, so that both themes fit.
"""

from collections.abc import Sequence
from typing import Final

from mlsdk.local.page.html import Markup, element
from mlsdk.local.page.overview import Bar
from mlsdk.local.page.parts import counted, number

_WIDTH: Final = 360
_HEIGHT: Final = 72
_GAP: Final = 1.5
_LEAST: Final = 2.0


def minutes_chart(minutes: Sequence[int]) -> Markup:
    """A bar for each minute, the present one at the right."""
    most, total = max(minutes), sum(minutes)
    step = _WIDTH / len(minutes)
    bars = [
        _minute_bar(count, position * step, step, most, before=len(minutes) - 1 - position)
        for position, count in enumerate(minutes)
    ]
    span = len(minutes)
    return element(
        "figure",
        element(
            "figcaption",
            element("span", "Turns per minute"),
            element("span", f"{number(total)} in {span} min, {number(most)} at most", class_="quiet"),
        ),
        element(
            "svg",
            bars,
            viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
            preserveAspectRatio="none",
            class_="minutes",
            role="img",
            aria_label=f"{counted(total, 'turn')} in the last {span} minutes, at most {number(most)} in one",
        ),
        element("p", element("span", f"{span} min ago"), element("span", "now"), class_="axis", aria_hidden="true"),
        class_="chart",
    )


def _minute_bar(count: int, left: float, step: float, most: int, *, before: int) -> Markup:
    height = max(_LEAST, _HEIGHT * count / most) if count else 1.0
    when = "this minute" if before == 0 else f"{before} min ago"
    return element(
        "g",
        element("title", f"{when}: {counted(count, 'turn')}"),
        element(
            "rect",
            x=f"{left + _GAP / 2:.2f}",
            y=f"{_HEIGHT - height:.2f}",
            width=f"{step - _GAP:.2f}",
            height=f"{height:.2f}",
            class_="some" if count else "none",
        ),
    )


def models_chart(bars: Sequence[Bar]) -> Markup:
    """A bar for each model: tokens in, then tokens out."""
    content: Markup
    if bars:
        most = max(bar.tokens for bar in bars)
        content = element("ul", (_model_bar(bar, most) for bar in bars), class_="models")
    else:
        content = element("p", "No usage reported yet.", class_="quiet")
    return element(
        "figure",
        element(
            "figcaption",
            element("span", "Tokens by model"),
            element(
                "span",
                element("i", class_="key in"),
                "in ",
                element("i", class_="key out"),
                "out",
                class_="quiet",
            ),
        ),
        content,
        class_="chart",
    )


def _model_bar(bar: Bar, most: int) -> Markup:
    taken = 100 * bar.prompt_tokens / most
    given = 100 * bar.completion_tokens / most
    told = f"{number(bar.prompt_tokens)} in, {number(bar.completion_tokens)} out"
    return element(
        "li",
        element("span", bar.model, class_="model", dir="auto"),
        element("span", number(bar.tokens), class_="count", title=told),
        element(
            "svg",
            element("title", f"{bar.model}: {told}"),
            element("rect", x=0, y=0, width=f"{taken:.2f}", height=6, class_="in"),
            element("rect", x=f"{taken:.2f}", y=0, width=f"{given:.2f}", height=6, class_="out"),
            viewBox="0 0 100 6",
            preserveAspectRatio="none",
            role="img",
        ),
        data_key=bar.model,
    )
