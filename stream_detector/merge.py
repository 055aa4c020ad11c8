"""The order of events: several partitions become one sequence, by event time.

Every event has the merge key (its partition's watermark, topic and partition, offset). The
watermark of a partition is the running maximum of its event times, without its first and those that
most events around them contradict (``stream_time``): one wrong clock must not put off all that come
after it. On a backlog the released sequence is exactly the sort by that key, however polls cut the
input and whichever partition a fetch favours; a partition's own order is never changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from stream_detector.events import EventBatch, Int64, TopicPartition
from stream_detector.lanes import Lane, LaneTime
from stream_detector.stream_time import MAX_STEP_MS, StreamTime

Step: TypeAlias = dict[TopicPartition, int]
"""Offsets up to which (exclusive) partitions were merged with one another."""


class Merger:
    """Merges the partitions of one shard.

    State: for each partition its watermark and the events that wait; with
    ``record_steps`` the steps since they were last taken. What bounds it: the caller stops reading
    a partition whose ``waiting`` reaches its limit, and takes the steps at every commit.
    """

    def __init__(self, *, record_steps: bool = False, max_step_ms: int = MAX_STEP_MS) -> None:
        """``max_step_ms``: ``event.max_step``; ``record_steps``: see ``take_steps``."""
        self._max_step_ms = max_step_ms
        self._lanes: dict[TopicPartition, Lane] = {}
        self._record_steps = record_steps
        self._steps: list[Step] = []
        self._last_merged: tuple[int, TopicPartition] | None = None

    @property
    def sources(self) -> list[TopicPartition]:
        """The partitions merged, in the order that breaks ties."""
        return sorted(self._lanes)

    def add(self, source: TopicPartition, known: LaneTime | None = None) -> None:
        """Begin to merge a partition, its time as restored from a snapshot."""
        self._last_merged = None  # another partition, another order of ties: a new step
        if source in self._lanes:
            return
        # Whether a claim can be used at all is not asked here: every record has its place.
        unlimited = 2**53
        time = StreamTime(self._max_step_ms, unlimited, unlimited, doubts_first=True)
        if known is not None and known.claims is not None:
            time.restore({"mark_ms": known.mark_ms, "claims": known.claims})
        elif known is not None:
            time.set(known.mark_ms)
        claims = np.asarray(time.state()["claims"])
        self._lanes[source] = Lane(time, time.mark_ms, claims)

    def push(self, batch: EventBatch) -> None:
        """Take in decoded events of one partition, in offset order, after all earlier ones."""
        if len(batch):
            self._lanes[batch.source[0]].push(batch)

    def waiting(self, source: TopicPartition) -> int:
        """Number of events of a partition that wait."""
        return self._lanes[source].waiting

    def blocking(self, at_end: Collection[TopicPartition]) -> list[TopicPartition]:
        """Partitions that hold others back: nothing waits and they are not at their end."""
        if not any(lane.waiting for lane in self._lanes.values()):
            return []
        return [s for s, lane in self._lanes.items() if not lane.waiting and s not in at_end]

    def release(
        self,
        at_end: Collection[TopicPartition],
        most_events: int | None = None,
        most_bytes: int | None = None,
    ) -> EventBatch | None:
        """The events whose place in the order is certain; None where there is none.

        Args:
            at_end: partitions that stand at the end of their log, or are waited for no longer.
            most_events: so many at most; what stays comes next, in the same order.
            most_bytes: records of so many bytes at most, but one event at the least.
        """
        ranked = [(rank, s, self._lanes[s]) for rank, s in enumerate(self.sources)]
        limit: tuple[int, int] | None = None
        for rank, source, lane in ranked:
            if source in at_end:
                continue
            if not lane.waiting:
                return None
            # Up to its last waiting event this partition cannot surprise anybody.
            last = (int(lane.rising_keys()[-1][-1]), rank)
            limit = last if limit is None else min(limit, last)
        counts = {
            source: lane.waiting if limit is None else lane.count_up_to(rank, limit)
            for rank, source, lane in ranked
        }
        if most_events is not None:
            counts = self._first(counts, most_events)
        if most_bytes is not None:
            counts = self._first_of_size(counts, most_bytes)
        return self._merge(counts)

    def _first(self, counts: Step, most: int) -> Step:
        """Return how many of each partition's first events are among the first ``most`` of all."""
        if sum(counts.values()) <= most:
            return counts
        keys = [self._lanes[source].first_keys(min(n, most)) for source, n in counts.items()]
        limit = int(np.partition(np.concatenate(keys), most - 1)[most - 1])
        found = [int(one.searchsorted(limit)) for one in keys]
        left = most - sum(found)
        for rank, one in enumerate(keys):  # those of the same key, in the order of ties
            same = min(int(one.searchsorted(limit, side="right")) - found[rank], left)
            found[rank] += same
            left -= same
        return dict(zip(counts, found, strict=True))

    def _first_of_size(self, counts: Step, most_bytes: int) -> Step:
        """Return how many of each partition's first events are among the first of so many bytes."""
        sizes = [self._lanes[source].first_sizes(n) for source, n in counts.items()]
        if sum(int(one.sum()) for one in sizes) <= most_bytes:
            return counts
        keys = [self._lanes[source].first_keys(n) for source, n in counts.items()]
        ranks = np.repeat(np.arange(len(keys)), list(map(len, keys)))
        order = np.lexsort((ranks, np.concatenate(keys)))
        reached = np.cumsum(np.concatenate(sizes)[order])
        most = max(int(reached.searchsorted(most_bytes, side="right")), 1)
        found = np.bincount(ranks[order[:most]], minlength=len(keys))
        return dict(zip(counts, found.tolist(), strict=True))

    def release_step(self, step: Mapping[TopicPartition, int]) -> EventBatch | None:
        """Events below the offsets of ``step``, merged as they were when it was recorded.

        The caller has pushed all of them. None where the step holds no event (only gaps).
        """
        return self._merge(
            {
                source: sum(int(b.offset.searchsorted(end)) for b in self._lanes[source].batches)
                for source, end in sorted(step.items())
            }
        )

    def _merge(self, counts: Mapping[TopicPartition, int]) -> EventBatch | None:
        """Take so many events out of each partition (in the order of ties) and sort them."""
        parts = [
            (*self._lanes[source].cut(count), source) for source, count in counts.items() if count
        ]
        if not parts:
            return None
        if self._record_steps:
            self._record(parts)
        merged = EventBatch.concatenate([batch for batch, _, _ in parts])
        if len(parts) == 1:
            return merged
        keys = np.concatenate([keys for _, keys, _ in parts])
        ranks = np.repeat(np.arange(len(parts)), [len(keys) for _, keys, _ in parts])
        return merged.take(np.lexsort((ranks, keys)))  # stable: offsets stay in order

    def _record(self, parts: Sequence[tuple[EventBatch, Int64, TopicPartition]]) -> None:
        """Note how far this release went; one that goes on in sorted order extends the last step.

        So a backlog is one step however polls cut it, and live traffic one for each time that an
        event came too late for its place.
        """
        first = min((int(keys[0]), source) for _, keys, source in parts)
        last = max((int(keys[-1]), source) for _, keys, source in parts)
        if not self._steps or self._last_merged is None or first < self._last_merged:
            self._steps.append({})
        self._steps[-1].update({source: int(b.offset[-1]) + 1 for b, _, source in parts})
        self._last_merged = last

    @property
    def ranges_recorded(self) -> int:
        """Size of the steps since they were last taken: one for each partition in each."""
        return sum(map(len, self._steps))

    def take_steps(self) -> list[Step]:
        """The steps since this was asked last; replaying them gives the same sequence."""
        steps, self._steps = self._steps, []
        self._last_merged = None
        return steps

    def next_offset(self, source: TopicPartition) -> int:
        """Offset after the last released event of a partition; -1 before the first."""
        return self._lanes[source].next_offset

    def take_released_counts(self) -> dict[TopicPartition, int]:
        """Events of each partition released since this was asked last."""
        counts = {source: lane.released for source, lane in self._lanes.items() if lane.released}
        for lane in self._lanes.values():
            lane.released = 0
        return counts

    def lag_ms(self, source: TopicPartition) -> int:
        """Event time between the newest event taken in and the last released, of a partition."""
        lane = self._lanes[source]
        if not lane.waiting or lane.mark_ms < 0:
            return 0
        return max(lane.time.mark_ms - lane.mark_ms, 0)

    def released_times(self) -> dict[TopicPartition, LaneTime]:
        """Time of each partition as of its last released event: what a snapshot keeps.

        Events that wait are read again after a restart, so they do not count.
        """
        return {source: LaneTime(lane.mark_ms, lane.claims) for source, lane in self._lanes.items()}
