"""Configurations that states were made under, where the only change since is a promotion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stream_detector.config.derived.fingerprint import models_of, state_shape, with_defaults
from stream_detector.config.models.config import ChallengerConfig, Config
from stream_detector.detectors.registry import read_identity


def before_promotion(config: Config, shape: Mapping[str, Any]) -> Config | None:
    """``config`` with the roles as they were when ``shape`` was written.

    Then its detector was the challenger, and the one named in ``shape`` the champion. None where
    something else differs too.
    """
    try:
        champion = read_identity(shape.get("detector"), models_of(config))
    except ValidationError:
        return None
    roles = {"detector": champion, "challenger": ChallengerConfig(detector=config.detector)}
    former = config.model_copy(update=roles)
    return former if state_shape(former) == with_defaults(shape, config) else None


def champion_before(config: Config, shape: Mapping[str, Any], challenger: Any) -> Config | None:
    """``before_promotion`` for a state whose challenger, as stored, is the detector of now."""
    named = challenger.get("detector") if isinstance(challenger, dict) else None
    if named != config.detector.model_dump(mode="json"):
        return None
    return before_promotion(config, shape)
