"""Metrics of how late alerts are, by stage of their way."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from prometheus_client.core import HistogramMetricFamily

from stream_detector.telemetry.histograms import BulkHistogram

# fmt: off
LATENCY_BUCKETS_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    1800.0,
)
# fmt: on
ALERT_STAGES = ("arrival", "decision", "wait", "commit", "all")
Samples: TypeAlias = list[tuple[str, tuple[list[tuple[str, float]], float]]]


class LatencyMetrics:
    """The part of ``Metrics`` about alerts' latency, under the same lock. State: the buckets."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._stages = {stage: BulkHistogram(LATENCY_BUCKETS_SECONDS) for stage in ALERT_STAGES}

    def observe(self, stages: Mapping[str, Sequence[float]]) -> None:
        """Alerts of a commit; by stage, seconds. Raises KeyError for another name of a stage."""
        with self._lock:
            for stage, seconds in stages.items():
                self._stages[stage].observe_many(np.array(seconds, dtype=np.float64))

    def samples(self) -> Samples:
        """Of each stage, cumulative counts by bucket and the sum. To be called under the lock."""
        return [(stage, each.samples()) for stage, each in self._stages.items()]


def by_stage(family: HistogramMetricFamily, samples: Samples) -> HistogramMetricFamily:
    """Fill a family whose only label is the stage."""
    for stage, (buckets, total) in samples:
        family.add_metric([stage], buckets, total)
    return family
