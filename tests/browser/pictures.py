"""`python -m tests.browser.pictures docs`: what the page looks like, for the README.

Four people talk, and nothing is made up: it is what one of them sees.
"""

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from tests.browser.stage import Page, Stage, chromium, set_up
from trio_chat.client.chat import Chat

WIDE = (1180, 720)


async def talk(stage: Stage, people: dict[str, Chat], alice: Page) -> None:
    """What stands in the pictures."""
    bob, carol, jurgen = people.values()
    for person in (bob, carol, jurgen):
        await person.join("lobby")
        await person.join("garden")
    await bob.set_topic("lobby", "Release 1.0 goes out on Friday, freeze on Wednesday")
    await bob.say("lobby", "Good morning! The candidate is up: https://example.org/rc1")
    works = await carol.say("lobby", "Works on my machine 🎉")
    await alice.enter(stage.address, "alice")
    for person, sign in ((carol, "🚀"), (jurgen, "🚀"), (bob, "👍")):
        await person.react("lobby", works, sign)
    asked = await bob.say(
        "lobby", "alice, could you look at `fold_names()`? It fails for \u0131."
    )
    tried = '>>> parse_name("I\u015f\u0131k")\nName("i\u015f\u0131k")'
    text = f"This is what I tried:\n```\n{tried}\n```"
    await carol.say("lobby", text, reply_to=asked)
    await alice.tab.until("document.querySelector('#messages pre') !== null")
    await alice.say("On it. Give me five minutes.")
    await alice.sees("On it. Give me five minutes.")
    fix = await jurgen.say("lobby", "I have a fix")
    text = "I have a fix: https://example.org/pr/42, a review would be kind"
    await jurgen.edit("lobby", fix, text)
    await bob.react("lobby", fix, "👀")
    await carol.say("lobby", "🎉🎉")
    await alice.open_room("garden")
    await alice.is_in("garden")
    await alice.open_room("lobby")
    await alice.is_in()
    await bob.say("@alice", "psst, coffee at three?")
    await carol.say("garden", "the tomatoes are red")
    await bob.say("garden", "all of them?")
    await alice.tab.until(
        "document.querySelectorAll('#side .badge:not([hidden])').length === 2"
    )


async def photograph(folder: Path, browser: str) -> None:
    """Make the pictures."""
    async with set_up(browser) as stage, stage.browser.tab() as tab, AsyncExitStack() as stack:
        people = {
            name: await stack.enter_async_context(stage.server.connect(name=name))
            for name in ("bob", "carol", "jürgen")
        }
        alice = Page(tab)
        await tab.resize(*WIDE, scale=1.5)
        await talk(stage, people, alice)
        await tab.run("show.beside('members')")
        await tab.until("document.querySelectorAll('#members [data-person]').length === 4")
        await tab.photograph(folder / "page-light.png")
        await tab.prefer("dark")
        await tab.run("show.beside('search')")
        await tab.type("fix")
        await tab.press("Enter")
        await tab.until("document.querySelectorAll('#hits button').length === 1")
        await tab.photograph(folder / "page-dark.png")
        await tab.prefer("light")
        await tab.run("show.beside(null)")
        await alice.hold_as_a_phone(scale=2)
        await tab.photograph(folder / "page-phone.png")
        alice.check()


if __name__ == "__main__":
    with chromium() as found:
        trio.run(photograph, Path(sys.argv[1]), found)
