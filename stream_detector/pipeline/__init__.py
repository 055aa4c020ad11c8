"""One shard's mind: composes features, scaling, detector, threshold and alerts."""

from stream_detector.pipeline.core import Outcome, Pipeline

__all__ = ["Outcome", "Pipeline"]
