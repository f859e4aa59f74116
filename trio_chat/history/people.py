"""Accounts and devices in the file of a durable history.

For the server, which does this in the transactions of its batches, and for the operator, who
does it beside a running server. Each function is a part of somebody's transaction.
"""

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never

from attrs import frozen

from trio_chat.charter import Identity, Sanction
from trio_chat.errors import BadName, NameTaken, NoSuchName, NotAllowed
from trio_chat.history import (
    RANDOM_BITS,
    Account,
    Banished,
    DeviceId,
    Keep,
    Registered,
    Rehashed,
    Revoked,
    Stay,
    Token,
)
from trio_chat.history.file import from_ms, to_ms
from trio_chat.names import Name, is_reserved, skeleton
from trio_chat.roles import Verb
from trio_chat.tokens import Scope

Database = sqlite3.Connection

_DEVICES = (
    "SELECT id, identity, name, current, previous, client, at, verbs, places FROM devices"
)
_DeviceRow = tuple[
    DeviceId,
    Identity,
    str,
    bytes,
    bytes | None,
    str | None,
    int | None,
    str | None,
    str | None,
]


# ---------------------------------------------------------------- what is read


def accounts(db: Database) -> Sequence[Account]:
    """All accounts, by name."""
    rows = db.execute("SELECT * FROM accounts ORDER BY name").fetchall()
    return [
        Account(identity, Name(name), looks, password, bool(is_operator), _read(db, identity))
        for identity, name, looks, password, is_operator in rows
    ]


def stays(db: Database) -> Sequence[Stay]:
    """The devices that are in rooms."""
    rows = db.execute(f"{_DEVICES} WHERE id IN (SELECT device FROM follows)")  # noqa: S608
    return [_stay(db, row) for row in rows.fetchall()]


def devices(db: Database, identity: Identity) -> Sequence[Stay]:
    """The devices of somebody, those first that were not seen for the longest time."""
    rows = db.execute(f"{_DEVICES} WHERE identity = ? ORDER BY at", [identity])
    return [_stay(db, row) for row in rows.fetchall()]


def recognise(db: Database, token: bytes) -> Stay | None:
    """The device that has a token of that hash."""
    # One after the other, or none of the two indexes would be used.
    for which in ("current", "previous"):
        row = db.execute(f"{_DEVICES} WHERE {which} = ?", [token]).fetchone()
        if row is not None:
            return _stay(db, row)
    return None


def _stay(db: Database, row: _DeviceRow) -> Stay:
    device, identity, name, current, previous, client, at, verbs, places = row
    rooms = db.execute(
        "SELECT name FROM follows JOIN rooms ON rooms.id = room WHERE device = ?", [device]
    )
    return Stay(
        device,
        identity,
        Name(name),
        Token(current, previous),
        [Name(room) for (room,) in rooms],
        _read(db, identity),
        client,
        None if at is None else from_ms(at),
        _scope(verbs, places),
    )


def _read(db: Database, identity: Identity) -> Mapping[Name, int]:
    read = db.execute(
        "SELECT name, seq FROM reads JOIN rooms ON rooms.id = room WHERE identity = ?",
        [identity],
    )
    return {Name(room): seq for room, seq in read}


def _scope(verbs: str | None, places: str | None) -> Scope | None:
    if verbs is None:
        return None
    rooms = None if places is None else frozenset(map(Name, places.split()))
    return Scope(frozenset(map(Verb, verbs.split())), rooms)


def banished(db: Database) -> Mapping[str, Sanction]:
    """Who may not come to the server."""
    rows = db.execute("SELECT what, until, reason FROM banished ORDER BY what")
    return {
        what: Sanction(None if until is None else from_ms(until), reason)
        for what, until, reason in rows
    }


# ---------------------------------------------------------------- what is written


def banish(db: Database, what: str, sanction: Sanction | None) -> None:
    """Somebody may not come any more, or may again."""
    db.execute("DELETE FROM banished WHERE what = ?", [what])
    if sanction is not None:
        until = None if sanction.until is None else to_ms(sanction.until)
        db.execute("INSERT INTO banished VALUES (?, ?, ?)", [what, until, sanction.reason])


def store(db: Database, change: Keep | Registered | Rehashed | Revoked | Banished) -> None:
    """Store what has changed of accounts and devices."""
    match change:
        case Keep():
            keep(db, change)
        case Registered(account):
            register(db, account)
        case Rehashed():
            rehash(db, change)
        case Revoked(device):
            revoke(db, device)
        case Banished(what, sanction):
            banish(db, what, sanction)
        case _:
            assert_never(change)


def keep(db: Database, keep: Keep) -> None:
    """A device may come back."""
    row = [
        keep.device,
        keep.identity,
        keep.name,
        keep.token.current,
        keep.token.previous,
        keep.client,
        None if keep.at is None else to_ms(keep.at),
    ]
    db.execute("INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)", row)


def register(db: Database, account: Account) -> None:
    """There is an account, or it has another password."""
    db.execute(
        "INSERT OR IGNORE INTO accounts VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (identity) DO UPDATE SET password = excluded.password",
        [
            account.identity,
            account.name,
            account.skeleton,
            account.password,
            account.is_operator,
        ],
    )


def rehash(db: Database, changed: Rehashed) -> None:
    """A password is kept in another form, unless the operator has given another one."""
    db.execute(
        "UPDATE accounts SET password = ? WHERE identity = ? AND password = ?",
        [changed.new, changed.identity, changed.old],
    )


def revoke(db: Database, device: DeviceId) -> None:
    """A device can't come back."""
    db.execute("DELETE FROM follows WHERE device = ?", [device])
    db.execute("DELETE FROM devices WHERE id = ?", [device])


def forget(db: Database, device: DeviceId) -> None:
    """Forget a device that is nowhere, unless there is an account to come back to, or there
    are private rooms."""
    row = db.execute(
        "DELETE FROM devices WHERE id = :device"
        " AND NOT EXISTS (SELECT 1 FROM follows WHERE device = :device)"
        " AND identity NOT IN (SELECT identity FROM accounts)"
        " AND NOT EXISTS (SELECT 1 FROM rooms WHERE maker = identity OR other = identity)"
        " RETURNING identity",
        {"device": device},
    ).fetchone()
    if row is not None:
        _forget_person(db, row[0])


def forget_room(db: Database, room: int) -> None:
    """Forget a private room that is empty, and who of its two has nothing else."""
    db.execute("DELETE FROM reads WHERE room = ?", [room])
    two = db.execute("DELETE FROM rooms WHERE id = ? RETURNING maker, other", [room]).fetchone()
    for identity in two or ():
        for device in devices(db, identity):
            forget(db, device.device)


def _forget_person(db: Database, identity: Identity) -> None:
    db.execute("DELETE FROM reads WHERE identity = ?", [identity])
    db.execute("DELETE FROM ranks WHERE identity = ?", [identity])


def mark(db: Database, identity: Identity, room: int, seq: int) -> None:
    """Somebody who may come back has read so far."""
    db.execute(
        "INSERT INTO reads SELECT :identity, :room, :seq"
        " WHERE EXISTS (SELECT 1 FROM devices WHERE identity = :identity)"
        " ON CONFLICT DO UPDATE SET seq = MAX(seq, excluded.seq)",
        {"identity": identity, "room": room, "seq": seq},
    )


# ---------------------------------------------------------------- what the operator does


@frozen
class Holder:
    """An account as the operator sees it. `tokens`: how many may come back; `at`: when the
    last of them was seen; `scope`: of a bot, what it may do."""

    name: Name
    is_operator: bool
    tokens: int
    at: datetime | None
    scope: Scope | None


def people(db: Database) -> Sequence[Holder]:
    """The accounts that have a password."""
    return [_holder(db, account) for account in accounts(db) if account.password is not None]


def bots(db: Database) -> Sequence[Holder]:
    """The accounts that have a token, and nothing else."""
    return [_holder(db, account) for account in accounts(db) if account.password is None]


def _holder(db: Database, account: Account) -> Holder:
    known = devices(db, account.identity)
    seen = [device.at for device in known if device.at is not None]
    scopes = [device.scope for device in known if device.scope is not None]
    scope = scopes[0] if scopes else None
    return Holder(account.name, account.is_operator, len(known), max(seen, default=None), scope)


def refuse_name(db: Database, name: Name) -> None:
    """See that nobody is taken for somebody else. Raises `BadName`, `NameTaken`."""
    if is_reserved(name):
        raise BadName(f"nobody can be called {name}, or anything that looks like it")
    row = db.execute("SELECT name FROM accounts WHERE skeleton = ?", [skeleton(name)])
    for (other,) in row:
        looks = "there is an account" if other == name else f"{name} looks like the account"
        raise NameTaken(f"{looks} {other}")


def add_account(
    db: Database,
    name: Name,
    password: str | None,
    *,
    is_operator: bool = False,
    identity: Identity | None = None,
) -> Identity:
    """Make an account; `password`: its hash; `identity`: whose, if it is somebody known.

    Raises `BadName`, `NameTaken`.
    """
    refuse_name(db, name)
    identity = identity or Identity(secrets.randbits(RANDOM_BITS))
    register(db, Account(identity, name, skeleton(name), password, is_operator))
    return identity


def add_bot(db: Database, name: Name, token: bytes, scope: Scope) -> None:
    """Make an account that has a token, by its hash. Raises `BadName`, `NameTaken`."""
    identity = add_account(db, name, None)
    verbs = " ".join(sorted(verb.value for verb in scope.verbs))
    places = None if scope.rooms is None else " ".join(sorted(scope.rooms))
    device = secrets.randbits(RANDOM_BITS)
    row = [device, identity, name, token, verbs, places]
    db.execute(
        "INSERT INTO devices VALUES (?, ?, ?, ?, NULL, NULL, NULL, ?, ?)",
        row,
    )


def set_password(db: Database, name: Name, password: str) -> None:
    """Another password, by its hash; and whoever has come in with the old one is out.

    Raises `NoSuchName`.
    """
    identity = find(db, name, is_bot=False)
    db.execute("UPDATE accounts SET password = ? WHERE identity = ?", [password, identity])
    _revoke_all(db, identity)


def set_operator(db: Database, name: Name, *, is_operator: bool) -> None:
    """Make somebody an operator of the server, or not any more. Raises `NoSuchName`."""
    identity = find(db, name, is_bot=False)
    db.execute(
        "UPDATE accounts SET is_operator = ? WHERE identity = ?", [is_operator, identity]
    )


def refuse_operator(db: Database, name: str) -> None:
    """See that nobody who looks after the server is kept out. Raises `NotAllowed`."""
    row = db.execute("SELECT is_operator FROM accounts WHERE name = ?", [name]).fetchone()
    if row is not None and row[0]:
        raise NotAllowed(f"{name} is an operator; account operator --off changes that")


def remove(db: Database, name: Name, *, is_bot: bool) -> None:
    """There is no such account any more, and nothing that was its own. Raises `NoSuchName`."""
    identity = find(db, name, is_bot=is_bot)
    _revoke_all(db, identity)
    _forget_person(db, identity)
    db.execute("DELETE FROM accounts WHERE identity = ?", [identity])


def _revoke_all(db: Database, identity: Identity) -> None:
    for device in devices(db, identity):
        revoke(db, device.device)


def find(db: Database, name: Name, *, is_bot: bool) -> Identity:
    """Whose account that is. Raises `NoSuchName`."""
    row = db.execute(
        "SELECT identity, password FROM accounts WHERE name = ?", [name]
    ).fetchone()
    if row is None or (row[1] is None) is not is_bot:
        raise NoSuchName(f"there is no {'bot' if is_bot else 'account'} {name}")
    return Identity(row[0])
