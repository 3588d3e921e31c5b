"""The records: many are held at once, so they have to be small."""

from __future__ import annotations

import dataclasses

import pytest

from mlsdk.local import records


@pytest.mark.parametrize(
    "kind", [records.Received, records.Generated, records.User, records.Conversation, records.Session]
)
def test_records_carry_no_dict_and_compare_by_identity(kind: type) -> None:
    names = {field.name for field in dataclasses.fields(kind)}

    assert set(kind.__slots__) == names  # type: ignore[attr-defined]
    assert kind.__eq__ is object.__eq__
