"""LODA: histograms of random projections."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.base import (
    Detector,
    DetectorConfig,
    Rows,
    blocked_matmul,
    clipped,
    whole_blocks,
)
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.half_space_forest import FORGOTTEN
from stream_detector.detectors.moments import decay_of
from stream_detector.detectors.search_space import HALF_LIFE, INPUT_CLIP, SearchSpace, one_of
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    check_sums,
    read_array,
    read_float,
)
from stream_detector.events import Float64, State
from stream_detector.parameters import Clip, Events

REACH = 8.0
"""Histograms cover ±8 deviations; what lies outside counts in the outermost bin."""

PRIOR = 0.1
"""Count that every bin has beforehand, so that an empty one is finite."""


class LodaConfig(DetectorConfig):
    """LODA: histograms of random projections (Pevný 2016)."""

    kind: Literal["loda"] = "loda"
    projections: int = Field(100, ge=1, le=10_000, description="Number of projections.")
    bins: int = Field(32, ge=4, le=1024, description="Bins of a histogram, over ±8.")
    half_life: Events = Field(100_000, description="Events after which a count counts half.")
    clip: Clip = Field(10.0, description="Standardised inputs are clipped at ± this.")


class Loda(Detector):
    """Lightweight on-line detector of anomalies (Pevný 2016, Machine Learning 102, section 3).

    Differs from the paper in what won on public streams: every second projection is dense (the
    others use floor(sqrt(d)) features), bins are fixed over ±8 and smoothed with a quarter of each
    neighbour, counts decay with a half-life.

    Score: mean over projections of -ln((H + 0.1) / (n + 0.1 bins)), in nats.

    State, of fixed size: ``counts`` (projections, bins) and their ``total``.
    """

    Config = LodaConfig
    search_space: ClassVar[SearchSpace] = {
        "projections": one_of([50, 100, 200, 400]),
        "bins": one_of([16, 32, 64, 128]),
        "half_life": HALF_LIFE,
        "clip": INPUT_CLIP,
    }

    def __init__(
        self,
        features: int,
        *,
        projections: int = 100,
        bins: int = 32,
        half_life: float = 100_000.0,
        clip: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        self._half_life = half_life
        self._clip = clip
        self._projection = _draw_projections(features, projections, seed)
        self._counts: Float64 = np.zeros((projections, bins))
        self._first_bin = np.arange(projections, dtype=np.intp) * bins
        self._total = 0.0
        self._rarity: Float64 | None = None  # of each bin, made of the counts when first needed

    def score(self, rows: Rows) -> Float64:
        """Rarity in nats, (events,) float64; 0 before anything was learnt."""
        if self._total == 0:
            return np.zeros(len(rows))
        values = clipped(rows.standardised, self._clip)
        return self._mean_rarity(blocked_matmul(values, self._projection))

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Count every row in its bin of every projection."""
        if len(rows):
            self.count(self.place(rows))

    def place(self, rows: Rows) -> NDArray[np.intp]:
        """(events, projections) bins of rows, as places in the flattened counts."""
        values = whole_blocks(clipped(rows.standardised, self._clip))
        return self._bins(blocked_matmul(values, self._projection)[: len(rows)])

    def rarity_of(self, placed: NDArray[np.intp]) -> Float64:
        """(events,) scores of rows by what ``place`` gave for them; 0 before any was counted."""
        if self._total == 0:
            return np.zeros(len(placed))
        return self._rarity_at(placed)

    def count(self, placed: NDArray[np.intp]) -> None:
        """Count rows in the bins that ``place`` gave."""
        events = len(placed)
        kept = decay_of(events, self._half_life)
        self._counts *= kept
        self._counts[self._counts < FORGOTTEN] = 0.0
        counted = np.bincount(placed.ravel(), minlength=self._counts.size)
        self._counts += counted.reshape(self._counts.shape)
        self._total = self._total * kept + events
        self._rarity = None

    def contributions(self, rows: Rows) -> Float64:
        """Return how many nats rarer each feature made the row than its mean would, at least 0."""
        shares = np.zeros(rows.standardised.shape)
        if self._total == 0:
            return shares
        values = clipped(rows.standardised, self._clip)
        projected = blocked_matmul(values, self._projection)
        # Rows at their mean in everything, as what fills a block up, have no share in anything.
        for row in np.flatnonzero(values.any(axis=1)).tolist():
            # The row itself, and with each feature in turn at its mean, which is 0.
            variants = np.empty((1 + values.shape[1], projected.shape[1]))
            variants[0] = projected[row]
            np.multiply(values[row, :, None], self._projection, out=variants[1:])
            np.subtract(projected[row], variants[1:], out=variants[1:])
            rarity = self._mean_rarity(variants)
            np.subtract(rarity[0], rarity[1:], out=shares[row])
        return np.maximum(shares, 0.0, out=shares)

    def state(self) -> State:
        """Counts and their total."""
        return {"counts": self._counts.copy(), "total": self._total}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        counts = read_array(state, "counts", self._counts.shape, low=0.0, high=LARGEST_COUNT)
        total = read_float(state, "total", low=0.0, high=LARGEST_COUNT)
        check_sums("counts", counts.sum(axis=1), total)
        self._counts, self._total, self._rarity = counts, total, None

    def _mean_rarity(self, projected: Float64) -> Float64:
        """(events,) mean over projections of each value's bin; ``projected`` is overwritten."""
        return self._rarity_at(self._bins(projected))

    def _rarity_at(self, placed: NDArray[np.intp]) -> Float64:
        """(events,) mean over projections of the rarity of (events, projections) bins."""
        if self._rarity is None:
            smoothed = self._counts / 2
            smoothed[:, 1:] += self._counts[:, :-1] / 4
            smoothed[:, :-1] += self._counts[:, 1:] / 4
            smoothed[:, [0, -1]] += self._counts[:, [0, -1]] / 4  # nothing leaks over the edge
            bins = self._counts.shape[1]
            self._rarity = -np.log((smoothed + PRIOR) / (self._total + PRIOR * bins))
        mean: Float64 = self._rarity.take(placed).mean(axis=1)
        return mean

    def _bins(self, projected: Float64) -> NDArray[np.intp]:
        """(events, projections) index of each value's bin in the flattened counts.

        ``projected`` is overwritten.
        """
        bins, place = self._counts.shape[1], projected
        place += REACH
        place *= bins / (2 * REACH)
        np.maximum(place, 0.0, out=place)
        np.minimum(place, bins - 1.0, out=place)
        index: NDArray[np.intp] = place.astype(np.intp)
        index += self._first_bin
        return index


def _draw_projections(features: int, projections: int, seed: int) -> Float64:
    """(features, projections) Gaussian columns of length 1, every second one sparse."""
    random = frozen_stream(seed, "loda")
    projection: Float64 = random.standard_normal((features, projections))
    for column in range(1, projections, 2):
        projection[random.permutation(features)[math.isqrt(features) :], column] = 0.0
    projection /= np.sqrt((projection**2).sum(axis=0))
    return projection
