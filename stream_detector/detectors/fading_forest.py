"""Small trees on the labelled rows of late, whose leaves go on counting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.memory import LARGEST, LabelledMemory
from stream_detector.detectors.stored import LARGEST_COUNT, read_array, read_count, read_float
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State

TREES, LEAVES, DEPTH = 24, 64, 10
NODES = 2 * LEAVES - 1

LIVES = (250.0, 1000.0, 4000.0)
"""Half-lives, in labelled rows, of what a tree's bag is drawn from, one after another: after a jump
the short ones are right first, and where nothing changes the long ones are better."""

BAG_ROWS = 1000
EVERY = 64
"""Labelled rows from one new tree to the next."""

LEAF_ROWS = 10.0
"""What a leaf remembers, in rows: with 50 the F1 of campaigns was .941, with 10 .965."""

LOSS_HALF_LIFE = 300.0
NEW_TREE_ROWS = 30.0
"""A new tree is judged as if it had lost what the others have on so many rows."""

LOSS_FLOOR = 0.01
BASE_ROWS = 500.0
LEAST_PROBABILITY = 1e-4


class FadingForest:
    """Regression trees on bags of recent rows, refitted in turn, with leaf counts that fade.

    After Gomes et al. 2017, "Adaptive random forests for evolving data stream classification", with
    trees fitted on a bag (Breiman 2001, "Random forests") in place of Hoeffding trees: one is
    fitted again, in turn, for each ``EVERY`` labelled rows, and between two fits every labelled row
    adds to its leaf of every tree, whose older counts shrink so that they sum to ``LEAF_ROWS`` at
    most. A tree's word weighs as the inverse of its Brier loss of late.

    A row's probability is sums over trees in one order, so its bits do not depend on the rows
    beside it.

    State, of fixed size: the trees and their counts as arrays, losses, counters. The rows are the
    caller's.
    """

    def __init__(self, seed: int) -> None:
        """``seed``: of bags and of the features that a split looks at."""
        self._seed = seed
        size = TREES * NODES
        self._feature: Int64 = np.zeros(size, dtype=np.int64)
        self._threshold: Float64 = np.full(size, np.inf)
        self._left: Int64 = np.arange(size, dtype=np.int64)
        self._right: Int64 = np.arange(size, dtype=np.int64)
        self._counts: Float64 = np.zeros((size, 2))
        self._loss: Float64 = np.zeros((TREES, 2))  # sum of losses, and of their weights
        self._base = 0.5
        self._rows = 0
        self.fits = 0

    @property
    def fitted(self) -> bool:
        """Tell whether there is a forest."""
        return self.fits > 0

    def learn(self, memory: LabelledMemory, count: int) -> None:
        """Take in the last ``count`` rows of ``memory``, the older of them first."""
        count = min(count, len(memory))
        while count:
            part = min(count, EVERY - self._rows % EVERY)
            ages = np.arange(count - 1, count - part - 1, -1)
            rows, positive = memory.at_ages(ages)
            self._count(rows.astype(np.float64), positive)
            count -= part
            if self._rows % EVERY == 0:
                self._fit_next(memory, count)

    def _count(self, rows: Float64, positive: NDArray[np.bool_]) -> None:
        """Let every tree be judged by rows, and then count them."""
        count = len(rows)
        if self.fits:
            leaves = self._leaves(rows)
            fade = np.exp2(-np.arange(count)[::-1] / LOSS_HALF_LIFE)
            errors = (self._probabilities(leaves) - positive[:, None]) ** 2
            self._loss *= 2.0 ** (-count / LOSS_HALF_LIFE)
            self._loss[:, 0] += (errors * fade[:, None]).sum(axis=0)
            self._loss[:, 1] += fade.sum()
            flat = leaves.ravel()
            labels = np.repeat(positive, TREES)
            negatives = np.bincount(flat[~labels], minlength=len(self._left))
            positives = np.bincount(flat[labels], minlength=len(self._left))
            new = np.column_stack([negatives, positives]).astype(np.float64)
            came = new.sum(axis=1)
            met = np.flatnonzero(came)
            new, came = new[met], came[met]
            new *= np.minimum(1.0, LEAF_ROWS / came)[:, None]
            held = self._counts[met]
            room = np.maximum(LEAF_ROWS - came, 0.0)
            held *= np.minimum(1.0, room / np.maximum(held.sum(axis=1), 1e-9))[:, None]
            self._counts[met] = held + new
        share = float(positive.mean()) if count else self._base
        self._base += (share - self._base) * min(1.0, count / BASE_ROWS)
        self._rows += count

    def _fit_next(self, memory: LabelledMemory, later: int) -> None:
        """Fit the tree whose turn it is, or all at first, on rows but the ``later`` last ones."""
        held = len(memory) - later
        if held < EVERY:
            return
        if not self.fits:
            _, known = memory.at_ages(np.arange(later, len(memory)))
            if known.all() or not known.any():
                return
            for tree in range(TREES):
                self._fit(tree, memory, later)
            return
        self._fit(self.fits % TREES, memory, later)

    def _fit(self, tree: int, memory: LabelledMemory, later: int) -> None:
        from sklearn.tree import DecisionTreeRegressor

        random = frozen_stream(self._seed, "forest", self.fits)
        held = len(memory) - later
        ages = (random.exponential(LIVES[tree % len(LIVES)] / np.log(2), BAG_ROWS)).astype(np.int64)
        beyond = np.flatnonzero(ages >= held)
        ages[beyond] = random.randint(held, size=len(beyond))
        rows, positive = memory.at_ages(np.sort(ages) + later)
        model = DecisionTreeRegressor(  # type: ignore[no-untyped-call]
            max_features=0.5,
            max_leaf_nodes=LEAVES,
            max_depth=DEPTH,
            random_state=int(random.randint(2**31 - 1)),
        )
        model.fit(rows, positive.astype(np.float64), check_input=False)
        self._take_tree(tree, model.tree_, rows, positive)
        self.fits += 1

    def _take_tree(
        self, tree: int, fitted: Any, rows: NDArray[np.float32], positive: NDArray[np.bool_]
    ) -> None:
        """Copy a fitted tree, and what its bag tells its leaves."""
        begin = tree * NODES
        nodes = fitted.node_count
        left = np.asarray(fitted.children_left, dtype=np.int64)
        right = np.asarray(fitted.children_right, dtype=np.int64)
        leaf = left < 0
        own = np.arange(begin, begin + nodes)
        place = slice(begin, begin + nodes)
        self._left[begin : begin + NODES] = np.arange(begin, begin + NODES)
        self._right[begin : begin + NODES] = np.arange(begin, begin + NODES)
        self._feature[begin : begin + NODES] = 0
        self._threshold[begin : begin + NODES] = np.inf
        self._left[place] = np.where(leaf, own, left + begin)
        self._right[place] = np.where(leaf, own, right + begin)
        self._feature[place] = np.where(leaf, 0, fitted.feature)
        self._threshold[place] = np.where(leaf, np.inf, fitted.threshold)
        self._counts[begin : begin + NODES] = 0.0
        leaves = np.asarray(fitted.apply(rows), dtype=np.int64)
        counts = np.column_stack(
            [
                np.bincount(leaves[~positive], minlength=nodes),
                np.bincount(leaves[positive], minlength=nodes),
            ]
        ).astype(np.float64)
        total = np.maximum(counts.sum(axis=1), 1e-9)
        self._counts[place] = counts * np.minimum(1.0, LEAF_ROWS / total)[:, None]
        others = np.arange(TREES) != tree
        weights = self._loss[others, 1].sum()
        mean = self._loss[others, 0].sum() / weights if weights else 0.0
        self._loss[tree] = mean * NEW_TREE_ROWS, NEW_TREE_ROWS

    def _leaves(self, rows: Float64) -> Int64:
        """(rows, trees) the leaf that each row ends in."""
        values = np.clip(rows, -LARGEST, LARGEST).astype(np.float32).astype(np.float64)
        width = values.shape[1]
        flat = np.ascontiguousarray(values).ravel()
        at = np.tile(np.arange(TREES, dtype=np.int64) * NODES, (len(rows), 1))
        offset = (np.arange(len(rows), dtype=np.int64) * width)[:, None]
        for _ in range(DEPTH):
            above = flat.take(offset + self._feature.take(at)) > self._threshold.take(at)
            at = np.where(above, self._right.take(at), self._left.take(at))
        return at

    def _probabilities(self, leaves: Int64) -> Float64:
        """(rows, trees) of each tree, from its leaf's counts and the share of positives."""
        smoothed = (self._counts[:, 1] + self._base) / (self._counts.sum(axis=1) + 1.0)
        probabilities: Float64 = smoothed.take(leaves)
        return probabilities

    def logits(self, features: Float64) -> Float64:
        """(rows,) log odds of a positive; 0 before the first fit."""
        if not self.fits:
            return np.zeros(len(features))
        votes = 1.0 / (self._loss[:, 0] / np.maximum(self._loss[:, 1], 1e-9) + LOSS_FLOOR)
        votes /= votes.sum()
        mean = (self._probabilities(self._leaves(features)) * votes).sum(axis=1)
        mean = np.clip(mean, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
        logits: Float64 = np.log(mean / (1.0 - mean))
        return logits

    def state(self) -> State:
        """Trees, counts, losses."""
        return {
            "feature": self._feature.copy(),
            "threshold": self._threshold.copy(),
            "left": self._left.copy(),
            "right": self._right.copy(),
            "counts": self._counts.copy(),
            "loss": self._loss.copy(),
            "base": self._base,
            "rows": self._rows,
            "fits": self.fits,
        }

    def restore(self, state: State, features: int) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it does not fit."""
        size = (TREES * NODES,)
        last = size[0] - 1
        feature = read_array(state, "feature", size, np.int64, low=0, high=features - 1)
        threshold = read_array(state, "threshold", size, infinite=True)
        left = read_array(state, "left", size, np.int64, low=0, high=last)
        right = read_array(state, "right", size, np.int64, low=0, high=last)
        own = np.arange(size[0])
        if ((left < own) | (right < own) | (left // NODES != own // NODES)).any():
            raise StateMismatchError("the nodes of a tree refer to one another in a wrong order")
        if (right // NODES != own // NODES).any():
            raise StateMismatchError("a node refers to one of another tree")
        counts = read_array(state, "counts", (*size, 2), low=0.0, high=1.001 * LEAF_ROWS)
        loss = read_array(state, "loss", (TREES, 2), low=0.0, high=LARGEST_COUNT)
        base = read_float(state, "base", low=0.0, high=1.0)
        rows, fits = read_count(state, "rows"), read_count(state, "fits")
        self._feature, self._threshold, self._left, self._right = feature, threshold, left, right
        self._counts, self._loss, self._base, self._rows, self.fits = counts, loss, base, rows, fits
