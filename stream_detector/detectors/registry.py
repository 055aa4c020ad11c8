"""Detectors by the ``kind`` that names them in the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stream_detector.config.models import DetectorConfig
from stream_detector.detectors.autoencoder import Autoencoder
from stream_detector.detectors.base import Detector
from stream_detector.detectors.classifier import Classifier
from stream_detector.detectors.ensemble import Ensemble
from stream_detector.detectors.half_space_forest import HalfSpaceForest
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.random_fourier import RandomFourier
from stream_detector.detectors.river_model import RiverModel

DETECTORS: dict[str, Callable[..., Detector]] = {
    "autoencoder": Autoencoder,
    "classifier": Classifier,
    "river": RiverModel,
    "half_space_forest": HalfSpaceForest,
    "loda": Loda,
    "random_fourier": RandomFourier,
    "ensemble": Ensemble,
}
"""Each takes the number of features and the fields of its section of the configuration."""


def build_detector(config: DetectorConfig, features: int) -> Detector:
    """The detector that a configuration asks for, with nothing learnt.

    Raises:
        ConfigurationError: A River model that does not exist or cannot be used.
    """
    parameters: dict[str, Any] = config.model_dump(exclude={"kind"})
    return DETECTORS[config.kind](features, **parameters)
