"""The section `detector`: whatever model of parameters the detector of its ``kind`` declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from stream_detector.detectors import registry
from stream_detector.detectors.base import DetectorConfig
from stream_detector.detectors.foreign import looks_like_class_path
from stream_detector.errors import ConfigurationError

PLACEHOLDER = "x-detector"
"""Stands in the JSON Schema of a model where ``config.schema`` puts the detectors."""


def _read(value: Any, info: ValidationInfo) -> DetectorConfig:
    """Read one detector's parameters; the detector that ``kind`` names is imported."""
    if isinstance(value, DetectorConfig):
        return value
    kind = value.get("kind") if isinstance(value, Mapping) else None
    others = []
    if isinstance(kind, str) and _may_exist(kind):
        try:
            others.append(registry.find_detector(kind).config)
        except ConfigurationError as error:
            raise PydanticCustomError("detector_kind", "{reason}", {"reason": str(error)}) from None
    reader = registry.adapter(*others)
    if info.mode == "json":  # and strict: see config.validation
        return reader.validate_json(json.dumps(value), strict=True)
    return reader.validate_python(value)


def _may_exist(kind: str) -> bool:
    return kind in registry.BUILT_IN or looks_like_class_path(kind) or kind in registry.kinds()


class _ByKind:
    """Annotation of a field that takes the parameters of any detector, told by ``kind``."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_read)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {PLACEHOLDER: True}


AnyDetector: TypeAlias = Annotated[DetectorConfig, _ByKind]
