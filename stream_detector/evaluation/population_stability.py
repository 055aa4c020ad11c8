"""Movement of a stream's features: the population stability index, part by part.

The index of two distributions over the same bins is the sum of (p - q) ln(p / q), the symmetric
form of Kullback and Leibler's divergence (Siddiqi 2006, Credit Risk Scorecards, chapter 9). By
custom below 0.1 nothing has changed, above 0.25 much has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.evaluation.feature_samples import FeatureSamples
from stream_detector.events import Float64, Int64
from stream_detector.features import FeatureGroup

SLIGHT, LARGE = 0.1, 0.25
"""Limits of the index by custom."""

_LEAST_EVENTS = 500
"""Of a part: with fewer, chance alone passes for a slight change."""

_BINS = 10
_FEW_VALUES = 16
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True)
class GroupDrift:
    """Drift of one feature, or of all columns of a category.

    Attributes:
        name: what people call it.
        index: (parts,) stability index of each part against the whole.
        early: 5 %, 50 % and 95 % quantile over the first quarter of the parts, in the field's own
            unit; None for a category or where every value is missing.
        late: likewise over the last quarter.
        missing: (early, late) share of missing values.
    """

    name: str
    index: Float64
    early: tuple[float, float, float] | None
    late: tuple[float, float, float] | None
    missing: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Drift:
    """All features over the parts of a stream.

    Attributes:
        starts: (parts + 1,) first event of each part, and the end of the last.
        rows: events that stand for a part, at most.
        expected: index that two samples of this size give by chance where nothing has changed.
        groups: features, the one that moved most first; without those of the clock and the
            calendar, which differ between parts by their nature.
    """

    starts: Int64
    rows: int
    expected: float
    groups: list[GroupDrift]


def feature_drift(
    samples: FeatureSamples,
    groups: Sequence[FeatureGroup],
    in_units: Callable[[int, float], float],
) -> Drift | None:
    """Measure how far each part of the stream is from the whole; None for less than two parts.

    Args:
        samples: of the stream's features.
        groups: columns that belong together.
        in_units: a number of a column with the column's transform undone.
    """
    blocks = samples.blocks(_LEAST_EVENTS)
    if len(blocks) < 2:  # noqa: PLR2004 - one part has nothing to differ from
        return None
    parts = [rows for _, _, rows in blocks]
    # Below the number at which the most thinned sample ends, every block has all its events: a
    # uniform sample of the whole.
    end = min(float(numbers.max()) for _, numbers, _ in blocks)
    whole = np.concatenate([rows[numbers <= end] for _, numbers, rows in blocks])
    quarter = max(1, len(parts) // 4)
    early, late = np.concatenate(parts[:quarter]), np.concatenate(parts[-quarter:])
    result = [
        GroupDrift(
            name=group.name,
            index=_group_index(parts, whole, group),
            early=_quantiles(early, group, in_units),
            late=_quantiles(late, group, in_units),
            missing=(_missing(early, group), _missing(late, group)),
        )
        for group in groups
        if group.kind != "time"
    ]
    result.sort(key=lambda group: -float(group.index.max()))
    rows = int(np.median([len(part) for part in parts]))
    return Drift(
        starts=samples.skip + np.concatenate([[0], np.cumsum([events for events, _, _ in blocks])]),
        rows=rows,
        expected=(_BINS - 1) * (1 / rows + 1 / len(whole)),
        groups=result,
    )


def stability_index(part: Float64, whole: Float64) -> float:
    """Index of one column in a part against the whole: by tenths of the whole, and what is missing.

    A value that makes up a tenth or more has a bin of its own, and so has each of a few.

    Args:
        part: (rows,) float64, NaN where a value is missing.
        whole: (rows,) float64, likewise.
    """
    edges = _edges(whole[~np.isnan(whole)])
    return _index(_binned(part, edges), _binned(whole, edges), len(edges) + 2)


def _edges(values: Float64) -> Float64:
    """A value belongs to the bin that ends at the least edge not below it."""
    if not len(values):
        return np.empty(0)
    different = np.unique(values)
    if len(different) <= _FEW_VALUES:
        return different
    tenths = np.quantile(values, np.arange(1, _BINS) / _BINS, method="inverted_cdf")
    edges, times = np.unique(tenths, return_counts=True)
    heavy = edges[times > 1]
    return np.unique(np.concatenate([edges, np.nextafter(heavy, -np.inf)]))


def _binned(values: Float64, edges: Float64) -> NDArray[np.intp]:
    bins: NDArray[np.intp] = np.searchsorted(edges, values)
    bins[np.isnan(values)] = len(edges) + 1
    return bins


def _index(part: NDArray[np.intp], whole: NDArray[np.intp], bins: int) -> float:
    counts = [np.bincount(each, minlength=bins) for each in (part, whole)]
    used = (counts[0] + counts[1]) > 0
    # Half an event in every bin, so that an empty one counts for much but not for infinity.
    p, q = ((each[used] + 0.5) / (each.sum() + 0.5 * used.sum()) for each in counts)
    return float(np.sum((p - q) * np.log(p / q)))


def _group_index(parts: Sequence[Float64], whole: Float64, group: FeatureGroup) -> Float64:
    columns = list(group.columns)
    if _is_one_hot(whole[:, columns]):
        values = [_which(part[:, columns]) for part in (*parts, whole)]
        bins = len(columns) + 1
        return np.array([_index(each, values[-1], bins) for each in values[:-1]])
    by_column = [
        [stability_index(part[:, column], whole[:, column]) for part in parts] for column in columns
    ]
    largest: Float64 = np.array(by_column).max(axis=0)
    return largest


def _is_one_hot(columns: Float64) -> bool:
    several = columns.shape[1] > 1 and bool(np.isin(columns, (0.0, 1.0)).all())
    return several and bool((columns.sum(axis=1) <= 1).all())


def _which(columns: Float64) -> NDArray[np.intp]:
    which: NDArray[np.intp] = columns.argmax(axis=1)
    which[~columns.any(axis=1)] = columns.shape[1]
    return which


def _quantiles(
    rows: Float64, group: FeatureGroup, in_units: Callable[[int, float], float]
) -> tuple[float, float, float] | None:
    if len(group.columns) > 1:
        return None
    (column,) = group.columns
    values = rows[:, column]
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, middle, high = (in_units(column, float(v)) for v in np.quantile(values, _QUANTILES))
    return low, middle, high


def _missing(rows: Float64, group: FeatureGroup) -> float:
    return float(np.isnan(rows[:, list(group.columns)]).any(axis=1).mean())
