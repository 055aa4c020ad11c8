"""A configuration with the label that a back-test is given, over its own."""

from __future__ import annotations

from typing import Any

from stream_detector.config import Config, FieldPlan
from stream_detector.config.models.config import LabelsConfig
from stream_detector.errors import ConfigurationError
from stream_detector.units import parse_duration


def with_label(config: Config, column: str | None, delay: str | None) -> Config:
    """The configuration with ``column`` and ``delay`` over those of its section `labels`.

    Raises ``ConfigurationError`` where the label is a feature, or the delay is none.
    """
    changes: dict[str, Any] = {}
    if column is not None:
        changes["field"] = column
    if delay is not None:
        try:
            changes["delay"] = parse_duration(delay)
        except ValueError as error:
            raise ConfigurationError(f"--label-delay {delay}: {error}") from error
    plan = FieldPlan.of(config)
    if column is not None and column in {*plan.numeric, *plan.text}:
        raise ConfigurationError(f"--label {column}: the configuration uses it as a feature")
    if config.labels is not None:
        labels = config.labels.model_copy(update=changes)
    elif column is not None:
        labels = LabelsConfig(field=column, delay=delay or "0s")
    else:
        return config
    return config.model_copy(update={"labels": labels})
