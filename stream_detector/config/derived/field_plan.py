"""Plan of the event's fields that the pipeline reads, derived once from the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from stream_detector.config.models.config import (
    BooleanFeatureConfig,
    CategoricalFeatureConfig,
    Config,
    DifferenceFeatureConfig,
    NumericFeatureConfig,
    RatioFeatureConfig,
)


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """The columns that decoding makes and features read.

    Attributes:
        numeric: fields read as numbers, in the column order of ``EventBatch.numeric``.
        boolean: those of ``numeric`` that are true/false, read as 1 and 0.
        text: fields read as text, in the order of ``EventBatch.text``.
        required: fields whose absence makes a record bad.
        ranges: allowed [low, high] of numeric fields that have one.
    """

    numeric: tuple[str, ...]
    boolean: frozenset[str]
    text: tuple[str, ...]
    required: frozenset[str]
    ranges: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, config: Config) -> FieldPlan:  # noqa: C901, PLR0912 - flat, a case for each kind
        """The plan of a configuration. A field may serve several features and windows."""
        numeric: dict[str, None] = {}
        boolean: set[str] = set()
        text: dict[str, None] = {}
        required: set[str] = set()
        ranges: dict[str, tuple[float, float]] = {}
        for feature in config.features:
            fields: tuple[str, ...] = ()
            match feature:
                case NumericFeatureConfig():
                    fields = (feature.numeric,)
                    if feature.range is not None:
                        ranges[feature.numeric] = feature.range
                case BooleanFeatureConfig():
                    fields = (feature.boolean,)
                    boolean.add(feature.boolean)
                case DifferenceFeatureConfig():
                    fields = feature.difference
                case RatioFeatureConfig():
                    fields = feature.ratio
                case CategoricalFeatureConfig():
                    text[feature.categorical] = None
                    if feature.missing == "reject":
                        required.add(feature.categorical)
                    continue
                case _:
                    continue
            numeric.update(dict.fromkeys(fields))
            if feature.missing == "reject":
                required.update(fields)
        for window in config.windows:
            text[window.key] = None
            required.add(window.key)
            if window.value is not None:
                numeric[window.value] = None
                required.add(window.value)
            if window.distinct_of is not None:
                text[window.distinct_of] = None
        for risk in config.labels.risk if config.labels is not None else []:
            text[risk.key] = None
            required.add(risk.key)
        for monitor in config.monitors:
            text.update(dict.fromkeys(monitor.text_fields))
            numeric.update(dict.fromkeys(monitor.number_fields))
        if config.suppression is not None:
            text[config.suppression.key] = None
        if config.incidents is not None:
            text.update(dict.fromkeys(config.incidents.fields or ()))
        if config.event.id is not None:
            required.add(config.event.id)
        return cls(tuple(numeric), frozenset(boolean), tuple(text), frozenset(required), ranges)
