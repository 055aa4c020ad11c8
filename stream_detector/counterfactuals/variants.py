"""An event as it might have been: its fields changed, and all that is computed of them anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_detector.counterfactuals.levers import Lever
from stream_detector.detectors.base import Detector, Rows
from stream_detector.events import EventBatch, Float64
from stream_detector.features import FeatureExtractor
from stream_detector.features.columns import apply_transform
from stream_detector.scaling import RunningScaler


class Put(NamedTuple):
    """Values of one lever in some of the variants.

    Attributes:
        lever: its index.
        rows: the variants; all others have the event's own value.
        values: one for each of them, or one for all.
    """

    lever: int
    rows: Sequence[int] | NDArray[np.intp] | slice
    values: Any


class Variants:
    """Scores variants of one event; changes nothing.

    A field of the event is changed with everything that is made of it: differences and ratios, what
    it is for its key. Of what came before, a statistic is changed alone. A time is changed with all
    its parts, and with nothing that came before.
    """

    def __init__(
        self,
        features: FeatureExtractor,
        scaler: RunningScaler,
        detector: Detector,
        event: tuple[EventBatch, int],
        raw: Float64,
        place: int,
        levers: Sequence[Lever],
    ) -> None:
        """Take an event in.

        Args:
            features: which have extracted its batch last.
            scaler: as it scaled the event.
            detector: as it scored the event.
            event: the batch and the row.
            raw: (features,) as extracted.
            place: its row in the chunk.
            levers: what may be changed.
        """
        self._features, self._scaler, self._detector = features, scaler, detector
        self._events, self._row = event
        self._raw, self._levers = raw, levers
        self._fields = [
            () if lever.site.kind == "column" else features.groups[lever.site.group].made_of
            for lever in levers
        ]
        self._block = detector.block_rows
        self.place = place % self._block

    def scores(self, count: int, puts: Sequence[Put]) -> Float64:
        """(count,) scores; the first ``block_rows`` of them stand in a block in their order."""
        whole = -(-count // self._block) * self._block  # what fills it up is the event itself
        return self._detector.score(self.rows(whole, puts))[:count]

    def rows(self, count: int, puts: Sequence[Put]) -> Rows:
        """The event's features, (count,) times, with what is put into them."""
        changed = frozenset(field for put in puts for field in self._fields[put.lever])
        variants = self._variants(count, puts)
        raw = self._features.hypothetical(variants, self._row, self._raw, changed)
        for lever, rows, values in puts:
            site = self._levers[lever].site
            if site.kind == "column":
                raw[rows, site.column] = apply_transform(
                    np.asarray(values, dtype=np.float64), site.transform
                )
                for other in site.others:
                    raw[rows, other] = 0.0
        imputed = self._scaler.impute(self._features.calendar.scored(raw))
        return Rows(imputed, self._scaler.standardise(imputed))

    def _variants(self, count: int, puts: Sequence[Put]) -> EventBatch:
        events, row = self._events, self._row
        one = slice(row, row + 1)
        numeric, text = np.repeat(events.numeric[one], count, axis=0), list(events.text)
        time_ms = np.repeat(events.time_ms[one], count)
        for lever, rows, values in puts:
            site = self._levers[lever].site
            match site.kind:
                case "number" | "flag":
                    numeric[rows, site.place] = values
                case "category":
                    column = np.repeat(events.text[site.place][one], count)
                    column[rows] = values
                    text[site.place] = column
                case "time":
                    time_ms[rows] += values
        # The rest of an event, its record among it, is not looked at.
        return replace(events, numeric=numeric, text=tuple(text), time_ms=time_ms)
