"""Gradient boosted trees, fitted again from time to time on the last labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.fitted_trees import fitted_trees
from stream_detector.detectors.leaf_sets import LeafSets
from stream_detector.detectors.memory import LARGEST, LabelledMemory
from stream_detector.detectors.stored import read_array, read_branch, read_count, read_float
from stream_detector.events import Float64, Int64, State

TREES, LEAVES, DEPTH, LEARNING_RATE = 30, 12, 8, 0.2
"""Sixty trees found no more than thirty do, on four streams (docs/performance.md)."""

MOST_TREES = 60
"""Earlier versions grew so many."""

LEAF_ROWS = 5
NODES = 2 * LEAVES - 1

LEAST_OF_EACH = 10
"""Rows of either label that a fit needs."""

LEAST_NEW = 64
NEW_SHARE = 8
"""A fit when an eighth of the rows held are new: what it costs a row does not grow with them. With
a quarter, half of AI4I's failures, which come in a crowd, are over before the trees know them."""

MANY_ROWS, NEW_SHARE_OF_MANY = 8000, 4
"""Where more are held and others follow the labels of late, a quarter does: the fits cost half."""


class BoostedTrees:
    """scikit-learn's ``HistGradientBoostingClassifier`` on a bounded memory of labelled rows.

    Friedman 2001, "Greedy function approximation: a gradient boosting machine"; histograms as in
    Ke et al. 2017, LightGBM. Trees ask for order only, so rows come in the event's own units.

    State, of fixed size: the rows in float32 with their labels, the trees as arrays, counters. The
    model that scikit-learn fits is thrown away, so nothing of it is ever pickled.
    """

    def __init__(self, features: int, rows: int, seed: int) -> None:
        """``rows``: how many labelled rows are kept, the oldest leave."""
        self.memory = LabelledMemory(features, rows)
        self._seed = seed
        self._new = 0
        self.fits = 0
        self._base = 0.0
        self._forget_trees()

    def _forget_trees(self) -> None:
        # Node i of all trees: where its value is at most the threshold, on to first[i], else to the
        # one after; a leaf goes to itself for ever.
        self._feature: Int64 = np.zeros(TREES * NODES, dtype=np.int64)
        self._threshold: Float64 = np.full(TREES * NODES, np.inf)
        self._first: Int64 = np.arange(TREES * NODES, dtype=np.int64)
        self._value: Float64 = np.zeros(TREES * NODES)
        self._leaf_sets: LeafSets | None = None  # made of the arrays when first needed

    def learn(
        self,
        features: Float64,
        positive: NDArray[np.bool_],
        ids: Int64 | None = None,
        *,
        fit: bool = True,
        often: bool = True,
    ) -> None:
        """Remember labelled rows; fit when enough of them are new, unless ``fit`` is false.

        ``often``: also where many are held, an eighth of them is enough.
        """
        self.memory.add(features, positive, ids)
        if not fit:
            return
        self._new += len(features)
        share = NEW_SHARE if often or len(self.memory) <= MANY_ROWS else NEW_SHARE_OF_MANY
        held, positives = len(self.memory), int(self.memory.positive.sum())
        if (
            self._new >= max(LEAST_NEW, held // share)
            and min(positives, held - positives) >= LEAST_OF_EACH
        ):
            self._fit()
            self._new = 0

    def correct(self, ids: Int64, positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Set labels of rows remembered, for the next fit; which were found."""
        return self.memory.correct(ids, positive)

    def _fit(self) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        model: Any = HistGradientBoostingClassifier(  # type: ignore[no-untyped-call]
            max_iter=TREES,
            max_leaf_nodes=LEAVES,
            max_depth=DEPTH,
            learning_rate=LEARNING_RATE,
            l2_regularization=1.0,
            min_samples_leaf=LEAF_ROWS,
            early_stopping=False,
            random_state=self._seed,
        )
        # Sums of several threads might come in any order.
        with threadpool_limits(1):  # type: ignore[no-untyped-call]
            model.fit(self.memory.rows.astype(np.float64), self.memory.positive)
        self._forget_trees()
        self._base, trees = fitted_trees(model)
        for number, nodes in enumerate(trees):
            self._take_tree(number * NODES, nodes)
        self.fits += 1

    def _take_tree(self, begin: int, nodes: NDArray[Any]) -> None:
        """Copy a tree, its nodes numbered so that the right child follows the left."""
        place = {0: begin}
        free = begin + 1
        for number in range(len(nodes)):  # a parent always comes before its children
            node, at = nodes[number], place[number]
            if node["is_leaf"]:
                self._value[at] = node["value"]
                continue
            place[int(node["left"])], place[int(node["right"])] = free, free + 1
            self._feature[at] = node["feature_idx"]
            self._threshold[at] = node["num_threshold"]
            self._first[at] = free
            free += 2

    def logits(self, features: Float64) -> Float64:
        """(rows,) log odds of a positive; 0 before the first fit.

        A row's leaves are found by comparisons alone and their values are added in one
        order, so its bits do not depend on the rows beside it.
        """
        if self.fits == 0:
            return np.zeros(len(features))
        if self._leaf_sets is None:
            arrays = (self._feature, self._threshold, self._first, self._value)
            self._leaf_sets = LeafSets(*arrays, len(self._value) // NODES)
        leaves = self._leaf_sets.values(np.clip(features, -LARGEST, LARGEST))
        result: Float64 = leaves.sum(axis=1) + self._base
        return result

    def state(self) -> State:
        """Rows held, trees, counters."""
        return {
            "memory": self.memory.state(),
            "new": self._new,
            "fits": self.fits,
            "base": self._base,
            "feature": self._feature.copy(),
            "threshold": self._threshold.copy(),
            "first": self._first.copy(),
            "value": self._value.copy(),
        }

    def scoring_state(self) -> State:
        """Trees and counters, and no rows."""
        return {**self.state(), "memory": self.memory.emptied()}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it does not fit."""
        value = read_array(state, "value", (-1,))
        trees = min(len(value) // NODES, MOST_TREES)
        size = (max(trees, 1) * NODES,)
        value = read_array(state, "value", size)
        threshold = read_array(state, "threshold", size, infinite=True)
        width = self.memory.rows.shape[1]
        feature = read_array(state, "feature", size, np.int64, low=0, high=width - 1)
        first = read_array(state, "first", size, np.int64, low=0, high=size[0] - 1)
        new, fits = read_count(state, "new"), read_count(state, "fits")
        base = read_float(state, "base")
        leaf_sets = LeafSets(feature, threshold, first, value, trees)
        self.memory.restore(read_branch(state, "memory"))
        self._feature, self._threshold, self._first, self._value = feature, threshold, first, value
        self._new, self.fits, self._base = new, fits, base
        self._leaf_sets = leaf_sets
