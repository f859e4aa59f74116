"""What the styles of fragments look like. No terminal is needed to say so."""

NAMES = (
    "#af5f5f", "#d75f00", "#878700", "#5f8700", "#00875f", "#008787",
    "#0087d7", "#5f5fff", "#875fd7", "#af5faf", "#d70087", "#d75f5f",
)  # fmt: skip
"""Colours that every terminal of 256 has, each at least 3.6 : 1 on black and on white."""

COLOURS = {
    "time": "#808080",
    "room": "#808080",
    "bar": "#808080",
    "dim": "#808080",
    "day": "#808080",
    "lost": "#d75f00",
    "gap": "#d75f00",
    "new": "bold #0087d7",
    "error": "#d70000",
    "notice": "italic",
    "own": "bold",
    "prompt": "bold",
    "called": "bold #d75f00",
    "unread": "bold #0087d7",
    "found": "bold #d75f00",
    "topic": "#808080",
    "here": "bold",
    "pending": "italic #808080",
    **{f"name-{number}": colour for number, colour in enumerate(NAMES)},
}
"""By the name of the style."""
