"""Structures that a library spread over attributes with indexed names (`messages.0.role`), put together again."""

from __future__ import annotations

from collections.abc import Mapping


class _Branch(dict[str, object]):
    """A branch of ours; a mapping that an attribute holds is left alone."""


def tree(attributes: Mapping[str, object], prefix: str) -> Mapping[str, object]:
    """What stands below a prefix that ends in a dot, one level for each dot.

    Where a name has a value and others below it, those below win.
    """
    root = _Branch()
    cut = len(prefix)
    for key, value in attributes.items():
        if not key.startswith(prefix):
            continue
        *path, last = key[cut:].split(".")
        branch = root
        for step in path:
            inner = branch.get(step)
            if not isinstance(inner, _Branch):
                inner = branch[step] = _Branch()
            branch = inner
        if not isinstance(branch.get(last), _Branch):
            branch[last] = value
    return root


def rows(branch: object) -> list[object]:
    """What has an index below a branch, by index; gaps are closed."""
    if not isinstance(branch, Mapping):
        return []
    numbered = [
        (int(key), value) for key, value in branch.items() if key.isascii() and key.isdecimal() and len(key) < 9
    ]
    return [value for _, value in sorted(numbered, key=lambda pair: pair[0])]


def below(branch: object, *path: str) -> object:
    """What stands at a path of names; None for nothing."""
    for step in path:
        if not isinstance(branch, Mapping):
            return None
        branch = branch.get(step)
    return branch
