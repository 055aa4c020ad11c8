"""Why an event was strange: which features made its score, each with its usual range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.base import BLOCK_ROWS, Detector, Rows
from stream_detector.events import Float64


class Group(Protocol):
    """Columns that one line of an explanation is about: a number, or all of a one-hot."""

    @property
    def name(self) -> str:
        """The group's name, as people call it."""

    @property
    def columns(self) -> tuple[int, ...]:
        """The group's columns in the feature matrix."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A line of an explanation.

    Attributes:
        group: index of the feature group.
        share: its part in the explained strangeness, 0 to 1.
        deviations: the largest of its columns' distances from the running mean, in standard
            deviations, with its sign.
    """

    group: int
    share: float
    deviations: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of the columns of groups, made once for all events.

    Attributes:
        groups: the feature groups.
        first: (groups,) the first column of each.
        several: those of more than one column, by index.
        rows: (columns,) one more than the index of the group that a column belongs to.
        columns: (columns,) the columns, group by group.
    """

    groups: Sequence[Group]
    first: NDArray[np.intp]
    several: tuple[tuple[int, NDArray[np.intp]], ...]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Layout:
        """The layout of groups, which have at least one column each."""
        columns = [np.array(group.columns, dtype=np.intp) for group in groups]
        return cls(
            groups,
            np.array([each[0] for each in columns], dtype=np.intp),
            tuple((index, each) for index, each in enumerate(columns) if len(each) > 1),
            np.repeat(np.arange(1, len(groups) + 1), [len(each) for each in columns]),
            np.concatenate(columns),
        )


def contributions(detector: Detector, layout: Layout, row: Rows, usual: Float64) -> Float64:
    """Return how much of one event's score each group of features accounts for.

    A detector that knows (``contributions``: an autoencoder's error by feature) is asked. For the
    rest each group in turn is replaced by its usual value and the fall of the score is taken:
    occlusion (Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks).

    Args:
        detector: the model as it scored the event.
        layout: of the feature groups.
        row: the event, one row.
        usual: (features,) float64, the running means in the features' own units.

    Returns:
        (groups,) float64, at least 0.
    """
    by_row = None
    if type(detector).contributions is not Detector.contributions:
        by_row = detector.contributions(_padded(row, BLOCK_ROWS))
    if by_row is not None:
        # Most groups have one column: a sum for each would cost more than the contributions do.
        parts: Float64 = by_row[0].take(layout.first)
        for index, columns in layout.several:
            parts[index] = by_row[0].take(columns).sum()
        return parts
    # Row 0 is the event itself. Always the same layout, so the bits do not depend on what other
    # alerts happen to be explained beside this one.
    count = len(layout.first) + 1
    variants = _padded(row, -(-count // BLOCK_ROWS) * BLOCK_ROWS, copies=count)
    variants.features[layout.rows, layout.columns] = usual.take(layout.columns)
    variants.standardised[layout.rows, layout.columns] = 0.0
    scores = detector.score(variants)
    falls: Float64 = np.maximum(scores[0] - scores[1:count], 0.0)
    return falls


def _padded(row: Rows, size: int, copies: int = 1) -> Rows:
    """``copies`` of the one row, then zeros up to ``size`` rows."""
    features = np.zeros((size, row.features.shape[1]))
    standardised = np.zeros_like(features)
    features[:copies] = row.features
    standardised[:copies] = row.standardised
    return Rows(features, standardised)


def rank_reasons(
    by_group: Float64, groups: Sequence[Group], row: Rows, limit: int = 5
) -> list[Reason]:
    """The groups that contributed most, largest first; at most ``limit``, none without a part.

    Args:
        by_group: what ``contributions`` returned.
        groups: the feature groups.
        row: the event, one row.
        limit: how many reasons to give.
    """
    total = float(by_group.sum())
    if total <= 0:
        return []
    distances = row.standardised[0].tolist()
    reasons: list[Reason] = []
    for index in np.argsort(-by_group, kind="stable")[:limit].tolist():
        share = float(by_group[index]) / total
        if share <= 0:
            break
        farthest = max((distances[column] for column in groups[index].columns), key=abs)
        reasons.append(Reason(index, share, farthest))
    return reasons


def usual_range(
    mean: Float64, deviation: Float64, low: Float64, high: Float64, columns: tuple[int, ...]
) -> tuple[float, float] | None:
    """Mean ± two standard deviations within what was seen, for a group of one column."""
    if len(columns) != 1:
        return None
    column = columns[0]
    centre, spread = mean.item(column), 2 * deviation.item(column)
    return max(centre - spread, low.item(column)), min(centre + spread, high.item(column))


def short_number(value: Any) -> Any:
    """A number as people read it: four significant digits; anything else as it is."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value
