"""Addresses, there and back."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from mlsdk.local.page.query import Listing, Reading, event_address, session_address

WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30).map(str.strip)


def parameters(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query, strict_parsing=False).items()}


@given(WORDS, WORDS, WORDS, WORDS, st.integers(1, 10**9 - 1))
def test_an_address_of_the_list_is_read_as_it_was_written(
    text: str, user: str, session: str, project: str, page: int
) -> None:
    listing = Listing(text, user, session, project, page)

    assert Listing.of(parameters(listing.address())) == listing
    assert Listing.of(parameters(listing.address(page=2))).page == 2
    assert listing.is_filtered == bool(text or user or session or project)


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1), st.integers(1, 10**9 - 1))
def test_any_id_of_a_session_comes_through(session_id: str, number: int) -> None:
    asked = Reading.of(parameters(session_address("p", session_id, page=number)))
    assert asked == Reading(session_id, "p", page=number)
    asked = Reading.of(parameters(event_address("p", session_id, number)))
    assert asked == Reading(session_id, "p", event=number)


def test_addresses_are_short_and_stay_where_they_are() -> None:
    assert Listing().address() == "/"
    assert session_address("shop", "../..?#") == "/session?project=shop&id=..%2F..%3F%23"
    assert event_address("shop", "s", 7) == "/session?project=shop&id=s&event=7#event-7"


def test_nonsense_is_left_out() -> None:
    for nonsense in ("", "0", "-1", "x", "²", "1" * 10, "1.5"):
        assert Listing.of({"page": nonsense}).page == 1
        assert Reading.of({"id": "s", "event": nonsense}).event == 0
    assert len(Listing.of({"text": "x" * 10_000}).text) == 500


def test_half_a_character_in_an_address_does_no_harm() -> None:
    assert session_address("p", "\ud800") == "/session?project=p&id=%3F"
