"""A progress bar, where `tqdm` is installed (the extra `demo` brings it); else nothing is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Yields what to call with the number of units that were done since the last call."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        yield lambda count: None
        return
    with tqdm(desc=what, total=total, unit=f" {unit}", unit_scale=False, dynamic_ncols=True) as bar:
        yield bar.update
