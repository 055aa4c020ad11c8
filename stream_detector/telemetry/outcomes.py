"""What a batch of the pipeline came to, for whoever runs it."""

from __future__ import annotations

import numpy as np

from stream_detector.pipeline import BatchResult
from stream_detector.telemetry.metrics import Metrics


def count_outcome(metrics: Metrics, shard: int, outcome: BatchResult) -> None:
    """Count a batch's rejections, scores, decisions and learning."""
    if outcome.rejections:
        metrics.add_rejections(outcome.rejections)
    scores = outcome.scores[~np.isnan(outcome.scores)]
    metrics.observe_scores(scores)
    severities = {level: outcome.severities.count(level) for level in set(outcome.severities)}
    others = outcome.monitor_alerts.total() + outcome.rule_alerts - len(outcome.hidden)
    metrics.add_decisions(shard, len(scores), severities, outcome.suppressed, others)
    if outcome.chunks:
        metrics.add_learning(shard, outcome.chunks, outcome.rows_learned, 0)
