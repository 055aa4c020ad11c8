"""An estimate of the memory that a configuration's tables may come to, once they are full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from stream_detector.config.models.config import Config
from stream_detector.detectors.base import DetectorConfig

_KEY_BYTES = 200
"""A key of 40 characters: its text, its entry in a dict, its slot."""

_NUMBER_BYTES = 8
_SKETCH_NUMBERS = 32
_EVENT_BYTES = 40
_NOTEWORTHY_BYTES = 2**30
_ADAM = 4
"""Arrays of a network's size while it learns: weights, gradients, two moments."""


def memory_notes(config: Config, features: int, limit_bytes: int | None) -> list[str]:
    """Sentences on tables that come to more than a GiB; none where they do not.

    Args:
        config: the configuration.
        features: how many numbers the model is given of an event.
        limit_bytes: what the process may have, where that is known.
    """
    sizes = sorted(_sizes(config, features), key=lambda each: -each[1])
    total = sum(size for _, size in sizes)
    if total < _NOTEWORTHY_BYTES:
        return []
    largest = ", ".join(f"{name} {_gib(size)}" for name, size in sizes[:3])
    note = f"full, its tables take about {_gib(total)} of memory ({largest})"
    if limit_bytes is not None and total > limit_bytes:
        note += f", more than the {_gib(limit_bytes)} that there are: lower these limits"
    return [note]


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB"


def _sizes(config: Config, features: int) -> Iterator[tuple[str, float]]:
    for number, window in enumerate(config.windows):
        numbers = 1 + len(window.half_lives) * 6 + _SKETCH_NUMBERS * ("distinct" in window.compute)
        size = window.max_keys * (_KEY_BYTES + _NUMBER_BYTES * numbers)
        yield f"windows[{number}].max_keys", size
    if config.labels is not None:
        row = _NUMBER_BYTES * (features + 3)
        yield "labels.max_waiting", config.labels.max_waiting * row
        for number, risk in enumerate(config.labels.risk):
            per_key = _KEY_BYTES + _NUMBER_BYTES * (5 + 2 * len(risk.half_lives))
            size = risk.max_keys * per_key + 2 * risk.max_events * _EVENT_BYTES
            yield f"labels.risk[{number}].max_keys, max_events", size
    if config.suppression is not None:
        yield "suppression.max_keys", config.suppression.max_keys * _KEY_BYTES
    models = [("detector", config.detector)]
    if config.challenger is not None:
        models.append(("challenger.detector", config.challenger.detector))
    for where, detector in models:
        for what, bytes_ in _detector_sizes(detector, features):
            yield f"{where}.{what}", bytes_


def _detector_sizes(detector: DetectorConfig, features: int) -> Iterator[tuple[str, float]]:
    own: Mapping[str, Any] = detector.model_dump()
    if own.get("hidden"):
        layers = [features, *own["hidden"], features]
        weights = sum(a * b for a, b in pairwise(layers))
        yield "hidden", weights * _ADAM * _NUMBER_BYTES
    if "replay_rows" in own:
        yield "replay_rows", 2 * own["replay_rows"] * features * _NUMBER_BYTES
    if "trees" in own and "depth" in own:
        yield "trees, depth", own["trees"] * 2.0 ** own["depth"] * _NUMBER_BYTES
    if "projections" in own:
        size = own["projections"] * (own["bins"] + features) * _NUMBER_BYTES
        yield "projections, bins", size
    if "components" in own:
        yield "components", own["components"] * (own["components"] + features) * _NUMBER_BYTES
    if "sample_rows" in own:
        yield "samples, sample_rows", own["samples"] * own["sample_rows"] * features * _NUMBER_BYTES
