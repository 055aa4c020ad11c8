"""Distance to the nearest of a few remembered rows, averaged over many small samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from stream_detector.detectors.base import (
    Detector,
    DetectorConfig,
    Rows,
    blocked_matmul,
    clipped,
)
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.search_space import HALF_LIFE, INPUT_CLIP, SearchSpace, one_of
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.events import Float32, Float64, Int64, State
from stream_detector.parameters import Clip, Events

SOFTENING = 1e-3
"""Deviations added to a distance, so that the logarithm of a row met before is finite."""

SOFTENING_OF_SCALES = 0.1
"""The same where the logarithm is added to others: a row met before is close, but no more."""

NOWHERE = 1e30
"""Squared length of a place that no row has taken: further than any row."""

DRAWS = 4096
"""Rows whose places are drawn together; making a generator costs as much as scoring fifty rows."""


class NearestNeighboursConfig(DetectorConfig):
    """Distance to the nearest of a few remembered rows, averaged over small samples (LeSiNN)."""

    kind: Literal["nearest_neighbours"] = "nearest_neighbours"
    samples: int = Field(16, ge=1, le=1024, description="Number of samples.")
    sample_rows: int = Field(24, ge=1, le=1024, description="Rows of a sample.")
    half_life: Events = Field(
        100_000,
        description="Events after which half of the rows have been replaced; a memory of n rows "
        "takes at least .69 n for that.",
    )
    clip: Clip = Field(10.0, description="Standardised inputs are clipped at ± this.")


class NearestNeighbours(Detector):
    """Least similar nearest neighbours on a sample of the stream that ages.

    After Pang, Ting and Albrecht (2015), "LeSiNN: Detecting anomalies by identifying least similar
    nearest neighbours", section III: the mean over small samples of the distance to the nearest row
    of each. A sample of a dozen or two holds the crowd and hardly ever a cluster of anomalies,
    which a single large memory would. The samples are parts of one reservoir: a row takes the place
    of a random one with probability (places / rows learnt), never below (places / N), N = half-life
    / ln 2, so that older rows fade (Aggarwal 2006, "On biased reservoir sampling", section 2); N is
    at least the number of places. The first rows fill one sample after the other, so until most of
    them have been replaced a burst among them lies in one or two samples.

    Score: ln(mean distance + 0.001), Euclidean, of standardised, clipped rows.

    State, of fixed size: ``rows`` (samples * sample_rows, features) float32, and rows learnt.
    """

    Config = NearestNeighboursConfig
    search_space: ClassVar[SearchSpace] = {
        "samples": one_of([8, 16, 32, 64]),
        "sample_rows": one_of([8, 16, 24, 32, 64]),
        "half_life": HALF_LIFE,
        "clip": INPUT_CLIP,
    }

    def __init__(
        self,
        features: int,
        *,
        samples: int = 16,
        sample_rows: int = 24,
        half_life: float = 100_000.0,
        clip: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        self._sample_rows = sample_rows
        self._window = half_life / math.log(2)
        self._clip = clip
        self._seed = seed
        # Sample by sample: one that is not full holds its rows further apart, and does not count.
        self._rows = np.zeros((samples * sample_rows, features), dtype=np.float32)
        self._rows_learnt = 0
        self._product: Float32 | None = None  # made of the rows when first needed
        self._drawn: tuple[int, Float64] | None = None  # a page of draws and its number

    @property
    def rows_learnt(self) -> int:
        """Rows offered so far."""
        return self._rows_learnt

    def score(self, rows: Rows) -> Float64:
        """Log of the mean distance, (events,) float64; 0 before anything was learnt."""
        if self._rows_learnt == 0:
            return np.zeros(len(rows))
        values = clipped(rows.standardised, self._clip).astype(np.float32)
        return self._score_of(values, self._squared_distances(values))

    def at_two_scales(self, rows: Rows) -> Float64:
        """Mean of two logs of the mean distance, (events,): by sample, and by pairs of samples.

        A pair is a sample of twice as many rows, whose nearest row is the nearer of two: it costs
        no further distance. 0 before anything was learnt.
        """
        if self._rows_learnt == 0:
            return np.zeros(len(rows))
        values = clipped(rows.standardised, self._clip).astype(np.float32)
        return self._two_scales_of(values, self._squared_distances(values))

    @staticmethod
    def _distances(values: Float32, squared: Float32) -> Float32:
        """(events, samples) distance to the nearest row of each; ``squared`` of all rows held."""
        nearest: Float32 = squared.min(axis=1)
        nearest += (values * values).sum(axis=1)[:, None]
        return np.sqrt(np.maximum(nearest, 0.0, out=nearest), out=nearest)

    @classmethod
    def _score_of(cls, values: Float32, squared: Float32) -> Float64:
        return _log_mean(cls._distances(values, squared), SOFTENING)

    @classmethod
    def _two_scales_of(cls, values: Float32, squared: Float32) -> Float64:
        """As ``_score_of``; a last sample without another is in no pair."""
        distances = cls._distances(values, squared)
        scores = _log_mean(distances, SOFTENING_OF_SCALES)
        pairs = distances.shape[1] // 2
        if pairs:
            ends = 2 * pairs
            pair = np.minimum(distances[:, 0:ends:2], distances[:, 1:ends:2])
            scores += _log_mean(pair, SOFTENING_OF_SCALES)
            scores /= 2.0
        return scores

    def contributions(self, rows: Rows) -> Float64:
        """Each feature's part of the distances to the nearest rows, (events, features).

        The squared difference over the distance: a row's parts sum up to its distances' sum.
        Rows of zeros, which fill a block up, get zeros.
        """
        return self.explained(rows)[1]

    def explained(self, rows: Rows) -> tuple[Float64, Float64]:
        """Return scores and contributions."""
        return self._explained(rows, self._score_of)

    def explained_at_two_scales(self, rows: Rows) -> tuple[Float64, Float64]:
        """Return ``at_two_scales`` and contributions, of the same distances."""
        return self._explained(rows, self._two_scales_of)

    def _explained(
        self, rows: Rows, score_of: Callable[[Float32, Float32], Float64]
    ) -> tuple[Float64, Float64]:
        shares = np.zeros(rows.standardised.shape)
        if self._rows_learnt == 0:
            return np.zeros(len(rows)), shares
        values = clipped(rows.standardised, self._clip).astype(np.float32)
        squared = self._squared_distances(values)
        place = squared.argmin(axis=1)
        scores = score_of(values, squared)
        place += np.arange(place.shape[1]) * self._sample_rows
        for row in np.flatnonzero(values.any(axis=1)).tolist():
            squares = (values[row] - self._rows[place[row]]).astype(np.float64) ** 2
            shares[row] = (squares / (np.sqrt(squares.sum(axis=1)) + SOFTENING)[:, None]).sum(
                axis=0
            )
        return scores, shares

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Give rows a place, all at first, some at random later."""
        count = len(rows)
        if count == 0:
            return
        number = np.arange(self._rows_learnt, self._rows_learnt + count)
        capacity = len(self._rows)
        drawn = self._draws(number) * np.minimum(number + 1, max(self._window, capacity))
        place = np.where(number < capacity, number, drawn.astype(np.int64))
        kept = place < capacity
        self._rows_learnt += count
        if kept.any():
            # Of two rows with one place the later stays, as if they had come one by one.
            for row in np.flatnonzero(kept).tolist():
                self._rows[place[row]] = np.clip(rows.standardised[row], -self._clip, self._clip)
            self._product = None

    def state(self) -> State:
        """The rows remembered, and how many came."""
        return {"rows": self._rows.copy(), "rows_learnt": self._rows_learnt}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        most = 1.001 * self._clip
        rows = read_array(state, "rows", self._rows.shape, np.float32, low=-most, high=most)
        self._rows_learnt = read_count(state, "rows_learnt")
        self._rows, self._product = rows, None

    def _draws(self, number: Int64) -> Float64:
        """(rows,) uniform in 0..1, of the rows with these numbers, and of no others."""
        pages = []
        for page in range(int(number[0]) // DRAWS, int(number[-1]) // DRAWS + 1):
            if self._drawn is None or self._drawn[0] != page:
                random = frozen_stream(self._seed, "nearest_neighbours", page)
                self._drawn = page, random.uniform(size=DRAWS)
            pages.append(self._drawn[1])
        first = int(number[0]) % DRAWS
        return np.concatenate(pages)[first : first + len(number)]

    def _squared_distances(self, values: Float32) -> Float32:
        """(events, sample_rows, samples), without the squared length of the event itself.

        Samples that are not full are left out, except for the first. Single precision takes half
        the time; what it loses (of rows within ten deviations in 20 features at most .03) matters
        only to a row that every sample holds, and that is common either way.
        """
        full = max(1, min(self._rows_learnt, len(self._rows)) // self._sample_rows)
        if self._product is None:
            rows = self._rows[: full * self._sample_rows]
            lengths = (rows * rows).sum(axis=1)
            lengths[self._rows_learnt :] = NOWHERE
            product = np.vstack([-2.0 * rows.T, lengths])
            # Samples lie innermost, so that the least over a sample runs over long rows.
            by_sample = product.reshape(-1, full, self._sample_rows).swapaxes(1, 2)
            self._product = np.ascontiguousarray(by_sample).reshape(len(product), -1)
        ones = np.ones((len(values), 1), dtype=np.float32)
        squares = blocked_matmul(np.hstack([values, ones]), self._product)
        return squares.reshape(len(values), self._sample_rows, full)


def _log_mean(distances: Float32, softening: float) -> Float64:
    """(events,) log of the mean over the samples of (events, samples) ``distances``."""
    score: Float64 = np.log(distances.mean(axis=1).astype(np.float64) + softening)
    return score
