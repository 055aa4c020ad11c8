"""The order of a batch, and who is handed what of it: the one stage that sees every event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stream_detector.batches.keyed import FeaturePart, bucket_input, key_fields
from stream_detector.batches.packing import pack, pack_events
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.base import BLOCK_ROWS
from stream_detector.detectors.stored import making_sense, read_branch, read_count
from stream_detector.errors import StateError
from stream_detector.events import EventBatch, Int64, State, TopicPartition
from stream_detector.lanes import LaneTime, lanes_of, lanes_state
from stream_detector.merge import Merger
from stream_detector.pipeline.order import EventOrder
from stream_detector.stream_time import Shift
from stream_detector.tables.texts import hash_texts

CONTROL = ""
"""Names what is about the whole batch."""

PART = "/"
"""Names what is about a part that is scored; no field has such a name."""

LEAST_PART_ROWS = 1024
"""A part has so many rows at the least: smaller ones cost more than they save."""


@dataclass(frozen=True, slots=True)
class Handed:
    """Bytes for a stage: for a bucket of a key field, or a part, or about the whole batch."""

    kind: str
    number: int
    data: bytes


def part_edges(sequence: int, count: int, parts: int) -> Int64:
    """(parts + 1,) rows at which the parts of a batch begin, and their end.

    All but the first begin with a block, so that a score's last bits are the chunk's.

    Args:
        sequence: events of the stream before the batch.
        count: events of the batch.
        parts: into which it is cut, at most.
    """
    shift = sequence % BLOCK_ROWS
    blocks = -(-(count + shift) // BLOCK_ROWS)
    size = max(-(-blocks // parts) * BLOCK_ROWS, LEAST_PART_ROWS)
    inner = np.arange(size, count + shift, size, dtype=np.int64) - shift
    return np.concatenate([[0], inner, [count]]).astype(np.int64)


class Ordering:
    """Merges a batch by event time, judges its times and cuts it.

    State: the times of the partitions and of the stream, the count of accepted events, the
    features that come of no key.
    """

    def __init__(self, config: Config, buckets: int, parts: int) -> None:
        """``buckets``: of the keys of each field; ``parts``: that are scored, at most."""
        self._plan = FieldPlan.of(config)
        self._buckets, self._parts = buckets, parts
        self._max_step_ms = int(config.event.max_step * 1000)
        self._order = EventOrder(config.event)
        self._unkeyed = FeaturePart(config, None)
        self._known: dict[TopicPartition, LaneTime] = {}
        self.sequence = 0
        risks = config.labels.risk if config.labels is not None else []
        self._texts = {
            key: sorted(
                {self._plan.text.index(key)}
                | {
                    self._plan.text.index(each.distinct_of)
                    for each in config.windows
                    if each.key == key and each.distinct_of is not None
                }
            )
            for key in key_fields(config)
        }
        assert all(each.key in self._texts for each in risks)

    def take(self, batches: Sequence[EventBatch]) -> Iterator[Handed]:
        """Hand out a batch: decoded events of partitions, each partition's in any number of pieces.

        The result does not depend on the order of the pieces.
        """
        merged = self._merged(batches)
        if merged is None:
            return
        before_ms = self._order.time.mark_ms
        shifts = self._order.judge(merged)
        accepted = merged.rejection == None  # noqa: E711 - elementwise
        rows = np.flatnonzero(accepted)
        events = merged.take(rows)
        backwards = [
            (int(np.searchsorted(rows, shift.row)), shift.after_ms)
            for shift in shifts
            if shift.after_ms < shift.before_ms
        ]
        raw = self._unkeyed.extract(events, backwards, before_ms)
        edges = part_edges(self.sequence, len(events), self._parts)
        yield self._control(merged, shifts, edges)
        for number, (low, high) in enumerate(
            zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ):
            if low < high:
                one = {
                    "events": pack_events(events.take(slice(low, high))),
                    "raw": raw[low:high],
                    "sequence": self.sequence + low,
                }
                yield Handed(PART, number, pack(one))
        for key, texts in self._texts.items():
            column = events.text[self._plan.text.index(key)].tolist()
            buckets = hash_texts(column).astype(np.uint64) % np.uint64(self._buckets)
            for number in range(self._buckets):
                own = np.flatnonzero(buckets == number)
                if len(own) or backwards:
                    given = bucket_input(events, own, backwards, before_ms, edges, texts)
                    yield Handed(key, number, pack(given))
        self.sequence += len(events)

    def _merged(self, batches: Sequence[EventBatch]) -> EventBatch | None:
        pieces = [(batch.source[0], int(batch.offset[0]), batch) for batch in batches if len(batch)]
        merger = Merger(max_step_ms=self._max_step_ms)
        pieces.sort(key=lambda piece: piece[:2])
        for source in sorted({source for source, _, _ in pieces}):
            merger.add(source, self._known.get(source))
        for _, _, batch in pieces:
            merger.push(batch)
        merged = merger.release(merger.sources)
        self._known.update(merger.released_times())
        return merged

    def _control(self, merged: EventBatch, shifts: Sequence[Shift], edges: Int64) -> Handed:
        rejected = merged.rejection != None  # noqa: E711 - elementwise
        ends: dict[TopicPartition, list[int]] = {}
        for source in sorted(set(merged.source.tolist())):
            offsets = merged.offset[merged.source == source]
            ends[source] = [int(offsets[0]), int(offsets[-1]) + 1]
        control = {
            "rejected_rows": np.flatnonzero(rejected),
            "rejected": pack_events(merged.take(np.flatnonzero(rejected))),
            "shifts": [[shift.row, shift.before_ms, shift.after_ms] for shift in shifts],
            "mark_ms": self._order.time.mark_ms,
            "events": len(merged),
            "sequence": self.sequence,
            "parts": int(np.count_nonzero(np.diff(edges))),
            "ranges": [[s.topic, s.partition, *each] for s, each in ends.items()],
        }
        return Handed(CONTROL, 0, pack(control))

    def state(self) -> State:
        """Times, count, and the features that come of no key."""
        known = sorted(self._known.items())
        return {
            "sources": [[s.topic, s.partition, lane.mark_ms] for s, lane in known],
            "lanes": lanes_state([lane for _, lane in known]),
            "watermark_ms": self._order.time.mark_ms,
            "time": self._order.state(),
            "sequence": self.sequence,
            "unkeyed": self._unkeyed.state(),
            "buckets": self._buckets,
        }

    def restore(self, state: State) -> None:
        """Take the state in.

        Raises ``StateError`` where it is not of this configuration, or of so many buckets.
        """
        with making_sense():
            if state["buckets"] != self._buckets:
                raise StateError(
                    f"the histories of keys lie in {state['buckets']} buckets each field, not in "
                    f"{self._buckets}: keep the number, or begin with an untrained model"
                )
            self._order.restore(state)
            self.sequence = read_count(state, "sequence")
            lanes = lanes_of([mark for *_, mark in state["sources"]], state["lanes"])
            sources = [TopicPartition(topic, part) for topic, part, _ in state["sources"]]
            self._known = dict(zip(sources, lanes, strict=True))
            self._unkeyed.restore(read_branch(state, "unkeyed"))
