"""How what is queued for a connection gets into its stream.

Only the writer waits for the stream to take bytes, and it is cancelled only to cut the peer
off: a send that was cancelled has sent a part, and nothing may follow that.
"""

import trio
from attrs import define, field

from trio_chat.errors import LinkLost, NotStored
from trio_chat.messages import Error
from trio_chat.outbox import Outbox
from trio_chat.wire import SERVER

STUCK = 30.0
"""Seconds in which a peer must take something of what it is sent."""

PIECE_BYTES = 16 * 1024
"""How much a peer must take within STUCK: what half a kilobyte a second can do."""


@define(eq=False)
class Writer:
    """Empties the `outbox` into the `stream`.

    `reads_on`: for those who are behind, from the log; not when all has to end. `is_torn`:
    what was sent last was sent in part.
    """

    stream: trio.abc.Stream
    outbox: Outbox
    reads_on: bool = field(default=True, init=False)
    is_torn: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Send what is queued; when nothing is, read on for those who are behind; and end
        when nobody is, until there is something again. Raises `LinkLost`."""
        while (data := await self.outbox.take()) is not None:
            await self._send(data)
            self.outbox.sent(len(data))
            while self._must_read_on() and not self.outbox.has_queued:
                await self._send_page()
        while self._must_read_on():
            await self._send_page()

    def _must_read_on(self) -> bool:
        return bool(self.outbox.behind) and self.reads_on

    async def _send_page(self) -> None:
        data, more = await self._next_page()
        self.outbox.pass_on(is_done=not more)
        await self._send(data)

    async def _next_page(self) -> tuple[bytes, bool]:
        try:
            return await self.outbox.behind[0].next_page()
        except NotStored as exc:
            failure = exc
        # It comes back to the same place of the log, when that can be read again.
        error = Error(failure.code, str(failure))
        await self._send(self.outbox.format([SERVER.encode(error)]))
        raise LinkLost("the log can't be read") from failure

    async def _send(self, data: bytes) -> None:
        # Nearly always all of it is taken at once: 30 µs less, for each page of who joins.
        for start in range(self.outbox.write_at_once(data), len(data), PIECE_BYTES):
            with trio.move_on_after(STUCK) as patience:
                await self._send_piece(data[start : start + PIECE_BYTES])
            if patience.cancelled_caught:
                raise LinkLost(f"took less than {PIECE_BYTES} bytes in {STUCK:.0f} s")

    async def _send_piece(self, piece: bytes) -> None:
        self.is_torn = True
        try:
            await self.stream.send_all(piece)
            self.is_torn = False
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise LinkLost("connection reset") from exc
