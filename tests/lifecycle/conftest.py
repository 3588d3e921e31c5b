"""Every test here starts interpreters; each gets a local service of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlsdk.local import LocalMindlytics


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics.in_thread(port=0) as running:
        yield running
