"""Counts and times of a service, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impasto.studio.jobs import StudioJob
from impasto.studio.service import Observer, Service

__all__ = ["Metrics"]

SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class Metrics(Observer):
    """What there is to be counted, by itself and not in the process's own registry: a process may have several."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._jobs = Counter("impasto_jobs", "Jobs that have ended, by how.", ["end"], registry=self._registry)
        self._pictures = Counter("impasto_pictures", "Pictures that were painted.", registry=self._registry)
        self._errors = Counter("impasto_errors", "Jobs that failed, by why.", ["kind"], registry=self._registry)
        self._refused = Counter(
            "impasto_refused", "Jobs that were not taken, by why.", ["why"], registry=self._registry
        )
        self._seconds = Histogram(
            "impasto_seconds",
            "Seconds of a job, by phase; queued is the time before it begins.",
            ["phase"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def watch(self, service: Service) -> None:
        """Count what this service does from now on, and tell what it is doing."""
        service.observers.append(self)
        self._registry.register(_Now(service))

    def ended(self, job: StudioJob) -> None:
        """See `Observer`."""
        self._jobs.labels(job.state).inc()
        if job.failure is not None:
            self._errors.labels(job.failure.kind).inc()
        if job.began is not None:
            self._seconds.labels("queued").observe(job.began - job.created)

    def painted(self, seconds: Mapping[str, float]) -> None:
        """See `Observer`."""
        self._pictures.inc()
        for phase, spent in seconds.items():
            self._seconds.labels(phase).observe(spent)

    def refused(self, why: str) -> None:
        """See `Observer`."""
        self._refused.labels(why).inc()

    def text(self) -> bytes:
        """In the format that Prometheus reads."""
        return generate_latest(self._registry)


class _Now(Collector):
    """What a service is doing at the moment."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """One family of values after the other."""
        service = self._service
        waiting = GaugeMetricFamily("impasto_queue_jobs", "Jobs that wait.", labels=["queue"])
        running = GaugeMetricFamily("impasto_running_jobs", "Jobs that are being painted.", labels=["queue"])
        for queue in service.queues:
            waiting.add_metric([queue], service.waiting(queue))
            running.add_metric([queue], service.running(queue))
        ready = GaugeMetricFamily("impasto_workers_ready", "Processes that can paint.", labels=["queue"])
        starts = GaugeMetricFamily("impasto_workers_started", "Processes started so far.", labels=["queue"])
        memory = GaugeMetricFamily("impasto_workers_memory_bytes", "Memory that they hold.", labels=["queue"])
        for queue in service.queues:
            keepers = [keeper for keeper in service.keepers if keeper.queue == queue]
            ready.add_metric([queue], sum(keeper.ready for keeper in keepers))
            starts.add_metric([queue], sum(keeper.starts for keeper in keepers))
            memory.add_metric([queue], sum(keeper.memory() for keeper in keepers))
        yield from (waiting, running, ready, starts, memory)
