"""A partition in the merge: its waiting events, their keys, its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from stream_detector.detectors.stored import LARGEST_TIME_MS, read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, EventBatch, Int64, State, record_sizes
from stream_detector.stream_time import HELD, StreamTime, carried

_NONE: Int64 = np.empty(0, dtype=np.int64)


@dataclass(slots=True)
class Lane:
    """Waiting events of one partition: batches, their merge keys and sizes, its watermark.

    ``fell``: whether the watermark goes back among those that wait. ``mark_ms`` and ``claims`` are
    the watermark, and the times it is of, as of the last released event.
    """

    time: StreamTime
    mark_ms: int
    claims: Int64
    batches: list[EventBatch] = field(default_factory=list)
    keys: list[Int64] = field(default_factory=list)
    sizes: list[Int64] = field(default_factory=list)
    waiting: int = 0
    next_offset: int = -1
    released: int = 0
    fell: bool = False

    def push(self, batch: EventBatch) -> None:
        """Take in events after all earlier ones."""
        before_ms = self.time.mark_ms
        # A record may claim anything, and sums of two claims are to stay what they are.
        times_ms = np.minimum(batch.time_ms, LARGEST_TIME_MS)
        readable = times_ms >= 0
        if readable.all():
            reading = self.time.read(times_ms)
            keys = reading.marks
        else:
            reading = self.time.read(times_ms[readable])
            keys = carried(reading.marks, readable, before_ms)
        self.fell |= any(shift.after_ms < shift.before_ms for shift in reading.shifts)
        self.batches.append(batch)
        self.keys.append(keys)
        self.sizes.append(record_sizes(batch.record.tolist()))
        self.waiting += len(batch)

    def rising_keys(self) -> Sequence[Int64]:
        """Keys that never decrease: an event cannot go before one that it comes after."""
        if not self.fell:
            return self.keys
        return [np.maximum.accumulate(np.concatenate(self.keys))]

    def first_keys(self, count: int) -> Int64:
        """Keys of the first ``count`` events, as of ``rising_keys``."""
        return _first(self.rising_keys(), count)

    def first_sizes(self, count: int) -> Int64:
        """Return how many bytes the records of the first ``count`` events hold."""
        return _first(self.sizes, count)

    def count_up_to(self, rank: int, limit: tuple[int, int]) -> int:
        """Waiting events whose (key, rank) is at most ``limit``."""
        limit_key, limit_rank = limit
        side: Literal["left", "right"] = "right" if rank <= limit_rank else "left"
        count = 0
        for keys in self.rising_keys():
            found = int(keys.searchsorted(limit_key, side=side))
            count += found
            if found < len(keys):
                break
        return count

    def cut(self, count: int) -> tuple[EventBatch, Int64]:
        """Take the first ``count`` (at least one) events out; what stays is not copied."""
        taken: list[EventBatch] = []
        taken_keys: list[Int64] = []
        self.waiting -= count
        while count:
            batch, keys = self.batches[0], self.keys[0]
            if len(keys) <= count:
                del self.batches[0], self.keys[0], self.sizes[0]
            else:
                self.batches[0], self.keys[0] = batch.take(slice(count, None)), keys[count:]
                self.sizes[0] = self.sizes[0][count:]
                batch, keys = batch.take(slice(0, count)), keys[:count]
            taken.append(batch)
            taken_keys.append(keys)
            count -= len(keys)
        events, all_keys = EventBatch.concatenate(taken), np.concatenate(taken_keys)
        self.mark_ms = int(all_keys[-1])
        last = events.time_ms[-HELD:] if (events.time_ms[-HELD:] >= 0).all() else events.time_ms
        last = np.minimum(last[last >= 0], LARGEST_TIME_MS)
        self.claims = np.concatenate([self.claims, last])[-HELD:]
        self.next_offset = int(events.offset[-1]) + 1
        self.released += len(events)
        if self.fell:
            all_keys = np.maximum.accumulate(all_keys)
            self.fell = self.waiting > 0
        return events, all_keys


@dataclass(frozen=True, slots=True)
class LaneTime:
    """A partition's time as of its last released event.

    Attributes:
        mark_ms: its watermark.
        claims: the last event times; None where a version before this has written it.
    """

    mark_ms: int = NO_TIMESTAMP
    claims: Int64 | None = None


def _first(parts: Sequence[Int64], count: int) -> Int64:
    """The first ``count`` numbers of parts that follow one another; no more parts are copied."""
    if parts and len(parts[0]) >= count:
        return parts[0][:count]
    taken, left = [_NONE], count
    for part in parts:
        if left <= 0:
            break
        taken.append(part[:left])
        left -= len(part)
    return np.concatenate(taken)


def lanes_state(lanes: Sequence[LaneTime]) -> State:
    """The last event times of partitions, one after the other, and how many each has."""
    claims = [lane.claims if lane.claims is not None else _NONE for lane in lanes]
    counts = np.array(list(map(len, claims)), dtype=np.int64)
    return {"claims": np.concatenate([_NONE, *claims]), "counts": counts}


def lanes_of(marks_ms: Sequence[int], state: State | None) -> list[LaneTime]:
    """``lanes_state`` undone. Raises ``StateMismatchError`` where it is of other partitions.

    Args:
        marks_ms: watermark of each.
        state: None where a version before this has written the snapshot.
    """
    marks_ms = [min(mark_ms, LARGEST_TIME_MS) for mark_ms in marks_ms]
    if state is None:
        return [LaneTime(mark_ms) for mark_ms in marks_ms]
    claims = np.minimum(read_array(state, "claims", (-1,), np.int64, low=0), LARGEST_TIME_MS)
    counts = read_array(state, "counts", (len(marks_ms),), np.int64, low=0, high=HELD)
    if counts.sum() != len(claims):
        raise StateMismatchError("the event times of partitions are not those of the positions")
    parts = np.split(claims, np.cumsum(counts)[:-1]) if len(counts) else []
    return [LaneTime(mark_ms, part) for mark_ms, part in zip(marks_ms, parts, strict=True)]
