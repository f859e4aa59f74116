"""The picture of the README: what is on a screen is in it, in its colours."""

from pathlib import Path
from xml.etree import ElementTree

import pyte

from tests.screenshot import COLUMNS, ROWS, draw

SVG = "{http://www.w3.org/2000/svg}"

DOCS = Path(__file__).parents[1] / "docs"


def texts(picture: str) -> list[tuple[str, str]]:
    found = ElementTree.fromstring(picture).iter(f"{SVG}text")  # noqa: S314 # it is ours
    return [(text.text or "", text.get("fill", "")) for text in found]


def test_what_is_on_a_screen_is_drawn_in_its_colours() -> None:
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.Stream(screen).feed("\x1b]2;a & b\x07<1>\r\n\x1b[38;2;1;2;3mbob\x1b[0m hi")
    (title, _), (first, _), (name, ink), (rest, _) = texts(draw([screen]))
    assert (title, first.strip(), rest.strip()) == ("a & b", "<1>", "hi")
    assert (name, ink) == ("bob", "#010203")


def test_the_picture_of_the_readme_is_a_picture() -> None:
    picture = (DOCS / "screenshot.svg").read_text(encoding="utf-8")
    assert "(docs/screenshot.svg)" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert {"alice", "bob"} <= {text.split()[-1] for text, _ in texts(picture) if text.strip()}
