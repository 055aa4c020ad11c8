"""Oblivious half-space forest: grids of random cuts whose counts are hardly forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.base import (
    Detector,
    DetectorConfig,
    Rows,
    parts,
)
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.moments import decay_of
from stream_detector.detectors.search_space import HALF_LIFE, SearchSpace, one_of
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    check_sums,
    read_array,
    read_float,
    read_range,
)
from stream_detector.events import Float64, State
from stream_detector.parameters import Events

RARE_SHARE = 0.01
"""A cell with at most this share of all rows is not cut further: below it, counts are noise."""

SOFTENING = 0.001
"""Added to the mass of a cell relative to a uniform one, so that an empty cell is finite."""

SMALLEST_SPAN = 1e-300
"""Stands for the range of a constant feature: any other value lies far outside it."""

FORGOTTEN = 1e-9
"""Counts below it are set to 0; left alone they would decay into slow denormal numbers."""

ROWS_AT_ONCE = 256
"""Bounds the temporary of gathered features to (depth * trees, 256) float32."""


class HalfSpaceForestConfig(DetectorConfig):
    """Oblivious half-space forest: grids of random cuts whose counts are hardly forgotten."""

    kind: Literal["half_space_forest"] = "half_space_forest"
    trees: int = Field(100, ge=1, le=10_000, description="Number of grids.")
    depth: int = Field(8, ge=1, le=16, description="Cuts of a grid.")
    half_life: Events = Field(100_000, description="Events after which a count counts half.")


class HalfSpaceForest(Detector):
    """Half-space trees with one cut a level for the whole level (a grid), never cleared.

    After Tan, Ting and Liu (2011), "Fast anomaly detection for streaming data", section 3: work
    ranges are drawn as there; but a level has one cut, so a row's cell is a ``depth``-bit code, and
    counts decay with a half-life instead of being swapped every window: a window learns a burst of
    anomalies as the crowd.

    Score: mean over trees of -ln(2^k share + 0.001), the rarity in nats of the row's cell at the
    first depth k where the cell holds at most 1 % of all rows, or at full depth.

    State, of fixed size: ``counts`` (2^depth, trees), their ``total``, and the features' range.
    """

    Config = HalfSpaceForestConfig
    search_space: ClassVar[SearchSpace] = {
        "trees": one_of([50, 100, 200]),
        "depth": one_of([4, 6, 8, 10, 12]),
        "half_life": HALF_LIFE,
    }

    def __init__(
        self,
        features: int,
        *,
        trees: int = 100,
        depth: int = 8,
        half_life: float = 100_000.0,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        self._depth = depth
        self._half_life = half_life
        self._draw_cuts(features, trees, seed)
        self._trees = trees
        self._tree = np.arange(trees, dtype=np.intp)[:, None]
        # Trees lie innermost, so that whatever runs over cells and levels runs over long rows.
        self._counts: Float64 = np.zeros((2**depth, trees))
        self._total = 0.0
        self._low: Float64 = np.full(features, np.inf)
        self._high: Float64 = np.full(features, -np.inf)
        self._rarity: Float64 | None = None  # of each cell, made of the counts when first needed
        self._shares: Float64 | None = None  # likewise

    def _draw_cuts(self, features: int, trees: int, seed: int) -> None:
        """Draw ``_feature`` (depth, trees) and ``_cut`` (depth, trees), on features in 0..1."""
        random = frozen_stream(seed, "half_space_forest")
        centre = random.uniform(size=(trees, features))
        reach = 2 * np.maximum(centre, 1 - centre)
        low, high = centre - reach, centre + reach
        every = np.arange(trees)
        self._feature: NDArray[np.intp] = np.empty((self._depth, trees), dtype=np.intp)
        self._cut: NDArray[np.float32] = np.empty((self._depth, trees), dtype=np.float32)
        for level in range(self._depth):
            feature = random.randint(features, size=trees)
            middle = (low[every, feature] + high[every, feature]) / 2
            upper = random.randint(2, size=trees) == 1
            low[every[upper], feature[upper]] = middle[upper]
            high[every[~upper], feature[~upper]] = middle[~upper]
            self._feature[level], self._cut[level] = feature, middle

    def score(self, rows: Rows) -> Float64:
        """Rarity in nats, (events,) float64; 0 before anything was learnt."""
        if self._total == 0:
            return np.zeros(len(rows))
        scores = np.empty(len(rows))
        for part in parts(len(rows), ROWS_AT_ONCE):
            scores[part] = self._rarity_at(self._cells(self._codes(rows.features[part])))
        return scores

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Count every row in its cell of every grid."""
        if len(rows):
            self.count(self.place(rows))

    def place(self, rows: Rows) -> list[NDArray[np.intp]]:
        """Take rows, at least one, into the range, and find their cells.

        Returns:
            (trees, events) places in the flattened counts, of ``ROWS_AT_ONCE`` events each.
        """
        np.minimum(self._low, rows.features.min(axis=0), out=self._low)
        np.maximum(self._high, rows.features.max(axis=0), out=self._high)
        return [
            self._cells(self._codes(rows.features[part])) for part in parts(len(rows), ROWS_AT_ONCE)
        ]

    def rarity_of(self, placed: Sequence[NDArray[np.intp]]) -> Float64:
        """(events,) scores of rows by what ``place`` gave for them; 0 before any was counted."""
        if self._total == 0:
            return np.zeros(sum(cells.shape[1] for cells in placed))
        return np.concatenate([self._rarity_at(cells) for cells in placed])

    def count(self, placed: Sequence[NDArray[np.intp]]) -> None:
        """Count rows in the cells that ``place`` gave."""
        events = sum(cells.shape[1] for cells in placed)
        kept = decay_of(events, self._half_life)
        self._counts *= kept
        self._counts[self._counts < FORGOTTEN] = 0.0
        self._total = self._total * kept + events
        for cells in placed:
            counted = np.bincount(cells.ravel(), minlength=self._counts.size)
            self._counts += counted.reshape(self._counts.shape)
        self._rarity = None
        self._shares = None

    def contributions(self, rows: Rows) -> Float64:
        """Return the nats that each feature's cuts added on the way to the cell, per event."""
        shares = np.zeros(rows.features.shape)
        if self._total == 0:
            return shares
        # The zero rows that fill a block up are all alike: one of them is looked at.
        some = np.flatnonzero(rows.features.any(axis=1))
        filled = int(some[-1]) + 1 if len(some) else 0
        looked_at = rows.features[: filled + 1]
        for part in parts(len(looked_at), ROWS_AT_ONCE):
            self._add_contributions(shares[: filled + 1][part], self._codes(looked_at[part]))
        shares[filled + 1 :] = shares[filled : filled + 1]
        shares /= self._trees
        return np.maximum(shares, 0.0, out=shares)

    def _add_contributions(self, into: Float64, codes: NDArray[np.intp]) -> None:
        """Add each cut's step in rarity to its feature; ``into`` (events, features)."""
        level = np.arange(1, self._depth + 1)[:, None, None]
        # The levels' cells lie one behind the other, 2^k of level k in each tree.
        places = self._cells(codes >> (self._depth - level)) + self._trees * (2**level - 2)
        share = self._all_shares().take(places)
        rarity = -np.log(share * 2.0**level + SOFTENING)
        # From the uncut space, whose rarity is 0 but for the softening.
        step = np.diff(rarity, axis=0, prepend=0.0)
        going = np.ones(share.shape, dtype=bool)
        np.logical_and.accumulate(share[:-1] > RARE_SHARE, axis=0, out=going[1:])
        event = np.broadcast_to(np.arange(len(into)), share.shape)
        feature = np.broadcast_to(self._feature[:, :, None], share.shape)
        np.add.at(into, (event[going], feature[going]), step[going])

    def _all_shares(self) -> Float64:
        """Share of all rows in each cell of each level, kept until the next chunk."""
        if self._shares is None:
            self._shares = np.concatenate([share.ravel() for share in self._shares_by_level()])
        return self._shares

    def _shares_by_level(self) -> list[Float64]:
        """(2^k, trees) share of all rows in each cell, for each level k from 1."""
        shares = [self._counts / self._total]
        for _ in range(1, self._depth):
            shares.insert(0, shares[0][0::2] + shares[0][1::2])
        return shares

    def state(self) -> State:
        """Counts, their total and the range of the features."""
        return {
            "counts": self._counts.copy(),
            "total": self._total,
            "low": self._low.copy(),
            "high": self._high.copy(),
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        counts = read_array(state, "counts", self._counts.shape, low=0.0, high=LARGEST_COUNT)
        total = read_float(state, "total", low=0.0, high=LARGEST_COUNT)
        check_sums("counts", counts.sum(axis=0), total)
        low, high = read_range(state, len(self._low), learnt=total > 0)
        self._counts, self._total, self._low, self._high = counts, total, low, high
        self._rarity = None
        self._shares = None

    def _codes(self, features: Float64) -> NDArray[np.intp]:
        """(trees, events) codes: a bit for each cut, the first one highest, 1 above the cut."""
        # Halved, so that the range of ±1e308 is finite; a value far outside may become infinite,
        # which compares as it should.
        span = np.maximum(self._high / 2 - self._low / 2, SMALLEST_SPAN)
        with np.errstate(over="ignore"):
            unit = ((features / 2 - self._low / 2) / span).T.astype(np.float32, order="C")
        # A level at a time: what is gathered for all levels would not stay in the cache.
        kind = np.uint8 if self._depth <= 8 else np.uint16  # noqa: PLR2004 - bits of a byte
        codes: NDArray[Any] = self._above(unit, 0).astype(kind)
        for level in range(1, self._depth):
            codes += codes
            codes |= self._above(unit, level)
        wide: NDArray[np.intp] = codes.astype(np.intp)
        return wide

    def _above(self, unit: NDArray[np.float32], level: int) -> NDArray[np.uint8]:
        """(trees, events) 1 above the cut of a level."""
        above: NDArray[np.bool_] = (
            unit.take(self._feature[level], axis=0) > self._cut[level][:, None]
        )
        return above.view(np.uint8)

    def _cells(self, codes: NDArray[np.intp]) -> NDArray[np.intp]:
        """(trees, events) places in the flattened counts (codes, trees) of one level."""
        cells: NDArray[np.intp] = np.multiply(codes, self._trees)
        cells += self._tree
        return cells

    def _rarity_at(self, cells: NDArray[np.intp]) -> Float64:
        """(events,) mean over the trees of the rarity of (trees, events) ``cells``."""
        rarity: Float64 = self._cell_rarity().take(cells).sum(axis=0)
        rarity /= self._trees
        return rarity

    def _cell_rarity(self) -> Float64:
        """-ln(2^k share + softening) of every full-depth cell, at the depth k where it stops."""
        if self._rarity is None:
            # Only where a cell stops is a logarithm taken: of one in five.
            rarity = np.zeros((1, self._trees))
            stopped = np.zeros((1, self._trees), dtype=bool)
            for level, share in enumerate(self._shares_by_level(), start=1):
                # A cell below one that has stopped keeps its rarity.
                rarity, stopped = np.repeat(rarity, 2, axis=0), np.repeat(stopped, 2, axis=0)
                stops = share <= RARE_SHARE if level < self._depth else ~stopped
                here = np.flatnonzero(stops & ~stopped)
                rarity.put(here, -np.log(share.take(here) * 2.0**level + SOFTENING))
                stopped |= stops
            self._rarity = rarity
        return self._rarity
