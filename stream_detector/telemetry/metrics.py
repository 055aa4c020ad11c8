"""Everything that Prometheus is told, in a registry of its own (never the global one).

The values live in plain dicts and NumPy arrays and are turned into metric families when somebody
scrapes: ``prometheus_client.Histogram.observe`` costs 1.3 µs a call (measured), which at
100,000 events a second is an eighth of a core for one histogram.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from platform import python_version
from types import TracebackType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

import stream_detector
from stream_detector.events import Float64, Rejection, TopicPartition

PREFIX = "stream_detector_"
MAX_LABEL_SETS = 200
"""Label sets of a family that is not labelled by partition; later ones count as ``other``."""
ALERT_HALF_LIFE_EVENTS = 10_000
RATE_WINDOW_SECONDS = 10.0

# fmt: off
STAGES = (
    "poll", "merge", "decode", "features", "scale", "score", "decide", "learn", "output", "commit",
    "snapshot",
)
STAGE_BUCKETS_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)
SCORE_BUCKETS = (
    -10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0, 25.0,
    30.0, 35.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0,
)
# fmt: on
SnapshotResult: TypeAlias = Literal["ok", "failed", "damaged"]
CommitResult: TypeAlias = Literal["ok", "rebalanced", "failed", "in_doubt"]

Labels: TypeAlias = tuple[str, ...]
_PARTITION = ("topic", "partition")
_LIBRARIES = ("kafka_python", "scikit_learn", "river", "numpy")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: name without prefix, label names, and the label sets that exist from the start.

    A counter that appears only with its first increment hides that increment from ``increase()``,
    so label sets that are known beforehand start at zero.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: Labels = ()
    initial: tuple[Labels, ...] = ()


def _each(literal: Any) -> tuple[Labels, ...]:
    return tuple((value,) for value in get_args(literal))


_AT_ZERO: tuple[Labels, ...] = ((),)
FAMILIES = (
    Family("events_total", "counter", "Events taken in.", _PARTITION),
    Family("rejected_total", "counter", "Records that touched no model.", ("stage", "reason")),
    Family("alerts_total", "counter", "Alerts written.", ("severity",)),
    Family("suppressed_total", "counter", "Alerts held back by suppression.", (), _AT_ZERO),
    Family("threshold", "gauge", "Score from which an event alerts."),
    Family("alert_rate_ratio", "gauge", "Share of recent events over the threshold."),
    Family("throughput_events_per_second", "gauge", "Events taken in, over the last 10 seconds."),
    Family("consumer_lag_records", "gauge", "Records not yet processed.", _PARTITION),
    Family("consumer_lag_seconds", "gauge", "Event time not yet processed.", _PARTITION),
    Family("buffered_records", "gauge", "Records held back by the merge.", _PARTITION),
    Family("paused_partitions", "gauge", "Partitions paused by the merge.", (), _AT_ZERO),
    Family("waiting_for_input", "gauge", "1 while nothing waits to be read.", (), _AT_ZERO),
    Family("learning_steps_total", "counter", "Chunks learnt.", (), _AT_ZERO),
    Family("rows_learned_total", "counter", "Events learnt.", (), _AT_ZERO),
    Family("rows_refused_total", "counter", "Events left out of learning.", (), _AT_ZERO),
    Family("keys_held", "gauge", "Keys remembered by a window.", ("key",)),
    Family("keys_evicted_total", "counter", "Keys forgotten for want of room.", ("key",)),
    Family("snapshot_age_seconds", "gauge", "Age of the newest snapshot (or of the process)."),
    Family("snapshot_timestamp_seconds", "gauge", "Time of the newest snapshot, since 1970."),
    Family("snapshot_size_bytes", "gauge", "Size of the newest snapshot."),
    Family("snapshots_total", "counter", "Snapshots.", ("result",), _each(SnapshotResult)),
    Family("commits_total", "counter", "Commits.", ("result",), _each(CommitResult)),
    Family("rebalances_total", "counter", "Changes of the assignment.", (), _AT_ZERO),
    Family("partitions_assigned", "gauge", "Partitions owned.", (), _AT_ZERO),
    Family("shards_owned", "gauge", "Shards owned.", (), _AT_ZERO),
    Family("broker_errors_total", "counter", "Errors of the broker or its client.", ("kind",)),
    Family("ready", "gauge", "1 when /readyz answers 200."),
    Family("build_info", "gauge", "Versions.", ("version", "python", *_LIBRARIES)),
    Family("config_info", "gauge", "What is configured.", ("name", "detector", "delivery")),
)


class BulkHistogram:
    """Counts of values by bucket, for arrays at a time.

    State: one count a bucket and the sum, so it does not grow. Values that are not finite are not
    counted: one NaN would make the sum NaN for ever.

    Args:
        bounds: upper bounds, inclusive as Prometheus' ``le`` is; finite and rising.

    Raises:
        ValueError: for bounds that are not.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        if not bounds or not np.isfinite(bounds).all() or not (np.diff(bounds) > 0).all():
            raise ValueError(f"buckets must be finite and rising, given {list(bounds)}")
        self.bounds = [float(bound) for bound in bounds]
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        if isfinite(value):
            self._counts[bisect_left(self.bounds, value)] += 1
            self._sum += value

    def observe_many(self, values: Float64) -> None:
        """Count all values of a one-dimensional array."""
        finite = np.isfinite(values)
        if not finite.all():
            values = values[finite]
        total = float(values.sum())
        places = np.searchsorted(self.bounds, values, side="left")
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += total

    def samples(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by ``le`` (the last is +Inf), and the sum."""
        names = [*map(str, self.bounds), "+Inf"]
        cumulative = np.cumsum(self._counts).tolist()
        return list(zip(names, map(float, cumulative), strict=True)), self._sum


class _RecentRate:
    """Events a second over about the last ten seconds.

    State: (time, total) points at least a second apart within the window, so about a dozen.
    """

    def __init__(self, now: float) -> None:
        self._total = 0
        self._points: deque[tuple[float, int]] = deque([(now, 0)])

    def add(self, now: float, count: int) -> None:
        self._total += count
        if now - self._points[-1][0] >= 1.0:
            self._points.append((now, self._total))
        self._drop_old(now)

    def per_second(self, now: float) -> float:
        self._drop_old(now)
        then, total = self._points[0]
        return (self._total - total) / (now - then) if now > then else 0.0

    def _drop_old(self, now: float) -> None:
        while len(self._points) > 1 and now - self._points[1][0] >= RATE_WINDOW_SECONDS:
            self._points.popleft()


class _StageTimer(AbstractContextManager[None]):
    """Context manager that observes how long its block took, also when it raises."""

    __slots__ = ("_metrics", "_stage", "_start")

    def __init__(self, metrics: Metrics, stage: str) -> None:
        self._metrics = metrics
        self._stage = stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._metrics.observe_stage(self._stage, time.perf_counter() - self._start)


class Metrics:
    """The values of all metrics; thread-safe; meant to be called once a batch with counts.

    State: one number a label set. Label sets by partition go with ``forget_partitions``; of every
    other family at most ``MAX_LABEL_SETS`` are kept apart, further ones share the value ``other``.

    Args:
        score_buckets: upper bounds of the score histogram.
        severities: severities that alerts can have, so that their counters start at zero.
        clock: wall clock, seconds since 1970 (ages of snapshots).
        monotonic: monotonic clock, seconds (throughput).
    """

    def __init__(
        self,
        *,
        score_buckets: Sequence[float] = SCORE_BUCKETS,
        severities: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._lock = threading.Lock()
        self._families = {family.name: family for family in FAMILIES}
        self._values: dict[str, dict[Labels, float]] = {
            family.name: dict.fromkeys(family.initial, 0.0) for family in FAMILIES
        }
        self._scores = BulkHistogram(score_buckets)
        self._stages = {stage: BulkHistogram(STAGE_BUCKETS_SECONDS) for stage in STAGES}
        self._rate = _RecentRate(monotonic())
        self._recent_scored = self._recent_alerts = 0.0
        self._snapshot_time = clock()
        self._is_ready: Callable[[], bool] = lambda: False
        self._values["alerts_total"].update({(severity,): 0.0 for severity in severities})
        self._set("build_info", 1, _versions())
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    # --- events and decisions ---

    def add_events(self, counts: Mapping[TopicPartition, int]) -> None:
        """Events taken in, by partition."""
        with self._lock:
            for source, count in counts.items():
                self._add("events_total", count, _partition(source))
            self._rate.add(self._monotonic(), sum(counts.values()))

    def add_rejections(self, rejections: Iterable[Rejection]) -> None:
        """Records that touched no model."""
        counts = Counter((rejection.stage, rejection.reason) for rejection in rejections)
        with self._lock:
            for labels, count in counts.items():
                self._add("rejected_total", count, labels)

    def observe_scores(self, scores: Float64) -> None:
        """Scores of a batch: (events,) float64."""
        with self._lock:
            self._scores.observe_many(scores)

    def add_decisions(self, scored: int, alerts: Mapping[str, int], suppressed: int) -> None:
        """Of ``scored`` events, how many alerted (by severity) and how many were held back."""
        decay = 0.5 ** (scored / ALERT_HALF_LIFE_EVENTS)
        with self._lock:
            for severity, count in alerts.items():
                self._add("alerts_total", count, (severity,))
            self._add("suppressed_total", suppressed)
            above = sum(alerts.values()) + suppressed
            self._recent_scored = decay * self._recent_scored + scored
            self._recent_alerts = decay * self._recent_alerts + above
            if self._recent_scored > 0:
                self._set("alert_rate_ratio", self._recent_alerts / self._recent_scored)

    def set_threshold(self, score: float) -> None:
        """Score from which an event alerts."""
        with self._lock:
            self._set("threshold", score)

    def add_learning(self, steps: int, learned: int, refused: int) -> None:
        """Chunks learnt, the events in them, and those of them that were left out."""
        with self._lock:
            self._add("learning_steps_total", steps)
            self._add("rows_learned_total", learned)
            self._add("rows_refused_total", refused)

    def set_keys(self, key: str, held: int) -> None:
        """Keys that the windows over the field ``key`` remember."""
        with self._lock:
            self._set("keys_held", held, (key,))

    def add_evicted_keys(self, key: str, count: int) -> None:
        """Keys that the windows over the field ``key`` forgot for want of room."""
        with self._lock:
            self._add("keys_evicted_total", count, (key,))

    # --- time spent ---

    def stage(self, stage: str) -> AbstractContextManager[None]:
        """``with metrics.stage("decode"): ...`` measures a batch's time in one of ``STAGES``."""
        return _StageTimer(self, stage)

    def observe_stage(self, stage: str, seconds: float) -> None:
        """A time measured elsewhere. Raises KeyError for a name that is not in ``STAGES``."""
        with self._lock:
            self._stages[stage].observe(seconds)

    # --- input and assignment ---

    def set_lag(self, source: TopicPartition, records: int, seconds: float) -> None:
        """Records, and event time in seconds, that a partition is behind the end of its log."""
        with self._lock:
            self._set("consumer_lag_records", records, _partition(source))
            self._set("consumer_lag_seconds", seconds, _partition(source))

    def set_buffered(self, source: TopicPartition, records: int) -> None:
        """Records of a partition that the merge holds back."""
        with self._lock:
            self._set("buffered_records", records, _partition(source))

    def forget_partitions(self, sources: Iterable[TopicPartition]) -> None:
        """Drop every series of partitions that now belong to another worker."""
        labels = [_partition(source) for source in sources]
        with self._lock:
            for family in FAMILIES:
                if family.labels == _PARTITION:
                    for gone in labels:
                        self._values[family.name].pop(gone, None)

    def set_assignment(self, partitions: int, shards: int) -> None:
        """What this worker owns."""
        with self._lock:
            self._set("partitions_assigned", partitions)
            self._set("shards_owned", shards)

    def add_rebalance(self) -> None:
        """The assignment changed."""
        with self._lock:
            self._add("rebalances_total", 1)

    def set_paused_partitions(self, count: int) -> None:
        """Partitions that the merge has paused."""
        with self._lock:
            self._set("paused_partitions", count)

    def set_waiting_for_input(self, waiting: bool) -> None:
        """Whether everything there is has been read."""
        with self._lock:
            self._set("waiting_for_input", float(waiting))

    def add_broker_error(self, kind: str) -> None:
        """An error of the broker or its client; ``kind`` from a short list."""
        with self._lock:
            self._add("broker_errors_total", 1, (kind,))

    # --- commits and snapshots ---

    def add_commit(self, result: CommitResult) -> None:
        """A commit ended."""
        with self._lock:
            self._add("commits_total", 1, (result,))

    def add_snapshot(self, result: SnapshotResult) -> None:
        """A snapshot was written, could not be written, or was found damaged and skipped."""
        with self._lock:
            self._add("snapshots_total", 1, (result,))

    def set_newest_snapshot(self, timestamp_seconds: float, size_bytes: int) -> None:
        """The newest sound snapshot, written or loaded; its time is wall-clock time since 1970."""
        with self._lock:
            self._snapshot_time = timestamp_seconds
            self._set("snapshot_timestamp_seconds", timestamp_seconds)
            self._set("snapshot_size_bytes", size_bytes)

    # --- what runs ---

    def set_config(self, name: str, detector: str, delivery: str) -> None:
        """Replace ``config_info``."""
        with self._lock:
            self._values["config_info"].clear()
            self._set("config_info", 1, (name, detector, delivery))

    def watch_ready(self, is_ready: Callable[[], bool]) -> None:
        """Ask ``is_ready`` at every scrape, so that the gauge is right even if the loop hangs."""
        self._is_ready = is_ready

    # --- prometheus_client's collector protocol ---

    def describe(self) -> list[Metric]:
        """All families without samples; the registry learns their names from it."""
        return [*map(_empty, FAMILIES), *_histograms()]

    def collect(self) -> Iterator[Metric]:
        """All families with the values of one moment."""
        ready = self._is_ready()
        with self._lock:
            self._set("ready", float(ready))
            self._set("throughput_events_per_second", self._rate.per_second(self._monotonic()))
            self._set("snapshot_age_seconds", max(0.0, self._clock() - self._snapshot_time))
            values = [(family, list(self._values[family.name].items())) for family in FAMILIES]
            scores = self._scores.samples()
            stages = [(stage, each.samples()) for stage, each in self._stages.items()]
        for family, by_labels in values:
            metric = _empty(family)
            for labels, value in by_labels:
                metric.add_metric(labels, value)
            yield metric
        score, duration = _histograms()
        # The library leaves _sum and _count out where a bound is negative, as OpenMetrics demands:
        # such a sum may fall.
        score.add_metric([], *scores)
        yield score
        for stage, (buckets, total) in stages:
            duration.add_metric([stage], buckets, total)
        yield duration

    # --- under the lock ---

    def _add(self, name: str, amount: float, labels: Labels = ()) -> None:
        values = self._values[name]
        labels = self._bounded(name, labels)
        values[labels] = values.get(labels, 0.0) + amount

    def _set(self, name: str, value: float, labels: Labels = ()) -> None:
        self._values[name][self._bounded(name, labels)] = value

    def _bounded(self, name: str, labels: Labels) -> Labels:
        values, family = self._values[name], self._families[name]
        if labels in values or len(values) < MAX_LABEL_SETS or family.labels == _PARTITION:
            return labels
        return ("other",) * len(labels)


def _partition(source: TopicPartition) -> Labels:
    return (source.topic, str(source.partition))


def _empty(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    return make(PREFIX + family.name, family.help, labels=family.labels)


def _histograms() -> tuple[HistogramMetricFamily, HistogramMetricFamily]:
    return (
        HistogramMetricFamily(PREFIX + "score", "Scores of events.", labels=()),
        HistogramMetricFamily(
            PREFIX + "stage_duration_seconds", "Time of a batch in a stage.", labels=("stage",)
        ),
    )


def _versions() -> Labels:
    def installed(library: str) -> str:
        try:
            return version(library)
        except PackageNotFoundError:
            return "none"

    libraries = (installed(library.replace("_", "-")) for library in _LIBRARIES)
    return (stream_detector.__version__, python_version(), *libraries)
