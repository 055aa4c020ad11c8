"""The figures of a back-test. Null where there is no label or no time to make one of."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.monitor_tally import MonitorAlerts
from stream_detector.events import Float64, Int64
from stream_detector.monitors.wording import monitor_sentence

DAY_MS = 86_400_000
_TOP = 100
_TOP_KEYS = 10


def figures(scored: Scored, *, skip: int = 0) -> dict[str, Any]:
    """Figures of a run over the events whose label is known.

    Args:
        scored: the run.
        skip: first events left out of every figure that a label makes (a cold start).

    Returns:
        ``events`` (accepted and rejected), ``rejected``, ``positives``, ``alerts`` (after
        suppression), ``raised`` (before), ``drifts``, ``monitor_alerts``
        and ``monitors`` where there are monitors, ``incidents`` where there are,
        ``roc_auc``, ``average_precision``,
        ``precision``, ``recall``, ``f1``, ``confusion_matrix`` ([[true negatives, false
        positives], [false negatives, true positives]] of raised events),
        ``precision_at_100_per_day``.
    """
    from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score  # noqa: PLC0415 - takes a second

    rejected = sum(scored.rejected.values())
    result: dict[str, Any] = {
        "events": len(scored.scores) + rejected,
        "rejected": rejected,
        "rejected_by_reason": dict(sorted(scored.rejected.items())),
        "positives": None,
        "alerts": scored.alert_count,
        "raised": int(np.count_nonzero(scored.raised)),
        "suppressed": scored.suppressed,
        **({"hidden_by_rules": scored.hidden.total()} if scored.ruled else {}),
        "drifts": scored.drifts,
        "skipped": skip,
        **dict.fromkeys(
            (
                "roc_auc",
                "average_precision",
                "precision",
                "recall",
                "f1",
                "confusion_matrix",
                "precision_at_100_per_day",
            )
        ),
    }
    if scored.monitors:
        result["monitor_alerts"] = scored.monitors.alerts
        result["monitors"] = [
            _of_monitor(name, alerts) for name, alerts in scored.monitors.each.items()
        ]
    if scored.incidents:
        result["incidents"] = scored.incidents.figures()
    known = ~np.isnan(scored.labels)
    known[:skip] = False
    labels, scores, raised = scored.labels[known], scored.scores[known], scored.raised[known]
    if not len(labels):
        return result
    result["positives"] = int(labels.sum())
    matrix = confusion_matrix(labels, raised, labels=[0, 1])
    _, false_positives, false_negatives, true_positives = (int(n) for n in matrix.ravel())
    result["confusion_matrix"] = matrix.tolist()
    result["precision"] = _ratio(true_positives, true_positives + false_positives)
    result["recall"] = _ratio(true_positives, true_positives + false_negatives)
    result["f1"] = _ratio(
        2 * true_positives, 2 * true_positives + false_positives + false_negatives
    )
    if 0 < labels.sum() < len(labels):
        result["roc_auc"] = float(roc_auc_score(labels, scores))
        result["average_precision"] = float(average_precision_score(labels, scores))
    if scored.has_time:
        result["precision_at_100_per_day"] = precision_per_day(
            labels, scores, scored.times_ms[known]
        )
    return result


def _of_monitor(name: str, alerts: MonitorAlerts) -> dict[str, Any]:
    """The figures of a monitor, and its keys with the strongest alerts."""
    found: dict[str, Any] = {"name": name, "kind": alerts.kind, "field": alerts.key_field}
    found |= {"alerts": alerts.alerts, "keys_with_alerts": len(alerts.keys)}
    if (own := alerts.figures) is not None:
        found |= {
            "keys": own.keys,
            "keys_judged": own.judged,
            "keys_evicted": own.evicted,
            "buckets_closed": own.closed,
            "events_without_key": own.without_key,
        }
    return found | {
        "top_keys": [
            {
                "key": each.strongest["monitor"]["key"],
                "alerts": each.alerts,
                "strongest": each.strongest["score"],
                "severity": each.strongest["severity"],
                "found": monitor_sentence(each.strongest),
            }
            for each in alerts.strongest_keys(_TOP_KEYS)
        ]
    }


def precision_per_day(
    labels: Float64, scores: Float64, times_ms: Int64, top: int = _TOP
) -> float | None:
    """Mean over the days (UTC) of the share of positives among a day's ``top`` scores.

    As in the Fraud Detection Handbook's card precision at k, but of events: a day with fewer than
    ``top`` events counts with those it has. None where there is no day.
    """
    values = precision_of_days(labels, scores, times_ms, top)
    return float(values.mean()) if len(values) else None


def precision_of_days(
    labels: Float64, scores: Float64, times_ms: Int64, top: int = _TOP
) -> Float64:
    """(days,) share of positives among the ``top`` scores of each day (UTC) that has events."""
    days = times_ms // DAY_MS
    by_day = np.argsort(days, kind="stable")
    starts = np.flatnonzero(np.diff(days[by_day])) + 1
    values = []
    for rows in np.split(by_day, starts) if len(days) else []:
        best = rows[np.argsort(-scores[rows], kind="stable")[:top]]
        values.append(float(labels[best].mean()))
    return np.array(values)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
