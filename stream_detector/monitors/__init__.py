"""Monitors: what events do in buckets of time, by key or all together, and what of it is unusual.

Floor 1: plain columns in, findings out. A monitor knows no topic, no clock and no model.
"""

from stream_detector.monitors.base import Finding
from stream_detector.monitors.rate import RateMonitor

__all__ = ["Finding", "RateMonitor"]
