"""The requests that are under way: asked, and not answered yet. No I/O."""

from collections.abc import Iterator

import trio
from attrs import define, field

from trio_chat.errors import BadFields, ChatError, LinkLost, TextTooLong, from_code
from trio_chat.framing import LINE_BYTES
from trio_chat.messages import (
    ID_CHARS,
    Ack,
    DeviceList,
    Done,
    Error,
    Found,
    Marked,
    Members,
    Page,
    Pong,
    Reply,
    Request,
    RoomList,
)
from trio_chat.wire import CLIENT

IN_FLIGHT = 256
"""The most requests under way; further ones wait for their turn."""

MOST_PARTS = 1000
"""The most parts of an answer: twenty times what a full server has to say. It is a hostile
one whose answer never ends."""

Answer = Ack | Error | Page | Members | RoomList | Marked | Found | DeviceList | Done | Pong
"""The replies that answer a request."""


@define(eq=False)
class Receipt:
    """A request that is under way, and its line."""

    request: Request
    line: bytes
    _replies: list[Reply] = field(factory=list, init=False)
    _error: ChatError | None = field(default=None, init=False)
    _is_answered: trio.Event = field(factory=trio.Event, init=False)

    async def wait(self) -> list[Reply]:
        """The answer, which has several parts if it is long.

        Raises what the server refuses with, or `LinkLost` once there is no hope.
        """
        await self._is_answered.wait()
        if self._error is not None:
            raise self._error
        return self._replies

    def take(self, part: Answer) -> bool:
        """Take a part of the answer; is it complete?"""
        if isinstance(part, Error):
            self.fail(from_code(part.code, part.text, part.retry))
            return True
        self._replies.append(part)
        if not (isinstance(part, Members | RoomList) and part.more):
            self._is_answered.set()
            return True
        if len(self._replies) < MOST_PARTS:
            return False
        self.fail(LinkLost("the server's answer never ends"))
        return True

    def fail(self, error: ChatError) -> None:
        """Give up."""
        self._error = error
        self._is_answered.set()


@define(eq=False)
class Calls:
    """All requests under way, by id, in the order in which they were asked. `failure`: why
    there will be no answers any more."""

    _receipts: dict[str, Receipt] = field(factory=dict, init=False)
    _slots: trio.Semaphore = field(factory=lambda: trio.Semaphore(IN_FLIGHT), init=False)
    failure: ChatError | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self._receipts.values())

    async def begin(self, request: Request) -> Receipt:
        """Note a request that is to be asked; waits while there are too many.

        Raises what would make the server end the connection, rather than send it: it
        would be sent again with the next one, and so for ever.
        """
        receipt = Receipt(request, _encode(request))
        await self._slots.acquire()
        try:
            self._add(receipt)
        except ChatError:
            self._slots.release()
            raise
        return receipt

    def _add(self, receipt: Receipt) -> None:
        id = receipt.request.id
        assert id is not None, "an answer is told by its id"
        if self.failure is not None:
            raise self.failure
        if id in self._receipts:
            raise BadFields("that id is under way", id)
        self._receipts[id] = receipt

    def answer(self, part: Answer) -> Receipt | None:
        """Hand part of an answer to whoever waits for it, if there is somebody."""
        receipt = None if part.id is None else self._receipts.get(part.id)
        if receipt is not None and receipt.take(part):
            del self._receipts[str(part.id)]
            self._slots.release()
        return receipt

    def fail(self, failure: ChatError) -> None:
        """There will be no answers any more."""
        self.failure = self.failure or failure
        for receipt in self:
            receipt.fail(failure)
            self._slots.release()  # for those who wait for their turn: they will be told
        self._receipts.clear()


def _encode(request: Request) -> bytes:
    line = CLIENT.encode(request)
    if len(line) > LINE_BYTES:
        raise TextTooLong(f"a line may have {LINE_BYTES} bytes")
    if request.id is not None and len(request.id) > ID_CHARS:
        raise BadFields(f"an id may have {ID_CHARS} characters", request.id)
    if request.id is not None and "\0" in request.id:
        raise BadFields("an id can't contain NUL", request.id)
    return line
