"""From a score above the threshold to an alert with its reasons and its receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stream_detector import explanation
from stream_detector.alerts import Suppressor, alert_message, iso_time, severity
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.counterfactuals.finder import Counterfactuals
from stream_detector.detectors.base import Detector, Rows
from stream_detector.events import EventBatch, Float64, State
from stream_detector.features import FeatureExtractor
from stream_detector.messages import Outgoing
from stream_detector.scaling import RunningScaler
from stream_detector.threshold import AlertThreshold

MOST_ADVISED = 8
"""Of so many raised events of a chunk, the first, it is looked for what would have been ordinary:
in a burst it would take most of the time. Raised, not alerted: the chunk remembers these."""


@dataclass(frozen=True, slots=True)
class ScoredEvent:
    """An event that is above the threshold.

    Attributes:
        events: the batch that holds it.
        row: its row there.
        raw: (features,) as extracted: NaN among them has no part in the score.
        rows: its features, one row.
        score: its score.
        place: its row in the chunk.
        rank: how many of the chunk were raised before it.
        receipt: where in the stream and by which state it was scored.
    """

    events: EventBatch
    row: int
    raw: Float64
    rows: Rows
    score: float
    place: int
    rank: int
    receipt: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WrittenAlert:
    """An event that is above the threshold, and its alert.

    Attributes:
        alert_id: id that the alert has, or would have.
        rarity: one in so many events has such a score.
        severity: ``low`` to ``critical``.
        message: the alert; None where it is held back.
        reasons: the name of the feature that is its first reason; [] where none explains the
            score, or is looked for.
        is_unadvised: nobody has looked for what would have been ordinary, since it is one of many.
    """

    alert_id: str
    rarity: float
    severity: str
    message: Outgoing | None = None
    reasons: Sequence[str] = ()
    is_unadvised: bool = False

    @property
    def alert(self) -> tuple[Outgoing, str, Sequence[str]] | None:
        """What ``BatchResult.add_alert`` takes in."""
        return None if self.message is None else (self.message, self.severity, self.reasons)


class AlertWriter:
    """Writes alerts. State: the suppressor's."""

    def __init__(
        self,
        config: Config,
        fingerprint: str,
        plan: FieldPlan,
        features: FeatureExtractor,
        *,
        extracted: bool = True,
    ) -> None:
        """``extracted``: the features of every batch come from ``features`` just before."""
        self._config = config
        self._fingerprint = fingerprint
        self._features = features
        self._counterfactuals: Counterfactuals | None = None
        if extracted and config.processing.counterfactuals:
            self._counterfactuals = Counterfactuals(config, plan, features)
        self._layout = explanation.Layout.of(features.groups)
        self._suppressor: Suppressor | None = None
        if config.suppression:
            self._suppressor = Suppressor(config.suppression, config.event.max_step)
        self._key_column = plan.text.index(config.suppression.key) if config.suppression else -1

    def judged(self, event: ScoredEvent, threshold: AlertThreshold) -> WrittenAlert:
        """What is known of a raised event before its alert is written."""
        rarity = threshold.rarity(event.score)
        alert_id = f"{event.events.source[event.row]}-{int(event.events.offset[event.row])}"
        return WrittenAlert(alert_id, rarity, severity(rarity, threshold.share))

    def write(
        self,
        event: ScoredEvent,
        detector: Detector,
        scaler: RunningScaler,
        threshold: AlertThreshold,
        *,
        explains: bool = True,
        advises: bool = True,
        note: dict[str, Any] | None = None,
    ) -> WrittenAlert:
        """Judge an event, and write its alert unless its key has alerted lately.

        ``explains``: give reasons; ``advises``: with these say what would have been ordinary;
        ``note``: what the alert says of rules.
        """
        events, row = event.events, event.row
        time_ms, source = int(events.time_ms[row]), events.source[row]
        judged = self.judged(event, threshold)
        held: dict[str, Any] = {} if note is None else {"rule": note}
        if self._suppressor is not None:
            key = events.text[self._key_column][row] or ""
            mark_ms = int(events.mark_ms[row]) if events.mark_ms is not None else time_ms
            admitted = self._suppressor.admit(key, time_ms, mark_ms, judged.rarity)
            if admitted is None:
                return judged
            held["suppression"] = {"key": key, "suppressed": admitted.held}
            if admitted.rarer_than is not None:
                held["suppression"]["rarer_than"] = float(f"{admitted.rarer_than:.4g}")
        reasons: list[dict[str, Any]] = []
        ordinary: dict[str, Any] = {}
        is_unadvised = False
        if explains:
            parts = self._parts(event, detector, scaler)
            reasons = self._lines(event, parts, scaler)
            looks = advises and self._counterfactuals is not None
            is_unadvised = looks and event.rank >= MOST_ADVISED
            if looks and not is_unadvised:
                ordinary = self._ordinary(event, parts, detector, scaler, threshold)
        body = self.body(event, threshold, reasons, held, ordinary)
        record = events.record[row]
        message = alert_message(body, source, record, time_ms, self._config.name, events.original)
        first = [reasons[0]["feature"]] if reasons else []
        return replace(judged, message=message, reasons=first, is_unadvised=is_unadvised)

    def body(
        self,
        event: ScoredEvent,
        threshold: AlertThreshold,
        reasons: list[dict[str, Any]],
        held: dict[str, Any] | None = None,
        ordinary: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The alert's fields, without the event itself.

        Args:
            event: what it is about.
            threshold: that it is above.
            reasons: why.
            held: what is said of rules and suppression.
            ordinary: what would have made it ordinary.
        """
        events, row = event.events, event.row
        source, offset = events.source[row], int(events.offset[row])
        judged = self.judged(event, threshold)
        return {
            "id": judged.alert_id,
            "detector": self._config.name,
            "event_id": events.event_id[row],
            "event_time": iso_time(int(events.time_ms[row])),
            **(held or {}),
            "score": event.score,
            "threshold": threshold.value,
            "rarity": float(f"{judged.rarity:.4g}"),
            "severity": judged.severity,
            "model": self._config.detector.kind,
            "reasons": reasons,
            **(ordinary or {}),
            "receipt": {
                "topic": source.topic,
                "partition": source.partition,
                "offset": offset,
                "configuration": self._fingerprint,
                **event.receipt,
                "features": event.rows.features[0].tolist(),
            },
        }

    def reasons(
        self, event: ScoredEvent, detector: Detector, scaler: RunningScaler
    ) -> list[dict[str, Any]]:
        """Why an event is above the threshold: the features that contributed most."""
        return self._lines(event, self._parts(event, detector, scaler), scaler)

    def _ordinary(
        self,
        event: ScoredEvent,
        parts: Float64,
        detector: Detector,
        scaler: RunningScaler,
        threshold: AlertThreshold,
    ) -> dict[str, Any]:
        """What would have made the event ordinary, under its name; {} where nothing is known to."""
        if self._counterfactuals is None:
            return {}
        ordinary = self._counterfactuals.find(
            (event.events, event.row),
            event.raw,
            event.place,
            parts,
            detector,
            scaler,
            event.score,
            threshold.value,
        )
        return {} if ordinary is None else {"ordinary": ordinary}

    def _parts(self, event: ScoredEvent, detector: Detector, scaler: RunningScaler) -> Float64:
        """(groups,) how much of the score each accounts for."""
        parts = explanation.contributions(detector, self._layout, event.rows, scaler.mean)
        # The columns of a part of the time, a group of its own, are neutral all together.
        neutral = self._features.calendar.neutral(event.raw)
        parts[neutral.take(self._layout.first)] = 0.0
        return parts

    def _lines(
        self, event: ScoredEvent, parts: Float64, scaler: RunningScaler
    ) -> list[dict[str, Any]]:
        groups = self._features.groups
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
