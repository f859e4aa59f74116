"""A chat at a terminal: the screen and the person, put together."""

from functools import partial

from trio_chat.client.chat import Chat
from trio_chat.client.journal import Journal
from trio_chat.client.person import Person
from trio_chat.client.plain import race, show_all
from trio_chat.client.surface import Surface


async def run_terminal(
    chat: Chat, room: str, *, screen: Surface, journal: Journal | None = None
) -> None:
    """Join `room`, show what happens in the chat and do what is typed, until the person
    leaves with `/quit`, `quit` or Ctrl-D.

    `screen`: one whose `set_state` was given to `connect`, so that it can show when the
    connection is lost. `journal`: what is remembered of the last run, and for the next; to
    write it down, with `keep`, is up to the caller.

    Raises what the join is refused with, and `LinkLost`.
    """
    person = Person(chat, screen, journal or Journal())
    await person.join(room)
    await race(screen.run, partial(show_all, chat, person.show), person.obey)
