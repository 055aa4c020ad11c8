"""From a YAML file, the environment and flags to a ``Config``, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from stream_detector.config.loading.calendars import read_calendars
from stream_detector.config.loading.cross_checks import check_document
from stream_detector.config.loading.diagnostics import Diagnostic, InvalidConfigurationError, Path
from stream_detector.config.loading.document import Document, apply_overrides, read_document
from stream_detector.config.loading.kafka_settings import KafkaSettings, check_kafka
from stream_detector.config.loading.old_names import read_old_names
from stream_detector.config.loading.validation import validate
from stream_detector.config.models.config import Config

MAX_FILE_BYTES = 2**19
"""A thousand features with a comment each have less than half of it."""

_NO_OVERRIDES: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and the places of its parts, for mistakes that only later steps can see.

    Attributes:
        config: the configuration.
        notes: what is no mistake and should be known, such as the old name of a setting.
    """

    config: Config
    _document: Document = field(repr=False)
    notes: tuple[str, ...] = ()

    def invalid(self, path: Path, message: str) -> InvalidConfigurationError:
        """An error that points at ``path``, for example ``("detector", "model")``.

        ``message`` must hold nothing that may be secret.
        """
        place = self._document.place(path)
        diagnostic = Diagnostic(place.source, place.line, place.column, path, message)
        return InvalidConfigurationError([diagnostic])


def load_config(
    path: str | FilePath,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] = _NO_OVERRIDES,
    kafka_settings: KafkaSettings | None = None,
) -> Config:
    """The configuration in the file ``path``.

    Args:
        path: a YAML file.
        environment: variables for ``${NAME}``.
        overrides: values of ``--set`` by dotted path; text is read as YAML.
        kafka_settings: names that ``kafka.consumer`` and ``kafka.producer`` may hold; None: only
            the refused ones are found.

    Raises:
        InvalidConfigurationError: a ``ConfigurationError`` that lists every mistake.
    """
    return load(path, environment, overrides, kafka_settings).config


def load(
    path: str | FilePath,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] = _NO_OVERRIDES,
    kafka_settings: KafkaSettings | None = None,
) -> LoadedConfig:
    """As ``load_config``, with the places of all parts."""
    text = _read(path)
    if isinstance(text, Diagnostic):
        raise InvalidConfigurationError([text])
    return parse(text, str(path), environment, overrides, kafka_settings)


def parse(
    text: str,
    source: str,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] = _NO_OVERRIDES,
    kafka_settings: KafkaSettings | None = None,
    *,
    lines: bool = True,
) -> LoadedConfig:
    """As ``load``, out of ``text``.

    ``source`` is what messages call it; ``lines``: whether it has lines that a reader can go to.
    """
    document = read_document(text, source, environment, lines=lines)
    if () not in document.unknown:
        apply_overrides(document, overrides, environment)
        if document.data is None:
            document.report((), "the file is empty")
            document.unknown.add(())
    notes = read_old_names(document)
    check_document(document)
    check_kafka(document, kafka_settings)
    config = validate(document)
    if config is not None and not document.diagnostics:
        read_calendars(document, config)
    if config is None or document.diagnostics:
        raise InvalidConfigurationError(document.diagnostics)
    return LoadedConfig(config, document, tuple(notes))


def _read(path: str | FilePath) -> str | Diagnostic:
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        # `strerror` alone: the full text repeats the path.
        message = f"cannot be read: {error.strerror or 'unknown error'}"
        return Diagnostic(str(path), None, None, (), message)
    except ValueError:
        return Diagnostic(repr(str(path)), None, None, (), "cannot be the name of a file")
    if len(content) > MAX_FILE_BYTES:
        message = f"has more than {MAX_FILE_BYTES} bytes: this is no configuration"
        return Diagnostic(str(path), None, None, (), message)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        return Diagnostic(str(path), line, column, (), "this is not UTF-8 text")
