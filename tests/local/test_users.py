"""Who is who."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.local.records import User
from mlsdk.local.users import UnknownUserError, Users, known_as, user_record

AT = "2025-01-01T00:00:00Z"


def identify(
    users: Users, id: str | None = None, device_id: str | None = None, app_id: str = "app", **traits: str
) -> User:
    return users.identify(app_id, id=id, device_id=device_id, traits=dict(traits), at=AT)


def test_traits_are_merged_and_what_was_given_out_stays() -> None:
    users = Users()
    user = identify(users, "jj", name="JJ", city="Oslo")
    before = user.traits

    assert identify(users, "jj", city="Rome") is user
    assert user.traits == {"name": "JJ", "city": "Rome"}
    assert before == {"name": "JJ", "city": "Oslo"}


def test_whoever_used_the_device_unnamed_is_the_one_who_is_named() -> None:
    users = Users()
    anonymous = identify(users, device_id="phone")
    assert known_as(anonymous) == "phone"

    named = identify(users, "jj", "phone")

    assert named is anonymous
    assert known_as(named) == "jj"
    assert len(users) == 1


def test_a_named_users_device_can_become_anothers() -> None:
    users = Users()
    first, second = identify(users, "a", "tablet"), identify(users, "b", "tablet")

    assert first is not second
    assert (first.device_ids, second.device_ids) == ([], ["tablet"])
    assert users.find("app", device_id="tablet") is second


def test_projects_do_not_share_users() -> None:
    users = Users()

    assert identify(users, "jj") is not identify(users, "jj", app_id="other")
    assert len(users) == 2


def test_an_alias_renames_and_both_names_find_the_user() -> None:
    users = Users()
    user = identify(users, "jj@mail.example", vip="yes")

    assert users.alias("app", id="jj", previous_id="jj@mail.example") is user
    assert users.find("app", id="jj") is users.find("app", id="jj@mail.example") is user
    assert user_record(user, organization_id="local") == {
        "organization_id": "local",
        "app_id": "app",
        "user_id": "user_1",
        "id": "jj",
        "aliases": ["jj@mail.example"],
        "created_at": AT,
        "traits": {"vip": "yes"},
    }


def test_a_resent_alias_changes_nothing() -> None:
    users = Users()
    user = identify(users, "old")
    for _ in range(2):
        users.alias("app", id="new", previous_id="old")

    assert (user.id, user.aliases) == ("new", ["old"])


def test_a_user_can_be_renamed_back() -> None:
    users = Users()
    user = identify(users, "a")
    users.alias("app", id="b", previous_id="a")
    users.alias("app", id="a", previous_id="b")

    assert (user.id, user.aliases) == ("a", ["b"])


def test_a_device_can_be_given_a_name_by_alias() -> None:
    users = Users()
    user = identify(users, device_id="phone")

    assert users.alias("app", id="jj", previous_id="phone") is user
    assert user.id == "jj"


def test_two_users_become_one() -> None:
    users = Users()
    kept, other = identify(users, "a", "phone", name="A"), identify(users, "b", "laptop", name="B")

    assert users.alias("app", id="b", previous_id="a") is kept
    assert (kept.id, kept.aliases, kept.device_ids) == ("b", ["a"], ["phone", "laptop"])
    assert kept.traits == {"name": "B"}
    assert other.device_ids == []
    assert len(users) == 1


def test_an_alias_of_nobody_is_refused() -> None:
    with pytest.raises(UnknownUserError, match="No user found for previous_id: nobody"):
        Users().alias("app", id="somebody", previous_id="nobody")


NAMES = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("identify"), st.none() | NAMES, st.none() | NAMES).filter(lambda step: step[1:] != (None, None)),
    st.tuples(st.just("alias"), NAMES, NAMES),
)


@given(st.lists(STEPS, max_size=20))
def test_every_name_and_device_leads_to_the_one_user_who_has_it(
    steps: list[tuple[str, str | None, str | None]],
) -> None:
    users = Users()
    seen: set[int] = set()
    for what, first, second in steps:
        if what == "identify":
            user = identify(users, first, second and f"device-{second}")
        else:
            assert first is not None
            assert second is not None
            try:
                user = users.alias("app", id=first, previous_id=second)
            except UnknownUserError:
                assert users.find("app", id=second) is None
                continue
            assert user.id == first
            assert users.find("app", id=second) is user
        seen.add(id(user))
        for name in [user.id, *user.aliases]:
            assert name is None or users.find("app", id=name) is user
        for device_id in user.device_ids:
            assert users.find("app", device_id=device_id) is user
        assert user.id not in user.aliases
        assert len(set(user.aliases)) == len(user.aliases)
        assert len(set(user.device_ids)) == len(user.device_ids)
    assert len(users) <= len(seen)
