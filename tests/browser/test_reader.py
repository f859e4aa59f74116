"""What somebody gets from the page who hears it instead of seeing it; in a real Chromium."""

from tests.browser.stage import Page, Stage, needs_browser

pytestmark = needs_browser

REAL_SECONDS = 100

WIDE = (1180, 720)
"""Where nothing lies over the room."""

ACTIVE = {
    *("button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "option"),
    *("menuitem", "DisclosureTriangle"),
}
"""The roles of what one does something with."""

GROUPS = {
    *("dialog", "menu", "listbox", "list", "toolbar", "navigation", "complementary", "region"),
    "log",
}
"""And of what one goes to, to find it."""


async def test_whatever_one_acts_upon_or_goes_to_has_a_name(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.browser.tab() as tab:
        alice = Page(tab)
        await tab.resize(*WIDE)
        await tab.open(stage.address)
        await tab.until("document.activeElement?.name === 'name'")
        assert await named(alice) >= {("main", ""), ("textbox", "Your name"), ("alert", "")}
        await tab.type("alice")
        await tab.press("Enter")
        await alice.is_in()
        await bob.join("lobby")
        said = await bob.say("lobby", "can you hear me?")
        await bob.react("lobby", said, "👍")
        await bob.say("lobby", "hello?", reply_to=said)
        await bob.say("@alice", "psst")
        await tab.until("!!document.querySelector('#people .badge:not([hidden])')")
        await tab.run("document.querySelector('#messages .message').focus()")
        assert await named(alice) >= {
            ("main", ""),
            ("log", "New messages"),
            ("list", "Messages in lobby"),
            ("button", "Who is here 2"),
            ("button", "bob 1 unread, 1 for you"),
            ("button", "👍 by bob"),
            ("toolbar", "About this message"),
        }
        await tab.run("show.beside('members')")
        await tab.until("document.querySelectorAll('#members li').length === 2")
        assert await named(alice) >= {("complementary", "Who is here"), ("list", "Who is here")}
        await tab.run("show.beside('search'); hands.search('hear')")
        await tab.until("document.querySelectorAll('#hits button').length === 1")
        assert await named(alice) >= {("complementary", "Search"), ("list", "Found")}
        await tab.run("show.toast('Delete it?', 'Delete')")
        assert await named(alice) >= {("alert", ""), ("button", "Delete")}
        await tab.run("chat.toggle('ignored', 'eve'); settings.open(true)")
        assert await named(alice) >= {("dialog", "Settings"), ("button", "Show again: eve")}
        await tab.press("Escape")
        await bob.register("correct horse")
        for script, role, name in (
            ("account.open()", "dialog", "Make alice yours"),
            ("finder.open('')", "dialog", "Go to a room or a person"),
            ("$('signs').showModal()", "dialog", "React with"),
            ("$('room-menu').click()", "menu", "lobby"),
        ):
            await tab.run(f"{script}, 0")
            assert (role, name) in await named(alice)
            await tab.press("Escape")
        await tab.run("$('typed').focus()")
        await tab.type("/si")
        assert ("listbox", "Completions") in await named(alice)


async def named(page: Page) -> set[tuple[str, str]]:
    """The role and the name of each thing; each that needs a name has one."""
    roles = await page.tab.roles()
    assert not {role for role, name in roles if not name} & (ACTIVE | GROUPS)
    return roles


async def test_the_focus_does_not_go_with_what_had_it(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        tab = alice.tab
        await tab.resize(*WIDE)
        await bob.join("lobby")
        for count in range(60):
            await bob.say("lobby", f"number {count}")
        await alice.sees("number 59")
        await focus(alice, "#rooms button")
        await tab.run("chat.join('garden', false)")
        await tab.until("$('rooms').children.length === 2")
        assert (await focused(alice)).startswith("# lobby"), "the list is another one"
        await tab.until("($('log').scrollTop = 0, !$('down').hidden)")
        await press(alice, "#down")
        assert await focused(alice) == "typed"
        await focus(alice, "#messages .message")
        await tab.run("ignore('bob')")
        assert await focused(alice) == "typed", "nothing is left of the message"
        await press(alice, "#toast button")
        assert await alice.shown("#toast") == "You see what bob says again."
        assert await focused(alice) == "typed"
        await tab.run("show.beside('search'); hands.search('number')")
        await tab.until("$('hits').children.length === 20")
        await press(alice, "#more-hits")
        await tab.until("$('hits').children.length === 40")
        assert "number 39" in await focused(alice), "the first that is new"
        await tab.run("show.beside('members')")
        await tab.until("$('members').children.length === 2")
        await focus(alice, "#members [data-person=bob]")
        await bob.leave("lobby")
        await tab.until("$('members').children.length === 1")
        assert await focused(alice) == "beside-close"
        await alice.say("/msg nobody hello?")
        await tab.until("!!document.querySelector('#waiting .refused')")
        await press(alice, "[data-fate=again]")
        assert await focused(alice) == "typed"


async def test_nor_does_it_on_a_phone_where_the_field_is_for_who_taps_it(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.hold_as_a_phone()
        await press(alice, "#members-open")
        assert await focused(alice) == "beside-close"
        await alice.tab.press("Escape")
        assert await focused(alice) == "log"
        await alice.run("show.toast('There?', 'Yes')")
        await press(alice, "#toast button")
        assert await focused(alice) == "log"
        await press(alice, "#side-open")
        await press(alice, "#rooms button")
        assert await focused(alice) == "log"
        assert not await alice.run("$('log').matches(':focus-visible')"), "for who listens"


async def test_a_question_that_goes_by_itself_leaves_the_focus_where_enter_says_nothing(
    stage: Stage,
) -> None:
    async with stage.page("alice") as (alice,):
        tab = alice.tab
        await tab.run(HOLD_TIMERS)
        await focus(alice, "#typed")
        await tab.type("half a dra")
        for goes in ("later.pop()()", "show.invited({ room: 'garden', by: 'bob' })"):
            await tab.run("show.confirm('Delete it?', 'Delete')")
            assert await focused(alice) == "Delete"
            await tab.run(f"{goes}, 0")
            assert await focused(alice) == "log"
            await tab.press("Enter")
        for key in ("Escape", "Enter"):
            await tab.run("show.confirm('Delete it?', 'Delete')")
            await tab.press(key)
            assert await focused(alice) == "typed", "who has answered goes on"
        await tab.type("ft")
        await tab.press("Enter")
        await alice.sees("half a draft")
        assert await alice.texts() == ["half a draft"]
        await alice.say("/leave")
        await tab.until("$('typed').disabled")
        for opens, closes in (
            ("show.toast('There?', 'Yes')", "#toast button"),
            ("show.beside('search')", "#beside-close"),
        ):
            await tab.run(opens)
            await press(alice, closes)
            assert await focused(alice) == "log", "there is no room to write to"


async def test_once_a_toast_is_gone_nothing_waits_for_it(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.run(HOLD_TIMERS)
        await alice.run("show.toast('There.')")
        await alice.run("later.pop()()")
        assert await alice.shown("#toast") == ""
        assert await alice.run("later.length") == 0


HOLD_TIMERS = """
(soon => {
  window.later = [];
  window.setTimeout = (act, ms) => ms >= 6000 ? -later.push(act) : soon(act, ms);
})(setTimeout)
"""
"""What is to be done in six seconds or more, is done when the test does it."""


async def test_an_answer_does_not_take_the_focus_from_who_has_gone_on(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        tab = alice.tab
        await tab.resize(*WIDE)
        await bob.join("lobby")
        for count in range(30):
            await bob.say("lobby", f"number {count}")
        await alice.sees("number 29")
        await tab.run("show.beside('search'); hands.search('number')")
        await tab.until("$('hits').children.length === 20")
        await tab.run(HOLD_ANSWERS)
        await press(alice, "#more-hits")
        await focus(alice, "#typed")
        await tab.run("letGo()")
        await tab.until("$('hits').children.length === 30")
        assert await focused(alice) == "typed"


async def test_nor_from_who_types_a_password_while_a_device_is_logged_out(stage: Stage) -> None:
    async with stage.page("alice") as (alice,), stage.browser.tab() as elsewhere:
        tab = alice.tab
        await alice.say("/register")
        await alice.set_password("correct horse")
        await tab.until("chat.hasAccount && !$('account').open")
        other = Page(elsewhere)
        await other.come_to(stage.address, "alice")
        await other.log_in("correct horse")
        await other.is_in()
        await tab.run("account.open(true)")
        await tab.until("$('device-list').children.length === 2")
        await tab.run(HOLD_ANSWERS)
        await press(alice, "#device-list button")
        await focus(alice, "#own [name=old]")
        await tab.run("letGo()")
        await tab.until("$('device-list').children.length === 1")
        assert await tab.run("document.activeElement.name") == "old"


HOLD_ANSWERS = """
(ask => {
  const held = new Promise(go => { window.letGo = () => { delete chat.ask; go(); }; });
  chat.ask = async request => { await held; return ask.call(chat, request); };
})(chat.ask)
"""


async def focus(page: Page, selector: str) -> None:
    await page.run(f"document.querySelector('{selector}').focus()")


async def press(page: Page, selector: str) -> None:
    await focus(page, selector)
    await page.tab.press("Enter")


async def focused(page: Page) -> str:
    """What has the focus: its id, or else its text."""
    what = "document.activeElement.id || document.activeElement.innerText"
    return " ".join(str(await page.run(what)).split())


async def test_what_is_only_shown_is_read_out(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.say("/msg nobody hello?")
        await alice.tab.until(f"{HEARD}.at(-1)?.startsWith('Not sent: ')")
        await alice.run("$('heard').replaceChildren()")
        await alice.say("/search nowhere")
        await alice.tab.until(f"{HEARD}.length")
        await alice.run("chat.link.retry(60), chat.link.socket.close()")
        await alice.tab.until(f"{HEARD}.length === 2 && !chat.isConnected")
        await alice.run("chat.closed(), chat.link.retry(0)")
        await alice.tab.until("chat.isConnected")
        nothing, lost, again = await alice.run(HEARD)
        assert nothing == "Nothing was found."
        assert lost.startswith("No connection.")
        assert again == "Connected again."
        await alice.run("show.toast('There?', 'Yes')")
        assert ("alert", "") in await alice.tab.roles(), "one has to act in time"
        await alice.run("show.toast('That is so.')")
        assert ("alert", "") not in await alice.tab.roles()
        assert await alice.run(f"{HEARD}.at(-1)") == "That is so."


async def test_what_is_found_is_counted_without_what_is_hidden(stage: Stage) -> None:
    async with (
        stage.server.connect(name="eve") as eve,
        stage.server.connect(name="bob") as bob,
        stage.page("alice") as (alice,),
    ):
        await eve.join("lobby")
        await eve.say("lobby", "a number")
        await bob.join("lobby")
        for count in range(20):
            await bob.say("lobby", f"number {count}")
        await alice.sees("number 19")
        await alice.run("ignore('bob'); show.beside('search'); hands.search('number')")
        await alice.tab.until(f"{HEARD}.at(-1) === 'Nothing was found.'")
        await press(alice, "#more-hits")
        await alice.tab.until("!!document.querySelector('#hits button')")
        assert await alice.run(f"{HEARD}.at(-1)") == "1 found"
        assert "Nothing" not in await alice.shown("#hits")


HEARD = "[...$('heard').children].map(line => line.innerText)"
