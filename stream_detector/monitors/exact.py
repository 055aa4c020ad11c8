"""Sums of many numbers without an error, so that they do not depend on the order of these."""

from __future__ import annotations

import math

from stream_detector.events import Float64

_FEW = 64
_BITS = 53
_MOST_ROUNDS = 6
_LARGEST_EXPONENT = 900
_AT_ONCE = 8192  # as many as stay in a processor's cache


def exact_sum(values: Float64) -> float:
    """Return the sum of (n,) numbers, rounded once, as ``math.fsum`` gives it, ten times as fast.

    Of all numbers at once the leading bits are cut off, as many as can be added up without an error
    in any order; then of what is left, until nothing is (``ExtractVector`` of Rump, Ogita and Oishi
    2008, "Accurate floating-point summation, part I", SIAM J. Sci. Comput. 31). Raises as
    ``math.fsum`` where an infinity or a sum beyond all numbers makes no sense.
    """
    if len(values) <= _FEW:
        return math.fsum(values.tolist())
    largest = max(float(values.max()), -float(values.min()))
    room = len(values).bit_length() + 1
    exponent = math.frexp(largest)[1] + room
    if not math.isfinite(largest) or exponent > _LARGEST_EXPONENT:
        return math.fsum(values.tolist())
    anchors = [math.ldexp(1.0, exponent + at * (room - _BITS)) for at in range(_MOST_ROUNDS)]
    parts = [0.0] * _MOST_ROUNDS
    rest: list[float] = []
    for first in range(0, len(values), _AT_ONCE):
        left = values[first : first + _AT_ONCE].copy()
        for at, anchor in enumerate(anchors):
            leading = left + anchor
            leading -= anchor
            parts[at] += float(leading.sum())
            left -= leading  # at most half of the anchor's last bit
            if not left.any():
                break
        else:
            rest += left.tolist()
    return math.fsum(parts + rest)
