"""Every way a chat can go wrong, as one tree.

    ChatError
    ├── WireError     the peer spoke nonsense       → an Error line; the link goes on, or ends
    ├── Refused       understood, the answer is no  → an Error line; the link goes on
    ├── LinkLost      nobody there any more         → end quietly
    ├── Untrusted     not the server that is meant  → the client ends, and says so
    └── SetupError    port, certificate, database   → the command line prints one line, exit 2

Two questions sort every error: whose fault is it, and may the link go on? The class
answers both. Anything that is not a ChatError is a bug.

`code` is what travels; it is stable, and the text beside it is for people. Nothing ever
matches on text.
"""

from typing import ClassVar


class ChatError(Exception):
    """Something went wrong that is not a bug; the text says what, for a person."""


class _Coded(ChatError):
    """What travels as an Error line; `id` is that of the request that it answers, `retry`
    the seconds after which it is worth another try."""

    code: ClassVar[str]
    ends_link: ClassVar[bool] = False

    def __init__(self, text: str, id: str | None = None, retry: float | None = None) -> None:
        super().__init__(text)
        self.id = id
        self.retry = retry


class WireError(_Coded):
    """The peer sent something that is not the protocol."""


class NotJson(WireError):
    """The line is not one JSON object in UTF-8."""

    code = "not_json"


class UnknownType(WireError):
    """The line has no `type`, or one that this side does not take."""

    code = "unknown_type"


class BadFields(WireError):
    """A field is missing or is not what its class says."""

    code = "bad_fields"


class LineTooLong(WireError):
    """No end of line in sight: where the next message starts is lost, and so the link."""

    code = "too_long"
    ends_link = True


class BadFrame(WireError):
    """What came over a WebSocket is no text frame, or breaks RFC 6455."""

    code = "bad_frame"
    ends_link = True


class NoHello(WireError):
    """Nothing that could be a hello came in time."""

    code = "no_hello"
    ends_link = True


class Refused(_Coded):
    """The request was understood, and the answer is no."""

    code = "refused"


class HelloFirst(Refused):
    """The first line has to be a hello."""

    code = "hello_first"
    ends_link = True


class HelloTwice(Refused):
    """This connection has a name already."""

    code = "hello_twice"


class TlsRequired(Refused):
    """What is said here has to be encrypted, and was not."""

    code = "tls_required"
    ends_link = True


class BadVersion(Refused):
    """The protocol version asked for is not spoken here."""

    code = "bad_version"
    ends_link = True


class BadName(Refused):
    """That can't be the name of a person or a room."""

    code = "bad_name"


class NameTaken(Refused):
    """Somebody who is connected has that name."""

    code = "name_taken"
    ends_link = True


class WrongPassword(Refused):
    """The name is somebody's, and the password is not theirs."""

    code = "wrong_password"
    ends_link = True


class PasswordNeeded(Refused):
    """The name is somebody's own: whose it is, has a password or a token."""

    code = "password_needed"


class AccountNeeded(Refused):
    """There are no guests here: one needs a name that is registered."""

    code = "account_needed"
    ends_link = True


class BadPassword(Refused):
    """That can't be anybody's password."""

    code = "bad_password"


class TryLater(Refused):
    """Not now: there were too many failures, or there are too many others."""

    code = "try_later"


class NotInRoom(Refused):
    """One has to join a room before speaking in it or leaving it."""

    code = "not_in_room"


class AlreadyInRoom(Refused):
    """A second join of the same room."""

    code = "already_in_room"


class NoSuchRoom(Refused):
    """There is no such room, or none that you may see."""

    code = "no_such_room"


class NoSuchName(Refused):
    """Nobody is called that."""

    code = "no_such_name"


class NoSuchEvent(Refused):
    """There is no such event in the room, or none with a text."""

    code = "no_such_event"


class IdTaken(Refused):
    """Another one of the same name has used this id before."""

    code = "id_taken"


class NotYours(Refused):
    """Only who has said it may change it."""

    code = "not_yours"


class NotAllowed(Refused):
    """What one is in the room does not allow that."""

    code = "not_allowed"


class Muted(Refused):
    """A moderator has made one be silent in the room; reading goes on."""

    code = "muted"


class Banned(Refused):
    """A moderator has shut one out of the room."""

    code = "banned"


class Dismissed(Refused):
    """Whoever was in is let go."""

    ends_link = True


class PutOut(Dismissed):
    """The device may not stay: the text says why."""

    code = "put_out"


class TakenOver(Dismissed):
    """Another connection came with the same token."""

    code = "taken_over"


class TextTooLong(Refused):
    """The text is longer than the server's limit."""

    code = "text_too_long"


class BadText(Refused):
    """That can't be an edited text, a sign or a topic."""

    code = "bad_text"


class TooManyRooms(Refused):
    """One connection, or the whole server, has as many rooms as it may have."""

    code = "too_many_rooms"


class TooMany(Refused):
    """A list of the room is as long as it may be."""

    code = "too_many"


class NoRoom(Refused):
    """There are as many connections as there may be; somebody has to go first."""

    ends_link = True


class ServerFull(NoRoom):
    """The server has as many connections as it may have; try again later."""

    code = "server_full"


class TooManyConnections(NoRoom):
    """The server has as many connections from this address as it may have from one."""

    code = "too_many_connections"


class NotStored(Refused):
    """The history could not be written, so nothing has happened."""


class StorageFailed(NotStored):
    """The history can't be written or read: the disk or the file is damaged."""

    code = "storage_failed"


class StorageFull(NotStored):
    """The disk is full; try again when there is space."""

    code = "storage_full"


class Busy(NotStored):
    """Another program holds the history; try again in a moment."""

    code = "busy"


class LinkLost(ChatError):
    """The other side is gone; that is nobody's fault."""


class Untrusted(ChatError):
    """The server does not prove that it is the one that is meant; nothing was said to it."""


class ServerChanged(Untrusted):
    """The server has another certificate than the one that it is known by."""


class SetupError(ChatError):
    """The program can't start like this; the text says what to do."""


def _leaves(cls: type[_Coded]) -> list[type[_Coded]]:
    below = [leaf for sub in cls.__subclasses__() for leaf in _leaves(sub)]
    return [cls, *below] if "code" in vars(cls) else below


BY_CODE: dict[str, type[_Coded]] = {cls.code: cls for cls in _leaves(_Coded)}


def from_code(code: str, text: str, retry: float | None = None) -> _Coded:
    """The error that the other side raised, from its code; an unknown code is a `Refused`."""
    return BY_CODE.get(code, Refused)(text, retry=retry)
