"""What one peer posts, on its way to the sequencer: all that a chunk holds in one submission.

One submission at a time and none while the outbox is full: so what a peer can have under way
is bounded, and a peer that does not read is not read from. It is submitted no faster than the
peer may speak; meanwhile nobody reads from it, either.
"""

import trio
from attrs import define, field

from trio_chat.messages import Join, Post
from trio_chat.outbox import Outbox
from trio_chat.pacing import Pace
from trio_chat.rooms import Device
from trio_chat.sequencer import Sequencer, Submission


@define(eq=False)
class Postbox:
    """Keeps `posts` until it is emptied; they are answered in the `outbox`."""

    sequencer: Sequencer
    outbox: Outbox
    pace: Pace
    posts: list[Post] = field(factory=list, init=False)
    _submission: Submission | None = field(default=None, init=False)

    @property
    def is_settled(self) -> bool:
        """Is nothing under way?"""
        return self._submission is None or self._submission.is_handled.is_set()

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        if self._submission is not None and not self.is_settled:
            await self._submission.is_handled.wait()

    async def empty(self, device: Device) -> None:
        """Submit all that was posted, from `device`."""
        posts, self.posts = self.posts, []
        if self.pace.rate == 0:
            await self._hand_over(posts, device)
            return
        ready: list[Post] = []
        for post in posts:
            if _is_paced(post, device):
                due = self.pace.take(trio.current_time())
                if due > trio.current_time():
                    await self._hand_over(ready, device)
                    ready = []
                    await trio.sleep_until(due)
            ready.append(post)
        await self._hand_over(ready, device)

    async def _hand_over(self, posts: list[Post], device: Device) -> None:
        if posts:
            await self.settled()
            await self.outbox.wait_for_space()
            await self.submit(Submission(device, self.outbox, posts))

    async def submit(self, submission: Submission) -> None:
        """Submit something as soon as the sequencer takes it; that is under way then."""
        await self.sequencer.submit(submission)
        self._submission = submission  # not before: what was not submitted is not waited for


def _is_paced(post: Post, device: Device) -> bool:
    """All that others have to hear; not the joins with which somebody comes back."""
    return not (isinstance(post, Join) and device.comes_back_to(post.room))
