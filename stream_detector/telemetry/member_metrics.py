"""Metrics of the champion's members."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from stream_detector.telemetry.series import Series


class MemberMetrics:
    """Weights of members that follow from the stream; part of ``Metrics``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock

    def set(self, shard: int, weights: Mapping[str, float]) -> None:
        """By the member's name."""
        with self._lock:
            for member, weight in weights.items():
                self._series.set("member_weight", weight, (str(shard), member))
