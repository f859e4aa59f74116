"""Lists of texts, as fragments: what was found, and what can be referred to. No I/O."""

import re
from collections.abc import Iterator, Sequence
from datetime import tzinfo

from trio_chat.client.clean import clean
from trio_chat.client.commands import POINTER
from trio_chat.client.deeds import local_minute
from trio_chat.client.notices import in_place, join_lines, name_style, notice, shown_name
from trio_chat.client.wording import Wording, glimpse, one_line
from trio_chat.client.wrap import Fragments, clip, wrap
from trio_chat.messages import DeviceInfo, Event, Found, Hit


def hit_list(found: Found, words: str, wording: Wording, columns: int) -> Fragments:
    """What was found, the newest at the bottom, where one looks; and how to go on."""
    if not found.hits:
        return notice(f"nothing is found: {words}")
    more = "; /search shows older ones" if found.next is not None else ""
    return join_lines(
        [
            *(_line(hit, words, wording, columns) for hit in reversed(found.hits)),
            notice(f"/jump ROOM N shows what happened there{more}"),
        ]
    )


def text_list(texts: Sequence[Event], columns: int) -> Fragments:
    """Texts with their numbers, so that one can say which is meant."""
    if not texts:
        return notice("there is no text here to refer to")
    lines = (
        f"{POINTER}{event.seq} {shown_name(event.by)}: {glimpse(event)}" for event in texts
    )
    return [("notice", "\n".join(clip(line, columns) for line in lines))]


def device_list(devices: Sequence[DeviceInfo], zone: tzinfo | None = None) -> Fragments:
    """Where somebody is logged in, with numbers; `zone`: for times."""
    lines = (_device_line(n, device, zone) for n, device in enumerate(devices, 1))
    return notice("\n".join([*lines, "/revoke N logs one out"]))


def _device_line(number: int, device: DeviceInfo, zone: tzinfo | None) -> str:
    seen = "here" if device.here else f"seen {local_minute(device.since, zone)}"
    this = ", this one" if device.this else ""
    return f"{number} {clean(device.client or 'a program without a name')}, {seen}{this}"


def plain_hit(hit: Hit, wording: Wording) -> str:
    """One line without style, for a pipe or a file."""
    stamp = f"{wording.local(hit.at):%Y-%m-%d %H:%M:%S}"
    by = shown_name(hit.by)
    return f"{stamp} {wording.room(hit.room)} {hit.seq} {by}: {one_line(hit.text)}"


def _line(hit: Hit, words: str, wording: Wording, columns: int) -> Fragments:
    by = shown_name(hit.by)
    first: Fragments = [
        ("time", f"{wording.local(hit.at):%Y-%m-%d %H:%M} "),
        ("room", f"{wording.room(hit.room)} {hit.seq} "),
        (name_style(by), in_place(by)),
        ("bar", " │ "),
    ]
    return wrap(list(_marked(one_line(hit.text), words)), columns, first, [("bar", "   │ ")])


def _marked(text: str, words: str) -> Iterator[tuple[str, str]]:
    """The text, and in it the words that were looked for, where they are written alike."""
    either = "|".join(map(re.escape, re.findall(r"\w+", words))) or "(?!)"
    for number, part in enumerate(re.split(f"({either})", text, flags=re.IGNORECASE)):
        if part:
            yield "found" if number % 2 else "text", part
