"""The load: who speaks when, what it costs, and what comes of it."""

import time

import trio
from attrs import define, field, frozen

from trio_chat.bench.crowd import PATIENCE, Crowd, Member, Show
from trio_chat.bench.dialect import Dialect
from trio_chat.bench.plan import Plan, text_of
from trio_chat.bench.process import Usage
from trio_chat.bench.report import Cost, Report
from trio_chat.bench.verify import Fault, Kind, Latencies

PASSES = 50
"""How often the sockets are looked at between two looks at the clock and at Ctrl-C."""

QUANTILES = (0.5, 0.9, 0.99, 1.0)


@frozen
class Sample:
    """How far it is at one moment: `at` and `own_cpu` in seconds; `usage`: the server's."""

    at: float
    said: int
    delivered: int
    own_cpu: float
    usage: Usage | None


@define(eq=False)
class Load:
    """One run of `plan` against the server at `host` and `port`."""

    plan: Plan
    dialect: Dialect
    host: str
    port: int
    show: Show = lambda _part, _text: None
    _latencies: Latencies = field(factory=Latencies, init=False)
    _crowd: Crowd = field(init=False)
    _readers: int = field(init=False)  # of the largest room
    _talking: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _speakers: list[Member] = field(factory=list, init=False)
    _said: int = field(default=0, init=False)
    _owed: int = field(default=0, init=False)  # deliveries of all that was said
    _delivered: int = field(default=0, init=False)
    _turn: int = field(default=0, init=False)  # who speaks next
    _began: float = field(default=0.0, init=False)
    _is_warm: bool = field(default=False, init=False)
    _is_cut: bool = field(default=False, init=False)
    _first: Sample | None = field(default=None, init=False)
    _last: Sample | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._crowd = Crowd(self.plan, self.dialect, self._latencies, self.show)
        self._readers = max(1, *(room.readers for room in self._crowd.rooms), 1)

    @property
    def is_measuring(self) -> bool:
        """Is it under load, and warm?"""
        return self._is_warm and self._last is None

    def stop(self) -> None:
        """End the load before its time."""
        self._is_cut = True
        self._talking.cancel(reason="stopped")

    async def run(self) -> Report:
        """Do it all. Raises `LinkLost`, `SetupError`, and what the server refuses."""
        fault = None
        with self._crowd:
            await self._crowd.enter(self.host, self.port)
            self._speakers = self._crowd.members[: self.plan.senders]
            await self._crowd.begin()
            try:
                await self._talk()
                await self._settle()
                self._say_once_more()
                await self._settle()
            except Fault as exc:
                fault = exc
            report = self._report(fault)
            if fault is None:
                await self._crowd.leave()
        return report

    # ------------------------------------------------------------ speaking

    async def _talk(self) -> None:
        self._began = trio.current_time()
        self._first = self._sample()
        with self._talking:
            with trio.move_on_after(self.plan.warm_up):
                await self._converse()
            self._latencies.clear()
            self._first = self._sample()
            self._is_warm = True
            with trio.move_on_after(self.plan.duration):
                await self._converse()
        self._last = self._sample()

    async def _converse(self) -> None:
        """Speak and listen until cancelled, or until nothing comes any more that is due."""
        while True:
            self._speak()
            if await self._crowd.sockets.wait(self._until_due()):
                self._listen()
            elif not self._open:
                return

    def _until_due(self) -> float:
        """Seconds until the next say is due, if it is only time that it waits for."""
        if not self.plan.rate or not self._open:
            return PATIENCE
        due = self._began + self._said / self.plan.rate
        return max(0.0, due - trio.current_time())

    def _listen(self) -> None:
        """Take all that comes at once, and speak whenever that makes room."""
        for _ in range(PASSES):
            count = self._crowd.sockets.pump()
            if count is None:
                break
            self._delivered += count
            self._speak()
        part = (trio.current_time() - self._began) / self.plan.duration
        self.show(min(1.0, part), f"{self._delivered:,} deliveries")

    @property
    def _open(self) -> int:
        """How much may be said now without having more than `in_flight` under way. What is
        counted is deliveries, so that each slow reader keeps a little back."""
        most = self.plan.in_flight * self._readers
        return (most - self._owed + self._delivered) // self._readers

    def _speak(self) -> None:
        """Say what may be said and is due; the speakers take turns."""
        count = self._open
        if self.plan.rate:
            due = int((trio.current_time() - self._began) * self.plan.rate) + 1
            count = min(count, due - self._said)
        if count <= 0:
            return
        each, more = divmod(count, self.plan.senders)
        for place in range(min(count, self.plan.senders)):
            speaker = self._speakers[(self._turn + place) % self.plan.senders]
            self._say(speaker, each + (place < more))
        self._turn = (self._turn + more) % self.plan.senders

    def _say(self, speaker: Member, count: int) -> None:
        numbers = range(speaker.acks.said, speaker.acks.said + count)
        room = speaker.room
        lines = [
            self.dialect.say(room.name, number, text_of(speaker.number, number, self.plan.size))
            for number in numbers
        ]
        if room.tape is not None:
            room.tape.expect(speaker.number, count, time.perf_counter())
        speaker.acks.said += count
        self._said += count
        self._owed += count * room.readers
        self._crowd.sockets.send(speaker.connection, b"".join(lines))

    # ------------------------------------------------------------ what comes of it

    def _say_once_more(self) -> None:
        """What comes twice at the very end is found by what comes after it."""
        for speaker in self._speakers:
            self._say(speaker, 1)

    async def _settle(self) -> None:
        """Wait for what is still under way. Raises `Fault` if it does not come."""
        while self._delivered < self._owed or not all(
            one.acks.is_complete for one in self._speakers
        ):
            if not await self._crowd.sockets.wait(PATIENCE):
                raise self._missing()
            self._delivered += self._crowd.sockets.pump() or 0

    def _missing(self) -> Fault:
        lost = self._owed - self._delivered
        if lost > 0:
            text = f"{lost:,} of {self._owed:,} deliveries did not come in {PATIENCE:.0f} s"
            return Fault(Kind.LOST, text)
        return Fault(Kind.UNACKED, f"the acks that are left did not come in {PATIENCE:.0f} s")

    def _sample(self) -> Sample:
        now, own_cpu = time.perf_counter(), time.process_time()
        return Sample(now, self._said, self._delivered, own_cpu, self._crowd.usage())

    def _report(self, fault: Fault | None) -> Report:
        assert self._first is not None, "somebody has talked"
        first, last = self._first, self._last or self._sample()
        latency = {
            part: value
            for part in QUANTILES
            if (value := self._latencies.quantile(part)) is not None
        }
        return Report(
            self.plan,
            self.dialect.server,
            last.at - first.at,
            last.said - first.said,
            last.delivered - first.delivered,
            latency,
            self._crowd.joins,
            last.own_cpu - first.own_cpu,
            self._cost(first.usage, last.usage),
            self.dialect.pace,
            fault,
            self._is_cut,
        )

    def _cost(self, first: Usage | None, last: Usage | None) -> Cost | None:
        if first is None or last is None:
            return None
        return Cost(last.cpu - first.cpu, last.memory, self._crowd.memory_each)
