"""Times as people write them: a number and its unit."""

import re
from datetime import timedelta


class Age(timedelta):
    """How old something may be."""


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(rf"(?P<count>[0-9]{{1,12}})(?P<unit>[{''.join(_UNITS)}])")

LONGEST = timedelta(days=36525)
"""A hundred years: with more, the time before which nothing is kept has no date."""


def parse_age(text: str) -> Age:
    """A number and its unit, as in 90d. Raises `ValueError`."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number and s, m, h, d or w, as in 90d")
    seconds = int(match["count"]) * _UNITS[match["unit"]]
    if not 0 < seconds <= LONGEST.total_seconds():
        raise ValueError(f"{text} is not between a second and a hundred years")
    return Age(seconds=seconds)
