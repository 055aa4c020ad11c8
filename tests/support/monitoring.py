"""Monitors of single events, fed with columns: what they find, whatever the cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from stream_detector import Pipeline, load_config
from stream_detector.errors import StateMismatchError
from stream_detector.monitors import Finding, Monitor, MonitorConfig, MonitorEvents, build_monitor
from stream_detector.snapshots.format import Snapshot, decode, encode

START = 1_704_067_200_000  # 2024-01-01, a Monday
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

Columns = Mapping[str, Sequence[Any]]
"""`t` in milliseconds, and fields: numbers where all are floats, else text."""


def events_of(columns: Columns, start: int, stop: int) -> MonitorEvents:
    times = np.array(columns["t"], dtype=np.int64)
    marks = np.maximum.accumulate(times)[start:stop]
    fields = {name: values[start:stop] for name, values in columns.items() if name != "t"}
    numeric = {
        name: np.array(values, dtype=float)
        for name, values in fields.items()
        if all(isinstance(value, float) for value in columns[name])
    }
    text = {name: list(values) for name, values in fields.items() if name not in numeric}
    return MonitorEvents(times[start:stop], marks, text=text, numbers=numeric)


def feed(
    monitor: Monitor,
    columns: Columns,
    cuts: Sequence[int] = (997,),
    first: int = 0,
    last: int | None = None,
) -> list[tuple[int, Any]]:
    """The row and the finding of everything found."""
    found: list[tuple[int, Finding]] = []
    end = len(columns["t"]) if last is None else last
    start, turn = first, 0
    while start < end:
        stop = min(start + cuts[turn % len(cuts)], end)
        for row, findings in monitor.take(events_of(columns, start, stop)):
            found += [(start + row, finding) for finding in findings]
        start, turn = stop, turn + 1
    return found


def bits(monitor: Monitor) -> bytes:
    return bytes(encode(Snapshot({}, monitor.state())))


def check_cuts(config: MonitorConfig, columns: Columns) -> list[tuple[int, Any]]:
    """No cut of a stream changes a bit, a restored monitor goes on with the same; what is found."""
    whole = build_monitor(config)
    found = feed(whole, columns, [len(columns["t"])])
    for cuts in ([1, 7, 3000, 2048], [2049], [64]):
        other = build_monitor(config)
        assert feed(other, columns, cuts) == found
        assert bits(other) == bits(whole)
    half = len(columns["t"]) * 5 // 9
    first = build_monitor(config)
    before = feed(first, columns, last=half)
    second = build_monitor(config)
    second.restore(decode(encode(Snapshot({}, first.state()))).state, max(columns["t"][:half]))
    assert before + feed(second, columns, first=half) == found
    assert bits(second) == bits(whole)
    return found


def check_refused(monitor: Monitor, path: str, value: Any, mark_ms: int) -> None:
    """A state with another value at ``path`` (``a.b``) is refused."""
    state: Any = monitor.state()
    *parents, name = path.split(".")
    part = state
    for parent in parents:
        part = part[parent]
    assert name in part
    part[name] = value(part[name]) if callable(value) else value
    with pytest.raises(StateMismatchError):
        build_monitor(monitor.config).restore(state, mark_ms)


def settings_of(*monitors: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with monitors of events that have a time `t` and a key `k`."""
    return {
        "name": "shop",
        "event": {"time": {"field": "t", "format": "unix_ms"}},
        "features": [{"categorical": "k", "encoding": "rarity"}],
        "detector": {"kind": "half_space_forest", "trees": 2, "depth": 2},
        "threshold": {"budget": "1 %"},
        "monitors": list(monitors),
    }


def pipeline_of(monitor: Mapping[str, Any]) -> Pipeline:
    return Pipeline(load_config(settings_of({"name": "m", "key": "k", **monitor})))


def alerts_of(pipeline: Pipeline, columns: Columns, size: int) -> list[dict[str, Any]]:
    """Alerts of the monitor, as they are sent."""
    names = list(columns)
    records = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [
        {name: value for name, value in alert.items() if name != "row"}
        for start in range(0, len(records), size)
        for alert in pipeline.process(records[start : start + size]).alerts
        if "kind" in alert
    ]
