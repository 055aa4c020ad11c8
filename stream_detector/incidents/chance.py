"""How far a count is beyond chance: exponents of Chernoff's bounds, in nats.

The probability of as many by chance is at most e to the minus of it (Chernoff 1952; Hoeffding 1963,
theorem 1), so it is held against the logarithm of how often one looks over the risk that is taken.
"""

from __future__ import annotations

import math


def excess(count: float, expected: float) -> float:
    """Exponent of so many where ``expected`` come by chance (Poisson); 0 if not more than that.

    >>> round(excess(5, 1), 2)
    4.05
    """
    if count <= expected:
        return 0.0
    return count * math.log(count / expected) - (count - expected)


def evidence(count: float, total: float, share: float) -> float:
    """Exponent of ``count`` of ``total`` having what a share of all have; 0 if not more than that.

    It is the log-likelihood ratio of the share found against the usual one: total times the
    divergence of Kullback and Leibler.

    >>> round(evidence(3, 3, 0.1), 2)
    6.91
    """
    found = min(count / total, 1.0) if total > 0 else 0.0
    if found <= share:
        return 0.0
    rest = (1 - found) * math.log((1 - found) / (1 - share)) if found < 1 else 0.0
    return total * (found * math.log(found / share) + rest)
