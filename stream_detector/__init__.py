"""Online anomaly detection on event streams: Kafka in, explained alerts out.

>>> from stream_detector import Pipeline
>>> pipeline = Pipeline({"name": "example", "features": [{"numeric": "amount"}]})
>>> pipeline.process([{"amount": 12.5}, {"amount": 90000}])
2 events, 2 scored, 0 raised, 0 alerts

Names are imported when they are first asked for: ``import stream_detector`` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from stream_detector.api import BacktestResult as BacktestResult
    from stream_detector.api import FrameError as FrameError
    from stream_detector.api import Pipeline as Pipeline
    from stream_detector.api import RejectedEventsWarning as RejectedEventsWarning
    from stream_detector.api import Result as Result
    from stream_detector.api import backtest as backtest
    from stream_detector.api import build_detector as build_detector
    from stream_detector.api import load_config as load_config
    from stream_detector.config import Config as Config
    from stream_detector.detectors.base import Detector as Detector
    from stream_detector.errors import ConfigurationError as ConfigurationError
    from stream_detector.errors import ConnectorError as ConnectorError
    from stream_detector.errors import StateError as StateError
    from stream_detector.errors import StateMismatchError as StateMismatchError
    from stream_detector.errors import StreamDetectorError as StreamDetectorError

_HOMES = {
    **dict.fromkeys(
        (
            "BacktestResult",
            "FrameError",
            "Pipeline",
            "RejectedEventsWarning",
            "Result",
            "backtest",
            "build_detector",
            "load_config",
        ),
        "api",
    ),
    "Config": "config",
    "Detector": "detectors.base",
    **dict.fromkeys(
        (
            "ConfigurationError",
            "ConnectorError",
            "StateError",
            "StateMismatchError",
            "StreamDetectorError",
        ),
        "errors",
    ),
}
"""Module of each name."""

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - all of them are text


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # so that this is not asked again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
