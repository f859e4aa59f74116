"""A server's vitals in Prometheus' text format. The only importer of prometheus_client.

Nothing is counted here: a collector reads plain numbers when somebody asks, which takes a
few milliseconds, and costs nothing when nobody does.
"""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from trio_chat.doors.http import HttpResponse
from trio_chat.tally import Histogram, Vitals

PREFIX = "trio_chat_"

KIND = "text/plain; version=0.0.4; charset=utf-8"


class _Now(Collector):
    """Reads the vitals once."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        now, tally = self._vitals, self._vitals.tally
        yield _gauge("connections", "Connections, whatever they speak.", now.connections)
        yield _gauge("sessions", "Connections that carry messages.", now.sessions)
        yield _gauge("members", "People and programs that are here.", now.members)
        yield _gauge("rooms", "Rooms.", now.rooms)
        yield _gauge("private_rooms", "Rooms of two.", now.private_rooms)
        yield _gauge("followers_behind", "Followers who are read to from the log.", now.behind)
        yield _gauge("outbox_bytes", "Bytes that wait to be sent.", now.outbox_bytes)
        yield _gauge("tasks", "Tasks of trio.", now.tasks)
        yield _counter("events", "Events that were stored.", tally.events)
        yield _counter("deliveries", "Events handed to live followers.", tally.deliveries)
        yield _refusals(tally.refusals)
        yield _histogram("commit_seconds", "What a commit took.", tally.commit_seconds)
        yield _histogram("batch_events", "Events of a commit.", tally.batch_events)
        yield _histogram("lag_seconds", "How late the loop is.", tally.lag_seconds)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value)


def _refusals(counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}refusals", "Refusals by code.", labels=["code"])
    for code, count in sorted(counts.items()):
        family.add_metric([code], count)
    return family


def _histogram(name: str, text: str, found: Histogram) -> Metric:
    sums = list(accumulate(found.counts))
    bounds: Sequence[str] = [*map(str, found.bounds), "+Inf"]
    buckets = list(zip(bounds, sums, strict=True))
    return HistogramMetricFamily(PREFIX + name, text, buckets, found.sum)


def show(vitals: Vitals) -> HttpResponse:
    """What a scraper is answered."""
    registry = CollectorRegistry()
    registry.register(_Now(vitals))
    ProcessCollector(registry=registry)  # CPU, memory, descriptors
    return HttpResponse(HTTPStatus.OK, generate_latest(registry), KIND)
