"""Detectors by the ``kind`` that names them in the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from stream_detector.config.models import DetectorConfig
from stream_detector.detectors.base import Detector

DETECTORS: Mapping[str, str] = {
    "autoencoder": "autoencoder.Autoencoder",
    "classifier": "classifier.Classifier",
    "river": "river_model.RiverModel",
    "half_space_forest": "half_space_forest.HalfSpaceForest",
    "loda": "loda.Loda",
    "nearest_neighbours": "nearest_neighbours.NearestNeighbours",
    "random_fourier": "random_fourier.RandomFourier",
    "ensemble": "ensemble.Ensemble",
}
"""Module of this package and class. Imported when they are asked for: scikit-learn takes two
seconds, which commands that score nothing, and detectors that do without it, need not wait for."""


def detector_class(kind: str) -> Callable[..., Detector]:
    """The class, which takes the number of features and the fields of its configuration."""
    module, _, name = DETECTORS[kind].partition(".")
    found = getattr(import_module(f"stream_detector.detectors.{module}"), name)
    return cast("Callable[..., Detector]", found)


def build_detector(config: DetectorConfig, features: int) -> Detector:
    """The detector that a configuration asks for, with nothing learnt.

    Raises:
        ConfigurationError: A River model that does not exist or cannot be used.
    """
    parameters: dict[str, Any] = config.model_dump(exclude={"kind"})
    return detector_class(config.kind)(features, **parameters)
