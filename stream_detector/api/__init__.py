"""The library: what ``from stream_detector import ...`` gives, but for errors and base classes."""

from stream_detector.api.backtests import BacktestResult, ComparisonResult, backtest
from stream_detector.api.configuration import build_detector, load_config
from stream_detector.api.frames import FrameError, FrameWarning
from stream_detector.api.pipeline import Pipeline
from stream_detector.api.result import Rejected, RejectedEventsWarning, Result

__all__ = [
    "BacktestResult",
    "ComparisonResult",
    "FrameError",
    "FrameWarning",
    "Pipeline",
    "Rejected",
    "RejectedEventsWarning",
    "Result",
    "backtest",
    "build_detector",
    "load_config",
]
