"""One shard's mind: composes features, scaling, detector, threshold and alerts."""

from stream_detector.pipeline.challenge import Challenge, promoted
from stream_detector.pipeline.core import Pipeline
from stream_detector.pipeline.outcome import Outcome

__all__ = ["Challenge", "Outcome", "Pipeline", "promoted"]
