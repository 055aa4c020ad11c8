"""What comes of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.alerts import Outgoing
from stream_detector.drift import Change
from stream_detector.events import Float64, Rejection


@dataclass(slots=True)
class Outcome:
    """What ``process`` made of a batch.

    Attributes:
        scores: (events,) float64 in the order of the batch, NaN for rejected ones.
        raised: (events,) bool, above the threshold (before suppression).
        alerts: messages for the alert topic, in event order.
        severities: severity of each alert.
        reasons: the feature that contributed most to each alert that could be explained.
        dead_letters: messages for the dead-letter topic, in event order.
        rejections: why, one for each dead letter.
        suppressed: alerts held back.
        changes: drifts found.
        challenger_scores: the challenger's, (events,) of each chunk that became full.
    """

    scores: Float64
    raised: NDArray[np.bool_]
    alerts: list[Outgoing] = field(default_factory=list)
    severities: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    dead_letters: list[Outgoing] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    suppressed: int = 0
    changes: list[Change] = field(default_factory=list)
    challenger_scores: list[Float64] = field(default_factory=list)
