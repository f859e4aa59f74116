"""What calls somebody on the page, and who is not to be heard; in a real Chromium."""

from tests.browser.stage import Page, Stage, needs_browser
from tests.browser.test_page import RECORDED
from trio_chat.client.chat import Chat
from trio_chat.messages import Invite

pytestmark = needs_browser

REAL_SECONDS = 100

BADGES = "document.querySelectorAll('#side .badge:not([hidden])').length"


async def are_in(*people: Chat) -> None:
    for person in people:
        await person.join("lobby")
        await person.join("garden")


async def permit_notes(alice: Page) -> None:
    """What is notified goes into `told`, as if nobody looked."""
    await alice.run(RECORDED)
    await alice.run(
        "(Notification.permission = 'granted', kept.set('notify', true),"
        " document.hasFocus = () => false)"
    )


async def test_who_is_ignored_is_neither_seen_nor_heard_of(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.server.connect(name="carol") as carol,
        stage.page("alice") as (alice,),
    ):
        await are_in(bob, carol)
        said = await bob.say("lobby", "seen until now")
        await carol.say("lobby", "an answer", reply_to=said)
        await alice.sees("an answer")
        await alice.tab.click("#members-open")
        await alice.tab.until("!!document.querySelector('#members [data-about=bob]')")
        await alice.run("document.querySelector('#members [data-about=bob]').focus()")
        await alice.tab.press("Enter")
        await alice.tab.until("document.activeElement.innerText === 'Write to bob'")
        await alice.tab.press("ArrowDown", "Enter")
        assert await alice.texts() == ["an answer"]
        assert "until now" not in await alice.shown("#log")
        await permit_notes(alice)
        await bob.say("lobby", "alice: look")
        await bob.say("garden", "alice: look")
        await bob.say("@alice", "psst")
        await bob.react("lobby", said + 1, "👎")
        await bob.set_topic("lobby", "anything")
        await bob.join("den")
        await bob.moderate(Invite("den", "alice"))
        await bob.leave("lobby")
        await carol.say("lobby", "after all that")
        await alice.sees("after all that")
        assert await alice.texts() == ["an answer", "after all that"]
        assert await alice.run("told") == []
        await alice.tab.until("document.title === '• lobby · trio_chat'")
        assert await alice.run(BADGES) == 1, "for what carol has said"
        for trace in ("bob", "👎"):
            assert trace not in await alice.shown("#log")
        await alice.tab.until("$('people').innerText.includes('muted')")
        assert await alice.shown("#toast") == "You see nothing of bob any more. Undo"
        assert "look" not in await alice.run("$('heard').innerText")
        await alice.say("/search look")
        await alice.tab.until("$('hits').innerText.includes('Nothing was found')")
        await alice.tab.reload()
        await alice.sees("after all that")
        assert await alice.texts() == ["an answer", "after all that"]
        await alice.say("/ignore")
        assert "bob" in await alice.shown("#quieted")
        await alice.tab.click("#quieted button")
        await alice.tab.press("Escape")
        await alice.sees("alice: look")
        assert await alice.shown("#quieted") == ""


async def test_a_muted_room_counts_and_calls_for_nothing(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.page("alice") as (alice,),
    ):
        await are_in(bob)
        await alice.open_room("garden")
        await alice.is_in("garden")
        await alice.tab.click("#room-menu")
        await alice.tab.until("document.activeElement.innerText === 'Mute'")
        await alice.tab.press("Enter")
        await alice.open_room("lobby")
        await alice.is_in("lobby")
        await permit_notes(alice)
        await bob.say("garden", "alice: look")
        await bob.say("lobby", "alice: and here")
        await alice.sees("alice: and here")
        assert await alice.run("told") == [["bob in lobby", "alice: and here"]]
        await alice.tab.until(f"{BADGES} === 1")
        garden = "#rooms [data-room=garden]"
        assert (await alice.shown(garden)).split() == ["#", "garden", "muted"]
        assert await alice.run(f"!$('rooms').querySelector('{garden}').matches('.unread')")
        await alice.run("(delete document.hasFocus, hands.mark())")
        await alice.tab.until("document.title === 'lobby · trio_chat'")
        await alice.tab.press("Alt+Shift+ArrowDown")
        await alice.is_in("lobby")
        await alice.tab.reload()
        await alice.is_in("lobby")
        await alice.tab.until(f"!$('rooms').querySelector('{garden} .quiet').hidden")
        await alice.tab.click(garden, button="right")
        await alice.tab.until("document.activeElement.innerText === 'Unmute'")
        await alice.tab.press("Enter")
        await alice.tab.until(f"{BADGES} === 1 && document.title.startsWith('(1)')")


async def test_what_is_ignored_and_muted_belongs_to_a_name(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.page("alice") as (alice,),
        stage.browser.tab(context=alice.tab.context) as tab,
    ):
        await are_in(bob)
        await alice.say("/ignore alice")
        assert await alice.shown("#hint") == "That is you."
        await alice.run("$('typed').value = ''")
        await alice.say("/ignore @Bob")
        await alice.say("/mute garden")
        other = Page(tab)
        await tab.open(stage.address)
        await other.is_in()
        lists = "[...chat.attention.ignored, ...chat.attention.muted].join()"
        assert await other.run(lists) == "bob,garden"
        await other.run("chat.leave().then(() => show.door())")
        await other.come_to(stage.address, "carol")
        await other.is_in()
        assert await other.run(lists) == ""


async def test_an_answer_calls_and_what_was_taken_back_does_not(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.page("alice") as (alice,),
    ):
        await are_in(bob)
        await alice.say("who has the key?")
        await alice.sees("who has the key?")
        asked = await alice.run("chat.open.items.at(-1).seq")
        await alice.open_room("garden")
        await alice.is_in("garden")
        await bob.say("lobby", "I have", reply_to=asked)
        oops = await bob.say("lobby", "alice: oops")
        counted = "document.querySelector('#rooms .badge.calls')?.ariaLabel"
        await alice.tab.until(f"{counted} === '2 unread, 2 for you'")
        await bob.delete("lobby", oops)
        await alice.tab.until(f"{counted} === '1 unread, 1 for you'")


async def test_a_menu_goes_by_the_keys_and_gives_the_focus_back(stage: Stage) -> None:
    async with (
        stage.server.connect(name="bob") as bob,
        stage.page("alice") as (alice,),
    ):
        await are_in(bob)
        await alice.tab.click("#members-open")
        await alice.tab.until("!!document.querySelector('#members [data-about=bob]')")
        await alice.run("document.querySelector('#members [data-about=bob]').focus()")
        await alice.tab.press("Enter", "ArrowUp")
        assert await alice.run("document.activeElement.innerText") == "Ignore bob"
        await alice.tab.press("Escape")
        assert await alice.run("document.activeElement.dataset.about") == "bob"
        assert await alice.run("!$('beside').hidden"), "Esc has closed the menu only"
        await alice.tab.press("Enter", "Enter")
        await alice.tab.until(
            "chat.open.name === '@bob' && document.activeElement === $('typed')"
        )


async def test_what_lies_over_a_part_of_the_room_is_put_away(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.tab.resize(880, 640)
        await alice.tab.click("#members-open")
        await alice.tab.until("document.activeElement === $('beside-close')")
        await alice.tab.click("#title")
        await alice.tab.until("$('beside').hidden")
        await alice.tab.click("#search-open")
        await alice.tab.until("!$('beside').hidden")
        await alice.tab.press("Escape")
        await alice.tab.until("$('beside').hidden")
        await alice.tab.resize(1200, 640)
        await alice.tab.click("#members-open")
        await alice.tab.click("#title")
        assert await alice.run("!$('beside').hidden"), "nothing is covered"
