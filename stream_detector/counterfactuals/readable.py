"""Numbers that people read: few digits, never past where they must stay."""

from __future__ import annotations

import math

import numpy as np

from stream_detector.events import Float64

DIGITS = 3
_ALL_DIGITS = 17
_EXACT = 22
"""Powers of ten up to this are floats without rounding."""


def readable(value: float, toward: float, digits: int = DIGITS) -> float:
    """Return the number of few digits that comes first on the way from ``value`` to ``toward``.

    >>> readable(131.48, 55.0), readable(-0.012345, 1.0), readable(1000123.4, 1000122.0)
    (131.0, -0.0123, 1000123.0)

    Args:
        value: where to begin, finite.
        toward: where to stop: the result lies between the two, both included.
        digits: of as many, or of more where there is no such number between the two.
    """
    if value in (toward, 0.0):
        return value
    for precision in range(digits, _ALL_DIGITS):
        rounded = float(f"{value:.{precision - 1}e}")
        if rounded != value and (rounded > value) != (toward > value):
            step = 10.0 ** (math.floor(math.log10(abs(value))) - precision + 1)
            rounded = float(f"{rounded + math.copysign(step, toward - value):.{precision - 1}e}")
        if min(value, toward) <= rounded <= max(value, toward):
            return rounded
    return value


def readable_all(values: Float64, toward: float) -> Float64:
    """(n,) numbers as ``readable`` gives them for each, but for a digit here and there.

    >>> readable_all(np.array([131.48, 88.21, 55.0]), 55.0).tolist()
    [131.0, 88.2, 55.0]
    """
    sizes = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.floor(np.log10(sizes)) - (DIGITS - 1)
        up, down = 10.0 ** np.maximum(power, 0.0), 10.0 ** np.maximum(-power, 0.0)
        scaled = values / up * down
        # A quotient or product of two whole numbers is the float that the digits are read as.
        rounded: Float64 = np.where(toward < values, np.floor(scaled), np.ceil(scaled)) * up / down
    exact = (power >= -_EXACT) & (power <= _EXACT)
    between = (np.minimum(values, toward) <= rounded) & (rounded <= np.maximum(values, toward))
    for place in np.flatnonzero(~(exact & between)).tolist():
        rounded[place] = readable(values.item(place), toward)
    return rounded


def is_whole(value: float) -> bool:
    """Tell whether a number is whole, but for the rounding of a logarithm undone."""
    return abs(value - round(value)) <= 1e-9 * max(1.0, abs(value))
