"""Meaning of a label's value, and any value as text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream_detector.cells import FALSE_WORDS, TRUE_WORDS
from stream_detector.config.models.config import LabelsConfig

_POSITIVE = TRUE_WORDS | {"fraud", "anomalous"}
_NEGATIVE = FALSE_WORDS | {"normal", "genuine"}


def text_of(value: str | float | bool | None) -> str | None:
    """A JSON value as text: ``true`` for True."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return None  # Avro and Protobuf have such numbers; JSON and texts have none
    return str(value)


def read_label(value: Any, labels: LabelsConfig) -> float:
    """1.0 anomalous, 0.0 normal, NaN unknown."""
    if value is None or value == "":
        return np.nan
    if labels.positive is not None:
        return 1.0 if text_of(value) in labels.positive else 0.0
    if labels.negative is not None:
        return 0.0 if text_of(value) in labels.negative else 1.0
    text = str(text_of(value)).lower()
    if text in _POSITIVE:
        return 1.0
    return 0.0 if text in _NEGATIVE else np.nan
