"""What people do on the page, in a real Chromium; nothing of it is made up."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from unicodedata import category

import trio

from tests.browser.payloads import PAYLOADS
from tests.browser.stage import Page, Stage, needs_browser
from tests.proof.processes import environment, free_port
from tests.test_clean import REFUSED, TRICKS
from trio_chat.client.chat import Chat
from trio_chat.messages import Ban, Invite, Kick, Mute, Restrict

pytestmark = needs_browser

REAL_SECONDS = 100

PROGRAM = [sys.executable, "-m", "trio_chat"]


# ---------------------------------------------------------------- talking


async def test_two_pages_and_a_terminal_talk(stage: Stage, tmp_path: Path) -> None:
    async with (
        stage.page("alice", "bob") as (alice, bob),
        terminal(stage, "carol", tmp_path) as carol,
    ):
        await alice.say("hello from a page")
        await bob.sees("hello from a page")
        await carol.hear(b"alice: hello from a page")
        await carol.say("and from a terminal")
        await alice.sees("and from a terminal")
        await bob.say("two\nlines, pasted")
        for page in (alice, bob):
            await page.sees("two\nlines, pasted")
        expected = ["hello from a page", "and from a terminal", "two\nlines, pasted"]
        assert await alice.texts() == await bob.texts() == expected
        assert await alice.tab.until("document.getElementById('count').textContent === '3'")


class Terminal:
    """The client in line mode, at the ends of two pipes."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.heard = b""

    async def hear(self, words: bytes) -> None:
        assert self.process.stdout is not None
        with trio.fail_after(20):
            while words not in self.heard:
                chunk = await self.process.stdout.receive_some()
                assert chunk, self.heard
                self.heard += chunk

    async def say(self, text: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{text}\n".encode())


@asynccontextmanager
async def terminal(stage: Stage, name: str, folder: Path) -> AsyncIterator[Terminal]:
    where = f"{stage.server.host}:{stage.server.port}"
    process = await trio.lowlevel.open_process(
        [*PROGRAM, "connect", name, "--server", where, "--plain"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(folder, {"XDG_STATE_HOME": str(folder), "XDG_DATA_HOME": str(folder)}),
    )
    client = Terminal(process)
    try:
        await client.hear(name.encode())
        yield client
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


async def test_what_is_said_in_private_reaches_the_other_one_only(stage: Stage) -> None:
    async with stage.page("alice", "bob", "carol") as (alice, bob, carol):
        await alice.open_room("@bob")
        await alice.tab.until("$('older').innerText === 'Nothing has been said here yet.'")
        await alice.say("just for you")
        await alice.sees("just for you")
        await bob.tab.until(
            "document.querySelector('#people .badge.calls')?.textContent === '1'"
        )
        assert "(1)" in await bob.run("document.title")
        await bob.tab.click("#people .place")
        await bob.sees("just for you")
        await bob.say("thanks")
        await alice.sees("thanks")
        assert await carol.run("document.querySelector('#people').children.length") == 0
        assert await carol.texts() == []
        names = await carol.run(
            "chat.ask({type: 'rooms'}).then(replies => replies[0].rooms.length)"
        )
        assert names == 1


async def test_a_private_room_that_was_put_away_comes_back_with_the_next_word(
    stage: Stage,
) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.say("@alice", "one")
        await alice.tab.until("!!document.querySelector('#people .badge:not([hidden])')")
        await alice.tab.click("#people .place")
        await alice.sees("one")
        await alice.tab.until("chat.open.read === 1")
        await alice.say("/leave")
        await alice.is_in("lobby")
        await alice.tab.until("!document.querySelector('#people .place')")
        await bob.say("@alice", "two")
        await alice.tab.until("!!document.querySelector('#people .badge:not([hidden])')")
        assert await alice.shown("#people .badge") == "1"
        await alice.tab.click("#people .place")
        await alice.sees("two")
        assert await alice.texts() == ["one", "two"]


async def test_who_types_on_loses_nothing_when_a_private_room_is_born(stage: Stage) -> None:
    """All before the answer can come; and also where another room is open by then."""
    async with (
        stage.server.connect(name="bob"),
        stage.server.connect(name="carol"),
        stage.page("alice") as (alice,),
    ):
        await alice.run(f"go('@bob').then(() => {{ {SENT_AND_TYPED_ON} }})")
        await alice.tab.until("chat.open.name.startsWith('@alice,bob:') && chat.open.isIn")
        await alice.tab.type("re")
        await alice.tab.press("Enter")
        await alice.sees("and more")
        await alice.run(f"go('@carol').then(() => {{ {SENT_AND_TYPED_ON} go('lobby'); }})")
        await alice.tab.until("!chat.rooms.has('@carol') && chat.open.name === 'lobby'")
        await alice.open_room("@carol")
        await alice.sees("hi")
        assert await alice.run("document.getElementById('typed').value") == "and mo"
        drafts = json.loads(await alice.run("localStorage['trio_chat:drafts:alice']"))
        assert list(drafts.values()) == ["and mo"]


SENT_AND_TYPED_ON = "composer.put('hi'); $('send').click(); composer.put('and mo');"


async def test_what_is_meant_for_one_is_said_to_nobody_else(stage: Stage) -> None:
    async with stage.page("alice", "bob", "carol") as (alice, bob, carol):
        await alice.say("to all")
        await alice.sees("to all")
        for before, text in ((" ", "first"), ("", "second\nin two lines"), ("\n", "third")):
            # Also while one answers, and with a line more than a command has elsewhere.
            await alice.run("composer.writeAbout('reply', chat.open.items.at(-1))")
            await alice.say(f"{before}/msg bob {text}")
            await alice.sees(text)
            await alice.open_room("lobby")
        await bob.open_room("@alice")
        await bob.sees("third")
        await alice.run("composer.writeAbout(null)")
        await alice.say("to all again")
        await carol.sees("to all again")
        assert await carol.texts() == ["to all", "to all again"]


WRONG = {
    "/who lobby": "used like this: /who",
    "/devices all": "used like this: /devices",
    "/join a b c": "used like this: /join ROOM [KEY]",
    "/kick @": "used like this: /kick NAME [WHY]",
    "/op": "used like this: /op NAME",
    "/ban bob 1x loud": "1x is no time",
    "/silence bob 9999999w": "9999999w is no time",
    "/access invitation sesame": "public, or invitation, or key",
    "/access key": "public, or invitation, or key",
    "/access nobody": "public, or invitation, or key",
    "/nothing": "no command /nothing",
}
"""What is refused, as it is at a terminal, and stays in the field."""


async def test_commands_mean_what_they_mean_at_a_terminal(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await alice.run(f"chat.ask({{type: 'register', password: '{PASSWORD}'}})")
        await alice.open_room("garden")
        await alice.is_in("garden")
        await bob.join("garden")
        for typed, told in WRONG.items():
            await alice.run("composer.put('')")
            await alice.say(typed)
            assert told in await alice.shown("#hint"), typed
            assert await alice.run("$('typed').value") == typed
        await alice.run("composer.put('')")
        await alice.say("/SILENCE @bob 1h too loud")
        await alice.tab.until("$('messages').innerText.includes('muted bob until')")
        await alice.say("/kick @bob")
        await alice.tab.until("$('messages').innerText.includes('put out bob')")
        await alice.say("/leave lobby")
        await alice.tab.until("!chat.rooms.has('lobby')")
        assert await alice.run("chat.open.name") == "garden"
        for command in ("/leave", "/go"):
            await alice.run("show.toast('')")
            await alice.say(f"{command} lobby")
            await alice.tab.until("$('toast').innerText === 'You are not in lobby.'")
        await alice.say("/query @bob")
        await alice.tab.until("chat.open.title === 'bob'")
        await alice.say("between us")
        await alice.tab.until("chat.open.isIn")
        await alice.say("/leave")
        await alice.tab.until("!chat.open.isPrivate")
        await alice.say("/go Garden")
        await alice.is_in("garden")
        await bob.say("@alice", "psst")
        await alice.tab.until("!!document.querySelector('#people .badge:not([hidden])')")
        await alice.say("/unread")
        await alice.tab.until("chat.open.title === 'bob'")
        await alice.say("/rooms")
        await alice.tab.until("$('found').innerText.includes('lobby')")


async def test_who_was_put_out_once_is_in_again_when_let_in(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.register(PASSWORD)
        await bob.join("garden")
        await alice.open_room("garden")
        await alice.is_in("garden")
        await bob.moderate(Kick("garden", "alice"))
        await alice.tab.until("$('toast').innerText.includes('put out of garden')")
        assert not await alice.run("chat.open.isIn")
        await alice.tab.click("#toast button")
        await alice.is_in("garden")
        await alice.tab.reload()
        await alice.is_in("garden")
        await alice.tab.until("$('messages').innerText.includes('put out alice')")
        assert await alice.run("chat.open.isIn && chat.open.isWanted")
        await bob.moderate(Ban("garden", "alice"))
        await alice.tab.until("$('toast').innerText.includes('banned from garden')")
        # That she has read it is refused, and ends no more than that.
        await alice.tab.until("chat.open.read === chat.open.last")
        assert await alice.run("chat.ask({ type: 'rooms' }).then(() => $('door').hidden)")


async def test_the_way_to_the_field_is_no_way_to_a_room(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.run("document.querySelector('.skip').click()")
        assert await alice.run("document.activeElement.id") == "typed"
        assert await alice.run("[...chat.rooms.keys()]") == ["lobby"]


async def test_edits_reactions_replies_topics_and_search(stage: Stage) -> None:
    async with stage.page("alice", "bob") as (alice, bob):
        await alice.say("the quick brwn fox")
        await alice.sees("the quick brwn fox")
        await alice.tab.press("ArrowUp")
        await alice.run("document.getElementById('typed').select()")
        await alice.say("the quick brown fox")
        await bob.sees("the quick brown fox(edited)")
        seq = await bob.run("chat.open.items.find(item => item.kind === 'say').seq")
        await bob.run(f"chat.open.says.get({seq}).node.focus()")
        await bob.tab.press("+")
        await bob.tab.until("document.getElementById('signs').open")
        await bob.tab.click("#palette button")
        await alice.tab.until(
            "document.querySelector('.signs button')?.innerText.startsWith('👍')"
        )
        await alice.tab.click(".signs button")
        await bob.tab.until("document.querySelector('.signs button').innerText.includes('2')")
        await bob.run(f"chat.open.says.get({seq}).node.focus()")
        await bob.tab.press("r")
        await bob.say("which fox?")
        await alice.tab.until(
            "document.querySelector('.quote:not([hidden])')?.innerText.includes('brown')"
        )
        await alice.say("/topic foxes")
        await bob.tab.until("document.getElementById('topic').textContent === 'foxes'")
        await bob.say("/search brown")
        await bob.tab.until("document.querySelectorAll('#hits button').length === 1")
        await bob.tab.click("#hits button")
        await bob.tab.until(f"document.activeElement.dataset.seq === '{seq}'")
        await alice.run(f"chat.open.says.get({seq}).node.focus()")
        await alice.tab.press("Delete")
        await alice.tab.click("#toast button")
        await bob.sees("This message was deleted.")


async def test_what_others_do_is_shown_to_who_comes_later(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob:
        await bob.join("lobby")
        first = await bob.say("lobby", "one")
        second = await bob.say("lobby", "two")
        await bob.edit("lobby", first, "uno")
        await bob.react("lobby", first, "👀")
        await bob.delete("lobby", second)
        await bob.set_topic("lobby", "numbers")
        await bob.say("lobby", "three", reply_to=first)
        async with stage.page("alice") as (alice,):
            await alice.sees("three")
            assert await alice.texts() == ["uno(edited)", "This message was deleted.", "three"]
            assert "👀" in await alice.shown(".signs")
            assert "uno" in await alice.shown(".quote:not([hidden])")
            assert await alice.shown("#topic") == "numbers"


async def test_many_who_come_at_once_are_one_short_line(stage: Stage) -> None:
    async with stage.page("alice") as (alice,), AsyncExitStack() as crowd:
        for number in range(9):
            member = await crowd.enter_async_context(stage.server.connect(name=f"m{number}"))
            await member.join("lobby")
        await alice.tab.until("$('count').textContent === '10'")
        assert (await alice.shown("#messages .notice")).startswith(
            "alice, m0, m1, m2, m3, m4 and 4 others came"
        )


# ---------------------------------------------------------------- nothing is lost


async def test_what_was_typed_survives_a_reload(stage: Stage) -> None:
    async with stage.page("alice", "bob") as (alice, bob):
        await alice.tab.type("half a sent")
        await alice.tab.reload()
        await alice.is_in()
        assert await alice.run("document.getElementById('typed').value") == "half a sent"
        await alice.tab.type("ence")
        await alice.tab.press("Enter")
        await bob.sees("half a sentence")
        assert await bob.run("chat.open.last") == 3, "nobody has seen a coming or going"


async def test_who_reloads_is_still_where_one_has_to_be_let_in(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.register(PASSWORD)
        await bob.join("vault")
        await bob.moderate(Restrict("vault", "invitation"))
        await bob.moderate(Invite("vault", "alice"))
        await alice.tab.until("$('toast').innerText.includes('bob invites you to vault')")
        await alice.tab.click("#toast button")
        await alice.is_in("vault")
        await alice.tab.reload()
        await alice.is_in("vault")


async def test_a_server_that_is_killed_loses_and_doubles_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    port = free_port(23_456)
    address = f"http://127.0.0.1:{port}/"
    async with stage.browser.tab() as one, stage.browser.tab() as other:
        alice, bob = Page(one), Page(other)
        async with serving(port, tmp_path) as process:
            await alice.enter(address, "alice")
            await bob.enter(address, "bob")
            await alice.say("before")
            await bob.sees("before")
            await alice.tab.type("typed when it d")
            process.kill()
            await alice.tab.until("!document.getElementById('offline').hidden")
        await alice.tab.type("ied")
        await alice.tab.press("Enter")
        await alice.say("and one more")
        await alice.tab.until("document.querySelectorAll('#waiting .message').length === 2")
        assert await alice.shown("#waiting .fate") == "not sent yet"
        assert await alice.texts() == ["before"]
        async with serving(port, tmp_path):
            await bob.sees("and one more")
            await alice.tab.until("document.querySelectorAll('#waiting .message').length === 0")
            expected = ["before", "typed when it died", "and one more"]
            assert await alice.texts() == await bob.texts() == expected
            assert "reconnecting" not in await alice.shown("#state")


async def test_a_server_with_another_history_leaves_nothing_of_the_old_one(
    stage: Stage, tmp_path: Path
) -> None:
    port = free_port(25_678)
    async with stage.browser.tab() as tab:
        alice = Page(tab)
        async with serving(port, tmp_path / "one") as process:
            await alice.enter(f"http://127.0.0.1:{port}/", "alice")
            await alice.say("of the old one")
            await alice.sees("of the old one")
            await alice.run("chat.open.says.values().next().value.node.focus()")
            await tab.press("Delete")
            await tab.until("$('toast').innerText.includes('Delete')")
            process.kill()
            await tab.until("!document.getElementById('offline').hidden")
        await alice.run("$('typed').focus()")
        await tab.type("half a sent")
        async with serving(port, tmp_path / "other"):
            await tab.until("chat.isConnected && chat.open.isIn && chat.open.last === 1")
            assert await alice.texts() == []
            assert await alice.shown("#toast") == ""
            await tab.type("ence")
            await tab.press("Enter")
            await alice.sees("half a sentence")
            assert await alice.texts() == ["half a sentence"]


async def test_an_answer_that_is_not_sent_yet_shows_what_it_answers(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.say("who has the key?")
        await alice.sees("who has the key?")
        await alice.run("(chat.link.send = () => false, 0)")
        await alice.tab.press("Shift+Tab", "ArrowUp", "r")
        await alice.say("I have")
        await alice.tab.until("!!$('waiting').querySelector('.message')")
        assert "who has the key?" in await alice.shown("#waiting .quote")


async def test_what_is_pending_survives_a_reload(stage: Stage, tmp_path: Path) -> None:
    port = free_port(24_567)
    async with stage.browser.tab() as tab:
        alice = Page(tab)
        async with serving(port, tmp_path) as process:
            await alice.enter(f"http://127.0.0.1:{port}/", "alice")
            process.kill()
            await tab.until("!document.getElementById('offline').hidden")
            await alice.say("said into the void")
        async with serving(port, tmp_path):
            await tab.reload()
            await alice.is_in()
            await alice.sees("said into the void")
            assert await alice.texts() == ["said into the void"]
            assert json.loads(await tab.run("localStorage['trio_chat:pending:alice']")) == []


async def test_a_refusal_that_passes_costs_no_room_and_no_text(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        for room in ("garden", "kitchen"):
            await alice.open_room(room)
            await alice.is_in(room)
        await alice.run(BUSY)
        await alice.tab.until("chat.rooms.get('garden')?.isIn")
        rooms = json.loads(await alice.run("localStorage['trio_chat:rooms:alice']"))
        assert sorted(rooms) == ["garden", "kitchen", "lobby"], "they stay, until they are left"
        await alice.open_room("lobby")
        await alice.say("said too early")
        await alice.tab.until("refusals.includes('not_in_room')")
        await alice.run("isBusy = false")
        await alice.sees("said too early")
        assert await alice.shown("#waiting") == ""
        await alice.tab.until("chat.rooms.get('kitchen').isIn")
        await alice.say("/leave")
        await alice.tab.until("!chat.rooms.has('lobby')")
        rooms = json.loads(await alice.run("localStorage['trio_chat:rooms:alice']"))
        assert sorted(rooms) == ["garden", "kitchen"]


async def test_what_waits_for_a_busy_server_is_not_overtaken(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.run(BUSY_ONCE)
        await alice.say("first")
        await alice.tab.until("$('waiting').innerText.includes('the server is busy')")
        await alice.say("second")
        await alice.sees("second")
        assert await alice.texts() == ["first", "second"]


BUSY_ONCE = """(() => {
  const { send } = chat.link;
  chat.link.send = message => {
    if (message.type !== "say") return send.call(chat.link, message);
    chat.link.send = send;
    const busy = {type: "error", code: "busy", text: "the server is busy", retry: 1};
    setTimeout(() => chat.heard({...busy, id: message.id}));
    return true;
  };
})()"""


BUSY = """(() => {
  window.isBusy = true;
  window.refusals = [];
  const send = chat.link.send.bind(chat.link), heard = chat.heard.bind(chat);
  const busy = {type: "error", code: "busy", text: "the server is busy", retry: 0.1};
  chat.link.send = message => {
    if (!isBusy || message.type !== "join" || message.room === "garden") return send(message);
    setTimeout(() => chat.heard({...busy, id: message.id}));
    return true;
  };
  chat.heard = message => { if (message.code) refusals.push(message.code); heard(message); };
  for (const room of chat.rooms.keys()) send({type: "leave", room});
  chat.end();
  comeBack(kept.get("me", null));
})()"""
"""Comes back, as after a while, to a server that lets nobody in but to the garden."""


@asynccontextmanager
async def serving(port: int, data: Path) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [*PROGRAM, "serve", "--port", str(port), "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(data, {}),
    )
    assert process.stdout is not None
    try:
        await process.stdout.receive_some()
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.stdout.aclose()
            await process.wait()


def lines(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


async def say_lines(chat: Chat, count: int) -> None:
    for receipt in [await chat.submit("lobby", line) for line in lines(count)]:
        await receipt.wait()


AT_THE_BEGINNING = "(document.getElementById('log').scrollTop = 0, chat.open.first === 1)"
"""Scrolls up, and tells whether there is nothing more."""


async def test_a_thousand_events_are_scrolled_back_through(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob:
        await bob.join("lobby")
        await say_lines(bob, 1000)
    async with stage.page("alice") as (alice,):
        await alice.sees("line 999")
        await alice.tab.until(AT_THE_BEGINNING)
        assert await alice.texts() == lines(1000)
        await alice.tab.until("document.getElementById('older').innerText.includes('begins')")


async def test_what_was_said_comes_where_there_is_nothing_to_scroll(stage: Stage) -> None:
    """Comings and goings share a line, and a sign has none."""
    async with stage.server.connect(name="bob") as bob:
        await bob.join("lobby")
        first = await bob.say("lobby", "the first")
        async with stage.server.connect(name="eve") as eve:
            for _ in range(30):
                await eve.join("lobby")
                await eve.leave("lobby")
        await sign_often(bob, first, 120)
    async with stage.page("alice") as (alice,):
        await alice.sees("the first")
        assert await alice.run("chat.open.first") == 1
        assert "begins" in await alice.shown("#older")


async def test_where_one_reads_stays_when_nothing_to_be_seen_was_earlier(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob:
        await bob.join("lobby")
        first = await bob.say("lobby", "the first")
        await sign_often(bob, first, 200)
        await say_lines(bob, 100)
    async with stage.page("alice") as (alice,):
        await alice.sees("line 99")
        await alice.tab.until(
            "(document.getElementById('log').scrollTop = 0, chat.open.says.size >= 100)"
        )
        await alice.sees("the first")
        assert not await alice.run("show.isAtEnd")


async def test_what_is_found_is_gone_to_whatever_comes_meanwhile(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob:
        await bob.join("lobby")
        await say_lines(bob, 500)
        await bob.join("garden")
        for text in lines(80):
            await bob.say("garden", text)
        async with stage.page("alice") as (alice,):
            # A page of history is under way already.
            await alice.run("(hands.older(), jump(chat.open, 2))")
            await alice.tab.until("document.activeElement.dataset.seq === '2'")
            # The newest events are.
            await alice.run("chat.join('garden', false).then(room => jump(room, 3))")
            await alice.tab.until("document.activeElement.dataset.seq === '3'")
            assert await alice.texts() == lines(80)
            assert len(await alice.run("chat.open.items.map(item => item.seq)")) == 82


async def test_a_page_of_history_for_what_was_let_go_of_meanwhile_makes_no_hole(
    stage: Stage,
) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.join("lobby")
        await say_lines(bob, 1200)
        await alice.sees("line 1199")
        await alice.run("chat.open.first = 150")  # as if it were the oldest that is here
        await alice.run("(hands.older(), show.trim(chat.open))")
        await alice.tab.until(AT_THE_BEGINNING)
        assert await alice.texts() == lines(1200)


async def sign_often(chat: Chat, seq: int, count: int) -> None:
    """Put a sign beside a text and take it away, until so much has happened."""
    for number in range(count):
        await chat.react("lobby", seq, "👍", off=number % 2 == 1)


async def test_what_was_earlier_does_not_change_what_is_so_now(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob:
        await bob.join("lobby")
        async with stage.server.connect(name="eve") as eve:
            await eve.join("lobby")
            await eve.leave("lobby")
        first = await bob.say("lobby", "the first")
        await bob.react("lobby", first, "👍")
        await bob.react("lobby", first, "🎉")
        await say_lines(bob, 100)
        await bob.react("lobby", first, "👍", off=True)
        async with stage.page("alice") as (alice,):
            await alice.sees("line 99")
            await alice.tab.until(AT_THE_BEGINNING)
            await alice.sees("the first")
            assert await alice.shown(".signs") == "🎉\n1"
            assert await alice.run("[...chat.open.members.keys()].sort()") == ["alice", "bob"]


async def test_a_page_that_stays_open_lets_go_of_the_oldest(stage: Stage) -> None:
    async with (
        stage.page("alice") as (alice,),
        stage.server.connect(name="bob") as bob,
    ):
        await bob.join("lobby")
        await say_lines(bob, 3100)
        await alice.sees("line 3099")
        assert await alice.run("document.querySelectorAll('.message').length") < 2000
        await alice.tab.until(AT_THE_BEGINNING)
        assert await alice.texts() == lines(3100)


async def test_where_one_reads_does_not_move_when_more_comes(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob:
        await bob.join("lobby")
        await say_lines(bob, 300)
        async with stage.page("alice") as (alice,):
            await alice.sees("line 299")
            await alice.tab.until(
                "(document.getElementById('log').scrollTop = 0, chat.open.says.size > 100)"
            )
            await alice.tab.until(
                "(document.getElementById('log').scrollTop = 900, !show.isAtEnd)"
            )
            top = (
                "chat.open.items.find(item => item.text === 'line 260')"
                ".node.getBoundingClientRect().top"
            )
            before = await alice.run(top)
            await bob.say("lobby", "new below")
            await alice.sees("new below")
            await alice.run("hands.older()")
            assert abs(await alice.run(top) - before) < 2
            assert "New" in await alice.shown("#down")
            await alice.tab.click("#down")
            await alice.tab.until("show.isAtEnd")


# ---------------------------------------------------------------- attention


async def test_what_is_unread_is_counted_and_marked(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.page("alice") as (alice,),
    ):
        await bob.join("lobby")
        await bob.join("garden")
        await alice.open_room("garden")
        await alice.is_in("garden")
        await bob.say("lobby", "seen by nobody")
        await bob.say("lobby", "alice: look")
        await bob.say("lobby", "not malice")
        await alice.tab.until(
            "document.querySelector('#rooms .unread .badge.calls')?.textContent === '3'"
        )
        await alice.tab.press("Alt+Shift+ArrowDown")
        await alice.is_in("lobby")
        assert (
            await alice.run("document.querySelector('.new + .message .text').innerText")
            == "seen by nobody"
        )
        assert await alice.run("document.querySelectorAll('.message.calls').length") == 1
        await alice.tab.until("!document.querySelector('#rooms .badge:not([hidden])')")
        await alice.tab.reload()
        await alice.is_in()
        await alice.tab.until("!document.querySelector('#rooms .badge:not([hidden])')")
        assert await alice.run("chat.rooms.get('lobby').read === chat.rooms.get('lobby').last")
        heard = await alice.run("document.getElementById('heard').innerText")
        assert "look" not in heard, "it has been read"


async def test_a_mention_is_notified_where_that_was_permitted(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.page("alice") as (alice,),
    ):
        await bob.join("lobby")
        await alice.run(RECORDED)
        await bob.say("lobby", "alice: before it was permitted")
        await alice.sees("alice: before it was permitted")
        await alice.tab.click("#settings-open")
        assert await alice.run("asked") == 0
        await alice.tab.click("#settings [name=notify]")
        await alice.tab.until("asked === 1")
        await alice.tab.click("#settings .main")
        await bob.say("lobby", "alice: while she looks")
        await alice.sees("alice: while she looks")
        await alice.run("document.hasFocus = () => false")
        await bob.say("lobby", "not for alicia")
        await bob.say("lobby", "this is for alice, though")
        await bob.say("@alice", "and this")
        await alice.tab.until("told.length === 2")
        assert await alice.run("told") == [
            ["bob in lobby", "this is for alice, though"],
            ["bob", "and this"],
        ]


RECORDED = """(() => {
  window.asked = 0;
  window.told = [];
  window.Notification = class {
    static permission = "default";
    static async requestPermission() {
      asked += 1;
      return Notification.permission = navigator.userActivation.isActive ? "granted" : "denied";
    }
    constructor(title, { body }) { told.push([title, body]); }
  };
})()"""
"""A headless browser has nobody to ask and nowhere to show anything."""


async def test_a_second_tab_goes_on_and_the_first_one_waits(stage: Stage) -> None:
    async with (
        stage.page("alice") as (first,),
        stage.browser.tab(context=first.tab.context) as tab,
    ):
        await first.tab.type("not sent yet")
        second = Page(tab)
        await tab.open(stage.address)
        await second.is_in()
        await first.tab.until("document.getElementById('asleep').open")
        assert await tab.run("document.getElementById('typed').value") == "not sent yet"
        await second.say(" and now it is")
        await second.sees("not sent yet and now it is")
        await first.tab.click("#asleep button")
        await first.is_in()
        await first.sees("not sent yet and now it is")
        await tab.until("document.getElementById('asleep').open")


async def test_all_goes_by_the_keyboard_alone(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.tab.press("Control+k")
        await alice.tab.until("document.getElementById('finder').open")
        await alice.tab.type("kitchen")
        await alice.tab.press("Enter")
        await alice.is_in("kitchen")
        for text in ("anybody?", "nobody"):
            await alice.tab.type(text)
            await alice.tab.press("Enter")
            await alice.sees(text)
        await alice.tab.press("Shift+Tab", "ArrowUp", "ArrowUp", "e")
        await alice.tab.until("document.getElementById('typed').value === 'anybody?'")
        await alice.tab.type(" hello?")
        await alice.tab.press("Enter")
        await alice.sees("anybody? hello?(edited)")
        await alice.tab.press("Shift+Tab", "ArrowUp", "Tab")
        await alice.tab.until("document.activeElement.dataset.do === 'react'")
        await alice.tab.press("Escape", "Alt+ArrowDown")
        await alice.is_in("lobby")
        await alice.tab.type("/leave")
        await alice.tab.press("Enter")
        await alice.is_in("kitchen")


async def test_a_screen_reader_is_told_what_is_what(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.join("lobby")
        await bob.say("lobby", "can you hear me?")
        await alice.tab.until(
            "document.querySelector('#heard[role=log][aria-live=polite]').innerText"
            " === 'bob: can you hear me?'"
        )
        roles = await alice.tab.roles()
        assert roles >= {
            ("navigation", "Rooms and people"),
            ("main", ""),
            ("heading", "# lobby"),
            ("heading", "Rooms"),
            ("list", "People"),
            ("region", "Messages in lobby"),
            ("list", "Messages in lobby"),
            ("textbox", "Message"),
            ("button", "Send"),
            ("button", "Search"),
            ("log", "New messages"),
        }
        await bob.say("lobby", "hello?")
        await alice.sees("hello?")
        assert await alice.run(
            "[...document.querySelectorAll('.message .head')].map(head => head.innerText)"
            ".every(head => head.startsWith('bob'))"
        ), "who says it is told of each message"
        nameless = {role for role, name in roles if not name}
        assert not nameless & {"button", "textbox", "dialog", "searchbox", "checkbox", "link"}
        unlabelled = await alice.run(
            "[...document.querySelectorAll('button, input, textarea')].filter(one =>"
            " !one.innerText && !one.ariaLabel && !one.getAttribute('aria-labelledby') &&"
            " !one.labels?.length).map(one => one.outerHTML)"
        )
        assert unlabelled == []


async def test_what_others_say_now_is_read_out_and_nothing_else(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob:
        for room in ("lobby", "garden"):
            await bob.join(room)
            await bob.say(room, "alice: earlier")
        async with stage.page("alice") as (alice,):
            await alice.sees("alice: earlier")
            await alice.run("chat.join('garden', false)")
            await alice.tab.until("chat.rooms.get('garden').last === 3")
            await alice.say("her own")
            await alice.sees("her own")
            await bob.say("lobby", "now")
            await bob.say("garden", "not for her")
            await bob.say("garden", "alice!")
            await bob.say("@alice", "psst")
            await alice.tab.until("$('heard').children.length === 3")
            heard = await alice.run("[...$('heard').children].map(line => line.innerText)")
            assert heard == ["bob: now", "bob calls you in garden", "bob writes to you"]


async def test_the_focus_stays_where_it_is_when_somebody_comes(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.server.connect(name="carol") as carol,
        stage.page("alice") as (alice,),
    ):
        await bob.join("lobby")
        await alice.tab.click("#members-open")
        await alice.tab.until("!!document.querySelector('#members [data-person=bob]')")
        await alice.run("document.querySelector('#members [data-person=bob]').focus()")
        await carol.join("lobby")
        await alice.tab.until("!!document.querySelector('#members [data-person=carol]')")
        assert await alice.run("document.activeElement.dataset.person") == "bob"


async def test_what_was_not_meant_after_all_is_not_done(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.say("look at this")
        await alice.sees("look at this")
        await alice.run(ON_THE_FIRST)
        await alice.tab.press("+")
        await alice.tab.until("$('signs').open")
        await alice.run("document.querySelector('#signs input').focus()")
        await alice.tab.type("oops")
        await alice.tab.press("Escape")
        await alice.tab.until("!$('signs').open && document.activeElement === $('typed')")
        await alice.run(ON_THE_FIRST)
        await alice.tab.press("Delete")
        await alice.tab.until("document.activeElement.innerText === 'Delete'")
        await alice.tab.press("Escape")
        await alice.say("never mind")
        await alice.sees("never mind")
        assert await alice.texts() == ["look at this", "never mind"]
        assert await alice.run("document.querySelectorAll('.signs').length") == 0
        await alice.run(ON_THE_FIRST)
        await alice.tab.press("Delete", "Enter")
        await alice.sees("This message was deleted.")
        assert await alice.run("document.activeElement.id") == "typed"


ON_THE_FIRST = "document.querySelector('#messages .message').focus()"


async def test_what_is_chosen_in_a_list_is_told(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.tab.type("/si")
        await alice.tab.until(f"{CHOSEN}?.startsWith('/silence')")
        await alice.run("composer.put('/nothing')")
        await alice.tab.type("s")
        await alice.tab.until(f"!{CHOSEN}")
        await alice.tab.press("Control+k")
        await alice.tab.until(f"{CHOSEN}?.includes('lobby')")
        await alice.tab.type("kitchen")
        await alice.tab.until(f"{CHOSEN}?.includes('make this room')")


CHOSEN = "document.activeElement.ariaActiveDescendantElement?.innerText"


async def test_all_goes_by_the_mouse(stage: Stage) -> None:
    async with stage.page("alice", "bob") as (alice, bob):
        await alice.say("look at this")
        await bob.sees("look at this")
        await bob.tab.hover(".message")
        await bob.tab.click("#actions [data-do=reply]")
        await bob.say("I do")
        await alice.tab.until("!!document.querySelector('.quote:not([hidden])')")
        await alice.tab.hover(".message")
        await alice.tab.click("#actions [data-do=edit]")
        await alice.tab.type(", too")
        await alice.tab.click("#send")
        await bob.sees("look at this, too(edited)")
        await alice.tab.hover(".message")
        await alice.open_room("garden")
        await alice.is_in("garden")
        # Or the place moves under the mouse.
        await alice.tab.until("!!document.querySelector('#rooms .place[data-room=garden]')")
        await alice.tab.click("#rooms .place[data-room=lobby]")
        await alice.sees("I do")
        await alice.tab.hover(".message")
        await alice.tab.click("#actions [data-do=delete]")
        await alice.tab.click("#toast button")
        await bob.sees("This message was deleted.")


async def test_several_pasted_lines_are_one_message(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.tab.paste("one\ntwo\n\n  three")
        await alice.tab.press("Enter")
        await alice.sees("one\ntwo\n\n  three")
        assert len(await alice.texts()) == 1


async def test_all_fits_on_a_phone(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.hold_as_a_phone()
        await alice.open_room("garden")
        await alice.is_in("garden")
        await alice.say(f"https://example.org/{'long' * 100} {'wide' * 100}")
        await alice.tab.until("!!document.querySelector('.message .text a')")
        assert await alice.run(OUTSIDE) == []
        await alice.tab.click("#side-open")
        await alice.tab.until("$('side').getBoundingClientRect().left === 0")
        assert await alice.run(OUTSIDE) == []
        await alice.tab.click("#rooms .place[data-room=lobby]")
        await alice.is_in("lobby")
        await alice.tab.until("getComputedStyle($('side')).visibility === 'hidden'")
        for dialog in ("settings.open(true)", "account.open()", "finder.open('')"):
            await alice.run(f"void {dialog}")
            assert await alice.run(OUTSIDE) == [], dialog
            await alice.run("document.querySelector('dialog[open]').close()")


OUTSIDE = """[...document.querySelectorAll("body *")].filter(one => {
  const box = one.getBoundingClientRect();
  const isSeen = box.width > 1 && one.checkVisibility({visibilityProperty: true});
  return isSeen && !one.closest("pre, .skip, #side:not(.open)")
    && (box.left < -1 || box.right > innerWidth + 1);
}).map(one => one.outerHTML.slice(0, 200))"""
"""What is seen, and stands beyond the left or the right edge."""


async def test_a_name_that_is_taken_is_told_at_the_door(stage: Stage) -> None:
    async with stage.page("alice") as (_,), stage.browser.tab() as tab:
        await tab.open(stage.address)
        await tab.until("document.activeElement?.name === 'name'")
        await tab.type("alice")
        await tab.press("Enter")
        await tab.until("document.getElementById('refused').textContent.includes('alice')")
        await Page(tab).fill("#enter [name=name]", "alicia")
        await tab.press("Enter")
        await Page(tab).is_in()


async def test_a_text_that_is_refused_can_be_taken_back(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.run("chat.open.name = 'nowhere'")
        await alice.say("into a room that is not there")
        await alice.tab.until("!!document.querySelector('#waiting .refused')")
        await alice.tab.type("typed meanwhile")
        await alice.tab.click("#waiting [data-fate=back]")
        typed = await alice.run("document.getElementById('typed').value")
        assert typed == "into a room that is not there\ntyped meanwhile"


async def test_a_text_that_is_refused_is_there_after_a_reload(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.say("/msg nobody hello?")
        await alice.tab.until("!!document.querySelector('#waiting .refused')")
        await alice.tab.reload()
        await alice.tab.until("$('waiting').innerText.includes('hello?')")
        assert "nobody here is called nobody" in await alice.shown("#waiting .refused .fate")


async def test_a_refusal_is_told_in_another_room_too_and_can_be_tried_again(
    stage: Stage,
) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.register(PASSWORD)
        await bob.join("garden")
        await alice.open_room("garden")
        await alice.is_in("garden")
        await bob.moderate(Mute("garden", "alice"))
        await alice.run("composer.put('may I?'); $('send').click(); go('lobby')")
        await alice.tab.until("$('toast').innerText.includes('Not sent to garden: ')")
        await alice.tab.click("#toast button")
        await alice.is_in("garden")
        assert "Not sent: " in await alice.shown("#waiting .refused .fate")
        await bob.moderate(Mute("garden", "alice", off=True))
        await alice.tab.click("#waiting [data-fate=again]")
        await alice.sees("may I?")
        assert await alice.shown("#waiting") == ""


async def test_what_can_not_be_done_without_a_connection_is_not_lost(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.say("the frist")
        await alice.sees("the frist")
        await alice.run("chat.isConnected = false")
        await alice.tab.press("ArrowUp")
        await alice.fill("#typed", "the first")
        await alice.tab.press("Enter")
        await alice.tab.until("document.getElementById('toast').innerText.includes('connect')")
        assert await alice.run("document.getElementById('typed').value") == "the first"
        await alice.run("chat.isConnected = true")
        await alice.tab.press("Enter")
        await alice.sees("the first(edited)")
        await alice.run("chat.isConnected = false")
        await alice.say("/topic numbers")
        assert await alice.run("document.getElementById('typed').value") == "/topic numbers"
        assert "connection" in await alice.shown("#hint")


# ---------------------------------------------------------------- a name of one's own

PASSWORD, ANOTHER = "correct horse", "battery staple"

EVERYWHERE = """[
  document.documentElement.outerHTML,
  ...[...document.querySelectorAll("input, textarea")].map(one => one.value),
  ...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie,
].join()"""
"""All places where a page could leave something behind."""


async def test_a_name_is_registered_and_its_devices_come_and_go(stage: Stage) -> None:
    async with stage.page("alice") as (alice,), stage.browser.tab() as tab:
        other = Page(tab)
        await alice.tab.click("#me-open")
        await alice.set_password(PASSWORD, "something else")
        await alice.tab.until("document.getElementById('account-refused').innerText")
        await alice.set_password(PASSWORD)
        await alice.tab.until("chat.hasAccount && !document.getElementById('account').open")
        await alice.tab.reload()
        await alice.is_in()
        await other.come_to(stage.address, "alice")
        await other.log_in("a guess of mine")
        await tab.until("document.getElementById('refused').innerText.includes('password')")
        await other.log_in(PASSWORD)
        await other.is_in()
        await tab.reload()
        await other.is_in()
        await alice.say("at two places")
        await other.sees("at two places")
        for page in (alice, other):
            assert PASSWORD not in await page.run(EVERYWHERE)
        await alice.say("/devices")
        await alice.tab.until("document.querySelectorAll('#device-list li').length === 2")
        assert await alice.shown("#device-list li") == "the page, Chrome on Linux\nthis one"
        await alice.tab.click("#device-list button")
        await tab.until("document.activeElement === document.forms.enter.elements.password")
        await alice.tab.until("document.querySelectorAll('#device-list li').length === 1")
        assert await alice.run("document.activeElement.id") == "account-close"


async def test_a_password_is_changed_and_who_logs_out_needs_it(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.say("/register")
        await alice.set_password(PASSWORD)
        await alice.tab.until("chat.hasAccount && !document.getElementById('account').open")
        await alice.say("/password")
        await alice.fill("#own [name=old]", "not this one")
        await alice.set_password(ANOTHER)
        await alice.tab.until("document.getElementById('account-refused').innerText")
        await alice.fill("#own [name=old]", PASSWORD)
        await alice.set_password(ANOTHER)
        await alice.tab.until("!document.getElementById('account').open")
        await alice.say("between us")
        await alice.sees("between us")
        await alice.say("/topic our secret")
        await alice.tab.until("$('topic').innerText === 'our secret'")
        await alice.say("/search between us")
        await alice.tab.until("document.querySelectorAll('#hits button').length === 1")
        await alice.tab.press("Control+k")
        await alice.tab.until("$('found').innerText.includes('lobby')")
        await alice.tab.press("Escape")
        await alice.run("account.open()")
        await alice.tab.until("$('device-list').innerText.includes('Linux')")
        await alice.run("$('account').close()")
        await alice.run("$('typed').focus()")
        await alice.tab.type("half a line")
        await alice.tab.click("#settings-open")
        await alice.tab.click("#sign-out")
        await alice.tab.click("#toast button")
        await alice.tab.until("!document.getElementById('door').hidden")
        assert await alice.run("Object.keys(localStorage)") == ["trio_chat:theme"]
        left = await alice.run(EVERYWHERE)
        for trace in (
            "between us",
            "half a line",
            "our secret",
            "on Linux",
            "alice",
            "data-go",
        ):
            assert trace not in left, trace
        await alice.come_to(stage.address, "alice")
        await alice.log_in(ANOTHER)
        await alice.is_in()
        await alice.say("/devices")
        await alice.tab.until("document.querySelectorAll('#device-list li').length === 1")


async def test_a_password_that_slips_into_the_field_is_not_kept(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.tab.type(f"/register {PASSWORD}")
        assert PASSWORD not in await alice.run("Object.values(localStorage).join()")
        await alice.tab.press("Enter")
        await alice.tab.until("document.getElementById('account').open")
        assert PASSWORD not in await alice.run(EVERYWHERE)


# ---------------------------------------------------------------- attacks

NOTHING_BUT_OURS = """
["messages", "topic", "title", "rooms", "people", "members", "hits", "toast", "waiting",
 "heard", "found"].flatMap(place => [...document.getElementById(place).querySelectorAll(`
   script, iframe, object, embed, img, video, audio, style, link, meta, base, form, math,
   details, marquee, svg, a
`)]).filter(one => !one.closest("#actions, .more, .quiet")).map(one => one.outerHTML)
"""


async def test_no_text_of_others_becomes_a_program(stage: Stage) -> None:
    """Sent by somebody, and as everything that a server that lies could say."""
    assert len(PAYLOADS) >= 60
    async with (
        stage.server.connect(name="eve") as eve,
        stage.page("alice") as (alice,),
    ):
        await eve.join("lobby")
        for payload in PAYLOADS:
            await eve.say("lobby", payload)
        await alice.sees(PAYLOADS[-1])
        shown = await alice.texts()
        assert [text.replace("\t", " ") for text in shown] == [
            payload.replace("\t", " ").strip("`") for payload in PAYLOADS
        ]
        for payload in PAYLOADS:
            await alice.run(LIE % json.dumps(payload))
        await alice.run(
            "document.querySelectorAll('.message, .place, button').forEach(one =>"
            " one.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})))"
        )
        await alice.run(AFTER_ALL_THAT_LOADS)
        found = await alice.run(NOTHING_BUT_OURS)
        assert [
            one for one in found if not one.startswith('<a href="https://example.org/')
        ] == []
        assert await alice.run("window.hit") is None
        await alice.run(
            "document.querySelectorAll('#messages a').forEach(link => link.click())"
        )
        assert await alice.run("window.hit") is None


AFTER_ALL_THAT_LOADS = """new Promise(done => {
  const last = new Image();
  last.onload = () => requestAnimationFrame(() => requestAnimationFrame(done));
  last.src = "/icon.svg?" + Math.random();
})"""
"""What was asked for before it has come or failed, and what would begin to move has begun."""


LIE = """(text => {
  const seq = () => chat.open.last + 1;
  const at = new Date().toISOString();
  const event = message => ({type: "event", seq: seq(), at, by: text, message});
  const room = chat.open.name;
  for (const message of [
    {type: "say", room, text, id: text}, {type: "topic", room, text}, {type: "join", room},
    {type: "kick", room, name: text, reason: text},
    {type: "appoint", room, name: text, rank: text},
    {type: "react", room, seq: chat.open.last - 2, sign: text}, {type: text, room},
    {type: "say", room, text, reply_to: chat.open.last},
  ]) chat.heard(event(message));
  chat.heard({type: "called", room: `@${text},alice:x`, by: text, seq: 1});
  chat.heard({type: "called", room: text, by: text, seq: 1});
  chat.heard({type: "error", code: text, text, id: "nothing"});
  show.hits([{room: text, seq: 1, at, by: text, text}], 1, true);
  show.beside("members");
  show.toast(text);
})(%s)"""


async def test_no_trick_of_writing_reaches_an_eye(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        for name, trick in TRICKS.items():
            if "\udc80" in trick:
                continue  # can't be sent at all
            shown = await alice.run(f"clean({json.dumps(trick)})")
            refused = {char for char in shown if category(char) in REFUSED - {"Cn"}}
            assert refused <= {"\n", "\t"}, name
        kept = "👩‍💻 ❤️ 🏳️‍🌈 日本語 עברית Tiếng Việt"
        assert await alice.run(f"clean({json.dumps(kept)})") == kept
        assert await alice.run("clean('a' + '\\u0301'.repeat(30)).length") == 5
        assert await alice.run("clean('a\\u200db')") == "a\ufffdb"


async def test_a_page_of_another_site_can_not_connect(stage: Stage) -> None:
    async with running_page() as other, stage.browser.tab() as tab:
        await tab.open(other)
        outcome = await tab.run(
            f"""new Promise(done => {{
              const socket = new WebSocket("ws://{stage.server.host}:{stage.server.port}/ws");
              socket.onopen = () => done("open");
              socket.onclose = ending => done(ending.code);
            }})"""
        )
        assert outcome == 1006
        posted = await tab.run(
            f"""fetch("{stage.address}hooks/x", {{method: "POST", mode: "no-cors", body: "x"}})
              .then(answer => answer.type, () => "failed")"""
        )
        assert posted in {"opaque", "failed"}


@asynccontextmanager
async def running_page() -> AsyncIterator[str]:
    """Another site, with an empty page."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
                b"Content-Length: 15\r\n\r\n<!doctype html>"
            )

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"http://localhost:{port}/"
        nursery.cancel_scope.cancel()


async def test_a_room_is_not_empty_for_what_was_not_sent_there(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.register(PASSWORD)
        await bob.join("garden")
        await bob.say("garden", "said before")
        await alice.open_room("garden")
        await alice.is_in("garden")
        await bob.moderate(Kick("garden", "alice"))
        await alice.tab.until("!chat.open.isIn")
        await alice.say("may I?")
        await alice.tab.until("!!document.querySelector('#waiting .refused')")
        await alice.tab.reload()
        await alice.is_in("garden")
        await alice.sees("said before")
        assert "may I?" in await alice.shown("#waiting .refused")
        await bob.moderate(Ban("garden", "alice"))
        await alice.tab.until("!chat.open.isIn")
        await alice.tab.reload()
        await alice.tab.until("$('toast').innerText.includes('banned from garden')")
        await alice.tab.until("chat.rooms.get('lobby')?.isIn")
        await alice.open_room("garden")
        assert "may I?" in await alice.shown("#waiting .refused"), "nowhere else is it told"


async def test_a_private_room_is_not_empty_where_the_connection_was_lost_at_once(
    stage: Stage,
) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await bob.join("lobby")
        await alice.open_room("@bob")
        await alice.say("between us")
        await alice.tab.until("chat.open.isIn")
        await alice.sees("between us")
        await alice.tab.call("Page.addScriptToEvaluateOnNewDocument", source=LOST_AT_ONCE)
        await alice.tab.reload()
        await alice.tab.until("window.wasLost && chat.isConnected")
        await alice.sees("between us")


LOST_AT_ONCE = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (line) {
  const { type, room } = JSON.parse(line);
  if (window.wasLost || type !== "join" || !room.startsWith("@")) return send.call(this, line);
  window.wasLost = true;
  this.close();
};
"""
