"""Bytes in, lines out, however the network cut them."""

from collections.abc import Iterator

from attrs import define, field

from trio_chat.errors import LineTooLong

LINE_BYTES = 64 * 1024
"""The longest line, end included. Decoding one takes below 6 ms, so that no peer can
hold up the others with a single line; a text of 16 KiB fits even if each
character is escaped with a backslash."""


@define
class LineBuffer:
    """Collects bytes until they make lines.

    Splits at `\\n` only: `splitlines` would also split at what may stand inside a JSON
    string.
    """

    limit: int = LINE_BYTES
    _rest: bytearray = field(factory=bytearray, init=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes, without their ends.

        Raises `LineTooLong` in the place of a line beyond the limit, after the lines
        before it; nothing can be fed after that. Exhaust one call before the next.
        """
        first, end, more = data.partition(b"\n")
        self._rest += first
        self._check(len(self._rest))
        if not end:
            return
        yield bytes(self._rest)
        *lines, rest = more.split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            self._check(len(line))
            yield line
        self._check(len(rest))

    def end(self) -> Iterator[bytes]:
        """What came after the last end of line, at the end of all: a line, too. (What was
        cut off in the middle can't be mistaken for a message: it lacks its last brace.)"""
        if self._rest:
            yield bytes(self._rest)
            self._rest.clear()

    def _check(self, size: int) -> None:
        if size >= self.limit:
            raise LineTooLong(f"a line may have {self.limit} bytes, its end included")
