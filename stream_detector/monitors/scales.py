"""Scales on which what a key did is held against what is usual, and against all others.

On each the deviation has about the same variance whatever is expected, so that one dispersion a key
and width does for all hours.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64, Int64
from stream_detector.monitors.bands import last_sums
from stream_detector.monitors.exact import exact_sum
from stream_detector.monitors.history import KeyHistory
from stream_detector.monitors.level_history import LevelHistory
from stream_detector.monitors.rings import sums

OTHERS_EVENTS = 10.0
"""Events by which the pace of the others is drawn towards 1."""

OTHERS_KEYS = 4.0
"""Keys of ordinary unrest by which the unrest of the others is drawn towards 1."""

OUTLIER = 3.5
"""Deviations from which on a key has no part in the pace of the others."""

LEAST_EXPECTED = 0.3
"""Events that are expected at least: the first event of a quiet night is no incident."""

LARGEST_PACE = 1e6
_LEAST_PRECISION = 1e-9
_ROUND = 0.375  # of Anscombe's root


@dataclass(frozen=True, slots=True)
class Compared:
    """The last buckets of each key beside what is usual.

    Attributes:
        actual: (keys,) what there was.
        expected: (keys,) what was to be expected, by what the others did.
        others: (keys,) what the others did.
        plain: (keys,) deviations, not yet over the key's own dispersion; 0 where nothing is known.
        whole: (keys,) where something is known.
    """

    actual: Float64
    expected: Float64
    others: Float64
    plain: Float64
    whole: NDArray[np.bool_]


class Scale(ABC):
    """A way to hold buckets against what is usual. Stateless.

    Attributes:
        others: what the alert calls what the others did.
        feature: what is counted or measured.
    """

    others: ClassVar[str]

    def __init__(self, feature: str, *, population: bool) -> None:
        """``population``: whether the others have a part in it."""
        self.feature, self._population = feature, population

    @abstractmethod
    def compare(
        self,
        history: KeyHistory,
        width: int,
        whole: NDArray[np.bool_],
        root: Float64,
        groups: Int64 | None,
    ) -> Compared:
        """Compare the last ``width`` buckets.

        Args:
            history: of the keys.
            width: buckets that are taken together.
            whole: (keys,) of which all that is known.
            root: (keys,) root of the key's own dispersion.
            groups: (keys,) equal where keys are held against one another; None: all are.
        """

    def band(
        self, history: KeyHistory, row: int, width: int, expected: float, reach: float
    ) -> tuple[float, float]:
        """The ends of what lies within ``reach`` of the expected, on the scale of ``plain``."""
        rows = np.array([row])
        low, high = self.ends(history, rows, width, np.array([[expected]]), np.array([[reach]]))
        return float(low[0, 0]), float(high[0, 0])

    @abstractmethod
    def ends(
        self, history: KeyHistory, rows: Int64, width: int, expected: Float64, reach: Float64
    ) -> tuple[Float64, Float64]:
        """As ``band``, of many keys and ends of buckets: (rows, buckets) arrays."""

    @abstractmethod
    def last(
        self, history: KeyHistory, rows: Int64, width: int, buckets: int
    ) -> tuple[Float64, Float64, NDArray[np.bool_]]:
        """What there was over the last buckets, to be drawn, as ``last_sums`` says."""


class CountScale(Scale):
    """Counts, and sums in units of the key: 2 (sqrt(S + 3/8) - sqrt(E + 3/8)) (Anscombe 1948).

    The others' pace is their sum over what was usual for them.
    """

    others = "pace_of_others"

    def compare(
        self,
        history: KeyHistory,
        width: int,
        whole: NDArray[np.bool_],
        root: Float64,
        groups: Int64 | None,
    ) -> Compared:
        """As ``Scale`` says."""
        actual, usual = sums(history.actual[:, -width:]), sums(history.expected[:, -width:])
        unit = history.unit if isinstance(history, LevelHistory) else None
        if unit is not None:
            actual, usual = actual / unit, usual / unit
        rooted = _rooted(actual)
        pace = self._pace(actual, usual, whole, groups)
        expected = _least(usual * pace)
        plain = _residual(rooted, expected, whole)
        # A key with an incident of its own would make the others look unusual.
        ordinary = whole & (np.abs(plain / root) < OUTLIER)
        if self._population and not ordinary[whole].all():
            pace = self._pace(actual, usual, ordinary, groups)
            expected = _least(usual * pace)
            plain = _residual(rooted, expected, whole)
        if unit is not None:
            actual, expected = actual * unit, expected * unit
        return Compared(actual, expected, pace, plain, whole)

    def _pace(
        self, actual: Float64, usual: Float64, whole: NDArray[np.bool_], groups: Int64 | None
    ) -> Float64:
        """(keys,) what the others did, over what was usual for them."""
        if not self._population:
            return np.ones(len(actual))
        mine_actual = np.where(whole, np.maximum(actual, 0.0), 0.0)
        mine_usual = np.where(whole, np.maximum(usual, 0.0), 0.0)
        all_actual = group_sums(mine_actual, whole, groups)
        all_usual = group_sums(mine_usual, whole, groups)
        others = np.maximum(all_usual - mine_usual, 0.0) + OTHERS_EVENTS
        pace: Float64 = (np.maximum(all_actual - mine_actual, 0.0) + OTHERS_EVENTS) / others
        return np.minimum(pace, LARGEST_PACE)

    def ends(
        self, history: KeyHistory, rows: Int64, width: int, expected: Float64, reach: Float64
    ) -> tuple[Float64, Float64]:
        """As ``Scale`` says."""
        del width
        unit = np.broadcast_to(_unit(history), len(history))[rows][:, None]
        middle, half = _rooted(expected / unit), reach / 2
        low, high = _unrooted(middle - half) * unit, _unrooted(middle + half) * unit
        # What is only ever counted upwards is never below nothing.
        return np.where(expected < 0, low, np.maximum(low, 0.0)), high

    def last(
        self, history: KeyHistory, rows: Int64, width: int, buckets: int
    ) -> tuple[Float64, Float64, NDArray[np.bool_]]:
        """As ``Scale`` says."""
        others = OTHERS_EVENTS if self._population else None
        actual, expected, known = last_sums(history, rows, width, buckets, others)
        unit = np.broadcast_to(_unit(history), len(history))[rows][:, None]
        return actual, _least(expected / unit) * unit, known


class MeanScale(Scale):
    """Means: the distance to the usual in units of the key's spread, times the root of the events.

    Events beyond what a bucket of the key usually has count ever less: what hours differ by does
    not go away with many events. Of the others the median deviation is subtracted.
    """

    others = "deviations_of_others"

    def compare(
        self,
        history: KeyHistory,
        width: int,
        whole: NDArray[np.bool_],
        root: Float64,
        groups: Int64 | None,
    ) -> Compared:
        """As ``Scale`` says. Where the newest bucket has no event nothing is known."""
        assert isinstance(history, LevelHistory)
        weights = history.weights[:, -width:]
        events = sums(weights)
        whole = whole & (weights[:, -1] > 0)
        safe = np.maximum(events, 1.0)
        actual = sums(weights * history.actual[:, -width:]) / safe
        usual = sums(weights * history.expected[:, -width:]) / safe
        precision = _precision(events, history.crowd * width)
        plain = np.where(whole, (actual - usual) * precision / history.unit, 0.0)
        others = np.zeros(len(plain))
        if self._population:
            others = np.where(whole, others_median(plain / root, whole, groups), 0.0)
            plain -= others * root
        expected = usual + others * root * history.unit / np.maximum(precision, _LEAST_PRECISION)
        return Compared(actual, expected, others, plain, whole)

    def ends(
        self, history: KeyHistory, rows: Int64, width: int, expected: Float64, reach: Float64
    ) -> tuple[Float64, Float64]:
        """As ``Scale`` says."""
        assert isinstance(history, LevelHistory)
        events = _windows(history.weights[rows], width)[:, -expected.shape[1] :].sum(axis=2)
        precision = _precision(events, history.crowd[rows][:, None] * width)
        half = reach * history.unit[rows][:, None] / np.maximum(precision, _LEAST_PRECISION)
        return expected - half, expected + half

    def last(
        self, history: KeyHistory, rows: Int64, width: int, buckets: int
    ) -> tuple[Float64, Float64, NDArray[np.bool_]]:
        """As ``Scale`` says; the others have no part in it."""
        assert isinstance(history, LevelHistory)
        rings = (history.weights, history.actual, history.expected)
        weights, there, usual = (_windows(ring[rows], width)[:, -buckets:] for ring in rings)
        events = weights.sum(axis=2)
        safe = np.maximum(events, 1.0)
        ago = np.arange(events.shape[1] - 1, -1, -1)
        known = (history.run[rows][:, None] >= ago + width) & (events > 0)
        return (weights * there).sum(axis=2) / safe, (weights * usual).sum(axis=2) / safe, known


def _windows(ring: Float64, width: int) -> Float64:
    """(keys, ends, width) view: the last ``width`` buckets as of each end."""
    return np.lib.stride_tricks.sliding_window_view(ring, width, axis=1)


def _precision(events: Float64, crowd: Float64) -> Float64:
    precision: Float64 = np.sqrt(events / (1 + events / np.maximum(crowd, 1.0)))
    return precision


def _unit(history: KeyHistory) -> Float64:
    return history.unit if isinstance(history, LevelHistory) else np.ones(1)


def _least(expected: Float64) -> Float64:
    """Expect a little at least, but for what is below nothing."""
    least: Float64 = np.maximum(expected, LEAST_EXPECTED)
    below = expected < 0
    return np.where(below, expected, least) if below.any() else least


def _rooted(value: Float64) -> Float64:
    """Anscombe's root, and its mirror image below nothing."""
    root: Float64 = np.sqrt(np.abs(value) + _ROUND)
    below = value < 0
    return np.where(below, 2 * math.sqrt(_ROUND) - root, root) if below.any() else root


def _unrooted(root: Float64) -> Float64:
    """``_rooted`` undone."""
    middle = math.sqrt(_ROUND)
    mirrored = np.where(root < middle, 2 * middle - root, root)
    value = mirrored * mirrored - _ROUND
    return np.where(root < middle, -value, value)


def _residual(rooted: Float64, expected: Float64, whole: NDArray[np.bool_]) -> Float64:
    """(keys,) what counts deviate by, of variance 1 where they are of chance; 0 but for whole.

    ``rooted``: roots of the counts.
    """
    residual: Float64 = np.where(whole, 2 * (rooted - _rooted(expected)), 0.0)
    return residual


def group_sums(values: Float64, chosen: NDArray[np.bool_], groups: Int64 | None) -> Float64 | float:
    """(keys,) the sum of the chosen keys of each one's group, or one sum for all.

    Sums are exact, so that they do not depend on which row a key has. ``values`` are 0 but for the
    chosen.
    """
    if groups is None:
        return exact_sum(values)
    sums = np.zeros(int(groups.max(initial=0)) + 1)
    for rows in _members(chosen, groups):
        sums[groups[rows[0]]] = exact_sum(values[rows])
    return sums[groups]


def _members(chosen: NDArray[np.bool_], groups: Int64 | None) -> list[Int64]:
    """Rows of the chosen keys, for each group that has any."""
    rows = np.flatnonzero(chosen)
    if groups is None or not len(rows):
        return [rows] if len(rows) else []
    rows = rows[np.argsort(groups[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(groups[rows])) + 1
    return np.split(rows, ends)


def others_median(values: Float64, chosen: NDArray[np.bool_], groups: Int64 | None) -> Float64:
    """(keys,) the median of the chosen others of each one's group, drawn towards 0; 0 without."""
    result = np.zeros(len(values))
    for rows in _members(chosen, groups):
        others = len(rows) - 1
        if not others:
            continue
        order = np.argsort(values[rows], kind="stable")
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(rows))
        ordered = values[rows][order]
        low, high = (others - 1) // 2, others // 2
        middle = ordered[low + (ranks <= low)] + ordered[high + (ranks <= high)]
        result[rows] = middle / 2 * (others / (others + OTHERS_KEYS))
    return result
