"""What is around every page."""

from __future__ import annotations

from mlsdk.local.page.layout import frame


def test_the_frame_names_nothing_outside_of_the_service() -> None:
    page = frame("<i>", title="<t>", version="1", changes="/page/changes")

    assert "<title>&lt;t&gt; · Local Mindlytics</title>" in page
    assert "&lt;i&gt;" in page
    assert "//" not in page.replace("<!doctype html>", "")
    assert "style=" not in page
    assert "onclick" not in page


def test_refused_requests_are_counted_on_every_page() -> None:
    def problems(refused: int) -> bool:
        return ">1,234</span>" in frame(None, title="", version="1", changes="/page/changes", refused=refused)

    assert (problems(0), problems(1234)) == (False, True)
