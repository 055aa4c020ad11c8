"""One shard's mind: composes features, scaling, detector, threshold and alerts."""

from stream_detector.pipeline.core import Pipeline
from stream_detector.pipeline.outcome import Outcome

__all__ = ["Outcome", "Pipeline"]
