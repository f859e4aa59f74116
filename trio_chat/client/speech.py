"""Saying what was typed: once, whatever happens between the typing and the ack."""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

from attrs import define, field

from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.commands import EDITING, POINTER, sayable
from trio_chat.client.journal import Journal, Unsent
from trio_chat.client.notices import notice
from trio_chat.client.surface import Surface
from trio_chat.errors import Refused, WireError
from trio_chat.pairs import SIGN, is_private, partner

SHOWN_OF_A_TEXT = 60
"""Characters that tell which text is meant; the arrow key brings back the whole."""


@define(eq=False)
class Speech:
    """Says texts. Each is in the journal from when it is typed until it is said or refused,
    and the screen shows it as pending meanwhile.

    `left`: what the last run could not say.
    """

    chat: Chat
    screen: Surface
    journal: Journal
    left: list[Unsent] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.left = list(self.journal.unsent.values())

    def add(
        self, room: str, text: str, *, reply_to: int | None = None, edits: int | None = None
    ) -> Unsent:
        """Note a text that is to be said."""
        unsent = self.journal.add(room, text, reply_to=reply_to, edits=edits)
        # In private, what is under way from another room has to be seen to be private.
        other = partner(room, self.chat.name) or room.removeprefix(SIGN)
        self.screen.hold(unsent.id, f"{SIGN}{other}: {text}" if is_private(room) else text)
        return unsent

    def drop(self, unsent: Unsent) -> None:
        """It will not be said, or has been."""
        self.journal.remove(unsent)
        self.screen.release(unsent.id)

    async def say(self, unsent: Unsent) -> int:
        """Say it; returns the `seq` of that. Raises what it is refused with: then it is done
        with, too. What ends otherwise stays in the journal."""
        with self._until_answered(unsent):
            await self.journal.save()
            return await self._say(unsent)

    async def _say(self, unsent: Unsent) -> int:
        text = sayable(unsent.text, self.chat.welcome.limits.text)
        if unsent.edits is not None:  # twice is as good as once
            return await self.chat.edit(unsent.room, unsent.edits, text)
        return await self.chat.say(unsent.room, text, reply_to=unsent.reply_to, id=unsent.id)

    async def tell_what_was_not_said(self) -> None:
        """A line that is lost without a word would be the one that mattered."""
        await self.journal.save()
        texts = [unsent.text for unsent in self.journal.unsent.values()]
        if texts and self.journal.survives:
            text = f"not said yet, and sent at the next start: {messages(len(texts))}"
            await self.screen.show(notice(text))
            return
        for text in texts:
            told = f"the server does not answer; maybe not said: {short(text)}"
            await self.screen.show(notice(told))

    @contextmanager
    def _until_answered(self, unsent: Unsent) -> Iterator[None]:
        try:
            yield
        except (Refused, WireError) as error:
            if error is not self.chat.failure:
                self.drop(unsent)
            raise
        self.drop(unsent)


def typed_as(unsent: Unsent, current: str | None, me: str) -> str | None:
    """The line that says this where one is now; None if there is none."""
    other = partner(unsent.room, me) or unsent.room.removeprefix(SIGN)
    if unsent.room != current:
        return f"/msg {other} {unsent.text}" if is_private(unsent.room) else None
    if unsent.edits is not None:
        return f"{EDITING}{unsent.text}"
    if unsent.reply_to is not None:
        return f"/reply {POINTER}{unsent.reply_to} {unsent.text}"
    is_command = unsent.text.startswith("/") and "\n" not in unsent.text
    return f"{'/' * is_command}{unsent.text}"


def short(text: str) -> str:
    """Enough of a text to tell which one is meant."""
    return clean(shorten(text, SHOWN_OF_A_TEXT, placeholder=" …"))


def messages(count: int) -> str:
    """So many messages."""
    return "1 message" if count == 1 else f"{count} messages"
