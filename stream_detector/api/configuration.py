"""Configurations from files, from dicts and from objects; detectors by name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stream_detector.config import Config, Diagnostic, InvalidConfigurationError, parse
from stream_detector.config import load_config as load_file
from stream_detector.detectors.base import Detector, DetectorConfig
from stream_detector.detectors.registry import build_detector as build
from stream_detector.detectors.registry import find_detector
from stream_detector.errors import ConfigurationError

DICT = "<dict>"
"""What messages call a configuration that is no file."""


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration in a YAML file, or in a dict of what such a file holds.

    Args:
        source: the file's path, or a dict.
        environment: variables for ``${NAME}``; None: those of the process.
        overrides: values that stand over the source's, by dotted path: ``{"detector.seed": 1}``.

    Raises:
        ConfigurationError: it has mistakes; the message has a line for each.
    """
    variables = os.environ if environment is None else environment
    changes = overrides or {}
    if isinstance(source, Mapping):
        return parse(_document(source), DICT, variables, changes, lines=False).config
    if isinstance(source, str) and "\n" in source:
        raise ConfigurationError(
            "the configuration is given as text; give the path of a file, or a dict: "
            "load_config(yaml.safe_load(text))"
        )
    if not isinstance(source, str | os.PathLike):
        raise ConfigurationError(
            f"a configuration is a path or a dict, not {type(source).__name__}"
        )
    return load_file(os.fspath(source), variables, changes)


def configuration_of(config: Config | Mapping[str, Any] | str | os.PathLike[str]) -> Config:
    """A configuration as it is, or loaded. Raises ``ConfigurationError``."""
    return config if isinstance(config, Config) else load_config(config)


def build_detector(detector: DetectorConfig | str, features: int, **parameters: Any) -> Detector:
    """A detector with nothing learnt.

    Args:
        detector: its kind, as the configuration names it, or its parameters.
        features: columns of the rows that it will be given.
        parameters: what is not to be as by default, where ``detector`` is a kind.

    Raises:
        ConfigurationError: no such detector, or parameters that it does not take.
    """
    if isinstance(detector, str):
        try:
            detector = find_detector(detector).config.model_validate(
                {"kind": detector, **parameters}
            )
        except ValidationError as error:
            raise ConfigurationError(_mistakes(str(detector), error)) from error
    elif parameters:
        raise ConfigurationError(
            f"parameters are given twice: {', '.join(parameters)} beside a "
            f"{type(detector).__name__}"
        )
    return build(detector, features)


def _mistakes(kind: str, error: ValidationError) -> str:
    return "\n".join(
        f"{kind}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
    )


def _document(source: Mapping[str, Any]) -> str:
    """A dict as text that the loader reads. Raises ``ConfigurationError`` naming the value."""
    return json.dumps(_plain(source, ()))


def _plain(value: Any, path: tuple[str | int, ...]) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _refused(path, f"the key {key!r:.80} is no text")
        return {key: _plain(inner, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, (*path, index)) for index, inner in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        return _plain(value.item(), path)  # a scalar of NumPy
    if value is None or isinstance(value, str | int | float):
        return value
    raise _refused(path, f"{type(value).__name__} is no value of a configuration")


def _refused(path: tuple[str | int, ...], message: str) -> ConfigurationError:
    # The value itself is not shown: it may be a secret.
    return InvalidConfigurationError([Diagnostic(DICT, None, None, path, message)])
