"""What a run is to do: how many members, where they sit, and what they say."""

import secrets

from attrs import field, frozen

from trio_chat.errors import SetupError

LEAST_BYTES = 16
"""The shortest text: it says who speaks, and the how many-th time."""

SENDERS = 8
"""How many speak, where that is not said."""

WARM_UP = 0.5
"""Seconds of load before the measured ones: caches fill, and clocks of processors rise."""


def _label() -> str:
    return f"bench-{secrets.token_hex(4)}"


@frozen
class Plan:
    """A run. Raises `SetupError` if it can't be done.

    `members` are spread over the `rooms`, and so are the first `senders` of them, who speak.
    `size`: bytes of a text. `in_flight`: says that are under way at once, that is, have not
    reached all their readers. `rate`: says a second of all senders together; 0 is as fast
    as it goes. `duration`: seconds. `quiet`: all but the first of each room join
    without the others being told. `entering`: members who connect and join at once, which
    hides the way to the server, and back. `label`: what all names begin with, so that two
    runs don't meet.
    """

    members: int = 100
    senders: int = SENDERS
    rooms: int = 1
    size: int = 64
    in_flight: int = 64
    rate: float = 0.0
    duration: float = 10.0
    quiet: bool = False
    entering: int = 64
    label: str = field(factory=_label)

    def __attrs_post_init__(self) -> None:
        if self.senders > self.members:
            raise SetupError(f"of {self.members} members, {self.senders} can't speak")
        if self.rooms > self.members:
            raise SetupError(f"{self.members} members can't fill {self.rooms} rooms")

    @property
    def warm_up(self) -> float:
        """Seconds of load that don't count."""
        return min(WARM_UP, self.duration / 10)

    def name_of(self, member: int) -> str:
        """What a member is called."""
        return f"{self.label}-{member}"

    def room_of(self, member: int) -> int:
        """The number of the room that a member is in."""
        return member % self.rooms

    def room_name(self, room: int) -> str:
        """What a room is called."""
        return f"{self.label}-r{room}"

    @property
    def beginning(self) -> str:
        """What is said in each room once all are in: what counts comes after it."""
        return f"{self.label}-begins"


def text_of(sender: int, number: int, size: int) -> bytes:
    """The text of a sender's say `number`: always the same, and no two alike."""
    return (b"%d %d " % (sender, number)).ljust(size, b".")
