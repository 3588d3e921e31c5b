"""Who is who: users, their aliases, devices and traits. Pure.

Ids are unique within a project, device ids within the service's organization; both find their user in one step.
"""

from typing import Any

from mlsdk.local.records import User, Values


class UnknownUserError(LookupError):
    """The id to be aliased belongs to nobody; the text says so."""


class Users:
    """All users of all projects."""

    def __init__(self) -> None:
        self._by_id: dict[tuple[str, str], User] = {}
        self._by_device: dict[tuple[str, str], User] = {}
        self._created = 0

    def __len__(self) -> int:
        return len({id(user) for table in (self._by_id, self._by_device) for user in table.values()})

    def find(self, app_id: str, *, id: str | None = None, device_id: str | None = None) -> User | None:
        """The user known by this id or alias, else by this device."""
        user = self._by_id.get((app_id, id)) if id is not None else None
        if user is None and device_id is not None:
            user = self._by_device.get((app_id, device_id))
        return user

    def identify(
        self, app_id: str, *, id: str | None, device_id: str | None, traits: Values | None = None, at: str
    ) -> User:
        """Find or make the user with this id and device, and merge ``traits`` into theirs.

        An id seen for the first time on the device of somebody unnamed names that somebody; a device that is another
        named user's moves (a shared computer).
        """
        user = self._by_id.get((app_id, id)) if id is not None else None
        on_device = self._by_device.get((app_id, device_id)) if device_id is not None else None
        if user is None and on_device is not None and (id is None or on_device.id is None):
            user = on_device
        if user is None:
            self._created += 1
            user = User(user_id=f"user_{self._created}", app_id=app_id, created_at=at)
        if id is not None:
            user.id = user.id or id
            self._by_id[app_id, id] = user
        if device_id is not None:
            self._give_device(user, device_id, on_device)
        if traits:
            user.traits = {**user.traits, **traits}
        return user

    def alias(self, app_id: str, *, id: str, previous_id: str) -> User:
        """Call the user known as ``previous_id`` (an id, an alias or a device) ``id`` from now on.

        If ``id`` is somebody already, the two become one: the traits of ``id`` win.

        Raises:
            UnknownUserError: nobody is known as ``previous_id``.
        """
        user = self.find(app_id, id=previous_id, device_id=previous_id)
        if user is None:
            raise UnknownUserError(f"No user found for previous_id: {previous_id}")
        other = self._by_id.get((app_id, id))
        if other is not None and other is not user:
            self._merge(user, other)
        if user.id is not None and user.id != id and user.id not in user.aliases:
            user.aliases.append(user.id)
        if id in user.aliases:
            user.aliases.remove(id)
        user.id = id
        self._by_id[app_id, id] = user
        return user

    def _give_device(self, user: User, device_id: str, holder: User | None) -> None:
        if holder is user:
            return
        if holder is not None:
            holder.device_ids.remove(device_id)
        user.device_ids.append(device_id)
        self._by_device[user.app_id, device_id] = user

    def _merge(self, user: User, other: User) -> None:
        for name in [*([other.id] if other.id else []), *other.aliases]:
            self._by_id[user.app_id, name] = user
            if name not in user.aliases:
                user.aliases.append(name)
        for device_id in list(other.device_ids):
            self._give_device(user, device_id, other)
        user.traits = {**user.traits, **other.traits}


def user_record(user: User, *, organization_id: str) -> dict[str, Any]:
    """The user as the identify and alias endpoints answer. A user without a name goes by its device."""
    return {
        "organization_id": organization_id,
        "app_id": user.app_id,
        "user_id": user.user_id,
        "id": known_as(user),
        "aliases": list(user.aliases),
        "created_at": user.created_at,
        "traits": dict(user.traits),
    }


def known_as(user: User) -> str:
    """The name that a live event carries: the user's id, else the first device, else the service's own id."""
    return user.id or (user.device_ids[0] if user.device_ids else user.user_id)
