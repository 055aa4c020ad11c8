"""Detectors from other distributions: found by entry point or class path, imported, looked over."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from typing import Any, Literal, cast

from pydantic import Field, create_model

from stream_detector.detectors.base import Detector, DetectorConfig
from stream_detector.errors import ConfigurationError

GROUP = "stream_detector.detectors"
"""Entry points that register detectors: ``name = "package.module:ClassName"``."""

_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_UNFIT = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError),
    *(NameError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
)
"""What somebody else's code raises while it is imported or built."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Name and version of what a detector was installed with; version None: not installed."""

    name: str
    version: str | None


def entry_point_names() -> list[str]:
    """Names of the detectors that are registered by what is installed."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def entry_points_called(name: str) -> list[EntryPoint]:
    """All entry points of that name; two are a mistake, see ``ambiguous``."""
    return list(entry_points(group=GROUP, name=name))


def ambiguous(kind: str, points: Sequence[EntryPoint], *, own: bool) -> str:
    """The message that a name is taken twice."""
    claims = ["stream-detector's own"] if own else []
    claims += [f"{point.value} of {_distribution_of(point).name}" for point in points]
    return (
        f"{len(claims)} detectors are called {kind!r}: {', '.join(claims)}; name the one you mean "
        "by its class path, package.module:ClassName, or uninstall the other"
    )


def looks_like_class_path(kind: str) -> bool:
    """Tell whether a name is meant as a class path, rightly written or not."""
    return ":" in kind or "." in kind


def load_entry_point(point: EntryPoint) -> tuple[type[Detector], Distribution]:
    """The class behind an entry point. Raises ``ConfigurationError``."""
    distribution = _distribution_of(point)
    return _load(point.value, f" (entry point {point.name!r} of {distribution.name})"), distribution


def load_class_path(path: str) -> tuple[type[Detector], Distribution]:
    """The class at ``package.module:ClassName``. Raises ``ConfigurationError``."""
    detector = _load(path, "")
    top = path.partition(":")[0].partition(".")[0]
    owners = packages_distributions().get(top)
    if owners:
        return detector, Distribution(owners[0], version(owners[0]))
    stated = getattr(import_module(top), "__version__", None)
    return detector, Distribution(top, stated if isinstance(stated, str) else None)


def _distribution_of(point: EntryPoint) -> Distribution:
    if point.dist is None:
        return Distribution(point.module.partition(".")[0], None)
    return Distribution(point.dist.name, point.dist.version)


def _load(path: str, origin: str) -> type[Detector]:
    if _CLASS_PATH.fullmatch(path) is None:
        raise ConfigurationError(
            f"{path!r} is no class path{origin}; expected package.module:ClassName"
        )
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(_not_found(module_name, origin, error)) from error
    except _UNFIT as error:
        raise ConfigurationError(
            f"importing {module_name}{origin} failed: {_brief(error)}"
        ) from error
    if not hasattr(module, name):
        raise ConfigurationError(f"{module_name} has no {name}{origin}")
    found = getattr(module, name)
    if mistake := _mistake(found):
        raise ConfigurationError(f"{path}{origin} {mistake}")
    detector: type[Detector] = found
    return detector


def _not_found(module: str, origin: str, error: ModuleNotFoundError) -> str:
    missing = error.name or module
    if module == missing or module.startswith(f"{missing}."):
        return (
            f"there is no module {missing}{origin}; install its package into the environment that "
            "stream-detector runs in, or put its directory on PYTHONPATH"
        )
    return f"{module}{origin} needs the module {missing}, which is not installed"


def _mistake(found: Any) -> str | None:
    """Why an object cannot be used for a detector; None where it can."""
    if not isinstance(found, type) or not issubclass(found, Detector):
        return "is no subclass of stream_detector.detectors.base.Detector"
    if inspect.isabstract(found):
        return f"lacks {', '.join(sorted(found.__abstractmethods__))}"
    config = getattr(found, "Config", None)
    if not isinstance(config, type) or not issubclass(config, DetectorConfig):
        return "has no Config that is a subclass of stream_detector.detectors.base.DetectorConfig"
    return _mismatch(found, config)


def _mismatch(found: type[Detector], config: type[DetectorConfig]) -> str | None:
    """Describe what in a detector's declaration contradicts the rest of it."""
    fields = set(config.model_fields) - {"kind"}
    if "distribution" in fields:
        return f"cannot have a parameter 'distribution' in {config.__name__}: the name is taken"
    accepted = inspect.signature(found).parameters.values()
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted)
    unknown = sorted(fields - {parameter.name for parameter in accepted})
    if unknown and not anything:
        return (
            f"has a constructor without {', '.join(unknown)}, which {config.__name__} has; it is "
            "given the number of features, then every field but kind by name"
        )
    if unknown := sorted(set(found.search_space) - fields):
        return f"has {', '.join(unknown)} in search_space, which {config.__name__} lacks"
    return None


def named(detector: type[Detector], kind: str) -> type[DetectorConfig]:
    """The model of a detector's parameters, with this ``kind`` and no other."""
    config = detector.Config
    field: Any = (Literal[kind], Field(kind, description="Which detector."))
    made: Any = create_model(
        config.__name__,
        __base__=config,
        __module__=config.__module__,
        __doc__=config.__doc__,
        kind=field,
    )
    return cast("type[DetectorConfig]", made)


@contextmanager
def constructing(kind: str) -> Iterator[None]:
    """Make a ``ConfigurationError`` of what a constructor raises."""
    try:
        yield
    except _UNFIT as error:
        raise ConfigurationError(f"detector {kind} cannot be built: {_brief(error)}") from error


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error!s:.300}"
