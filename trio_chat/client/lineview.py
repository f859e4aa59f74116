"""What happened → one line each, to be heard rather than seen. No I/O."""

from trio_chat.client.clean import clean
from trio_chat.client.notices import shown_name
from trio_chat.client.view import View
from trio_chat.client.wording import Known, said
from trio_chat.client.wrap import Fragments
from trio_chat.messages import Event, Say
from trio_chat.pairs import SIGN, is_private, partner


class LineView(View):
    """A view in which each event is one line, without columns and drawn lines."""

    def rule(self, text: str) -> Fragments:
        """A line that stands above what it speaks of."""
        return [("gap", f"--- {clean(text)} ---")]

    def announce(self, event: Event) -> Fragments:
        """One line for what was said in a room that is not shown."""
        room = event.message.room
        if not is_private(room):
            where = f"in {self.wording.room(room)}: {self.wording.who(event.by)}"
        else:
            other = partner(room, self.me) or room.removeprefix(SIGN)
            to = "you" if other == event.by else shown_name(other)
            where = f"{self.wording.who(event.by)}, in private to {to}"
        return [("called", f"{where}: "), ("text", said(event))]

    def _post(
        self, event: Event, time: tuple[str, str], known: Known, *, calls: bool
    ) -> Fragments:
        return [("called" if calls else "text", f"{time[1]}{self._told(event, known)}")]

    def _told(self, event: Event, known: Known) -> str:
        who = self.wording.who(event.by)
        match event.message:
            case Say(reply_to=None):
                return f"{who}: {said(event)}"
            case Say(reply_to=int(seq)):
                return f"{who}, to {self.wording.mention(seq, known)}: {said(event)}"
            case _:
                return f"* {who} {self.wording.deed(event, known)}"
