"""What people are shown of monitors: bands as they are judged, and nothing changed by looking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from test_monitors import (
    EVENTS,
    HOUR,
    KEYS,
    START,
    WEEK,
    WEEKS,
    bits,
    counted,
    daily,
    found_by,
    monitor_of,
    planted,
    stream,
)

from stream_detector.monitors import Finding
from stream_detector.monitors.rate import RateMonitor


def closings(monitor: RateMonitor) -> list[tuple[int, list[Finding]]]:
    seen: list[tuple[int, list[Finding]]] = []

    def watch(end_ms: int, findings: Sequence[Finding]) -> None:
        seen.append((end_ms, list(findings)))

    monitor.watcher = watch
    return seen


def test_a_value_beyond_its_band_is_what_is_alerted_at_the_shortest_width() -> None:
    first = 2 * 24 + 9
    events = stream(KEYS, WEEKS * WEEK, planted("b", first, first + 3, 0.0))
    monitor = monitor_of(widths=[2])
    beyond: list[int] = []

    def watch(end_ms: int, findings: Sequence[Finding]) -> None:
        bands = monitor.bands(KEYS, 1)
        assert bands.ends_ms.tolist() == [end_ms]
        assert bands.width_ms == 2 * HOUR
        outside = (bands.actual < bands.low) | (bands.actual > bands.high)
        named = {key for key, out in zip(bands.keys, outside[:, 0], strict=True) if out}
        beyond.append(len(named))
        for finding in findings:
            assert finding.key in named

    monitor.watcher = watch
    assert found_by(monitor, events)
    # One alert an incident, and a value beyond the band as long as it lasts.
    assert 2 <= sum(beyond) <= 10


def test_bands_are_drawn_back_as_far_as_the_memory_reaches() -> None:
    monitor = monitor_of()
    found_by(monitor, stream(["a", "b"], 3 * WEEK, daily))
    bands = monitor.bands(["b", "nobody", "a"], 1000)
    assert bands.keys == ("b", "a")
    assert bands.actual.shape == (2, 119)
    assert np.diff(bands.ends_ms).tolist() == [HOUR] * 118
    assert (bands.low <= bands.expected).all()
    assert (bands.expected <= bands.high).all()
    day = bands.expected[0, -24:]
    assert day.max() > 20
    assert day.min() < 5
    assert monitor.figures().judged == 2


def test_while_it_learns_there_are_counts_and_no_band() -> None:
    monitor = monitor_of()
    found_by(monitor, stream(["a"], 30, daily))
    bands = monitor.bands(["a"], 48)
    assert np.isnan(bands.expected).all()
    assert np.isnan(bands.actual[0, :15]).all()
    assert (bands.actual[0, -15:] >= 0).all()
    assert monitor.figures().judged == 0


def test_before_anything_there_is_nothing_to_draw() -> None:
    monitor = monitor_of()
    assert monitor.heaviest(5) == []
    assert monitor.bands(["a"], 10).keys == ()
    monitor.take(counted(["a"], np.array([START]), np.array([START])))
    assert monitor.bands(["a"], 10).actual.shape == (1, 10)


def test_the_heaviest_keys_come_first() -> None:
    monitor = monitor_of()
    found_by(monitor, EVENTS)
    assert monitor.heaviest(1) == ["busy"]
    assert sorted(monitor.heaviest(99)) == sorted(KEYS)


def test_looking_changes_no_bit() -> None:
    looked_at, other = monitor_of(deviations=3.0), monitor_of(deviations=3.0)
    seen = closings(looked_at)
    half = len(EVENTS) // 2
    findings = found_by(looked_at, EVENTS[:half])
    before = bits(looked_at)
    looked_at.bands(KEYS, 500)
    looked_at.heaviest(3)
    looked_at.figures()
    assert bits(looked_at) == before
    findings += found_by(looked_at, EVENTS[half:])
    assert found_by(other, EVENTS) == findings
    assert bits(looked_at) == bits(other)
    assert [finding for _, some in seen for finding in some] == findings
    assert looked_at.figures().closed == len(seen)
