"""Columns of numbers and booleans out of JSON values that are spelt in any way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from stream_detector.cells import NumberFormat, is_missing, parse_boolean, parse_number
from stream_detector.events import Float64

Fault = tuple[int, str]
"""Row of a value that cannot be read, and why."""


def number_column(
    values: Sequence[Any], spelling: NumberFormat, missing: Collection[str]
) -> tuple[Float64, list[Fault]]:
    """The numbers of ``values``, NaN where one is missing or cannot be read."""
    column = np.full(len(values), np.nan)
    faults: list[Fault] = []
    for row, value in enumerate(values):
        if isinstance(value, str):
            if is_missing(value, missing):
                continue
            try:
                column[row] = parse_number(value, spelling)
            except ValueError as error:
                faults.append((row, str(error)))
        elif value is not None and (not missing or str(value) not in missing):
            try:
                column[row] = value
            except (TypeError, OverflowError):  # an integer of 400 digits
                faults.append((row, f"{str(value)[:40]!r} is no number"))
    return column, faults


def boolean_column(values: Sequence[Any], missing: Collection[str]) -> tuple[Float64, list[Fault]]:
    """1.0 and 0.0 of ``values``, NaN where one is missing or neither."""
    column = np.full(len(values), np.nan)
    faults: list[Fault] = []
    for row, value in enumerate(values):
        read = parse_boolean(value)
        if read is not None:
            column[row] = read
        elif value is not None and not (isinstance(value, str) and is_missing(value, missing)):
            faults.append((row, "neither true nor false"))
    return column, faults


def holds_text(values: Sequence[Any]) -> bool:
    """Tell whether a value is a text: NumPy would read some as numbers in silence."""
    return str in set(map(type, values))
