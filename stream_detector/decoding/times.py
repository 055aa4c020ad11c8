"""Event times out of what a field holds: see ``stream_detector.cells.times``."""

from stream_detector.cells.times import LATEST_TIME_MS, read_time, read_times

__all__ = ["LATEST_TIME_MS", "read_time", "read_times"]
