"""The keys of rooms: who guesses one has to wait, whether there is such a room or not."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.conftest import Dial, Peer, dialler
from trio_chat import charter
from trio_chat.charter import Identity
from trio_chat.failures import TRIES, WAIT_FROM
from trio_chat.history import Account, DeviceId, Keep, Registered, Token
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import (
    Ack,
    Called,
    Error,
    Event,
    Hello,
    Invite,
    Join,
    Leave,
    Ping,
    Pong,
    Restrict,
    Say,
    Welcome,
)
from trio_chat.names import Name, skeleton
from trio_chat.testing import running_server
from trio_chat.tokens import hash_token

KEY, GUESS = "sesame", "open"
TOKEN = "owners-token"  # noqa: S105 # nobody's

HIDDEN = ["tea", "vault"]
NOWHERE = "nowhere"


@pytest.fixture
async def call(virtual_time: None) -> AsyncIterator[Dial]:
    """A server with a room that opens with a key, and one for the invited."""
    history = MemoryHistory()
    account = Account(Identity(1), Name("owner"), skeleton(Name("owner")), None)
    keep = Keep(DeviceId(1), Identity(1), Name("owner"), Token(hash_token(TOKEN)))
    await history.append([], [Registered(account), keep])
    async with running_server(history=history) as server:
        call = dialler(server)
        owner = await call()
        await owner.tell(Hello("owner", token=TOKEN))
        await owner.hear(Welcome)
        for restrict in (Restrict("tea", "key", KEY), Restrict("vault", "invitation")):
            room = restrict.room
            await owner.tell(Join(room), restrict, Say(room, "secret", id=room))
            while await owner.link.receive() != Ack(room, room, 3):
                pass
        yield call


async def guest(call: Dial, name: str = "guest") -> Peer:
    peer = await call()
    await peer.enter(name)
    return peer


async def guess(peer: Peer, room: str, key: str = GUESS) -> Error:
    """What a stranger hears who must not make the room by trying."""
    await peer.tell(Join(room, 2**53, key=key, quiet=True, id="g"))
    return await peer.hear(Error)


async def test_who_guesses_a_key_has_to_wait(call: Dial) -> None:
    peer = await guest(call)
    for _ in range(TRIES):
        assert (await guess(peer, "tea")).code == "no_such_room"
    refusal = await guess(peer, "tea", KEY)
    assert (refusal.code, refusal.retry, refusal.id) == ("try_later", WAIT_FROM, "g")
    await trio.sleep(WAIT_FROM)
    await peer.tell(Join("tea", 2**53, key=KEY, quiet=True, id="j"))
    await peer.hear(Ack)


async def test_another_name_is_no_way_to_go_on_guessing(call: Dial) -> None:
    for number in range(TRIES):
        await guess(await guest(call, f"guest{number}"), "tea")
    assert (await guess(await guest(call), "tea")).code == "try_later"


async def test_a_thousand_guesses_in_one_breath_are_no_way_round(call: Dial) -> None:
    peer = await guest(call)
    await peer.tell(*(Join("tea", key=f"guess{number}", id="g") for number in range(1000)))
    codes = [reply.code for reply in await peer.hear_all(1000) if isinstance(reply, Error)]
    assert codes == ["no_such_room"] * TRIES + ["try_later"] * (1000 - TRIES)


async def test_who_needs_no_key_never_waits(call: Dial) -> None:
    member = await guest(call, "member")
    await member.tell(Join("tea", 2**53, key=KEY, quiet=True, id="j"))
    await member.hear(Ack)
    await member.tell(Leave("tea", id="l"))
    await member.hear(Ack)
    thief = await guest(call, "thief")
    for _ in range(TRIES + 1):
        await guess(thief, "tea")
    await member.tell(Join("tea", 2**53, key=GUESS, quiet=True, id="j"))
    await member.hear(Ack)
    for _ in range(TRIES + 1):
        await member.tell(Join("lobby", 2**53, key=GUESS), Leave("lobby", id="l"))
        while not isinstance(await member.link.receive(), Ack):
            pass


async def test_an_invitation_is_told_until_it_is_taken(call: Dial) -> None:
    peer = await call()
    token = (await peer.enter("guest")).token
    await peer.tell(Ping(), Join("lobby"))
    await peer.hear(Pong)
    await peer.hear(Event)
    owner = await call()
    await owner.tell(Hello("owner", token=TOKEN))
    await owner.hear(Welcome)
    for _ in range(2):
        await peer.link.stream.aclose()
        await wait_all_tasks_blocked()
        await owner.tell(Invite("vault", "guest", "i"))
        while not isinstance(ack := await owner.link.receive(), Ack):
            pass
        peer = await call()
        await peer.tell(Hello("guest", token=token))
        token = (await peer.hear(Welcome)).token
        assert await peer.hear(Called) == Called("vault", "owner", ack.seq)
    await peer.tell(Join("vault", 2**53, id="j"))
    await peer.hear(Ack)
    await peer.link.stream.aclose()
    again = await call()
    await again.tell(Hello("guest", token=token), Ping("p"))
    await again.hear(Welcome)
    await again.hear(Pong)


@pytest.mark.parametrize("room", HIDDEN)
async def test_a_room_that_is_not_there_answers_as_one_that_is(call: Dial, room: str) -> None:
    there, nowhere = await guest(call, "one"), await guest(call, "two")
    for _ in range(TRIES + 1):
        answer, other = await guess(there, room), await guess(nowhere, NOWHERE)
        assert answer.text.replace(room, NOWHERE) == other.text
        assert (answer.code, answer.retry) == (other.code, other.retry)


@pytest.mark.parametrize("room", [*HIDDEN, NOWHERE])
async def test_as_much_is_hashed_whether_there_is_a_room_or_not(
    call: Dial, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the time that an answer takes says nothing."""
    hashed = []
    hash_key = charter._hash  # noqa: SLF001 # what takes the time

    def count(key: str, salt: bytes) -> bytes:
        hashed.append(key)
        return hash_key(key, salt)

    monkeypatch.setattr(charter, "_hash", count)
    await guess(await guest(call), room)
    assert hashed == [GUESS, GUESS], "once for who counts, once for who decides"
