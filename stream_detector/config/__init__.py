"""The configuration: typed models, loading with lines, schema, reference and fingerprint."""

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.fingerprint import (
    describe_difference,
    state_differences,
    state_fingerprint,
    state_shape,
)
from stream_detector.config.derived.schema import json_schema, json_schema_text
from stream_detector.config.loading.diagnostics import Diagnostic, InvalidConfigurationError
from stream_detector.config.loading.kafka_settings import KafkaSettings
from stream_detector.config.loading.load import LoadedConfig, load, load_config, parse
from stream_detector.config.models.config import Config

__all__ = [
    "Config",
    "Diagnostic",
    "FieldPlan",
    "InvalidConfigurationError",
    "KafkaSettings",
    "LoadedConfig",
    "describe_difference",
    "json_schema",
    "json_schema_text",
    "load",
    "load_config",
    "parse",
    "state_differences",
    "state_fingerprint",
    "state_shape",
]
