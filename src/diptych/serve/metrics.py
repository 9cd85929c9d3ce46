"""Counts for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from diptych.serve.batcher import Batcher

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What a server counts."""

    def __init__(self, batcher: Batcher) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "diptych_requests", "Answered requests.", ("route", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "diptych_request_seconds", "Seconds from the first byte to the last.", ("route",), buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._queue = Histogram(
            "diptych_queue_seconds", "Seconds that a part of a request waited for the models.", ("lane",),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._batch = Histogram(
            "diptych_batch_inputs", "Inputs of a batch.", ("lane",), buckets=INPUTS, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "diptych_batch_seconds", "Seconds that the models took for a batch.", ("lane",), buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_BatcherCounts(batcher))
        batcher.ran = self.ran

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the pattern of its path, so that the number of rows is bounded."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def ran(self, lane: str, inputs: int, seconds: float, waited: Sequence[float]) -> None:
        """Count a batch; lanes are named after models and systems, so that the number of rows is bounded."""
        self._batch.labels(lane).observe(inputs)
        self._batch_seconds.labels(lane).observe(seconds)
        for each in waited:
            self._queue.labels(lane).observe(each)

    def text(self) -> bytes:
        """Return all counts in Prometheus' text form."""
        text: bytes = generate_latest(self.registry)
        return text


class _BatcherCounts:
    """Reads the counts of a batcher when it is asked; a collector of prometheus_client."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def collect(self) -> Iterator[Any]:
        counts = self._batcher.counts
        yield GaugeMetricFamily("diptych_waiting_inputs", "Inputs in the queue.", value=self._batcher.waiting)
        for name, text, value in (
            ("diptych_batches", "Batches that were encoded, and other work on the models.", counts.batches),
            ("diptych_inputs", "Inputs in these batches.", counts.inputs),
            ("diptych_merged_jobs", "Requests that shared a batch with another.", counts.merged),
            ("diptych_dropped_jobs", "Requests that were cancelled or too late before they ran.", counts.dropped),
            ("diptych_refused_jobs", "Requests for which the queue had no room.", counts.refused),
            ("diptych_model_seconds", "Seconds in which models ran.", counts.seconds),
        ):
            yield CounterMetricFamily(name, text, value=value)
