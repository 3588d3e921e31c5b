"""Open pages hear of changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from support.wire import turn

from mlsdk.local import LocalMindlytics

Watch = Callable[[str], Any]
Post = Callable[..., int]


def test_the_version_comes_at_once_and_after_a_change(watch: Watch, post: Post) -> None:
    stream = watch("/page/changes?id=s")
    assert stream.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.response.headers["Cache-Control"] == "no-store"
    first = stream.next()
    post(turn())
    assert stream.next() not in (first, None)


def test_a_page_of_one_session_does_not_hear_of_others(watch: Watch, post: Post) -> None:
    mine, all_of_them = watch("/page/changes?id=mine&project=app"), watch("/page/changes")
    empty = mine.next()
    all_of_them.next()
    post(turn(session_id="other"))
    assert all_of_them.next() is not None  # by then the change has been told to whom it concerns
    post(turn(session_id="mine"), project="other")
    assert all_of_them.next() is not None
    post(turn(session_id="mine"))
    assert mine.next() == empty.replace("-0-", "-1-")


def test_many_changes_at_once_are_told_few_times_and_the_last_is_among_them(
    service: LocalMindlytics, watch: Watch, post: Post
) -> None:
    stream = watch("/page/changes?id=s")
    stream.next()
    for _ in range(50):
        post(turn())
    told = []
    while not told or "-50-" not in told[-1]:
        told.append(stream.next())

    assert service.received == 50
    assert len(told) < 50


def test_refusals_and_a_new_beginning_are_told(service: LocalMindlytics, watch: Watch, post: Post) -> None:
    stream = watch("/page/changes")
    versions = [stream.next()]
    assert post({"type": "nonsense"}) == 400
    versions.append(stream.next())
    service.clear()
    versions.append(stream.next())

    assert len(set(versions)) == 3


def test_the_service_stops_while_pages_are_open(service: LocalMindlytics, watch: Watch) -> None:
    stream = watch("/page/changes")
    assert stream.next() is not None
    service.stop()
    assert stream.next() is None


def test_a_page_that_was_closed_is_forgotten(service: LocalMindlytics, watch: Watch, post: Post) -> None:
    stream = watch("/page/changes")
    stream.next()
    watchers = service._service.watchers
    assert len(watchers) == 1
    stream.close()

    end = time.monotonic() + 20
    while len(watchers):
        assert time.monotonic() < end
        post(turn())
