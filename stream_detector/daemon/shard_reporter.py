"""Reports a shard's work to the metrics."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from stream_detector.alerts import iso_time
from stream_detector.config.models.config import DriftConfig
from stream_detector.daemon.incident_reporter import IncidentReporter
from stream_detector.daemon.monitor_reporter import MonitorReporter
from stream_detector.daemon.rule_reporter import RuleReporter
from stream_detector.daemon.shard import Shard
from stream_detector.drift import DriftEvent
from stream_detector.events import TopicPartition
from stream_detector.labels.feedback import Ranking
from stream_detector.pipeline import BatchResult, PipelineFigures
from stream_detector.pipeline.figures import ShadowFigures
from stream_detector.rejections import RejectionTally
from stream_detector.stream_time import Shift
from stream_detector.telemetry.label_metrics import RankingMetrics
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.outcomes import count_outcome
from stream_detector.telemetry.status.recent import Recent, place_of

log = logging.getLogger(__name__)

_QUIET_SECONDS = 60.0
_REJECTED_SHARE = 0.05
_NAMED = 5
"""Features, or kinds of rejections, that a line of the log names."""


class ShardReporter:
    """Turns running totals of the shards into counters.

    State: the last value of each total, a few numbers a shard, window and watch, what was reported.
    """

    def __init__(
        self, metrics: Metrics, recent: Recent | None = None, monitor_keys: int = 0
    ) -> None:
        """``monitor_keys``: of each monitor, how many keys' bands are metrics."""
        self._metrics, self._recent = metrics, recent or Recent()
        self._monitors = MonitorReporter(metrics, self._recent, self._increase, monitor_keys)
        self._rules = RuleReporter(metrics, self._increase)
        self._incidents = IncidentReporter(metrics, self._recent, self._increase)
        self._counted: dict[tuple[int, str], float] = defaultdict(int)
        self._reported = (0, 0, 0, 0)
        self._minute = RejectionTally()
        self._quiet_until: dict[tuple[int, int], float] = {}

    def begin(self, shard: Shard) -> None:
        """Take a restored shard's totals as counted: they are of before this process."""
        self._metrics.begin_shard(shard.number)
        figures = shard.pipeline.figures()
        self._increase(shard, "labels", figures.labels_taken)
        self._increase(shard, "unmatched", figures.labels_unmatched)
        for key, evicted in figures.features.keys_evicted.items():
            self._increase(shard, f"evicted {key}", evicted)
        for case, events in figures.champion.cases.items():
            self._growth(shard, f"labelled {case}", events)
        self._monitors.begin(shard)
        self._rules.begin(shard)
        self._incidents.begin(shard)
        sources = shard.sources
        for source in sources:
            self._metrics.add_lost_records(source, 0)
        self._metrics.add_events(dict.fromkeys(sources, 0))
        self._metrics.add_reasons(dict.fromkeys(figures.features.groups, 0))
        for on, feature in figures.champion.watched:
            self._metrics.add_drift(on, feature or "", 0)
        for direction in ("forward", "back"):
            self._metrics.ticks.add_shift(direction, 0)

    def observe_outcome(self, shard: Shard, outcome: BatchResult) -> None:
        """Count a processed batch."""
        self._recent.take(outcome)
        self._metrics.add_events(shard.input.take_released_counts())
        if outcome.rejections:
            self._minute.add_all(outcome.rejections, map(place_of, outcome.dead_letters))
        count_outcome(self._metrics, shard.number, outcome)
        for chunk in outcome.challenger_scores:
            self._metrics.challenger.observe_scores(chunk)
        self._rules.count(shard, outcome)
        self._monitors.count_alerts(shard, outcome.monitor_alerts)
        self._incidents.take(shard, outcome)
        self._observe_changes(shard, outcome.changes)
        self._observe_shifts(shard, outcome.shifts)
        self._metrics.add_unadvised(outcome.unadvised)
        self._metrics.add_reasons(Counter(outcome.reasons))

    def _observe_changes(self, shard: Shard, changes: Sequence[DriftEvent]) -> None:
        """Count drifts; one line a minute for each watch, however much is in motion."""
        by_watch: dict[int, list[DriftEvent]] = defaultdict(list)
        for change in changes:
            self._metrics.add_drift(change.on, change.feature or "")
            by_watch[change.watch].append(change)
        now = time.monotonic()
        for watch, found in by_watch.items():
            key = (shard.number, watch)
            if now < self._quiet_until.get(key, 0.0):
                continue
            self._quiet_until[key] = now + _QUIET_SECONDS
            names = [
                f"{change.feature or f'the {change.on}'} (mean {change.after:.4g}, was "
                f"{change.before:.4g})"
                for change in found
            ]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            log.warning(
                "drift of %s%s; answer: %s",
                ", ".join(names[:_NAMED]),
                more,
                _answer(shard.drift[watch]),
                extra=fields(
                    "drift", stage="learn", shard=shard.number, on=found[0].on, found=len(found)
                ),
            )

    def _observe_shifts(self, shard: Shard, shifts: Sequence[Shift]) -> None:
        """Count where the watermark was set to what most events say; the last of them, in words."""
        if not shifts:
            return
        for shift in shifts:
            back = shift.after_ms < shift.before_ms
            self._metrics.ticks.add_shift("back" if back else "forward")
        last = shifts[-1]
        log.warning(
            "the time of shard %d was set from %s to %s, where most of the last events are; if it "
            "should not have been, see docs/runbook.md#the-streams-time-is-wrong",
            shard.number,
            iso_time(max(last.before_ms, 0)),
            iso_time(max(last.after_ms, 0)),
            extra=fields("time-shift", stage="order", shard=shard.number, found=len(shifts)),
        )

    def report(self, events: int, shards: int) -> None:
        """The line of each minute; the only one as long as all is well."""
        totals = self._recent.totals()
        taken, alerts, suppressed, rejected = (
            now - then for now, then in zip(totals, self._reported, strict=True)
        )
        self._reported = totals
        log.info(
            "%d events so far, %d shards; since the last such line %d events, %d alerts, %d "
            "suppressed, %d rejected",
            events,
            shards,
            taken,
            alerts,
            suppressed,
            rejected,
            extra=fields("progress", events=events, taken=taken, alerts=alerts, rejected=rejected),
        )

        if rejected >= _REJECTED_SHARE * taken > 0:
            self._say_why(rejected, taken)
        self._minute = RejectionTally()

    def _say_why(self, rejected: int, taken: int) -> None:
        """A share of the input that matters is rejected: why, where, and what to set."""
        kinds = self._minute.kinds()
        remedies = self._recent.remedies
        said = [
            f"{kind.records} {kind.reason}{f' at {kind.field}' if kind.field else ''}, first "
            f"{kind.first}: {kind.message}"
            + (f" (set: {remedies.of(kind.reason, kind.field)})" if remedies is not None else "")
            for kind in kinds[:_NAMED]
        ]
        if len(kinds) > _NAMED:
            said.append(f"{len(kinds) - _NAMED} more kinds")
        log.warning(
            "%d of %d events were rejected in the last minute: %s. All lie in the dead letters; "
            "see docs/runbook.md#streamdetectorrejectingevents",
            rejected,
            taken,
            "; ".join(said),
            extra=fields("rejecting", stage="decode", rejected=rejected, taken=taken),
        )

    def observe_replay(self, shard: Shard, events: int) -> None:
        """Count a slice of a shard's recovery; the log says where it gives something else."""
        mismatches = self._increase(shard, "mismatches", shard.replay.mismatches)
        if shard.replay.mismatches == mismatches > 0:
            log.error(
                "shard %d: the replay does not give what the journal says. Has a library or the "
                "processor changed? Alerts of before can no longer be recomputed",
                shard.number,
                extra=fields("replay-mismatch", stage="replay", shard=shard.number),
            )
        self._metrics.add_replay(shard.number, events, mismatches, len(shard.replay.records))

    def observe_lag(self, shard: Shard, ends: Mapping[TopicPartition, int]) -> None:
        """Set how far behind the ends of the logs a shard is, and what it waits for."""
        now = time.monotonic()
        for source, figures in shard.partitions().items():
            behind = max(ends.get(source, 0) - figures.position, 0)
            self._metrics.set_lag(source, behind, figures.lag_ms / 1000)
            schema_wait = shard.input.schema_wait(source, now)
            self._metrics.set_buffered(source, figures.waiting, schema_wait)

    def observe_state(self, shard: Shard) -> None:
        """Set what a shard holds: its threshold, what labels say, and the keys of its windows."""
        number, figures = shard.number, shard.pipeline.figures()
        champion, features = figures.champion, figures.features
        self._metrics.set_threshold(number, champion.threshold, champion.alert_share)
        self._metrics.members.set(number, champion.weights)
        self._metrics.ticks.set_watermark(number, figures.watermark_ms / 1000)
        self._recent.observe_shard(number, champion.threshold, features.groups, features.moments)
        self._observe_labels(shard, figures)
        self._monitors.observe(shard)
        self._rules.observe(shard)
        self._incidents.observe(shard)
        if figures.challenger is not None:
            self._observe_challenger(shard, figures.challenger)
        for key, held in features.keys_held.items():
            self._metrics.set_keys(number, key, held)
        for (key, state), held in features.risk_events.items():
            self._metrics.labels.set_risk_events(number, key, state, held)
        for key, evicted in features.keys_evicted.items():
            count = self._increase(shard, f"evicted {key}", evicted)
            self._metrics.add_evicted_keys(number, key, count)

    def _observe_challenger(self, shard: Shard, figures: ShadowFigures) -> None:
        number, metrics = shard.number, self._metrics.challenger
        metrics.set_threshold(number, figures.model.threshold)
        for decision, events in figures.decisions.items():
            metrics.add_decisions(number, *decision, self._increase(shard, f"{decision}", events))
        _observe_ranking(number, metrics.ranking, figures.model.ranking)

    def _observe_labels(self, shard: Shard, figures: PipelineFigures) -> None:
        if figures.labels_waiting is None:
            return
        number, metrics = shard.number, self._metrics.labels
        metrics.set_waiting(number, figures.labels_waiting)
        taken = self._increase(shard, "labels", figures.labels_taken)
        unmatched = self._increase(shard, "unmatched", figures.labels_unmatched)
        metrics.add(number, taken - unmatched, unmatched)
        for case, events in figures.champion.cases.items():
            increase = self._growth(shard, f"labelled {case}", events)
            metrics.add_labelled(number, *case, increase)
        _observe_ranking(number, metrics.ranking, figures.champion.ranking)

    def forget(self, number: int) -> None:
        """A shard was given up: its totals begin anew if it comes back."""
        self._recent.forget(number)
        self._monitors.forget(number)
        self._counted = defaultdict(int, {k: v for k, v in self._counted.items() if k[0] != number})

    def _increase(self, shard: Shard, name: str, total: int) -> int:
        """Growth of a total since it was asked last."""
        return int(self._growth(shard, name, total))

    def _growth(self, shard: Shard, name: str, total: float) -> float:
        """The same of one that need not be whole."""
        key = (shard.number, name)
        before = self._counted[key]
        self._counted[key] = total
        return max(total - before, 0)


def _answer(drift: DriftConfig) -> str:
    """Describe what an entry of the section `drift` answers to its finding."""
    if drift.answer == "faster":
        return f"each chunk of {drift.events} events is learnt {drift.times} times"
    return f"{drift.member or 'the model'} begins anew" if drift.answer == "reset" else "none"


def _observe_ranking(shard: int, metrics: RankingMetrics, ranking: Ranking | None) -> None:
    if ranking is not None:
        metrics.set(shard, ranking.auc, ranking.average_precision, ranking.precision_at)
