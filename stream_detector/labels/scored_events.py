"""Events of a full chunk as one model scored them, to be held against labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64, Int64


@dataclass(frozen=True, slots=True)
class ScoredEvents:
    """Columns of consecutive events, all of one length.

    Attributes:
        first: number of the first of them in the stream.
        times_ms: event times, never after the stream's watermark.
        ids: identities of the events; 0 where labels come inside the event.
        labels: 1, 0 or NaN, of which nothing is used before its time.
        scores: as given on arrival.
        raised: which were over the threshold.
        score_scale: number of the scale that the scores are on.
    """

    first: int
    times_ms: Int64
    ids: Int64
    labels: Float64
    scores: Float64
    raised: NDArray[np.bool_]
    score_scale: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def end(self) -> int:
        """Events of the stream up to the last of these."""
        return self.first + len(self)
