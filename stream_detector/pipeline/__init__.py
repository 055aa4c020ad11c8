"""Pipeline of one shard: features, scaling, detector, threshold and alerts."""

from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.core import PipelineCore
from stream_detector.pipeline.figures import PipelineFigures
from stream_detector.pipeline.observer import BeforeScoring, Observer
from stream_detector.pipeline.shadow_model import ShadowModel, promoted

__all__ = [
    "BatchResult",
    "BeforeScoring",
    "Observer",
    "PipelineCore",
    "PipelineFigures",
    "ShadowModel",
    "promoted",
]
