"""By which names a service on this machine may be read."""

from __future__ import annotations

import pytest

from mlsdk.local.naming import is_own_name


@pytest.mark.parametrize(
    "asked",
    ["localhost", "localhost:3000", "LOCALHOST:3000", "127.0.0.1:3000", "127.8.8.8", "[::1]:3000", "app.localhost:1"],
)
def test_its_own_names(asked: str) -> None:
    assert is_own_name(asked, listening="127.0.0.1")
    assert is_own_name(asked, listening="::1")
    assert is_own_name(asked, listening="localhost")


@pytest.mark.parametrize(
    "asked",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.0.7",
        "",
        "[",
        ":3000",
    ],
)
def test_names_of_others(asked: str) -> None:
    assert not is_own_name(asked, listening="127.0.0.1")
    assert not is_own_name(asked, listening="localhost")


def test_a_service_for_others_has_any_name() -> None:
    assert is_own_name("shop.example", listening="0.0.0.0")
    assert is_own_name("shop.example", listening="192.168.0.7")


def test_the_name_that_was_given_is_its_own() -> None:
    assert is_own_name("devbox:3000", listening="devbox")


def test_who_names_nothing_is_no_browser() -> None:
    assert is_own_name(None, listening="127.0.0.1")
