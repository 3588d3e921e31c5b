"""The files that the pages refer to: a style sheet, a script and an icon, all served from here and nowhere else."""

from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Final

STYLE: Final = "page.css"
SCRIPT: Final = "page.js"

TYPES: Final = {STYLE: "text/css", SCRIPT: "text/javascript", "icon.svg": "image/svg+xml"}
"""The files that there are, and what they are."""


@cache
def content_of(name: str) -> bytes:
    """One of the files in `TYPES`."""
    return (resources.files(__package__) / "files" / name).read_bytes()


@cache
def address_of(name: str) -> str:
    """Where it is served; another content has another address, so that browsers may keep it."""
    return f"/page/{name}?{sha256(content_of(name)).hexdigest()[:12]}"
