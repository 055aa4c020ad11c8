"""Draws of `tune`'s candidates: some of the parameters in a detector's ``search_space``."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_detector.config.models.config import DetectorConfig
from stream_detector.detectors.search_space import SearchSpace

_CHANGE_SHARE = 0.5


def draw_detector(
    original: DetectorConfig, space: SearchSpace, random: np.random.Generator
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
