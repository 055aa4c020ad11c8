"""Counts and bands of the keys that matter, taken as a back-test's buckets close."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stream_detector.events import Float64, Int64
from stream_detector.monitors import Finding, Monitor
from stream_detector.monitors.bands import Bands

_HEAVIEST = 3
_MOST_KEYS = 40
_LOOKS_AGAIN_AFTER = 24
_LONGEST = 50_000
_EARLIER = 2000


@dataclass(slots=True)
class KeySeries:
    """A key's counts and bands, oldest first; the last 50,000.

    Attributes:
        width_ms: stretch of event time that each value is about.
        feature: what was counted.
    """

    width_ms: int
    feature: str
    _ends: array[int] = field(default_factory=lambda: array("q"))
    _values: tuple[array[float], ...] = field(
        default_factory=lambda: tuple(array("d") for _ in range(4))
    )

    def add(self, bands: Bands, row: int) -> None:
        """Add values later than those known."""
        later = slice(0, None)
        if self._ends:
            later = slice(int(np.searchsorted(bands.ends_ms, self._ends[-1], "right")), None)
        self._ends.extend(bands.ends_ms[later].tolist())
        columns = (bands.actual, bands.expected, bands.low, bands.high)
        for known, column in zip(self._values, columns, strict=True):
            known.extend(column[row, later].tolist())
        if len(self._ends) > _LONGEST + _EARLIER:
            del self._ends[:_EARLIER]
            for values in self._values:
                del values[:_EARLIER]

    @property
    def ends_ms(self) -> Int64:
        """(buckets,) end of each."""
        return np.array(self._ends, dtype=np.int64)

    @property
    def columns(self) -> tuple[Float64, Float64, Float64, Float64]:
        """Actual, expected, low and high, each (buckets,)."""
        actual, expected, low, high = (np.array(each, np.float64) for each in self._values)
        return actual, expected, low, high


class MonitorSamples:
    """Watches monitors: keeps the series of the heaviest keys and of those with alerts.

    State: at most 40 keys a monitor, each with 50,000 buckets.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.series: dict[str, dict[str, KeySeries]] = {}
        for monitor in monitors:
            self.series[monitor.config.name] = {}
            monitor.watcher = partial(self._closed, monitor)

    def _closed(self, monitor: Monitor, _end_ms: int, findings: Sequence[Finding]) -> None:
        known = self.series[monitor.config.name]
        wanted = [finding.key for finding in findings]
        if monitor.closed % _LOOKS_AGAIN_AFTER == 1 and len(known) < _HEAVIEST:
            wanted += monitor.heaviest(_HEAVIEST)
        fresh = [key for key in dict.fromkeys(wanted) if key not in known]
        fresh = fresh[: _MOST_KEYS - len(known)]
        # What is there already is as it was judged; what came before, as far as it is remembered.
        self._add(known, monitor.bands(list(known), 1))
        if fresh:
            self._add(known, monitor.bands(fresh, _EARLIER))

    @staticmethod
    def _add(known: dict[str, KeySeries], bands: Bands | None) -> None:
        for row, key in enumerate(bands.keys if bands is not None else ()):
            assert bands is not None
            series = known.setdefault(key, KeySeries(bands.width_ms, bands.feature))
            series.add(bands, row)
