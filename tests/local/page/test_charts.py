"""The charts as SVG that a browser can draw and a reader can be told."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from mlsdk.local.page.charts import minutes_chart, models_chart
from mlsdk.local.page.overview import Bar


def rectangles(chart: str) -> list[dict[str, float]]:
    return [
        {name: float(each.attrib[name]) for name in ("x", "y", "width", "height")}
        for each in ElementTree.fromstring(chart).iter("rect")
    ]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=90))
def test_the_bars_of_minutes_stay_inside_and_grow_with_their_counts(minutes: list[int]) -> None:
    bars = rectangles(minutes_chart(minutes))

    assert len(bars) == len(minutes)
    for bar in bars:
        assert 0 <= bar["x"] <= bar["x"] + bar["width"] <= 360
        assert bar["y"] >= 0
        assert bar["y"] + bar["height"] <= 72.01
    heights = [bar["height"] for bar in bars]
    assert [height for _, height in sorted(zip(minutes, heights, strict=True))] == sorted(heights)


def test_the_chart_of_minutes_says_what_it_shows() -> None:
    chart = minutes_chart([0, 3, 1])
    assert 'aria-label="4 turns in the last 3 minutes, at most 3 in one"' in chart
    assert "<title>1 min ago: 3 turns</title>" in chart
    assert "<title>this minute: 1 turn</title>" in chart


@given(
    st.lists(
        st.builds(Bar, st.text(max_size=5), st.integers(0, 10**9), st.integers(1, 10**9), st.just(0.0)), max_size=7
    )
)
def test_the_bars_of_models_fill_at_most_the_width(shown: list[Bar]) -> None:
    chart = models_chart(shown).replace("\0", "").replace("data-key", "key")
    widths = [float(part.split('"')[0]) for part in chart.split('width="')[1:]]

    assert len(widths) == 2 * len(shown)
    assert all(-0.01 <= taken + given <= 100.02 for taken, given in zip(widths[::2], widths[1::2], strict=True))


def test_a_model_may_be_called_anything() -> None:
    chart = models_chart([Bar("<b>&\"'", 1, 2, 0.0)])
    texts = [each.text for each in ElementTree.fromstring(chart).iter() if each.text]

    assert "<b>&\"'" in texts
    assert "<b>&\"': 1 in, 2 out" in texts


def test_without_usage_it_says_so() -> None:
    assert "No usage reported yet." in models_chart([])
