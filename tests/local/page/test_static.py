"""The files that the pages refer to."""

from __future__ import annotations

import re

import pytest

from mlsdk.local.page.static import TYPES, address_of, content_of


@pytest.mark.parametrize("name", TYPES)
def test_each_file_is_there_and_refers_to_nothing_outside(name: str) -> None:
    text = content_of(name).decode()

    assert text.strip()
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", text) == []


def test_another_content_has_another_address() -> None:
    addresses = {address_of(name) for name in TYPES}

    assert len(addresses) == len(TYPES)
    assert all(re.fullmatch(r"/page/[\w.]+\?[0-9a-f]{12}", address) for address in addresses)
