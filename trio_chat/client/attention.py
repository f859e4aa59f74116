"""What is worth looking up for, and what is not. No I/O."""

import re
from collections.abc import Iterable
from functools import lru_cache

from attrs import define, field

from trio_chat.messages import Event, Gap, Say


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
        """Is it something to read? Who comes and goes is not, nor what one said oneself."""
        return (
            isinstance(item, Event) and isinstance(item.message, Say) and item.by != self.me
        ) and not self.hides(item)

    def calls(self, item: Event | Gap) -> bool:
        """Is it for oneself in particular?"""
        if not isinstance(item, Event) or not isinstance(item.message, Say):
            return False
        if not self.counts(item) or item.message.room in self.muted:
            return False
        words = frozenset({self.me, *self.highlights})
        return _pattern(words).search(item.message.text) is not None


@lru_cache(16)
def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Any of these as a word of its own, in upper or lower case."""
    either = "|".join(map(re.escape, sorted(words)))
    return re.compile(rf"(?<![\w-])(?:{either})(?![\w-])", re.IGNORECASE)
