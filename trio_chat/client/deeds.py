"""What moderators do → words. No I/O."""

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import assert_never

from trio_chat.client.clean import clean
from trio_chat.client.notices import shown_name
from trio_chat.messages import AccessName, Appoint, Ban, Deed, Invite, Kick, Mute, Restrict

_ACCESS = {
    "public": "opened the room to everybody",
    "invitation": "closed the room but to those who are invited",
    "key": "locked the room with a key",
}
ACCESS: Mapping[AccessName, str] = {
    "public": "everybody gets in",
    "invitation": "only who is invited gets in",
    "key": "only who has the key or is invited gets in",
}
"""Who gets into a room."""

_RANKS = {
    "member": "made {name} a mere member",
    "moderator": "made {name} a moderator",
    "owner": "made {name} an owner",
}


def told(deed: Deed, zone: tzinfo | None = None, who: Callable[[str], str] = shown_name) -> str:
    """What somebody has done, as it stands after the name; `zone`: for times; `who`: how
    somebody is called."""
    match deed:
        case Invite(name=name):
            return f"invited {who(name)}"
        case Kick(name=name, reason=reason):
            return f"put {who(name)} out of the room{_why(reason)}"
        case Ban() | Mute():
            return _sanction(deed, who(deed.name), zone)
        case Appoint(name=name, rank=rank):
            return _RANKS[rank].format(name=who(name))
        case Restrict(access=access):
            return _ACCESS[access]
        case _:
            assert_never(deed)


def _sanction(deed: Ban | Mute, name: str, zone: tzinfo | None) -> str:
    verb, freed = ("banned", "come") if isinstance(deed, Ban) else ("muted", "speak")
    if deed.off:
        return f"let {name} {freed} again"
    return f"{verb} {name}{_end(deed.until, zone)}{_why(deed.reason)}"


def _why(reason: str) -> str:
    return f": {clean(reason)}" if reason else ""


def _end(until: datetime | None, zone: tzinfo | None) -> str:
    return "" if until is None else f" until {local_minute(until, zone)}"


def local_minute(at: datetime, zone: tzinfo | None) -> str:
    """A time where one is."""
    try:
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):  # the year 1, from a server that lies
        return f"{at:%Y-%m-%d %H:%M}"
