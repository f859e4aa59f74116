"""The commands for who says whose a name is, and who may come: `account`, `bot`, `banish`.

They write to the history's file, also beside a running server, which learns of it within a
second.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import App, Parameter

from trio_chat import config
from trio_chat.ages import Age
from trio_chat.asking import USUAL, PasswordSource
from trio_chat.banished import Outlaws, parse_banished
from trio_chat.charter import Sanction
from trio_chat.client.clean import clean
from trio_chat.client.wrap import cells
from trio_chat.config import HISTORY_FILE, PROGRAM, Data, Flag, read_age
from trio_chat.ending import require_stdout, tell, write_out
from trio_chat.errors import NoSuchName
from trio_chat.names import Name, parse_name
from trio_chat.roles import Verb
from trio_chat.rules import require_line
from trio_chat.tokens import Scope, hash_token, make_bot_token

if TYPE_CHECKING:
    from trio_chat.history.people import Database, Holder

USUAL_VERBS = (
    Verb.SEE,
    Verb.JOIN,
    Verb.HISTORY,
    Verb.SEARCH,
    Verb.WHO,
    Verb.SAY,
    Verb.EDIT,
    Verb.DELETE,
    Verb.REACT,
)
"""What a bot may do if nothing is said: listen and talk, and look after its own texts."""

T = TypeVar("T")

app = App(group_parameters="Options")
"""What `cli` takes over as its own."""

account = App(
    name="account",
    help="Say whose a name is: make accounts, and take them away.",
    sort_key=9,
    group_parameters="Options",
    usage=f"Usage: {PROGRAM} account COMMAND [OPTIONS]",
    help_epilogue=f"""\
Examples:
  # Somebody who looks after the server, and all its rooms.
  {PROGRAM} account add alice --operator
  # A new password for who has forgotten it.
  {PROGRAM} account password bob
""",
)
bot = App(
    name="bot",
    help="Make names for programs, which come in with a token.",
    sort_key=10,
    group_parameters="Options",
    usage=f"Usage: {PROGRAM} bot COMMAND [OPTIONS]",
    help_epilogue=f"""\
Example:
  # The token is shown once; whoever has it is the bot.
  {PROGRAM} bot add ci --room ops > ~/.ci-token
  {PROGRAM} say ops "the build is done" --token-file ~/.ci-token
""",
)
banish = App(
    name="banish",
    help="Keep names and addresses out of the whole server.",
    sort_key=10,
    group_parameters="Options",
    usage=f"Usage: {PROGRAM} banish COMMAND [OPTIONS]",
    help_epilogue=f"""\
Examples:
  {PROGRAM} banish add eve --lasts 7d --reason "spam in all rooms"
  # An address, or a whole network.
  {PROGRAM} banish add 192.0.2.0/24
""",
)
app.command(account)
app.command(bot)
app.command(banish)


# ---------------------------------------------------------------- accounts


@account.command(usage=f"Usage: {PROGRAM} account add [OPTIONS] NAME")
def add(
    name: str,
    /,
    *,
    operator: Annotated[bool, Flag] = False,
    password: PasswordSource = USUAL,
    data: Data = None,
) -> None:
    """Make a name somebody's own.

    Parameters
    ----------
    name
        The name.
    operator
        May govern every room of the server, but the private ones.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3
    from trio_chat.passwords import hash_password  # noqa: PLC0415 # argon2

    known = parse_name(name)
    with _writing(data) as db:  # before anybody types a password in vain
        people.refuse_name(db, known)
    hashed = hash_password(password.read_new(f"password for {known}: "))
    with _writing(data) as db:
        people.add_account(db, known, hashed, is_operator=operator)
    rank = " and is an operator" if operator else ""
    _tell(f"{clean(known)} has an account{rank}", data)


@account.command(name="list", usage=f"Usage: {PROGRAM} account list [OPTIONS]")
def list_accounts(*, data: Data = None) -> None:
    """Print who has an account, on how many devices, and when the last was seen.

    Parameters
    ----------
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    def row(holder: "Holder") -> Sequence[str]:
        rank = "operator" if holder.is_operator else ""
        return holder.name, rank, f"{holder.tokens} devices", _seen(holder.at)

    _print_all(data, people.people, row)


@account.command(usage=f"Usage: {PROGRAM} account password [OPTIONS] NAME")
def password(name: str, /, *, password: PasswordSource = USUAL, data: Data = None) -> None:
    """Give an account another password, and throw out its devices.

    Parameters
    ----------
    name
        The name.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3
    from trio_chat.passwords import hash_password  # noqa: PLC0415 # argon2

    known = parse_name(name)
    with _writing(data) as db:
        people.find(db, known, is_bot=False)
    hashed = hash_password(password.read_new(f"new password for {known}: "))
    with _writing(data) as db:
        people.set_password(db, known, hashed)
    _tell(f"{clean(known)} has another password, and has to log in anew", data)


@account.command(usage=f"Usage: {PROGRAM} account operator [OPTIONS] NAME")
def operator(name: str, /, *, off: Annotated[bool, Flag] = False, data: Data = None) -> None:
    """Make who has an account an operator of the server.

    Parameters
    ----------
    name
        The name.
    off
        From now on it is none.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    known = _change(name, data, partial(people.set_operator, is_operator=not off))
    _tell(f"{known} is {'no operator any more' if off else 'an operator'}", data)


@account.command(usage=f"Usage: {PROGRAM} account remove [OPTIONS] NAME")
def remove(name: str, /, *, data: Data = None) -> None:
    """Take an account away; what it has said stays, and anybody can have the name.

    Parameters
    ----------
    name
        The name.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    known = _change(name, data, partial(people.remove, is_bot=False))
    _tell(f"{known} has no account any more", data)


# ---------------------------------------------------------------- bots


@bot.command(
    name="add",
    usage=f"Usage: {PROGRAM} bot add [OPTIONS] NAME",
    help_epilogue=f"""\
A bot may do what NAME may in a room, and of that what --may says: by default
{" ".join(verb.value for verb in USUAL_VERBS)}.
""",
)
def add_bot(
    name: str,
    /,
    *,
    room: Annotated[tuple[str, ...], Parameter(negative="", show_default="all")] = (),
    may: Annotated[
        tuple[Verb, ...], Parameter(negative="", show_default="listen and talk")
    ] = (),
    data: Data = None,
) -> None:
    """Make a name for a program, and print the token with which it comes in.

    The token is shown once, and kept nowhere.

    Parameters
    ----------
    name
        What the bot is called.
    room
        A room that it may be in; may be given more than once.
    may
        Something that it may do; may be given more than once.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    require_stdout()
    known = parse_name(name)
    rooms = frozenset(map(parse_name, room)) or None
    scope = Scope(frozenset(may or USUAL_VERBS), rooms)
    token = make_bot_token(known)
    with _writing(data) as db:
        people.add_bot(db, known, hash_token(token), scope)
    tell(f"{known} is a bot ({_file(data)}); its token is shown this once")
    write_out([f"{token}\n".encode()])


@bot.command(name="list", usage=f"Usage: {PROGRAM} bot list [OPTIONS]")
def list_bots(*, data: Data = None) -> None:
    """Print which bots there are, where they may be, and what they may do.

    Parameters
    ----------
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    def row(holder: "Holder") -> Sequence[str]:
        scope = holder.scope or Scope(frozenset())
        rooms = ["all rooms"] if scope.rooms is None else sorted(scope.rooms)
        return holder.name, " ".join(rooms), " ".join(sorted(v.value for v in scope.verbs))

    _print_all(data, people.bots, row)


@bot.command(usage=f"Usage: {PROGRAM} bot revoke [OPTIONS] NAME")
def revoke(name: str, /, *, data: Data = None) -> None:
    """Take a bot's token away, and throw it out; anybody can have the name.

    Parameters
    ----------
    name
        What the bot is called.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    known = _change(name, data, partial(people.remove, is_bot=True))
    _tell(f"{known} is no bot any more", data)


# ---------------------------------------------------------------- who may not come


@banish.command(name="add", usage=f"Usage: {PROGRAM} banish add [OPTIONS] WHAT")
def add_banished(
    what: str,
    /,
    *,
    lasts: Annotated[
        Age | None,
        Parameter(converter=read_age, accepts_keys=False, n_tokens=1, show_default="for ever"),
    ] = None,
    reason: str = "",
    data: Data = None,
) -> None:
    """Keep a name, an address or a network out of the server, and put out who is there.

    Parameters
    ----------
    what
        The name, address or network.
    lasts
        How long: a number and s, m (minutes), h, d or w, as in 7d.
    reason
        Why; whoever is kept out is told.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    known = parse_banished(what)
    require_line("a reason", reason)
    end = None if lasts is None else datetime.now(UTC).replace(microsecond=0) + lasts
    with _writing(data) as db:
        people.refuse_operator(db, known)
        outlaws = Outlaws()
        outlaws.know(people.banished(db))
        changes = outlaws.make_space({known: Sanction(end, reason)}, datetime.now(UTC))
        for one, sanction in changes.items():
            people.banish(db, one, sanction)
    _tell(f"{clean(known)} can't come to this server{_until(end)}", data)


@banish.command(name="list", usage=f"Usage: {PROGRAM} banish list [OPTIONS]")
def list_banished(*, data: Data = None) -> None:
    """Print who may not come, until when, and why.

    Parameters
    ----------
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    def row(one: tuple[str, Sanction]) -> Sequence[str]:
        what, sanction = one
        end = _until(sanction.until).strip() or "for ever"
        return what, end, clean(sanction.reason)

    _print_all(data, lambda db: people.banished(db).items(), row)


@banish.command(name="remove", usage=f"Usage: {PROGRAM} banish remove [OPTIONS] WHAT")
def remove_banished(what: str, /, *, data: Data = None) -> None:
    """Let a name, an address or a network come again.

    Parameters
    ----------
    what
        The name, address or network, as it is listed.
    data
        The folder with the history.
    """
    from trio_chat.history import people  # noqa: PLC0415 # sqlite3

    known = parse_banished(what)
    with _writing(data) as db:
        if known not in people.banished(db):
            raise NoSuchName(f"{known} is not banished; banish list says who is")
        people.banish(db, known, None)
    _tell(f"{clean(known)} may come again", data)


def _until(end: datetime | None) -> str:
    return "" if end is None else f" until {end.astimezone():%Y-%m-%d %H:%M}"


# ---------------------------------------------------------------- the file


@contextmanager
def _writing(data: Path | None) -> "Iterator[Database]":
    from trio_chat.history.file import writing  # noqa: PLC0415 # sqlite3

    file = _file(data)
    config.make_folder(file.parent)
    is_new = not file.exists()
    with writing(file) as db:
        yield db
    if is_new:
        tell(f"there was no history in {file.parent}, and so no server; {file.name} was made")


def _file(data: Path | None) -> Path:
    return (data or config.data_path()) / HISTORY_FILE


def _tell(text: str, data: Path | None) -> None:
    """Say what was done, and where: it may be another server's history than was meant."""
    print(f"{text} ({_file(data)})")


def _change(name: str, data: Path | None, change: "Callable[[Database, Name], object]") -> str:
    """Change something of who has that name; returns it as it is shown."""
    known = parse_name(name)
    with _writing(data) as db:
        change(db, known)
    return clean(known)


def _print_all(
    data: Path | None,
    read: "Callable[[Database], Iterable[T]]",
    row: Callable[[T], Sequence[str]],
) -> None:
    from trio_chat.history.file import reading  # noqa: PLC0415 # sqlite3

    with reading(_file(data)) as db:
        rows = [row(one) for one in read(db)]
    write_out(f"{line}\n".encode() for line in _columns(rows))


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (
            text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _seen(at: datetime | None) -> str:
    return "never seen" if at is None else f"seen {at.astimezone():%Y-%m-%d %H:%M}"
