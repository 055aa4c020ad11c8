"""Metrics of `stream-detector forward`, by target: as many as the configuration names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from stream_detector.telemetry.families import PREFIX, RequestRefusal, versions

_TARGET = ("target",)
_COUNTERS = {
    "forward_sent_total": ("Messages that a target has taken.", _TARGET),
    "forward_filtered_total": ("Messages that a target is not to get.", _TARGET),
    "forward_repeated_total": ("Requests that remind a target of what is open.", _TARGET),
    "forward_failures_total": ("Attempts in vain.", (*_TARGET, "reason")),
    "forward_retries_total": ("Messages put off until later.", _TARGET),
    "forward_dead_letters_total": ("Messages given up, to the dead letters.", _TARGET),
    "forward_lost_records_total": ("Offsets deleted before they were read.", _TARGET),
    "forward_evicted_total": ("Open incidents forgotten for want of room.", _TARGET),
    "forward_requests_refused_total": ("HTTP requests that were not followed.", ("reason",)),
}
_GAUGES = {
    "forward_waiting": ("Messages held in memory.", _TARGET),
    "forward_lag_records": ("Records of the topics not yet delivered.", _TARGET),
    "forward_oldest_seconds": ("Age of the oldest message that waits.", _TARGET),
    "forward_failing_seconds": ("How long nothing has got through; 0: it does.", _TARGET),
    "forward_open_incidents": ("Open incidents that a target is reminded of.", _TARGET),
    "forward_ready": ("1 when /readyz answers 200.", ()),
    "forward_build_info": (
        "Versions.",
        ("version", "python", "kafka_python", "scikit_learn", "river", "numpy"),
    ),
}


class ForwardMetrics:
    """The values of all metrics; thread-safe.

    State: a number for each target, and for each reason of a failure.
    """

    def __init__(self, targets: Iterable[str], reasons: Iterable[str]) -> None:
        """All label sets are known beforehand: a counter begins at zero."""
        self._lock = threading.Lock()
        self._is_ready: Callable[[], bool] = lambda: False
        names, why = list(targets), list(reasons)
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        for name, (_, labels) in {**_COUNTERS, **_GAUGES}.items():
            if labels == _TARGET:
                self._values[name] = {(target,): 0.0 for target in names}
            elif labels[:1] == _TARGET:
                self._values[name] = {(target, one): 0.0 for target in names for one in why}
            else:
                self._values[name] = {}
        self._values["forward_build_info"][versions()] = 1.0
        self.registry = CollectorRegistry()
        self.registry.register(self)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    @property
    def http(self) -> ForwardMetrics:
        """What the server counts refusals by."""
        return self

    def add_refused(self, reason: RequestRefusal) -> None:
        """Count a request to this process that was not followed."""
        self.add("forward_requests_refused_total", reason)

    def add(self, name: str, *labels: str, count: int = 1) -> None:
        """Raise a counter."""
        with self._lock:
            values = self._values[name]
            values[labels] = values.get(labels, 0.0) + count

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[name][labels] = value

    def value(self, name: str, *labels: str) -> float:
        """Return a value; 0 where there is none."""
        with self._lock:
            return self._values[name].get(labels, 0.0)

    def watch_ready(self, is_ready: Callable[[], bool]) -> None:
        """Ask at every scrape."""
        self._is_ready = is_ready

    def describe(self) -> list[Metric]:
        """All families without samples."""
        return [_empty(name) for name in self._values]

    def collect(self) -> Iterator[Metric]:
        """All families with the values of one moment."""
        self.set("forward_ready", float(self._is_ready()))
        with self._lock:
            values = {name: dict(by_labels) for name, by_labels in self._values.items()}
        for name, by_labels in values.items():
            family = _empty(name)
            for labels, value in by_labels.items():
                family.add_metric(list(labels), value)
            yield family


def _empty(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    made = CounterMetricFamily if name in _COUNTERS else GaugeMetricFamily
    help_, labels = {**_COUNTERS, **_GAUGES}[name]
    return made(PREFIX + name, help_, labels=labels)
