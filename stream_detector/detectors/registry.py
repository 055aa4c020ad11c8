"""Registry of detectors: class and parameters by the ``kind`` that a configuration names.

Three kinds of names: those of this package; entry points of the group ``stream_detector.detectors``
of whatever is installed beside it; and class paths, ``package.module:ClassName``. Nothing here is
imported but for a name that a configuration (never a snapshot) holds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Union

from pydantic import Discriminator, TypeAdapter

from stream_detector.detectors import foreign
from stream_detector.detectors.base import Detector, DetectorConfig
from stream_detector.detectors.bounded import bounded
from stream_detector.detectors.search_space import SearchSpace
from stream_detector.errors import ConfigurationError

_CLASSES = (
    "adaptive_ensemble.AdaptiveEnsemble",
    "ensemble.Ensemble",
    "autoencoder.Autoencoder",
    "classifier.Classifier",
    "half_space_forest.HalfSpaceForest",
    "loda.Loda",
    "nearest_neighbours.NearestNeighbours",
    "random_fourier.RandomFourier",
    "river_model.RiverModel",
)
"""Module of this package and class, in the order of the reference. The rest is in their files."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A detector and what a configuration needs of it.

    Attributes:
        kind: the name in the configuration.
        detector: the class.
        config: model of its parameters, whose ``kind`` can be this one only.
        distribution: the one that it comes from; None for this package.
    """

    kind: str
    detector: type[Detector]
    config: type[DetectorConfig]
    distribution: foreign.Distribution | None = None


def _built_in() -> dict[str, Registered]:
    found = {}
    for path in _CLASSES:
        module, _, name = path.partition(".")
        detector: type[Detector] = getattr(import_module(f"{__package__}.{module}"), name)
        kind = str(detector.Config.model_fields["kind"].default)
        found[kind] = Registered(kind, detector, detector.Config)
    return found


BUILT_IN: Mapping[str, Registered] = _built_in()
"""Detectors of this package by kind."""


def kinds() -> tuple[str, ...]:
    """Names that a configuration may hold, without class paths: our own and entry points."""
    return (*BUILT_IN, *(name for name in foreign.entry_point_names() if name not in BUILT_IN))


@functools.cache
def find_detector(kind: str) -> Registered:
    """The detector of a name; imports it where it is somebody else's.

    Raises:
        ConfigurationError: no such name, two of one name, a module that cannot be imported, or
            what is found there is no detector.
    """
    points = foreign.entry_points_called(kind)
    own = BUILT_IN.get(kind)
    if len(points) + (own is not None) > 1:
        raise ConfigurationError(foreign.ambiguous(kind, points, own=own is not None))
    if own is not None:
        return own
    if points:
        detector, distribution = foreign.load_entry_point(points[0])
    elif foreign.looks_like_class_path(kind):
        detector, distribution = foreign.load_class_path(kind)
    else:
        raise ConfigurationError(f"expected one of {', '.join(kinds())} (got {kind!r})")
    return Registered(kind, detector, foreign.named(detector, kind), distribution)


def adapter(*others: type[DetectorConfig]) -> TypeAdapter[DetectorConfig]:
    """Reader of a section `detector`: one of this package's or of ``others``, told by ``kind``."""
    own = (each.config for each in BUILT_IN.values())
    return _adapter(tuple(dict.fromkeys((*own, *others))))


@functools.cache
def _adapter(models: tuple[type[DetectorConfig], ...]) -> TypeAdapter[DetectorConfig]:
    union: Any = Annotated[Union[models], Discriminator("kind")]  # noqa: UP007 - of a tuple
    return TypeAdapter(union)


def identity(config: DetectorConfig) -> dict[str, Any]:
    """Return what identifies a state: the parameters and, for a foreign detector, its release."""
    parameters = config.model_dump(mode="json")
    found = find_detector(config.kind)
    if found.distribution is None:
        return parameters
    version = found.detector.state_version or found.distribution.version
    distribution = {"name": found.distribution.name, "version": version}
    return {**parameters, "distribution": distribution}


def read_identity(stored: Any, known: Iterable[DetectorConfig]) -> DetectorConfig:
    """The parameters in a stored ``identity``, with the defaults of settings that are new since.

    Args:
        stored: as a snapshot has it; what it names is not imported.
        known: parameters that the configuration in use holds.

    Raises:
        ValidationError: it is neither one of this package's nor of a kind in ``known``.
    """
    if isinstance(stored, Mapping):
        stored = {name: value for name, value in stored.items() if name != "distribution"}
    return adapter(*map(type, known)).validate_python(stored)


def search_space(kind: str) -> SearchSpace:
    """Return the values that `tune` may try.

    Raises ``ConfigurationError`` where a detector has none.
    """
    if space := find_detector(kind).detector.search_space:
        return space
    those = ", ".join(name for name, each in BUILT_IN.items() if each.detector.search_space)
    raise ConfigurationError(f"detector.kind: {kind} has no search space; there is one for {those}")


def build_detector(config: DetectorConfig, features: int) -> Detector:
    """The detector that a configuration asks for, with nothing learnt.

    Raises:
        ConfigurationError: its constructor does not take the parameters, or River has no such
            model.
    """
    found = find_detector(config.kind)
    with bounded(f"detector {config.kind}"), foreign.constructing(config.kind):
        return found.detector(features, **_parameters(config))


def check_parameters(config: DetectorConfig, features: int) -> None:
    """Raise ``ConfigurationError`` where ``build_detector`` would; mostly without building one."""
    found = find_detector(config.kind)
    with bounded(f"detector {config.kind}"), foreign.constructing(config.kind):
        found.detector.check_parameters(features, **_parameters(config))


def _parameters(config: DetectorConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"kind"})
