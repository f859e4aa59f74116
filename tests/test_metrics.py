"""What a server tells of itself: counted as plain numbers, shown in Prometheus' format."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import NoReturn

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Dial
from tests.test_web import GET, ask
from trio_chat.doors.metrics import show
from trio_chat.doors.sites import Sites
from trio_chat.doors.web import House, Web
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Error, Join, Say
from trio_chat.server import LAG_EVERY, Server
from trio_chat.session import Arrival
from trio_chat.tally import Histogram, Tally, Vitals
from trio_chat.testing import RunningServer


def read(body: bytes) -> Mapping[str, float]:
    """The samples, by their names and labels."""
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    histogram = Histogram((1, 5, 50))
    for value in values:
        histogram.add(value)
    for bound, count in zip((1, 5, 50), range(1, 4), strict=True):
        assert sum(histogram.counts[:count]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)
    assert histogram.sum == pytest.approx(sum(values))


def test_all_that_is_promised_is_there() -> None:
    tally = Tally()
    tally.events, tally.deliveries = 9, 10
    tally.refusals.update(["name_taken", "name_taken", "busy"])
    tally.commit_seconds.add(0.003)
    tally.batch_events.add(64)
    tally.lag_seconds.add(2)
    found = read(show(Vitals(1, 2, 3, 4, 5, 6, 7, 8, tally)).body)
    for name, value in {
        "connections": 1,
        "sessions": 2,
        "members": 3,
        "rooms": 4,
        "private_rooms": 5,
        "followers_behind": 6,
        "outbox_bytes": 7,
        "tasks": 8,
        "events_total": 9,
        "deliveries_total": 10,
        "refusals_total{name_taken}": 2,
        "refusals_total{busy}": 1,
        "commit_seconds_count": 1,
        "commit_seconds_sum": 0.003,
        "commit_seconds_bucket{0.002}": 0,
        "commit_seconds_bucket{0.005}": 1,
        "batch_events_bucket{32}": 0,
        "batch_events_bucket{64}": 1,
        "lag_seconds_bucket{1.0}": 0,
        "lag_seconds_bucket{+Inf}": 1,
    }.items():
        assert found[f"trio_chat_{name}"] == value, name
    assert found["process_resident_memory_bytes"] > 0


async def test_what_happens_is_counted(server: RunningServer, dial: Dial) -> None:
    alice, bob, taken = await dial(), await dial(), await dial()
    await alice.enter("alice", "lobby")
    await bob.enter("bob", "lobby")
    await alice.tell(Say("lobby", "hi", "x"), Say("garden", "hi"), Join("", id="j"))
    await alice.hear_all(5)
    await taken.tell_bytes(b"nonsense\n")
    await taken.hear(Error)
    await trio.sleep(LAG_EVERY)
    found = read((await ask(server, GET % (b"/metrics", b""))).body)
    assert found["trio_chat_connections"] == 3, "and this one"
    assert found["trio_chat_sessions"] == 2
    assert found["trio_chat_members"] == 2
    assert found["trio_chat_rooms"] == 1
    assert found["trio_chat_events_total"] == 3
    assert found["trio_chat_deliveries_total"] == 1 + 2
    assert found["trio_chat_refusals_total{no_such_room}"] == 1
    assert found["trio_chat_refusals_total{bad_name}"] == 1
    assert found["trio_chat_refusals_total{not_json}"] == 1
    assert found["trio_chat_batch_events_count"] == found["trio_chat_commit_seconds_count"] > 0
    assert found["trio_chat_lag_seconds_count"] == 1
    assert found["trio_chat_lag_seconds_sum"] == 0


async def _never(*_: object) -> NoReturn:
    await trio.lowlevel.checkpoint()
    raise AssertionError


SCRAPERS = [ip_network("10.0.0.0/24"), ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("address", "fields", "status"),
    [
        ("127.0.0.1", b"", 200),
        ("::1", b"", 200),
        ("::ffff:127.0.0.1", b"", 200),
        ("10.0.0.7", b"", 200),
        ("::ffff:10.0.0.7", b"", 200),
        ("2001:db8::7", b"", 200),
        ("10.0.1.7", b"", 403),
        ("192.168.0.1", b"", 403),
        ("2001:db9::1", b"", 403),
        ("fe80::1%eth0", b"", 403),
        ("127.0.0.1", b"X-Forwarded-For: 127.0.0.1\r\n", 403),
        ("127.0.0.1", b"Forwarded: for=127.0.0.1\r\n", 403),
        ("10.0.0.7", b"Via: 1.1 proxy\r\n", 403),
    ],
)
async def test_metrics_are_for_those_who_may_read_them(
    address: str, fields: bytes, status: int
) -> None:
    server = Server(MemoryHistory())
    web = Web(House(_never, _never, lambda: False, server.vitals, Tally()), Sites(), SCRAPERS)
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_eof()
    await web.answer(theirs, Arrival(address=address, heard=GET % (b"/metrics", fields)))
    answer = bytes(await ours.receive_some())
    assert answer.startswith(b"HTTP/1.1 %d " % status)
