"""Who may not stay, and is told why on the page; in a real Chromium."""

from datetime import UTC, datetime

from tests.browser.stage import Page, Stage, needs_browser
from tests.conftest import dialler
from trio_chat.charter import Identity
from trio_chat.history import Account, DeviceId, Keep, Registered, Token
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Ban, Banish, Hello, Kick
from trio_chat.names import Name, skeleton
from trio_chat.testing import running_server
from trio_chat.tokens import hash_token

pytestmark = needs_browser

REAL_SECONDS = 100


async def test_who_is_put_out_is_told_why(stage: Stage) -> None:
    async with stage.page("alice") as (alice,), stage.browser.tab() as tab:
        other = Page(tab)
        await alice.say("/register")
        await alice.set_password(PASSWORD)
        await alice.tab.until("chat.hasAccount && !$('account').open")
        await other.come_to(stage.address, "alice")
        await other.log_in(PASSWORD)
        await other.is_in()
        await alice.say("/devices")
        await alice.tab.until("document.querySelectorAll('#device-list li').length === 2")
        await alice.tab.click("#device-list button")
        why = "You were put out: revoked by another device."
        await tab.until(f"$('refused').innerText === '{why}'")
        await alice.run("$('account').close()")
        await other.log_in(PASSWORD)
        await other.is_in()
        await alice.say("/password")
        await alice.fill("#own [name=old]", PASSWORD)
        await alice.set_password(f"another {PASSWORD}")
        why = "You were put out: the password was changed by another device."
        await tab.until(f"$('refused').innerText === '{why}'")
        assert await tab.run("document.activeElement.name") == "password"


async def test_who_has_logged_out_is_told_nothing(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.say("/register")
        await alice.set_password(PASSWORD)
        await alice.tab.until("chat.hasAccount && !$('account').open")
        await alice.tab.click("#settings-open")
        await alice.tab.click("#sign-out")
        await alice.tab.click("#toast button")
        await alice.tab.until("!$('door').hidden")
        assert await alice.shown("#refused") == ""
        assert await alice.run("Object.keys(localStorage)") == ["trio_chat:theme"]


async def test_where_the_same_token_came_elsewhere_the_page_gives_way(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.run(COME_AGAIN)
        await alice.tab.until("$('asleep').open && chat.link.socket === null")
        await alice.run("chat.link.tick()")
        assert await alice.run("chat.link.socket") is None, "it comes back by itself"
        await alice.tab.click("#asleep button")
        await alice.is_in()
        await alice.say("here again")
        await alice.sees("here again")


async def test_a_last_word_that_was_lost_is_in_the_close_code(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.run("(chat.on_error = () => {}, 0)")
        await alice.run(COME_AGAIN)
        await alice.tab.until("$('asleep').open && chat.link.socket === null")
        await alice.run("($('asleep').close(), 0)")
        await alice.tab.until("chat.isConnected")
        await alice.run("chat.closed(4001)")
        assert await alice.shown("#refused") == "You were put out."


async def test_who_is_banished_is_told_why(stage: Stage) -> None:
    async with running_server(history=await with_operator()) as server:
        address = f"http://{server.host}:{server.port}/"
        async with Stage(stage.browser, server, address).page("eve") as (eve,):
            operator = await dialler(server)()
            await operator.tell(Hello("op", token=TOKEN), Banish("eve", reason="spam"))
            await eve.tab.until("$('refused').innerText.endsWith('spam')")
            assert await eve.run("!$('door').hidden && $('password-field').hidden")


async def test_who_is_put_out_of_a_room_is_told_why_and_until_when(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("eve") as (eve,):
        await bob.register(PASSWORD)
        await bob.join("garden")
        await eve.open_room("garden")
        await eve.is_in("garden")
        await bob.moderate(Kick("garden", "eve", reason="<b>calm</b> down"))
        told = "You were put out of garden: <b>calm</b> down Enter again"
        await eve.tab.until(f"$('toast').innerText === '{told}'")
        await eve.tab.click("#toast button")
        await eve.is_in("garden")
        until = datetime(2099, 3, 1, 12, tzinfo=UTC)
        await bob.moderate(Ban("garden", "eve", until=until, reason="<b>spam</b>"))
        await eve.tab.until("$('toast').innerText.startsWith('You were banned from garden')")
        end = await eve.run(f"dateTime('{until.isoformat()}')")
        told = f"You were banned from garden until {end}: <b>spam</b> Close"
        assert await eve.shown("#toast") == told
        await eve.tab.click("#toast button")
        assert await eve.shown("#toast") == ""
        assert await eve.run("document.activeElement.id") == "typed"


async def with_operator() -> MemoryHistory:
    history = MemoryHistory()
    op = Account(Identity(1), Name("op"), skeleton(Name("op")), "hash", is_operator=True)
    keep = Keep(DeviceId(1), Identity(1), Name("op"), Token(hash_token(TOKEN)))
    await history.append([], [Registered(op), keep])
    return history


PASSWORD, TOKEN = "correct horse", "ops-token"

COME_AGAIN = """(() => {
  const other = new WebSocket(`ws://${location.host}/ws`);
  const { name, token } = kept.get("me");
  other.onopen = () => other.send(JSON.stringify({ type: "hello", name, token }));
})()"""
