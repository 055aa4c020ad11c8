"""The table of metric families: names, labels, and the label values that are known beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any, Literal, TypeAlias, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

import stream_detector
from stream_detector.decoding import REASONS

PREFIX = "stream_detector_"

# fmt: off
STAGES = (
    "poll", "merge", "decode", "features", "scale", "score", "decide", "learn", "output", "commit",
    "snapshot",
)
# fmt: on
SnapshotResult: TypeAlias = Literal["ok", "failed", "damaged"]
CommitResult: TypeAlias = Literal["ok", "rebalanced", "failed", "in_doubt"]
BrokerErrorKind: TypeAlias = Literal[
    "ends", "offsets_reset", "open", "partitions_added", "retention_overrun", "acts"
]
Condition: TypeAlias = Literal[
    "input_missing",
    "input_without_leader",
    "open_transaction",
    "journal_foreign",
    "schema_missing",
]
"""Names of conditions that last (``telemetry.conditions``)."""
RequestRefusal: TypeAlias = Literal["malformed", "password", "token", "held"]

Labels: TypeAlias = tuple[str, ...]
PARTITION: Labels = ("topic", "partition")
SHARD: Labels = ("shard",)
MONITOR: Labels = (*SHARD, "monitor")
MONITOR_KEY: Labels = (*MONITOR, "key")
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

    def by(self, owner: Labels) -> bool:
        """Tell whether the labels begin with ``owner``: ``PARTITION`` or ``SHARD``."""
        return self.labels[: len(owner)] == owner


def _each(literal: Any) -> tuple[Labels, ...]:
    return tuple((value,) for value in get_args(literal))


_AT_ZERO: tuple[Labels, ...] = ((),)
_REJECTIONS: tuple[Labels, ...] = (
    *(("decode", reason) for reason in REASONS if reason != "time_behind"),
    ("order", "time_ahead"),
    ("order", "time_behind"),
)
FAMILIES = (
    Family("events_total", "counter", "Events taken in.", PARTITION),
    Family(
        "rejected_total",
        "counter",
        "Records that touched no model.",
        ("stage", "reason"),
        _REJECTIONS,
    ),
    Family("alerts_total", "counter", "Alerts written.", ("severity",)),
    Family("suppressed_total", "counter", "Alerts held back by suppression.", (), _AT_ZERO),
    Family(
        "alerts_unadvised_total",
        "counter",
        "Alerts of a burst, that do not say what would have been ordinary.",
        (),
        _AT_ZERO,
    ),
    Family("rules", "gauge", "Rules, by how they stand.", (*SHARD, "state")),
    Family("rules_disabled_total", "counter", "Rules that have disabled themselves.", SHARD),
    Family("rule_hidden_total", "counter", "Raised and hidden by a rule.", ("rule",)),
    Family("rule_events_remembered", "gauge", "Hidden events that a label may still name.", SHARD),
    Family("rule_events_forgotten_total", "counter", "Those forgotten for want of room.", SHARD),
    Family("acts_total", "counter", "Acts of people taken in.", (*SHARD, "act", "result")),
    Family("snoozed_total", "counter", "Alerts of snoozed incidents, left out.", (), _AT_ZERO),
    Family("incidents_open", "gauge", "Incidents that are open.", (*SHARD, "severity")),
    Family("incident_changes_total", "counter", "Messages of incidents.", (*SHARD, "change")),
    Family(
        "incident_values_evicted_total",
        "counter",
        "Values whose usual share was forgotten for want of room.",
        SHARD,
    ),
    Family("alert_reasons_total", "counter", "Alerts by their first reason.", ("feature",)),
    Family("threshold", "gauge", "Score from which an event alerts.", SHARD),
    Family("member_weight", "gauge", "Weight of a member of the detector.", (*SHARD, "member")),
    Family("alert_rate_ratio", "gauge", "Share of recent events over the threshold.", SHARD),
    Family("alert_budget_ratio", "gauge", "Share of events that may alert.", SHARD),
    Family("throughput_events_per_second", "gauge", "Events taken in, over the last 10 seconds."),
    Family("consumer_lag_records", "gauge", "Records not yet processed.", PARTITION),
    Family("consumer_lag_seconds", "gauge", "Event time not yet processed.", PARTITION),
    Family(
        "last_stable_offset_age_seconds",
        "gauge",
        "How long an open transaction has kept a partition from being read further.",
        PARTITION,
    ),
    Family(
        "schema_wait_seconds",
        "gauge",
        "How long a partition has been paused for a schema that cannot be had.",
        PARTITION,
    ),
    Family("buffered_records", "gauge", "Records held back by the merge.", PARTITION),
    Family("paused_partitions", "gauge", "Partitions paused by the merge.", (), _AT_ZERO),
    Family("waiting_for_input", "gauge", "1 while nothing waits to be read.", (), _AT_ZERO),
    Family("learning_steps_total", "counter", "Chunks learnt.", SHARD),
    Family("rows_learned_total", "counter", "Events learnt.", SHARD),
    Family("rows_refused_total", "counter", "Events left out of learning.", SHARD),
    Family("keys_held", "gauge", "Keys remembered by a window.", (*SHARD, "key")),
    Family("keys_evicted_total", "counter", "Keys forgotten for want of room.", (*SHARD, "key")),
    Family("monitor_actual", "gauge", "What a key did in the last bucket closed.", MONITOR_KEY),
    Family("monitor_expected", "gauge", "What was to be expected of it.", MONITOR_KEY),
    Family("monitor_low", "gauge", "Lower end of the band without an alert.", MONITOR_KEY),
    Family("monitor_high", "gauge", "Upper end of it.", MONITOR_KEY),
    Family("monitor_alerts_total", "counter", "Alerts of a monitor.", MONITOR),
    Family("monitor_buckets_closed_total", "counter", "Buckets closed.", MONITOR),
    Family("monitor_keys_held", "gauge", "Keys remembered by a monitor.", MONITOR),
    Family("monitor_keys_judged", "gauge", "Keys of which enough is known.", MONITOR),
    Family("monitor_keys_evicted_total", "counter", "Keys forgotten for want of room.", MONITOR),
    Family("monitor_events_without_key_total", "counter", "Events without key or value.", MONITOR),
    Family("monitor_findings_muted_total", "counter", "Findings a calendar left out.", MONITOR),
    Family("labels_total", "counter", "Labels taken in.", (*SHARD, "result")),
    Family("labels_waiting", "gauge", "Rows that wait for their label.", SHARD),
    Family("risk_events", "gauge", "Events held for labels.risk.", (*SHARD, "key", "state")),
    Family("drift_events_total", "counter", "Drifts found.", ("on", "feature")),
    Family(
        "time_shifts_total",
        "counter",
        "Times the watermark was set anew.",
        ("direction",),
        (("forward",), ("back",)),
    ),
    Family("watermark_timestamp_seconds", "gauge", "The stream's own time.", SHARD),
    Family(
        "labelled_events_total",
        "counter",
        "Events whose label is known, by what was decided.",
        (*SHARD, "label", "raised"),
    ),
    Family("label_auc_ratio", "gauge", "Area under the ROC curve, by late labels.", SHARD),
    Family("label_average_precision_ratio", "gauge", "Average precision, by late labels.", SHARD),
    Family(
        "label_precision_at_ratio",
        "gauge",
        "Share of anomalous events among the k highest scores, by late labels.",
        (*SHARD, "k"),
    ),
    Family(
        "challenger_decisions_total",
        "counter",
        "Events by what champion and challenger made of them.",
        (*SHARD, "champion", "challenger"),
    ),
    Family("challenger_threshold", "gauge", "Score from which it would alert.", SHARD),
    Family("challenger_label_auc_ratio", "gauge", "As label_auc_ratio, the challenger's.", SHARD),
    Family(
        "challenger_label_average_precision_ratio",
        "gauge",
        "As label_average_precision_ratio, the challenger's.",
        SHARD,
    ),
    Family(
        "challenger_label_precision_at_ratio",
        "gauge",
        "As label_precision_at_ratio, the challenger's.",
        (*SHARD, "k"),
    ),
    Family("snapshot_age_seconds", "gauge", "Age of the newest snapshot (or of the shard).", SHARD),
    Family("snapshot_timestamp_seconds", "gauge", "Newest snapshot's time, since 1970.", SHARD),
    Family("snapshot_size_bytes", "gauge", "Size of the newest snapshot.", SHARD),
    Family("snapshots_total", "counter", "Snapshots.", ("result",), _each(SnapshotResult)),
    Family("commits_total", "counter", "Commits.", ("result",), _each(CommitResult)),
    Family("output_failing", "gauge", "1 while a shard's commits cannot be written.", SHARD),
    Family("replayed_events_total", "counter", "Events processed again in recovery.", SHARD),
    Family("replay_remaining_records", "gauge", "Journal records still to be replayed.", SHARD),
    Family("replay_mismatches_total", "counter", "Replayed records that came out other.", SHARD),
    Family("ticks_total", "counter", "Times that went on without an event.", SHARD),
    Family("lost_records_total", "counter", "Offsets deleted before they were read.", PARTITION),
    Family("foreign_records_total", "counter", "Records of others, passed over.", PARTITION),
    Family("cut_messages_total", "counter", "Messages written without a part.", (), _AT_ZERO),
    Family("rebalances_total", "counter", "Changes of the assignment.", (), _AT_ZERO),
    Family("partitions_assigned", "gauge", "Partitions owned.", (), _AT_ZERO),
    Family("shards_owned", "gauge", "Shards owned.", (), _AT_ZERO),
    Family(
        "broker_errors_total",
        "counter",
        "Errors of the broker or its client.",
        ("kind",),
        _each(BrokerErrorKind),
    ),
    Family(
        "conditions",
        "gauge",
        "Topics, partitions or shards in a condition that lasts.",
        ("condition",),
        _each(Condition),
    ),
    Family(
        "requests_refused_total",
        "counter",
        "HTTP requests that were not followed.",
        ("reason",),
        _each(RequestRefusal),
    ),
    Family("memory_limit_bytes", "gauge", "Memory that the process may have."),
    Family("ready", "gauge", "1 when /readyz answers 200."),
    Family("build_info", "gauge", "Versions.", ("version", "python", *_LIBRARIES)),
    Family(
        "config_info", "gauge", "What is configured.", ("name", "group", "detector", "delivery")
    ),
)


def empty(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    """The family as the client library knows it, without samples."""
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    return make(PREFIX + family.name, family.help, labels=family.labels)


def empty_histograms() -> tuple[
    HistogramMetricFamily, HistogramMetricFamily, HistogramMetricFamily, HistogramMetricFamily
]:
    """The histograms of both models' scores, of times in stages, of alerts' latency, empty."""
    return (
        HistogramMetricFamily(PREFIX + "score", "Scores of events.", labels=()),
        HistogramMetricFamily(
            PREFIX + "challenger_score", "The challenger's scores of events.", labels=()
        ),
        HistogramMetricFamily(
            PREFIX + "stage_duration_seconds", "Time of a batch in a stage.", labels=("stage",)
        ),
        HistogramMetricFamily(
            PREFIX + "alert_latency_seconds",
            "Time from the event's record to its alert, by part of the way.",
            labels=("stage",),
        ),
    )


def versions() -> Labels:
    """Label values of ``build_info``; ``none`` for a library that is not installed."""

    def installed(library: str) -> str:
        try:
            return version(library)
        except PackageNotFoundError:
            return "none"

    libraries = (installed(library.replace("_", "-")) for library in _LIBRARIES)
    return (stream_detector.__version__, python_version(), *libraries)
