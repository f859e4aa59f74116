"""What is worth looking up for, and what is not. No I/O."""

import re
from functools import lru_cache
from unicodedata import category, normalize

from attrs import define, field

from trio_chat.client.wording import UNKNOWN, Known, is_deleted
from trio_chat.messages import Event, Gap, Say
from trio_chat.pairs import SIGN, partner


@define(eq=False)
class Attention:
    """What one person wants to be called for, and what not.

    `highlights`: words besides one's own name that call. `ignored`: people whose texts are
    not shown. `muted`: rooms that call for nothing.
    """

    me: str
    highlights: set[str] = field(factory=set)
    ignored: set[str] = field(factory=set)
    muted: set[str] = field(factory=set)

    def hides(self, item: Event | Gap) -> bool:
        """Is it not to be shown at all?"""
        return isinstance(item, Event) and item.by in self.ignored

    def counts(self, item: Event | Gap) -> bool:
        """Is it something to read? Who comes and goes is not, nor what one said oneself, or
        what was taken back."""
        return (
            isinstance(item, Event)
            and isinstance(item.message, Say)
            and item.by != self.me
            and not is_deleted(item)
            and not self.hides(item)
        )

    def calls(self, item: Event | Gap, known: Known = UNKNOWN) -> bool:
        """Is it for oneself in particular? It is if it is said in private, to somebody of
        that name, or as an answer to one's own text; `known`: what was said before."""
        if not isinstance(item, Event) or not isinstance(item.message, Say):
            return False
        room, text, answered = item.message.room, item.message.text, item.message.reply_to
        if not self.counts(item) or self.is_muted(room):
            return False
        if partner(room, self.me) is not None or self._is_own(answered, known):
            return True
        text = normalize("NFC", text)
        return any(_is_in(text, word) for word in {self.me, *self.highlights})

    def is_muted(self, room: str) -> bool:
        """Does it call for nothing? Of a private room the other's name is on the list."""
        other = partner(room, self.me)
        return (room if other is None else f"{SIGN}{other}") in self.muted

    def _is_own(self, seq: int | None, known: Known) -> bool:
        answered = None if seq is None else known.get(seq)
        return answered is not None and answered.by == self.me


_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff"
    r"\U00020000-\U0003ffff]"
)
"""Letters of South-East and East Asia. There a text has no spaces between its words, or
a word has its particles at its end, as in Korean: so a name calls wherever it stands."""


def _is_in(text: str, word: str) -> bool:
    """Does it stand in the text as a word of its own, in upper or lower case?"""
    return any(_is_alone(match) for match in _pattern(word).finditer(text))


@lru_cache(256)
def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(normalize("NFC", word)), re.IGNORECASE)


def _is_alone(match: re.Match[str]) -> bool:
    if _UNSPACED.search(match[0]):
        return True
    start, end = match.span()
    around = match.string[max(0, start - 1) : start] + match.string[end : end + 1]
    # To Python a mark, as a vowel of Hindi is one, is no part of a word.
    return not any(c.isalnum() or c in "_-" or category(c)[0] == "M" for c in around)
