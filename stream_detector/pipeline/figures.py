"""Plain figures of one moment for metrics, status page and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_detector.events import Float64
from stream_detector.features import FeatureExtractor
from stream_detector.labels.feedback import Case, Ranking
from stream_detector.scaling import RunningScaler

if TYPE_CHECKING:
    from stream_detector.pipeline.core import PipelineCore

Decision = tuple[bool, bool]
"""Whether the champion raised an event, and whether the challenger would have."""


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """Figures of one model.

    Attributes:
        threshold: score from which an event alerts; infinite while none is known.
        alert_share: share of events that the threshold is set for; None where none is known.
        weights: of the detector's members, where they follow from the stream.
        watched: what drift is looked for in, and in which feature (None: not in one of them).
        judged_waiting: scores that wait for their label; None without labels.
        cases: events (an estimate, from the rows kept) whose label is known, by label and decision.
        ranking: of the latest labelled scores; None where labels do not suffice.
    """

    threshold: float
    alert_share: float | None
    weights: Mapping[str, float]
    watched: Sequence[tuple[str, str | None]]
    judged_waiting: int | None
    cases: Mapping[Case, float]
    ranking: Ranking | None


@dataclass(frozen=True, slots=True)
class ShadowFigures:
    """Figures of the challenger beside the champion.

    Attributes:
        model: its own figures.
        decisions: events by both models' decision, since it began.
    """

    model: ModelFigures
    decisions: Mapping[Decision, int]


@dataclass(frozen=True, slots=True)
class FeatureFigures:
    """Figures of the features' memory.

    Attributes:
        groups: columns of each feature, by the name that people know.
        moments: (count, mean, deviation) of the columns, each (columns,) float64.
        keys_held: keys in memory, by window.
        keys_evicted: keys forgotten since the beginning, by window.
        risk_events: events held by each section of ``labels.risk``, by label and state.
    """

    groups: Mapping[str, Sequence[int]]
    moments: tuple[Float64, Float64, Float64]
    keys_held: Mapping[str, int]
    keys_evicted: Mapping[str, int]
    risk_events: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, features: FeatureExtractor, scaler: RunningScaler) -> FeatureFigures:
        """The figures of both."""
        return cls(
            groups={group.name: group.columns for group in features.groups},
            moments=(scaler.count, scaler.mean, scaler.deviation),
            keys_held=features.keys_held,
            keys_evicted=features.keys_evicted,
            risk_events=features.risk_events,
        )


@dataclass(frozen=True, slots=True)
class PipelineFigures:
    """Everything that is shown of a pipeline.

    Attributes:
        sequence: events so far.
        chunks: chunks so far.
        rows_learned: events learnt without labels.
        watermark_ms: the stream's time.
        champion: the model that alerts.
        challenger: None without one.
        features: what they remember.
        labels_waiting: rows that a detector is to learn, or scores where none learns from labels,
            that wait for their label; None without labels.
        labels_taken: labels that came on their topic.
        labels_unmatched: those of them that met no event that is remembered.
    """

    sequence: int
    chunks: int
    rows_learned: int
    watermark_ms: int
    champion: ModelFigures
    challenger: ShadowFigures | None
    features: FeatureFigures
    labels_waiting: int | None
    labels_taken: int
    labels_unmatched: int

    @classmethod
    def of(cls, core: PipelineCore) -> PipelineFigures:
        """The figures of a pipeline as of now."""
        champion, waiting = core.champion.figures(), core.labels.waiting
        return cls(
            sequence=core.sequence,
            chunks=core.chunks,
            rows_learned=core.rows_learned,
            watermark_ms=core.watermark_ms,
            champion=champion,
            challenger=core.challenger.figures() if core.challenger is not None else None,
            features=FeatureFigures.of(core.features, core.scaler),
            labels_waiting=champion.judged_waiting if waiting is None else waiting,
            labels_taken=core.labels.taken,
            labels_unmatched=core.labels.unmatched,
        )
