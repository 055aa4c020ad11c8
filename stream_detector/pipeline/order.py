"""Events that come too late, or absurdly early, are bad records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import NO_TIMESTAMP, EventBatch, Rejection

_FILE_JUMP_MS = 366 * 86_400_000
"""Without a record timestamp to hold it against, a leap of a year is taken for a wrong date."""


class EventOrder:
    """Holds each event's time against the newest one before it.

    State: ``watermark_ms``, time of the newest accepted event.
    """

    def __init__(self, max_behind_seconds: float) -> None:
        self._behind_ms = int(max_behind_seconds * 1000)
        self.watermark_ms = NO_TIMESTAMP

    def reject(self, batch: EventBatch, of_labels: NDArray[np.bool_] | None) -> None:
        """Reject what is too late, or absurdly early, by the newest accepted event before it."""
        if of_labels is not None:  # a label is late by its nature
            events = batch.take(np.flatnonzero(~of_labels))
            self.reject(events, None)
            batch.rejection[~of_labels] = events.rejection
            return
        times = np.where(batch.rejection == None, batch.time_ms, NO_TIMESTAMP)  # noqa: E711
        if not len(times):
            return
        before = np.maximum.accumulate(np.concatenate([[self.watermark_ms], times]))
        if (times < before[:-1] - self._behind_ms).any() or (np.diff(before) > _FILE_JUMP_MS).any():
            self._reject_one_by_one(batch)
        else:
            self.watermark_ms = int(before[-1])

    def _reject_one_by_one(self, batch: EventBatch) -> None:
        for row, time_ms in enumerate(batch.time_ms.tolist()):
            if batch.rejection[row] is not None:
                continue
            lead = time_ms - self.watermark_ms
            if self.watermark_ms >= 0 and lead < -self._behind_ms:
                reason, message = "time_behind", f"{-lead / 1000:g} s behind the newest event"
            elif (
                self.watermark_ms >= 0
                and lead > _FILE_JUMP_MS
                and batch.record[row].timestamp == NO_TIMESTAMP
            ):
                reason, message = "time_ahead", f"{lead / 1000:g} s after the newest event"
            else:
                self.watermark_ms = max(self.watermark_ms, time_ms)
                continue
            batch.rejection[row] = Rejection("order", reason, message)
