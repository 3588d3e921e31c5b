"""A local service for the tests of a module, and a process that they leave as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlsdk.local import LocalMindlytics
from mlsdk_otel.instrumentation.patching import patches


@pytest.fixture(scope="module")
def shared_service() -> Iterator[LocalMindlytics]:
    """For tests that use sessions of their own."""
    with LocalMindlytics.in_thread(port=0) as running:
        yield running


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    """For tests that plan faults."""
    with LocalMindlytics.in_thread(port=0) as running:
        yield running


@pytest.fixture(autouse=True)
def plain_sdk() -> Iterator[None]:
    """Sessions make no spans when a test begins, nor when it has ended."""
    patches.take_off()
    yield
    patches.take_off()
