"""Finds sessions by what was said in them, who used them, their id and their project. Pure.

Ids of users, projects and sessions are looked up in the index. For text, and for parts of ids, one line of text per
session is looked through: a part of a word is found then, in any language, which an index of words does not do. That
line is written when somebody searches first, and from then on continued, so that those who do not search pay nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from mlsdk.local.index import Entry, Index, names_of
from mlsdk.local.records import Received
from mlsdk.local.store import Store
from mlsdk.local.views import CONVERSATION_EVENTS


def find_sessions(
    store: Store, *, text: str = "", user: str = "", session: str = "", project: str = ""
) -> Sequence[Entry]:
    """The sessions that fit all that is asked for, in order of arrival.

    Args:
        store: where to look.
        text: words of which each occurs in what was said, called or tracked, whatever the case.
        user: an id, an alias or a device, and then also what else this user is known by; or a part of one.
        session: a session's id, or a part of one.
        project: the whole id of the project.
    """
    index = store.index
    found: Sequence[Entry]
    if user:
        found = [each for each in index.used_by(_names(store, user, project)) if project in ("", each.session.app_id)]
    else:
        found = index.in_project(project) if project else index.entries
    if session:
        found = _with_id(index, found, session)
    if text:
        words = text.casefold().split()
        found = [entry for entry in found if _says(entry, words)]
    return found


def _with_id(index: Index, among: Sequence[Entry], session: str) -> Sequence[Entry]:
    exact = index.with_id(session)
    if exact:
        # One of each project at most: few, whatever there is to look through.
        return exact if among is index.entries else [entry for entry in among if entry.session.session_id == session]
    wanted = session.casefold()
    return [entry for entry in among if wanted in entry.session.session_id.casefold()]


def _names(store: Store, name: str, project: str) -> list[str]:
    """Everything that a user with this name is called, in the project or in any; without one: the names like it."""
    names: list[str] = []
    for app_id in [project] if project else store.index.projects:
        user = store.users.find(app_id, id=name, device_id=name)
        if user is not None:
            names += names_of(user)
    return [name, *names] if names else store.index.names_with(name)


def _says(entry: Entry, words: Sequence[str]) -> bool:
    text = _text_of(entry)
    return all(word in text for word in words)


def _text_of(entry: Entry) -> str:
    received = entry.session.received
    if entry.text_of < len(received):
        new = [text for each in received[entry.text_of :] for text in _texts(each)]
        entry.text = "\n".join([entry.text, *new]) if entry.text else "\n".join(new)
        entry.text_of = len(received)
    return entry.text


def _texts(received: Received) -> Iterator[str]:
    event = received.event
    if event["type"] == "track" and event["event"] not in CONVERSATION_EVENTS:
        yield event["event"].casefold()
    for field_name in ("properties", "attributes", "traits"):
        values: dict[str, Any] = event.get(field_name) or {}
        for value in values.values():
            if type(value) is str:
                yield value.casefold()
