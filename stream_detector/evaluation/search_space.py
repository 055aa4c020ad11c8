"""What `tune` may try: for each kind of detector, its parameters and how a value is drawn.

To extend it: one line in ``SPACES``. A name must be a field of that kind's model in
``stream_detector/config/detector_models.py``, and every value drawn must be one it accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from stream_detector.config.models import DetectorConfig

Draw: TypeAlias = Callable[[np.random.Generator], Any]

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


_HALF_LIFE = log_uniform(3_000, 3_000_000)
_INPUT_CLIP = one_of([3.0, 5.0, 8.0, 10.0, 15.0, 20.0, 40.0])
_REFUSED = one_of([0.0, 0.01, 0.02, 0.05, 0.1, 0.2])

SPACES: dict[str, dict[str, Draw]] = {
    "autoencoder": {
        # None: d/2, d/3, d/2 of d features.
        "hidden": one_of([None, [4], [8], [16], [8, 3, 8], [16, 6, 16], [32, 8, 32], [64, 16, 64]]),
        "learning_rate": log_uniform(1e-4, 2e-2),
        "alpha": log_uniform(1e-6, 1e-1),
        "passes": one_of([1, 2, 3, 5]),
        "input_dropout": one_of([0.0, 0.1, 0.3]),
        "refuse_share": _REFUSED,
        "clip": _INPUT_CLIP,
    },
    "classifier": {
        "hidden": one_of([[8], [16], [32], [64], [16, 8], [32, 16], [64, 32], [128, 64]]),
        "learning_rate": log_uniform(1e-4, 3e-2),
        "alpha": log_uniform(1e-6, 1e-1),
        "positive_share": one_of([0.02, 0.05, 0.1, 0.2, 0.3, 0.5]),
        "resampling": one_of(["none", "over", "under"]),
        "replay": one_of([5, 10, 25, 50]),
        "trees": one_of([True, False]),
        "clip": _INPUT_CLIP,
    },
    "ensemble": {
        "half_life": _HALF_LIFE,
        "autoencoder": one_of([True, False]),
        "neighbours": one_of([True, False]),
        "refuse_share": _REFUSED,
    },
    "half_space_forest": {
        "trees": one_of([50, 100, 200]),
        "depth": one_of([4, 6, 8, 10, 12]),
        "half_life": _HALF_LIFE,
    },
    "loda": {
        "projections": one_of([50, 100, 200, 400]),
        "bins": one_of([16, 32, 64, 128]),
        "half_life": _HALF_LIFE,
        "clip": _INPUT_CLIP,
    },
    "nearest_neighbours": {
        "samples": one_of([8, 16, 32, 64]),
        "sample_rows": one_of([8, 16, 24, 32, 64]),
        "half_life": _HALF_LIFE,
        "clip": _INPUT_CLIP,
    },
    "random_fourier": {
        "components": one_of([50, 100, 200, 400]),
        "half_life": _HALF_LIFE,
        "ridge": log_uniform(1e-3, 1.0),
        "clip": _INPUT_CLIP,
    },
}

_CHANGE_SHARE = 0.5


def draw_detector(
    original: DetectorConfig, space: Mapping[str, Draw], random: np.random.Generator
) -> DetectorConfig:
    """The original with some parameters drawn anew: each with probability one half, at least one.

    What is not drawn keeps the original's value, which somebody may have chosen for a reason.
    """
    names = list(space)
    changed = random.random(len(names)) < _CHANGE_SHARE
    changed[int(random.integers(len(names)))] = True
    # Every parameter is drawn, used or not, so that a trial depends on seed and number alone.
    values = {name: draw(random) for name, draw in space.items()}
    drawn = {name: values[name] for name, new in zip(names, changed, strict=True) if new}
    return type(original).model_validate({**original.model_dump(), **drawn})


def changes(original: DetectorConfig, other: DetectorConfig) -> dict[str, Any]:
    """The parameters in which ``other`` differs, with its values."""
    before, after = original.model_dump(), other.model_dump()
    return {name: value for name, value in after.items() if value != before[name]}
