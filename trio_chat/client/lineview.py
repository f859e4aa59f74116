"""What happened → one line each, to be heard rather than seen. No I/O."""

from trio_chat.client.clean import clean
from trio_chat.client.deeds import told
from trio_chat.client.notices import shown_name
from trio_chat.client.view import View, done, moved
from trio_chat.client.wrap import Fragments
from trio_chat.messages import Delete, Edit, Event, Join, Leave, React, Say, Topic


class LineView(View):
    """A view in which each event is one line, without columns and drawn lines."""

    def rule(self, text: str) -> Fragments:
        """A line that stands above what it speaks of."""
        return [("gap", f"--- {clean(text)} ---")]

    def announce(self, event: Event) -> Fragments:
        """One line for what was said in a room that is not shown."""
        return [("called", f"in {shown_name(event.message.room)}: "), *self._entry(event)]

    def _post(self, event: Event, time: tuple[str, str], by: str, *, calls: bool) -> Fragments:
        return [("called" if calls else "text", f"{time[1]}{self._told(event, by)}")]

    def _entry(self, event: Event) -> Fragments:
        return [("text", self._told(event, shown_name(event.by)))]

    def _told(self, event: Event, by: str) -> str:
        who = "you" if by == self.me else by
        match event.message:
            case Say(text=text):
                return f"{who}: {' ⏎ '.join(clean(text, lines=True).split(chr(10)))}"
            case Join() | Leave() as post:
                return f"* {who} {moved(post)}"
            case Edit() | Delete() | React() | Topic() as post:
                return f"* {who} {done(post)}"
            case post:
                return f"* {who} {told(post, self.zone)}"
