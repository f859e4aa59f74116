"""What an eye can read on the page, and a finger can hit; in a real Chromium."""

import pytest

from tests.browser.stage import Page, Stage, needs_browser
from trio_chat.client.chat import Chat

pytestmark = needs_browser

REAL_SECONDS = 100

LEGIBLE = 4.5
"""The least contrast of a text (WCAG 2.2, 1.4.3)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(stage: Stage, scheme: str) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await alice.tab.prefer(scheme)
        await show_all_kinds(bob, alice)
        for state in STATES:
            await alice.run(f"void {state}")
            texts = await alice.run(TEXTS)
            faint = [html for html, ink, below in texts if contrast(ink, below) < LEGIBLE]
            assert texts, state
            assert faint == [], state
            await alice.run("document.querySelector('dialog[open]')?.close()")


async def show_all_kinds(bob: Chat, alice: Page) -> None:
    """One of each thing that is ever shown, as far as it takes a conversation."""
    await bob.join("lobby")
    await bob.join("garden")
    first = await bob.say("lobby", "look at https://example.org/, and `this`:\n```\ncode\n```")
    await bob.edit("lobby", first, "look at https://example.org/, alice, and at `this`")
    await bob.react("lobby", first, "👍")
    await bob.delete("lobby", await bob.say("lobby", "oops"))
    await bob.say("lobby", "an answer", reply_to=first)
    await alice.sees("an answer")
    await alice.tab.click(".signs button")
    await alice.open_room("garden")
    await alice.is_in("garden")
    await bob.say("lobby", "unread")
    await bob.say("@alice", "psst")
    await alice.tab.until(
        "document.querySelectorAll('#side .badge:not([hidden])').length === 2"
    )
    await alice.open_room("lobby")
    await alice.is_in("lobby")
    await alice.tab.until("$('messages').querySelector('.new') && chat.open.says.size === 4")


STATES = [
    "show.beside('members')",
    "(show.beside('search'), hands.search('answer'))",
    "show.hits([], undefined, false)",
    "show.toast('Delete this?', 'Delete', () => {})",
    "(composer.put('/'), $('typed').dispatchEvent(new Event('input')))",
    "composer.writeAbout('reply', chat.open.items.findLast(item => item.kind === 'say'))",
    "(chat.pending = [{room: 'lobby', text: 'x', at: 0}], show.pending())",
    "(chat.pending[0].why = 'it is not for you', show.pending())",
    "(chat.isConnected = false, show.state())",
    "finder.open('')",
    "settings.open(true)",
    "account.open()",
    "$('room-menu').click()",
    "show.asleep()",
    "show.door('a refusal', true)",
]

# ---------------------------------------------------------------- on a phone


async def test_whatever_a_finger_has_to_hit_is_large_enough(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await alice.hold_as_a_phone()
        await show_all_kinds(bob, alice)
        for state in [*STATES, "show.drawer(true)"]:
            await alice.run(f"void {state}")
            assert await alice.run(SMALL) == [], state
            await alice.run("document.querySelector('dialog[open]')?.close()")


async def test_what_lies_over_the_room_on_a_phone_goes_when_it_is_done(stage: Stage) -> None:
    async with stage.server.connect(name="bob") as bob, stage.page("alice") as (alice,):
        await alice.hold_as_a_phone()
        await bob.join("lobby")
        await bob.say("lobby", "needle")
        await alice.sees("needle")
        await alice.tab.click("#side-open")
        await alice.tab.until("$('side').getBoundingClientRect().left === 0")
        assert await alice.run("document.activeElement.id") == "side-close"
        await alice.run("$('typed').focus()")
        assert await alice.run("document.activeElement.id") == "side-close", "it is covered"
        await alice.run("document.elementFromPoint(innerWidth - 5, 300).click()")
        assert await alice.run("document.activeElement.id") == "side-open"
        await alice.tab.until("!$('side').checkVisibility({visibilityProperty: true})")
        await alice.tab.click("#search-open")
        await alice.tab.type("needle")
        await alice.tab.press("Enter")
        await alice.tab.until("document.querySelectorAll('#hits button').length === 1")
        await alice.tab.click("#hits button")
        await alice.tab.until("$('beside').hidden")
        await alice.tab.until("document.activeElement.matches('.message')")
        await alice.tab.click("#members-open")
        await alice.tab.until(
            "document.querySelectorAll('#members [data-person]').length === 2"
        )
        await alice.tab.click("#members [data-person=bob]")
        await alice.tab.until("$('beside').hidden && chat.open.name === '@bob'")


async def test_a_tap_hits_what_was_there_when_it_began(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.hold_as_a_phone()
        await alice.say("https://example.org/")
        await alice.sees("https://example.org/")
        await alice.run(
            "addEventListener('click', click => {"
            " window.clicked = click.target.tagName; click.preventDefault(); })"
        )
        await alice.tab.tap(".message a")
        await alice.tab.until("$('actions').checkVisibility()")
        assert await alice.run("clicked") == "A"
        assert await alice.run(BELOW)
        await alice.tab.tap("#actions [data-do=reply]")
        await alice.tab.until("!$('about').hidden")
        assert await alice.run("document.querySelector('dialog[open]')") is None


async def test_the_field_shows_all_that_is_typed_when_it_gets_narrow(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.tab.type("some more words " * 10)
        await alice.hold_as_a_phone()
        await alice.tab.until("$('typed').clientHeight === $('typed').scrollHeight")


async def test_the_time_at_the_edge_does_not_touch_the_text(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.hold_as_a_phone()
        for text in ("one", "two"):
            await alice.say(text)
            await alice.sees(text)
        await alice.tab.tap(".message:not(.first) .text")
        head = "document.querySelector('.message:not(.first) .head')"
        assert await alice.run(f"{head}.scrollWidth <= {head}.clientWidth")
        full, short = await alice.run(
            "[...document.querySelectorAll('.message time')].map(time => time.innerText)"
        )
        assert full.removesuffix(" PM").removesuffix(" AM") == short


async def test_the_settings_can_be_left_however_much_is_in_them(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.tab.resize(800, 480)
        await alice.run("settings.open(true)")
        await alice.tab.until("!!document.elementFromPoint(400, 240).closest('#settings')")
        box = "$('settings').querySelector('.main').getBoundingClientRect()"
        assert await alice.run(f"{box}.bottom <= innerHeight")
        assert await alice.run("$('keys').scrollHeight === $('keys').clientHeight")


async def test_all_emoji_are_of_one_kind(stage: Stage) -> None:
    async with stage.page("alice") as (alice,):
        await alice.run("$('signs').showModal()")
        for domain in ("DOM", "CSS"):
            await alice.tab.call(f"{domain}.enable")
        root = (await alice.tab.call("DOM.getDocument"))["root"]["nodeId"]
        found = await alice.tab.call(
            "DOM.querySelectorAll", nodeId=root, selector="#palette button"
        )
        fonts = [await fonts_of(alice, node) for node in found["nodeIds"]]
        if not any("Emoji" in font for font in fonts):
            pytest.skip("there is no font of emoji here")
        assert len(set(fonts)) == 1, fonts


async def fonts_of(page: Page, node: int) -> str:
    """The fonts that an element is drawn with."""
    found = await page.tab.call("CSS.getPlatformFontsForNode", nodeId=node)
    return ", ".join(font["familyName"] for font in found["fonts"])


BELOW = """$("actions").getBoundingClientRect().top
  >= document.querySelector(".message .content").getBoundingClientRect().bottom"""

SMALL = """[...document.querySelectorAll(
  "button, summary, input, textarea, .check, [role=option]"
)].filter(one => !one.closest(".check > *") && one.checkVisibility({visibilityProperty: true}))
  .filter(one => {
    const {width, height} = one.getBoundingClientRect();
    return width < 44 || height < (one.closest(".message, textarea") ? 32 : 40);
  }).map(one => one.outerHTML.slice(0, 120))"""
"""What is too small for a finger; WCAG 2.2 (2.5.8) wants 24 pixels, phones 44."""


TEXTS = """(() => {
  const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const grounds = one => one ? [...grounds(one.parentElement), getComputedStyle(one)] : [];
  const isText = node => node.nodeType === Node.TEXT_NODE && node.data.trim();
  return [...document.querySelectorAll("body *:not(:disabled)")]
    .filter(one => [...one.childNodes].some(isText))
    .filter(one => one.checkVisibility({visibilityProperty: true}))
    .map(one => [
      one.outerHTML.slice(0, 120),
      rgba(getComputedStyle(one).color),
      grounds(one).map(style => rgba(style.backgroundColor)),
    ]);
})()"""
"""Each text that is shown: its colour, and what is painted below it, lowest first."""

Colour = list[float]


def contrast(ink: Colour, grounds: list[Colour]) -> float:
    """How much a text stands out (WCAG 2.2)."""
    ground: Colour = [255, 255, 255]
    for colour in grounds:
        ground = over(colour, ground)
    dark, bright = sorted((luminance(over(ink, ground)), luminance(ground)))
    return (bright + 0.05) / (dark + 0.05)


def over(colour: Colour, ground: Colour) -> Colour:
    *parts, alpha = colour
    return [
        (part * alpha + below * (255 - alpha)) / 255
        for part, below in zip(parts, ground, strict=True)
    ]


def luminance(colour: Colour) -> float:
    weights = (0.2126, 0.7152, 0.0722)
    return sum(
        linear(part / 255) * weight for part, weight in zip(colour, weights, strict=True)
    )


def linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
