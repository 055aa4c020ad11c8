"""From a score above the threshold to an alert with its reasons and its receipt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stream_detector import explanation
from stream_detector.alerts import Suppressor, alert_message, iso_time, severity
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.base import Detector, Rows
from stream_detector.events import EventBatch, Float64, State
from stream_detector.features import FeatureExtractor
from stream_detector.messages import Outgoing
from stream_detector.scaling import RunningScaler
from stream_detector.threshold import AlertThreshold


@dataclass(frozen=True, slots=True)
class ScoredEvent:
    """An event that is above the threshold.

    Attributes:
        events: the batch that holds it.
        row: its row there.
        raw: (features,) as extracted: NaN among them has no part in the score.
        rows: its features, one row.
        score: its score.
        receipt: where in the stream and by which state it was scored.
    """

    events: EventBatch
    row: int
    raw: Float64
    rows: Rows
    score: float
    receipt: dict[str, Any]


class AlertWriter:
    """Writes alerts. State: the suppressor's."""

    def __init__(
        self, config: Config, fingerprint: str, plan: FieldPlan, features: FeatureExtractor
    ) -> None:
        self._config = config
        self._fingerprint = fingerprint
        self._features = features
        self._layout = explanation.Layout.of(features.groups)
        self._suppressor: Suppressor | None = None
        if config.suppression:
            self._suppressor = Suppressor(config.suppression, config.event.max_step)
        self._key_column = plan.text.index(config.suppression.key) if config.suppression else -1

    def write(
        self,
        event: ScoredEvent,
        detector: Detector,
        scaler: RunningScaler,
        threshold: AlertThreshold,
        *,
        explains: bool = True,
    ) -> tuple[Outgoing, str, list[str]] | None:
        """The alert, its severity and its first reason; None where it is held back.

        The reason is the name of a feature; [] where none explains the score, or is looked for.
        """
        events, row = event.events, event.row
        time_ms, source = int(events.time_ms[row]), events.source[row]
        offset = int(events.offset[row])
        body: dict[str, Any] = {
            "id": f"{source}-{offset}",
            "detector": self._config.name,
            "event_id": events.event_id[row],
            "event_time": iso_time(time_ms),
        }
        rarity = threshold.rarity(event.score)
        if self._suppressor is not None:
            key = events.text[self._key_column][row] or ""
            mark_ms = int(events.mark_ms[row]) if events.mark_ms is not None else time_ms
            admitted = self._suppressor.admit(key, time_ms, mark_ms, rarity)
            if admitted is None:
                return None
            body["suppression"] = {"key": key, "suppressed": admitted.held}
            if admitted.rarer_than is not None:
                body["suppression"]["rarer_than"] = float(f"{admitted.rarer_than:.4g}")
        level = severity(rarity, threshold.share)
        reasons = self._reasons(event, detector, scaler) if explains else []
        body |= {
            "score": event.score,
            "threshold": threshold.value,
            "rarity": float(f"{rarity:.4g}"),
            "severity": level,
            "model": self._config.detector.kind,
            "reasons": reasons,
            "receipt": {
                "topic": source.topic,
                "partition": source.partition,
                "offset": offset,
                "configuration": self._fingerprint,
                **event.receipt,
                "features": event.rows.features[0].tolist(),
            },
        }
        record = events.record[row]
        message = alert_message(body, source, record, time_ms, self._config.name, events.original)
        return message, level, [reasons[0]["feature"]] if reasons else []

    def _reasons(
        self, event: ScoredEvent, detector: Detector, scaler: RunningScaler
    ) -> list[dict[str, Any]]:
        groups, layout = self._features.groups, self._layout
        parts = explanation.contributions(detector, layout, event.rows, scaler.mean)
        # The columns of a part of the time, a group of its own, are neutral all together.
        neutral = self._features.calendar.neutral(event.raw)
        parts[neutral.take(layout.first)] = 0.0
        reasons: list[dict[str, Any]] = []
        for reason in explanation.rank_reasons(parts, groups, event.rows):
            group = groups[reason.group]
            value = self._features.describe(group, event.events, event.row, event.rows.features[0])
            line: dict[str, Any] = {
                "feature": group.name,
                "value": explanation.short_number(value),
                "share": round(reason.share, 3),
                "deviations": explanation.short_number(reason.deviations),
            }
            usual = explanation.usual_range(
                scaler.mean, scaler.deviation, scaler.low, scaler.high, group.columns
            )
            if usual is not None:
                # The range is of the feature; people know the event's own units.
                units = (self._features.in_units(group.columns[0], bound) for bound in usual)
                line["usual"] = [explanation.short_number(bound) for bound in units]
            reasons.append(line)
        return reasons

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        if self._suppressor is not None:
            self._suppressor.go_back(mark_ms)

    def state(self) -> State:
        """Suppressed keys."""
        return {"suppressor": self._suppressor.state() if self._suppressor else None}

    def restore(self, state: State) -> None:
        """Take ``state`` in."""
        if self._suppressor is not None and state["suppressor"] is not None:
            self._suppressor.restore(state["suppressor"])
