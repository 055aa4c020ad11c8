"""A shard's output: what it has done and not written yet, and what the journal will say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stream_detector.alert_avro.form import AlertForm
from stream_detector.commits import slices as cuts
from stream_detector.commits.alert_times import Arrivals
from stream_detector.events import TopicPartition
from stream_detector.formats.schemas import ALERTS, Schema, SchemaBook, schema_of
from stream_detector.journal import JournalAct, JournalRecord, Range
from stream_detector.merge import Step
from stream_detector.messages import Outgoing
from stream_detector.pipeline import BatchResult


class ShardOutput:
    """Collects messages and steps until they are committed.

    State: what waits to be written; of each partition the offset up to which the journal tells;
    what writes alerts as the book says.

    Attributes:
        dirty: whether anything was processed since the slices were last taken.
        calendars: what the next record says of them; None: nothing. Likewise ``incidents``.
        journaled: of each partition, the offset after the last step that a slice holds.
    """

    def __init__(
        self, number: int, configuration: str, book: SchemaBook, arrivals: Arrivals
    ) -> None:
        """Take what the journal is told, and ``arrivals``, which knows when records came.

        ``number`` of the shard, fingerprint of its configuration, its schemas: the journal's.
        """
        self._book, self._arrivals = book, arrivals
        self._number, self._configuration = number, configuration
        self._backlog = cuts.Backlog()
        self._lost: list[Range] = []
        self._emit_from: dict[TopicPartition, int] = {}
        self.dirty = False
        self.calendars: str | None = None
        self.incidents: str | None = None
        self.journaled: dict[TopicPartition, int] = {}
        self._form: tuple[Schema | None, AlertForm | None] = (None, None)

    def add_partition(
        self, source: TopicPartition, position: int, emit_from: int, lost_from: int
    ) -> None:
        """Begin with a partition at ``position``; as ``Shard.add``."""
        self.journaled[source] = position
        if emit_from > position:
            self._emit_from[source] = emit_from
        if 0 <= lost_from < position:
            self._lost.append(Range(source, lost_from, position))
            self.dirty = True

    def add(self, outcome: BatchResult) -> None:
        """Messages of what was just done."""
        alerts = self._to_emit(outcome.alerts)
        messages = {
            "alerts": self.written(alerts),
            "incidents": self._to_emit(outcome.incidents),
            "rules": self._to_emit(outcome.rulings),
            "dead_letters": self._to_emit(outcome.dead_letters),
        }
        self._backlog.add(messages, self._arrivals.decided(alerts))
        self.dirty = True

    def written(self, alerts: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Return alerts as their topic has them. Raises ``StateError``."""
        form = self.form if alerts else None
        return alerts if form is None else list(map(form.written, alerts))

    @property
    def form(self) -> AlertForm | None:
        """How alerts are written, as the book says; None for JSON. Raises ``StateError``."""
        stored, form = self._form
        if stored != self._book.alerts:
            stored = self._book.alerts
            form = None if stored is None else AlertForm.of(stored)
            self._form = (stored, form)
        return form

    def follow_alerts(self, record: JournalRecord) -> None:
        """Write alerts as the journal says that they are from a record on."""
        for key, stored in record.schemas:
            if key == ALERTS:
                self._book.take_alerts(schema_of(stored))

    def _to_emit(self, messages: Sequence[Outgoing]) -> Sequence[Outgoing]:
        if not self._emit_from:
            return messages
        return [m for m in messages if m.offset >= self._emit_from.get(m.source, 0)]

    @property
    def emits(self) -> bool:
        """Tell whether messages wait for the next commit."""
        return self._backlog.total_bytes > 0

    def release_bounds(self, sequence: int) -> tuple[int, int]:
        """Return the events, and bytes of records, to process at once after ``sequence`` events."""
        return self._backlog.release_bounds(sequence, len(self.journaled))

    def commit_full(self, open_ranges: int) -> bool:
        """Tell whether so much waits that it has to be committed before anything else is done."""
        return self._backlog.commit_full(open_ranges)

    def slice_full(self, open_ranges: int) -> bool:
        """Tell whether what was done since the last slice makes one."""
        return self._backlog.slice_full(open_ranges)

    def close_slice(
        self,
        steps: Iterable[Step],
        sequence: int,
        fingerprint: str,
        ticks: tuple[tuple[int, int], ...] = (),
        acts: tuple[JournalAct, ...] = (),
    ) -> None:
        """End a slice; where nothing was done, none is made.

        Args:
            steps: what was done since the last one.
            sequence: events of the pipeline so far.
            fingerprint: the pipeline's.
            ticks: how event time went on without events, after how many of the steps.
            acts: taken in from the control topic.
        """
        taken = cuts.journal_ranges(steps, self.journaled)
        if not taken and not self._lost and not ticks and not acts:
            return
        schemas, refused = self._book.take_new(self.journaled)
        record = JournalRecord(
            shard=self._number,
            number=0,
            steps=taken,
            lost=tuple(self._lost),
            sequence=sequence,
            fingerprint=fingerprint,
            configuration=self._configuration,
            schemas=tuple((key, schema.stored()) for key, schema in schemas.items()),
            refused=tuple(refused),
            ticks=ticks,
            calendars=self.calendars,
            incidents=self.incidents,
            acts=acts,
        )
        self.calendars = self.incidents = None
        self._backlog.close(record, dict(self.journaled))
        self._book.forget_before(self.journaled)
        self._arrivals.forget_before(self.journaled)
        self._lost = []

    def steps_without_events(self, positions: Mapping[TopicPartition, int]) -> Iterable[Step]:
        """Offsets that hold no event are steps of their own: as many ranges as partitions."""
        passed = [(s, o) for s, o in sorted(positions.items()) if o > self.journaled[s]]
        for start in range(0, len(passed), cuts.SLICE_RANGES):
            yield dict(passed[start : start + cuts.SLICE_RANGES])

    def take_slices(self) -> list[cuts.Slice]:
        """All closed slices, once."""
        self.dirty = False
        return self._backlog.take()
