"""Interface of an encoder to the extractor: named columns, groups of them, and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from stream_detector.detectors.stored import LARGEST_TIME_MS
from stream_detector.events import EventBatch, Float64, State

Transform: TypeAlias = Literal["none", "log", "sqrt"]

LARGEST = 1e100
"""Numbers are clipped at ± this, so that their squares stay finite in every running moment."""


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """Columns that one line of an explanation is about.

    Attributes:
        name: unique among the groups of an extractor.
        columns: indices of its columns (all columns of a one-hot, sine and cosine of an hour).
        kind: ``numeric``, ``boolean``, ``categorical``, ``time``, ``difference``, ``ratio`` or
            ``window``.
        field: the event field that a person would look at, None where there is no single one.
        made_of: fields of the event itself that its numbers are made of, "" for its time; none
            where they are of what came before (a key's history).
    """

    name: str
    columns: tuple[int, ...]
    kind: str
    field: str | None
    made_of: tuple[str, ...] = ()


class Encoder(Protocol):
    """Turns a batch into some columns. Column indices in ``groups`` count from its own first."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """Return how each column was made from a number in its own unit."""

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """Return the groups; together they have every column once."""

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """Write (events, columns) float64 into ``out``; what it remembers moves on."""

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:
        """The JSON value a person would want for its ``group`` of event ``row``.

        ``x``: (columns,) float64, the event's own numbers.
        """

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:
        """Write what event ``row`` would have given, had its own fields been others; pure.

        Args:
            variants: the event again and again, with other numbers, texts or times.
            row: its row in the batch that ``encode`` was given last.
            x: (columns,) float64, what it gave.
            out: (variants, columns) float64. What came before the event is as it was.
        """


class Remembers(Protocol):
    """An encoder with state."""

    def end_chunk(self) -> None:
        """A full chunk has been seen: the only moment at which anything is forgotten."""

    def state(self) -> State:
        """Everything remembered, as arrays and JSON values."""

    def restore(self, state: State, latest_ms: int = LARGEST_TIME_MS) -> None:
        """Take the state in, which has seen nothing after ``latest_ms``.

        Raises ``StateMismatchError`` where it does not fit.
        """


def apply_transform(values: Float64, transform: Transform) -> Float64:
    """``log`` is sign(x) log(1 + |x|), ``sqrt`` is sign(x) sqrt(|x|); NaN stays NaN."""
    if transform == "log":
        return np.copysign(np.log1p(np.abs(values)), values)
    if transform == "sqrt":
        return np.copysign(np.sqrt(np.abs(values)), values)
    return values


def undo_transform(value: float, transform: Transform) -> float:
    """The number that ``apply_transform`` was given, to six digits where it was changed."""
    if transform == "none" or not np.isfinite(value):
        return value
    # Detectors explain with means and ranges of columns, which may lie a little outside.
    size = float(np.expm1(min(abs(value), 700.0))) if transform == "log" else value * value
    return float(f"{np.copysign(size, value):.6g}")


def undo_exactly(value: float, transform: Transform) -> float:
    """The number that ``apply_transform`` was given, to all its digits."""
    if transform == "log":
        return math.copysign(math.expm1(min(abs(value), 700.0)), value)
    return math.copysign(value * value, value) if transform == "sqrt" else value


def undo_transforms(values: Float64, transform: Transform) -> Float64:
    """The numbers that ``apply_transform`` was given, to nearly all their digits."""
    if transform == "log":
        return np.copysign(np.expm1(np.minimum(np.abs(values), 700.0)), values)
    return np.copysign(values * values, values) if transform == "sqrt" else values


def untransformed(columns: int) -> tuple[Transform, ...]:
    """``none`` for each column."""
    none: Transform = "none"
    return (none,) * columns


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, later ones of the same name with ``~2``, ``~3`` and so on behind."""
    taken: set[str] = set()
    result = []
    for name in names:
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}~{count}"
        taken.add(unique)
        result.append(unique)
    return tuple(result)
