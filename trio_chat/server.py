"""The house: opens everything in order, and closes it in order."""

import logging
import sys
from collections.abc import Collection

import trio
from attrs import define, evolve, field, frozen

from trio_chat.doors.front import Front, address_of
from trio_chat.doors.sites import Sites
from trio_chat.doors.stream import TcpStream
from trio_chat.doors.tcp import listen, serve
from trio_chat.doors.tls import Tls
from trio_chat.doors.web import House, Network, Web
from trio_chat.errors import LinkLost, Refused, ServerFull
from trio_chat.gate import MOST, Gate, Turnstile
from trio_chat.history import History
from trio_chat.hub import Hub
from trio_chat.messages import Goodbye
from trio_chat.outbox import Outbox
from trio_chat.pacing import Paces
from trio_chat.reception import Reception
from trio_chat.sequencer import Sequencer
from trio_chat.session import Arrival, Session, Settings
from trio_chat.tally import Vitals

LAG_EVERY = 2.0
"""Seconds between two looks at how late the loop is."""

GRACE = 3.0
"""Seconds that the sessions have for their last words when the server closes; with the
second in which they hang up, and the last commit, it is over within five."""

RETRY = 1.0
"""Seconds after which a client is told to come back when the server closes."""

SPARE_FILES = 64
"""Descriptors kept for the database, the log and the listeners. Without them `accept`
fails, and clients hang that believe to be connected."""

log = logging.getLogger(__name__)


def most_connections() -> int:
    """How many connections there may be: what the system allows, less a reserve."""
    if sys.platform == "win32":
        return MOST
    import resource  # noqa: PLC0415 # there is none on Windows

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else max(1, files - SPARE_FILES)


@frozen
class Doorstep:
    """Where a running server can be reached: the `addresses` that it listens on, and
    `nursery`, in which a conversation may be started that does not come through a door."""

    addresses: list[tuple[str, int]]
    nursery: trio.Nursery


@define(eq=False, repr=False)
class Server:
    """One chat server over `history`, which is opened before and closed after.

    `sites`: the pages that browsers may come from; `scrapers`: the networks besides this
    machine from which metrics may be read; `tls`: encrypts everything, if it is there.
    """

    history: History
    settings: Settings = field(factory=Settings)
    sites: Sites = field(factory=Sites)
    scrapers: Collection[Network] = ()
    tls: Tls | None = None
    _hub: Hub = field(init=False)
    _sequencer: Sequencer = field(init=False)
    _reception: Reception = field(init=False)
    _front: Front = field(init=False)
    _in_force: Settings = field(init=False)
    _gate: Gate = field(init=False)
    _entrance: Turnstile = field(factory=Turnstile, init=False)
    _exit: Turnstile = field(factory=Turnstile, init=False)
    _sessions: set[Session] = field(factory=set, init=False)
    _closing: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        most = min(self.settings.connections, most_connections())
        self._in_force = evolve(self.settings, connections=most)
        self._gate = Gate(most, self.settings.per_address)
        self._hub = Hub(self.history)
        self._sequencer = Sequencer(self._hub, self.history)
        visits = Paces(self.settings.rate, self.settings.burst)
        self._reception = Reception(self._hub, self._sequencer, self.settings.guests, visits)
        house = House(
            self._converse,
            self._reception.admit,
            self._closing.is_set,
            self.vitals,
            self._hub.tally,
            self._exit,
        )
        web = Web(house, self._own_sites(), self.scrapers)
        self._front = Front(
            self._converse, web, self._entrance, self._exit, self._hub.tally, self.tls
        )

    def _own_sites(self) -> Sites:
        """Also the names that the certificate is for, whenever it was read last."""
        tls = self.tls
        return self.sites if tls is None else evolve(self.sites, certified=lambda: tls.hosts)

    def close(self) -> None:
        """Begin to close: nobody new comes in, whoever is there hears a goodbye."""
        self._closing.set()

    async def run(
        self,
        host: str,
        port: int,
        *,
        task_status: trio.TaskStatus[Doorstep] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until closed, and until everybody has left or GRACE is over.

        Raises `SetupError` if it can't listen.
        """
        # Before any nursery: what is wrong is raised as it is, in no group.
        await self._hub.open(trio.current_time())
        listeners = await listen(host, port)
        addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as house:
            house.start_soon(self._sequencer.run)
            house.start_soon(self._sequencer.see_off_the_lost)
            house.start_soon(self._sequencer.keep_what_is_read)
            house.start_soon(self._reception.keep_up)
            house.start_soon(self._reception.keep_forgetting)
            house.start_soon(self.history.maintain)
            house.start_soon(self._watch_lag)
            async with trio.open_nursery() as sessions:
                async with trio.open_nursery() as doors:
                    wait = self._gate.wait_for_time
                    doors.start_soon(serve, listeners, self.answer, sessions, wait)
                    task_status.started(Doorstep(addresses, sessions))
                    await self._closing.wait()
                    doors.cancel_scope.cancel(reason="closing")
                log.info("closing", extra={"links": self._gate.inside})
                self._front.close()
                for session in self._sessions:
                    session.say_goodbye(_GOODBYE)
                sessions.cancel_scope.deadline = trio.current_time() + GRACE
            house.cancel_scope.cancel(reason="closed")

    async def answer(self, stream: trio.abc.Stream) -> None:
        """Serve one connection, whatever it speaks, to its end."""
        address = address_of(stream)
        try:
            refusal = await self._let_in(stream, address)
            if refusal is not None:
                log.info("turned away", extra={"code": refusal.code, "address": address})
                self._hub.tally.refusals[refusal.code] += 1
                await self._turn_away(stream, refusal)
        except LinkLost as lost:
            why = f"{lost}: {lost.__cause__}" if lost.__cause__ else str(lost)
            log.info("link lost", extra={"why": why, "address": address})
        except Exception:
            log.exception("bug: a connection died")
        finally:
            if isinstance(stream, TcpStream):
                stream.close()  # the other takes 0.1 ms, which is much where a thousand end
            else:
                await trio.aclose_forcefully(stream)

    async def _let_in(self, stream: trio.abc.Stream, address: str | None) -> Refused | None:
        """Serve one who may come in; or else, why it may not."""
        try:
            with self._gate.let_in(address):
                self._hub.banished.require(None, address, self._sequencer.now())
                await self._front.answer(stream)
        except Refused as refusal:
            return refusal
        return None

    async def _turn_away(self, stream: trio.abc.Stream, why: Refused) -> None:
        if isinstance(why, ServerFull):
            with self._gate.turning_away():
                await self._front.turn_away(stream, why)
            return
        # There is room, so no honest one has to wait for them.
        with self._gate.telling_the_unwanted() as is_told:
            if is_told:
                await self._front.turn_away(stream, why)

    def vitals(self) -> Vitals:
        """How the server is doing."""
        outboxes = [session.outbox for session in self._sessions]
        return Vitals(
            connections=self._gate.inside,
            sessions=len(outboxes),
            members=len(self._hub.members),
            rooms=len(self._hub.rooms),
            private_rooms=len(self._hub.private),
            behind=sum(len(outbox.behind) for outbox in outboxes),
            outbox_bytes=sum(outbox.queued_bytes for outbox in outboxes),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            tally=self._hub.tally,
        )

    async def _watch_lag(self) -> None:
        """Note how late one wakes up who wants to at a certain time, until cancelled."""
        while True:
            due = trio.current_time() + LAG_EVERY
            await trio.sleep_until(due)
            self._hub.tally.lag_seconds.add(trio.current_time() - due)

    async def _converse(
        self, stream: trio.abc.Stream, outbox: Outbox, arrival: Arrival
    ) -> None:
        session = Session(
            stream,
            outbox,
            self._hub,
            self._sequencer,
            self._reception,
            self._exit,
            self._in_force,
            arrival,
        )
        if self._closing.is_set():
            session.say_goodbye(_GOODBYE)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.remove(session)


_GOODBYE = Goodbye("the server is closing", retry=RETRY)
