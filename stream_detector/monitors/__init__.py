"""Monitors: what events do in buckets of time, by key or all together, and what of it is unusual.

Plain columns in, findings out. A monitor knows no topic, no clock and no model. Each kind is one
file with its settings and its class, and one line in the registry.
"""

from stream_detector.monitors.base import Finding, Monitor, MonitorConfig, MonitorEvents
from stream_detector.monitors.registry import AnyMonitor, build_monitor

__all__ = ["AnyMonitor", "Finding", "Monitor", "MonitorConfig", "MonitorEvents", "build_monitor"]
