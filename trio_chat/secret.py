"""A text that is to be seen by nobody: a password, on its way to where it is hashed."""

from attrs import field, frozen


@frozen(eq=False)
class Secret:
    """Nothing that shows values shows this one: a repr, a log, a traceback with locals."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The text; keep it no longer than it takes."""
        return self._text
