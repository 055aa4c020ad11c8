"""Counterfactuals of a pipeline's alerts, as they stand there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.counterfactuals.claims import Change
from stream_detector.counterfactuals.levers import Levers
from stream_detector.counterfactuals.search import (
    BLOCKS,
    MOST_LEVERS,
    ROWS,
    find_ordinary,
)
from stream_detector.counterfactuals.variants import Variants
from stream_detector.detectors.base import Detector
from stream_detector.events import EventBatch, Float64
from stream_detector.features import FeatureExtractor
from stream_detector.scaling import RunningScaler

_TOO_LITTLE, _IN_VAIN = 0.05, 0.1
"""Shares of a score by which one lever, and three, may fall short and be tried all the same."""


class Counterfactuals:
    """Finds what would have made events ordinary. Stateless: it changes nothing and keeps nothing.

    The detector is asked for one or two calls of 32 rows an event as a rule; for seven at most, one
    of them of 96 rows.
    """

    def __init__(self, config: Config, plan: FieldPlan, features: FeatureExtractor) -> None:
        """``features``: which extract every batch before it is asked for an event of it."""
        self._features = features
        self._levers = Levers(config, plan, features)

    def find(
        self,
        event: tuple[EventBatch, int],
        raw: Float64,
        place: int,
        parts: Float64,
        detector: Detector,
        scaler: RunningScaler,
        score: float,
        threshold: float,
    ) -> dict[str, Any] | None:
        """What an alert says under ``ordinary``; None where nothing was found that holds.

        Args:
            event: the batch that was extracted last, and the event's row in it.
            raw: (features,) as extracted.
            place: the event's row in its chunk.
            parts: (groups,) what each group accounts for.
            detector: as it scored the event.
            scaler: as it scaled the event.
            score: of the event.
            threshold: scores above it alert.
        """
        effort = ROWS if detector.block_rows == 1 else BLOCKS
        found = None
        for most in self._numbers_of_levers(parts, detector, score, threshold):
            levers = self._levers.of(*event, raw, parts, scaler, most)
            if len(levers) == 1 < most:
                break
            variants = Variants(self._features, scaler, detector, event, raw, place, levers)
            found = find_ordinary(variants, levers, threshold, effort)
            if found is not None:
                break
        if found is None:
            return None
        changes = [self._said(change, event) for change in found.changes]
        return {"changes": changes, "score": found.score}

    def _numbers_of_levers(
        self, parts: Float64, detector: Detector, score: float, threshold: float
    ) -> tuple[int, ...]:
        """How many levers are tried, one after the other: as a rule the first alone does.

        Where the detector says what each feature adds to the score, that tells beforehand when one
        lever will not do, nor any three: what they add is not what the score lies above.
        """
        both = (1, MOST_LEVERS)
        if type(detector).contributions is Detector.contributions or not 0 < threshold < score:
            return both
        if not parts.sum() > 0:
            return ()
        shares, needed = self._levers.shares(parts), 1.0 - threshold / score
        if shares.sum() < needed - _IN_VAIN:
            return ()
        return both if len(shares) and shares[0] >= needed - _TOO_LITTLE else both[1:]

    def _said(self, change: Change, event: tuple[EventBatch, int]) -> dict[str, Any]:
        site, said = change.lever.site, {"feature": change.lever.site.name}
        if change.equals is None:
            ends = {"at_least": change.at_least, "at_most": change.at_most}
            return said | {name: end for name, end in ends.items() if end is not None}
        match site.kind:
            case "flag":
                return said | {"equals": bool(change.equals)}
            case "time":
                group = self._features.groups[site.group]
                batch, row = event
                times = np.array([int(batch.time_ms[row]) + change.equals])
                moment = replace(batch.take(slice(row, row + 1)), time_ms=times)
                return said | {"equals": self._features.describe(group, moment, 0, np.empty(0))}
        return said | {"equals": change.equals}
