r"""Whole conversations, played from tests/transcripts/*.txt: read those first.

    # For people.
    bob> say lobby hi there           bob sends a request: its type and its fields in order,
    bob> join#j lobby after=3         further ones by name; `#j` is its id
    bob> {"type":"rooms"}             or a line as it stands
    bob>> {"type":"pi                 bytes without an end of line, which is \n
    bob< lobby 3 alice: hi there      the next line that bob gets, as `show` below puts it
    bob> say @alice,bob hi            the private room in full, without its random sign
    bob< nothing                      none within a second
    bob< end                          nor ever again
    * bob closes                      the connection
    * 15 seconds pass

Who is mentioned for the first time connects. Nobody's network holds anything: the server
gets rid of a line only when the script has its reader read it. A transcript is complete: at
its end nobody has anything left to read.
"""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import trio
from attrs import define, field
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from tests.conftest import VIRTUAL_SECONDS, Peer
from trio_chat import messages as m
from trio_chat.client.link import Link
from trio_chat.errors import LinkLost
from trio_chat.testing import RunningServer
from trio_chat.wire import tag

TRANSCRIPTS = sorted(Path(__file__).with_name("transcripts").glob("*.txt"))
FIRST_FIELD = {"hello": "name", "ping": "id", "rooms": "id"} | dict.fromkeys(
    map(tag, {*get_args(m.Request)} - {m.Hello, m.Ping, m.Rooms, m.Search}), "room"
)

PAIR_NAME = re.compile(r"@\w+,\w+")
PAIR = re.compile(r"(@\w+,\w+)(:[\w-]{8})")


def request(what: str) -> str:
    head, _, rest = what.partition(" ")
    kind, _, id = head.partition("#")
    if kind not in FIRST_FIELD:
        return what
    fields: dict[str, object] = {"type": kind}
    if id:
        fields["id"] = id
    if kind in {"say", "topic"}:
        rest, _, fields["text"] = rest.partition(" ")
    for word in rest.split():
        key, _, value = word.rpartition("=")
        fields[key or FIRST_FIELD[kind]] = int(value) if value.isdigit() else value
    return json.dumps(fields)


def show(reply: m.Reply, given: set[str]) -> str:
    """`given`: the ids that stand in the script; of others, nothing is said."""
    id = getattr(reply, "id", None)
    id = f"#{id}" if id in given else ""
    match reply:
        case m.Event(seq, _, by, post, changed):
            text = f"{post.room} {seq} {by}{show_post(post)}"
            return text if changed is None else f"{text} (changed by {changed})"
        case m.Welcome():
            return f"welcome{id} {reply.name}"
        case m.Ack():
            return f"ack{id} {reply.room} {reply.seq}{' again' * reply.again}"
        case m.Error():
            return f"error{id} {reply.code}"
        case m.Gap(room, first, last):
            return f"gap {room} {first}-{last}"
        case m.Called(room, by, seq):
            return f"called {room} {seq} {by}"
        case _:
            return show_answer(reply, id)


def show_post(post: m.Post) -> str:
    match post:
        case m.Say():
            return f": {post.text}"
        case m.Join():
            return " joins"
        case m.Leave():
            return " is lost" if post.lost else " leaves"
        case m.Edit():
            return f" edits {post.seq}: {post.text}"
        case m.Delete():
            return f" deletes {post.seq}"
        case m.React():
            return f" {'takes away' if post.off else 'puts'} {post.sign} at {post.seq}"
        case m.Topic():
            return f" topic: {post.text}"
        case m.Restrict():
            return f" restricts: {post.access}"
        case m.Ban() | m.Mute() if post.off:
            return f" un{type(post).__name__.lower()}s {post.name}"
        case m.Appoint():
            return f" makes {post.name} {post.rank}"
        case m.Invite() | m.Kick() | m.Ban() | m.Mute():
            return f" {type(post).__name__.lower()}s {post.name}"


def show_answer(reply: m.Reply, id: str) -> str:
    match reply:
        case m.Page():
            seqs = [event.seq for event in reply.events]
            return f"page{id} {reply.room} {seqs}{' and more' * reply.more}"
        case m.Members():
            return f"members{id} {reply.room} {' '.join(reply.names)}"
        case m.RoomList():
            return f"rooms{id} {' '.join(f'{r.room}({r.members})' for r in reply.rooms)}"
        case m.Marked(room, seq):
            return f"marked{id} {room} {seq}"
        case m.Found(hits):
            return f"found{id} {' '.join(f'{hit.room}/{hit.seq}' for hit in hits)}".rstrip()
        case _:
            return type(reply).__name__.lower() + id


@define(eq=False)
class Stage:
    server: RunningServer
    script: str
    peers: dict[str, Peer] = field(factory=dict, init=False)
    pairs: dict[str, str] = field(factory=dict, init=False)

    def find(self, who: str) -> Peer:
        if who not in self.peers:
            ours, theirs = lockstep_stream_pair()
            self.server.serve(theirs)
            self.peers[who] = Peer(Link(ours, VIRTUAL_SECONDS))
        return self.peers[who]

    async def hear(self, who: str) -> str:
        given = set(re.findall(r"#(\w+)|\"id\":\"(\w+)\"", self.script))
        with trio.move_on_after(1):
            try:
                reply = await self.find(who).link.receive()
            except LinkLost:
                return "end"
            shown = show(reply, {id for pair in given for id in pair})
            self.pairs |= {pair: pair + sign for pair, sign in PAIR.findall(shown)}
            return PAIR.sub(r"\1", shown)
        return "nothing"

    async def play(self, line: str) -> None:
        who, how, what = re.fullmatch(r"(\w*) ?(>>|>|<|\*) (.*)", line).groups()  # type: ignore[union-attr] # else it is no line
        if how == "<":
            assert await self.hear(who) == what, line
        elif how == ">":
            line = PAIR_NAME.sub(lambda pair: self.pairs.get(pair[0], pair[0]), request(what))
            await self.find(who).tell_bytes(line.encode() + b"\n")
        elif how == ">>":
            await self.find(who).tell_bytes(what.replace(r"\n", "\n").encode())
        elif what.endswith(" closes"):
            await self.find(what.split()[0]).link.stream.aclose()
        else:
            await trio.sleep(int(what.removesuffix(" seconds pass")))
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_it_goes_as_it_is_written(path: Path, server: RunningServer) -> None:
    stage = Stage(server, path.read_text(encoding="utf-8"))
    for line in stage.script.splitlines():
        if line and not line.startswith("#"):
            await stage.play(line)
    left = {who: await stage.hear(who) for who in stage.peers}
    assert set(left.values()) <= {"nothing", "end"}, left


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 12
