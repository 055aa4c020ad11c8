"""Number of events in buckets of time, by key, against what is usual for the time of the week."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stream_detector.events import Float64
from stream_detector.monitors.bucketed import BucketMonitor
from stream_detector.monitors.buckets import BucketMonitorConfig
from stream_detector.monitors.deviations import CLIP
from stream_detector.monitors.scales import CountScale
from stream_detector.monitors.taken import Asked


class RateMonitorConfig(BucketMonitorConfig):
    """Watch on a rate: events a bucket of time, against what is usual at that time of the week."""

    kind: Literal["rate"] = Field("rate", description="What is watched: the number of events.")


class RateMonitor(BucketMonitor):
    """Counts events of each key in buckets, and finds those that are too many or too few.

    The expected number of a bucket is the key's own running mean of the slot of the season. For
    each width, the sum S over that many buckets is held against the expected sum E, times the pace
    of all other keys in the same buckets (their S over their E): z = 2 (sqrt(S + 3/8) -
    sqrt(E + 3/8)) / sqrt(D), the root that makes a count's variance constant (Anscombe 1948) over
    the key's own dispersion D at that width, which may be far below that of chance, as in a
    timetable, or above it. Where the others are restless, z counts less: it is divided by the root
    of the running mean of their z squared, where that is above 1. The largest |z| of a wanted side
    over all widths is the score.

    State: that of every monitor of buckets.
    """

    Config = RateMonitorConfig

    def __init__(self, config: RateMonitorConfig) -> None:
        scale = CountScale("events", population=config.population)
        super().__init__(config, scale, Asked(config.key, config.over))

    def _actual(self) -> Float64:
        return self._history.counts

    def _reach(self, expected: Float64) -> Float64:
        reach: Float64 = CLIP * np.sqrt(expected + 0.5)
        return reach
