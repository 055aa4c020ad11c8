"""Everything that Prometheus is told, in a registry of its own (never the global one).

Values live in plain dicts and NumPy arrays; a scrape turns them into metric families.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric

from stream_detector.events import Float64, Rejection, TopicPartition
from stream_detector.telemetry.challenger import ChallengerMetrics
from stream_detector.telemetry.families import (
    FAMILIES,
    PARTITION,
    SHARD,
    STAGES,
    BrokerErrorKind,
    CommitResult,
    Condition,
    Labels,
    SnapshotResult,
    empty,
    empty_histograms,
    versions,
)
from stream_detector.telemetry.histograms import (
    SCORE_BUCKETS,
    STAGE_BUCKETS_SECONDS,
    BulkHistogram,
    StageTimer,
)
from stream_detector.telemetry.http_metrics import HttpMetrics
from stream_detector.telemetry.incident_metrics import IncidentMetrics
from stream_detector.telemetry.label_metrics import LabelMetrics
from stream_detector.telemetry.latency_metrics import LatencyMetrics, by_stage
from stream_detector.telemetry.member_metrics import MemberMetrics
from stream_detector.telemetry.memory import memory_limit_bytes
from stream_detector.telemetry.monitor_metrics import MonitorMetrics
from stream_detector.telemetry.rates import RecentRate, RecentShare
from stream_detector.telemetry.rule_metrics import RuleMetrics
from stream_detector.telemetry.series import Series
from stream_detector.telemetry.tick_metrics import TickMetrics


class Metrics:
    """The values of all metrics; thread-safe; meant to be called once a batch with counts.

    State: ``Series``, bounded (those by partition go with ``forget_partitions``, by shard with
    ``forget_shard``); the buckets of the histograms; a few numbers a shard owned.

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
        self._series = Series()
        self._scores = BulkHistogram(score_buckets)
        self.labels = LabelMetrics(self._series, self._lock)
        self.ticks = TickMetrics(self._series, self._lock)
        self.monitors = MonitorMetrics(self._series, self._lock)
        self.rules = RuleMetrics(self._series, self._lock)
        self.incidents = IncidentMetrics(self._series, self._lock)
        self.latency = LatencyMetrics(self._lock)
        self.members = MemberMetrics(self._series, self._lock)
        self.http = HttpMetrics(self._series, self._lock)
        self.challenger = ChallengerMetrics(self._series, self._lock, score_buckets)
        self._stages = {stage: BulkHistogram(STAGE_BUCKETS_SECONDS) for stage in STAGES}
        self._rate = RecentRate(monotonic())
        self._alert_share: defaultdict[int, RecentShare] = defaultdict(RecentShare)
        self._snapshot_time: dict[int, float] = {}  # where there is none, when the shard began
        self._is_ready: Callable[[], bool] = lambda: False
        for severity in severities:
            self._series.add("alerts_total", 0, (severity,))
        self._series.set("build_info", 1, versions())
        if (limit := memory_limit_bytes()) is not None:
            self._series.set("memory_limit_bytes", limit)
        self.registry = CollectorRegistry()
        self.registry.register(self)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    # --- events and decisions ---

    def add_events(self, counts: Mapping[TopicPartition, int]) -> None:
        """Events taken in, by partition."""
        with self._lock:
            for source, count in counts.items():
                self._series.add("events_total", count, _partition(source))
            self._rate.add(self._monotonic(), sum(counts.values()))

    def add_rejections(self, rejections: Iterable[Rejection]) -> None:
        """Records that touched no model."""
        with self._lock:
            for labels, count in Counter((one.stage, one.reason) for one in rejections).items():
                self._series.add("rejected_total", count, labels)

    def observe_scores(self, scores: Float64) -> None:
        """Scores of a batch: (events,) float64."""
        with self._lock:
            self._scores.observe_many(scores)

    def add_decisions(
        self, shard: int, scored: int, alerts: Mapping[str, int], suppressed: int, beside: int = 0
    ) -> None:
        """Count events, alerts (by severity; so many ``beside`` raised events), those held back."""
        with self._lock:
            for severity, count in alerts.items():
                self._series.add("alerts_total", count, (severity,))
            self._series.add("suppressed_total", suppressed)
            share = self._alert_share[shard]
            share.add(scored, sum(alerts.values()) - beside + suppressed)
            if (ratio := share.value()) is not None:
                self._series.set("alert_rate_ratio", ratio, _shard(shard))

    def add_unadvised(self, count: int) -> None:
        """Alerts that do not say what would have been ordinary, since they were many."""
        with self._lock:
            self._series.add("alerts_unadvised_total", count)

    def add_reasons(self, counts: Mapping[str, int]) -> None:
        """Alerts by the feature that contributed most; with 0 a feature begins to exist."""
        with self._lock:
            for feature, count in counts.items():
                self._series.add("alert_reasons_total", count, (feature,))

    # --- a shard's state ---

    def begin_shard(self, shard: int) -> None:
        """A shard was taken on: its counters begin at zero, and without a snapshot its age."""
        with self._lock:
            self._snapshot_time.setdefault(shard, self._clock())
            for name in ("output_failing", "replay_remaining_records"):
                self._series.set(name, 0, _shard(shard))
            for family in FAMILIES:
                if family.kind == "counter" and family.labels == SHARD:
                    self._series.add(family.name, 0, _shard(shard))

    def forget_shard(self, shard: int) -> None:
        """Drop every series of a shard that now belongs to another worker."""
        with self._lock:
            self._snapshot_time.pop(shard, None)
            self._alert_share.pop(shard, None)
            self._series.forget(SHARD, {_shard(shard)})

    def set_threshold(self, shard: int, score: float, budget: float | None = None) -> None:
        """Score from which an event alerts; the share of events that may, None without a budget."""
        with self._lock:
            self._series.set("threshold", score, _shard(shard))
            if budget is not None:
                self._series.set("alert_budget_ratio", budget, _shard(shard))

    def add_learning(self, shard: int, steps: int, learned: int, refused: int) -> None:
        """Chunks learnt, the events in them, and those of them that were left out."""
        with self._lock:
            self._series.add("learning_steps_total", steps, _shard(shard))
            self._series.add("rows_learned_total", learned, _shard(shard))
            self._series.add("rows_refused_total", refused, _shard(shard))

    def add_drift(self, on: str, feature: str, count: int = 1) -> None:
        """Drifts found; ``feature`` is the column's name, empty where it is not of an input."""
        with self._lock:
            self._series.add("drift_events_total", count, (on, feature))

    def set_keys(self, shard: int, key: str, held: int) -> None:
        """Keys that the windows over the field ``key`` remember."""
        with self._lock:
            self._series.set("keys_held", held, (*_shard(shard), key))

    def add_evicted_keys(self, shard: int, key: str, count: int) -> None:
        """Keys that the windows over the field ``key`` forgot for want of room."""
        with self._lock:
            self._series.add("keys_evicted_total", count, (*_shard(shard), key))

    def stage(self, stage: str) -> AbstractContextManager[None]:
        """``with metrics.stage("decode"): ...`` measures a batch's time in one of ``STAGES``."""
        return StageTimer(self.observe_stage, stage)

    def observe_stage(self, stage: str, seconds: float) -> None:
        """A time measured elsewhere. Raises KeyError for a name that is not in ``STAGES``."""
        with self._lock:
            self._stages[stage].observe(seconds)

    # --- input and assignment ---

    def set_lag(self, source: TopicPartition, records: int, seconds: float) -> None:
        """Records, and event time in seconds, that a partition is behind the end of its log."""
        with self._lock:
            self._series.set("consumer_lag_records", records, _partition(source))
            self._series.set("consumer_lag_seconds", seconds, _partition(source))

    def set_stable_offset_age(self, source: TopicPartition, seconds: float) -> None:
        """Set how long an open transaction has kept a partition from being read; 0: none."""
        with self._lock:
            self._series.set("last_stable_offset_age_seconds", seconds, _partition(source))

    def set_buffered(self, source: TopicPartition, records: int, schema_wait: float) -> None:
        """Records of a partition that are held back; seconds that it has waited for a schema."""
        with self._lock:
            self._series.set("buffered_records", records, _partition(source))
            self._series.set("schema_wait_seconds", schema_wait, _partition(source))

    def forget_partitions(self, sources: Iterable[TopicPartition]) -> None:
        """Drop every series of partitions that now belong to another worker."""
        with self._lock:
            self._series.forget(PARTITION, set(map(_partition, sources)))

    def set_assignment(self, partitions: int, shards: int) -> None:
        """Set what this worker owns."""
        with self._lock:
            self._series.set("partitions_assigned", partitions)
            self._series.set("shards_owned", shards)

    def add_rebalance(self) -> None:
        """The assignment changed."""
        with self._lock:
            self._series.add("rebalances_total", 1)

    def set_paused_partitions(self, count: int) -> None:
        """Partitions that the merge has paused."""
        with self._lock:
            self._series.set("paused_partitions", count)

    def set_waiting_for_input(self, waiting: bool) -> None:
        """Set whether everything there is has been read."""
        with self._lock:
            self._series.set("waiting_for_input", float(waiting))

    def add_broker_error(self, kind: BrokerErrorKind) -> None:
        """An error of the broker or its client."""
        with self._lock:
            self._series.add("broker_errors_total", 1, (kind,))

    def set_conditions(self, condition: Condition, count: int) -> None:
        """Set how many topics, partitions or shards are in a condition that lasts."""
        with self._lock:
            self._series.set("conditions", count, (condition,))

    # --- commits and snapshots ---

    def add_commit(self, result: CommitResult) -> None:
        """A commit ended."""
        with self._lock:
            self._series.add("commits_total", 1, (result,))

    def set_output_failing(self, shard: int, *, failing: bool) -> None:
        """Set whether a shard's commits cannot be written at present."""
        with self._lock:
            self._series.set("output_failing", float(failing), _shard(shard))

    def add_replay(self, shard: int, events: int, mismatches: int, remaining: int) -> None:
        """Events replayed, journal records among them that came out other, and records left."""
        with self._lock:
            self._series.add("replayed_events_total", events, _shard(shard))
            self._series.add("replay_mismatches_total", mismatches, _shard(shard))
            self._series.set("replay_remaining_records", remaining, _shard(shard))

    def add_lost_records(self, source: TopicPartition, count: int) -> None:
        """Offsets that retention had deleted before they were read."""
        with self._lock:
            self._series.add("lost_records_total", count, _partition(source))

    def add_foreign_records(self, source: TopicPartition, count: int) -> None:
        """Records of others in a partition of the journal or of the snapshots, passed over."""
        with self._lock:
            self._series.add("foreign_records_total", count, _partition(source))

    def add_cut_messages(self, count: int) -> None:
        """Alerts and dead letters that were too large and were written without a part."""
        with self._lock:
            self._series.add("cut_messages_total", count)

    def add_snapshot(self, result: SnapshotResult) -> None:
        """A snapshot was written, could not be written, or was found damaged and skipped."""
        with self._lock:
            self._series.add("snapshots_total", 1, (result,))

    def set_newest_snapshot(self, shard: int, timestamp_seconds: float, size_bytes: int) -> None:
        """A shard's newest sound snapshot, written or restored; seconds since 1970."""
        with self._lock:
            self._snapshot_time[shard] = timestamp_seconds
            self._series.set("snapshot_timestamp_seconds", timestamp_seconds, _shard(shard))
            self._series.set("snapshot_size_bytes", size_bytes, _shard(shard))

    def set_config(self, name: str, group: str, detector: str, delivery: str) -> None:
        """Replace ``config_info``."""
        with self._lock:
            self._series.clear("config_info")
            self._series.set("config_info", 1, (name, group, detector, delivery))

    def watch_ready(self, is_ready: Callable[[], bool]) -> None:
        """Ask ``is_ready`` at every scrape, so that the gauge is right even if the loop hangs."""
        self._is_ready = is_ready

    # --- prometheus_client's collector protocol ---

    def describe(self) -> list[Metric]:
        """All families without samples; the registry learns their names from it."""
        return [*map(empty, FAMILIES), *empty_histograms()]

    def collect(self) -> Iterator[Metric]:
        """All families with the values of one moment."""
        ready, now, moment = self._is_ready(), self._clock(), self._monotonic()
        with self._lock:
            self._series.set("ready", float(ready))
            self._series.set("throughput_events_per_second", self._rate.per_second(moment))
            for shard, then in self._snapshot_time.items():
                self._series.set("snapshot_age_seconds", max(0.0, now - then), _shard(shard))
            values = self._series.items()
            scores, shadow = self._scores.samples(), self.challenger.samples()
            latency = self.latency.samples()
            stages = [(stage, each.samples()) for stage, each in self._stages.items()]
        for family, by_labels in values:
            metric = empty(family)
            for labels, value in by_labels:
                metric.add_metric(labels, value)
            yield metric
        score, challenger, duration, late = empty_histograms()
        # With a negative bound the library leaves _sum and _count out: such a sum may fall.
        score.add_metric([], *scores)
        challenger.add_metric([], *shadow)
        yield from (score, challenger)
        yield from (by_stage(duration, stages), by_stage(late, latency))


def _partition(source: TopicPartition) -> Labels:
    return (source.topic, str(source.partition))


def _shard(number: int) -> Labels:
    return (str(number),)
