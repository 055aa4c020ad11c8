"""Scoring of a part of a batch by a version of the model: needs no state of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_detector.batches.keyed import key_fields
from stream_detector.batches.packing import pack, pack_events, unpack, unpack_events
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.stored import making_sense, read_branch
from stream_detector.errors import StateError
from stream_detector.events import Float64, State
from stream_detector.features import FeatureExtractor
from stream_detector.pipeline.model import Model
from stream_detector.pipeline.scoring import Scoring
from stream_detector.scaling import RunningScaler


class PartScorer:
    """Puts the features of a part together and scores it.

    Holds the version of the model that it was given last.
    """

    def __init__(self, config: Config) -> None:
        """Build an untrained model."""
        features = FeatureExtractor(config, FieldPlan.of(config))
        self._width = len(features.names)
        self._columns = {key: features.columns_of(key) for key in (None, *key_fields(config))}
        scaler = RunningScaler(self._width)
        model = Model(
            config.detector, config.threshold, config.drift, features.names, config.labels
        )
        self._scoring = Scoring(features.calendar, scaler, model)

    def use(self, version: bytes) -> None:
        """Score by a version from now on. Raises ``StateError`` where it does not fit."""
        with making_sense():
            self._scoring.use(unpack(version))

    def score(self, part: bytes, halves: Sequence[bytes]) -> bytes:
        """Features, scores and decisions of a part.

        Args:
            part: its events, as ``Ordering`` hands them out.
            halves: their features by each key, as buckets hand them out, in any order.

        Returns:
            The events as well, of those that are not over the threshold without their records.

        Raises ``StateError`` where an event lacks its features.
        """
        given = unpack(part)
        raw = self._assembled(given["raw"], [unpack(half) for half in halves])
        sequence = given["sequence"]
        scored = self._scoring.score(raw, sequence)
        events = unpack_events(read_branch(given, "events"))
        return pack(
            {
                "sequence": sequence,
                "raw": raw,
                "scores": scored.scores,
                "raised": scored.raised,
                "score_scale": scored.score_scale,
                "events": pack_events(events, scored.raised),
            }
        )

    def _assembled(self, unkeyed: Float64, halves: Sequence[State]) -> Float64:
        raw = np.empty((len(unkeyed), self._width))
        raw[:, self._columns[None]] = unkeyed
        for key in (key for key in self._columns if key is not None):
            own = [half for half in halves if half["key"] == key]
            rows = np.concatenate([np.empty(0, np.int64), *(half["rows"] for half in own)])
            if not np.array_equal(np.sort(rows), np.arange(len(raw))):
                raise StateError(
                    f"events of a batch lack their features by {key}, or have them twice"
                )
            for half in own:
                raw[half["rows"][:, None], self._columns[key]] = half["columns"]
        return raw
