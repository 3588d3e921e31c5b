"""The error tree: what an application may catch, and what an error says."""

from __future__ import annotations

import pickle

import pytest

from mlsdk import (
    ConfigurationError,
    DeliveryError,
    InvalidEventError,
    LiveError,
    MindlyticsError,
    SessionClosedError,
)


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (ConfigurationError("m"), (ValueError,)),
        (InvalidEventError("a", "m"), (ValueError,)),
        (SessionClosedError("m"), (RuntimeError,)),
        (DeliveryError("m"), ()),
        (LiveError("m"), ()),
    ],
)
def test_each_error_is_ours_and_the_kind_that_python_has_for_it(
    error: MindlyticsError, kinds: tuple[type[Exception], ...]
) -> None:
    assert isinstance(error, (MindlyticsError, *kinds))
    for kind in kinds:
        assert isinstance(error, kind)
    assert str(error) == error.message
    assert error.status == -1


def test_an_invalid_event_names_its_argument() -> None:
    error = InvalidEventError("device_id", "is missing")

    assert (error.argument, error.message) == ("device_id", "device_id: is missing")


def test_a_delivery_error_knows_its_status_and_whether_there_is_hope() -> None:
    error = DeliveryError("busy", status=503, retryable=True)

    assert (error.message, error.status, error.retryable) == ("busy", 503, True)
    assert DeliveryError("gone").retryable is False


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("m"),
        InvalidEventError("device_id", "is missing"),
        DeliveryError("busy", status=503, retryable=True),
        LiveError("m", status=403),
    ],
)
def test_an_error_survives_the_way_to_another_process(error: MindlyticsError) -> None:
    """Worker pools pickle what a job raises."""
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert (again.args, vars(again)) == (error.args, vars(error))
    assert str(again) == str(error)
