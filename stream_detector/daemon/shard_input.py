"""A shard's input: events that wait for their turn, and how far each log was read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from stream_detector.commits.alert_times import Arrivals
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Fetched
from stream_detector.daemon.held_records import HeldRecords, Wait
from stream_detector.decoding import TopicDecoder
from stream_detector.errors import StateError
from stream_detector.events import EventBatch, Record, TopicPartition
from stream_detector.formats.schemas import SchemaBook, SchemaSource
from stream_detector.journal import Range
from stream_detector.lanes import LaneTime
from stream_detector.merge import Merger
from stream_detector.pipeline.stage import Stage


@dataclass(frozen=True, slots=True)
class PartitionFigures:
    """Figures of a shard in one partition.

    Attributes:
        position: next offset to process.
        waiting: events that wait for their turn.
        lag_ms: event time between the newest event taken in and the last processed.
    """

    position: int
    waiting: int
    lag_ms: int


class ShardInput:
    """Takes records in and gives events out in their merged order.

    State: the merge's, the next offset to fetch of each partition, records that wait for a schema.
    Fetching stops at ``max_buffered_records``, and while a schema is waited for.

    Attributes:
        merger: the events that wait.
        fetch_positions: offset after the last record taken in, of each partition.
        topic_ids: of the input topics, as the broker gave them when the state was begun.
        book: schemas of records, and records that none could be had for.
        restored: by partition, where the restored snapshot stands and what it knows of its time.
        arrivals: when records came.
    """

    def __init__(self, config: Config, stage: Stage, schemas: SchemaSource | None = None) -> None:
        """``stage``: times decoding and merging; ``schemas``: where to ask for them."""
        self.book = SchemaBook()
        self._schemas = schemas
        local = schemas.local() if schemas is not None else {}
        self._decoder = TopicDecoder(config, FieldPlan.of(config), self.book, local)
        self._held = HeldRecords(config.registry)
        self._stage = stage
        self.merger = Merger(record_steps=True, max_step_ms=int(config.event.max_step * 1000))
        self.fetch_positions: dict[TopicPartition, int] = {}
        self.topic_ids: dict[str, str] = {}
        self.restored: dict[TopicPartition, tuple[int, LaneTime]] = {}
        self.arrivals = Arrivals()

    def add(self, source: TopicPartition, position: int) -> None:
        """Begin with a partition: read from ``position``."""
        _, known = self.restored.get(source, (-1, None))
        self.merger.add(source, known)
        self.fetch_positions[source] = position

    def go_live(self) -> None:
        """Take what is asked for from here on in the place of what the journal says."""
        self.book.alerts = self._schemas.alerts() if self._schemas is not None else None

    @property
    def sources(self) -> list[TopicPartition]:
        """The partitions, in the order that breaks ties."""
        return self.merger.sources

    def waiting(self, source: TopicPartition) -> int:
        """Events of a partition that wait for their turn, or for their schema."""
        return self.merger.waiting(source) + self._held.count(source)

    def holds(self, source: TopicPartition) -> bool:
        """Tell whether records of a partition wait for a schema: what follows must wait, too."""
        return self._held.count(source) > 0

    def schema_wait(self, source: TopicPartition, now: float) -> float:
        """Return for how many seconds a partition has waited for a schema; 0 where it does not."""
        return self._held.waited(source, now)

    def expects(self, fetched: Fetched) -> bool:
        """Tell whether records go on where the last ones ended, maybe after a gap."""
        return fetched.records[0].offset >= self.fetch_positions[fetched.source]

    @property
    def anything_waits(self) -> bool:
        """Tell whether an event of any partition waits for its turn."""
        return any(map(self.waiting, self.merger.sources))

    def blocking(self, at_end: Collection[TopicPartition]) -> list[TopicPartition]:
        """Partitions that hold others back: nothing waits and they are not at their end."""
        return self.merger.blocking(at_end)

    def take_released_counts(self) -> dict[TopicPartition, int]:
        """Events of each partition processed since this was asked last."""
        return self.merger.take_released_counts()

    def take_in(self, fetched: Fetched) -> None:
        """Decode records and let them wait for their turn.

        From the first on that lacks its schema they are held back, in their order.
        """
        source, records = fetched.source, fetched.records
        if records:
            self.arrivals.polled(source, records[-1].offset)
        if self.holds(source):
            self._held.add(source, records)
            return
        with self._stage("decode"):
            count, _ = self._decoder.readable(source, records)
        self._decode(source, records, count)

    def _decode(self, source: TopicPartition, records: Sequence[Record], count: int) -> None:
        """Decode the first ``count`` records, and hold back the others."""
        if count < len(records):
            self._held.add(source, records[count:])
            records = records[:count]
        if not records:
            return
        with self._stage("decode"):
            batch = self._decoder.decode(source, records)
        self.fetch_positions[source] = int(batch.offset[-1]) + 1
        self.merger.push(batch)

    def ask_for_schemas(self, now: float) -> list[Wait]:
        """Take in what was held back, as far as its schemas are there by now.

        Args:
            now: a monotonic time.

        Returns:
            What still waits, and why.

        Raises:
            ConnectorError: something has waited for too long, and that stops the daemon.
        """
        waits: list[Wait] = []
        for source in self._held.sources():
            records = self._held.take(source)
            count = 0
            while True:
                count, key = self._decoder.readable(source, records, count)
                if count == len(records):
                    break
                wait = self._settle(source, records[count].offset, key, now)
                if wait is not None:
                    waits.append(wait)
                    break
            self._decode(source, records, count)
        return waits

    def _settle(self, source: TopicPartition, offset: int, key: str, now: float) -> Wait | None:
        """Find the schema of a record, or refuse the record; a wait where neither can be yet."""
        answer = None
        if self._schemas is not None:
            answer = self._schemas.answer(key, self._decoder.kind(source.topic))
        if answer is not None and answer.schema is not None:
            self._held.answered(key)
            why = self.book.add(key, answer.schema)
        elif answer is not None and answer.final:
            self._held.answered(key)
            why = answer.why
        else:
            said = answer.why if answer is not None else ""
            if not said and self._held.asked_long(key, now):
                said = "it was asked for, and there is no answer yet"
            wait = Wait(source, offset, key, said)
            if not self._held.too_long(wait, now, asked=answer is None):
                return wait
            why = "no schema registry answered for it"
        if why:
            self.book.refuse(source, offset, why)
        return None

    def release(
        self, at_end: Collection[TopicPartition], most_events: int, most_bytes: int
    ) -> EventBatch | None:
        """The next events whose turn has come, so many at most; None where none has."""
        with self._stage("merge"):
            return self.merger.release(at_end, most_events, most_bytes)

    def release_step(
        self, step: Sequence[Range], position: Callable[[TopicPartition], int]
    ) -> tuple[bool, EventBatch | None]:
        """The events of a step of the journal, merged as they were then.

        Args:
            step: its ranges.
            position: offset of the next record to be read of a partition, past gaps.

        Returns:
            Whether all of it has been read, and its events (None for only gaps, or not yet).
        """
        for source, _, end in step:
            if self.fetch_positions[source] < end and self.holds(source):
                raise StateError(
                    f"{source}: a record before offset {end} names a schema that neither the "
                    "journal nor the snapshot holds; it cannot be processed again as it was"
                )
            if self.fetch_positions[source] < end <= position(source):
                self.fetch_positions[source] = end  # a gap: nothing more will come of it
            if self.fetch_positions[source] < end:
                return False, None
        return True, self.merger.release_step({each.source: each.end for each in step})

    def positions(self, journaled: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Next offset to process, of each partition; never before ``journaled``."""
        positions: dict[TopicPartition, int] = {}
        for source in self.merger.sources:
            offset = max(self.merger.next_offset(source), journaled[source])
            if not self.waiting(source):
                offset = max(offset, self.fetch_positions[source])
            positions[source] = offset
        return positions
