"""Distributions that `tune` draws parameters from: the parts of a ``search_space``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Draw: TypeAlias = Callable[[np.random.Generator], Any]
SearchSpace: TypeAlias = Mapping[str, Draw]
"""How a value is drawn, by parameter. The order counts: with a seed it fixes what is tried."""

_SIGNIFICANT_DIGITS = 3


def log_uniform(low: float, high: float) -> Draw:
    """Uniform in the logarithm, to three digits: a file shall be readable."""

    def draw(random: np.random.Generator) -> float:
        value = float(np.exp(random.uniform(np.log(low), np.log(high))))
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")

    return draw


def one_of(values: Sequence[Any]) -> Draw:
    """Each of ``values`` equally often."""
    return lambda random: values[int(random.integers(len(values)))]


HALF_LIFE = log_uniform(3_000, 3_000_000)
INPUT_CLIP = one_of([3.0, 5.0, 8.0, 10.0, 15.0, 20.0, 40.0])
REFUSED_SHARE = one_of([0.0, 0.01, 0.02, 0.05, 0.1, 0.2])
