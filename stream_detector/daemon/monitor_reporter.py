"""Reports what monitors see to the metrics and to the status page."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

from stream_detector.daemon.shard import Shard
from stream_detector.monitors import Monitor
from stream_detector.monitors.bands import Bands
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.recent import Recent
from stream_detector.telemetry.status.watched import BUCKETS, HEAVIEST, SeenMonitor
from stream_detector.visible import shown

log = logging.getLogger(__name__)

ALL_TOGETHER = "all"
"""Stands in the label ``key`` of a monitor without one: an empty label is none."""

_LONGEST_LABEL = 100
_Increase = Callable[[Shard, str, int], int]


class MonitorReporter:
    """Looks at the monitors of the shards where a bucket has closed since the last look.

    State: for each shard and monitor what was looked at last, and which keys have metrics.

    Args:
        metrics: take the counts, and the bands of a few keys.
        recent: takes the bands of the page.
        increase: gives the growth of a running total since it was asked last.
        most_keys: keys of a monitor whose bands are metrics.
    """

    def __init__(
        self, metrics: Metrics, recent: Recent, increase: _Increase, most_keys: int
    ) -> None:
        self._metrics, self._recent, self._increase = metrics, recent, increase
        self._most_keys = most_keys
        self._looked: dict[tuple[int, str], tuple[int, list[str]]] = {}
        self._labels: dict[tuple[int, str], dict[str, str]] = {}

    def begin(self, shard: Shard) -> None:
        """Take a restored shard's totals as counted; its counters begin at zero."""
        for monitor in shard.pipeline.monitors.each:
            self._count(shard, monitor)
            self._left_out(shard, monitor)
            self._metrics.monitors.add(shard.number, monitor.config.name, 0, 0, 0, 0)
            self._metrics.monitors.add_alerts(shard.number, monitor.config.name, 0)

    def count_alerts(self, shard: Shard, alerts: Mapping[str, int]) -> None:
        """Count alerts, by the name of the monitor."""
        for name, count in alerts.items():
            self._metrics.monitors.add_alerts(shard.number, name, count)

    def observe(self, shard: Shard) -> None:
        """Set what a shard's monitors hold, every few seconds."""
        number = shard.number
        for monitor in shard.pipeline.monitors.each:
            name, figures = monitor.config.name, monitor.figures()
            self._metrics.monitors.add(number, name, *self._count(shard, monitor))
            self._metrics.monitors.set_keys(number, name, figures.keys, figures.judged)
            self._say_left_out(shard, monitor)
            wanted = self._recent.watched.wanted(name)
            # Monitors of single events close nothing; what is shown of them are their keys.
            mark = (figures.closed or figures.keys, wanted)
            known = {key: said for key in wanted if (said := monitor.known_of(key))}
            if self._looked.get((number, name)) == mark and not known:
                continue
            self._looked[number, name] = mark
            heaviest = monitor.heaviest(max(HEAVIEST, 2 * self._most_keys))
            keys = list(dict.fromkeys([*heaviest[:HEAVIEST], *wanted]))
            self._recent.watched.put(
                number,
                name,
                SeenMonitor(
                    monitor.config.kind,
                    monitor.config.key,
                    figures,
                    heaviest[:HEAVIEST],
                    monitor.bands(keys, BUCKETS),
                    known,
                ),
            )
            self._set_bands(number, monitor, heaviest)

    def forget(self, number: int) -> None:
        """A shard was given up."""
        self._looked = {at: value for at, value in self._looked.items() if at[0] != number}
        self._labels = {at: value for at, value in self._labels.items() if at[0] != number}

    def _count(self, shard: Shard, monitor: Monitor) -> tuple[int, int, int, int]:
        name, figures = monitor.config.name, monitor.figures()
        return (
            self._increase(shard, f"monitor {name} closed", figures.closed),
            self._increase(shard, f"monitor {name} evicted", figures.evicted),
            self._increase(shard, f"monitor {name} without key", figures.without_key),
            self._increase(shard, f"monitor {name} muted", figures.muted),
        )

    def _left_out(self, shard: Shard, monitor: Monitor) -> tuple[int, int]:
        name = monitor.config.name
        return (
            self._increase(shard, f"uncounted {name}", monitor.uncounted),
            self._increase(shard, f"skipped {name}", monitor.skipped),
        )

    def _say_left_out(self, shard: Shard, monitor: Monitor) -> None:
        """Say what a monitor has left out since the last look."""
        uncounted, skipped = self._left_out(shard, monitor)
        if uncounted or skipped:
            log.warning(
                "shard %d, monitor %s: %d events count no more, since the watermark was set back, "
                "and %d buckets of a very long silence were passed over",
                shard.number,
                monitor.config.name,
                uncounted,
                skipped,
                extra=fields("monitor-left-out", stage="decide", shard=shard.number),
            )

    def _set_bands(self, number: int, monitor: Monitor, heaviest: list[str]) -> None:
        """Set the metrics of the heaviest keys, of as few and as steady ones as can be.

        A key that has them keeps them until it is not among twice as many, so that two that are
        about as heavy do not make new series by turns.
        """
        name = monitor.config.name
        most = self._most_keys if monitor.config.key is not None else 1
        before = self._labels.get((number, name), {})
        steady = [key for key in before if key in heaviest[: 2 * most]][:most]
        kept = [*steady, *(key for key in heaviest if key not in steady)][:most]
        bands = monitor.bands(kept, 1) if kept else None
        labels: dict[str, str] = {}
        for row, key in enumerate(bands.keys if bands is not None else ()):
            assert bands is not None
            if band := _last(bands, row):
                labels[key] = shown(key, _LONGEST_LABEL) if monitor.config.key else ALL_TOGETHER
                self._metrics.monitors.set_band(number, name, labels[key], band)
        gone = set(before.values()) - set(labels.values())
        if gone:
            self._metrics.monitors.forget_keys(number, name, gone)
        self._labels[number, name] = labels


def _last(bands: Bands, row: int) -> dict[str, float]:
    """The last value of a key and its band, as far as they are known."""
    columns = {
        "actual": bands.actual,
        "expected": bands.expected,
        "low": bands.low,
        "high": bands.high,
    }
    if not bands.actual.shape[1]:
        return {}
    band = {name: float(column[row, -1]) for name, column in columns.items()}
    return {name: value for name, value in band.items() if math.isfinite(value)}
