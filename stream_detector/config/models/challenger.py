"""The section `challenger`: a second model in the shadow of the one that alerts."""

from __future__ import annotations

from pydantic import Field

from stream_detector.config.models.base import Model
from stream_detector.config.models.detector import AnyDetector


class ChallengerConfig(Model):
    """Scores and learns the same events and raises nothing; `promote` gives it the word."""

    detector: AnyDetector = Field(
        description="The model, as in the section `detector`. Features, labels and threshold are "
        "those of the champion."
    )
