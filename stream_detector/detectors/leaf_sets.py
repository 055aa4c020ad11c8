"""Find the leaf of each tree that a row ends in, without walking down the trees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64

MOST_LEAVES = 16
"""Leaves that a tree may have: a bit for each."""

_ALL_LEAVES = 2**MOST_LEAVES - 1
_NUMBER_OF_BIT: Int64 = np.zeros(2**MOST_LEAVES, dtype=np.int64)
_NUMBER_OF_BIT[2 ** np.arange(MOST_LEAVES)] = np.arange(MOST_LEAVES)


class LeafSets:
    """Trees as sets of leaves that each comparison leaves over.

    Where a value is above a node's threshold, no leaf of the node's left side is reached. The
    leaves left over by all comparisons of a tree hold the one that a walk would end in, and it is
    the first (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive
    ensembles of regression trees", theorem 1). All nodes of a feature are looked at together, by
    the rank of the value among their thresholds. Half the time of walking, level by level, and
    the same leaves.
    """

    def __init__(
        self, feature: Int64, threshold: Float64, first: Int64, value: Float64, trees: int
    ) -> None:
        """Take the trees over.

        Args:
            feature: (nodes,) column that a node looks at; the trees have equally many places.
            threshold: (nodes,) up to which a value goes to the node ``first``, else to the next.
            first: (nodes,) a leaf has itself.
            value: (nodes,) of the leaves.
            trees: how many.

        Raises:
            StateMismatchError: the arrays are no trees of at most ``MOST_LEAVES`` leaves.
        """
        self._trees = np.arange(trees) * MOST_LEAVES
        self._value: Float64 = np.zeros(trees * MOST_LEAVES)
        size = len(first) // trees
        # The leaves on the left of each inner node: where they begin, and how many they are.
        left: dict[int, tuple[int, int]] = {}
        for tree in range(trees):
            begin = tree * size
            leaves = _count_leaves(first[begin : begin + size].tolist(), begin)
            if leaves[0] > MOST_LEAVES:
                raise StateMismatchError(f"a tree has {leaves[0]} leaves, at most {MOST_LEAVES}")
            places = {begin: 0}
            for node in range(begin, begin + size):
                if node not in places:
                    continue  # a place that this tree does not need
                child, place = int(first[node]), places[node]
                if child == node:
                    self._value[tree * MOST_LEAVES + place] = value[node]
                    continue
                count = leaves[child - begin]
                left[node] = (place, count)
                places[child], places[child + 1] = place, place + count
        self._columns = [
            (
                column,
                *self._ranked([n for n in left if feature[n] == column], threshold, left, size),
            )
            for column in sorted({int(feature[n]) for n in left})
        ]

    def _ranked(
        self, nodes: list[int], threshold: Float64, left: dict[int, tuple[int, int]], size: int
    ) -> tuple[Float64, NDArray[np.uint16]]:
        """Thresholds of a column, sorted, and by a value's rank the leaves left over, by tree."""
        thresholds = np.unique(threshold[nodes])
        over = np.full((len(thresholds) + 1, len(self._trees)), _ALL_LEAVES, dtype=np.uint16)
        for node in nodes:
            place, count = left[node]
            gone = ((1 << count) - 1) << place
            rank = int(thresholds.searchsorted(threshold[node]))
            over[rank + 1 :, node // size] &= np.uint16(_ALL_LEAVES & ~gone)
        return thresholds, over

    def values(self, features: Float64) -> Float64:
        """(rows, trees) the value of the leaf that each row ends in."""
        left_over = np.full((len(features), len(self._trees)), _ALL_LEAVES, dtype=np.uint16)
        for column, thresholds, over in self._columns:
            ranks = thresholds.searchsorted(features[:, column])
            left_over &= over.take(ranks, axis=0)
        left_over &= -left_over  # the lowest bit alone
        leaves = _NUMBER_OF_BIT.take(left_over)
        leaves += self._trees
        values: Float64 = self._value.take(leaves)
        return values


def _count_leaves(first: list[int], begin: int) -> list[int]:
    """Leaves below each place of a tree; children come after their parent."""
    leaves = [1] * len(first)
    for place in range(len(first) - 1, -1, -1):
        child = first[place] - begin
        if child == place:
            continue
        if not place < child < len(first) - 1:
            raise StateMismatchError("the nodes of a tree refer to one another in a wrong order")
        leaves[place] = leaves[child] + leaves[child + 1]
    return leaves
