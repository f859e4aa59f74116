"""Who comes in, and what makes a name one's own: passwords, tokens, devices.

What is stored goes through the sequencer, like everything. Between asking and being
answered others may have come and gone, so what was known before is looked at again.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

import trio
from attrs import define, evolve, field

from trio_chat.banished import Outlaws, parse_banished
from trio_chat.charter import Identity, Sanction
from trio_chat.errors import (
    AccountNeeded,
    Banned,
    NameTaken,
    NoSuchName,
    NotAllowed,
    NotStored,
    StorageFailed,
    TryLater,
    WrongPassword,
)
from trio_chat.failures import Failures
from trio_chat.gate import NETWORK_BITS, origin_of
from trio_chat.hashing import Hashing
from trio_chat.history import (
    Account,
    Banished,
    Change,
    Registered,
    Rehashed,
    Revoked,
    Stay,
)
from trio_chat.hub import Hub, Proof
from trio_chat.messages import Banish, DeviceInfo, Hello, Join, Register
from trio_chat.names import Name, parse_name, skeleton
from trio_chat.pacing import BURST, RATE, Paces
from trio_chat.quotas import ACCOUNTS, Quota, Quotas
from trio_chat.rooms import Device
from trio_chat.rules import require_line
from trio_chat.secret import Secret
from trio_chat.sequencer import Sequencer, Submission
from trio_chat.tokens import Scope, find_bot

DEVICES_EACH = 20
"""The most devices that may come back to one account; beyond it the one is forgotten that
was not seen for the longest time."""

ACCOUNTS_IN_ALL = 100_000
"""The most accounts of a server: some 100 MB."""

TAKEN_AWAY = "the operator has taken the account, or its devices, away"
"""Why devices are cut off."""

GIVEN_AWAY = "the name has an account now; come back with its password"
"""Why a guest is cut off."""

FORGET_EVERY = 3600.0
"""Seconds between two looks for what guests have left behind."""

ABANDONED_AFTER = timedelta(days=90)
"""How long a private room of two guests is kept in which nothing is said. Their tokens would
bring them back to it for ever; who wants to keep its messages has an account."""

ASK_AGAIN = 5.0
"""Seconds after which a history is asked again that has failed."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@define(eq=False, repr=False)
class Reception:
    """Lets people in. `guests`: also those whose name is nobody's. `visits`: how often a bot
    may come for one request each. `keys`: of rooms, that were tried in vain."""

    hub: Hub
    sequencer: Sequencer
    guests: bool = True
    visits: Paces = field(factory=lambda: Paces(RATE, BURST))
    hashing: Hashing = field(factory=Hashing)
    keys: Failures = field(factory=Failures)
    _quotas: Quotas = field(factory=Quotas, init=False)

    async def prove(self, name: Name, hello: Hello, origin: str | None) -> Proof:
        """What somebody proves who says hello from an address.

        Raises `WrongPassword`, `TryLater`, `AccountNeeded`; of a bot `NotStored`.
        """
        stay = None if hello.token is None else await self._recognise(name, hello.token)
        if stay is None and hello.token is not None and find_bot(hello.token) is not None:
            raise WrongPassword(f"this token is not, or not any more, one of {name}")
        # Only now: what is said to a token does not tell whether there is such a name.
        if not self.guests and hello.password is None and self._account(name) is None:
            raise AccountNeeded("there are no guests here; the name has to be registered")
        proof = Proof(hello.token, stay, client=hello.client, is_passing=hello.passing)
        if stay is not None or self.hub.is_here(name, hello.token):
            return proof
        if hello.password is not None:
            rehashed = await self._check(name, Secret(hello.password), origin)
            return evolve(proof, has_password=True, rehashed=rehashed)
        return proof

    async def _recognise(self, name: Name, token: str) -> Stay | None:
        if self.hub.is_here(name, token):
            return None
        try:
            stay = await self.hub.recognise(token)
        except NotStored as failure:
            log.warning("not recognised", extra={"error": str(failure)})
            if find_bot(token) is not None:  # a bot has no other way
                raise
            return None
        if stay is None or stay.name != name:
            return None
        # A guest's, from before the name was an account's, proves nothing any more.
        account = self._account(name)
        return stay if account is None or account.identity == stay.identity else None

    async def admit(self, token: str) -> Scope:
        """What a bot may that comes for one request. It is counted by what it is, however
        many tokens and connections it has.

        Raises `WrongPassword`, `TryLater`, `NotStored`.
        """
        # Whoever asks with what is no such token at all costs the history nothing.
        stay = None if find_bot(token) is None else await self.hub.recognise(token)
        if stay is None or stay.scope is None:
            raise WrongPassword("this is not, or not any more, the token of a bot")
        wait = self.visits.wait(stay.identity, trio.current_time())
        if wait > 0:
            raise TryLater("you come too often; slow down", retry=wait)
        return stay.scope

    async def _check(self, name: Name, password: Secret, origin: str | None) -> Rehashed | None:
        """See that it is the password, and what is to be kept of it from now on."""
        while True:
            account = self._account(name)
            kept = None if account is None else account.password
            renewed = await self.hashing.check(name, origin, password, kept)
            assert account is not None, "nobody has the password of nobody"
            assert kept is not None, "nor is anything right where nothing is kept"
            now = self._account(name)
            if now is not None and now.password == kept:
                return None if renewed is None else Rehashed(account.identity, kept, renewed)
            # It was changed meanwhile, or is kept in another form.

    def _account(self, name: Name) -> Account | None:
        member = self.hub.members.get(name)
        return None if member is None else member.account

    # ------------------------------------------------------------ keys of rooms

    def try_key(self, device: Device, join: Join, origin: str | None) -> None:
        """See that nobody guesses keys; whether it is the right one, is decided with the
        join. Raises `TryLater`, `BadName`."""
        trial = self.hub.tries_lock(device.member, join, self.sequencer.now())
        if trial is None:
            return
        now = trio.current_time()
        wait = math.ceil(self.keys.begin(trial.room, origin, now))
        if wait:
            raise TryLater(f"too many wrong keys; try again in {wait} s", retry=wait)
        self.keys.end(trial.room, origin, now, failed=not trial.is_right)

    # ------------------------------------------------------------ one's own name

    async def register(self, device: Device, request: Register, origin: str | None) -> None:
        """Make a guest's name its own, or change the password: then this device stays, and
        all others have to come in anew, for whoever has found out the old one may be one.

        Raises `NotAllowed`, `BadPassword`, `WrongPassword`, `TryLater`, `NotStored`.
        """
        member = device.member
        _refuse_bot(device)
        if member.account is None:
            self._take_registration(origin)
        elif request.old is None:
            raise NotAllowed("the name is yours already; to change the password, give the old")
        else:
            old, kept = Secret(request.old), member.account.password
            await self.hashing.check(member.name, origin, old, kept)
        hashed = await self.hashing.hash(Secret(request.password))
        if self.hub.members.get(member.name) is not member or self.hub.is_expected(member.name):
            raise NameTaken("the name is somebody else's by now")
        known = member.account
        account = Account(
            member.identity,
            member.name,
            skeleton(member.name),
            hashed,
            is_operator=known is not None and known.is_operator,
        )
        stays = await self.hub.history.devices(member.identity)
        others = [Revoked(stay.device) for stay in stays if stay.device != device.id]
        await self._store(device, [Registered(account), *others])
        if known is None:
            log.info("registered", extra={"who": member.name})
        else:
            log.info("password changed", extra={"who": member.name})

    def _take_registration(self, origin: str | None) -> None:
        if sum(member.has_account for member in self.hub.members.values()) >= ACCOUNTS_IN_ALL:
            raise NotAllowed(f"there are {ACCOUNTS_IN_ALL} accounts, which is the most")
        self.take(ACCOUNTS, origin)

    def take(self, quota: Quota, origin: str | None) -> None:
        """Use one of what an address has; this machine is nobody's. Raises `TryLater`."""
        if origin is not None:
            self._quotas.take(quota, trio.current_time(), origin)

    # ------------------------------------------------------------ one's own devices

    async def devices(self, device: Device) -> tuple[DeviceInfo, ...]:
        """Those with which somebody can come in. Raises `NotAllowed`."""
        _refuse_guest(device)
        stays = await self.hub.history.devices(device.member.identity)
        here = {one.id for one in device.member.devices if one.lost_at is None}
        now = self.sequencer.now()
        return tuple(
            DeviceInfo(
                str(stay.device),
                stay.client,
                stay.at or now,
                here=stay.device in here,
                this=stay.device == device.id,
            )
            for stay in stays
            if stay.scope is None
        )

    async def revoke(self, device: Device, id: str) -> None:
        """Throw out a device of one's own. Raises `NotAllowed`, `NotStored`."""
        _refuse_guest(device)
        stays = await self.hub.history.devices(device.member.identity)
        found = [stay.device for stay in stays if str(stay.device) == id]
        if not found:
            raise NotAllowed("you have no such device")
        await self._store(device, [Revoked(one) for one in found])

    async def make_space(self, device: Device) -> None:
        """Forget the oldest devices of an account that has one too many."""
        stays = await self.hub.history.devices(device.member.identity)
        here = {one.id for one in device.member.devices}
        away = [stay.device for stay in stays if stay.device not in here]
        excess = len(stays) - DEVICES_EACH
        if excess > 0:
            await self._store(device, [Revoked(one) for one in away[:excess]])

    # ------------------------------------------------------------ who is gone

    async def keep_forgetting(self) -> None:
        """Forget now and then what no guest will ask for any more, until cancelled."""
        while True:
            await self.forget_the_abandoned()
            await trio.sleep(FORGET_EVERY)

    async def forget_the_abandoned(self) -> None:
        """Delete the private rooms that guests have left alone for too long."""
        before = self.sequencer.now() - ABANDONED_AFTER
        for room in list(self.hub.private.values()):
            if self.hub.is_abandoned(room, before):
                self.hub.drop(room)  # so that nobody who comes now gets half of it
                await _insist(partial(self.hub.history.forget, room.name))

    # ------------------------------------------------------------ what the operator does

    async def banish(self, device: Device, request: Banish) -> None:
        """Keep somebody out, or let it come again.

        Raises `NotAllowed`, `BadName`, `NoSuchName`, `BadText`, `TooMany`, `NotStored`.
        """
        _refuse_bot(device)
        if not device.member.is_operator:
            raise NotAllowed("that is for the operators of the server")
        require_line("a reason", request.reason)
        sanction = None if request.off else Sanction(request.until, request.reason)
        wanted = dict.fromkeys(self._meant(request), sanction)
        for what in wanted:
            self._see_that_no_operator_goes(what, sanction)
        changes = self.hub.banished.make_space(wanted, self.sequencer.now())
        await self._store(device, [Banished(what, known) for what, known in changes.items()])
        for what in wanted:
            log.info("banished", extra={"who": what, "by": device.name, "off": request.off})

    def _meant(self, request: Banish) -> Sequence[str]:
        if not request.where:
            return [parse_banished(request.name)]
        person = self.hub.members.get(parse_name(request.name))
        devices = () if person is None else person.devices
        found = {origin_of(device.connection.address) for device in devices} - {None}
        if not found:
            raise NoSuchName(f"{request.name} is not here from another machine")
        # Of IPv6, the network is whose it is.
        nets = [f"{one}/{NETWORK_BITS}" if ":" in str(one) else str(one) for one in found]
        return sorted(map(parse_banished, nets))

    def _see_that_no_operator_goes(self, what: str, sanction: Sanction | None) -> None:
        meant = Outlaws()
        meant.know({} if sanction is None else {what: sanction})
        for member in self.hub.members.values():
            addresses = [one.connection.address for one in member.devices]
            for address in (None, *addresses) if member.is_operator else ():
                try:
                    meant.require(member.name, address, self.sequencer.now())
                except Banned as banned:
                    raise NotAllowed(f"{member.name} is an operator") from banned

    async def keep_up(self) -> None:
        """Learn of what is done with accounts on the command line, until cancelled."""
        history = self.hub.history
        while True:
            await _insist(history.wait_for_change)
            self.hub.banished.know(await _insist(history.banished))
            self.sequencer.put_out_the_unwanted()
            # Before they are read, or one that is registered meanwhile would seem to be gone.
            before = self.hub.accounts()
            present = {account.identity: account for account in await _insist(history.accounts)}
            self.hub.know_all_accounts(present.values())
            self._see_out(self.hub.in_the_way(), GIVEN_AWAY)
            for account in before:
                now = present.get(account.identity)
                if now is None:
                    self._see_out(self.hub.forget_account(account.identity), TAKEN_AWAY)
                elif now.password != account.password:
                    self._see_out(await self._unknown_devices(account.identity), TAKEN_AWAY)

    async def _unknown_devices(self, identity: Identity) -> Sequence[Device]:
        """Those that are here and may not come back."""
        stays = await _insist(partial(self.hub.history.devices, identity))
        known = {stay.device for stay in stays}
        here = self.hub.devices_of(identity)
        return [device for device in here if device.id not in known]

    def _see_out(self, devices: Sequence[Device], why: str) -> None:
        for device in devices:
            self.sequencer.revoke(device, why)

    async def _store(self, device: Device, changes: Sequence[Change]) -> None:
        submission = Submission(device, device.connection.outbox, changes=changes, renews=True)
        await self.sequencer.submit(submission)
        await submission.is_handled.wait()
        if not submission.is_stored:
            raise StorageFailed("the history can't be written; nothing was changed")


async def _insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the history until it answers."""
    while True:
        try:
            return await ask()
        except NotStored as failure:
            log.warning("not kept up", extra={"error": str(failure)})
            await trio.sleep(ASK_AGAIN)


def _refuse_bot(device: Device) -> None:
    if device.scope is not None:
        raise NotAllowed("that is not what this token is for")


def _refuse_guest(device: Device) -> None:
    _refuse_bot(device)
    if not device.member.has_account:
        raise NotAllowed("a guest has no devices; register the name first")
