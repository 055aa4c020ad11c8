"""The configuration: typed models, loading with lines, schema, reference and fingerprint."""

from stream_detector.config.diagnostics import Diagnostic, InvalidConfigurationError
from stream_detector.config.fields import FieldPlan
from stream_detector.config.fingerprint import (
    describe_difference,
    state_differences,
    state_fingerprint,
    state_shape,
)
from stream_detector.config.kafka_settings import KafkaSettings
from stream_detector.config.load import LoadedConfig, load, load_config, parse
from stream_detector.config.models import Config
from stream_detector.config.schema import json_schema, json_schema_text

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
