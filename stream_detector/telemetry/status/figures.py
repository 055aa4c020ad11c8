"""The few numbers that say how it goes, read from the metrics as a scrape would."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from stream_detector.telemetry.families import PREFIX
from stream_detector.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Figures:
    """Values of one moment; NaN for what is not known (yet).

    Attributes:
        throughput: events a second over the last ten.
        lag_records: records behind the ends of the logs, all partitions.
        lag_seconds: event time behind, of the partition that is furthest behind.
        events: taken in by this process.
        alerts: written, by severity.
        suppressed: alerts held back.
        rejected: records by reason, only those that came.
        alert_ratio: share of events that alert, suppressed ones included, mean of the shards.
        budget_ratio: share that may.
        threshold: score from which an event alerts, mean of the shards.
        shards: owned by this worker.
        partitions: assigned to it.
        snapshot_age: seconds since the newest snapshot of the shard with the oldest.
        memory_bytes: resident.
        labels: taken in and matched to an event.
        labels_waiting: rows that wait for their label.
    """

    throughput: float
    lag_records: float
    lag_seconds: float
    events: int
    alerts: dict[str, int]
    suppressed: int
    rejected: dict[str, int]
    alert_ratio: float
    budget_ratio: float
    threshold: float
    shards: int
    partitions: int
    snapshot_age: float
    memory_bytes: float
    labels: int
    labels_waiting: float


def figures(metrics: Metrics) -> Figures:
    """Read them. Takes a few milliseconds."""
    samples = _by_name(metrics.registry.collect())
    return Figures(
        throughput=_sum(samples, "throughput_events_per_second"),
        lag_records=_sum(samples, "consumer_lag_records"),
        lag_seconds=max(_values(samples, "consumer_lag_seconds"), default=math.nan),
        events=int(_sum(samples, "events_total", 0.0)),
        alerts=_counts(samples, "alerts_total", "severity"),
        suppressed=int(_sum(samples, "suppressed_total", 0.0)),
        rejected={k: n for k, n in _counts(samples, "rejected_total", "reason").items() if n},
        alert_ratio=_mean(samples, "alert_rate_ratio"),
        budget_ratio=_mean(samples, "alert_budget_ratio"),
        threshold=_mean(samples, "threshold"),
        shards=int(_sum(samples, "shards_owned", 0.0)),
        partitions=int(_sum(samples, "partitions_assigned", 0.0)),
        snapshot_age=max(_values(samples, "snapshot_age_seconds"), default=math.nan),
        memory_bytes=_sum(samples, "process_resident_memory_bytes"),
        labels=_counts(samples, "labels_total", "result").get("matched", 0),
        labels_waiting=_sum(samples, "labels_waiting"),
    )


def _by_name(families: Iterable[Metric]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for family in families:
        if family.type != "histogram":
            for sample in family.samples:
                found.setdefault(sample.name.removeprefix(PREFIX), []).append(sample)
    return found


def _values(samples: dict[str, list[Sample]], name: str) -> list[float]:
    return [sample.value for sample in samples.get(name, [])]


def _sum(samples: dict[str, list[Sample]], name: str, nothing: float = math.nan) -> float:
    values = _values(samples, name)
    return math.fsum(values) if values else nothing


def _mean(samples: dict[str, list[Sample]], name: str) -> float:
    values = [value for value in _values(samples, name) if math.isfinite(value)]
    return math.fsum(values) / len(values) if values else math.nan


def _counts(samples: dict[str, list[Sample]], name: str, label: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for sample in samples.get(name, []):
        counts[sample.labels[label]] = counts.get(sample.labels[label], 0) + int(sample.value)
    return counts
